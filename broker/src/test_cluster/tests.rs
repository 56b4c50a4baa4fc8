//! What clients see of three brokers while leaders change.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use storage::device::faulty::{Effect, Fault, Operation};

use super::*;
use crate::groups::coordinator::OFFSETS_TOPIC;
use crate::handlers;
use crate::test_node::{batch, batch_of_producer, fetch_request, finish, name};
use crate::wire_text::text;

/// The offsets of the batches of partition 0, from its start, as the broker at `place` has them. They
/// are of one record each.
async fn fetched(cluster: &TestCluster, place: usize, topic: &str) -> Vec<i64> {
    let mut offsets = Vec::new();
    loop {
        let from = offsets.last().map_or(0, |last| last + 1);
        let response = cluster.nodes[place].fetch(11, fetch_request(&[(topic, 0, from)])).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        // A read ends where an entry of Raft's own stands between the records.
        let mut rest = partition.records.clone().unwrap_or_default();
        if rest.is_empty() {
            return offsets;
        }
        while let Ok(header) = protocol::batch::BatchHeader::parse(&rest) {
            offsets.push(header.base_offset.get());
            drop(rest.split_to(header.batch_bytes()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_partition_goes_on_without_its_leader_and_loses_nothing() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[2, 1, 3]]).await;
    let all = [0, 1, 2];
    let leader = cluster.agreed(&all, "t", 0).await;
    assert_eq!(leader, 1, "the preferred one");
    for sequence in 0..10 {
        let records = batch_of_producer(9, sequence, &["x"]);
        let place = usize::try_from(sequence).unwrap() % 3;
        let (offset, by) = cluster.produce(place, "t", &records).await;
        assert_eq!((offset, by), (i64::from(sequence), leader));
    }
    cluster.cut_off(leader).await;
    let rest: Vec<usize> = all.into_iter().filter(|place| *place != leader).collect();
    let next = cluster.agreed(&rest, "t", 0).await;
    assert_ne!(next, leader);
    // The last one again, as a producer whose answer was lost.
    for sequence in 9..20 {
        let records = batch_of_producer(9, sequence, &["x"]);
        let (offset, by) = cluster.produce(rest[0], "t", &records).await;
        assert_eq!((offset, by), (i64::from(sequence), next));
    }
    let offsets = fetched(&cluster, next, "t").await;
    assert_eq!(offsets, (0..20).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_that_stops_hands_over_and_sends_clients_on() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[1, 2, 3]]).await;
    assert_eq!(cluster.agreed(&[0, 1, 2], "t", 0).await, 0);
    let (_, by) = cluster.produce(0, "t", &batch(&["a"])).await;
    assert_eq!(by, 0);
    cluster.nodes[0].broker.partitions.hand_over().await;
    let next = cluster.agreed(&[0, 1, 2], "t", 0).await;
    assert_ne!(next, 0);
    let (offset, by) = cluster.produce(0, "t", &batch(&["b"])).await;
    assert_eq!((offset, by), (1, next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_whose_disk_hangs_is_relieved_and_knows_it() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[1, 2, 3]]).await;
    assert_eq!(cluster.agreed(&[0, 1, 2], "t", 0).await, 0);
    let (offset, _) = cluster.produce(0, "t", &batch_of_producer(9, 0, &["a"])).await;
    assert_eq!(offset, 0);
    cluster.disks[0].hang(&[Operation::Write, Operation::Sync]);
    // The two others commit it; then whoever leads goes on.
    let (offset, _) = cluster.produce(1, "t", &batch_of_producer(9, 1, &["b"])).await;
    assert_eq!(offset, 1);
    eventually(|| cluster.leader(1, "t", 0).filter(|leader| *leader != 1)).await;
    let next = cluster.agreed(&[1, 2], "t", 0).await;
    eventually(|| cluster.leader(0, "t", 0).filter(|leader| *leader != 1)).await;
    let (offset, by) = cluster.produce(0, "t", &batch_of_producer(9, 2, &["c"])).await;
    assert_eq!((offset, by), (2, next), "sent on by the broker whose disk hangs");
    cluster.disks[0].release();
    let (offset, by) = cluster.produce(0, "t", &batch_of_producer(9, 3, &["d"])).await;
    assert_eq!((offset, by), (3, next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_whose_disk_has_failed_is_relieved_of_everything() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[1, 2, 3]]).await;
    cluster.assign("other", &[&[1, 2, 3]]).await;
    for topic in ["t", "other"] {
        assert_eq!(cluster.agreed(&[0, 1, 2], topic, 0).await, 0);
    }
    let fault = Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail };
    cluster.disks[0].inject(fault);
    let (offset, _) = cluster.produce(0, "t", &batch_of_producer(9, 0, &["a"])).await;
    assert_eq!(offset, 0);
    for topic in ["t", "other"] {
        eventually(|| cluster.leader(1, topic, 0).filter(|leader| *leader != 1)).await;
        cluster.agreed(&[1, 2], topic, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_that_reaches_nobody_says_so_at_once_and_gives_up() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[1, 2, 3]]).await;
    assert_eq!(cluster.agreed(&[0, 1, 2], "t", 0).await, 0);
    cluster.produce(0, "t", &batch(&["a"])).await;
    cluster.cut_off(0).await;
    assert_eq!(cluster.nodes[0].produce("t", 0, batch(&["b"])).await.error_code, 19);
    eventually(|| cluster.leader(0, "t", 0).is_none().then_some(())).await;
    assert_eq!(cluster.nodes[0].produce("t", 0, batch(&["b"])).await.error_code, 6);
    let (offset, _) = cluster.produce(1, "t", &batch(&["c"])).await;
    assert_eq!(offset, 1);
}

