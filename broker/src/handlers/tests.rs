//! The administrative APIs in this process: what they answer, and that every version can carry it.

use kafka_protocol::messages as m;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};
use kafka_protocol::protocol::StrBytes;
use protocol::response::Response;
use uuid::Uuid;

use super::*;
use crate::reply::{Reply, Work};
use crate::test_node::{TestNode, assert_encodes, finish, name};

const TIMEOUT_MS: i32 = 30_000;

async fn answer(api_version: i16, work: Work) -> Response {
    let reply = finish(work).await;
    assert_encodes(&reply, api_version);
    match reply {
        Reply::Message(response) => response,
        other => panic!("no message: {other:?}"),
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn new_topic(topic: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect())
}

async fn create(
    node: &TestNode,
    api_version: i16,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> m::CreateTopicsResponse {
    let request = m::CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(TIMEOUT_MS)
        .with_validate_only(validate_only);
    let context = TestNode::context(api_version);
    let work = create_topics::handle(&node.broker, &context, request);
    match answer(api_version, work).await {
        Response::CreateTopics(response) => response,
        other => panic!("not CreateTopics: {other:?}"),
    }
}

#[tokio::test]
async fn topics_are_created_each_for_itself_and_open_when_answered() {
    let node = TestNode::new(&[]).await;
    for version in 2..=7 {
        let good = format!("good{version}");
        let topics = vec![
            new_topic(&good, 2, &[("retention.ms", "1000")]),
            new_topic("a/b", 1, &[]),
            new_topic("bad", 1, &[("retention.ms", "soon")]),
            new_topic("twice", 1, &[]),
            new_topic("twice", 1, &[]),
        ];
        let response = create(&node, version, topics, false).await;
        let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 17, 40, 42, 42]);
        let created = &response.topics[0];
        if version >= 5 {
            assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
            let configs = created.configs.as_ref().unwrap();
            let retention = configs.iter().find(|config| &*config.name == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
        }
        assert_eq!(created.topic_id.is_nil(), version < 7);
        node.partition(&good, 1);
    }
}

#[tokio::test]
async fn validating_creates_nothing() {
    let node = TestNode::new(&[]).await;
    let response = create(&node, 7, vec![new_topic("t", 3, &[])], true).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 3));
    assert!(node.broker.cluster.image().topics.is_empty());
}

async fn delete(
    node: &TestNode,
    api_version: i16,
    topics: &[(Option<&str>, Uuid)],
) -> Vec<(Option<String>, i16)> {
    let request = if api_version >= 6 {
        let topics = topics.iter().map(|(topic, id)| {
            DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(*id)
        });
        m::DeleteTopicsRequest::default().with_topics(topics.collect())
    } else {
        let names = topics.iter().filter_map(|(topic, _)| topic.map(name)).collect();
        m::DeleteTopicsRequest::default().with_topic_names(names)
    };
    let request = request.with_timeout_ms(TIMEOUT_MS);
    let context = TestNode::context(api_version);
    let work = delete_topics::handle(&node.broker, &context, request);
    let Response::DeleteTopics(response) = answer(api_version, work).await else {
        panic!("not DeleteTopics");
    };
    let told = response.responses.into_iter();
    told.map(|topic| (topic.name.map(|name| name.to_string()), topic.error_code)).collect()
}

#[tokio::test]
async fn topics_are_deleted_by_name_or_id() {
    let node = TestNode::new(&[("t1", 1, &[]), ("t2", 1, &[]), ("t3", 1, &[])]).await;
    let (none, unknown) = (Uuid::nil(), Uuid::from_u128(77));
    let owned = |topic: &str| Some(topic.to_owned());
    let by_name = [(Some("t1"), none), (Some("gone"), none)];
    assert_eq!(delete(&node, 1, &by_name).await, [(owned("t1"), 0), (owned("gone"), 3)]);
    let id = node.topic_id("t2");
    let both = (Some("t3"), node.topic_id("t3"));
    let mixed = [(None, id), (None, unknown), both, (None, none)];
    let told = delete(&node, 6, &mixed).await;
    assert_eq!(told, [(owned("t2"), 0), (None, 100), (owned("t3"), 42), (None, 42)]);
    assert_eq!(node.broker.cluster.image().topics.len(), 1);
    for version in 1..=6 {
        assert_eq!(delete(&node, version, &[(Some("gone"), none)]).await[0].1, 3);
    }
}

