//! Runs suites that clients' authors wrote: `suites NAME`, on Apache Kafka with `--kafka`. Ends with a
//! failure when a test that passes on Apache Kafka does not pass on Millpond, unless the suite's table
//! says why. See `tests/suites/README.md`.

use anyhow::Result;
use clap::Parser as _;
use harness::compare::program::Interrupt;
use harness::node::profile_dir;
use harness::suites::broker::System;
use harness::suites::options::Options;
use harness::suites::runner::{self, Plan, Report, tell};
use harness::suites::suite::Suite;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all suites that were asked for are as their tables say.
fn run(options: &Options) -> Result<bool> {
    let interrupt = Interrupt::by_signal()?;
    let mut good = true;
    for suite in options.suites() {
        good &= run_one(options, suite, interrupt.clone())?;
    }
    Ok(good)
}

fn run_one(options: &Options, suite: &'static Suite, interrupt: Interrupt) -> Result<bool> {
    let millpond = options.millpond.clone().unwrap_or_else(|| profile_dir().join("millpond"));
    let plan = Plan {
        suite,
        system: if options.kafka { System::Kafka } else { System::Millpond },
        units: options.units.clone(),
        quick: options.quick,
        attempts: options.attempts,
        millpond,
        interrupt,
    };
    // Each suite moves its thread to a network of its own.
    let report =
        thread::spawn(move || runner::run(&plan)).join().expect("a runner does not panic")?;
    if options.write {
        File::create(suite.table())?.write_all(report.table.print().as_bytes())?;
    }
    summarize(suite, &report);
    Ok(report.offences.is_empty())
}

fn summarize(suite: &Suite, report: &Report) {
    let Report { passed, offences, needless, .. } = report;
    for name in needless {
        tell(&format!("{}: {name} passes: its reason not to can go", suite.name));
    }
    for name in offences {
        tell(&format!("{}: {name} DOES NOT PASS and the table has no reason for it", suite.name));
    }
    tell(&format!("{}: {passed} passed, {} failed", suite.name, offences.len()));
}
