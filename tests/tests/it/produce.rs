//! What a produce request may hold, what becomes of a batch, and what its producer is told.

use bytes::{Bytes, BytesMut};
use harness::batch::{
    ANONYMOUS, Producer, batch, batch_of, field, record, records_in, set, values,
};
use harness::calls::{PRODUCE, produce_request};
use harness::codes;
use harness::deadline::now_ms;
use harness::target::{Target, unique_topic};
use harness::wire::Connection;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;

/// A target, a connection to it and a topic of one partition with these settings.
fn topic_with(settings: &[(&str, &str)]) -> (Target, Connection, String) {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("produce");
    connection.create_topic(&topic, 1, settings);
    (target, connection, topic)
}

fn one_record() -> BytesMut {
    batch_of(ANONYMOUS, &["value"], now_ms())
}

fn produce_in(
    connection: &mut Connection,
    version: i16,
    topic: &str,
    batch: BytesMut,
) -> PartitionProduceResponse {
    let request = produce_request(topic, 0, -1, batch);
    connection.call(version, &request).responses.remove(0).partition_responses.remove(0)
}

fn attributes(batch: &[u8]) -> u8 {
    batch[field::ATTRIBUTES][1]
}

fn end_offset(connection: &mut Connection, topic: &str) -> i64 {
    connection.list_offset(6, topic, 0, -1).offset
}

/// Every version takes a batch and tells its offset, and nothing else.
#[test]
fn every_version_takes_a_batch() {
    let (_target, mut connection, topic) = topic_with(&[]);
    for (offset, version) in (0..).zip(3..=12) {
        let answer = produce_in(&mut connection, version, &topic, one_record());
        assert_eq!((answer.error_code, answer.base_offset), (codes::NONE, offset), "v{version}");
        assert_eq!(answer.log_append_time_ms, -1, "v{version}");
        assert_eq!(answer.log_start_offset, if version < 5 { -1 } else { 0 }, "v{version}");
    }
}

