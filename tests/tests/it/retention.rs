//! What makes a log smaller, and what must not: retention by size and by age, deletion of topics, and
//! topics that are kept whole.

use harness::batch::{ANONYMOUS, batch, batch_of, record, records_in, values};
use harness::calls::{FETCH, fetch_request};
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::node::Node;
use harness::wire::Connection;
use kafka_protocol::messages::FetchRequest;
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;
const VALUE_BYTES: usize = 60_000;
const SMALL_SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");

fn start() -> (Node, Connection) {
    let node = Node::start_with(&["--set", "log.retention.check.interval.ms=100"]);
    let connection = Connection::open(node.kafka());
    (node, connection)
}

/// Produces records of twice [`VALUE_BYTES`] each, their key included.
fn produce(connection: &mut Connection, topic: &str, count: i64, timestamp_ms: i64) {
    for number in 0..count {
        let value = format!("{number:0VALUE_BYTES$}");
        connection.produce(topic, 0, batch_of(ANONYMOUS, &[&value], timestamp_ms));
    }
}

fn start_offset(connection: &mut Connection, topic: &str) -> i64 {
    connection.list_offset(6, topic, 0, -2).offset
}

/// Bytes of all files of a partition that are on the disk, those put aside included.
fn disk_bytes(node: &Node, partition: &str) -> u64 {
    let entries = fs::read_dir(node.data().join(partition)).expect("the partition's directory");
    // A file may be removed between being listed and being looked at.
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

fn has_directory_like(data: &Path, name: &str) -> bool {
    let mut entries = fs::read_dir(data).expect("the data directory");
    entries
        .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(name)))
}

#[test]
fn old_segments_go_by_size() {
    const RECORDS: i64 = 100;
    let (node, mut connection) = start();
    let settings = [SMALL_SEGMENTS, ("retention.bytes", "3145728"), ("file.delete.delay.ms", "0")];
    connection.create_topic("sized", 1, &settings);
    produce(&mut connection, "sized", RECORDS, now_ms());
    // Kafka keeps what it takes to have the limit's bytes, and so do we: not a whole segment more.
    let start = eventually("the log is as small as it should be", || {
        let start = start_offset(&mut connection, "sized");
        (RECORDS - start <= 35 && disk_bytes(&node, "sized-0") < 5 * MIB).then_some(start)
    });
    let left = RECORDS - start;
    assert!(left >= 26, "{left} records of 120 kB are left");
    let below = connection.fetch("sized", 0, start - 1);
    assert_eq!(below.error_code, codes::OFFSET_OUT_OF_RANGE);
    assert_eq!(records_in(connection.fetch("sized", 0, start).records)[0].offset, start);
}

#[test]
fn old_segments_go_by_age() {
    let (_node, mut connection) = start();
    let settings = [SMALL_SEGMENTS, ("retention.ms", "3600000")];
    connection.create_topic("aged", 1, &settings);
    produce(&mut connection, "aged", 20, now_ms() - 7_200_000);
    eventually("all of it is old", || (start_offset(&mut connection, "aged") == 20).then_some(()));
    produce(&mut connection, "aged", 1, now_ms());
    assert_eq!(records_in(connection.fetch("aged", 0, 20).records).len(), 1);
    // What is young stays, whatever else a pass would take.
    produce(&mut connection, "aged", 20, now_ms());
    connection.create_topic("other", 1, &settings);
    produce(&mut connection, "other", 20, now_ms() - 7_200_000);
    eventually("another pass", || (start_offset(&mut connection, "other") == 20).then_some(()));
    assert_eq!(start_offset(&mut connection, "aged"), 20);
}

