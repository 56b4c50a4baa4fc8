//! Requests of group members and of tools for groups.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;

use super::{Fill, put, text, topic};

/// Fifteen letters: with their length they are the sixteen bytes of an id, which stands where the name
/// did from version 10 of OffsetCommit and OffsetFetch on.
const NAME: &str = "fifteen-letters";

sample!(offset_commit, OffsetCommitRequest, |it, version| {
    use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let partition = |metadata: Option<&str>| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(1)
            .with_committed_offset(9)
            .with_committed_metadata(metadata.map(text));
        if version >= 6 { partition.with_committed_leader_epoch(3) } else { partition }
    };
    let one = OffsetCommitRequestTopic::default()
        .with_name(topic(NAME))
        .with_partitions(vec![partition(Some("note")), partition(None)]);
    it.group_id = text("group").into();
    it.generation_id_or_member_epoch = 4;
    it.member_id = text("member");
    if version >= 7 {
        it.group_instance_id = Some(text("instance"));
    }
    if version <= 4 {
        it.retention_time_ms = 1_000;
    }
    it.topics = vec![one.clone(), one];
});

sample!(offset_fetch, OffsetFetchRequest, |it, version| {
    use m::offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    if version >= 8 {
        let one = OffsetFetchRequestTopics::default()
            .with_name(topic(NAME))
            .with_partition_indexes(vec![0, 1]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text("group").into())
            .with_topics(Some(vec![one.clone(), one]));
        let all = OffsetFetchRequestGroup::default().with_topics(None);
        it.groups = if version >= 9 {
            vec![group.with_member_id(Some(text("member"))).with_member_epoch(3), all]
        } else {
            vec![group, all]
        };
    } else {
        let one = OffsetFetchRequestTopic::default()
            .with_name(topic("topic"))
            .with_partition_indexes(vec![0, 1]);
        it.group_id = text("group").into();
        it.topics = Some(vec![one.clone(), one]);
    }
    if version >= 7 {
        it.require_stable = true;
    }
});

sample!(join_group, JoinGroupRequest, |it, version| {
    use m::join_group_request::JoinGroupRequestProtocol;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"metadata"));
    it.group_id = text("group").into();
    it.session_timeout_ms = 45_000;
    if version >= 1 {
        it.rebalance_timeout_ms = 300_000;
    }
    it.member_id = text("member");
    if version >= 5 {
        it.group_instance_id = Some(text("instance"));
    }
    it.protocol_type = text("consumer");
    it.protocols = vec![protocol.clone(), protocol];
    if version >= 8 {
        it.reason = Some(text("reason"));
    }
});

sample!(heartbeat, HeartbeatRequest, |it, version| {
    it.group_id = text("group").into();
    it.generation_id = 4;
    it.member_id = text("member");
    if version >= 3 {
        it.group_instance_id = Some(text("instance"));
    }
});

sample!(leave_group, LeaveGroupRequest, |it, version| {
    use m::leave_group_request::MemberIdentity;
    it.group_id = text("group").into();
    if version >= 3 {
        let member = MemberIdentity::default()
            .with_member_id(text("member"))
            .with_group_instance_id(Some(text("instance")));
        let reason = (version >= 5).then(|| text("reason"));
        it.members = vec![member.clone().with_reason(reason), member];
    } else {
        it.member_id = text("member");
    }
});

sample!(sync_group, SyncGroupRequest, |it, version| {
    use m::sync_group_request::SyncGroupRequestAssignment;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("member"))
        .with_assignment(Bytes::from_static(b"assignment"));
    it.group_id = text("group").into();
    it.generation_id = 4;
    it.member_id = text("member");
    if version >= 3 {
        it.group_instance_id = Some(text("instance"));
    }
    if version >= 5 {
        it.protocol_type = Some(text("consumer"));
        it.protocol_name = Some(text("range"));
    }
    it.assignments = vec![assignment.clone(), assignment];
});

sample!(describe_groups, DescribeGroupsRequest, |it, version| {
    it.groups = vec![text("a").into(), text("").into()];
    if version >= 3 {
        it.include_authorized_operations = true;
    }
});

sample!(list_groups, ListGroupsRequest, |it, version| {
    if version >= 4 {
        it.states_filter = vec![text("Stable"), text("")];
    }
    if version >= 5 {
        it.types_filter = vec![text("classic"), text("")];
    }
});

sample!(delete_groups, DeleteGroupsRequest, |it, _version| {
    it.groups_names = vec![text("a").into(), text("").into()];
});

/// No version of it has tagged fields.
pub(super) fn offset_delete(fill: Fill, version: i16, out: &mut BytesMut) {
    use m::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    let mut request = m::OffsetDeleteRequest::default();
    if fill != Fill::Defaults {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(1);
        let one = OffsetDeleteRequestTopic::default()
            .with_name(topic("topic"))
            .with_partitions(vec![partition.clone(), partition]);
        request.group_id = text("group").into();
        request.topics = vec![one.clone(), one];
    }
    put(&request, version, out);
}

sample!(consumer_group_heartbeat, ConsumerGroupHeartbeatRequest, |it, version| {
    use m::consumer_group_heartbeat_request::TopicPartitions;
    let one = TopicPartitions::default()
        .with_topic_id(uuid::Uuid::from_u128(7))
        .with_partitions(vec![0, 1]);
    it.group_id = text("group").into();
    it.member_id = text("member");
    it.member_epoch = 3;
    it.instance_id = Some(text("instance"));
    it.rack_id = Some(text("rack"));
    it.rebalance_timeout_ms = 1_000;
    it.subscribed_topic_names = Some(vec![topic("one"), topic("two")]);
    it.server_assignor = Some(text("uniform"));
    it.topic_partitions = Some(vec![one.clone(), one]);
    if version >= 1 {
        it.subscribed_topic_regex = Some(text("t.*"));
    }
});

sample!(consumer_group_describe, ConsumerGroupDescribeRequest, |it, _version| {
    it.group_ids = vec![text("a").into(), text("").into()];
    it.include_authorized_operations = true;
});
