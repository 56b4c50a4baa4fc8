//! Each request of group coordinators in the notation of `shape`.

use kafka_protocol::messages as m;
use kafka_protocol::protocol::StrBytes;

use super::super::shape::{Element, Struct, array, bytes, int8, int32, int64, text, uuid};

pub(crate) static OFFSET_COMMIT: Struct = Struct::new(&[
    text("group_id"),
    int32("generation_id_or_member_epoch"),
    text("member_id"),
    text("group_instance_id").since(7).nullable(),
    int64("retention_time_ms").until(4),
    structs!("topics", m::offset_commit_request::OffsetCommitRequestTopic, OFFSET_COMMIT_TOPIC),
]);
static OFFSET_COMMIT_TOPIC: Struct = Struct::new(&[
    text("name").until(9),
    uuid("topic_id").since(10),
    structs!(
        "partitions",
        m::offset_commit_request::OffsetCommitRequestPartition,
        OFFSET_COMMIT_PARTITION
    ),
]);
static OFFSET_COMMIT_PARTITION: Struct = Struct::new(&[
    int32("partition_index"),
    int64("committed_offset"),
    int32("committed_leader_epoch").since(6),
    text("committed_metadata").nullable(),
]);

pub(crate) static OFFSET_FETCH: Struct = Struct::new(&[
    text("group_id").until(7),
    structs!("topics", m::offset_fetch_request::OffsetFetchRequestTopic, OFFSET_FETCH_TOPIC)
        .until(7)
        .nullable_since(2),
    structs!("groups", m::offset_fetch_request::OffsetFetchRequestGroup, OFFSET_FETCH_GROUP)
        .since(8),
    int8("require_stable").since(7),
]);
static OFFSET_FETCH_TOPIC: Struct = Struct::new(&[
    text("name").until(9),
    uuid("topic_id").since(10),
    array::<i32>("partition_indexes", Element::Fixed(4)),
]);
static OFFSET_FETCH_GROUP: Struct = Struct::new(&[
    text("group_id"),
    text("member_id").since(9).nullable(),
    int32("member_epoch").since(9),
    structs!("topics", m::offset_fetch_request::OffsetFetchRequestTopics, OFFSET_FETCH_TOPIC)
        .nullable(),
]);

pub(crate) static JOIN_GROUP: Struct = Struct::new(&[
    text("group_id"),
    int32("session_timeout_ms"),
    int32("rebalance_timeout_ms").since(1),
    text("member_id"),
    text("group_instance_id").since(5).nullable(),
    text("protocol_type"),
    structs!("protocols", m::join_group_request::JoinGroupRequestProtocol, JOIN_GROUP_PROTOCOL),
    text("reason").since(8).nullable(),
]);
static JOIN_GROUP_PROTOCOL: Struct = Struct::new(&[text("name"), bytes("metadata")]);

pub(crate) static HEARTBEAT: Struct = Struct::new(&[
    text("group_id"),
    int32("generation_id"),
    text("member_id"),
    text("group_instance_id").since(3).nullable(),
]);

pub(crate) static LEAVE_GROUP: Struct = Struct::new(&[
    text("group_id"),
    text("member_id").until(2),
    structs!("members", m::leave_group_request::MemberIdentity, LEAVE_GROUP_MEMBER).since(3),
]);
static LEAVE_GROUP_MEMBER: Struct = Struct::new(&[
    text("member_id"),
    text("group_instance_id").nullable(),
    text("reason").since(5).nullable(),
]);

pub(crate) static SYNC_GROUP: Struct = Struct::new(&[
    text("group_id"),
    int32("generation_id"),
    text("member_id"),
    text("group_instance_id").since(3).nullable(),
    text("protocol_type").since(5).nullable(),
    text("protocol_name").since(5).nullable(),
    structs!(
        "assignments",
        m::sync_group_request::SyncGroupRequestAssignment,
        SYNC_GROUP_ASSIGNMENT
    ),
]);
static SYNC_GROUP_ASSIGNMENT: Struct = Struct::new(&[text("member_id"), bytes("assignment")]);

pub(crate) static DESCRIBE_GROUPS: Struct = Struct::new(&[
    array::<m::GroupId>("groups", Element::Text),
    int8("include_authorized_operations").since(3),
]);

pub(crate) static LIST_GROUPS: Struct = Struct::new(&[
    array::<StrBytes>("states_filter", Element::Text).since(4),
    array::<StrBytes>("types_filter", Element::Text).since(5),
]);

pub(crate) static DELETE_GROUPS: Struct =
    Struct::new(&[array::<m::GroupId>("groups_names", Element::Text)]);

pub(crate) static OFFSET_DELETE: Struct = Struct::new(&[
    text("group_id"),
    structs!("topics", m::offset_delete_request::OffsetDeleteRequestTopic, OFFSET_DELETE_TOPIC),
]);
static OFFSET_DELETE_TOPIC: Struct = Struct::new(&[
    text("name"),
    structs!(
        "partitions",
        m::offset_delete_request::OffsetDeleteRequestPartition,
        OFFSET_DELETE_PARTITION
    ),
]);
static OFFSET_DELETE_PARTITION: Struct = Struct::new(&[int32("partition_index")]);

pub(crate) static CONSUMER_GROUP_HEARTBEAT: Struct = Struct::new(&[
    text("group_id"),
    text("member_id"),
    int32("member_epoch"),
    text("instance_id").nullable(),
    text("rack_id").nullable(),
    int32("rebalance_timeout_ms"),
    array::<m::TopicName>("subscribed_topic_names", Element::Text).nullable(),
    text("subscribed_topic_regex").since(1).nullable(),
    text("server_assignor").nullable(),
    structs!(
        "topic_partitions",
        m::consumer_group_heartbeat_request::TopicPartitions,
        CONSUMER_GROUP_HEARTBEAT_TOPIC
    )
    .nullable(),
]);
static CONSUMER_GROUP_HEARTBEAT_TOPIC: Struct =
    Struct::new(&[uuid("topic_id"), array::<i32>("partitions", Element::Fixed(4))]);

pub(crate) static CONSUMER_GROUP_DESCRIBE: Struct = Struct::new(&[
    array::<m::GroupId>("group_ids", Element::Text),
    int8("include_authorized_operations"),
]);
