//! Topics, partitions, settings and records as administrators change them.

use harness::batch::{ANONYMOUS, batch_of};
use harness::calls::topic_name;
use harness::codes;
use harness::deadline::now_ms;
use harness::node::Node;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::alter_configs_request as legacy;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
};
use uuid::Uuid;

/// Kinds of resources and operations, as the protocol numbers them.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Where a value comes from, as DescribeConfigs numbers it.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;

const TIMEOUT_MS: i32 = 30_000;

fn new_topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|(partition, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
    });
    new_topic(name, -1, -1).with_assignments(assignments.collect())
}

fn create(
    connection: &mut Connection,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_timeout_ms(TIMEOUT_MS)
        .with_topics(topics)
        .with_validate_only(validate_only);
    connection.call(7, &request).topics
}

fn create_code(connection: &mut Connection, topic: CreatableTopic) -> i16 {
    create(connection, vec![topic], false).remove(0).error_code
}

/// Behaviour 54: what is refused, and why.
#[test]
fn topics_that_cannot_be_created() {
    let target = Target::start();
    let mut connection = target.connect();
    let (exists, name) = (unique_topic("admin.a"), unique_topic("admin"));
    connection.create_topic(&exists, 1, &[]);
    let node = connection.describe_topic(&exists).partitions[0].leader_id.0;
    let config = |key: &str, value: &str| {
        let config =
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)));
        new_topic(&name, 1, 1).with_configs(vec![config])
    };
    let both = assigned(&name, &[(0, &[node])]).with_num_partitions(1);
    let cases = [
        (new_topic(&exists, 1, 1), codes::TOPIC_ALREADY_EXISTS),
        (new_topic(&exists.replace('.', "_"), 1, 1), codes::INVALID_TOPIC),
        (new_topic("a b", 1, 1), codes::INVALID_TOPIC),
        (new_topic("", 1, 1), codes::INVALID_TOPIC),
        (new_topic(&"x".repeat(250), 1, 1), codes::INVALID_TOPIC),
        (new_topic(&name, 0, 1), codes::INVALID_PARTITIONS),
        (new_topic(&name, -2, 1), codes::INVALID_PARTITIONS),
        (new_topic(&name, 1, 0), codes::INVALID_REPLICATION_FACTOR),
        (new_topic(&name, 1, 3), codes::INVALID_REPLICATION_FACTOR),
        (both, codes::INVALID_REQUEST),
        (assigned(&name, &[(0, &[node]), (2, &[node])]), codes::INVALID_REPLICA_ASSIGNMENT),
        (assigned(&name, &[(0, &[node, node])]), codes::INVALID_REPLICA_ASSIGNMENT),
        (assigned(&name, &[(0, &[node + 77])]), codes::INVALID_REPLICA_ASSIGNMENT),
        (config("retention.ms", "soon"), codes::INVALID_CONFIG),
        (config("no.such.setting", "1"), codes::INVALID_CONFIG),
        (config("cleanup.policy", "burn"), codes::INVALID_CONFIG),
    ];
    for (topic, expected) in cases {
        let what = format!("{topic:?}");
        assert_eq!(create_code(&mut connection, topic), expected, "{what}");
    }
    assert_eq!(connection.describe_topic(&name).error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

/// Behaviour 54: what is created, and what is told of it.
#[test]
fn topics_that_are_created() {
    let target = Target::start();
    let mut connection = target.connect();
    let (good, bad) = (unique_topic("admin"), unique_topic("admin"));
    let topics = || {
        let retention = CreatableTopicConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("5000000")));
        vec![new_topic(&good, -1, -1).with_configs(vec![retention]), new_topic(&bad, 0, 1)]
    };
    let trial = create(&mut connection, topics(), true);
    assert_eq!(trial.iter().find(|topic| *topic.name.0 == *good).unwrap().error_code, codes::NONE);
    let code = connection.describe_topic(&good).error_code;
    assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION, "a trial changes nothing");

    let created = create(&mut connection, topics(), false);
    let by_name = |name: &str| created.iter().find(|topic| *topic.name.0 == *name).unwrap();
    assert_eq!(by_name(&bad).error_code, codes::INVALID_PARTITIONS, "the other is created anyway");
    let topic = by_name(&good);
    assert_eq!(topic.error_code, codes::NONE);
    assert!(topic.num_partitions >= 1 && topic.replication_factor == 1, "the defaults are told");
    assert_eq!(topic.topic_id, connection.describe_topic(&good).topic_id);
    let configs = topic.configs.as_ref().unwrap();
    let retention = configs.iter().find(|config| *config.name == *"retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("5000000"));
    assert_eq!(retention.config_source, SOURCE_TOPIC);
    let segment = configs.iter().find(|config| *config.name == *"segment.bytes").unwrap();
    assert_eq!(segment.config_source, SOURCE_DEFAULT);

    let node = connection.describe_topic(&good).partitions[0].leader_id.0;
    let placed = unique_topic("admin");
    let by_hand = assigned(&placed, &[(0, &[node]), (1, &[node])]);
    assert_eq!(create_code(&mut connection, by_hand), codes::NONE);
    assert_eq!(connection.describe_topic(&placed).partitions.len(), 2);

    let twice = unique_topic("admin");
    let answer = create(&mut connection, vec![new_topic(&twice, 1, 1); 2], false);
    assert!(answer.iter().all(|topic| topic.error_code == codes::INVALID_REQUEST), "{answer:?}");
    let code = connection.describe_topic(&twice).error_code;
    assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION, "named twice, not created");
}

