//! The load generator as a program: prints the report of one run on standard output. Exit status 1
//! when the run failed, or when the broker answered an error. `tests/load.md` tells how to use it.

use clap::Parser as _;
use harness::load::command::Command;
use harness::load::report::Report;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Command::parse().run() {
        Ok(report) => {
            print(&report);
            for error in &report.errors {
                complain(&format!("error {} ({}): {} times", error.code, error.name, error.count));
            }
            if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn print(report: &Report) {
    println!("{}", serde_json::to_string(report).expect("a report is plain JSON"));
}

#[expect(clippy::print_stderr, reason = "standard output holds the report alone")]
fn complain(what: &str) {
    eprintln!("load: {what}");
}
