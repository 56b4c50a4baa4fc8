//! Fetch against real partitions: KIP-74 limits, parking, sessions, errors (behaviours 27 to 35).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages as m;
use m::fetch_response::PartitionData;
use protocol::batch::BatchHeader;
use storage::read::{Records, RecordsPiece};

use crate::reply::{FramePart, Reply};
use crate::response_memory::RESPONSE_BYTES_MAX;
use crate::test_node::{TestNode, Want, batch, decode_fetch, fetch_request, finish, name};

/// (topic or nothing, partition, error, high watermark, base offsets of the batches).
type Told = (String, i32, i16, i64, Vec<i64>);

fn told(response: &m::FetchResponse) -> Vec<Told> {
    let partitions = response.responses.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let offsets = base_offsets(partition.records.as_ref());
            let PartitionData { partition_index, error_code, high_watermark, .. } = partition;
            (topic.topic.to_string(), *partition_index, *error_code, *high_watermark, offsets)
        })
    });
    partitions.collect()
}

fn base_offsets(records: Option<&Bytes>) -> Vec<i64> {
    let (mut rest, mut offsets) = (records.cloned().unwrap_or_default(), Vec::new());
    while let Ok(header) = BatchHeader::parse(&rest) {
        if header.batch_bytes() > rest.len() {
            break;
        }
        drop(rest.split_to(header.batch_bytes()));
        offsets.push(header.base_offset.get());
    }
    offsets
}

fn entry(topic: &str, partition: i32, error: i16, high_watermark: i64, offsets: &[i64]) -> Told {
    (topic.to_owned(), partition, error, high_watermark, offsets.to_vec())
}

/// A node with topic "t" whose partition 0 has batches at 0, 2 and 4, of two records each.
async fn node() -> TestNode {
    let node = TestNode::new(&[("t", 3, &[]), ("u", 1, &[])]).await;
    for values in [["a", "b"], ["c", "d"], ["e", "f"]] {
        assert_eq!(node.produce("t", 0, batch(&values)).await.error_code, 0);
    }
    node
}

