//! The place of one broker under load: started and warmed up when first needed, cleared between
//! loads, held while another system is measured, given up when something went wrong.

use crate::compare::broker::{Broker, Launcher, Settings, Subject, System};
use crate::compare::disk::{Area, settle};
use crate::compare::program::{Interrupt, Program, tied};
use crate::compare::rows::Fill;
use crate::load::report::Report;
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What is produced to one topic at most, so that a fast broker does not fill the disk.
const TOPIC_BYTES_MAX: u64 = 24_000_000_000;

/// Bytes of the small batches that come after the bulk of a warm-up, and for what share of its time:
/// what a request costs is compiled later than what a byte costs.
const SMALL_BATCH_BYTES: &str = "16384";
const SMALL_SHARE: u32 = 2;

/// Seconds of one part of the warm-up; its topic is deleted before the next.
const WARM_UP_PART_SECONDS: u32 = 15;

/// Time for a load beyond the seconds that it was given: connecting, joining, and a broker that stalls.
const GRACE: Duration = Duration::from_secs(240);

/// Slowest filling that is waited for, bytes a second.
const FILL_RATE_MIN: u64 = 50_000_000;

/// Bytes of the batches of a warm-up, and of a filling where nothing asks for others.
const BULK_BATCH_BYTES: &str = "1000000";

/// Seconds after which a load ends that has not written all it should; its bytes tell.
const MAIN_SECONDS_MAX: u32 = 150;

/// Words that produce as much as a broker takes.
fn bulk(batch_bytes: &str) -> [&str; 5] {
    ["produce", "--batch-bytes", batch_bytes, "--in-flight", "16"]
}

/// Where loads run, and with what.
#[derive(Debug, Clone)]
pub struct Bench {
    /// How brokers are started.
    pub launcher: Launcher,
    /// The load generator.
    pub load: PathBuf,
    /// Seconds of each load, if not what the row says.
    pub seconds: Option<u32>,
    /// Seconds of warm-up for a broker that needs one.
    pub warm_up: u32,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After so many seconds.
    pub seconds: u32,
    /// After so many bytes, where the scenario has that.
    pub bytes: Option<u64>,
}

/// What the running broker was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    /// Whatever takes a broker as it comes.
    Any,
    /// One row, whose settings it has.
    Row(&'static str, Settings),
}

/// The place of one broker.
#[derive(Debug)]
pub struct Station<'a> {
    /// Where loads run.
    pub bench: &'a Bench,
    /// Where brokers keep their data.
    pub area: &'a Area,
    system: System,
    broker: Option<Broker>,
    purpose: Purpose,
    topics: u32,
    /// Words of the loads since they were last taken.
    commands: Vec<String>,
}

impl<'a> Station<'a> {
    /// An empty place.
    pub fn new(system: System, bench: &'a Bench, area: &'a Area) -> Self {
        let purpose = Purpose::Any;
        Self { bench, area, system, broker: None, purpose, topics: 0, commands: vec![] }
    }

    /// Which program it is for.
    pub fn system(&self) -> System {
        self.system
    }

    /// Ends everything early when this is set.
    pub fn interrupt(&self) -> &Interrupt {
        &self.bench.launcher.interrupt
    }

    /// The running broker, warm.
    ///
    /// # Errors
    /// It does not start.
    pub fn ready(&mut self) -> Result<&mut Broker> {
        if !self.serves(&Purpose::Any) {
            self.start_cold()?;
            if self.system == System::Kafka {
                self.warm_up()?;
            }
        }
        self.broker.as_mut().context("a broker was just started")
    }

    /// Sees to it that a broker with these settings runs that has served this row only; whether it was
    /// started by this.
    ///
    /// # Errors
    /// It does not start.
    pub fn ready_for(&mut self, row: &'static str, settings: Settings) -> Result<bool> {
        let purpose = Purpose::Row(row, settings);
        if self.serves(&purpose) {
            return Ok(false);
        }
        self.start(purpose)?;
        Ok(true)
    }

    fn serves(&mut self, purpose: &Purpose) -> bool {
        let runs = self.broker.as_mut().is_some_and(|broker| broker.check().is_ok());
        runs && self.purpose == *purpose
    }

