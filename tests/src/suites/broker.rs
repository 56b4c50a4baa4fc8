//! The broker that a suite is run against: fresh, on the one address that every suite has, and gone
//! with its value. A panic in ours, or its early end, fails the suite whatever its tests say.

use crate::compare::broker::Settings;
use crate::compare::millpond;
use crate::compare::program::{Interrupt, Program, tied};
use crate::deadline::Deadline;
use crate::suites::suite::{ADDRESS, SETTINGS_OF_KAFKA, Suite, start_kafka, target};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(120);
const ASK_AGAIN: Duration = Duration::from_millis(50);
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// What a panic leaves in the log, whichever thread it was in.
const PANIC: &str = "panicked at";

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Apache Kafka, in the version that `tests/compat/install` brings.
    Kafka,
    /// Millpond.
    Millpond,
}

impl System {
    /// Its name in files and in what is said.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Millpond => "millpond",
        }
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    // Before the directory: dropped first.
    program: Program,
    system: System,
    log: PathBuf,
    _data: TempDir,
}

impl Broker {
    /// Starts it for a suite, with its output in `logs`, and waits until it listens.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        system: System,
        suite: &Suite,
        binary: &Path,
        logs: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        // On the disk of the build: a temporary directory is often memory.
        let data = TempDir::with_prefix_in("suite-", target())?;
        let address: SocketAddr = ADDRESS.parse().context("an address")?;
        let command = match system {
            System::Millpond => ours(suite, binary, data.path(), address),
            System::Kafka => kafka(suite, data.path(), address),
        };
        let log = logs.join("broker");
        let program = Program::start(command, &log, interrupt)?;
        let mut broker = Self { program, system, log, _data: data };
        broker.wait_until_it_listens(address, interrupt)?;
        Ok(broker)
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr, interrupt: &Interrupt) -> Result<()> {
        let deadline = Deadline::after(START_MAX);
        while TcpStream::connect_timeout(&address, CONNECT_MAX).is_err() {
            self.ensure_it_runs()?;
            ensure!(!deadline.passed(), "no broker listens: {}", self.program.last_words());
            interrupt.pause(ASK_AGAIN)?;
        }
        Ok(())
    }

    /// Fails when the broker has ended or, if it is ours, a part of it has panicked.
    ///
    /// # Errors
    /// That, with its last words.
    pub fn ensure_it_runs(&mut self) -> Result<()> {
        if let Some(status) = self.program.ended()? {
            bail!("the broker ended with {status}: {}", self.program.last_words());
        }
        let printed = fs::read(self.log.with_extension("err")).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let panic = printed.lines().find(|line| line.contains(PANIC));
        if let Some(line) = panic.filter(|_| self.system == System::Millpond) {
            bail!("the broker panicked: {line}");
        }
        Ok(())
    }
}

fn ours(suite: &Suite, binary: &Path, data: &Path, address: SocketAddr) -> Command {
    let mut command = millpond::command(binary, data, address, &Settings::new());
    command.args(["--advertise", &format!("{}:{}", suite.host, address.port())]);
    suite.settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    command
}

fn kafka(suite: &Suite, data: &Path, address: SocketAddr) -> Command {
    let mut command = tied(start_kafka());
    let port = address.port();
    command.arg(data).arg(port.to_string()).args(SETTINGS_OF_KAFKA).args(suite.settings);
    let (host, controller) = (suite.host, port + 1);
    // Of two lines for one setting the later counts.
    command.arg(format!(
        "advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://localhost:{controller}"
    ));
    command.env("CARGO_TARGET_DIR", target()).env("HEAP", "1g");
    command
}
