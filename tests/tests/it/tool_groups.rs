//! Apache Kafka's tools that use groups: all of `tests/suites/tools`, and Trogdor.

use harness::program::{compat, java, run, run_any};
use harness::target::{Target, free_port, unique_topic};
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use tempfile::TempDir;

/// Every step prints what it printed of Apache Kafka, but for those that are known to differ.
#[test]
fn kafka_s_tools_say_what_they_say_of_kafka() {
    let target = Target::start();
    let program = compat().parent().expect("compat is in a folder").join("suites/tools/run");
    let printed = run_any(Command::new(program).arg("at").arg(target.kafka().to_string()));
    assert!(printed.status.success(), "{}", printed.text);
    assert!(printed.text.contains(" steps are equal"), "{}", printed.text);
}

/// A producer and a consumer of a group that tell each other what they sent and got.
#[test]
fn trogdor_s_round_trip() {
    let target = Target::start();
    target.connect().find_coordinator("round-trip");
    let scratch = TempDir::new().expect("a temporary directory");
    let port = free_port().to_string(); // the agent's own
    let configuration = |name: &str| {
        let template = fs::read_to_string(compat().join("trogdor").join(name)).expect("a template");
        let text = template
            .replace("PORT", &port)
            .replace("BOOTSTRAP", &target.kafka().to_string())
            .replace("TOPIC", &unique_topic("trogdor"));
        let path = scratch.path().join(name);
        let mut file = File::create(&path).expect("a scratch file");
        file.write_all(text.as_bytes()).expect("a scratch file");
        path
    };
    let mut agent = java("org.apache.kafka.trogdor.agent.Agent");
    agent.arg("--agent.config").arg(configuration("agent.json")).args(["--node-name", "node0"]);
    let printed = run(agent.arg("--exec").arg(configuration("round-trip.json")));
    assert!(printed.contains("Task succeeded"), "{printed}");
    assert!(printed.contains("\"totalReceived\" : 2000"), "{printed}");
}
