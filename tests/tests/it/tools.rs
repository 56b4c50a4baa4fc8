//! Apache Kafka's command-line tools, each run against the broker as its users would.

use harness::batch::{ANONYMOUS, batch_of};
use harness::deadline::now_ms;
use harness::node::Node;
use harness::program::{java, run, run_with_text};
use harness::target::{Target, unique_topic};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

pub(super) fn tool(class: &str, target: &Target) -> Command {
    let mut command = java(class);
    command.arg("--bootstrap-server").arg(target.kafka().to_string());
    command
}

/// Fails unless all of these stand in the text, in this order.
pub(super) fn assert_tells(text: &str, expected: &[&str]) {
    let mut rest = text;
    for words in expected {
        let found = rest.find(words).unwrap_or_else(|| panic!("{words:?} is missing:\n{text}"));
        rest = &rest[found + words.len()..];
    }
}

#[test]
fn topic_command() {
    let target = Target::start();
    let topic = unique_topic("tools");
    let topics = |arguments: &[&str]| {
        run(tool("org.apache.kafka.tools.TopicCommand", &target).args(arguments))
    };
    let created = topics(&[
        "--create",
        "--topic",
        &topic,
        "--partitions",
        "3",
        "--config",
        "retention.ms=100000000",
    ]);
    assert_tells(&created, &["Created topic"]);
    assert!(topics(&["--list"]).lines().any(|line| line == topic));
    topics(&["--alter", "--topic", &topic, "--partitions", "4"]);
    let described = topics(&["--describe", "--topic", &topic]);
    assert_tells(&described, &["PartitionCount: 4", "ReplicationFactor: 1"]);
    assert_tells(&described, &["retention.ms=100000000", "Partition: 0", "Isr: ", "Partition: 3"]);
    assert!(!described.contains("Leader: none"), "{described}");
    topics(&["--delete", "--topic", &topic]);
    assert!(!topics(&["--list"]).lines().any(|line| line == topic));
}

#[test]
fn config_command() {
    let target = Target::start();
    let topic = unique_topic("tools");
    let mut connection = target.connect();
    connection.create_topic(&topic, 1, &[]);
    let node_id = connection.describe_topic(&topic).partitions[0].leader_id.0.to_string();
    let configs =
        |arguments: &[&str]| run(tool("kafka.admin.ConfigCommand", &target).args(arguments));
    let entity = ["--entity-type", "topics", "--entity-name", &topic];
    let add = ["--alter", "--add-config", "max.message.bytes=2000000,retention.ms=5000000"];
    assert_tells(&configs(&[&add[..], &entity].concat()), &["Completed updating config"]);
    let described = configs(&[&["--describe"][..], &entity].concat());
    assert_tells(&described, &["max.message.bytes=2000000", "retention.ms=5000000"]);
    let delete = ["--alter", "--delete-config", "retention.ms"];
    configs(&[&delete[..], &entity].concat());
    let described = configs(&[&["--describe"][..], &entity].concat());
    assert!(!described.contains("retention.ms=5000000"), "{described}");
    let broker = ["--describe", "--all", "--entity-type", "brokers", "--entity-name", &node_id];
    assert_tells(&configs(&broker), &["log.retention.ms", "log.segment.bytes"]);
}

#[test]
fn producers() {
    let target = Target::start();
    let topic = unique_topic("tools");
    let mut connection = target.connect();
    connection.create_topic(&topic, 1, &[]);
    let to_topic = ["--topic", &topic];
    let mut console = tool("org.apache.kafka.tools.ConsoleProducer", &target);
    run_with_text(console.args(to_topic), "one\ntwo\nthree\n");

    let mut verifiable = tool("org.apache.kafka.tools.VerifiableProducer", &target);
    let printed = run(verifiable.args(to_topic).args(["--max-messages", "100", "--acks", "-1"]));
    assert_eq!(printed.matches("producer_send_success").count(), 100, "{printed}");
    assert_tells(&printed, &["\"sent\":100,\"acked\":100"]);

    let mut performance = tool("org.apache.kafka.tools.ProducerPerformance", &target);
    performance.args(to_topic).args(["--num-records", "5000", "--record-size", "200"]);
    let printed = run(performance.args(["--throughput", "-1"]));
    assert_tells(&printed, &["5000 records sent"]);
    assert_eq!(connection.list_offset(6, &topic, 0, -1).offset, 3 + 100 + 5000);
}

