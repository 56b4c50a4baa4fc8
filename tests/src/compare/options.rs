//! The command line of the comparison.

use crate::compare::broker::Subject;
use clap::Parser;
use std::path::PathBuf;

/// Seconds of 1 MB batches until a JVM's figures settle.
pub const WARM_UP_SECONDS: u32 = 60;

/// Runs Apache Kafka and Millpond in turn under the same loads, and prints one table.
#[derive(Debug, Clone, Parser)]
#[command(name = "compare")]
pub struct Options {
    /// Rows to run, separated by blanks or commas; all without any
    #[arg(value_delimiter = ',')]
    pub rows: Vec<String>,
    /// What to run them on: kafka, kafka-flush, millpond, millpond-relaxed
    #[arg(long, value_delimiter = ',', value_parser = subject)]
    pub systems: Vec<Subject>,
    /// Seconds of each load, instead of what its row says, and then no bytes at least
    #[arg(long)]
    pub seconds: Option<u32>,
    /// Runs of each row, instead of what it says
    #[arg(long)]
    pub repeats: Option<u32>,
    /// Seconds of load that warm Apache Kafka up
    #[arg(long, default_value_t = WARM_UP_SECONDS)]
    pub warm_up: u32,
    /// Where the brokers keep their data, on the file system to be measured
    #[arg(long, default_value = "target")]
    pub dir: PathBuf,
    /// Where each run's file goes
    #[arg(long, default_value = "target/comparison")]
    pub out: PathBuf,
    /// Keep what the comparison in `--out` has measured of the same commit, and run what it lacks
    #[arg(long)]
    pub resume: bool,
    /// Millpond's binary, if not the one beside this program
    #[arg(long)]
    pub millpond: Option<PathBuf>,
    /// Print the table of a comparison that ran, and run nothing
    #[arg(long, value_name = "DIR")]
    pub print: Option<PathBuf>,
    /// Name the rows, and run nothing
    #[arg(long)]
    pub list: bool,
}

impl Options {
    /// What differs from a whole comparison, for the head of the report; empty when nothing does.
    pub fn differences(&self) -> String {
        let mut text = String::new();
        let mut note = |what: &str, value: Option<u32>| {
            if let Some(value) = value {
                text += &format!("; {what} {value}");
            }
        };
        note("seconds of each load:", self.seconds);
        note("repeats:", self.repeats);
        note(
            "seconds of warm-up:",
            Some(self.warm_up).filter(|warm_up| *warm_up != WARM_UP_SECONDS),
        );
        text
    }
}

fn subject(name: &str) -> Result<Subject, String> {
    let found = Subject::ALL.into_iter().find(|subject| subject.name() == name);
    found.ok_or_else(|| format!("not one of {}", Subject::ALL.map(Subject::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_systems_are_lists() {
        let words = ["compare", "a,b", "c", "--systems", "kafka,millpond", "--repeats", "1"];
        let options = Options::try_parse_from(words).unwrap();
        assert_eq!(options.rows, ["a", "b", "c"]);
        assert_eq!(options.systems, [Subject::Kafka, Subject::Millpond]);
        assert_eq!(options.differences(), "; repeats: 1");
        assert!(Options::try_parse_from(["compare", "--systems", "rabbit"]).is_err());
    }
}
