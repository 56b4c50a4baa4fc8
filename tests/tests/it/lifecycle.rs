//! Starting and stopping: what the process says, what it refuses, and how it ends.

use harness::batch::{ANONYMOUS, batch_of};
use harness::calls::{PRODUCE, produce_request};
use harness::deadline::now_ms;
use harness::http;
use harness::node::{Node, command, run_to_exit};
use harness::target::unique_topic;
use harness::wire::Connection;
use kafka_protocol::messages::{MetadataRequest, ProduceRequest};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The exit codes that `millpond --help` lists.
const DONE: i32 = 0;
const USAGE: i32 = 2;
const CONFIG: i32 = 3;
const BIND: i32 = 4;
const LOCKED: i32 = 5;
const UNUSABLE: i32 = 6;
const NEWER_FORMAT: i32 = 7;
const NOT_CLEAN: i32 = 9;

/// The broker on a data directory, with ports that the system chooses.
fn on(data: &Path) -> Command {
    let mut command = command();
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command
}

/// Fails unless the command ends with this code and says all of these words.
fn assert_ends(command: Command, code: i32, words: &[&str]) -> String {
    let what = format!("{command:?}");
    let (status, printed) = run_to_exit(command);
    assert_eq!(status.code(), Some(code), "{what} printed:\n{printed}");
    for word in words {
        assert!(printed.contains(word), "{word:?} is missing in what {what} printed:\n{printed}");
    }
    printed
}

#[expect(clippy::disallowed_methods, reason = "a scratch file of a test needs no sync")]
fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a writable scratch folder");
}

#[test]
fn the_banner_says_what_a_user_needs() {
    let node = Node::start();
    let banner = node.log();
    let kcat = format!("kcat -b {} -L", node.kafka());
    let data = node.data().to_str().unwrap();
    for words in [data, "free", "before every acknowledgement", &kcat, "ready in"] {
        assert!(banner.contains(words), "{words:?} is missing:\n{banner}");
    }
    let (status, body) = http::get(node.http(), "/health/ready");
    assert_eq!(status, 200, "{body}");
    assert_eq!(http::get(node.http(), "/health/live").0, 200);
    assert_eq!(http::get(node.http(), "/nowhere").0, 404);
}

#[test]
fn metrics_move_with_requests() {
    let node = Node::start();
    let topic = unique_topic("lifecycle");
    let mut connection = Connection::open(node.kafka());
    connection.create_topic(&topic, 1, &[]);
    connection.produce(&topic, 0, batch_of(ANONYMOUS, &["a"], now_ms()));
    let (status, text) = http::get(node.http(), "/metrics");
    assert_eq!(status, 200);
    let value = |series: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("{series} is missing:\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("millpond_requests_total{api=\"Produce\"}") >= 1.0);
    assert!(value("millpond_connections ") >= 1.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
}

#[test]
fn a_busy_port_is_named_with_its_holder() {
    let node = Node::start();
    for flag in ["--listen", "--http"] {
        let dir = TempDir::new().unwrap();
        let busy = if flag == "--listen" { node.kafka() } else { node.http() };
        let other = if flag == "--listen" { "--http" } else { "--listen" };
        let mut second = command();
        second.arg("--data").arg(dir.path());
        second.args([flag, &busy.to_string(), other, "127.0.0.1:0"]);
        assert_ends(second, BIND, &[&busy.to_string(), &node.pid().to_string(), flag]);
    }
}

#[test]
fn a_data_directory_has_one_holder() {
    let mut node = Node::start();
    let pid = node.pid().to_string();
    assert_ends(on(node.data()), LOCKED, &[node.data().to_str().unwrap(), &pid, "--data"]);
    node.kill();
    node.start_again();
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    write(&dir.path().join("thesis.txt"), "chapter one");
    assert_ends(on(dir.path()), UNUSABLE, &[dir.path().to_str().unwrap(), "--data"]);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["thesis.txt"], "nothing was written there");
    let file = dir.path().join("thesis.txt");
    assert_ends(on(&file), UNUSABLE, &[file.to_str().unwrap(), "--data"]);
}

