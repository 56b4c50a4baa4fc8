//! The `millpond` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker::cli::run()
}
