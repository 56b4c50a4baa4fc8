//! Behaviours 8 to 12 in this process.

use protocol::types::BrokerId;

use super::*;
use crate::test_node::{TestNode, assert_encodes, batch, finish, name};

const APPEARS_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

async fn ask(node: &TestNode, api_version: i16, request: MetadataRequest) -> MetadataResponse {
    let reply = finish(handle(&node.broker, &TestNode::context(api_version), request)).await;
    assert_encodes(&reply, api_version);
    match reply {
        crate::reply::Reply::Message(Response::Metadata(response)) => response,
        other => panic!("no metadata: {other:?}"),
    }
}

fn by_name(names: &[&str]) -> MetadataRequest {
    let topic = |text: &&str| MetadataRequestTopic::default().with_name(Some(name(text)));
    MetadataRequest::default()
        .with_topics(Some(names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false)
}

fn by_id(id: Uuid) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn codes(response: &MetadataResponse) -> Vec<(String, i16)> {
    let name = |topic: &MetadataResponseTopic| topic.name.as_ref().map(|name| name.to_string());
    let topics = response.topics.iter();
    topics.map(|topic| (name(topic).unwrap_or_default(), topic.error_code)).collect()
}

#[tokio::test]
async fn every_version_lists_everything_or_nothing() {
    let node = TestNode::new(&[("t", 2, &[]), ("u", 1, &[])]).await;
    for version in 0..=13 {
        let empty = ask(&node, version, MetadataRequest::default().with_topics(Some(vec![]))).await;
        assert_eq!(empty.topics.len(), if version == 0 { 2 } else { 0 });
        assert_eq!(empty.brokers.len(), 1);
        assert_eq!((empty.brokers[0].host.as_str(), empty.brokers[0].port), ("localhost", 9092));
        assert_eq!(empty.controller_id, empty.brokers[0].node_id);
        if version > 0 {
            let all = ask(&node, version, MetadataRequest::default().with_topics(None)).await;
            assert_eq!(codes(&all), [("t".to_owned(), 0), ("u".to_owned(), 0)]);
        }
    }
}

#[tokio::test]
async fn a_partition_shows_its_leader_and_replicas() {
    let node = TestNode::new(&[("t", 2, &[])]).await;
    let response = ask(&node, 9, by_name(&["t"])).await;
    let partition = &response.topics[0].partitions[1];
    assert_eq!((partition.error_code, partition.partition_index), (0, 1));
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (1, 0));
    assert_eq!((partition.replica_nodes.len(), partition.isr_nodes.len()), (1, 1));
    assert!(partition.offline_replicas.is_empty());
}

/// A partition whose log was not open yet was shown without a leader, which kafka-go takes for a
/// failure of its write. Kafka names the leader at once, and has clients come back to it.
#[tokio::test]
async fn a_partition_has_its_leader_before_its_log_is_open() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let log = node.partition("t", 0).name.clone();
    node.broker.partitions.delete(&log);
    let response = ask(&node, 9, by_name(&["t"])).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id.0), (0, 1));
    assert_eq!(partition.leader_epoch, -1, "known once the log is open");
    assert_eq!(node.produce("t", 0, batch(&["a"])).await.error_code, 6, "retried by clients");
}

#[tokio::test]
async fn a_partition_without_a_known_leader_says_so() {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1, 2, 3]], &[]).await;
    let ask_for = async || ask(&node, 9, by_name(&["t"])).await.topics[0].partitions[0].clone();
    let nobody = ask_for().await;
    assert_eq!((nobody.error_code, nobody.leader_id.0), (5, -1));
    let replica = node.replica("t", 0);
    replica.lead(4);
    replica.set_in_sync(&[3, 1]);
    let led = ask_for().await;
    assert_eq!((led.error_code, led.leader_id.0, led.leader_epoch), (0, 1, 4));
    let in_sync: Vec<i32> = led.isr_nodes.iter().map(|id| id.0).collect();
    assert_eq!((in_sync, led.replica_nodes.len()), (vec![1, 3], 3));
    replica.lose(Some(2), 5);
    let elsewhere = ask_for().await;
    assert_eq!((elsewhere.leader_id.0, elsewhere.leader_epoch), (2, 5));
    node.broker.leaders.set_down([BrokerId::new(2)].into());
    let gone = ask_for().await;
    assert_eq!((gone.error_code, gone.leader_id.0), (5, -1));
    assert_eq!(gone.offline_replicas, [m::BrokerId(2)]);
}

#[tokio::test]
async fn unknown_and_illegal_names_have_their_codes_and_create_nothing_unasked() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let long = "x".repeat(250);
    let response = ask(&node, 12, by_name(&["gone", "a/b", &long, "t", "t"])).await;
    let told: Vec<_> = codes(&response).into_iter().map(|(_, code)| code).collect();
    assert_eq!(told, [3, 17, 17, 0]);
    assert_eq!(node.broker.cluster.image().topics.len(), 1);
}

#[tokio::test]
async fn asking_creates_a_topic_once_and_a_later_question_finds_it() {
    let node = TestNode::new(&[]).await;
    let ask_for = || by_name(&["new"]).with_allow_auto_topic_creation(true);
    assert_eq!(codes(&ask(&node, 12, ask_for()).await), [("new".to_owned(), 3)]);
    // As a client does: again and again until it is there.
    let appears = async {
        loop {
            let response = ask(&node, 12, ask_for()).await;
            let partition = response.topics[0].partitions.first();
            if partition.is_some_and(|partition| partition.error_code == 0) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(APPEARS_WITHIN, appears).await.unwrap();
    assert_eq!(node.broker.cluster.image().topics.len(), 1);
    let internal = by_name(&["__consumer_offsets"]).with_allow_auto_topic_creation(true);
    assert_eq!(codes(&ask(&node, 12, internal).await)[0].1, 3);
}

#[tokio::test]
async fn topics_are_found_by_id_from_version_12_on() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let id = node.topic_id("t");
    for version in 12..=13 {
        let found = ask(&node, version, by_id(id)).await;
        assert_eq!((codes(&found), found.topics[0].topic_id), (vec![("t".to_owned(), 0)], id));
        let unknown = ask(&node, version, by_id(Uuid::from_u128(5))).await;
        assert_eq!((unknown.topics[0].error_code, &unknown.topics[0].name), (100, &None));
    }
    for version in 10..=11 {
        assert_eq!(ask(&node, version, by_id(id)).await.topics[0].error_code, 42);
    }
}

#[tokio::test]
async fn operations_are_told_only_where_they_are_asked_for() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    for version in 8..=13 {
        let silent = ask(&node, version, by_name(&["t"])).await;
        assert_eq!(silent.cluster_authorized_operations, i32::MIN);
        assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN);
        let request = by_name(&["t"])
            .with_include_cluster_authorized_operations(true)
            .with_include_topic_authorized_operations(true);
        let told = ask(&node, version, request).await;
        assert_eq!(told.topics[0].topic_authorized_operations, 0b1101_1111_1000);
        let cluster = if version <= 10 { 0b1_1111_1010_0000 } else { i32::MIN };
        assert_eq!(told.cluster_authorized_operations, cluster);
    }
}
