//! Each real client does what its users do: `tests/compat/` has one program per client library.

use harness::program::{clients, compat, java, run};
use harness::target::{Target, unique_topic};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// Runs a client program; every one of them ends by saying that what it made is deleted, but kcat,
/// which cannot delete.
fn check(command: &mut Command, last_words: &str) {
    let target = Target::start();
    let printed = run(command.arg(target.kafka().to_string()));
    assert!(printed.ends_with(&format!("ok {last_words}\n")), "{printed}");
}

fn python(program: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(compat().join(program));
    command
}

#[test]
fn kcat_of_debian() {
    check(&mut Command::new(compat().join("kcat/check.sh")), "metadata");
}

#[test]
fn confluent_kafka_for_python() {
    check(&mut python("confluent-kafka/check.py"), "delete topic");
}

#[test]
fn aiokafka() {
    check(&mut python("aiokafka/check.py"), "delete topic");
}

#[test]
fn java_client() {
    check(&mut java("Check"), "delete topic");
}

#[test]
fn franz_go() {
    check(&mut Command::new(clients().join("bin/franz-go/check")), "delete topic");
}

/// What a topic browser asks for, from the list of topics to the last messages.
#[test]
fn topic_browser() {
    check(&mut Command::new(clients().join("bin/franz-go/browse")), "delete topic");
}

#[test]
fn sarama() {
    check(&mut Command::new(clients().join("bin/sarama/check")), "delete topic");
}

/// kafkajs has no consumer without a group, so kcat reads back what it produced.
#[test]
fn kafkajs() {
    let target = Target::start();
    let bootstrap = target.kafka().to_string();
    let (topic, scratch) = (unique_topic("compat-kafkajs"), TempDir::new().unwrap());
    let manifest = scratch.path().join("manifest");
    let program = clients().join("kafkajs/check.js");
    run(Command::new("node").arg(program).arg(&bootstrap).arg(&manifest).arg(&topic));

    let sent = fs::read_to_string(&manifest).unwrap();
    for partition in ["0", "1", "2", "3", "4"] {
        let format = format!("{partition}|%k|%s\n");
        let got = run(Command::new("kcat")
            .args(["-b", &bootstrap, "-C", "-t", &topic, "-p", partition])
            .args(["-o", "beginning", "-e", "-q", "-f", &format]));
        let prefix = format!("{partition}|");
        let expected: Vec<_> = sent.lines().filter(|line| line.starts_with(&prefix)).collect();
        assert_eq!(got.lines().collect::<Vec<_>>(), expected, "partition {partition}");
    }
}
