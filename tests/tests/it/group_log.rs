//! What the coordinator writes to `__consumer_offsets`, read by Apache Kafka's own tools: the console
//! consumer's formatters over the wire, and the dump of log segments from the file.

use harness::batch::{ANONYMOUS, batch_of};
use harness::deadline::now_ms;
use harness::node::Node;
use harness::program::{java, run, run_any};
use harness::wire::Connection;
use std::fs;
use std::process::Command;

/// A node whose groups are all in one log, and a topic with three records.
fn node() -> Node {
    let one_log = ["--set", "offsets.topic.num.partitions=1"];
    let at_once = ["--set", "group.initial.rebalance.delay.ms=0"];
    let node = Node::start_with(&[one_log, at_once].concat());
    let mut connection = Connection::open(node.kafka());
    connection.create_topic("read", 1, &[]);
    connection.produce("read", 0, batch_of(ANONYMOUS, &["a", "b", "c"], now_ms()));
    node
}

fn tool(class: &str, node: &Node) -> Command {
    let mut command = java(class);
    command.arg("--bootstrap-server").arg(node.kafka().to_string());
    command
}

/// Reads the topic to its end as a member of a group, which commits when it leaves.
fn consume(node: &Node, group: &str, properties: &[&str]) {
    let mut consumer = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", node);
    consumer.args(["--topic", "read", "--group", group, "--from-beginning", "--max-messages", "3"]);
    for property in properties {
        consumer.args(["--command-property", property]);
    }
    let printed = run(&mut consumer);
    assert!(printed.contains("Processed a total of 3 messages"), "{printed}");
}

fn delete(node: &Node, group: &str) {
    let mut command = tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", node);
    let printed = run(command.args(["--delete", "--group", group]));
    assert!(printed.contains("was successful"), "{printed}");
}

/// Everything in the log, as one of Kafka's formatters prints it.
fn formatted(node: &Node, formatter: &str) -> String {
    let mut consumer = tool("org.apache.kafka.tools.consumer.ConsoleConsumer", node);
    consumer.args(["--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "5000"]);
    consumer.arg("--formatter").arg(format!("org.apache.kafka.tools.consumer.{formatter}"));
    run_any(&mut consumer).text
}

/// Fails unless all of these stand in the text, in this order.
fn assert_tells(text: &str, expected: &[&str]) {
    let mut rest = text;
    for words in expected {
        let found = rest.find(words).unwrap_or_else(|| panic!("{words:?} is missing:\n{text}"));
        rest = &rest[found + words.len()..];
    }
}

/// Keys and values in the log's file, one record a line.
fn dumped(mut node: Node) -> String {
    assert!(node.stop().success());
    let folder = node.data().join("__consumer_offsets-0");
    let entries = fs::read_dir(&folder).expect("the log's folder");
    let mut segments: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .map(|path| path.display().to_string())
        .collect();
    segments.sort_unstable();
    let mut dump = java("org.apache.kafka.tools.DumpLogSegments");
    run(dump.args(["--offsets-decoder", "--files"]).arg(segments.join(",")))
}

#[test]
fn formatters_read_commits_and_classic_groups() {
    let node = node();
    consume(&node, "kept", &["group.protocol=classic", "client.id=someone"]);
    consume(&node, "gone", &["group.protocol=classic"]);
    delete(&node, "gone");

    let offsets = formatted(&node, "OffsetsMessageFormatter");
    let commit = r#"{"group":"kept","topic":"read","partition":0}},"value":{"version":3,"data":{"offset":3,"#;
    assert_tells(&offsets, &[commit]);
    let tombstone = r#"{"group":"gone","topic":"read","partition":0}},"value":null}"#;
    assert_tells(&offsets, &[tombstone]);

    let groups = formatted(&node, "GroupMetadataMessageFormatter");
    let stable =
        r#"{"group":"kept"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":"#;
    let member = [r#""protocol":"range""#, r#""clientId":"someone","clientHost":"/127.0.0.1""#];
    let empty = r#""protocol":null,"leader":null,"#;
    assert_tells(&groups, &[stable, member[0], member[1], stable, empty, r#""members":[]"#]);
    assert_tells(&groups, &[r#"{"group":"gone"}},"value":null}"#]);
}

#[test]
fn the_dump_of_segments_reads_classic_groups() {
    let node = node();
    consume(&node, "static", &["group.protocol=classic", "group.instance.id=till-1"]);
    let dump = dumped(node);
    let group = r#"key: {"type":"2","data":{"group":"static"}} payload: {"version":"3","data":"#;
    let assigned = r#""assignedPartitions":[{"topic":"read","partitions":[0]}]"#;
    assert_tells(&dump, &[group, r#""groupInstanceId":"till-1""#, assigned]);
    let commit = r#"{"group":"static","topic":"read","partition":0}} payload: {"version":"3","data":{"offset":3,"#;
    assert_tells(&dump, &[r#"key: {"type":"1","data":"#, commit]);
    assert!(!dump.contains("isvalid: false"), "{dump}");
}