/// Behaviour 13.
#[test]
fn exactly_one_batch_for_a_partition() {
    let (_target, mut connection, topic) = topic_with(&[]);
    let mut two = one_record();
    two.extend_from_slice(&one_record());
    for (what, bytes) in [("two", two), ("none", BytesMut::new())] {
        let answer = connection.produce_any(&topic, 0, bytes);
        assert_eq!(answer.error_code, codes::INVALID_RECORD, "{what}");
    }
    let mut zstd = one_record();
    set(&mut zstd, field::ATTRIBUTES, &[0, 4]);
    let answer = produce_in(&mut connection, 6, &topic, zstd);
    assert_eq!(answer.error_code, codes::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(end_offset(&mut connection, &topic), 0);
}

/// Behaviour 14, and 22 for what a failed partition tells.
#[test]
fn headers_that_no_client_makes_are_refused() {
    let (_target, mut connection, topic) = topic_with(&[]);
    let bent = |field, bytes: &[u8]| {
        let mut batch = batch_of(ANONYMOUS, &["a", "b"], now_ms());
        set(&mut batch, field, bytes);
        batch
    };
    let mut wrong_crc = one_record();
    wrong_crc[field::CRC][0] ^= 1;
    let cases = [
        ("lastOffsetDelta", bent(field::LAST_OFFSET_DELTA, &[0, 0, 0, 5]), codes::INVALID_RECORD),
        ("count of 0", bent(field::RECORD_COUNT, &[0; 4]), codes::INVALID_RECORD),
        ("negative count", bent(field::RECORD_COUNT, &[0xff; 4]), codes::INVALID_RECORD),
        ("control bit", bent(field::ATTRIBUTES, &[0, 0x20]), codes::INVALID_RECORD),
        ("no sequence", bent(field::PRODUCER_ID, &[0, 0, 0, 0, 0, 0, 0, 9]), codes::INVALID_RECORD),
        ("crc", wrong_crc, codes::CORRUPT_MESSAGE),
    ];
    for (what, batch, expected) in cases {
        let answer = connection.produce_any(&topic, 0, batch);
        assert_eq!((answer.error_code, answer.base_offset), (expected, -1), "{what}");
    }
    let mut based = one_record();
    based[field::BASE_OFFSET].copy_from_slice(&7_i64.to_be_bytes());
    assert_eq!(connection.produce_any(&topic, 0, based).error_code, codes::INVALID_RECORD, "base");
    assert_eq!(end_offset(&mut connection, &topic), 0);
}

/// Records that do not fit their batch: the inner structure is walked, not believed.
#[test]
fn records_that_do_not_fill_their_batch_are_refused() {
    let (_target, mut connection, topic) = topic_with(&[]);
    let mut more_than_there_are = one_record();
    set(&mut more_than_there_are, field::RECORD_COUNT, &[0, 0, 0, 2]);
    set(&mut more_than_there_are, field::LAST_OFFSET_DELTA, &[0, 0, 0, 1]);
    let mut too_long_a_record = one_record();
    set(&mut too_long_a_record, 61..62, &[0x7e]);
    for batch in [more_than_there_are, too_long_a_record] {
        let code = connection.produce_any(&topic, 0, batch).error_code;
        assert!([codes::INVALID_RECORD, codes::CORRUPT_MESSAGE].contains(&code), "{code}");
    }
    assert_eq!(end_offset(&mut connection, &topic), 0);
}

/// Behaviour 15.
#[test]
fn batches_beyond_the_limits_are_refused() {
    let settings = [("max.message.bytes", "2000000"), ("segment.bytes", "1048576")];
    let (_target, mut connection, topic) = topic_with(&settings);
    let of_size = |bytes: usize| batch_of(ANONYMOUS, &["x".repeat(bytes / 2).as_str()], now_ms());
    let answer = connection.produce_any(&topic, 0, of_size(2_000_001));
    assert_eq!(answer.error_code, codes::MESSAGE_TOO_LARGE);
    let answer = connection.produce_any(&topic, 0, of_size(1_500_000));
    assert_eq!(answer.error_code, codes::RECORD_LIST_TOO_LARGE);
    assert_eq!(connection.produce_any(&topic, 0, of_size(900_000)).error_code, codes::NONE);
}

/// Behaviour 16.
#[test]
fn a_compacted_topic_needs_keys() {
    let (_target, mut connection, topic) = topic_with(&[("cleanup.policy", "compact")]);
    let mut records = vec![record("a", now_ms()), record("b", now_ms()), record("c", now_ms())];
    records[1].key = None;
    let answer = produce_in(&mut connection, 8, &topic, batch(ANONYMOUS, &records));
    assert_eq!(answer.error_code, codes::INVALID_RECORD);
    assert_eq!(answer.record_errors.len(), 1);
    assert_eq!(answer.record_errors[0].batch_index, 1);
    assert!(answer.record_errors[0].batch_index_error_message.is_some());
    assert!(answer.error_message.is_some());
    assert_eq!(end_offset(&mut connection, &topic), 0);
    records[1].key = Some(Bytes::from_static(b"key"));
    assert_eq!(connection.produce(&topic, 0, batch(ANONYMOUS, &records)), 0);
}

/// Behaviour 17.
#[test]
fn timestamps_of_the_future_are_refused() {
    let (_target, mut connection, topic) = topic_with(&[]);
    let hour = 3_600_000;
    let records = [record("a", now_ms()), record("b", now_ms() + hour + 60_000)];
    let answer = produce_in(&mut connection, 8, &topic, batch(ANONYMOUS, &records));
    assert_eq!(answer.error_code, codes::INVALID_TIMESTAMP);
    let refused: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(refused, [1]);
    let near = batch_of(ANONYMOUS, &["a"], now_ms() + hour - 60_000);
    assert_eq!(connection.produce_any(&topic, 0, near).error_code, codes::NONE);
}

/// Behaviour 18.
#[test]
fn log_append_time_is_the_brokers() {
    let settings = [("message.timestamp.type", "LogAppendTime")];
    let (_target, mut connection, topic) = topic_with(&settings);
    let (before, ancient) = (now_ms(), 1_000_000);
    let answer = connection.produce_any(&topic, 0, batch_of(ANONYMOUS, &["a", "b"], ancient));
    let appended = answer.log_append_time_ms;
    assert!(appended >= before && appended <= now_ms(), "{answer:?}");
    let stored = connection.fetch(&topic, 0, 0).records.unwrap();
    assert_eq!(attributes(&stored) & 8, 8);
    assert_eq!(stored[field::MAX_TIMESTAMP], appended.to_be_bytes());
    assert_eq!(values(&records_in(Some(stored))), ["a", "b"], "the CRC fits again");
    let found = connection.list_offset(6, &topic, 0, appended);
    assert_eq!((found.offset, found.timestamp), (0, appended));
    assert_eq!(connection.list_offset(6, &topic, 0, appended + 1).offset, -1);

    // Behaviour 17: only a broker says that a time is its own. Apache Kafka checks this here, and
    // not where the topic keeps the times of clients.
    let mut stamped = one_record();
    set(&mut stamped, field::ATTRIBUTES, &[0, 8]);
    let answer = connection.produce_any(&topic, 0, stamped);
    assert_eq!(answer.error_code, codes::INVALID_TIMESTAMP);
}

/// Behaviour 19 for what is stored as sent; recompression is with the codecs in `clients`.
#[test]
fn a_batch_is_stored_as_it_was_sent() {
    let (_target, mut connection, topic) = topic_with(&[]);
    for offset in 0..3_i64 {
        let sent = batch_of(ANONYMOUS, &["a", "b", "c"], now_ms());
        let base_offset = connection.produce(&topic, 0, sent.clone());
        assert_eq!(base_offset, offset * 3);
        let stored = connection.fetch(&topic, 0, base_offset).records.unwrap();
        let epoch = 12..16;
        assert_eq!(stored[field::BASE_OFFSET], base_offset.to_be_bytes());
        assert_eq!(stored[8..epoch.start], sent[8..epoch.start]);
        assert_eq!(stored[epoch.end..], sent[epoch.end..], "the CRC covers this, and it is kept");
    }
}

/// The second half of behaviour 19.
#[test]
fn a_topic_with_a_codec_compresses_what_comes_without() {
    let (_target, mut connection, topic) = topic_with(&[("compression.type", "gzip")]);
    let sent = batch_of(ANONYMOUS, &["the same"; 100], now_ms());
    connection.produce(&topic, 0, sent.clone());
    let stored = connection.fetch(&topic, 0, 0).records.unwrap();
    assert_eq!(attributes(&stored) & 7, 1);
    assert!(stored.len() < sent.len() / 2);
}

/// Behaviour 20.
#[test]
fn acks() {
    let (target, mut connection, topic) = topic_with(&[]);
    for acks in [2, -2, i16::MAX] {
        let request = produce_request(&topic, 0, acks, one_record());
        let answer = connection.call(PRODUCE, &request);
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, codes::INVALID_REQUIRED_ACKS, "acks {acks}");
    }
    // No response to acks=0: the next one is that of the next request.
    connection.send(PRODUCE, &produce_request(&topic, 0, 0, one_record()));
    assert_eq!(connection.produce(&topic, 0, one_record()), 1);

    let mut failing = target.connect();
    failing.send(PRODUCE, &produce_request(&unique_topic("nowhere"), 0, 0, one_record()));
    failing.expect_closed();
}