fn alter(
    connection: &mut Connection,
    topic: &str,
    changes: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> i16 {
    let configs = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    connection.call(1, &request).responses.remove(0).error_code
}

fn describe(
    connection: &mut Connection,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    connection.call(4, &request).results.remove(0)
}

fn setting(connection: &mut Connection, topic: &str, key: &str) -> DescribeConfigsResourceResult {
    describe(connection, TOPIC, topic, Some(&[key])).configs.remove(0)
}

fn value(connection: &mut Connection, topic: &str, key: &str) -> String {
    setting(connection, topic, key).value.unwrap_or_default().to_string()
}

/// Behaviour 55.
#[test]
fn settings_change_one_by_one() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(&topic, 1, &[]);
    let connection = &mut connection;
    let default = value(connection, &topic, "retention.ms");

    let set = [("retention.ms", SET, Some("5000000")), ("segment.bytes", SET, Some("2000000"))];
    assert_eq!(alter(connection, &topic, &set, true), codes::NONE);
    assert_eq!(value(connection, &topic, "retention.ms"), default, "a trial changes nothing");
    assert_eq!(alter(connection, &topic, &set, false), codes::NONE);
    assert_eq!(value(connection, &topic, "retention.ms"), "5000000");

    let policy = |operation, value| [("cleanup.policy", operation, Some(value))];
    for _ in 0..2 {
        assert_eq!(alter(connection, &topic, &policy(APPEND, "compact"), false), codes::NONE);
        assert_eq!(value(connection, &topic, "cleanup.policy"), "delete,compact");
    }
    assert_eq!(alter(connection, &topic, &policy(SUBTRACT, "delete"), false), codes::NONE);
    assert_eq!(value(connection, &topic, "cleanup.policy"), "compact");
    let append = [("retention.ms", APPEND, Some("1"))];
    assert_eq!(alter(connection, &topic, &append, false), codes::INVALID_CONFIG, "not a list");

    let half = [("retention.ms", SET, Some("7000000")), ("segment.bytes", SET, Some("big"))];
    assert_eq!(alter(connection, &topic, &half, false), codes::INVALID_CONFIG);
    assert_eq!(value(connection, &topic, "retention.ms"), "5000000", "all or nothing");

    assert_eq!(alter(connection, &topic, &[("retention.ms", DELETE, None)], false), codes::NONE);
    assert_eq!(value(connection, &topic, "retention.ms"), default);
    assert_eq!(value(connection, &topic, "segment.bytes"), "2000000");
    let unknown = unique_topic("nowhere");
    assert_eq!(alter(connection, &unknown, &set, false), codes::UNKNOWN_TOPIC_OR_PARTITION);
}

