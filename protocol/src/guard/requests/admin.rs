//! Requests of administrators and of client telemetry, in the notation of `shape`.

use kafka_protocol::messages as m;
use kafka_protocol::protocol::StrBytes;

use super::super::shape::{Element, Struct, array, bytes, int8, int16, int32, int64, text, uuid};

pub(crate) static ELECT_LEADERS: Struct = Struct::new(&[
    int8("election_type").since(1),
    array::<m::elect_leaders_request::TopicPartitions>(
        "topic_partitions",
        Element::Struct(&ELECT_LEADERS_TOPIC),
    )
    .nullable(),
    int32("timeout_ms"),
]);
static ELECT_LEADERS_TOPIC: Struct =
    Struct::new(&[text("topic"), array::<i32>("partitions", Element::Fixed(4))]);

pub(crate) static ALTER_REPLICA_LOG_DIRS: Struct = Struct::new(&[structs!(
    "dirs",
    m::alter_replica_log_dirs_request::AlterReplicaLogDir,
    ALTER_REPLICA_LOG_DIRS_DIR
)]);
static ALTER_REPLICA_LOG_DIRS_DIR: Struct = Struct::new(&[
    text("path"),
    structs!(
        "topics",
        m::alter_replica_log_dirs_request::AlterReplicaLogDirTopic,
        ALTER_REPLICA_LOG_DIRS_TOPIC
    ),
]);
static ALTER_REPLICA_LOG_DIRS_TOPIC: Struct =
    Struct::new(&[text("name"), array::<i32>("partitions", Element::Fixed(4))]);

pub(crate) static ALTER_PARTITION_REASSIGNMENTS: Struct = Struct::new(&[
    int32("timeout_ms"),
    int8("allow_replication_factor_change").since(1),
    structs!(
        "topics",
        m::alter_partition_reassignments_request::ReassignableTopic,
        ALTER_PARTITION_REASSIGNMENTS_TOPIC
    ),
]);
static ALTER_PARTITION_REASSIGNMENTS_TOPIC: Struct = Struct::new(&[
    text("name"),
    structs!(
        "partitions",
        m::alter_partition_reassignments_request::ReassignablePartition,
        ALTER_PARTITION_REASSIGNMENTS_PARTITION
    ),
]);
static ALTER_PARTITION_REASSIGNMENTS_PARTITION: Struct = Struct::new(&[
    int32("partition_index"),
    array::<m::BrokerId>("replicas", Element::Fixed(4)).nullable(),
]);

pub(crate) static LIST_PARTITION_REASSIGNMENTS: Struct = Struct::new(&[
    int32("timeout_ms"),
    structs!(
        "topics",
        m::list_partition_reassignments_request::ListPartitionReassignmentsTopics,
        LIST_PARTITION_REASSIGNMENTS_TOPIC
    )
    .nullable(),
]);
static LIST_PARTITION_REASSIGNMENTS_TOPIC: Struct =
    Struct::new(&[text("name"), array::<i32>("partition_indexes", Element::Fixed(4))]);

pub(crate) static DESCRIBE_QUORUM: Struct =
    Struct::new(&[array::<m::describe_quorum_request::TopicData>(
        "topics",
        Element::Struct(&DESCRIBE_QUORUM_TOPIC),
    )]);
static DESCRIBE_QUORUM_TOPIC: Struct = Struct::new(&[
    text("topic_name"),
    array::<m::describe_quorum_request::PartitionData>(
        "partitions",
        Element::Struct(&DESCRIBE_QUORUM_PARTITION),
    ),
]);
static DESCRIBE_QUORUM_PARTITION: Struct = Struct::new(&[int32("partition_index")]);

pub(crate) static UPDATE_FEATURES: Struct = Struct::new(&[
    int32("timeout_ms"),
    array::<m::update_features_request::FeatureUpdateKey>(
        "feature_updates",
        Element::Struct(&UPDATE_FEATURES_FEATURE),
    ),
    int8("validate_only").since(1),
]);
static UPDATE_FEATURES_FEATURE: Struct = Struct::new(&[
    text("feature"),
    int16("max_version_level"),
    int8("allow_downgrade").until(0),
    int8("upgrade_type").since(1),
]);

pub(crate) static DESCRIBE_PRODUCERS: Struct =
    Struct::new(&[array::<m::describe_producers_request::TopicRequest>(
        "topics",
        Element::Struct(&DESCRIBE_PRODUCERS_TOPIC),
    )]);
static DESCRIBE_PRODUCERS_TOPIC: Struct =
    Struct::new(&[text("name"), array::<i32>("partition_indexes", Element::Fixed(4))]);

pub(crate) static DESCRIBE_TRANSACTIONS: Struct =
    Struct::new(&[array::<m::TransactionalId>("transactional_ids", Element::Text)]);

pub(crate) static LIST_TRANSACTIONS: Struct = Struct::new(&[
    array::<StrBytes>("state_filters", Element::Text),
    array::<m::ProducerId>("producer_id_filters", Element::Fixed(8)),
    int64("duration_filter").since(1),
    text("transactional_id_pattern").since(2).nullable(),
]);

pub(crate) static UNREGISTER_BROKER: Struct = Struct::new(&[int32("broker_id")]);

pub(crate) static GET_TELEMETRY_SUBSCRIPTIONS: Struct = Struct::new(&[uuid("client_instance_id")]);

pub(crate) static PUSH_TELEMETRY: Struct = Struct::new(&[
    uuid("client_instance_id"),
    int32("subscription_id"),
    int8("terminating"),
    int8("compression_type"),
    bytes("metrics"),
]);
