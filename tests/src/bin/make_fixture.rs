//! Writes the data directories that every later version must open, with this version of the broker:
//! one of a broker that was stopped, one of a broker that was killed, and what they hold as text.
//!
//!     make_fixture FOLDER
//!
//! The folder must not exist. `tests/fixtures/README.md` says when this is run and what is kept.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use harness::batch::{ANONYMOUS, Producer, batch_of};
use harness::fixture::{describe, describe_topic};
use harness::node::Node;
use harness::program::run_with_text;
use harness::wire::Connection;

/// Codecs by their names in kcat.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// 2025-01-01, in milliseconds.
const FIRST_MS: i64 = 1_735_689_600_000;
/// The records are old, and are to stay.
const FOREVER: (&str, &str) = ("retention.ms", "-1");

fn main() {
    let folder = env::args().nth(1).expect("usage: make_fixture FOLDER");
    for variant in ["stopped", "killed"] {
        let folder = Path::new(&folder).join(variant);
        fs::create_dir_all(folder.parent().expect("a folder in FOLDER")).expect("a writable place");
        make(&folder, variant == "killed");
    }
}

fn make(folder: &Path, is_killed: bool) {
    assert!(!folder.exists(), "{} is there already", folder.display());
    let data = folder.join("data");
    fs::create_dir(folder).expect("a writable place");
    let mut node = Node::start_in(&data, &[]);
    let mut connection = Connection::open(node.kafka());
    codecs(&node, &mut connection);
    segments(&mut connection);
    trimmed(&mut connection);
    let producer = idempotent(&mut connection);
    connection.create_topic("empty", 2, &[FOREVER]);
    connection.create_topic("deleted", 1, &[]);
    connection.delete_topic("deleted");
    // An unclean stop and what came after it: two leader epochs in one log.
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    connection.produce("segments", 0, batch_of(ANONYMOUS, &["after a kill"], FIRST_MS + 60_000));
    let mut expected = describe(&producer);
    for topic in ["codecs", "empty", "idempotent", "segments", "trimmed"] {
        expected.push_str(&describe_topic(&mut connection, node.kafka(), topic));
    }
    let mut file = File::create(folder.join("expected.txt")).expect("a writable folder");
    file.write_all(expected.as_bytes()).expect("a writable folder");
    if is_killed {
        node.kill();
    } else {
        assert!(node.stop().success(), "{}", node.log());
    }
}

/// Every codec, by a client that is not ours, into two partitions.
fn codecs(node: &Node, connection: &mut Connection) {
    connection.create_topic("codecs", 2, &[FOREVER]);
    for (place, codec) in (0..).zip(CODECS) {
        let lines: String =
            (0..20).map(|line| format!("{codec}-{line}:the same words\n")).collect();
        let partition = (place % 2).to_string();
        let mut kcat = Command::new("kcat");
        kcat.args(["-b", &node.kafka().to_string(), "-P", "-t", "codecs", "-p", &partition]);
        run_with_text(kcat.args(["-z", codec, "-K:"]), &lines);
    }
}

/// Several closed segments, rolled by the time of their records.
fn segments(connection: &mut Connection) {
    connection.create_topic("segments", 1, &[FOREVER, ("segment.ms", "10000")]);
    for number in 0..12 {
        let values = [format!("{number}-a"), format!("{number}-b")];
        let batch =
            batch_of(ANONYMOUS, &values.each_ref().map(String::as_str), FIRST_MS + number * 4000);
        connection.produce("segments", 0, batch);
    }
}

/// A start in the middle of the only segment.
fn trimmed(connection: &mut Connection) {
    connection.create_topic("trimmed", 1, &[FOREVER]);
    for number in 0..10 {
        connection.produce("trimmed", 0, batch_of(ANONYMOUS, &[&number.to_string()], FIRST_MS));
    }
    assert_eq!(connection.delete_records("trimmed", 0, 6), 6);
}

/// A producer whose next sequence the broker must still know; that producer.
fn idempotent(connection: &mut Connection) -> Producer {
    connection.create_topic("idempotent", 1, &[FOREVER]);
    let (id, epoch) = connection.init_producer_id();
    let mut producer = Producer { id, epoch, sequence: 0 };
    while producer.sequence < 7 {
        connection.produce("idempotent", 0, batch_of(producer, &["once"], FIRST_MS));
        producer.sequence += 1;
    }
    producer
}
