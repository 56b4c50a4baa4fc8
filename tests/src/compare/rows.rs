//! The rows of the comparison: what is run, and what must be reached. The place to add a row; those of
//! consumer groups stand in `groups`.
//!
//! Loads are words for the program `load`; the broker's address and process, the topic and the limits
//! are added by [`crate::compare::runner`].

use crate::compare::broker::Subject;
use crate::compare::figures::Metric;

mod groups;

/// One row: a load, and the lines of the table that come of it.
#[derive(Debug)]
pub struct Row {
    /// The name on the command line and in the files.
    pub name: &'static str,
    /// What a reader of the table is told.
    pub title: &'static str,
    /// What is run.
    pub work: Work,
    /// What it is run on.
    pub subjects: &'static [Subject],
    /// How often, unless the command line says.
    pub repeats: u32,
    /// The lines.
    pub lines: &'static [Line],
}

/// What a row runs.
#[derive(Debug)]
pub enum Work {
    /// One call of the load generator on a topic of its own.
    Load(Load),
    /// Somebody else's program, as a user would run it.
    External(External),
    /// The load alone, then beside something that disturbs it.
    Disturbed {
        /// The load, whose latency is measured.
        load: Load,
        /// What disturbs it.
        by: Disturbance,
    },
    /// Something the broker costs without a load.
    Resource(Resource),
    /// A load of consumer groups, on a broker that is started for this row.
    Group(GroupLoad),
}

/// One call of the load generator.
#[derive(Debug)]
pub struct Load {
    /// Scenario and arguments.
    pub words: &'static [&'static str],
    /// Seconds that it runs, unless the command line says.
    pub seconds: u32,
    /// What is produced to the topic before; then all repeats use that topic.
    pub fill: Option<Fill>,
    /// Bytes that Millpond must write in each run instead of stopping after the seconds.
    pub millpond_bytes: Option<u64>,
}

/// One call of the load generator for groups. A broker that was warmed up by producing knows nothing of
/// groups: it runs the load itself before it is measured.
#[derive(Debug)]
pub struct GroupLoad {
    /// Scenario and arguments.
    pub words: &'static [&'static str],
    /// Seconds that it runs, unless the command line says.
    pub seconds: u32,
    /// Seconds that Kafka runs it before.
    pub rehearsal_seconds: u32,
    /// Settings that both brokers start with.
    pub settings: &'static [(&'static str, &'static str)],
}

/// What a topic holds before a load.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes of a batch, as a word for the load generator. A broker never cuts the first batch of an
    /// answer, so a load that wants small answers needs small batches.
    pub batch_bytes: &'static str,
}

/// Programs of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// librdkafka's `rdkafka_performance` as a producer.
    RdkafkaProduce,
    /// The same as a consumer.
    RdkafkaConsume,
    /// Kafka's `ProducerPerformance`.
    JavaProduce,
    /// Kafka's `ConsumerPerformance`, which joins a group.
    JavaConsume,
}

impl External {
    /// Whether it reads a topic that was filled before.
    pub fn consumes(self) -> bool {
        match self {
            Self::RdkafkaProduce | Self::JavaProduce => false,
            Self::RdkafkaConsume | Self::JavaConsume => true,
        }
    }
}

/// What may go on beside a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Another client reads a topic of so many bytes that is not in the page cache.
    ColdReader {
        /// Bytes of the topic.
        bytes: u64,
    },
    /// Nobody has read so many records of the topic.
    Backlog {
        /// Records of the topic.
        records: u64,
    },
}

/// Costs without a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Start in a new directory, and memory afterwards.
    New,
    /// Start after `kill -9` with so many bytes of data.
    Killed {
        /// Bytes written before.
        bytes: u64,
    },
    /// Memory with so many partitions, and start after `kill -9` with them.
    Partitions {
        /// How many, in topics of a thousand.
        count: u32,
    },
    /// Memory by connection with so many that do nothing.
    Connections {
        /// How many.
        count: u32,
    },
}

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// The figure.
    pub metric: Metric,
    /// It is divided by this figure of the same broker.
    pub over: Option<Metric>,
    /// What Millpond is compared with.
    pub against: Subject,
    /// What must be reached.
    pub target: Target,
}