#[test]
fn a_newer_directory_is_refused() {
    let mut node = Node::start();
    assert!(node.stop().success());
    let marker = node.data().join("millpond.format");
    assert_eq!(fs::read_to_string(&marker).unwrap().trim(), "format=1");
    write(&marker, "format=999\n");
    assert_ends(on(node.data()), NEWER_FORMAT, &[node.data().to_str().unwrap(), "999"]);
}

#[test]
fn addresses_that_others_reach_need_a_word() {
    let dir = TempDir::new().unwrap();
    let listening = |arguments: &[&str]| {
        let mut command = command();
        command.arg("--data").arg(dir.path()).args(["--http", "127.0.0.1:0"]).args(arguments);
        command
    };
    let open = ["--listen", "0.0.0.0:0"];
    assert_ends(listening(&open), CONFIG, &["0.0.0.0", "--insecure"]);
    let insecure = [&open[..], &["--insecure"]].concat();
    assert_ends(listening(&insecure), CONFIG, &["0.0.0.0", "--advertise"]);
    let http = ["--listen", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    let mut command = command();
    command.arg("--data").arg(dir.path()).args(http);
    assert_ends(command, CONFIG, &["0.0.0.0", "--insecure"]);
}

#[test]
fn what_cannot_be_understood_is_named() {
    let dir = TempDir::new().unwrap();
    let mut wrong_flag = on(dir.path());
    wrong_flag.arg("--lisen");
    assert_ends(wrong_flag, USAGE, &["--lisen", "--listen"]);

    let file = dir.path().join("millpond.toml");
    write(&file, "listen = [\"127.0.0.1:0\"]\n\n[kafka]\n\"log.retention.mss\" = 5\n");
    let with_file = || {
        let mut command = command();
        command.arg("--config").arg(&file);
        command
    };
    let words = [file.to_str().unwrap(), "4", "log.retention.mss", "log.retention.ms?"];
    assert_ends(with_file(), CONFIG, &words);
    write(&file, "[kafka]\n\"log.retention.ms\" = \"soon\"\n");
    assert_ends(with_file(), CONFIG, &["log.retention.ms", "soon"]);
    let mut missing = command();
    missing.args(["--config", "/nowhere/millpond.toml"]);
    assert_ends(missing, CONFIG, &["/nowhere/millpond.toml"]);
}

#[test]
fn config_commands() {
    let dir = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = command();
        command.arg("config").args(arguments);
        assert_ends(command, DONE, &[])
    };
    let example = run(&["example"]);
    let file = dir.path().join("millpond.toml");
    write(&file, &example);
    let file = file.to_str().unwrap();
    assert!(run(&["check", "--config", file]).contains("valid"));
    let shown = run(&["show", "--set", "log.retention.ms=5000", "--data", "/somewhere"]);
    for words in ["log.retention.ms", "5000", "--set", "/somewhere", "--data"] {
        assert!(shown.contains(words), "{words:?} is missing:\n{shown}");
    }
    let properties = dir.path().join("server.properties");
    write(&properties, "log.retention.ms=7000\nzookeeper.connect=a:2181\n");
    let shown = run(&["show", "--kafka-config", properties.to_str().unwrap()]);
    assert!(shown.contains("7000"), "{shown}");
}

/// A file for Kafka as it is: what has a meaning here applies, the rest is named in one warning.
#[test]
fn a_server_properties_of_kafka() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("server.properties");
    write(&file, "num.partitions=3\nnum.io.threads=8\nnum.network.threads=3\n");
    let node = Node::start_with(&["--kafka-config", file.to_str().unwrap()]);
    let log = node.wait_for_log("no effect");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("no effect")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("num.io.threads") && warnings[0].contains("num.network.threads"));
    let mut connection = Connection::open(node.kafka());
    let topic = unique_topic("lifecycle");
    connection.create_topic(&topic, -1, &[]);
    assert_eq!(connection.describe_topic(&topic).partitions.len(), 3);
}

