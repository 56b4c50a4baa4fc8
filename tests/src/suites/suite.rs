//! The suites: their names, how the broker is set for each, what they run and how long a test may
//! take. One list, so that a suite is added in one place.

use crate::compare::program::Interrupt;
use crate::node::profile_dir;
use crate::program::compat;
use crate::suites::gotest::Program;
use crate::suites::{gotest, librdkafka};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where every suite finds its broker: some have this address in their code, so each run has a
/// network of its own.
pub const ADDRESS: &str = "127.0.0.1:9092";

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passes,
    /// It failed.
    Fails,
    /// It left itself out, for want of something that the broker or the machine lacks.
    Skips,
    /// It was ended when its time was over.
    TimesOut,
}

impl Outcome {
    /// All, for reading a table.
    pub const ALL: [Self; 4] = [Self::Passes, Self::Fails, Self::Skips, Self::TimesOut];

    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Fails => "fails",
            Self::Skips => "skips",
            Self::TimesOut => "times out",
        }
    }
}

/// What a run told of one row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Name of the row.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// Whose programs a suite runs, and how they are told what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Programs of `go test -c`, by the names that `tests/suites/install` gave them.
    Go(&'static [&'static str]),
    /// `test-runner` with these further arguments.
    Librdkafka(&'static [&'static str]),
}

/// One suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its name on the command line, and its table's.
    pub name: &'static str,
    kind: Kind,
    environment: &'static [(&'static str, &'static str)],
    /// The name by which the broker tells clients to find it.
    pub host: &'static str,
    /// Settings that both brokers are started with.
    pub settings: &'static [&'static str],
    /// Longest that a test may take.
    pub test_max: Duration,
}

/// What librdkafka's own cluster for its tests sets.
const LIBRDKAFKA: &[&str] = &["num.partitions=4"];
/// The same for the tests that ask for it.
const NO_AUTO_CREATE: &[&str] =
    &["group.initial.rebalance.delay.ms=0", "num.partitions=4", "auto.create.topics.enable=false"];
const LIBRDKAFKA_MAX: Duration = Duration::from_secs(400);

/// All suites.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "kgo",
        kind: Kind::Go(&["kgo"]),
        environment: &[
            ("KGO_SEEDS", ADDRESS),
            ("KGO_TEST_RF", "1"),
            // Instead of ten times as many, which is for clusters of three.
            ("KGO_TEST_RECORDS", "50000"),
            // Ends and begins transactions in one step, as Apache Kafka allows.
            ("KGO_TEST_UNSAFE", "1"),
        ],
        host: "127.0.0.1",
        settings: &["group.initial.rebalance.delay.ms=0"],
        test_max: Duration::from_secs(300),
    },
    Suite {
        name: "librdkafka",
        kind: Kind::Librdkafka(&[]),
        environment: &[],
        host: "127.0.0.1",
        settings: LIBRDKAFKA,
        test_max: LIBRDKAFKA_MAX,
    },
    Suite {
        name: "librdkafka-consumer",
        kind: Kind::Librdkafka(&[]),
        environment: &[("TEST_CONSUMER_GROUP_PROTOCOL", "consumer")],
        host: "127.0.0.1",
        settings: LIBRDKAFKA,
        test_max: LIBRDKAFKA_MAX,
    },
    Suite {
        name: "librdkafka-noautocreate",
        kind: Kind::Librdkafka(&["-s", "noautocreate"]),
        environment: &[],
        host: "127.0.0.1",
        settings: NO_AUTO_CREATE,
        test_max: LIBRDKAFKA_MAX,
    },
    Suite {
        name: "kafka-go",
        kind: Kind::Go(&["kafka-go", "kafka-go-topics"]),
        environment: &[("KAFKA_VERSION", "3.7.0")],
        // Name and setting as in the cluster that its authors test with. The first rebalance is delayed
        // as by default: some of its tests rely on a group that forms slowly.
        host: "localhost",
        settings: &["message.max.bytes=200000000"],
        test_max: Duration::from_secs(180),
    },
];

/// What only Apache Kafka is started with: what one node needs for share groups, and an authorizer, so
/// that a test of access control can pass on it.
pub const SETTINGS_OF_KAFKA: &[&str] = &[
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];

