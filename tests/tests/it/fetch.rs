//! What a fetch returns, when it waits, and what a fetch session remembers.

use harness::batch::{ANONYMOUS, batch_of, records_in, values};
use harness::calls::{FETCH, fetch_request, topic_name};
use harness::codes;
use harness::deadline::{monotonic_now, now_ms};
use harness::target::{Target, unique_topic};
use harness::wire::Connection;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, ForgottenTopic};
use kafka_protocol::messages::fetch_response::{FetchResponse, PartitionData};
use std::time::Duration;
use uuid::Uuid;

/// A target, a connection and a topic of this many partitions.
fn topic_of(partitions: i32) -> (Target, Connection, String) {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("fetch");
    connection.create_topic(&topic, partitions, &[]);
    (target, connection, topic)
}

fn produce(connection: &mut Connection, topic: &str, partition: i32, batch_values: &[&str]) {
    connection.produce(topic, partition, batch_of(ANONYMOUS, batch_values, now_ms()));
}

/// A request for partitions 0 and 1 of a topic from these offsets.
fn of_two(topic: &str, first: i64, second: i64) -> FetchRequest {
    let mut request = fetch_request(topic, 0, first);
    let other = fetch_request(topic, 1, second).topics[0].partitions[0].clone();
    request.topics[0].partitions.push(other);
    request
}

fn partitions(response: FetchResponse) -> Vec<PartitionData> {
    assert_eq!(response.error_code, codes::NONE);
    response.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

fn size(partition: &PartitionData) -> usize {
    partition.records.as_ref().map_or(0, |records| records.len())
}

/// Every version returns the batch and the pointers that it has fields for.
#[test]
fn every_version_returns_a_batch() {
    let (_target, mut connection, topic) = topic_of(1);
    let id = connection.describe_topic(&topic).topic_id;
    produce(&mut connection, &topic, 0, &["a", "b"]);
    for version in 4..=18 {
        let mut request = fetch_request(&topic, 0, 0);
        request.topics[0].topic_id = id;
        let answer = partitions(connection.call(version, &request)).remove(0);
        assert_eq!(answer.error_code, codes::NONE, "v{version}");
        assert_eq!((answer.high_watermark, answer.last_stable_offset), (2, 2), "v{version}");
        assert_eq!(answer.log_start_offset, if version < 5 { -1 } else { 0 }, "v{version}");
        assert_eq!(values(&records_in(answer.records)), ["a", "b"], "v{version}");
    }
}

/// Behaviour 27: a batch larger than every limit still arrives, and no second one.
#[test]
fn limits_let_one_batch_through() {
    let (_target, mut connection, topic) = topic_of(2);
    let value = "x".repeat(10_000);
    for partition in [0, 0, 1, 1] {
        produce(&mut connection, &topic, partition, &[&value]);
    }
    let all = partitions(connection.call(FETCH, &of_two(&topic, 0, 0)));
    let batch_size = size(&all[0]) / 2;
    assert!(batch_size > 10_000 && size(&all[1]) == 2 * batch_size);

    let answer = partitions(connection.call(FETCH, &of_two(&topic, 0, 0).with_max_bytes(1)));
    assert_eq!((size(&answer[0]), size(&answer[1])), (batch_size, 0), "request limit");

    // Nothing in the first partition: the second is the first that is not empty.
    let answer = partitions(connection.call(FETCH, &of_two(&topic, 2, 0).with_max_bytes(1)));
    assert_eq!((size(&answer[0]), size(&answer[1])), (0, batch_size), "in request order");

    let mut small = of_two(&topic, 0, 0);
    for partition in &mut small.topics[0].partitions {
        partition.partition_max_bytes = i32::try_from(batch_size).unwrap() + 1;
    }
    let answer = partitions(connection.call(FETCH, &small));
    // Apache Kafka cuts within the second batch; whole batches are as good for every client.
    for partition in &answer {
        assert!((batch_size..=batch_size + 1).contains(&size(partition)), "partition limit");
    }
}

/// Behaviour 28 for what is answered at once.
#[test]
fn what_does_not_wait() {
    let (_target, mut connection, topic) = topic_of(1);
    produce(&mut connection, &topic, 0, &["a"]);
    let patient = |fetch_offset| fetch_request(&topic, 0, fetch_offset).with_max_wait_ms(60_000);
    // Each of these would wait for a minute and fail by the limit of the connection.
    assert_eq!(partitions(connection.call(FETCH, &patient(0))).len(), 1, "bytes enough");
    let beyond = partitions(connection.call(FETCH, &patient(9))).remove(0);
    assert_eq!(beyond.error_code, codes::OFFSET_OUT_OF_RANGE, "an error");
    let nothing = FetchRequest::default().with_max_wait_ms(60_000).with_min_bytes(1);
    assert!(partitions(connection.call(FETCH, &nothing)).is_empty(), "no partitions");
    let no_bytes = patient(1).with_min_bytes(0);
    assert_eq!(size(&partitions(connection.call(FETCH, &no_bytes))[0]), 0, "no bytes wanted");
    let more_than_may_come = patient(0).with_min_bytes(1000).with_max_bytes(1);
    assert_eq!(partitions(connection.call(FETCH, &more_than_may_come)).len(), 1, "capped");
}

/// Behaviour 28 for what waits, until data comes or the time is over.
#[test]
fn a_fetch_at_the_end_waits_for_data() {
    let (target, mut connection, topic) = topic_of(1);
    let mut producer = target.connect();
    let waiting = fetch_request(&topic, 0, 0).with_max_wait_ms(60_000);
    let correlation_id = connection.send(FETCH, &waiting);
    produce(&mut producer, &topic, 0, &["a"]);
    let answer = partitions(connection.receive::<FetchRequest>(FETCH, correlation_id)).remove(0);
    assert_eq!(values(&records_in(answer.records)), ["a"]);

    let started = monotonic_now();
    let brief = fetch_request(&topic, 0, 1).with_max_wait_ms(300);
    let answer = partitions(connection.call(FETCH, &brief)).remove(0);
    assert_eq!((answer.error_code, size(&answer)), (codes::NONE, 0));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(5), "{waited:?}");
}

