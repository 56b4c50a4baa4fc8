//! Each served request in the notation of `shape`.
//!
//! The fields, their order and their versions are Kafka's published message formats. They are
//! proven against the codec: the tests encode every request in every version and walk it.

/// An array of structures.
macro_rules! structs {
    ($name:literal, $codec:ty, $shape:ident) => {
        array::<$codec>($name, Element::Struct(&$shape))
    };
}

pub(crate) mod admin;
mod groups;

use kafka_protocol::messages as m;
use kafka_protocol::protocol::StrBytes;

pub(crate) use self::groups::{
    CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT, DELETE_GROUPS, DESCRIBE_GROUPS, HEARTBEAT,
    JOIN_GROUP, LEAVE_GROUP, LIST_GROUPS, OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH, SYNC_GROUP,
};
use super::shape::{
    Element, Struct, array, bytes, int8, int16, int32, int64, optional, structure, text, uuid,
};

pub(crate) static PRODUCE: Struct = Struct::new(&[
    text("transactional_id").nullable(),
    int16("acks"),
    int32("timeout_ms"),
    structs!("topic_data", m::produce_request::TopicProduceData, PRODUCE_TOPIC),
]);
static PRODUCE_TOPIC: Struct = Struct::new(&[
    text("name").until(12),
    uuid("topic_id").since(13),
    structs!("partition_data", m::produce_request::PartitionProduceData, PRODUCE_PARTITION),
]);
static PRODUCE_PARTITION: Struct = Struct::new(&[int32("index"), bytes("records").nullable()]);

pub(crate) static FETCH: Struct = Struct::new(&[
    int32("replica_id").until(14),
    int32("max_wait_ms"),
    int32("min_bytes"),
    int32("max_bytes"),
    int8("isolation_level"),
    int32("session_id").since(7),
    int32("session_epoch").since(7),
    structs!("topics", m::fetch_request::FetchTopic, FETCH_TOPIC),
    structs!("forgotten_topics_data", m::fetch_request::ForgottenTopic, FETCH_FORGOTTEN).since(7),
    text("rack_id").since(11),
])
.with_tagged(&[
    text("cluster_id").nullable().tagged(0),
    structure("replica_state", &FETCH_REPLICA_STATE).since(15).tagged(1),
]);
static FETCH_TOPIC: Struct = Struct::new(&[
    text("topic").until(12),
    uuid("topic_id").since(13),
    structs!("partitions", m::fetch_request::FetchPartition, FETCH_PARTITION),
]);
static FETCH_PARTITION: Struct = Struct::new(&[
    int32("partition"),
    int32("current_leader_epoch").since(9),
    int64("fetch_offset"),
    int32("last_fetched_epoch").since(12),
    int64("log_start_offset").since(5),
    int32("partition_max_bytes"),
])
.with_tagged(&[
    uuid("replica_directory_id").since(17).tagged(0),
    int64("high_watermark").since(18).tagged(1),
]);
static FETCH_FORGOTTEN: Struct = Struct::new(&[
    text("topic").until(12),
    uuid("topic_id").since(13),
    array::<i32>("partitions", Element::Fixed(4)),
]);
static FETCH_REPLICA_STATE: Struct = Struct::new(&[int32("replica_id"), int64("replica_epoch")]);

pub(crate) static LIST_OFFSETS: Struct = Struct::new(&[
    int32("replica_id"),
    int8("isolation_level").since(2),
    structs!("topics", m::list_offsets_request::ListOffsetsTopic, LIST_OFFSETS_TOPIC),
    int32("timeout_ms").since(10),
]);
static LIST_OFFSETS_TOPIC: Struct = Struct::new(&[
    text("name"),
    structs!("partitions", m::list_offsets_request::ListOffsetsPartition, LIST_OFFSETS_PARTITION),
]);
static LIST_OFFSETS_PARTITION: Struct = Struct::new(&[
    int32("partition_index"),
    int32("current_leader_epoch").since(4),
    int64("timestamp"),
]);