/// Behaviour 21, as far as one broker can show it. Apache Kafka 4.3 takes the batch: it counts no
/// more replicas as needed than the partition has, and so do we.
#[test]
fn min_insync_replicas_beyond_the_replicas() {
    let (_target, mut connection, topic) = topic_with(&[("min.insync.replicas", "2")]);
    assert_eq!(connection.produce_any(&topic, 0, one_record()).error_code, codes::NONE);
}

/// Behaviour 22, but for the code 6 that only another broker could cause.
#[test]
fn a_partition_that_fails_leaves_the_others_alone() {
    let (_target, mut connection, topic) = topic_with(&[]);
    let mut request = produce_request(&topic, 0, -1, one_record());
    let unknown = produce_request(&topic, 9, -1, one_record());
    let (partition, nowhere) =
        (unknown.topic_data[0].partition_data[0].clone(), unique_topic("nowhere"));
    request.topic_data[0].partition_data.push(partition);
    request.topic_data.push(produce_request(&nowhere, 0, -1, one_record()).topic_data.remove(0));
    let answer = connection.call(PRODUCE, &request);
    let mut seen: Vec<_> = answer
        .responses
        .iter()
        .flat_map(|topic| {
            let name = topic.name.to_string();
            topic.partition_responses.iter().map(move |partition| {
                (name.clone(), partition.index, partition.error_code, partition.base_offset)
            })
        })
        .collect();
    seen.sort_by_key(|(name, index, ..)| (*name != topic, *index));
    let unknown = codes::UNKNOWN_TOPIC_OR_PARTITION;
    let expected =
        [(topic.clone(), 0, codes::NONE, 0), (topic, 9, unknown, -1), (nowhere, 0, unknown, -1)];
    assert_eq!(seen, expected);
}

