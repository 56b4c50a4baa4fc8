//! Two commits of Millpond under the same loads, interleaved, and how sure their difference is.
//! `tests/benchmarks.md` tells how to use it.

use anyhow::{Result, anyhow};
use clap::Parser as _;
use harness::compare::commits::{Options, compare};
use harness::compare::program::Interrupt;
use harness::compare::rows;
use harness::compare::runner::tell;
use harness::node::profile_dir;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let rows = rows::named(&options.rows).map_err(|name| anyhow!("no row is called {name}"))?;
    let interrupt = Interrupt::by_signal()?;
    print(&compare(options, &rows, &profile_dir().join("load"), &interrupt)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(text: &str) {
    print!("{text}");
}
