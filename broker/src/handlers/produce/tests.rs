//! Produce against real partitions (behaviours 13, 14, 20 to 25) and its pure parts.

use bytes::Bytes;
use kafka_protocol::messages as m;
use m::produce_response::PartitionProduceResponse;
use protocol::response::Response;
use protocol::topic::TopicId;
use protocol::types::{BrokerId, LeaderEpoch, PartitionId};
use raft::replica::Replica;
use storage::device::faulty::{Effect, Fault, Operation};

use super::*;
use crate::leaders::Tenure;
use crate::test_node::{
    START, TestNode, assert_encodes, batch, batch_of_producer, fetch_request, finish, name,
    produce_request,
};

fn partitions(reply: Reply) -> Vec<PartitionProduceResponse> {
    let Reply::Message(Response::Produce(response)) = reply else { panic!("{reply:?}") };
    response.responses.into_iter().flat_map(|topic| topic.partition_responses).collect()
}

/// (error, base offset) of each partition.
fn outcomes(reply: Reply) -> Vec<(i16, i64)> {
    let told = partitions(reply);
    told.into_iter().map(|partition| (partition.error_code, partition.base_offset)).collect()
}

#[tokio::test]
async fn batches_get_the_next_offsets_and_are_committed_when_answered() {
    let node = TestNode::new(&[("t", 2, &[])]).await;
    for acks in [-1, 1] {
        let request = produce_request(
            acks,
            &[("t", 0, Some(batch(&["a", "b"]))), ("t", 1, Some(batch(&["c"])))],
        );
        let before = node.partition("t", 0).replica.pointers().high_watermark.get();
        let told = outcomes(node.produce_request(9, request).await);
        assert_eq!(told, [(0, before), (0, before / 2)]);
        let pointers = node.partition("t", 0).replica.pointers();
        assert_eq!(pointers.high_watermark.get(), before + 2, "acks={acks}");
    }
}

#[tokio::test]
async fn every_version_can_carry_the_answer() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    for version in 3..=13 {
        let mut request =
            produce_request(-1, &[("t", 0, Some(batch(&["a"]))), ("gone", 0, Some(batch(&["b"])))]);
        if version >= 13 {
            for topic in &mut request.topic_data {
                topic.topic_id = node.topic_id(&topic.name);
                topic.name = m::TopicName::default();
            }
        }
        let reply = node.produce_request(version, request).await;
        assert_encodes(&reply, version);
        let unknown = if version >= 13 { 100 } else { 3 };
        assert_eq!(outcomes(reply), [(0, i64::from(version) - 3), (unknown, -1)]);
    }
}

#[tokio::test]
async fn a_refused_partition_leaves_the_others_alone() {
    let node = TestNode::new(&[("t", 3, &[])]).await;
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let request = produce_request(
        -1,
        &[
            ("t", 0, Some(damaged.into())),
            ("t", 1, Some(two.into())),
            ("t", 2, None),
            ("t", 7, Some(batch(&["a"]))),
            ("nope", 0, Some(batch(&["a"]))),
            ("t", 0, Some(Bytes::new())),
            ("t", 2, Some(batch(&["a"]))),
        ],
    );
    // Partitions 0 and 2 are named twice: the last counts.
    let told = outcomes(node.produce_request(9, request).await);
    assert_eq!(told, [(87, -1), (3, -1), (3, -1), (87, -1), (0, 0)]);
}

#[tokio::test]
async fn errors_have_reasons_from_version_8_on() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    for version in [7, 8] {
        let request = produce_request(-1, &[("t", 0, Some(Bytes::new()))]);
        let told = partitions(node.produce_request(version, request).await);
        assert_eq!(told[0].error_message.is_some(), version >= 8, "{told:?}");
    }
}

#[tokio::test]
async fn strange_acks_and_transactions_are_refused_for_every_partition() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let wanted = [("t", 0, Some(batch(&["a"]))), ("t", 1, None)];
    let told = outcomes(node.produce_request(9, produce_request(2, &wanted)).await);
    assert_eq!(told, [(21, -1), (21, -1)]);
    let id = m::TransactionalId(kafka_protocol::protocol::StrBytes::from_static_str("x"));
    let request = produce_request(-1, &wanted).with_transactional_id(Some(id));
    assert_eq!(outcomes(node.produce_request(9, request).await), [(48, -1), (48, -1)]);
    assert_eq!(node.partition("t", 0).replica.pointers().log_end_offset.get(), 0);
}

#[tokio::test]
async fn without_acks_success_is_silent_and_an_error_closes() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let good = produce_request(0, &[("t", 0, Some(batch(&["a"])))]);
    assert!(matches!(node.produce_request(9, good).await, Reply::Nothing));
    let bad = produce_request(0, &[("nope", 0, Some(batch(&["a"])))]);
    assert!(
        matches!(node.produce_request(9, bad).await, Reply::Close(why) if why.contains("nope"))
    );
}