/// More bytes are wanted than one batch has: the fetch waits through the first.
#[test]
fn min_bytes_are_counted_over_batches() {
    let (target, mut connection, topic) = topic_of(2);
    let mut producer = target.connect();
    let waiting = of_two(&topic, 0, 0).with_max_wait_ms(60_000).with_min_bytes(1500);
    let correlation_id = connection.send(FETCH, &waiting);
    let value = "x".repeat(1000);
    produce(&mut producer, &topic, 0, &[&value]);
    produce(&mut producer, &topic, 1, &[&value]);
    let answer = partitions(connection.receive::<FetchRequest>(FETCH, correlation_id));
    assert!(answer.iter().map(size).sum::<usize>() >= 2000);
}

/// Behaviour 29.
#[test]
fn offsets_within_and_beyond_the_log() {
    let (_target, mut connection, topic) = topic_of(1);
    produce(&mut connection, &topic, 0, &["a", "b", "c"]);
    produce(&mut connection, &topic, 0, &["d", "e"]);
    let at_end = connection.fetch(&topic, 0, 5);
    assert_eq!((at_end.error_code, at_end.high_watermark, size(&at_end)), (codes::NONE, 5, 0));
    assert_eq!(connection.fetch(&topic, 0, 6).error_code, codes::OFFSET_OUT_OF_RANGE);
    let inside = connection.fetch(&topic, 0, 4);
    assert_eq!(values(&records_in(inside.records)), ["d", "e"], "the whole batch");

    connection.delete_records(&topic, 0, 2);
    for offset in [-1, 0, 1] {
        assert_eq!(connection.fetch(&topic, 0, offset).error_code, codes::OFFSET_OUT_OF_RANGE);
    }
    let kept = connection.fetch(&topic, 0, 2);
    assert_eq!((kept.error_code, kept.log_start_offset), (codes::NONE, 2));
    assert_eq!(values(&records_in(kept.records)), ["a", "b", "c", "d", "e"], "batches stay whole");
    assert_eq!(connection.fetch(&topic, 3, 0).error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

/// Behaviour 30, as far as it goes without transactions: both levels show the same.
#[test]
fn read_committed_without_transactions() {
    let (_target, mut connection, topic) = topic_of(1);
    produce(&mut connection, &topic, 0, &["a"]);
    let committed = fetch_request(&topic, 0, 0).with_isolation_level(1);
    let answer = partitions(connection.call(FETCH, &committed)).remove(0);
    assert_eq!(answer.last_stable_offset, 1);
    assert_eq!(answer.aborted_transactions, Some(vec![]));
    assert_eq!(values(&records_in(answer.records)), ["a"]);
}

/// Behaviour 32.
#[test]
fn leader_epochs_are_compared() {
    let (_target, mut connection, topic) = topic_of(1);
    produce(&mut connection, &topic, 0, &["a", "b", "c"]);
    let leader_epoch = connection.describe_topic(&topic).partitions[0].leader_epoch;
    let with_epoch = |current: i32| {
        let mut request = fetch_request(&topic, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = current;
        request
    };
    let mut code =
        |current| partitions(connection.call(FETCH, &with_epoch(current))).remove(0).error_code;
    assert_eq!(code(leader_epoch), codes::NONE);
    assert_eq!(code(leader_epoch + 1), codes::UNKNOWN_LEADER_EPOCH);
    if leader_epoch > 0 {
        assert_eq!(code(leader_epoch - 1), codes::FENCED_LEADER_EPOCH);
    }
    // A reader that saw more of this epoch than there is must go back to where it ends.
    let mut ahead = fetch_request(&topic, 0, 7);
    ahead.topics[0].partitions[0].last_fetched_epoch = leader_epoch;
    let answer = partitions(connection.call(FETCH, &ahead)).remove(0);
    assert_eq!((answer.error_code, size(&answer)), (codes::NONE, 0));
    assert_eq!(answer.diverging_epoch.epoch, leader_epoch);
    assert_eq!(answer.diverging_epoch.end_offset, 3);
}

/// Behaviour 32 after a crash, which raises the epoch: the older one is fenced.
#[test]
fn an_epoch_before_a_crash_is_fenced() {
    let (target, mut connection, topic) = topic_of(1);
    let Target::Own(mut node) = target else {
        return; // another broker is not ours to kill
    };
    produce(&mut connection, &topic, 0, &["a"]);
    let before = connection.describe_topic(&topic).partitions[0].leader_epoch;
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    produce(&mut connection, &topic, 0, &["b"]);
    let after = connection.describe_topic(&topic).partitions[0].leader_epoch;
    assert!(after > before, "an unclean start raises the epoch");
    let mut stale = fetch_request(&topic, 0, 0);
    stale.topics[0].partitions[0].current_leader_epoch = before;
    let answer = partitions(connection.call(FETCH, &stale)).remove(0);
    assert_eq!(answer.error_code, codes::FENCED_LEADER_EPOCH);
}

/// The same session, as its next request; without topics, all of them are meant.
fn next(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_session_id(session_id)
        .with_session_epoch(session_epoch)
        .with_min_bytes(1)
        .with_max_wait_ms(0)
}

/// Opens a session on partitions 0 and 1; its id.
fn open_session(connection: &mut Connection, topic: &str) -> i32 {
    let answer = connection.call(FETCH, &of_two(topic, 0, 0).with_session_epoch(0));
    assert_ne!(answer.session_id, 0, "a session was asked for");
    let session_id = answer.session_id;
    assert_eq!(partitions(answer).len(), 2, "a full answer names every partition");
    session_id
}

/// Behaviour 33.
#[test]
fn sessions_count_their_requests() {
    let (_target, mut connection, topic) = topic_of(2);
    let no_session = connection.call(FETCH, &of_two(&topic, 0, 0));
    assert_eq!(no_session.session_id, 0, "nobody asked for one");
    let id = open_session(&mut connection, &topic);
    let code = |connection: &mut Connection, id, epoch| {
        connection.call(FETCH, &next(id, epoch)).error_code
    };
    assert_eq!(code(&mut connection, id, 1), codes::NONE);
    assert_eq!(code(&mut connection, id, 1), codes::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!(code(&mut connection, id, 7), codes::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!(code(&mut connection, id, 2), codes::NONE);
    assert_eq!(code(&mut connection, id ^ 1, 3), codes::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(code(&mut connection, id, -1), codes::NONE, "the last one closes it");
    assert_eq!(code(&mut connection, id, 3), codes::FETCH_SESSION_ID_NOT_FOUND);
}

/// Behaviour 34.
#[test]
fn sessions_answer_only_what_changed() {
    let (_target, mut connection, topic) = topic_of(2);
    let id = open_session(&mut connection, &topic);
    assert!(partitions(connection.call(FETCH, &next(id, 1))).is_empty(), "nothing changed");

    produce(&mut connection, &topic, 1, &["a", "b"]);
    let answer = partitions(connection.call(FETCH, &next(id, 2)));
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].partition_index, size(&answer[0]) > 0), (1, true));

    // The reader moves on; then only the log start changes.
    let mut moved = fetch_request(&topic, 1, 2).with_session_id(id).with_session_epoch(3);
    moved.min_bytes = 1;
    assert!(partitions(connection.call(FETCH, &moved)).is_empty(), "at the end again");
    connection.delete_records(&topic, 1, 1);
    let answer = partitions(connection.call(FETCH, &next(id, 4)));
    assert_eq!((answer.len(), answer[0].log_start_offset), (1, 1));

    let forgotten =
        ForgottenTopic::default().with_topic(topic_name(&topic)).with_partitions(vec![1]);
    let forget = next(id, 5).with_forgotten_topics_data(vec![forgotten]);
    assert!(partitions(connection.call(FETCH, &forget)).is_empty());
    produce(&mut connection, &topic, 1, &["c"]);
    assert!(partitions(connection.call(FETCH, &next(id, 6))).is_empty(), "forgotten");
}

/// Behaviour 34: an error is told each time, and what is healthy again is told once.
#[test]
fn sessions_repeat_errors() {
    let (_target, mut connection, topic) = topic_of(1);
    let mut request = fetch_request(&topic, 0, 0).with_session_epoch(0);
    let missing = FetchPartition::default().with_partition(1).with_partition_max_bytes(1000);
    request.topics[0].partitions.push(missing);
    let id = connection.call(FETCH, &request).session_id;
    for epoch in 1..4 {
        let answer = partitions(connection.call(FETCH, &next(id, epoch)));
        assert_eq!(answer.len(), 1, "epoch {epoch}");
        assert_eq!(answer[0].error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

/// Behaviour 35.
#[test]
fn topics_by_id() {
    let (_target, mut connection, topic) = topic_of(1);
    let stale_id = connection.describe_topic(&topic).topic_id;
    let by_id = |id| {
        let mut request = fetch_request("", 0, 0);
        request.topics[0].topic_id = id;
        request
    };
    let code = |connection: &mut Connection, id| {
        let answer = connection.call(13, &by_id(id));
        assert_eq!(answer.responses[0].topic_id, id);
        answer.responses[0].partitions[0].error_code
    };
    assert_eq!(code(&mut connection, stale_id), codes::NONE);
    assert_eq!(code(&mut connection, Uuid::from_u128(9)), codes::UNKNOWN_TOPIC_ID);

    connection.delete_topic(&topic);
    connection.create_topic(&topic, 1, &[]);
    let after = code(&mut connection, stale_id);
    assert!([codes::UNKNOWN_TOPIC_ID, codes::INCONSISTENT_TOPIC_ID].contains(&after), "{after}");
    let id = connection.describe_topic(&topic).topic_id;
    assert_eq!(code(&mut connection, id), codes::NONE);

    let opened = connection.call(13, &by_id(id).with_session_epoch(0));
    let mixed = connection.call(12, &next(opened.session_id, 1));
    assert_eq!(mixed.error_code, codes::FETCH_SESSION_TOPIC_ID_ERROR);
}