    /// Starts a broker on a new directory, after ending the one that runs; how long the start took.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_cold(&mut self) -> Result<Duration> {
        self.start(Purpose::Any)
    }

    fn start(&mut self, purpose: Purpose) -> Result<Duration> {
        self.abandon();
        self.interrupt().check()?;
        let settings = match &purpose {
            Purpose::Any => vec![],
            Purpose::Row(_, settings) => settings.clone(),
        };
        let (broker, time) = Broker::start(self.system, &self.bench.launcher, self.area, settings)?;
        (self.broker, self.purpose) = (Some(broker), purpose);
        Ok(time)
    }

    /// Kills the broker and starts it again; how long the start took.
    ///
    /// # Errors
    /// It does not start.
    pub fn crash(&mut self) -> Result<Duration> {
        let broker = self.running()?;
        broker.kill();
        broker.start_again()
    }

    /// The broker that runs.
    ///
    /// # Errors
    /// There is none.
    pub fn running(&mut self) -> Result<&mut Broker> {
        self.broker.as_mut().context("no broker runs")
    }

    /// A JVM compiles what runs often: until then its figures are those of an interpreter.
    fn warm_up(&mut self) -> Result<()> {
        let bulk_seconds = self.bench.warm_up;
        let parts =
            [(BULK_BATCH_BYTES, bulk_seconds), (SMALL_BATCH_BYTES, bulk_seconds / SMALL_SHARE)];
        for (batch_bytes, mut left) in parts {
            while left > 0 {
                let seconds = left.min(WARM_UP_PART_SECONDS);
                let topic = self.topic(1, Subject::Kafka)?;
                let limits = Limits { seconds, bytes: Some(TOPIC_BYTES_MAX) };
                self.load(&bulk(batch_bytes), &topic, limits)?;
                self.clear()?;
                left -= seconds;
            }
        }
        self.commands.clear();
        Ok(())
    }

    /// Makes a new topic with the setting that is special to a subject; its name.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn topic(&mut self, partitions: i32, subject: Subject) -> Result<String> {
        let name = self.name_of_topic();
        let setting = subject.topic_setting();
        let mut connection = self.running()?.connect()?;
        connection.create_topic(&name, partitions, setting.as_slice());
        Ok(name)
    }

    /// A name that no load has had, for one that makes its topic itself.
    pub fn name_of_topic(&mut self) -> String {
        self.topics += 1;
        format!("load-{}", self.topics)
    }

    /// Fills a topic by 1 MB batches.
    ///
    /// # Errors
    /// The load fails.
    pub fn fill(&mut self, topic: &str, bytes: u64) -> Result<()> {
        self.fill_by(topic, Fill { bytes, batch_bytes: BULK_BATCH_BYTES })
    }

    /// Fills a topic.
    ///
    /// # Errors
    /// The load fails.
    pub fn fill_by(&mut self, topic: &str, fill: Fill) -> Result<()> {
        let seconds = u32::try_from(fill.bytes / FILL_RATE_MIN)?.max(1);
        let limits = Limits { seconds, bytes: Some(fill.bytes) };
        self.load(&bulk(fill.batch_bytes), topic, limits).map(drop)
    }

    /// Runs one load to its end.
    ///
    /// # Errors
    /// It fails, or takes too long.
    pub fn load(&mut self, words: &[&str], topic: &str, limits: Limits) -> Result<Report> {
        let program = self.start_load(words, topic, limits)?;
        let printed = program.finish(Duration::from_secs(limits.seconds.into()) + GRACE)?;
        self.running()?.check()?;
        serde_json::from_str(&printed).with_context(|| format!("no report: {printed}"))
    }

    /// Starts one load.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_load(&mut self, words: &[&str], topic: &str, limits: Limits) -> Result<Program> {
        let mut command = tied(&self.bench.load);
        command.args(words).args(["--topic", topic, "--seconds", &limits.seconds.to_string()]);
        if let (Some(bytes), "produce") = (limits.bytes, words[0]) {
            command.args(["--bytes", &bytes.to_string()]);
        }
        let broker = self.running()?;
        command.args(["--bootstrap", &broker.address().to_string()]);
        command.args(["--pid", &broker.pid()?.to_string()]);
        self.run(command)
    }

    /// Starts any program against the broker.
    ///
    /// # Errors
    /// It does not start.
    pub fn run(&mut self, command: Command) -> Result<Program> {
        // Another may still be running.
        let number = self.commands.len();
        let log = self.running()?.dir().join(format!("load-{number}"));
        let program = Program::start(command, &log, &self.bench.launcher.interrupt)?;
        self.commands.push(program.what().to_owned());
        Ok(program)
    }

    /// The commands since the last call of this.
    pub fn take_commands(&mut self) -> Vec<String> {
        std::mem::take(&mut self.commands)
    }

    /// How long a load of a row runs on a subject.
    pub fn limits(&self, seconds: u32, bytes_min: Option<u64>) -> Limits {
        match (self.bench.seconds, bytes_min) {
            (None, Some(bytes)) => Limits { seconds: MAIN_SECONDS_MAX, bytes: Some(bytes) },
            (asked, _) => {
                Limits { seconds: asked.unwrap_or(seconds), bytes: Some(TOPIC_BYTES_MAX) }
            }
        }
    }

    /// Makes the disk as if nothing had run: Kafka keeps its warm process and loses its topics,
    /// Millpond begins anew with the next load.
    ///
    /// # Errors
    /// The broker does not answer, or the disk fails.
    pub fn clear(&mut self) -> Result<()> {
        match (self.system, self.broker.as_mut()) {
            (_, None) => Ok(()),
            (System::Kafka, Some(broker)) => {
                broker.delete_topics()?;
                settle(broker.dir(), &self.bench.launcher.interrupt)
            }
            (System::Millpond, Some(_)) => self.retire(),
        }
    }

    /// Stops the broker's clock while another one is measured.
    pub fn hold(&self) {
        self.broker.iter().for_each(Broker::hold);
    }

    /// Undoes [`Station::hold`].
    pub fn go_on(&self) {
        self.broker.iter().for_each(Broker::go_on);
    }

    /// Stops the broker and removes what it kept.
    ///
    /// # Errors
    /// The disk fails.
    pub fn retire(&mut self) -> Result<()> {
        let Some(mut broker) = self.broker.take() else { return Ok(()) };
        broker.stop();
        self.area.discard(broker.dir())
    }

    /// Kills the broker and removes what it kept, whatever comes.
    pub fn abandon(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            broker.kill();
            drop(self.area.discard(broker.dir()));
        }
    }
}