/// What Millpond must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At least so many times the other's figure.
    RatioAtLeast(f64),
    /// At most so many times the other's figure.
    RatioAtMost(f64),
    /// At most this, by itself.
    AtMost(f64),
    /// For information.
    None,
}

const fn line(metric: Metric, target: Target) -> Line {
    Line { metric, over: None, against: Subject::Kafka, target }
}

const RATE: Metric = Metric::MegabytesPerSecond;
const CPU: Metric = Metric::CpuSecondsPerGigabyte;
const REQUESTS: Metric = Metric::RequestsPerSecond;
const BOTH: &[Subject] = &[Subject::Kafka, Subject::Millpond, Subject::MillpondRelaxed];
const TWO: &[Subject] = &[Subject::Kafka, Subject::Millpond];
const BOTH_SYNCED: &[Subject] = &[Subject::Kafka, Subject::KafkaFlush, Subject::Millpond];
const GB: u64 = 1_000_000_000;

const fn load(words: &'static [&'static str]) -> Load {
    Load { words, seconds: 10, fill: None, millpond_bytes: None }
}

/// A load of which Millpond writes at least 20 GB in each run.
const fn main_load(words: &'static [&'static str]) -> Load {
    Load { words, seconds: 10, fill: None, millpond_bytes: Some(20 * GB) }
}

const fn fetch(words: &'static [&'static str], batch_bytes: &'static str) -> Load {
    let fill = Some(Fill { bytes: 2 * GB, batch_bytes });
    Load { words, seconds: 8, fill, millpond_bytes: None }
}

const AT_2000: &[&str] = &["latency", "--rate", "2000"];
const AT_2000_END_TO_END: &[&str] = &["latency", "--rate", "2000", "--end-to-end"];

/// At most so many times what it is without the disturbance.
const fn times_undisturbed(bound: f64) -> Line {
    Line {
        metric: Metric::P99Ms,
        over: Some(Metric::UndisturbedP99Ms),
        against: Subject::Kafka,
        target: Target::AtMost(bound),
    }
}

/// All rows, in the order in which they run and are printed.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(groups::ROWS)
}

