//! The command line of the suites.

use crate::suites::suite::{SUITES, Suite};
use clap::Parser;
use std::path::PathBuf;

/// Runs suites that clients' authors wrote, and fails when a test that passes on Apache Kafka does not
/// pass on Millpond without a reason in the suite's table.
#[derive(Debug, Clone, Parser)]
#[command(name = "suites")]
pub struct Options {
    /// The suite; all without any
    #[arg(value_parser = Suite::named)]
    pub suite: Option<&'static Suite>,
    /// Units of it to run: tests of Go, numbers of librdkafka's; those of the table without any
    pub units: Vec<String>,
    /// Run them on Apache Kafka, all that the suite has
    #[arg(long)]
    pub kafka: bool,
    /// Run only what CI runs
    #[arg(long)]
    pub quick: bool,
    /// Write what was found into the suite's table
    #[arg(long)]
    pub write: bool,
    /// How often a test that does not pass is run at most
    #[arg(long, default_value_t = 3)]
    pub attempts: u32,
    /// Millpond's binary, if not the one beside this program
    #[arg(long)]
    pub millpond: Option<PathBuf>,
}

impl Options {
    /// The suites to run.
    pub fn suites(&self) -> Vec<&'static Suite> {
        self.suite.map_or_else(|| SUITES.iter().collect(), |suite| vec![suite])
    }
}
