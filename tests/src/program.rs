//! Other people's programs: the clients that `tests/compat/install` brought, and how to run them
//! with a limit and keep what they printed.

use crate::deadline::Deadline;
use crate::node::profile_dir;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Longest that a client program may take for all that it does.
const PROGRAM_MAX: Duration = Duration::from_secs(180);

/// Folder of the client programs' sources.
pub fn compat() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat")
}

/// Folder of what `tests/compat/install` brought.
pub fn clients() -> PathBuf {
    let target = profile_dir();
    let clients = target.parent().expect("a profile's folder is in target").join("clients");
    assert!(clients.exists(), "the clients are not installed: run tests/compat/install");
    clients
}

/// A Java program of Apache Kafka's, or ours written with its client.
pub fn java(class: &str) -> Command {
    let java = clients().join("java");
    let mut command = Command::new("java");
    command.arg(format!("-Dlog4j2.configurationFile={}", java.join("log4j2.properties").display()));
    // Short-lived programs: what makes long ones fast only costs them start-up time.
    command.args([
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xshare:auto",
        "-Xmx256m",
        "-cp",
    ]);
    command.arg(format!("{}:{}", java.join("classes").display(), java.join("libs/*").display()));
    command.arg(class);
    command
}

/// What a program printed, on both streams together.
#[derive(Debug)]
pub struct Printed {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output and standard error.
    pub text: String,
}

/// Runs a program to its end; fails the test when it fails.
pub fn run(command: &mut Command) -> String {
    let printed = run_any(command);
    assert!(
        printed.status.success(),
        "{command:?} ended with {}:\n{}",
        printed.status,
        printed.text
    );
    printed.text
}

/// Runs a program to its end, however it ends.
pub fn run_any(command: &mut Command) -> Printed {
    run_with_input(command, Stdio::null())
}

/// Runs a program that reads this text; fails the test when it fails.
pub fn run_with_text(command: &mut Command, input: &str) -> String {
    let file = NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file.as_file(), input.as_bytes()).expect("a small file");
    let stdin = File::open(file.path()).expect("the file just made");
    let printed = run_with_input(command, stdin.into());
    assert!(
        printed.status.success(),
        "{command:?} ended with {}:\n{}",
        printed.status,
        printed.text
    );
    printed.text
}

fn run_with_input(command: &mut Command, input: Stdio) -> Printed {
    let output = NamedTempFile::new().expect("a temporary file");
    // One open file for both streams: two would have two positions and overwrite each other.
    let stream = || output.as_file().try_clone().expect("a duplicate descriptor");
    command.stdin(input).stdout(stream()).stderr(stream());
    let mut child = Running::spawn(command);
    let deadline = Deadline::after(PROGRAM_MAX);
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("a child can be waited for") {
            break status;
        }
        assert!(!deadline.passed(), "{command:?} still runs; printed:\n{}", read(&output));
        std::thread::park_timeout(Duration::from_millis(5));
    };
    Printed { status, text: read(&output) }
}

fn read(output: &NamedTempFile) -> String {
    let mut bytes = Vec::new();
    output.reopen().and_then(|mut file| file.read_to_end(&mut bytes)).expect("a readable file");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program that runs until this value is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// The process, to talk to it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