/// Behaviour 12 for several listeners: each client learns the address of the listener it used.
#[test]
fn each_listener_tells_its_own_address() {
    let node = Node::start_with(&["--listen", "SECOND://127.0.0.1:0"]);
    let banner = node.log();
    let second = banner.lines().find(|line| line.contains("SECOND")).expect("a line of its own");
    let second: SocketAddr = second.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert_ne!(second, node.kafka());
    for address in [node.kafka(), second] {
        let request = MetadataRequest::default().with_topics(Some(vec![]));
        let answer = Connection::open(address).call(9, &request);
        assert_eq!(answer.brokers[0].port, i32::from(address.port()));
    }
}

#[test]
fn the_environment_is_heard_and_flags_win() {
    let dir = TempDir::new().unwrap();
    let run = |flags: &[&str]| {
        let mut command = command();
        command.env("MILLPOND_DATA", dir.path()).env("MILLPOND_SET", "num.partitions=5");
        command.args(["config", "show"]).args(flags);
        assert_ends(command, DONE, &[dir.path().to_str().unwrap()])
    };
    assert!(run(&[]).contains("num.partitions") && run(&[]).contains("MILLPOND_SET"));
    let shown = run(&["--set", "num.partitions=7"]);
    let line = shown.lines().find(|line| line.starts_with("\"num.partitions\"")).unwrap();
    assert!(line.contains('7') && line.contains("--set"), "{line}");
}

/// SIGTERM finishes what is in flight: a produce that was sent is answered, and is there later.
#[test]
fn a_stop_answers_what_was_asked() {
    let mut node = Node::start();
    let topic = unique_topic("lifecycle");
    let mut connection = Connection::open(node.kafka());
    connection.create_topic(&topic, 1, &[]);
    let sent: Vec<_> = (0..50)
        .map(|_| {
            let batch = batch_of(ANONYMOUS, &["a"], now_ms());
            connection.send(PRODUCE, &produce_request(&topic, 0, -1, batch))
        })
        .collect();
    // The first answer tells that the connection has begun to read what was sent.
    connection.receive::<ProduceRequest>(PRODUCE, sent[0]);
    node.signal(Signal::TERM);
    let mut acked = 1;
    for _ in &sent[1..] {
        match connection.receive_frame() {
            Some(_) => acked += 1,
            None => break,
        }
    }
    assert_eq!(node.wait().code(), Some(DONE), "{}", node.log());
    node.start_again();
    let end = Connection::open(node.kafka()).list_offset(6, &topic, 0, -1).offset;
    assert!(end >= acked, "{acked} were acknowledged, {end} are there");
}

#[test]
fn an_interrupt_is_a_stop_and_a_second_signal_ends_at_once() {
    let mut node = Node::start();
    node.signal(Signal::INT);
    assert_eq!(node.wait().code(), Some(DONE));
    node.start_again();
    // Both are pending when the process goes on, so the second cannot come too late.
    node.signal(Signal::STOP);
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    node.signal(Signal::CONT);
    let code = node.wait().code();
    assert!(code == Some(NOT_CLEAN) || code == Some(DONE), "{code:?}");
    node.start_again();
}

/// Nothing is kept under a temporary directory unless the user names one.
#[test]
fn data_has_a_lasting_place_by_default() {
    let home = TempDir::new().unwrap();
    let mut command = command();
    command.env("HOME", home.path()).env_remove("XDG_DATA_HOME").args(["config", "show"]);
    let shown = assert_ends(command, DONE, &["/millpond"]);
    assert!(shown.contains(".local/share/millpond") || shown.contains("/var/lib/millpond"));
}