#[tokio::test]
async fn a_retry_gets_the_offset_of_its_original() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let send = async |sequence, values: &[&str]| {
        let told = node.produce("t", 0, batch_of_producer(9, sequence, values)).await;
        (told.error_code, told.base_offset)
    };
    assert_eq!(send(0, &["a", "b"]).await, (0, 0));
    assert_eq!(send(2, &["c"]).await, (0, 2));
    assert_eq!(send(0, &["a", "b"]).await, (0, 0), "a duplicate");
    assert_eq!(send(4, &["d"]).await, (45, -1), "a gap");
    assert_eq!(send(3, &["d"]).await, (0, 3));
}

#[tokio::test]
async fn batches_in_flight_together_keep_their_order() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let first_stages: Vec<_> = (0..20)
        .map(|sequence| {
            let records = batch_of_producer(9, sequence, &["x"]);
            let request = produce_request(-1, &[("t", 0, Some(records))]);
            handle(&node.broker, &TestNode::context(9), request)
        })
        .collect();
    for (offset, work) in (0..).zip(first_stages) {
        assert_eq!(outcomes(finish(work).await), [(0, offset)]);
    }
}

#[tokio::test]
async fn the_topic_decides_who_dates_the_records() {
    let node = TestNode::new(&[("t", 1, &[("message.timestamp.type", "LogAppendTime")])]).await;
    node.clock.advance(Duration::from_secs(5));
    let told = node.produce("t", 0, batch(&["a"])).await;
    assert_eq!((told.error_code, told.log_append_time_ms), (0, START + 5_000));
    let node = TestNode::new(&[("t", 1, &[])]).await;
    assert_eq!(node.produce("t", 0, batch(&["a"])).await.log_append_time_ms, -1);
}

/// Kafka caps the setting at the replication factor (its `effectiveMinIsr`), where its
/// documentation lets one expect error 19.
#[tokio::test]
async fn one_replica_is_enough_for_a_topic_that_has_one() {
    let node = TestNode::new(&[("t", 1, &[("min.insync.replicas", "2")])]).await;
    assert_eq!(node.produce("t", 0, batch(&["a"])).await.error_code, 0);
}

#[tokio::test]
async fn a_topic_named_twice_is_answered_twice() {
    let node = TestNode::new(&[("t", 2, &[])]).await;
    let request =
        produce_request(-1, &[("t", 0, Some(batch(&["a"]))), ("t", 1, Some(batch(&["b"])))]);
    let Reply::Message(Response::Produce(response)) = node.produce_request(9, request).await else {
        panic!("no produce response")
    };
    let names: Vec<_> = response.responses.iter().map(|topic| topic.name.clone()).collect();
    assert_eq!(names, [name("t"), name("t")]);
}

#[tokio::test]
async fn a_failed_sync_is_never_acknowledged_and_takes_its_partition_offline() {
    let (node, device) = TestNode::on_faulty_device(&[("t", 2, &[])]).await;
    for partition in [0, 1] {
        assert_eq!(node.produce("t", partition, batch(&["a"])).await.error_code, 0);
    }
    device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
    assert_eq!(node.produce("t", 0, batch(&["b"])).await.error_code, 56);
    assert_eq!(node.produce("t", 0, batch(&["c"])).await.error_code, 56, "for good");
    let fetched = node.fetch(11, fetch_request(&[("t", 0, 0), ("t", 1, 0)])).await;
    let told = fetched.responses.iter().flat_map(|topic| &topic.partitions);
    assert_eq!(told.map(|partition| partition.error_code).collect::<Vec<_>>(), [56, 0]);
    assert_eq!(node.produce("t", 1, batch(&["d"])).await.base_offset, 1, "the others go on");
}

#[tokio::test]
async fn a_full_disk_refuses_for_a_while_and_keeps_a_retry_single() {
    let (node, device) = TestNode::on_faulty_device(&[("t", 1, &[])]).await;
    assert_eq!(node.produce("t", 0, batch_of_producer(9, 0, &["a"])).await.error_code, 0);
    device.set_capacity_bytes(Some(0));
    let retry = || {
        let records = batch_of_producer(9, 1, &["b"]);
        produce_request(-1, &[("t", 0, Some(records))])
    };
    for _ in 0..2 {
        let told = outcomes(node.produce_request(9, retry().with_timeout_ms(50)).await);
        // In memory and not on the disk in time, or refused by the guard: both are tried again.
        assert!(matches!(told[0], (7 | 56, -1)), "{told:?}");
    }
    let fetched = node.fetch(11, fetch_request(&[("t", 0, 0)])).await;
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 1, "reads go on");
    device.set_capacity_bytes(None);
    let told = outcomes(retry_until_done(&node, retry).await);
    assert_eq!(told, [(0, 1)]);
    assert_eq!(node.partition("t", 0).replica.pointers().log_end_offset.get(), 2);
}