pub(crate) static METADATA: Struct = Struct::new(&[
    structs!("topics", m::metadata_request::MetadataRequestTopic, METADATA_TOPIC).nullable_since(1),
    int8("allow_auto_topic_creation").since(4),
    int8("include_cluster_authorized_operations").since(8).until(10),
    int8("include_topic_authorized_operations").since(8),
]);
static METADATA_TOPIC: Struct =
    Struct::new(&[uuid("topic_id").since(10), text("name").nullable_since(10)]);

pub(crate) static FIND_COORDINATOR: Struct = Struct::new(&[
    text("key").until(3),
    int8("key_type").since(1),
    array::<StrBytes>("coordinator_keys", Element::Text).since(4),
]);

pub(crate) static API_VERSIONS: Struct =
    Struct::new(&[text("client_software_name").since(3), text("client_software_version").since(3)]);

pub(crate) static CREATE_TOPICS: Struct = Struct::new(&[
    structs!("topics", m::create_topics_request::CreatableTopic, CREATE_TOPICS_TOPIC),
    int32("timeout_ms"),
    int8("validate_only"),
]);
static CREATE_TOPICS_TOPIC: Struct = Struct::new(&[
    text("name"),
    int32("num_partitions"),
    int16("replication_factor"),
    structs!(
        "assignments",
        m::create_topics_request::CreatableReplicaAssignment,
        CREATE_TOPICS_ASSIGNMENT
    ),
    structs!("configs", m::create_topics_request::CreatableTopicConfig, CONFIG),
]);
static CREATE_TOPICS_ASSIGNMENT: Struct =
    Struct::new(&[int32("partition_index"), array::<m::BrokerId>("broker_ids", Element::Fixed(4))]);
static CONFIG: Struct = Struct::new(&[text("name"), text("value").nullable()]);

pub(crate) static DELETE_TOPICS: Struct = Struct::new(&[
    structs!("topics", m::delete_topics_request::DeleteTopicState, DELETE_TOPICS_TOPIC).since(6),
    array::<m::TopicName>("topic_names", Element::Text).until(5),
    int32("timeout_ms"),
]);
static DELETE_TOPICS_TOPIC: Struct = Struct::new(&[text("name").nullable(), uuid("topic_id")]);

pub(crate) static DELETE_RECORDS: Struct = Struct::new(&[
    structs!("topics", m::delete_records_request::DeleteRecordsTopic, DELETE_RECORDS_TOPIC),
    int32("timeout_ms"),
]);
static DELETE_RECORDS_TOPIC: Struct = Struct::new(&[
    text("name"),
    structs!(
        "partitions",
        m::delete_records_request::DeleteRecordsPartition,
        DELETE_RECORDS_PARTITION
    ),
]);
static DELETE_RECORDS_PARTITION: Struct = Struct::new(&[int32("partition_index"), int64("offset")]);

pub(crate) static INIT_PRODUCER_ID: Struct = Struct::new(&[
    text("transactional_id").nullable(),
    int32("transaction_timeout_ms"),
    int64("producer_id").since(3),
    int16("producer_epoch").since(3),
]);

pub(crate) static OFFSET_FOR_LEADER_EPOCH: Struct = Struct::new(&[
    int32("replica_id").since(3),
    structs!(
        "topics",
        m::offset_for_leader_epoch_request::OffsetForLeaderTopic,
        OFFSET_FOR_LEADER_EPOCH_TOPIC
    ),
]);
static OFFSET_FOR_LEADER_EPOCH_TOPIC: Struct = Struct::new(&[
    text("topic"),
    structs!(
        "partitions",
        m::offset_for_leader_epoch_request::OffsetForLeaderPartition,
        OFFSET_FOR_LEADER_EPOCH_PARTITION
    ),
]);
static OFFSET_FOR_LEADER_EPOCH_PARTITION: Struct =
    Struct::new(&[int32("partition"), int32("current_leader_epoch"), int32("leader_epoch")]);

