//! Programs of others as their users run them: librdkafka's and Kafka's own performance tools.
//!
//! They count megabytes in their own ways; what is taken from their output is records and time.

use crate::compare::broker::Subject;
use crate::compare::figures::{Figures, Metric};
use crate::compare::kafka;
use crate::compare::program::{Interrupt, run, tied};
use crate::compare::rows::External;
use crate::compare::runner::Part;
use crate::compare::station::Station;
use crate::load::usage::{Memory, Snapshot};
use crate::node::profile_dir;
use crate::program::compat;
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const RECORD_BYTES: u32 = 1024;

/// Bytes of such a record in a batch, with its own lengths and a share of the batch's header, at most.
/// A consumer waits for ever for a record that is missing.
const RECORD_WIRE_BYTES_MAX: u64 = 1060;

/// Records by second of a run: about what Kafka takes, so that a run lasts about as long as asked.
const RECORDS_PER_SECOND: u32 = 800_000;

/// The same for Java's producer, which is slower.
const JAVA_RECORDS_PER_SECOND: u32 = 100_000;

/// The same for Java's consumer.
const JAVA_READ_RECORDS_PER_SECOND: u32 = 300_000;

/// Seconds of a run, unless the command line says.
const SECONDS: u32 = 10;

/// Longest that a program may take.
const TIME_MAX: Duration = Duration::from_secs(180);

/// Longest that building one may take.
const BUILD_MAX: Duration = Duration::from_secs(600);

/// Where `tests/compat/librdkafka/build` puts its program.
fn rdkafka_performance() -> PathBuf {
    let target = profile_dir().parent().map(Path::to_path_buf).unwrap_or_default();
    target.join("clients/bin/rdkafka_performance")
}

/// Builds what is missing.
///
/// # Errors
/// It cannot be built.
pub fn install(log: &Path, interrupt: &Interrupt) -> Result<()> {
    kafka::install(log, interrupt)?;
    if rdkafka_performance().exists() {
        return Ok(());
    }
    let mut command = tied(compat().join("librdkafka/build"));
    command.env("CARGO_TARGET_DIR", profile_dir().parent().context("target")?);
    run(command, log, BUILD_MAX, interrupt).map(drop)
}

impl External {
    fn records(self, seconds: u32) -> u32 {
        let rate = match self {
            Self::RdkafkaProduce | Self::RdkafkaConsume => RECORDS_PER_SECOND,
            Self::JavaProduce => JAVA_RECORDS_PER_SECOND,
            Self::JavaConsume => JAVA_READ_RECORDS_PER_SECOND,
        };
        rate * seconds
    }

    fn command(self, address: SocketAddr, topic: &str, records: u32) -> Result<Command> {
        let (address, records) = (address.to_string(), records.to_string());
        let size = RECORD_BYTES.to_string();
        let rdkafka = |words: &[&str]| {
            let mut command = tied(rdkafka_performance());
            command
                .args(["-b", &address, "-t", topic, "-p", "0", "-c", &records, "-q"])
                .args(words);
            command
        };
        Ok(match self {
            Self::RdkafkaProduce => rdkafka(&[
                "-P",
                "-s",
                &size,
                "-a",
                "-1",
                "-X",
                "linger.ms=5",
                "-X",
                "batch.size=1000000",
            ]),
            Self::RdkafkaConsume => rdkafka(&["-C", "-o", "beginning"]),
            Self::JavaProduce => {
                let mut command = kafka::java(&[], "org.apache.kafka.tools.ProducerPerformance")?;
                command.args(["--topic", topic, "--num-records", &records, "--record-size", &size]);
                command.args(["--throughput", "-1", "--bootstrap-server", &address]);
                command.args(["--command-property", "acks=all", "linger.ms=5"]);
                command
            }
            Self::JavaConsume => {
                let mut command = kafka::java(&[], "org.apache.kafka.tools.ConsumerPerformance")?;
                command.args(["--topic", topic, "--num-records", &records]);
                command.args(["--bootstrap-server", &address]);
                command
            }
        })
    }

    /// Records a second, from what the program printed.
    fn rate(self, printed: &str) -> Option<f64> {
        let word = match self {
            Self::RdkafkaProduce | Self::RdkafkaConsume => "msgs/s",
            Self::JavaProduce => "records/sec",
            // The last field of the last line: records a second of the time without joining.
            Self::JavaConsume => {
                return printed.lines().next_back()?.rsplit(',').next()?.trim().parse().ok();
            }
        };
        // The last one sums up; those before it are of intervals.
        let before = &printed[..printed.rfind(word)?];
        before.split_whitespace().next_back()?.trim_start_matches('(').parse().ok()
    }
}

/// Runs a program so often, and hands over the figures of each run.
///
/// # Errors
/// A run fails.
pub fn measure(
    station: &mut Station<'_>,
    (external, subject): (External, Subject),
    part: Part,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures),
) -> Result<()> {
    let interrupt = station.interrupt().clone();
    install(&station.area.root().join("install"), &interrupt)?;
    station.ready()?;
    let records = external.records(station.bench.seconds.unwrap_or(SECONDS));
    let consumes = external.consumes();
    let mut topic = String::new();
    let rehearsals = part.rehearsals(subject);
    for repeat in 0..rehearsals + part.repeats {
        station.ready()?;
        if repeat == 0 || !consumes {
            topic = station.topic(1, subject)?;
        }
        if repeat == 0 && consumes {
            station.fill(&topic, u64::from(records) * RECORD_WIRE_BYTES_MAX)?;
        }
        let figures = once(station, external, &topic, records)?;
        if repeat >= rehearsals {
            sink(station, figures);
        }
        if !consumes {
            station.clear()?;
        }
    }
    station.clear()
}

fn once(
    station: &mut Station<'_>,
    external: External,
    topic: &str,
    records: u32,
) -> Result<Figures> {
    let broker = station.ready()?;
    let (address, pid) = (broker.address(), broker.pid()?);
    let before = Snapshot::take(Some(pid))?;
    let printed = station.run(external.command(address, topic, records)?)?.finish(TIME_MAX)?;
    let spent = before.until(&Snapshot::take(Some(pid))?);
    let rate = external.rate(&printed).with_context(|| format!("no rate in: {printed}"))?;
    let gigabytes = f64::from(records) * f64::from(RECORD_BYTES) / 1e9;
    let cpu = spent.server_cpu_seconds.context("the broker's processor time")?;
    let peak = crate::compare::figures::megabytes(Memory::of(pid).peak_resident_bytes);
    Ok(Figures::from([
        (Metric::MegabytesPerSecond, rate * f64::from(RECORD_BYTES) / 1e6),
        (Metric::CpuSecondsPerGigabyte, cpu / gigabytes),
        (Metric::MachineSecondsPerGigabyte, spent.machine_busy_seconds / gigabytes),
        (Metric::StolenShare, spent.stolen_share),
        (Metric::PeakResidentMegabytes, peak),
    ]))
}