async fn fetch(node: &TestNode, wanted: &[Want<'_>]) -> Vec<Told> {
    told(&node.fetch(11, fetch_request(wanted)).await)
}

#[tokio::test]
async fn an_offset_within_a_batch_returns_the_whole_batch() {
    let node = node().await;
    assert_eq!(fetch(&node, &[("t", 0, 0)]).await, [entry("t", 0, 0, 6, &[0, 2, 4])]);
    assert_eq!(fetch(&node, &[("t", 0, 3)]).await, [entry("t", 0, 0, 6, &[2, 4])]);
    assert_eq!(fetch(&node, &[("t", 0, 6)]).await, [entry("t", 0, 0, 6, &[])], "the end is legal");
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_its_own_partition() {
    let node = node().await;
    let wanted = [("t", 0, 7), ("t", 0, -1), ("t", 9, 0), ("nope", 0, 0), ("u", 0, 0)];
    // A partition named twice counts once, with what was asked last.
    assert_eq!(
        fetch(&node, &wanted).await,
        [
            entry("t", 0, 1, -1, &[]),
            entry("t", 9, 3, -1, &[]),
            entry("nope", 0, 3, -1, &[]),
            entry("u", 0, 0, 0, &[]),
        ]
    );
}

#[tokio::test]
async fn every_version_can_carry_records_and_errors() {
    let node = node().await;
    for version in 4..=18 {
        let request = fetch_request(&[("t", 0, 2), ("t", 1, 5)]);
        let request = if version >= 13 { node.by_id(request) } else { request };
        let response = node.fetch(version, request).await;
        let topic = if version >= 13 { "" } else { "t" };
        let want = [entry(topic, 0, 0, 6, &[2, 4]), entry(topic, 1, 1, -1, &[])];
        assert_eq!(told(&response), want, "version {version}");
    }
}

#[tokio::test]
async fn unknown_topic_ids_are_told_apart_from_unknown_partitions() {
    let node = node().await;
    let response = node.fetch(13, node.by_id(fetch_request(&[("gone", 0, 0), ("t", 9, 0)]))).await;
    assert_eq!(told(&response), [entry("", 0, 100, -1, &[]), entry("", 9, 3, -1, &[])]);
}

#[tokio::test]
async fn the_first_batch_may_exceed_the_limits_and_nothing_else() {
    let node = node().await;
    node.produce("t", 1, batch(&["g"])).await;
    let limited = |request_max, partition_max| {
        let mut request = fetch_request(&[("t", 2, 0), ("t", 0, 0), ("t", 1, 0)]);
        request.max_bytes = request_max;
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = partition_max;
        }
        request
    };
    let all = told(&node.fetch(11, limited(1 << 20, 1)).await);
    assert_eq!(all[1..], [entry("t", 0, 0, 6, &[0]), entry("t", 1, 0, 1, &[])]);
    let all = told(&node.fetch(11, limited(0, 1 << 20)).await);
    assert_eq!(all[1..], [entry("t", 0, 0, 6, &[0]), entry("t", 1, 0, 1, &[])]);
    let all = told(&node.fetch(11, limited(1 << 20, 1 << 20)).await);
    assert_eq!(all[1..], [entry("t", 0, 0, 6, &[0, 2, 4]), entry("t", 1, 0, 1, &[0])]);
}

#[tokio::test]
async fn the_isolation_level_decides_on_the_list_of_aborted_transactions() {
    let node = node().await;
    let at = |level| fetch_request(&[("t", 0, 0)]).with_isolation_level(level);
    let partition = |response: m::FetchResponse| response.responses[0].partitions[0].clone();
    let uncommitted = partition(node.fetch(11, at(0)).await);
    assert_eq!((uncommitted.aborted_transactions, uncommitted.last_stable_offset), (None, 6));
    let committed = partition(node.fetch(11, at(1)).await);
    assert_eq!(committed.aborted_transactions, Some(Vec::new()));
    assert_eq!(base_offsets(committed.records.as_ref()), [0, 2, 4]);
}

#[tokio::test]
async fn leader_epochs_are_checked() {
    let node = node().await;
    let known = |epoch| {
        let mut request = fetch_request(&[("t", 0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request
    };
    let current = node.partition("t", 0).replica.leadership().leader_epoch.get();
    assert_eq!(told(&node.fetch(11, known(current)).await)[0].2, 0);
    assert_eq!(told(&node.fetch(11, known(current + 1)).await)[0].2, 75);
    // The client's epoch cannot be older than 0, the first; -1 asks nothing.
    assert_eq!(told(&node.fetch(11, known(-1)).await)[0].2, 0);
}

#[tokio::test]
async fn a_history_that_goes_beyond_ours_diverges() {
    let node = node().await;
    let with_last = |offset, epoch| {
        let mut request = fetch_request(&[("t", 0, offset)]);
        request.topics[0].partitions[0].last_fetched_epoch = epoch;
        request
    };
    let response = node.fetch(12, with_last(9, 0)).await;
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset), (0, 6));
    assert!(partition.records.as_ref().is_none_or(Bytes::is_empty));
    let response = node.fetch(12, with_last(4, 0)).await;
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.diverging_epoch.epoch, -1);
    assert_eq!(base_offsets(partition.records.as_ref()), [4]);
}

/// Starts a fetch that parks, and lets it run until it does.
fn park(
    node: &TestNode,
    version: i16,
    request: m::FetchRequest,
) -> tokio::task::JoinHandle<m::FetchResponse> {
    let work = super::handle(&node.broker, &TestNode::context(version), request);
    tokio::spawn(async move { decode_fetch(version, finish(work).await) })
}

fn waiting(wanted: &[Want<'_>], wait: Duration) -> m::FetchRequest {
    let wait_ms = i32::try_from(wait.as_millis()).unwrap();
    fetch_request(wanted).with_max_wait_ms(wait_ms).with_min_bytes(1)
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_parked_fetch_is_woken_by_the_first_commit() {
    let node = node().await;
    let parked = park(&node, 11, waiting(&[("t", 0, 6), ("t", 1, 0)], LONG));
    tokio::task::yield_now().await;
    node.produce("t", 1, batch(&["x"])).await;
    let response = parked.await.unwrap();
    assert_eq!(told(&response), [entry("t", 0, 0, 6, &[]), entry("t", 1, 0, 1, &[0])]);
}

#[tokio::test]
async fn a_parked_fetch_answers_when_its_time_is_up() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let response = node.fetch(11, waiting(&[("t", 0, 0)], Duration::from_millis(500))).await;
    assert_eq!(told(&response), [entry("t", 0, 0, 0, &[])]);
    // The timer's resolution is a millisecond.
    assert!((500..=501).contains(&began.elapsed().as_millis()));
}

#[tokio::test]
async fn a_parked_fetch_waits_for_as_many_bytes_as_it_asks_for() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let one = batch(&["x"]);
    let min_bytes = i32::try_from(2 * one.len()).unwrap();
    let parked = park(&node, 11, waiting(&[("t", 0, 0)], LONG).with_min_bytes(min_bytes));
    tokio::task::yield_now().await;
    node.produce("t", 0, one.clone()).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!parked.is_finished());
    node.produce("t", 0, one).await;
    assert_eq!(told(&parked.await.unwrap()), [entry("t", 0, 0, 2, &[0, 1])]);
}