async fn commit(node: &TestNode, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic =
        OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = m::OffsetCommitRequest::default()
        .with_group_id(m::GroupId(text("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let work = handlers::offset_commit::handle(&node.broker, &TestNode::context(8), request);
    let Reply::Message(Response::OffsetCommit(response)) = finish(work).await else { panic!() };
    response.topics[0].partitions[0].error_code
}

async fn committed(node: &TestNode) -> Result<i64, i16> {
    let request =
        m::OffsetFetchRequest::default().with_group_id(m::GroupId(text("g"))).with_topics(None);
    let work = handlers::offset_fetch::handle(&node.broker, &TestNode::context(7), request);
    let Reply::Message(Response::OffsetFetch(response)) = finish(work).await else { panic!() };
    if response.error_code != 0 {
        return Err(response.error_code);
    }
    Ok(response.topics.first().map_or(-1, |topic| topic.partitions[0].committed_offset))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_group_survives_the_loss_of_its_coordinator() {
    let cluster = TestCluster::new().await;
    cluster.assign("t", &[&[1, 2, 3]]).await;
    cluster.assign(OFFSETS_TOPIC, &[&[3, 1, 2]]).await;
    let coordinator = cluster.agreed(&[0, 1, 2], OFFSETS_TOPIC, 0).await;
    let node = &cluster.nodes[coordinator];
    let committing = async {
        // Loading takes a moment.
        while commit(node, 5).await != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, committing).await.unwrap();
    let rest: Vec<usize> = (0..3).filter(|place| *place != coordinator).collect();
    for place in &rest {
        assert_eq!(committed(&cluster.nodes[*place]).await, Err(16), "it does not coordinate");
    }
    cluster.cut_off(coordinator).await;
    let next = cluster.agreed(&rest, OFFSETS_TOPIC, 0).await;
    let looking = async {
        loop {
            match committed(&cluster.nodes[next]).await {
                Ok(offset) => return offset,
                Err(14..=16) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(code) => panic!("{code}"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, looking).await.unwrap(), 5);
    assert_eq!(commit(&cluster.nodes[next], 6).await, 0);
}
