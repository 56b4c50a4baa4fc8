//! Looking offsets up: by name, by time, and by leader epoch.

use bytes::Buf;
use harness::batch::{ANONYMOUS, batch, batch_of, record};
use harness::calls::topic_name;
use harness::codes;
use harness::deadline::now_ms;
use harness::node::Node;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, encode};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::EpochEndOffset;
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
};
use kafka_protocol::protocol::Decodable;

/// The names of offsets, as the timestamp field carries them.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// A target, a connection and a topic with three batches: values a..f with rising times.
fn six_records() -> (Target, Connection, String, i64) {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("offsets");
    connection.create_topic(&topic, 1, &[]);
    let first_ms = now_ms() - 3_600_000;
    for (number, values) in (0..).zip([["a", "b"], ["c", "d"], ["e", "f"]]) {
        connection.produce(&topic, 0, batch_of(ANONYMOUS, &values, first_ms + number * 2000));
    }
    (target, connection, topic, first_ms)
}

/// Behaviour 36.
#[test]
fn the_ends_of_a_partition() {
    let (_target, mut connection, topic, _) = six_records();
    for version in 1..=10 {
        let latest = connection.list_offset(version, &topic, 0, LATEST);
        assert_eq!((latest.error_code, latest.offset, latest.timestamp), (0, 6, -1), "v{version}");
        let earliest = connection.list_offset(version, &topic, 0, EARLIEST);
        assert_eq!((earliest.offset, earliest.timestamp), (0, -1), "v{version}");
    }
    assert_eq!(connection.delete_records(&topic, 0, 3), 3);
    assert_eq!(connection.list_offset(7, &topic, 0, EARLIEST).offset, 3);
    let unknown = connection.list_offset(7, &topic, 4, LATEST);
    assert_eq!((unknown.error_code, unknown.offset), (codes::UNKNOWN_TOPIC_OR_PARTITION, -1));
}

/// Behaviour 37.
#[test]
fn a_time_finds_its_record_within_a_batch() {
    let (_target, mut connection, topic, first_ms) = six_records();
    let mut check = |time, offset, found_ms| {
        let found = connection.list_offset(7, &topic, 0, time);
        assert_eq!((found.error_code, found.offset, found.timestamp), (0, offset, found_ms));
    };
    for number in 0..6 {
        let time = first_ms + number * 1000;
        check(time, number, time);
        check(time - 999, number, time);
    }
    check(0, 0, first_ms);
    check(first_ms + 5001, -1, -1);
    check(i64::MAX, -1, -1);
}

/// Behaviour 37 where times are not in order: the first record that is late enough counts.
#[test]
fn times_that_go_back() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("offsets");
    connection.create_topic(&topic, 1, &[]);
    let base = now_ms() - 3_600_000;
    for times in [[500, 100], [300, 900], [200, 400]] {
        let records = times.map(|time| record("value", base + time));
        connection.produce(&topic, 0, batch(ANONYMOUS, &records));
    }
    for (time, offset, found) in [(100, 0, 500), (501, 3, 900), (901, -1, -1 - base)] {
        let answer = connection.list_offset(7, &topic, 0, base + time);
        assert_eq!((answer.offset, answer.timestamp), (offset, base + found), "time {time}");
    }
    let latest = connection.list_offset(7, &topic, 0, MAX_TIMESTAMP);
    assert_eq!((latest.offset, latest.timestamp), (3, base + 900));
}

/// A question in version 11, which the codec lacks: its bytes are those of version 10.
fn ask_v11(connection: &mut Connection, topic: &str, name: i64) -> ListOffsetsPartitionResponse {
    let asked = ListOffsetsPartition::default().with_timestamp(name);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
    let request =
        ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let mut frame = encode(10, 7, &request);
    frame[2..4].copy_from_slice(&11_i16.to_be_bytes());
    connection.send_frame(&frame);
    let mut answer = connection.receive_frame().expect("an answer");
    answer.advance(size_of::<i32>() + 1); // correlation id, no tagged fields
    let mut answer = ListOffsetsResponse::decode(&mut answer, 10).expect("a body as of version 10");
    answer.topics.remove(0).partitions.remove(0)
}