/// Files that go while a reader is amid them: it gets all that it began to take.
#[test]
fn a_reader_is_not_disturbed() {
    const RECORDS: i64 = 120;
    let (node, mut connection) = start();
    let settings = [SMALL_SEGMENTS, ("file.delete.delay.ms", "0")];
    connection.create_topic("read", 1, &settings);
    produce(&mut connection, "read", RECORDS, now_ms());
    let mut request = fetch_request("read", 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut reader = Connection::open(node.kafka());
    let sent = reader.send(FETCH, &request);
    // The response has begun, and is far larger than what a socket takes of it.
    reader.wait_until_readable();
    assert_eq!(connection.delete_records("read", 0, RECORDS), RECORDS);
    let answer = reader.receive::<FetchRequest>(FETCH, sent);
    let partition = &answer.responses[0].partitions[0];
    let read = values(&records_in(partition.records.clone()));
    assert!(i64::try_from(read.len()).expect("few") >= RECORDS - 1, "{} records", read.len());
    for (number, value) in read.iter().enumerate() {
        assert!(*value == format!("{number:0VALUE_BYTES$}"), "record {number}");
    }
}

#[test]
fn a_deleted_topic_leaves_nothing() {
    let (mut node, mut connection) = start();
    connection.create_topic("gone", 3, &[("file.delete.delay.ms", "0")]);
    produce(&mut connection, "gone", 5, now_ms());
    assert!(has_directory_like(node.data(), "gone-"));
    assert_eq!(connection.delete_topic("gone"), codes::NONE);
    eventually("its directories go", || (!has_directory_like(node.data(), "gone-")).then_some(()));
    connection.create_topic("gone", 1, &[]);
    assert_eq!(connection.list_offset(6, "gone", 0, -1).offset, 0, "a new topic is empty");
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    assert_eq!(connection.list_offset(6, "gone", 0, -1).offset, 0, "and stays so");
}

/// Compaction is not there yet: such a topic keeps everything until it is.
#[test]
fn a_compacted_topic_is_kept_whole() {
    const RECORDS: i64 = 30;
    let (_node, mut connection) = start();
    let limits = [("retention.bytes", "1048576"), ("retention.ms", "1000")];
    let settings = [&limits[..], &[SMALL_SEGMENTS, ("cleanup.policy", "compact")]].concat();
    connection.create_topic("compacted", 1, &settings);
    let old_ms = now_ms() - 7_200_000;
    let value = "x".repeat(VALUE_BYTES);
    for _ in 0..RECORDS {
        let mut same_key = record(&value, old_ms);
        same_key.key = Some("key".into());
        connection.produce("compacted", 0, batch(ANONYMOUS, &[same_key]));
    }
    // A topic that is not compacted shows that a pass has come by.
    connection.create_topic("marker", 1, &[&limits[..], &[SMALL_SEGMENTS]].concat());
    produce(&mut connection, "marker", 10, old_ms);
    eventually("a pass of retention", || {
        (start_offset(&mut connection, "marker") > 0).then_some(())
    });
    assert_eq!(start_offset(&mut connection, "compacted"), 0);
    assert_eq!(connection.list_offset(6, "compacted", 0, -1).offset, RECORDS);
}

/// A topic may trade what a power loss costs for speed; a killed process costs it nothing.
#[test]
fn a_relaxed_topic_outlives_a_killed_process() {
    let mut node = Node::start();
    let mut connection = Connection::open(node.kafka());
    let topics: [(&str, &[(&str, &str)]); 3] = [
        ("relaxed", &[("durability", "relaxed")]),
        ("each-100", &[("durability", "relaxed"), ("flush.messages", "100")]),
        ("each-50-ms", &[("durability", "relaxed"), ("flush.ms", "50")]),
    ];
    for (topic, settings) in topics {
        connection.create_topic(topic, 1, settings);
        for number in 0..250 {
            let batch = batch_of(ANONYMOUS, &[&number.to_string()], now_ms());
            assert_eq!(connection.produce(topic, 0, batch), number);
        }
    }
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    let expected: Vec<_> = (0..250).map(|number| number.to_string()).collect();
    for (topic, _) in topics {
        assert_eq!(values(&records_in(connection.fetch(topic, 0, 0).records)), expected, "{topic}");
    }
}