#[tokio::test]
async fn partitions_are_added_and_open_when_answered() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    for version in 0..=3 {
        let topic = |topic: &str, count| {
            m::create_partitions_request::CreatePartitionsTopic::default()
                .with_name(name(topic))
                .with_count(count)
                .with_assignments(None)
        };
        let count = i32::from(version) + 2;
        let request = m::CreatePartitionsRequest::default()
            .with_topics(vec![topic("t", count), topic("gone", 2)])
            .with_timeout_ms(TIMEOUT_MS);
        let context = TestNode::context(version);
        let work = create_partitions::handle(&node.broker, &context, request);
        let Response::CreatePartitions(response) = answer(version, work).await else {
            panic!("not CreatePartitions");
        };
        let codes: Vec<_> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 3]);
        node.partition("t", count - 1);
    }
}

/// One setting of a resource: value and source.
async fn describe(
    node: &TestNode,
    api_version: i16,
    (resource_type, resource): (i8, &str),
    key: &str,
) -> (i16, Option<(Option<String>, i8)>) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = m::DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(api_version >= 3);
    let context = TestNode::context(api_version);
    let work = describe_configs::handle(&node.broker, &context, request);
    let Response::DescribeConfigs(response) = answer(api_version, work).await else {
        panic!("not DescribeConfigs");
    };
    let result = &response.results[0];
    let config = result.configs.first();
    let value = |value: &StrBytes| value.to_string();
    (result.error_code, config.map(|c| (c.value.as_ref().map(value), c.config_source)))
}

#[tokio::test]
async fn settings_are_described_with_their_source() {
    let node = TestNode::new(&[("t", 1, &[("retention.ms", "5")])]).await;
    let shown = |value: &str, source| (0, Some((Some(value.to_owned()), source)));
    for version in 1..=4 {
        let at = |resource, key| describe(&node, version, resource, key);
        assert_eq!(at((2, "t"), "retention.ms").await, shown("5", 1));
        assert_eq!(at((2, "t"), "segment.bytes").await, shown("1073741824", 5));
        assert_eq!(at((4, "1"), "num.partitions").await, shown("1", 5));
        assert_eq!(at((4, "1"), "node.id").await, shown("1", 4));
        assert_eq!(at((2, "t"), "no.such.key").await, (0, None));
        assert_eq!(at((2, "gone"), "retention.ms").await, (3, None));
        assert_eq!(at((4, "7"), "num.partitions").await, (42, None));
    }
}

async fn incremental(
    node: &TestNode,
    api_version: i16,
    (resource_type, resource): (i8, &str),
    operations: &[(&str, i8, &str)],
) -> i16 {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |(key, operation, value): &(&str, i8, &str)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(Some(text(value)))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configs(operations.iter().map(config).collect());
    let request = m::IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let context = TestNode::context(api_version);
    let work = incremental_alter_configs::handle(&node.broker, &context, request);
    let Response::IncrementalAlterConfigs(response) = answer(api_version, work).await else {
        panic!("not IncrementalAlterConfigs");
    };
    response.responses[0].error_code
}

#[tokio::test]
async fn settings_change_one_by_one_and_all_or_nothing() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    let topic = (2, "t");
    for version in 0..=1 {
        let set = [("retention.ms", 0, "7"), ("cleanup.policy", 2, "compact")];
        assert_eq!(incremental(&node, version, topic, &set).await, 0);
        let bad = [("retention.ms", 0, "8"), ("flush.ms", 0, "never")];
        assert_eq!(incremental(&node, version, topic, &bad).await, 40);
        let overrides = node.broker.cluster.image().topics["t"].overrides.clone();
        assert_eq!(overrides["retention.ms"], "7");
        assert_eq!(overrides["cleanup.policy"], "delete,compact");
        assert_eq!(incremental(&node, version, topic, &[("retention.ms", 1, "")]).await, 0);
        assert_eq!(incremental(&node, version, (2, "gone"), &set).await, 3);
        assert_eq!(incremental(&node, version, (4, ""), &[("num.partitions", 0, "2")]).await, 42);
    }
}

#[tokio::test]
async fn a_changed_broker_setting_reaches_the_open_partitions_of_all_topics() {
    let node = TestNode::new(&[("t", 1, &[]), ("own", 1, &[("max.message.bytes", "9")])]).await;
    let change = [("message.max.bytes", 0, "1234")];
    assert_eq!(incremental(&node, 1, (4, ""), &change).await, 0);
    node.broker.cluster.reconciled(node.broker.cluster.image().index).await.unwrap();
    let limit = |topic| node.partition(topic, 0).settings().rules.batch_bytes_max;
    assert_eq!((limit("t"), limit("own")), (1234, 9));
    let own = [("message.max.bytes", 0, "999")];
    assert_eq!(incremental(&node, 1, (4, "1"), &own).await, 0);
    node.broker.cluster.reconciled(node.broker.cluster.image().index).await.unwrap();
    assert_eq!((limit("t"), limit("own")), (999, 9));
}

