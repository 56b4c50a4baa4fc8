//! One broker as a process of its own: start, kill, stop, start again on the same directory and
//! ports.
//!
//! A node never outlives its value: dropping it kills the process. A panic in the broker's log fails
//! the test that owned the node, also when every assertion of the test held.

use crate::deadline::{Deadline, PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use tempfile::TempDir;

/// Words of the last line of the banner; all ports are bound when it is printed.
const READY: &str = "ready in";

/// What a panic leaves in the log, whichever thread it was in.
const PANIC: &str = "panicked at";

/// The `target/<profile>` folder that this program was built into; the broker stands there too.
pub fn profile_dir() -> PathBuf {
    let exe = env::current_exe().expect("a program knows its own path");
    let folder = exe.parent().expect("a program is in a folder");
    // Programs are built to the profile's folder, tests to `deps` in it.
    let is_test = folder.ends_with("deps");
    if is_test { folder.parent().expect("deps is in a folder") } else { folder }.to_path_buf()
}

/// The broker's binary.
pub fn binary() -> PathBuf {
    let path = profile_dir().join("millpond");
    assert!(path.exists(), "{} is not built: cargo build -p millpond-broker", path.display());
    path
}

/// A command that runs the broker with nothing inherited that would change its behaviour.
pub fn command() -> Command {
    isolated(Command::new(binary()))
}

/// The same for a process that may open only so many files.
fn command_with_descriptors(descriptors_max: u32) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={descriptors_max}:{descriptors_max}")).arg(binary());
    isolated(command)
}

fn isolated(mut command: Command) -> Command {
    for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_setting(name: &OsString) -> bool {
    name.to_string_lossy().starts_with("MILLPOND_")
}

/// Runs the broker where it is expected to give up by itself; its exit status, and its output.
pub fn run_to_exit(mut command: Command) -> (ExitStatus, String) {
    let mut child = command.spawn().expect("the broker's binary runs");
    let output = Output::collect(&mut child);
    let status = wait(&mut child);
    output.close();
    (status, output.text())
}

/// A running broker, or one that a test has stopped and may start again.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    output: Output,
    data: DataDir,
    arguments: Vec<String>,
    descriptors_max: Option<u32>,
    kafka: SocketAddr,
    http: SocketAddr,
}

/// Where a node keeps its data: in a folder of its own, or in one that the test looks after.
#[derive(Debug)]
enum DataDir {
    Own(TempDir),
    Given(PathBuf),
}

impl DataDir {
    fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::Given(path) => path,
        }
    }
}

impl Node {
    /// Starts a node with an empty data directory of its own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `--set KEY=VALUE`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self::launch(DataDir::Own(dir), arguments, None)
    }

    /// Starts a node that may open only so many files, each time that it is started.
    pub fn start_with_descriptors(descriptors_max: u32) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self::launch(DataDir::Own(dir), &[], Some(descriptors_max))
    }

    /// Starts a node on a data directory that the caller keeps.
    pub fn start_in(data: &Path, arguments: &[&str]) -> Self {
        Self::launch(DataDir::Given(data.to_path_buf()), arguments, None)
    }

    /// Starts a node with a data directory of its own and does not wait for it: it may have to wait
    /// for others. [`Node::wait_until_ready`] does.
    pub fn begin_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut node = Self::stopped(DataDir::Own(dir), arguments, None);
        node.begin_again();
        node
    }

    fn launch(data: DataDir, arguments: &[&str], descriptors_max: Option<u32>) -> Self {
        let mut node = Self::stopped(data, arguments, descriptors_max);
        node.start_again();
        node
    }

    fn stopped(data: DataDir, arguments: &[&str], descriptors_max: Option<u32>) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let output = Output::default();
        let (kafka, http) = (any_port, any_port);
        Self { child: None, output, data, arguments, descriptors_max, kafka, http }
    }

    /// Starts the stopped or killed node on the same directory and the same ports.
    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_until_ready();
    }

    /// The same without waiting until it is ready.
    pub fn begin_again(&mut self) {
        assert!(self.child.is_none(), "the node still runs");
        let mut command = self.descriptors_max.map_or_else(command, command_with_descriptors);
        command.arg("--data").arg(self.data.path());
        command.arg("--listen").arg(self.kafka.to_string());
        command.arg("--http").arg(self.http.to_string());
        command.args(&self.arguments);
        let mut child = command.spawn().expect("the broker's binary runs");
        self.output = Output::collect(&mut child);
        self.child = Some(child);
    }

    /// Waits until a node that was begun lets clients in.
    pub fn wait_until_ready(&mut self) {
        let banner = self.output.wait_for(READY);
        (self.kafka, self.http) = addresses(&banner);
    }

    /// Replaces what the node is started with next time.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// Empties the data directory of a node that does not run, as a new disk would be.
    pub fn wipe(&mut self) {
        assert!(self.child.is_none(), "the node still runs");
        for entry in std::fs::read_dir(self.data.path()).expect("the data directory") {
            let path = entry.expect("a listing").path();
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.expect("the directory is ours");
        }
    }

    /// Whether the process runs.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Address of the Kafka port.
    pub fn kafka(&self) -> SocketAddr {
        self.kafka
    }

    /// Address of the port for health and metrics.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Id of the running process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// What the process has printed since it was last started, banner and log.
    pub fn log(&self) -> String {
        self.output.text()
    }

    /// Waits until the process has printed this.
    pub fn wait_for_log(&self, words: &str) -> String {
        self.output.wait_for(words)
    }

    /// Ends the process as a crash of it would: no handler runs.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Asks the process to stop, and waits until it has; how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a signal without waiting.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("process ids are small");
        kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("the process is ours");
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the node runs");
        let status = wait(&mut child);
        self.output.close();
        self.assert_no_panic();
        status
    }

    #[expect(clippy::print_stdout, reason = "what the broker said is half of a failed test")]
    fn print_log(&self) {
        println!("the broker printed:\n{}", self.log());
    }

    fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains(PANIC), "the broker panicked:\n{log}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
            self.output.close();
        }
        if thread::panicking() {
            self.print_log();
        } else {
            self.assert_no_panic();
        }
    }
}