#[tokio::test]
async fn a_parked_fetch_learns_that_its_partition_is_gone() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let parked = park(&node, 11, waiting(&[("t", 0, 0)], LONG));
    tokio::task::yield_now().await;
    let log = node.partition("t", 0).name.clone();
    node.broker.partitions.delete(&log);
    // The image of this test still knows it: it might be elsewhere by now.
    assert_eq!(told(&parked.await.unwrap()), [entry("t", 0, 6, -1, &[])]);
}

#[tokio::test]
async fn a_parked_fetch_learns_that_another_leads() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3]], &[]).await;
    let replica = node.replica("t", 0);
    replica.lead(3);
    let request = || node.by_id(waiting(&[("t", 0, 0)], LONG));
    let parked = [(16, park(&node, 16, request())), (15, park(&node, 15, request()))];
    tokio::task::yield_now().await;
    replica.lose(Some(2), 4);
    for (version, parked) in parked {
        let response = parked.await.unwrap();
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 6);
        let hint = (partition.current_leader.leader_id.0, partition.current_leader.leader_epoch);
        let nodes: Vec<_> = response.node_endpoints.iter().map(|node| node.node_id.0).collect();
        let (leader, told) = if version < 16 { ((-1, -1), vec![]) } else { ((2, 4), vec![2]) };
        assert_eq!((hint, nodes), (leader, told), "version {version}");
    }
    replica.lead(5);
    assert_eq!(told(&node.fetch(11, fetch_request(&[("t", 0, 0)])).await)[0].2, 0);
    let parked = park(&node, 11, waiting(&[("t", 0, 0)], LONG));
    tokio::task::yield_now().await;
    replica.end();
    assert_eq!(told(&parked.await.unwrap())[0].2, 6);
}