/// Produce 13 names topics by their id.
#[test]
fn topics_by_id() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("produce");
    let id = connection.create_topic(&topic, 1, &[]);
    let mut request = produce_request("", 0, -1, one_record());
    for (id, expected) in [(id, codes::NONE), (uuid::Uuid::from_u128(5), codes::UNKNOWN_TOPIC_ID)] {
        request.topic_data[0].topic_id = id;
        let answer = connection.call(13, &request);
        assert_eq!(answer.responses[0].topic_id, id);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, expected);
    }
}

/// A request of nothing is answered with nothing.
#[test]
fn an_empty_request() {
    let target = Target::start();
    let answer = target.connect().call(PRODUCE, &ProduceRequest::default().with_acks(-1));
    assert!(answer.responses.is_empty());
}

/// A producer with an id of its own, sending one batch of two records after another.
struct Idempotent {
    target: Target,
    connection: Connection,
    topic: String,
    id: i64,
}

impl Idempotent {
    fn start() -> Self {
        let target = Target::start();
        let mut connection = target.connect();
        let topic = unique_topic("idempotence");
        connection.create_topic(&topic, 1, &[]);
        let (id, epoch) = connection.init_producer_id();
        assert_eq!(epoch, 0);
        Self { target, connection, topic, id }
    }

    /// Sends two records from this sequence on; the code and the base offset.
    fn send(&mut self, epoch: i16, sequence: i32) -> (i16, i64) {
        let producer = Producer { id: self.id, epoch, sequence };
        let batch = batch_of(producer, &["a", "b"], 1_700_000_000_000);
        let answer = self.connection.produce_any(&self.topic, 0, batch);
        (answer.error_code, answer.base_offset)
    }
}

/// Behaviour 23.
#[test]
fn a_retry_of_the_last_five_batches_tells_the_first_offset() {
    let mut producer = Idempotent::start();
    for number in 0..8 {
        assert_eq!(producer.send(0, number * 2), (codes::NONE, i64::from(number) * 2));
    }
    for number in 3..8 {
        assert_eq!(producer.send(0, number * 2), (codes::NONE, i64::from(number) * 2));
    }
    let (code, _) = producer.send(0, 0);
    assert_eq!(code, codes::OUT_OF_ORDER_SEQUENCE_NUMBER, "older than what is remembered");
    assert_eq!(end_offset(&mut producer.connection, &producer.topic), 16);
}

/// Behaviour 24.
#[test]
fn sequences_have_no_gaps() {
    let mut producer = Idempotent::start();
    assert_eq!(producer.send(0, 0), (codes::NONE, 0));
    assert_eq!(producer.send(0, 4).0, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(producer.send(0, 1).0, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(producer.send(0, 2), (codes::NONE, 2));
    assert_eq!(
        producer.send(1, 4).0,
        codes::OUT_OF_ORDER_SEQUENCE_NUMBER,
        "a new epoch starts at 0"
    );
    assert_eq!(producer.send(1, 0), (codes::NONE, 4));
    assert_eq!(producer.send(0, 4).0, codes::INVALID_PRODUCER_EPOCH);
}

/// Behaviours 24 and 25: the sequence after the largest is 0, and a producer that the broker does
/// not know may begin anywhere.
#[test]
fn sequences_wrap() {
    let mut producer = Idempotent::start();
    assert_eq!(producer.send(0, i32::MAX - 2), (codes::NONE, 0));
    assert_eq!(producer.send(0, i32::MAX), (codes::NONE, 2), "MAX, then 0");
    assert_eq!(producer.send(0, 1), (codes::NONE, 4));
    assert_eq!(producer.send(0, i32::MAX), (codes::NONE, 2), "a retry across the wrap");
}

/// Behaviour 26: what a producer sent before is known after a crash and after a clean stop.
#[test]
fn retries_are_known_after_a_restart() {
    let mut producer = Idempotent::start();
    if !producer.target.is_ours() {
        return; // another broker is not ours to restart
    }
    for round in 0..2 {
        for number in 0..6 {
            let number = round * 6 + number;
            assert_eq!(producer.send(0, number * 2), (codes::NONE, i64::from(number) * 2));
        }
        let Target::Own(node) = &mut producer.target else { unreachable!("it was ours above") };
        if round == 0 {
            node.kill();
        } else {
            assert!(node.stop().success());
        }
        node.start_again();
        producer.connection = producer.target.connect();
        let last = (round + 1) * 6 - 1;
        for number in last - 4..=last {
            assert_eq!(producer.send(0, number * 2), (codes::NONE, i64::from(number) * 2));
        }
        assert_eq!(producer.send(0, last * 2 + 4).0, codes::OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
}