/// Behaviour 38.
#[test]
fn names_need_their_version() {
    let (_target, mut connection, topic, first_ms) = six_records();
    connection.delete_records(&topic, 0, 1);
    for (name, since) in
        [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)]
    {
        let answer = connection.list_offset(since - 1, &topic, 0, name);
        assert_eq!(answer.error_code, codes::UNSUPPORTED_VERSION, "{name} before v{since}");
    }
    let mut offset = |name| {
        let answer = connection.list_offset(10, &topic, 0, name);
        assert_eq!(answer.error_code, codes::NONE, "{name}");
        (answer.offset, answer.timestamp)
    };
    assert_eq!(offset(MAX_TIMESTAMP), (5, first_ms + 5000));
    assert_eq!(offset(EARLIEST_LOCAL).0, 1, "without tiers, what is earliest");
    assert_eq!(offset(LATEST_TIERED).0, -1, "without tiers, none");
    let pending = ask_v11(&mut connection, &topic, EARLIEST_PENDING_UPLOAD);
    assert_eq!((pending.error_code, pending.offset), (codes::NONE, -1), "without tiers, none");
    assert_eq!(ask_v11(&mut connection, &topic, LATEST).offset, 6);
    let unknown = connection.list_offset(10, &topic, 0, -7);
    assert_eq!(unknown.error_code, codes::UNSUPPORTED_VERSION, "no such name");

    let twice = ListOffsetsPartition::default().with_timestamp(LATEST);
    let asked = ListOffsetsTopic::default()
        .with_name(topic_name(&topic))
        .with_partitions(vec![twice.clone(), twice]);
    let request =
        ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![asked]);
    let answer = connection.call(7, &request);
    let found: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    assert!(!found.is_empty());
    assert!(found.iter().all(|partition| partition.error_code == codes::INVALID_REQUEST));
}

/// A partition that was never written to has ends too, and no times.
#[test]
fn an_empty_partition() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("offsets");
    connection.create_topic(&topic, 1, &[]);
    for (name, offset) in [(LATEST, 0), (EARLIEST, 0), (MAX_TIMESTAMP, -1), (0, -1)] {
        let answer = connection.list_offset(7, &topic, 0, name);
        assert_eq!((answer.error_code, answer.offset, answer.timestamp), (0, offset, -1));
    }
}

fn end_of_epoch(
    connection: &mut Connection,
    topic: &str,
    leader_epoch: i32,
    current: i32,
) -> EpochEndOffset {
    let partition = OffsetForLeaderPartition::default()
        .with_leader_epoch(leader_epoch)
        .with_current_leader_epoch(current);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default()
        .with_replica_id((-2).into())
        .with_topics(vec![topic]);
    connection.call(4, &request).topics.remove(0).partitions.remove(0)
}

/// Behaviour 39 within one epoch.
#[test]
fn the_end_of_the_current_epoch() {
    let (_target, mut connection, topic, _) = six_records();
    let epoch = connection.describe_topic(&topic).partitions[0].leader_epoch;
    let mut check = |asked, current, expected| {
        let end = end_of_epoch(&mut connection, &topic, asked, current);
        assert_eq!((end.error_code, end.leader_epoch, end.end_offset), expected, "epoch {asked}");
    };
    check(epoch, -1, (codes::NONE, epoch, 6));
    check(epoch, epoch, (codes::NONE, epoch, 6));
    check(epoch + 1, -1, (codes::NONE, -1, -1));
    check(epoch, epoch + 1, (codes::UNKNOWN_LEADER_EPOCH, -1, -1));
    if epoch > 0 {
        check(epoch, epoch - 1, (codes::FENCED_LEADER_EPOCH, -1, -1));
    }
}

/// Behaviour 39 across crashes, each of which begins an epoch.
#[test]
fn the_ends_of_older_epochs() {
    let mut node = Node::start();
    let topic = unique_topic("offsets");
    Connection::open(node.kafka()).create_topic(&topic, 1, &[]);
    let mut epochs = Vec::new();
    for round in 0..3 {
        let mut connection = Connection::open(node.kafka());
        let batch = batch_of(ANONYMOUS, &["a", "b"], now_ms());
        assert_eq!(connection.produce(&topic, 0, batch), round * 2);
        epochs.push(connection.describe_topic(&topic).partitions[0].leader_epoch);
        node.kill();
        node.start_again();
    }
    assert!(epochs.is_sorted() && epochs[0] < epochs[2], "{epochs:?}");
    let mut connection = Connection::open(node.kafka());
    for (&epoch, end_offset) in epochs.iter().zip([2, 4, 6]) {
        let end = end_of_epoch(&mut connection, &topic, epoch, -1);
        assert_eq!((end.leader_epoch, end.end_offset), (epoch, end_offset));
    }
}