/// The Kafka address and the HTTP address of a banner. Lines of the log may stand around it.
fn addresses(banner: &str) -> (SocketAddr, SocketAddr) {
    let line = |name: &str| {
        let mut words = banner.lines().map(str::split_whitespace);
        let address =
            words.find_map(|mut words| (words.next()? == name).then(|| words.next())?)?;
        let address = address.trim_start_matches("http://").trim_end_matches(['/', ',']);
        address.parse().ok()
    };
    let found = "the banner names both addresses";
    (line("kafka").expect(found), line("http").expect(found))
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Deadline::after(PATIENCE);
    eventually("the process ends", || {
        if deadline.left() < PATIENCE / 10 {
            drop(child.kill());
        }
        child.try_wait().expect("a child can be waited for")
    })
}

/// Both output streams of a process, in the order in which lines came.
#[derive(Debug, Default)]
struct Output {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    text: Mutex<Text>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: String,
    open_streams: usize,
}

impl Output {
    fn collect(child: &mut Child) -> Self {
        let output = Self::default();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        output.lock().open_streams = 2;
        output.follow(stdout);
        output.follow(stderr);
        output
    }

    fn follow(&self, stream: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = shared.text.lock().expect("no test panics while it holds this");
                text.lines.push_str(&line);
                text.lines.push('\n');
                shared.grown.notify_all();
            }
            shared.text.lock().expect("no test panics while it holds this").open_streams -= 1;
            shared.grown.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.shared.text.lock().expect("no test panics while it holds this")
    }

    fn text(&self) -> String {
        self.lock().lines.clone()
    }

    /// Waits until these words were printed; everything printed so far.
    fn wait_for(&self, words: &str) -> String {
        let text = self.wait_until(|text| text.lines.contains(words) || text.open_streams == 0);
        assert!(text.contains(words), "the broker ended without printing {words:?}:\n{text}");
        text
    }

    /// Waits until the ended process's last words are here.
    fn close(&self) {
        self.wait_until(|text| text.open_streams == 0);
    }

    fn wait_until(&self, done: impl Fn(&Text) -> bool) -> String {
        let wait = self.shared.grown.wait_timeout_while(self.lock(), PATIENCE, |text| !done(text));
        let (text, timeout) = wait.expect("no test panics while it holds this");
        let lines = text.lines.clone();
        drop(text);
        assert!(!timeout.timed_out(), "not within {PATIENCE:?}; printed so far:\n{lines}");
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_names_two_addresses() {
        let banner = "INFO waiting for 127.0.0.1:1\nmillpond 0.1.0\n  kafka  127.0.0.1:9092\n  http   http://127.0.0.1:8080/\n";
        let (kafka, http) = addresses(banner);
        assert_eq!((kafka.port(), http.port()), (9092, 8080));
    }
}
