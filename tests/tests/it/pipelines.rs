//! Pipelines of real programs: shippers write into a topic, two independent groups write it into
//! files again, and the broker is killed in between, twice. Nothing is lost on the way.

use harness::deadline::Deadline;
use harness::node::Node;
use harness::program::{Running, clients, compat, java, run};
use harness::target::unique_topic;
use harness::wire::Connection;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Longest that lines may take through a pipeline; clients wait for their broker in steps of seconds.
const WAIT_MAX: Duration = Duration::from_secs(90);

const PARTITIONS: i32 = 3;

/// The timestamp that asks ListOffsets for the end of a partition.
const LATEST: i64 = -1;

/// A broker, a topic on it and a folder for the configurations and files of the programs.
struct Pipeline {
    node: Node,
    topic: String,
    scratch: TempDir,
    running: Vec<Running>,
}

impl Pipeline {
    fn start() -> Self {
        let node = Node::start();
        let topic = unique_topic("pipeline");
        let mut connection = Connection::open(node.kafka());
        connection.create_topic(&topic, PARTITIONS, &[]);
        connection.find_coordinator(&topic);
        let scratch = TempDir::new().expect("a temporary directory");
        Self { node, topic, scratch, running: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// One of the configurations in `tests/compat`, with what stands in capitals there.
    fn configuration(&self, name: &str) -> PathBuf {
        let template = fs::read_to_string(compat().join(name)).expect("a template");
        let text = template
            .replace("SCRATCH", self.scratch.path().to_str().expect("a plain path"))
            .replace("BOOTSTRAP", &self.node.kafka().to_string())
            .replace("TOPIC", &self.topic);
        let path = self.path(Path::new(name).file_name().expect("a file").to_str().expect("plain"));
        let mut file = File::create(&path).expect("a scratch file");
        file.write_all(text.as_bytes()).expect("a scratch file");
        path
    }

    /// Starts a program that runs until the test ends; what it prints goes to a file.
    fn spawn(&mut self, name: &str, command: &mut Command) {
        let log = File::create(self.path(&format!("{name}.log"))).expect("a scratch file");
        let both = log.try_clone().expect("a duplicate descriptor");
        command.stdin(Stdio::null()).stdout(both).stderr(log);
        self.running.push(Running::spawn(command));
    }

    fn start_rsyslog(&mut self, configuration: &str) {
        let conf = self.configuration(configuration);
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(&conf).arg("-i").arg(conf.with_extension("pid"));
        self.spawn(configuration.trim_start_matches("rsyslog/"), &mut command);
    }

    /// Two groups that write the topic into files: rsyslog's and kcat's.
    fn start_groups(&mut self) {
        self.start_rsyslog("rsyslog/consume.conf");
        let mut kcat = Command::new("kcat");
        kcat.args(["-b", &self.node.kafka().to_string(), "-G", &format!("{}-kcat", self.topic)]);
        // With -E it goes on when the broker goes away.
        kcat.args(["-E", "-u", "-q", "-X", "auto.offset.reset=earliest"]);
        kcat.args(["-X", "auto.commit.interval.ms=100", "-X", "session.timeout.ms=10000"]);
        kcat.args(["-X", "reconnect.backoff.max.ms=200", &self.topic]);
        let out = File::create(self.path("by-kcat")).expect("a scratch file");
        let log = File::create(self.path("kcat.log")).expect("a scratch file");
        kcat.stdin(Stdio::null()).stdout(out).stderr(log);
        self.running.push(Running::spawn(&mut kcat));
    }

    /// Writes a thousand lines for a shipper to ship.
    fn write_lines(&self, round: usize) {
        let mut options = File::options();
        let mut file =
            options.append(true).create(true).open(self.path("app.log")).expect("a file");
        let lines: String = (0..1000).map(|line| format!("round {round} line {line}\n")).collect();
        file.write_all(lines.as_bytes()).expect("a scratch file");
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What all programs printed, for a test that fails.
    fn logs(&self) -> String {
        let folder = fs::read_dir(self.scratch.path()).expect("a readable folder");
        let logs = folder.map(|entry| entry.expect("a readable folder").path());
        let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        logs.filter(|path| !path.ends_with("app.log"))
            .map(|path| format!("{}:\n{}\n", path.display(), tail(&path)))
            .collect()
    }

    fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Deadline::after(WAIT_MAX);
        while !holds(self) {
            assert!(!deadline.passed(), "not within {WAIT_MAX:?}: {what}\n{}", self.logs());
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Waits until the topic, and then each file, holds at least so many different lines.
    fn wait_for_lines(&self, files: &[&str], count: usize) {
        self.wait(&format!("{count} lines in {files:?}"), |pipeline| {
            files.iter().all(|name| pipeline.different(name).len() >= count)
        });
    }

    fn different(&self, name: &str) -> BTreeSet<String> {
        self.lines(name).into_iter().collect()
    }

    fn kill_the_broker(&mut self) {
        self.node.kill();
        self.node.start_again();
    }

    /// All records of the topic, read without a group.
    fn records(&self) -> Vec<String> {
        let bootstrap = self.node.kafka().to_string();
        let printed = run(Command::new("kcat")
            .args(["-b", &bootstrap, "-C", "-t", &self.topic])
            .args(["-o", "beginning", "-e", "-q"]));
        let mut records: Vec<_> = printed.lines().map(str::to_owned).collect();
        records.sort_unstable();
        records
    }
}

/// The end of a file, which is enough to see why a program stopped.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let start = text.len().saturating_sub(2000);
    text.get(start..).unwrap_or_default().to_owned()
}

/// Ships the lines of a file while the broker is killed twice; whole, each once, to both groups.
fn ship_lines(start_shipper: impl FnOnce(&mut Pipeline)) {
    let mut pipeline = Pipeline::start();
    pipeline.start_groups();
    pipeline.write_lines(0);
    start_shipper(&mut pipeline);
    let files = ["by-rsyslog", "by-kcat"];
    for round in 1..=2 {
        pipeline.wait_for_lines(&files, (round - 1) * 1000 + 1);
        pipeline.write_lines(round);
        pipeline.kill_the_broker();
    }
    pipeline.wait_for_lines(&files, 3000);
    let mut written = pipeline.lines("app.log");
    written.sort_unstable();
    assert_eq!(pipeline.records(), written, "the topic holds each line once");
    for name in files {
        let mut lines = pipeline.lines(name);
        lines.sort_unstable();
        assert_eq!(lines.len(), written.len(), "{name}: as many lines as were written");
        assert_eq!(lines, written, "{name}");
    }
}

#[test]
fn rsyslog_to_two_groups() {
    ship_lines(|pipeline| {
        let conf = "rsyslog/ship.conf";
        pipeline.start_rsyslog(conf);
    });
}

#[test]
fn syslog_ng_to_two_groups() {
    ship_lines(|pipeline| {
        let conf = pipeline.configuration("syslog-ng/syslog-ng.conf");
        let root = clients().join("syslog-ng");
        let modules = root.join("usr/lib/syslog-ng");
        let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
        command.args(["--foreground", "--no-caps", "--stderr"]);
        command.arg(format!("--module-path={}", modules.join("3.38").display()));
        command.arg("--cfgfile").arg(conf);
        for (option, file) in
            [("--persist-file", "persist"), ("--pidfile", "pid"), ("--control", "control")]
        {
            command.arg(option).arg(pipeline.path(file));
        }
        command.env("LD_LIBRARY_PATH", &modules);
        pipeline.spawn("syslog-ng", &mut command);
    });
}

/// collectd makes its own lines until it is stopped, so the topic is what both files are held to.
#[test]
fn collectd_to_two_groups() {
    let mut pipeline = Pipeline::start();
    pipeline.start_groups();
    let conf = pipeline.configuration("collectd/collectd.conf");
    pipeline.spawn("collectd", Command::new("/usr/sbin/collectd").args(["-f", "-C"]).arg(conf));
    let files = ["by-rsyslog", "by-kcat"];
    for _ in 0..2 {
        let count = pipeline.different(files[0]).len() + 50;
        pipeline.wait_for_lines(&files, count);
        pipeline.kill_the_broker();
    }
    let count = pipeline.different(files[0]).len() + 50;
    pipeline.wait_for_lines(&files, count);
    drop(pipeline.running.pop()); // collectd
    let records = pipeline.records();
    pipeline.wait("both files hold the topic", |pipeline| {
        files.iter().all(|name| pipeline.lines(name).len() >= records.len())
    });
    for name in files {
        let mut lines = pipeline.lines(name);
        lines.sort_unstable();
        assert_eq!(lines, records, "{name}");
    }
}

/// A Connect worker that reads a file into a topic and the topic into another file.
#[test]
fn connect_from_file_to_file() {
    let mut pipeline = Pipeline::start();
    pipeline.write_lines(0);
    let [worker, source, sink] = ["worker", "source", "sink"]
        .map(|name| pipeline.configuration(&format!("connect/{name}.properties")));
    let mut command = java("org.apache.kafka.connect.cli.ConnectStandalone");
    pipeline.spawn("connect", command.arg(worker).arg(source).arg(sink));
    for round in 1..=2 {
        pipeline.wait_for_lines(&["by-connect"], (round - 1) * 1000 + 1);
        pipeline.write_lines(round);
        pipeline.kill_the_broker();
    }
    pipeline.wait_for_lines(&["by-connect"], 3000);
    let written: BTreeSet<_> = pipeline.lines("app.log").into_iter().collect();
    assert_eq!(pipeline.different("by-connect"), written);
    let records: BTreeSet<_> = pipeline.records().into_iter().collect();
    assert_eq!(records, written);
    // The sink's place is committed by a group, which other tools look at. It is the topic's end, which
    // may lie beyond 3,000: Connect's producers are not idempotent, so a retry may double a batch whose
    // answer the kill took.
    let mut connection = Connection::open(pipeline.node.kafka());
    let end: i64 = (0..PARTITIONS)
        .map(|partition| connection.list_offset(7, &pipeline.topic, partition, LATEST).offset)
        .sum();
    pipeline.wait(&format!("the sink commits all {end} records"), |pipeline| {
        let mut connection = Connection::open(pipeline.node.kafka());
        let offsets = connection.committed_offsets("connect-sink", None);
        let committed = offsets.topics.iter().flat_map(|topic| &topic.partitions);
        committed.map(|found| found.committed_offset).sum::<i64>() == end
    });
}