/// The rows without groups.
const ROWS: &[Row] = &[
    Row {
        name: "produce-16k",
        title: "produce 16 KiB batches, 32 in flight",
        work: Work::Load(main_load(&["produce", "--batch-bytes", "16384", "--in-flight", "32"])),
        subjects: &Subject::ALL,
        repeats: 3,
        lines: &[
            line(RATE, Target::RatioAtLeast(4.0)),
            line(CPU, Target::RatioAtMost(1.0 / 5.0)),
            Line {
                metric: RATE,
                over: None,
                against: Subject::KafkaFlush,
                target: Target::RatioAtLeast(18.0),
            },
            line(Metric::P99Ms, Target::None),
            line(Metric::PeakResidentMegabytes, Target::AtMost(200.0)),
        ],
    },
    Row {
        name: "produce-64k",
        title: "produce 64 KiB batches, 32 in flight",
        work: Work::Load(main_load(&["produce", "--batch-bytes", "65536", "--in-flight", "32"])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(RATE, Target::RatioAtLeast(2.5)),
            line(CPU, Target::RatioAtMost(1.0 / 3.0)),
            line(Metric::P99Ms, Target::None),
        ],
    },
    Row {
        name: "produce-1m",
        title: "produce 1 MB batches, 8 in flight",
        work: Work::Load(main_load(&["produce", "--batch-bytes", "1000000", "--in-flight", "8"])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(RATE, Target::RatioAtLeast(1.2)),
            line(CPU, Target::RatioAtMost(0.75)),
            line(Metric::P99Ms, Target::None),
            line(Metric::PeakResidentMegabytes, Target::AtMost(200.0)),
        ],
    },
    Row {
        name: "produce-lz4",
        title: "produce 64 KiB of lz4, 32 in flight (bytes as sent)",
        work: Work::Load(load(&[
            "produce",
            "--batch-bytes",
            "65536",
            "--in-flight",
            "32",
            "--codec",
            "lz4",
        ])),
        subjects: BOTH,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(2.5)), line(CPU, Target::RatioAtMost(1.0 / 3.0))],
    },
    Row {
        name: "produce-zstd",
        title: "produce 64 KiB of zstd, 32 in flight (bytes as sent)",
        work: Work::Load(load(&[
            "produce",
            "--batch-bytes",
            "65536",
            "--in-flight",
            "32",
            "--codec",
            "zstd",
        ])),
        subjects: BOTH,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(4.0)), line(CPU, Target::RatioAtMost(1.0 / 5.0))],
    },
    Row {
        name: "single-1x64",
        title: "one record a request, 1 connection × 64 in flight",
        work: Work::Load(load(&["produce", "--records-per-batch", "1", "--in-flight", "64"])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(REQUESTS, Target::RatioAtLeast(4.0)),
            line(Metric::CpuMicrosecondsPerRequest, Target::None),
        ],
    },
    Row {
        name: "single-8x16",
        title: "one record a request, 8 connections × 16 in flight",
        work: Work::Load(load(&[
            "produce",
            "--records-per-batch",
            "1",
            "--connections",
            "8",
            "--in-flight",
            "16",
        ])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(REQUESTS, Target::RatioAtLeast(2.0)),
            line(Metric::CpuMicrosecondsPerRequest, Target::None),
        ],
    },
    Row {
        name: "keyed",
        title: "200 keyed producers × 64 partitions, small batches",
        work: Work::Load(load(&["keyed", "--producers", "200", "--partitions", "64"])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(RATE, Target::RatioAtLeast(4.0)),
            line(CPU, Target::RatioAtMost(1.0 / 4.0)),
            line(Metric::P99Ms, Target::None),
        ],
    },
    Row {
        name: "rdkafka-produce",
        title: "librdkafka's rdkafka_performance, linger 5 ms, produce",
        work: Work::External(External::RdkafkaProduce),
        subjects: BOTH,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(1.2)), line(CPU, Target::RatioAtMost(0.6))],
    },
    Row {
        name: "rdkafka-consume",
        title: "librdkafka's rdkafka_performance, consume",
        work: Work::External(External::RdkafkaConsume),
        subjects: TWO,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(1.0)), line(CPU, Target::RatioAtMost(0.6))],
    },
    Row {
        name: "java-produce",
        title: "Kafka's ProducerPerformance, 1 KiB records, linger 5 ms",
        work: Work::External(External::JavaProduce),
        subjects: BOTH,
        repeats: 3,
        lines: &[line(RATE, Target::None), line(CPU, Target::None)],
    },
    Row {
        name: "java-consume",
        title: "Kafka's ConsumerPerformance, in a group (rate without joining)",
        work: Work::External(External::JavaConsume),
        subjects: TWO,
        repeats: 3,
        lines: &[line(RATE, Target::None), line(CPU, Target::None)],
    },
    Row {
        name: "fetch-1m",
        title: "fetch, warm, 1 MiB a request, one in flight",
        work: Work::Load(fetch(&["fetch", "--max-bytes", "1048576"], "1000000")),
        subjects: TWO,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(1.2)), line(CPU, Target::RatioAtMost(0.6))],
    },
    Row {
        name: "fetch-64k",
        title: "fetch, warm, 64 KiB a request, one in flight",
        work: Work::Load(fetch(&["fetch", "--max-bytes", "65536"], "65536")),
        subjects: TWO,
        repeats: 3,
        lines: &[line(RATE, Target::RatioAtLeast(1.2)), line(CPU, Target::RatioAtMost(0.5))],
    },
    Row {
        name: "fan-out",
        title: "one producer at 100 MB/s, 20 consumers at the tail (CPU by produced GB)",
        work: Work::Load(load(&["fan-out", "--rate-megabytes", "100", "--consumers", "20"])),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(CPU, Target::RatioAtMost(1.0 / 2.0)),
            line(RATE, Target::None),
            line(Metric::P99Ms, Target::None),
        ],
    },
    Row {
        name: "end-to-end",
        title: "end to end at 2,000 records/s",
        work: Work::Load(Load { seconds: 20, ..load(AT_2000_END_TO_END) }),
        subjects: BOTH,
        repeats: 3,
        lines: &[
            line(Metric::P50Ms, Target::None),
            line(Metric::P99Ms, Target::RatioAtMost(1.0 / 4.0)),
            line(Metric::P999Ms, Target::RatioAtMost(1.0 / 4.0)),
        ],
    },
    Row {
        name: "cold-reader",
        title: "produce ack at 2,000/s while another client reads 20 GB of cold data",
        work: Work::Disturbed {
            load: Load { seconds: 8, ..load(AT_2000) },
            by: Disturbance::ColdReader { bytes: 20 * GB },
        },
        subjects: TWO,
        repeats: 5,
        lines: &[
            line(Metric::P99Ms, Target::RatioAtMost(1.0 / 8.0)),
            line(Metric::UndisturbedP99Ms, Target::None),
            times_undisturbed(2.0),
        ],
    },
    Row {
        name: "backlog",
        title: "produce at 2,000/s with 10 M records unread, against an empty topic",
        work: Work::Disturbed {
            load: Load { seconds: 8, ..load(AT_2000) },
            by: Disturbance::Backlog { records: 10_000_000 },
        },
        subjects: TWO,
        repeats: 5,
        lines: &[
            line(Metric::P99Ms, Target::None),
            line(Metric::UndisturbedP99Ms, Target::None),
            times_undisturbed(1.2),
        ],
    },
    Row {
        name: "start-new",
        title: "start to the first answer, new directory",
        work: Work::Resource(Resource::New),
        subjects: TWO,
        repeats: 3,
        lines: &[
            line(Metric::StartMs, Target::AtMost(30.0)),
            line(Metric::ResidentMegabytes, Target::AtMost(64.0)),
        ],
    },
    Row {
        name: "start-killed",
        title: "start to the first answer, after `kill -9` with 20 GB",
        work: Work::Resource(Resource::Killed { bytes: 20 * GB }),
        subjects: TWO,
        repeats: 3,
        lines: &[line(Metric::StartMs, Target::AtMost(100.0))],
    },
    Row {
        name: "partitions",
        title: "10,000 partitions with a record each, after `kill -9`",
        work: Work::Resource(Resource::Partitions { count: 10_000 }),
        subjects: TWO,
        repeats: 1,
        lines: &[
            line(Metric::StartMs, Target::AtMost(1000.0)),
            line(Metric::ResidentMegabytes, Target::AtMost(200.0)),
        ],
    },
    Row {
        name: "connections",
        title: "10,000 idle connections, user memory",
        work: Work::Resource(Resource::Connections { count: 10_000 }),
        subjects: TWO,
        repeats: 3,
        lines: &[line(Metric::BytesPerConnection, Target::AtMost(10_240.0))],
    },
];