#[tokio::test]
async fn the_older_alter_configs_replaces_everything() {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let node = TestNode::new(&[("t", 1, &[("retention.ms", "5")])]).await;
    for version in 0..=2 {
        let config =
            AlterableConfig::default().with_name(text("flush.ms")).with_value(Some(text("3")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = m::AlterConfigsRequest::default().with_resources(vec![resource]);
        let context = TestNode::context(version);
        let work = alter_configs::handle(&node.broker, &context, request);
        let Response::AlterConfigs(response) = answer(version, work).await else {
            panic!("not AlterConfigs");
        };
        assert_eq!(response.responses[0].error_code, 0);
        let overrides = &node.broker.cluster.image().topics["t"].overrides;
        assert_eq!(overrides.keys().collect::<Vec<_>>(), ["flush.ms"]);
    }
}

#[tokio::test]
async fn producer_ids_are_all_different_and_transactions_are_refused_for_now() {
    let node = TestNode::new(&[]).await;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..1200 {
        let version = i16::try_from(round % 6).unwrap();
        let request = m::InitProducerIdRequest::default().with_transactional_id(None);
        let context = TestNode::context(version);
        let work = init_producer_id::handle(&node.broker, &context, request);
        let Response::InitProducerId(response) = answer(version, work).await else {
            panic!("not InitProducerId");
        };
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        assert!(seen.insert(response.producer_id.0));
    }
    let id = Some(m::TransactionalId(text("tx")));
    let request = m::InitProducerIdRequest::default().with_transactional_id(id);
    let work = init_producer_id::handle(&node.broker, &TestNode::context(4), request);
    let Response::InitProducerId(response) = answer(4, work).await else { panic!() };
    assert_eq!((response.error_code, response.producer_id.0), (15, -1));
}

/// Error and node of the coordinator of one key.
async fn coordinator(node: &TestNode, version: i16, key_type: i8) -> (i16, i32) {
    let request = if version >= 4 {
        m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")])
    } else {
        m::FindCoordinatorRequest::default().with_key(text("g"))
    };
    let request = request.with_key_type(key_type);
    let work = find_coordinator::handle(&node.broker, &TestNode::context(version), request);
    let Response::FindCoordinator(response) = answer(version, work).await else { panic!() };
    let first = response.coordinators.first();
    first.map_or((response.error_code, response.node_id.0), |it| (it.error_code, it.node_id.0))
}

#[tokio::test]
async fn this_broker_coordinates_groups_and_no_transactions() {
    let node = TestNode::new(&[]).await;
    for version in 0..=6 {
        assert_eq!(coordinator(&node, version, 0).await, (0, 1), "version {version}");
        if version >= 1 {
            assert_eq!(coordinator(&node, version, 1).await, (15, -1), "version {version}");
        }
    }
    assert_eq!(node.broker.cluster.image().topics["__consumer_offsets"].partitions.len(), 50);
}

#[tokio::test]
async fn the_cluster_is_described_in_every_version() {
    let node = TestNode::new(&[("t", 3, &[])]).await;
    for version in 0..=2 {
        let request = m::DescribeClusterRequest::default().with_endpoint_type(1);
        let work = describe_cluster::handle(&node.broker, &TestNode::context(version), request);
        let Response::DescribeCluster(response) = answer(version, work).await else { panic!() };
        assert_eq!((response.error_code, response.brokers.len()), (0, 1));
        assert_eq!((&*response.cluster_id, response.controller_id.0), ("test", 1));
    }
    let controllers = m::DescribeClusterRequest::default().with_endpoint_type(2);
    let work = describe_cluster::handle(&node.broker, &TestNode::context(1), controllers);
    let Response::DescribeCluster(response) = answer(1, work).await else { panic!() };
    assert_eq!(response.error_code, 114);
}

#[tokio::test]
async fn topics_and_resources_are_listed() {
    let node = TestNode::new(&[("t", 3, &[]), ("u", 1, &[])]).await;
    let request = m::DescribeTopicPartitionsRequest::default().with_response_partition_limit(2);
    let work = describe_topic_partitions::handle(&node.broker, &TestNode::context(0), request);
    let Response::DescribeTopicPartitions(response) = answer(0, work).await else { panic!() };
    assert_eq!((response.topics.len(), response.topics[0].partitions.len()), (1, 2));
    let cursor = response.next_cursor.unwrap();
    assert_eq!((&**cursor.topic_name, cursor.partition_index), ("t", 2));

    for (version, types, expected) in [(0, vec![], 0), (1, vec![2], 2), (1, vec![], 4)] {
        let request = m::ListConfigResourcesRequest::default().with_resource_types(types);
        let context = TestNode::context(version);
        let work = list_config_resources::handle(&node.broker, &context, request);
        let Response::ListConfigResources(response) = answer(version, work).await else {
            panic!("not ListConfigResources");
        };
        assert_eq!((response.error_code, response.config_resources.len()), (0, expected));
    }
}