impl Suite {
    /// The suite of this name.
    ///
    /// # Errors
    /// There is none; it says which there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        let found = SUITES.iter().find(|suite| suite.name == name);
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        found.with_context(|| format!("no suite is called {name}; there are {}", names.join(", ")))
    }

    /// Where its table is kept.
    pub fn table(&self) -> PathBuf {
        sources().join(format!("{}.md", self.name))
    }

    /// Whether it may hold tests that need no broker, which its table leaves out.
    pub fn mixes(&self) -> bool {
        matches!(self.kind, Kind::Go(_))
    }

    /// What is run one at a time: a test of Go, a number of librdkafka's.
    ///
    /// # Errors
    /// The suite is not installed.
    pub fn units(&self, log: &Path, interrupt: &Interrupt) -> Result<Vec<String>> {
        let Kind::Go(_) = self.kind else {
            return librdkafka::units(&tree());
        };
        let mut units = Vec::new();
        for program in self.programs()? {
            units.extend(program.tests(log, interrupt)?);
        }
        Ok(units)
    }

    /// The unit that tells of a row.
    pub fn unit_of(&self, row: &str) -> String {
        match self.kind {
            Kind::Go(_) => row.split('/').next().unwrap_or(row).to_owned(),
            Kind::Librdkafka(_) => {
                let (test, subtest) = row.split_once(' ').unwrap_or((row, ""));
                let number = test.split('_').next().unwrap_or(test);
                format!("{number} {subtest}").trim_end().to_owned()
            }
        }
    }

    /// Where the folder of a unit is made: librdkafka's tests read sources beside theirs.
    pub fn folders(&self) -> PathBuf {
        match self.kind {
            Kind::Go(_) => target(),
            Kind::Librdkafka(_) => tree(),
        }
    }

    /// The command that runs one unit. `folder` is empty and the unit's own.
    ///
    /// # Errors
    /// The suite is not installed, or has no such unit.
    pub fn command(&self, unit: &str, folder: &Path, interrupt: &Interrupt) -> Result<Command> {
        let mut command = match self.kind {
            Kind::Go(_) => self.test_of_go(unit, &folder.join("list"), interrupt)?,
            Kind::Librdkafka(arguments) => self.test_of_librdkafka(unit, folder, arguments),
        };
        command.envs(self.environment.iter().copied());
        Ok(command)
    }

    fn test_of_go(&self, unit: &str, log: &Path, interrupt: &Interrupt) -> Result<Command> {
        for program in self.programs()? {
            if program.tests(log, interrupt)?.iter().any(|test| test == unit) {
                return Ok(program.test(unit));
            }
        }
        bail!("{} has no test {unit}", self.name)
    }

    fn test_of_librdkafka(&self, unit: &str, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = librdkafka::command(&tree(), folder, unit, arguments);
        let configuration = sources().join("librdkafka/test.conf");
        command.env("RDKAFKA_TEST_CONF", configuration).env("BROKERS", ADDRESS);
        // Its tests call Kafka's shell scripts, of which these stand in.
        command.env("KAFKA_PATH", sources().join("librdkafka")).env("KAFKA_LIBS", libs());
        // What the tests take the broker for; they skip what it does not have.
        command.env("TEST_KAFKA_VERSION", "4.3.1");
        command
    }

    /// What a unit's run printed, as rows of the table.
    pub fn outcomes(&self, unit: &str, printed: &str, status: Outcome) -> Vec<Reported> {
        match self.kind {
            Kind::Go(_) => gotest::outcomes(unit, printed, status),
            Kind::Librdkafka(_) => librdkafka::outcomes(unit, printed, status),
        }
    }

    fn programs(&self) -> Result<Vec<Program>> {
        let Kind::Go(names) = self.kind else { return Ok(Vec::new()) };
        let folder = installed().join("go");
        names.iter().map(|name| Program::installed(&folder, name)).collect()
    }
}

/// Folder of what the repository keeps of the suites.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites")
}

/// Folder of Apache Kafka's jars.
pub fn libs() -> PathBuf {
    target().join("clients/java/libs")
}

/// The `target` folder.
pub fn target() -> PathBuf {
    profile_dir().parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Folder of Apache Kafka's start script.
pub fn start_kafka() -> PathBuf {
    compat().join("java/start-kafka")
}

fn installed() -> PathBuf {
    target().join("clients/suites")
}

fn tree() -> PathBuf {
    installed().join("librdkafka")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_its_unit() {
        let of = |suite: &str, row: &str| Suite::named(suite).unwrap().unit_of(row);
        assert_eq!(of("kgo", "TestGroupETL/range/848"), "TestGroupETL");
        assert_eq!(of("librdkafka", "0012_produce_consume"), "0012");
        assert_eq!(of("librdkafka", "0081_admin do_test_A"), "0081 do_test_A");
        assert!(Suite::named("other").unwrap_err().to_string().contains("kafka-go"));
    }
}