/// The rows of these names, in the order of the table.
///
/// # Errors
/// The first name that no row has.
pub fn named(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if let Some(strange) = names.iter().find(|name| all().all(|row| row.name != **name)) {
        return Err(strange.clone());
    }
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(all().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::command::Command;
    use clap::Parser as _;

    #[test]
    fn names_are_unique_and_select_in_the_order_of_the_table() {
        let everything = named(&[]).unwrap();
        let names: std::collections::BTreeSet<_> = everything.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), all().count());
        let two = named(&["fetch-1m".into(), "produce-16k".into()]).unwrap();
        assert_eq!(two.iter().map(|row| row.name).collect::<Vec<_>>(), ["produce-16k", "fetch-1m"]);
        assert_eq!(named(&["nothing".into()]).unwrap_err(), "nothing");
    }

    #[test]
    fn the_load_generator_takes_the_words_of_every_load() {
        let added = ["--topic", "t", "--seconds", "1", "--bootstrap", "127.0.0.1:1", "--pid", "1"];
        for row in all() {
            let words = match &row.work {
                Work::Load(load) | Work::Disturbed { load, .. } => load.words,
                Work::Group(load) => load.words,
                Work::External(_) | Work::Resource(_) => continue,
            };
            let words = std::iter::once("load").chain(words.iter().copied()).chain(added);
            let parsed = Command::try_parse_from(words);
            assert!(parsed.is_ok(), "{}: {}", row.name, parsed.unwrap_err());
        }
    }

    #[test]
    fn every_line_is_measured_on_both_sides() {
        for row in all() {
            for line in row.lines {
                assert!(row.subjects.contains(&line.against), "{}", row.name);
                assert!(row.subjects.contains(&Subject::Millpond), "{}", row.name);
            }
        }
    }
}