pub(crate) static DESCRIBE_CONFIGS: Struct = Struct::new(&[
    structs!(
        "resources",
        m::describe_configs_request::DescribeConfigsResource,
        DESCRIBE_CONFIGS_RESOURCE
    ),
    int8("include_synonyms"),
    int8("include_documentation").since(3),
]);
static DESCRIBE_CONFIGS_RESOURCE: Struct = Struct::new(&[
    int8("resource_type"),
    text("resource_name"),
    array::<StrBytes>("configuration_keys", Element::Text).nullable(),
]);

pub(crate) static ALTER_CONFIGS: Struct = Struct::new(&[
    structs!("resources", m::alter_configs_request::AlterConfigsResource, ALTER_CONFIGS_RESOURCE),
    int8("validate_only"),
]);
static ALTER_CONFIGS_RESOURCE: Struct = Struct::new(&[
    int8("resource_type"),
    text("resource_name"),
    structs!("configs", m::alter_configs_request::AlterableConfig, CONFIG),
]);

pub(crate) static DESCRIBE_LOG_DIRS: Struct = Struct::new(&[structs!(
    "topics",
    m::describe_log_dirs_request::DescribableLogDirTopic,
    DESCRIBE_LOG_DIRS_TOPIC
)
.nullable()]);
static DESCRIBE_LOG_DIRS_TOPIC: Struct =
    Struct::new(&[text("topic"), array::<i32>("partitions", Element::Fixed(4))]);

pub(crate) static CREATE_PARTITIONS: Struct = Struct::new(&[
    structs!(
        "topics",
        m::create_partitions_request::CreatePartitionsTopic,
        CREATE_PARTITIONS_TOPIC
    ),
    int32("timeout_ms"),
    int8("validate_only"),
]);
static CREATE_PARTITIONS_TOPIC: Struct = Struct::new(&[
    text("name"),
    int32("count"),
    structs!(
        "assignments",
        m::create_partitions_request::CreatePartitionsAssignment,
        CREATE_PARTITIONS_ASSIGNMENT
    )
    .nullable(),
]);
static CREATE_PARTITIONS_ASSIGNMENT: Struct =
    Struct::new(&[array::<m::BrokerId>("broker_ids", Element::Fixed(4))]);

pub(crate) static INCREMENTAL_ALTER_CONFIGS: Struct = Struct::new(&[
    structs!(
        "resources",
        m::incremental_alter_configs_request::AlterConfigsResource,
        INCREMENTAL_ALTER_CONFIGS_RESOURCE
    ),
    int8("validate_only"),
]);
static INCREMENTAL_ALTER_CONFIGS_RESOURCE: Struct = Struct::new(&[
    int8("resource_type"),
    text("resource_name"),
    structs!(
        "configs",
        m::incremental_alter_configs_request::AlterableConfig,
        INCREMENTAL_ALTER_CONFIGS_CONFIG
    ),
]);
static INCREMENTAL_ALTER_CONFIGS_CONFIG: Struct =
    Struct::new(&[text("name"), int8("config_operation"), text("value").nullable()]);

pub(crate) static DESCRIBE_CLUSTER: Struct = Struct::new(&[
    int8("include_cluster_authorized_operations"),
    int8("endpoint_type").since(1),
    int8("include_fenced_brokers").since(2),
]);

pub(crate) static LIST_CONFIG_RESOURCES: Struct =
    Struct::new(&[array::<i8>("resource_types", Element::Fixed(1)).since(1)]);

pub(crate) static DESCRIBE_TOPIC_PARTITIONS: Struct = Struct::new(&[
    structs!(
        "topics",
        m::describe_topic_partitions_request::TopicRequest,
        DESCRIBE_TOPIC_PARTITIONS_TOPIC
    ),
    int32("response_partition_limit"),
    optional("cursor", &DESCRIBE_TOPIC_PARTITIONS_CURSOR),
]);
static DESCRIBE_TOPIC_PARTITIONS_TOPIC: Struct = Struct::new(&[text("name")]);
static DESCRIBE_TOPIC_PARTITIONS_CURSOR: Struct =
    Struct::new(&[text("topic_name"), int32("partition_index")]);
