//! Data directories of earlier versions, and of this one, open as they were left: every record, every
//! start and end, and what producers may send next. `tests/fixtures/README.md` tells how they are made.

use harness::batch::{Producer, batch_of};
use harness::codes;
use harness::fixture::{describe_topic, parse_producer};
use harness::node::Node;
use harness::program::run;
use harness::wire::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn folders_in(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).expect("a folder of fixtures");
    let mut folders: Vec<_> = entries
        .map(|entry| entry.expect("a listing").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[test]
fn data_of_every_version_opens() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut count = 0;
    for variant in folders_in(&fixtures).iter().flat_map(|version| folders_in(version)) {
        assert_opens(&variant);
        count += 1;
    }
    assert!(count >= 2, "{count} fixtures in {}", fixtures.display());
}

fn assert_opens(variant: &Path) {
    let what = variant.display();
    let expected = fs::read_to_string(variant.join("expected.txt")).expect("what it holds");
    let copy = TempDir::new().expect("a temporary directory");
    run(Command::new("cp").arg("-r").arg(variant.join("data")).arg(copy.path()));
    let mut node = Node::start_in(&copy.path().join("data"), &[]);
    assert_holds(&node, &expected, &format!("{what}"));
    // What this version has made of it must open too, however it ends.
    node.kill();
    node.start_again();
    assert_holds(&node, &expected, &format!("{what}, after a kill"));
    assert!(node.stop().success(), "{}", node.log());
    node.start_again();
    assert_holds(&node, &expected, &format!("{what}, after a stop"));

    let producer = expected.lines().find_map(parse_producer).expect("a producer");
    assert_knows(&mut Connection::open(node.kafka()), producer, &format!("{what}"));
}

fn assert_holds(node: &Node, expected: &str, what: &str) {
    let mut connection = Connection::open(node.kafka());
    let logs = expected.lines().filter_map(|line| line.strip_prefix("log ")?.split(' ').next());
    let topics: BTreeSet<_> = logs.collect();
    let mut found: String = expected
        .lines()
        .filter(|line| parse_producer(line).is_some())
        .map(|l| format!("{l}\n"))
        .collect();
    for topic in &topics {
        found.push_str(&describe_topic(&mut connection, node.kafka(), topic));
    }
    for (expected, found) in expected.lines().zip(found.lines()) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
    let deleted = connection.describe_topic("deleted");
    assert_eq!(deleted.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION, "{what}");
}

/// The last batch once more is recognised, a gap is refused, and the next one is taken.
fn assert_knows(connection: &mut Connection, producer: Producer, what: &str) {
    let end = i64::from(producer.sequence);
    let mut send = |sequence| {
        let batch = batch_of(Producer { sequence, ..producer }, &["once"], 0);
        let answer = connection.produce_any("idempotent", 0, batch);
        (answer.error_code, answer.base_offset)
    };
    assert_eq!(send(producer.sequence - 1), (codes::NONE, end - 1), "{what}: a repetition");
    assert_eq!(send(producer.sequence + 1).0, codes::OUT_OF_ORDER_SEQUENCE_NUMBER, "{what}: a gap");
    assert_eq!(send(producer.sequence), (codes::NONE, end), "{what}: the next");
}