/// An incremental request.
fn continued(id: i32, epoch: i32, wanted: &[Want<'_>]) -> m::FetchRequest {
    fetch_request(wanted).with_session_id(id).with_session_epoch(epoch)
}

#[tokio::test]
async fn a_session_tells_only_what_has_changed() {
    let node = node().await;
    let all = [("t", 0, 6), ("t", 1, 0), ("u", 0, 0)];
    let first = node.fetch(11, continued(0, 0, &all)).await;
    assert_eq!(told(&first).len(), 3);
    let id = first.session_id;
    assert!(id > 0);
    assert!(told(&node.fetch(11, continued(id, 1, &[])).await).is_empty());
    node.produce("u", 0, batch(&["x"])).await;
    let second = node.fetch(11, continued(id, 2, &[])).await;
    assert_eq!((told(&second), second.session_id), (vec![entry("u", 0, 0, 1, &[0])], id));
    assert!(told(&node.fetch(11, continued(id, 3, &[("u", 0, 1)])).await).is_empty());
    node.partition("t", 0).replica.delete_records(protocol::types::Offset::new(2)).await.unwrap();
    node.partition("t", 0).waiters().changed();
    let raised = node.fetch(11, continued(id, 4, &[])).await;
    assert_eq!(told(&raised), [entry("t", 0, 0, 6, &[])]);
    assert_eq!(raised.responses[0].partitions[0].log_start_offset, 2);
}

#[tokio::test]
async fn a_parked_session_is_woken_too() {
    let node = node().await;
    let id = node.fetch(11, continued(0, 0, &[("t", 1, 0), ("t", 2, 0)])).await.session_id;
    let request = continued(id, 1, &[]).with_min_bytes(1).with_max_wait_ms(3_600_000);
    let parked = park(&node, 11, request);
    tokio::task::yield_now().await;
    node.produce("t", 2, batch(&["x"])).await;
    assert_eq!(told(&parked.await.unwrap()), [entry("t", 2, 0, 1, &[0])]);
}

#[tokio::test]
async fn wrong_sessions_are_told_apart() {
    let node = node().await;
    let id = node.fetch(11, continued(0, 0, &[("t", 0, 0)])).await.session_id;
    let other = if id == 1 { 2 } else { id - 1 };
    assert_eq!(node.fetch(11, continued(other, 1, &[])).await.error_code, 70);
    assert_eq!(node.fetch(11, continued(id, 2, &[])).await.error_code, 71);
    assert_eq!(node.fetch(13, node.by_id(continued(id, 1, &[]))).await.error_code, 106);
    assert_eq!(node.fetch(11, continued(id, 1, &[])).await.error_code, 0);
    assert_eq!(node.fetch(11, continued(id, -1, &[("t", 0, 0)])).await.session_id, 0);
    assert_eq!(node.fetch(11, continued(id, 2, &[])).await.error_code, 70, "it was closed");
}

#[tokio::test]
async fn forgetting_the_last_partition_ends_the_session() {
    let node = node().await;
    let id = node.fetch(11, continued(0, 0, &[("t", 0, 0)])).await.session_id;
    let forgotten =
        m::fetch_request::ForgottenTopic::default().with_topic(name("t")).with_partitions(vec![0]);
    let request = continued(id, 1, &[]).with_forgotten_topics_data(vec![forgotten]);
    let response = node.fetch(11, request).await;
    assert_eq!((response.session_id, response.responses.len()), (0, 0));
    assert_eq!(node.fetch(11, continued(id, 2, &[])).await.error_code, 70);
}

#[tokio::test]
async fn records_that_have_left_memory_come_from_the_file() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    // Twice the tail cache of the node.
    let large = "x".repeat(100_000);
    for _ in 0..20 {
        assert_eq!(node.produce("t", 0, batch(&[&large])).await.error_code, 0);
    }
    let response = node.fetch(11, fetch_request(&[("t", 0, 0)])).await;
    let offsets = told(&response)[0].4.clone();
    assert_eq!(offsets, (0..i64::try_from(offsets.len()).unwrap()).collect::<Vec<_>>());
    assert!(offsets.len() >= 9, "{offsets:?}");
}

#[tokio::test]
async fn records_come_from_the_file_once_responses_hold_enough_memory() {
    let node = node().await;
    let is_in_file = async || {
        let request = fetch_request(&[("t", 0, 0)]);
        let reply = finish(super::handle(&node.broker, &TestNode::context(11), request)).await;
        let Reply::Frame(parts) = &reply else { panic!("{reply:?}") };
        let in_file = parts.iter().any(|part| matches!(part, FramePart::File(_)));
        assert_eq!(told(&decode_fetch(11, reply)), [entry("t", 0, 0, 6, &[0, 2, 4])]);
        in_file
    };
    assert!(!is_in_file().await);
    assert_eq!(node.broker.response_memory.held_bytes(), 0, "the response is gone");
    let all = Bytes::from(vec![0; RESPONSE_BYTES_MAX]);
    let all =
        Records { bytes: all.len(), pieces: [RecordsPiece::Memory(all)].into_iter().collect() };
    let slow_clients = node.broker.response_memory.hold(all);
    assert!(is_in_file().await);
    drop(slow_clients);
    assert!(!is_in_file().await);
}
