//! One broker under measurement, of either system: started on a directory of its own, asked until it
//! answers, killed, started again. Dropping it ends the process.

use crate::compare::disk::Area;
use crate::compare::program::{Interrupt, Program};
use crate::compare::{kafka, millpond};
use crate::deadline::{Deadline, monotonic_now};
use crate::wire::Connection;
use anyhow::{Context as _, Result, bail};
use kafka_protocol::messages::{DeleteTopicsRequest, MetadataRequest, TopicName};
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Longest that a start may take; Apache Kafka needs most of a minute with 10,000 partitions.
const START_MAX: Duration = Duration::from_secs(240);

/// How often a starting broker is asked. Shorter than what is measured by far.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// What is compared: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Apache Kafka as it comes: a record is acknowledged from the page cache.
    Kafka,
    /// Apache Kafka that syncs before it acknowledges.
    KafkaFlush,
    /// Millpond as it comes: a record is acknowledged after the disk has synced it.
    Millpond,
    /// Millpond that acknowledges from the page cache.
    MillpondRelaxed,
}

impl Subject {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] =
        [Self::Kafka, Self::KafkaFlush, Self::Millpond, Self::MillpondRelaxed];

    /// The name on the command line and in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::KafkaFlush => "kafka-flush",
            Self::Millpond => "millpond",
            Self::MillpondRelaxed => "millpond-relaxed",
        }
    }

    /// The program behind it.
    pub fn system(self) -> System {
        match self {
            Self::Kafka | Self::KafkaFlush => System::Kafka,
            Self::Millpond | Self::MillpondRelaxed => System::Millpond,
        }
    }

    /// The setting of the whole broker that makes the same difference for its own topics.
    pub fn broker_setting(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Kafka | Self::Millpond | Self::MillpondRelaxed => None,
            Self::KafkaFlush => Some(("log.flush.interval.messages", "1")),
        }
    }

    /// The setting of each topic that makes the difference between two of one system.
    pub fn topic_setting(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Kafka | Self::Millpond => None,
            Self::KafkaFlush => Some(("flush.messages", "1")),
            Self::MillpondRelaxed => Some(("durability", "relaxed")),
        }
    }
}

/// A program that can be started as a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Apache Kafka.
    Kafka,
    /// Ours.
    Millpond,
}

/// Kafka's names of broker settings, with values.
pub type Settings = Vec<(&'static str, &'static str)>;

/// What all brokers of a comparison are started with.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Millpond's binary.
    pub millpond: PathBuf,
    /// When to end.
    pub interrupt: Interrupt,
}

/// A broker, running or killed.
#[derive(Debug)]
pub struct Broker {
    system: System,
    launcher: Launcher,
    dir: PathBuf,
    address: SocketAddr,
    settings: Settings,
    program: Option<Program>,
    starts: u32,
}

impl Broker {
    /// Starts one on a new directory with some settings beside its defaults, and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn start(
        system: System,
        launcher: &Launcher,
        area: &Area,
        settings: Settings,
    ) -> Result<(Self, Duration)> {
        let dir = area.fresh()?;
        let address = free_address()?;
        if system == System::Kafka {
            kafka::format(&dir, address, launcher, &settings)?;
        }
        let launcher = launcher.clone();
        let mut broker =
            Self { system, launcher, dir, address, settings, program: None, starts: 0 };
        let time = broker.start_again()?;
        Ok((broker, time))
    }

    /// Starts it on the directory that it had; the time until the first answer to Metadata.
    ///
    /// # Errors
    /// It does not start, or not in time.
    pub fn start_again(&mut self) -> Result<Duration> {
        self.program = None;
        if self.system == System::Kafka && self.starts > 0 {
            kafka::end_sessions_soon(&self.dir)?;
        }
        let command = match self.system {
            System::Kafka => kafka::command(&self.dir)?,
            System::Millpond => {
                let binary = &self.launcher.millpond;
                millpond::command(binary, &self.dir, self.address, &self.settings)
            }
        };
        self.starts += 1;
        let log = self.dir.join(format!("broker-{}", self.starts));
        let started = monotonic_now();
        self.program = Some(Program::start(command, &log, &self.launcher.interrupt)?);
        self.wait_until_it_answers()?;
        Ok(started.elapsed())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Deadline::after(START_MAX);
        while !answers(self.address) {
            self.check()?;
            if deadline.passed() {
                bail!("the broker did not answer within {START_MAX:?}: {}", self.last_words());
            }
            thread::park_timeout(ASK_AGAIN);
        }
        Ok(())
    }

    /// Fails if the process has ended by itself, or if the comparison is to end.
    ///
    /// # Errors
    /// One of these.
    pub fn check(&mut self) -> Result<()> {
        self.launcher.interrupt.check()?;
        let program = self.program.as_mut().context("the broker was stopped")?;
        if let Some(status) = program.ended()? {
            bail!("the broker ended with {status}: {}", program.last_words());
        }
        Ok(())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Directory with all that it keeps.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Which program it is.
    pub fn system(&self) -> System {
        self.system
    }

    /// Id of the running process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.program.as_ref().context("the broker was stopped")?.pid())
    }

    /// A new connection.
    ///
    /// # Errors
    /// The broker does not accept it.
    pub fn connect(&self) -> Result<Connection> {
        Connection::try_open(self.address).context("the broker does not accept a connection")
    }

    /// Lets it have no processor time until [`Broker::go_on`].
    pub fn hold(&self) {
        self.program.iter().for_each(Program::hold);
    }

    /// Undoes [`Broker::hold`].
    pub fn go_on(&self) {
        self.program.iter().for_each(Program::go_on);
    }

    /// Ends it as a crash of it would.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        if let Some(program) = self.program.take() {
            program.stop();
        }
    }

    /// Deletes every topic that a load has made.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn delete_topics(&mut self) -> Result<()> {
        let mut connection = self.connect()?;
        let everything = MetadataRequest::default().with_topics(None);
        let topics = connection.try_call(12, &everything)?.topics;
        let names: Vec<TopicName> =
            topics.into_iter().filter(|topic| !topic.is_internal).filter_map(|t| t.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let request =
            DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(30_000);
        for result in connection.try_call(5, &request)?.responses {
            if result.error_code != 0 {
                bail!("topic {:?} cannot be deleted: code {}", result.name, result.error_code);
            }
        }
        Ok(())
    }

    /// What it printed last.
    pub fn last_words(&self) -> String {
        self.program.as_ref().map_or_else(String::new, Program::last_words)
    }
}

/// Whether a broker answers Metadata there.
fn answers(address: SocketAddr) -> bool {
    Connection::try_open(address)
        .and_then(|mut connection| connection.try_call(12, &MetadataRequest::default()))
        .is_ok()
}

/// An address of the loopback that nothing listens at.
///
/// # Errors
/// All ports are taken.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
