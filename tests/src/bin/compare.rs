//! Apache Kafka and Millpond under the same loads, one after the other, and one table of medians and
//! ratios. `tests/benchmarks.md` tells how to use it and what its rows mean.

use anyhow::{Context as _, Result, anyhow};
use clap::Parser as _;
use harness::compare::broker::{Launcher, Subject};
use harness::compare::options::Options;
use harness::compare::program::Interrupt;
use harness::compare::runner::{self, Plan};
use harness::compare::station::Bench;
use harness::compare::{report, rows};
use harness::node::profile_dir;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            runner::tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<()> {
    if options.list {
        rows::all().for_each(|row| print(&format!("{:16} {}\n", row.name, row.title)));
        return Ok(());
    }
    if let Some(dir) = &options.print {
        print(&report::markdown(&runner::read(dir)?));
        return Ok(());
    }
    print(&report::markdown(&runner::run(&plan(options)?)?));
    Ok(())
}

fn plan(options: Options) -> Result<Plan> {
    let rows = rows::named(&options.rows).map_err(|name| anyhow!("no row is called {name}"))?;
    let differences = options.differences();
    let millpond = options.millpond.unwrap_or_else(|| profile_dir().join("millpond"));
    let millpond = millpond.canonicalize().with_context(|| millpond.display().to_string())?;
    let launcher = Launcher { millpond, interrupt: Interrupt::by_signal()? };
    let load = profile_dir().join("load");
    let bench = Bench { launcher, load, seconds: options.seconds, warm_up: options.warm_up };
    let subjects = if options.systems.is_empty() { Subject::ALL.to_vec() } else { options.systems };
    let Options { dir, out, repeats, resume, .. } = options;
    Ok(Plan { rows, subjects, repeats, bench, dir, out, differences, resume })
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(text: &str) {
    print!("{text}");
}
