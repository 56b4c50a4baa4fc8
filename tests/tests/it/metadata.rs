//! What clients learn of brokers and topics, and how topics come to be by asking for them.

use harness::calls::topic_name;
use harness::codes;
use harness::deadline::eventually;
use harness::target::{Target, unique_topic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::{DescribeClusterRequest, MetadataRequest};
use uuid::Uuid;

/// What the field says when nobody asked for operations.
const NOT_REQUESTED: i32 = i32::MIN;

fn by_name(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn by_id(id: Uuid) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn lists(answer: &MetadataResponse, name: &str) -> bool {
    answer.topics.iter().any(|topic| topic.name.as_ref().is_some_and(|known| &**known == name))
}

/// Behaviour 8.
#[test]
fn all_topics_or_none() {
    let target = Target::start();
    let topic = unique_topic("metadata");
    let mut connection = target.connect();
    connection.create_topic(&topic, 2, &[]);
    let none = MetadataRequest::default().with_topics(Some(vec![]));
    let all = MetadataRequest::default().with_topics(None);
    assert!(lists(&connection.call(0, &none), &topic), "v0: an empty list means all");
    for version in 1..=13 {
        assert!(lists(&connection.call(version, &all), &topic), "v{version}: null means all");
        let answer = connection.call(version, &none);
        assert!(answer.topics.is_empty(), "v{version}: an empty list means none");
        assert!(!answer.brokers.is_empty(), "v{version}");
        assert!(version < 2 || answer.cluster_id.is_some(), "v{version}");
    }
}

/// Behaviour 9.
#[test]
fn a_topic_is_created_by_asking_for_it() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("metadata");
    let never = by_name(&topic).with_allow_auto_topic_creation(false);
    let asked = by_name(&topic).with_allow_auto_topic_creation(true);
    for _ in 0..3 {
        let code = connection.call(9, &never).topics[0].error_code;
        assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let code = connection.call(9, &asked).topics[0].error_code;
    assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION, "creation has only started");
    eventually("the topic exists", || {
        (connection.call(9, &never).topics[0].error_code == codes::NONE).then_some(())
    });
    for invalid in ["a b", ".", "..", "", "ü", &"x".repeat(250)] {
        let answer = connection.call(9, &by_name(invalid).with_allow_auto_topic_creation(true));
        assert_eq!(answer.topics[0].error_code, codes::INVALID_TOPIC, "{invalid:?}");
    }
}

/// Behaviour 10.
#[test]
fn topics_by_id() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("metadata");
    let id = connection.create_topic(&topic, 1, &[]);
    for version in [10, 11] {
        let answer = connection.call(
            version,
            &by_id(id).with_topics(Some(vec![
                MetadataRequestTopic::default()
                    .with_name(Some(topic_name(&topic)))
                    .with_topic_id(id),
            ])),
        );
        assert_eq!(answer.topics[0].error_code, codes::INVALID_REQUEST, "v{version}");
    }
    for version in [12, 13] {
        let answer = connection.call(version, &by_id(id));
        assert!(lists(&answer, &topic), "v{version}");
        let answer = connection.call(version, &by_id(Uuid::from_u128(77)));
        let unknown = &answer.topics[0];
        assert_eq!(unknown.error_code, codes::UNKNOWN_TOPIC_ID, "v{version}");
        assert!(unknown.name.is_none() && unknown.topic_id == Uuid::from_u128(77), "v{version}");
    }
}

/// Behaviour 11.
#[test]
fn a_topic_made_again_has_another_id() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("metadata");
    let first = connection.create_topic(&topic, 1, &[]);
    assert!(!first.is_nil());
    for _ in 0..3 {
        assert_eq!(connection.describe_topic(&topic).topic_id, first);
    }
    assert_eq!(connection.delete_topic(&topic), codes::NONE);
    let second = eventually("the name is free again", || {
        let gone = connection.describe_topic(&topic).error_code != codes::NONE;
        gone.then(|| connection.create_topic(&topic, 1, &[]))
    });
    assert!(!second.is_nil() && second != first);
}

/// Behaviour 12.
#[test]
fn brokers_are_named_as_the_client_reaches_them() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("metadata");
    connection.create_topic(&topic, 1, &[]);
    for version in 1..=13 {
        let answer = connection.call(version, &by_name(&topic));
        let broker = &answer.brokers[0];
        assert_eq!(*broker.host, *target.kafka().ip().to_string());
        assert_eq!(broker.port, i32::from(target.kafka().port()));
        assert!(answer.brokers.iter().any(|broker| broker.node_id == answer.controller_id));
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.leader_id, broker.node_id);
        assert_eq!(partition.isr_nodes, [broker.node_id]);
        assert_eq!(answer.topics[0].topic_authorized_operations, NOT_REQUESTED);
        assert_eq!(answer.cluster_authorized_operations, NOT_REQUESTED);
    }
    let asked = by_name(&topic).with_include_topic_authorized_operations(true);
    let answer = connection.call(9, &asked);
    assert_ne!(answer.topics[0].topic_authorized_operations, NOT_REQUESTED);

    let cluster = connection.call(1, &DescribeClusterRequest::default().with_endpoint_type(1));
    assert_eq!(cluster.error_code, codes::NONE);
    assert_eq!(cluster.brokers[0].port, i32::from(target.kafka().port()));
    assert_eq!(Some(cluster.cluster_id), connection.call(9, &asked).cluster_id);
}