/// The second half of behaviour 55: the older request says all that shall hold.
#[test]
fn the_older_request_replaces_all_settings() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(
        &topic,
        1,
        &[("retention.ms", "5000000"), ("retention.bytes", "99999")],
    );
    let kept = legacy::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("6000000")));
    let resource = legacy::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(&topic))
        .with_configs(vec![kept]);
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(connection.call(2, &request).responses[0].error_code, codes::NONE);
    assert_eq!(value(&mut connection, &topic, "retention.ms"), "6000000");
    assert_eq!(value(&mut connection, &topic, "retention.bytes"), "-1");
}

/// Behaviour 56.
#[test]
fn settings_tell_where_they_come_from() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(&topic, 1, &[("retention.ms", "5000000")]);
    let all = describe(&mut connection, TOPIC, &topic, None);
    assert_eq!(all.error_code, codes::NONE);
    for key in ["cleanup.policy", "retention.ms", "max.message.bytes", "compression.type"] {
        assert!(all.configs.iter().any(|config| *config.name == *key), "{key}");
    }
    let retention = setting(&mut connection, &topic, "retention.ms");
    assert_eq!(retention.config_source, SOURCE_TOPIC);
    let synonyms: Vec<_> =
        retention.synonyms.iter().map(|synonym| (&*synonym.name, synonym.source)).collect();
    assert_eq!(synonyms[0], ("retention.ms", SOURCE_TOPIC));
    let segment = setting(&mut connection, &topic, "segment.bytes");
    assert_eq!(segment.config_source, SOURCE_DEFAULT);
    let synonyms: Vec<_> =
        segment.synonyms.iter().map(|synonym| (&*synonym.name, synonym.source)).collect();
    assert_eq!(synonyms, [("log.segment.bytes", SOURCE_DEFAULT)]);
    assert!(all.configs.iter().all(|config| !config.is_sensitive));

    let node = connection.describe_topic(&topic).partitions[0].leader_id.0;
    let broker = describe(&mut connection, BROKER, &node.to_string(), None);
    assert_eq!(broker.error_code, codes::NONE);
    assert!(broker.configs.iter().any(|config| *config.name == *"log.retention.ms"));
    let other = describe(&mut connection, BROKER, &(node + 9).to_string(), None);
    assert_eq!(other.error_code, codes::INVALID_REQUEST);
    assert_eq!(describe(&mut connection, BROKER, "", None).error_code, codes::NONE);
    let nowhere = describe(&mut connection, TOPIC, &unique_topic("nowhere"), None);
    assert_eq!(nowhere.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

fn trim(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition =
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic =
        DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request =
        DeleteRecordsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(vec![topic]);
    let result = connection.call(2, &request).topics.remove(0).partitions.remove(0);
    (result.error_code, result.low_watermark)
}

/// Behaviour 57 for records.
#[test]
fn records_are_deleted_from_the_start() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(&topic, 1, &[]);
    connection.produce(&topic, 0, batch_of(ANONYMOUS, &["a", "b", "c"], now_ms()));
    assert_eq!(trim(&mut connection, &topic, 0, 1), (codes::NONE, 1));
    assert_eq!(trim(&mut connection, &topic, 0, 0), (codes::NONE, 1), "what is gone stays gone");
    assert_eq!(trim(&mut connection, &topic, 0, 4), (codes::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(trim(&mut connection, &topic, 0, -1), (codes::NONE, 3), "up to the high watermark");
    let unknown = (codes::UNKNOWN_TOPIC_OR_PARTITION, -1);
    assert_eq!(trim(&mut connection, &topic, 8, 0), unknown);
    let next = connection.produce(&topic, 0, batch_of(ANONYMOUS, &["d"], now_ms()));
    assert_eq!(next, 3, "offsets go on");
}

/// Behaviour 57 for topics.
#[test]
fn topics_are_deleted_by_name_or_id() {
    let target = Target::start();
    let mut connection = target.connect();
    let delete = |connection: &mut Connection, name: Option<&str>, topic_id| {
        let state =
            DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(topic_id);
        let request =
            DeleteTopicsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(vec![state]);
        connection.call(6, &request).responses.remove(0)
    };
    for by_id in [true, false] {
        let topic = unique_topic("admin");
        let id = connection.create_topic(&topic, 1, &[]);
        let (name, asked_id) = if by_id { (None, id) } else { (Some(&*topic), Uuid::nil()) };
        let deleted = delete(&mut connection, name, asked_id);
        assert_eq!((deleted.error_code, deleted.topic_id), (codes::NONE, id));
        assert_eq!(deleted.name, Some(topic_name(&topic)));
        let code = connection.describe_topic(&topic).error_code;
        assert_eq!(code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let unknown = delete(&mut connection, None, Uuid::from_u128(5));
    assert_eq!(unknown.error_code, codes::UNKNOWN_TOPIC_ID);
    let unknown = delete(&mut connection, Some(&unique_topic("nowhere")), Uuid::nil());
    assert_eq!(unknown.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn partitions_are_added_and_never_removed() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(&topic, 2, &[]);
    let mut grow = |topic: &str, count, validate_only| {
        let asked = CreatePartitionsTopic::default()
            .with_name(topic_name(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_timeout_ms(TIMEOUT_MS)
            .with_topics(vec![asked])
            .with_validate_only(validate_only);
        connection.call(3, &request).results.remove(0).error_code
    };
    assert_eq!(grow(&topic, 5, true), codes::NONE);
    assert_eq!(grow(&topic, 1, false), codes::INVALID_PARTITIONS);
    assert_eq!(grow(&topic, 2, false), codes::INVALID_PARTITIONS, "a trial changed nothing");
    assert_eq!(grow(&topic, 4, false), codes::NONE);
    assert_eq!(grow(&unique_topic("nowhere"), 4, false), codes::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(connection.describe_topic(&topic).partitions.len(), 4);
}

#[test]
fn partitions_and_log_dirs_are_described() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("admin");
    connection.create_topic(&topic, 3, &[]);
    connection.produce(&topic, 1, batch_of(ANONYMOUS, &["a"], now_ms()));
    let asked = TopicRequest::default().with_name(topic_name(&topic));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![asked])
        .with_response_partition_limit(2);
    let page = connection.call(0, &request);
    assert_eq!(page.topics[0].partitions.len(), 2, "no more than asked for");
    let cursor = page.next_cursor.expect("there is a third");
    assert_eq!(cursor.partition_index, 2);

    let answer = connection.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    let sizes: Vec<_> = answer.results[0]
        .topics
        .iter()
        .filter(|described| *described.name.0 == *topic)
        .flat_map(|described| &described.partitions)
        .map(|partition| (partition.partition_index, partition.partition_size > 0))
        .collect();
    assert_eq!(sizes.iter().filter(|(_, written)| *written).collect::<Vec<_>>(), [&(1, true)]);
    assert_eq!(sizes.len(), 3);
    assert!(answer.results[0].total_bytes > 0 && answer.results[0].usable_bytes > 0);
}

/// Behaviour 57. A node of our own: the setting cannot be changed while a broker runs.
#[test]
fn topics_are_not_deleted_where_that_is_disabled() {
    let node = Node::start_with(&["--set", "delete.topic.enable=false"]);
    let (mut connection, topic) = (Connection::open(node.kafka()), unique_topic("kept"));
    connection.create_topic(&topic, 1, &[]);
    assert_eq!(connection.delete_topic(&topic), codes::TOPIC_DELETION_DISABLED);
    assert_eq!(connection.describe_topic(&topic).error_code, codes::NONE, "it is still there");
}