#[test]
fn offsets_records_and_log_dirs() {
    let target = Target::start();
    let topic = unique_topic("tools");
    let mut connection = target.connect();
    connection.create_topic(&topic, 2, &[]);
    let now = now_ms();
    connection.produce(&topic, 0, batch_of(ANONYMOUS, &["a", "b", "c"], now - 10_000));
    connection.produce(&topic, 1, batch_of(ANONYMOUS, &["d"], now - 10_000));
    let offsets = |arguments: &[&str]| {
        let mut command = tool("org.apache.kafka.tools.GetOffsetShell", &target);
        run(command.args(["--topic", &topic]).args(arguments))
    };
    assert_eq!(offsets(&[]), format!("{topic}:0:3\n{topic}:1:1\n"));
    let after_first = (now - 9_999).to_string();
    assert_eq!(offsets(&["--time", &after_first, "--partitions", "0"]), format!("{topic}:0:1\n"));
    assert_eq!(offsets(&["--time", "max-timestamp"]), format!("{topic}:0:2\n{topic}:1:0\n"));

    let scratch = TempDir::new().unwrap();
    let plan = scratch.path().join("plan.json");
    let partition = format!(r#"{{"topic":"{topic}","partition":0,"offset":2}}"#);
    write(&plan, &format!(r#"{{"partitions":[{partition}],"version":1}}"#));
    let mut delete = tool("org.apache.kafka.tools.DeleteRecordsCommand", &target);
    let printed = run(delete.arg("--offset-json-file").arg(&plan));
    assert_tells(&printed, &[&format!("{topic}-0\tlow_watermark: 2")]);
    assert_eq!(offsets(&["--time", "earliest"]), format!("{topic}:0:2\n{topic}:1:0\n"));

    let mut log_dirs = tool("org.apache.kafka.tools.LogDirsCommand", &target);
    let printed = run(log_dirs.args(["--describe", "--topic-list", &topic]));
    let json = printed.lines().find(|line| line.starts_with('{')).expect("a line of JSON");
    let described: serde_json::Value = serde_json::from_str(json).unwrap();
    let dir = &described["brokers"][0]["logDirs"][0];
    assert!(dir["error"].is_null(), "{printed}");
    let partitions = dir["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2, "{printed}");
    assert!(partitions.iter().all(|partition| partition["size"].as_u64() > Some(0)), "{printed}");
}

#[test]
fn broker_api_versions() {
    let target = Target::start();
    let printed = run(&mut tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &target));
    // Produce's minimum is 0 because old librdkafka would else stop compressing.
    assert_tells(&printed, &["Produce(0): 0 to ", "Fetch(1): 4 to ", "ApiVersions(18): 0 to "]);
    assert_tells(&printed, &["usable: "]);
}

#[test]
fn client_compatibility_test() {
    let target = Target::start();
    // The tool creates a topic of this name and leaves it.
    target.connect().delete_topic("newtopic");
    let mut command = tool("org.apache.kafka.tools.ClientCompatibilityTest", &target);
    command.args(["--topic", &unique_topic("tools"), "--num-cluster-nodes", "1"]);
    for supported in [
        "offsets-for-times",
        "cluster-id",
        "create-topics",
        "describe-configs",
        "idempotent-producer",
    ] {
        command.args([&format!("--{supported}-supported"), "true"]);
    }
    // Kafka refuses ACLs without an authorizer, which this tool takes for support.
    let acls = if target.is_ours() { "false" } else { "true" };
    command.args(["--describe-acls-supported", acls]);
    run(command.args(["--expect-record-too-large-exception", "false"]));
}

/// The files of a partition, read by Kafka's own tool: batches, both indexes, nothing to complain.
#[test]
fn dump_log_segments() {
    let mut node = Node::start();
    let target = node.kafka();
    let topic = unique_topic("tools");
    let mut connection = harness::wire::Connection::open(target);
    // Small segments and dense indexes, so that closed segments and index rows are there to read.
    let settings = [("segment.bytes", "1048576"), ("index.interval.bytes", "1024")];
    connection.create_topic(&topic, 1, &settings);
    let (value, now) = ("x".repeat(1000), now_ms());
    let values = [value.as_str(); 40];
    let batches = 100;
    for number in 0..batches {
        connection.produce(&topic, 0, batch_of(ANONYMOUS, &values, now - 3_600_000 + number));
    }
    assert!(node.stop().success());

    let partition = partition_dir(node.data(), &topic);
    let mut files: Vec<_> =
        fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let of_kind = |kind: &str| -> Vec<_> {
        let named = files.iter().filter(|file| file.extension().is_some_and(|ext| ext == kind));
        named.map(|file| file.to_str().unwrap().to_owned()).collect()
    };
    let (logs, indexes) = (of_kind("log"), [of_kind("index"), of_kind("timeindex")].concat());
    assert!(logs.len() > 3, "{files:?}");
    let dump = |files: &[String]| {
        let mut command = java("org.apache.kafka.tools.DumpLogSegments");
        run(command.args(["--deep-iteration", "--files", &files.join(",")]))
    };
    let printed = dump(&logs);
    assert_eq!(printed.matches("isvalid: true").count(), usize::try_from(batches).unwrap());
    assert_eq!(printed.matches("| offset: ").count(), values.len() * 100);
    let printed = [printed, dump(&indexes)].concat();
    for complaint in ["isvalid: false", "Mismatches", "mismatch", "corrupt", "bytes at the end"] {
        assert!(!printed.contains(complaint), "{complaint}:\n{printed}");
    }
    assert!(printed.matches("offset: ").count() > 4000, "index rows are dumped");
}

/// The folder of partition 0 of this topic, wherever the data directory keeps it.
fn partition_dir(data: &Path, topic: &str) -> std::path::PathBuf {
    let name = format!("{topic}-0");
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|file_name| *file_name == *name) {
                    return path;
                }
                folders.push(path);
            }
        }
    }
    panic!("{} holds no folder {name}", data.display());
}

#[expect(clippy::disallowed_methods, reason = "a scratch file of a test needs no sync")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a writable folder");
}