/// Tries again as a client does, without an end: the guard looks at the disk once in a while.
async fn retry_until_done(node: &TestNode, request: impl Fn() -> ProduceRequest) -> Reply {
    loop {
        let reply = node.produce_request(9, request()).await;
        let Reply::Message(Response::Produce(response)) = &reply else { panic!("{reply:?}") };
        if response.responses[0].partition_responses[0].error_code == 0 {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn of_a_partition_named_twice_the_last_counts() {
    let topic = |name: &'static str, partitions: &[i32]| {
        let data =
            partitions.iter().map(|index| PartitionProduceData::default().with_index(*index));
        TopicProduceData::default()
            .with_name(resolve::wire_name(name))
            .with_partition_data(data.collect())
    };
    let topics = vec![topic("a", &[0, 1, 0]), topic("b", &[0]), topic("a", &[1])];
    let repeated = Repeated::find(&ProduceRequest::default().with_topic_data(topics));
    let overridden = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]
        .map(|(topic, place)| repeated.is_overridden(topic, place));
    assert_eq!(overridden, [true, true, false, false, false]);
}

#[test]
fn only_three_kinds_of_acks_exist() {
    let known = (-3..4).filter(|acks| Acks::from_wire(*acks).is_some()).collect::<Vec<_>>();
    assert_eq!(known, [-1, 0, 1]);
}

/// The first partition's answer and the endpoints that came with it.
fn with_endpoints(reply: Reply) -> (PartitionProduceResponse, Vec<(i32, String)>) {
    let Reply::Message(Response::Produce(response)) = reply else { panic!("{reply:?}") };
    let nodes = response.node_endpoints.iter();
    let nodes = nodes.map(|node| (node.node_id.0, node.host.to_string())).collect();
    (response.responses[0].partition_responses[0].clone(), nodes)
}

#[tokio::test]
async fn who_comes_to_a_follower_is_told_who_leads() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3]], &[]).await;
    node.assign("u", &[&[2, 3]], &[]).await;
    node.replica("t", 0).lose(Some(3), 5);
    let tenure = Tenure {
        leader_epoch: LeaderEpoch::new(7),
        is_present: true,
        in_sync: [BrokerId::new(2)].into_iter().collect(),
    };
    let elsewhere = (TopicId::new(node.topic_id("u")).unwrap(), PartitionId::new(0));
    node.broker.leaders.learn(BrokerId::new(2), [(elsewhere, tenure)]);
    for (topic, leader, epoch) in [("t", 3, 5), ("u", 2, 7)] {
        for version in [9, 10, 12] {
            let request = produce_request(-1, &[(topic, 0, Some(batch(&["a"])))]);
            let (told, nodes) = with_endpoints(node.produce_request(version, request).await);
            assert_eq!(told.error_code, 6);
            let hint = (told.current_leader.leader_id.0, told.current_leader.leader_epoch);
            if version < 10 {
                assert_eq!((hint, nodes), ((-1, -1), vec![]));
            } else {
                assert_eq!(
                    (hint, nodes),
                    ((leader, epoch), vec![(leader, format!("host-{leader}"))])
                );
            }
        }
    }
}

#[tokio::test]
async fn what_was_not_committed_when_leadership_was_lost_is_to_be_tried_again() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3]], &[]).await;
    let replica = node.replica("t", 0);
    replica.lead(1);
    replica.set_in_sync(&[1, 2, 3]);
    assert_eq!(node.produce("t", 0, batch(&["a"])).await.error_code, 0);
    replica.hold(true);
    let request = produce_request(-1, &[("t", 0, Some(batch(&["b"])))]);
    let uncommitted = handle(&node.broker, &TestNode::context(10), request);
    replica.lose(Some(2), 2);
    // Another leader commits something in its place.
    replica.hold(false);
    let (told, nodes) = with_endpoints(finish(uncommitted).await);
    assert_eq!((told.error_code, told.base_offset), (6, -1));
    assert_eq!((told.current_leader.leader_id.0, told.current_leader.leader_epoch), (2, 2));
    assert_eq!(nodes, [(2, "host-2".to_owned())]);
    replica.lead(3);
    let told = node.produce("t", 0, batch(&["c"])).await;
    assert_eq!(told.error_code, 19, "it leads again, and nobody follows: nothing would commit");
    replica.set_in_sync(&[1, 2]);
    assert_eq!(node.produce("t", 0, batch(&["c"])).await.error_code, 0);
    replica.hold(true);
    let request = produce_request(-1, &[("t", 0, Some(batch(&["d"])))]).with_timeout_ms(1);
    let told = outcomes(node.produce_request(9, request).await);
    assert_eq!(told, [(7, -1)], "nobody knows yet");
}

#[tokio::test]
async fn too_few_replicas_in_sync_refuse_what_wants_all_of_them() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]).await;
    let replica = node.replica("t", 0);
    replica.lead(1);
    let send = async |acks| {
        let request = produce_request(acks, &[("t", 0, Some(batch(&["a"])))]);
        outcomes(node.produce_request(9, request).await)[0].0
    };
    assert_eq!(send(-1).await, 19);
    assert_eq!(replica.pointers().log_end_offset.get(), 0, "nothing was appended");
    assert_eq!(send(1).await, 0);
    replica.set_in_sync(&[1, 3]);
    assert_eq!(send(-1).await, 0);
    replica.lose(None, 1);
    assert_eq!(send(-1).await, 6, "who does not lead does not know");
}
