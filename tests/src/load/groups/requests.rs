//! The requests of a group's members, as Kafka's Java consumer sends them: two protocols to choose from,
//! one topic, one partition for each member.

use crate::calls::topic_name;
use crate::wire::text;
use anyhow::Result;
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use std::time::Duration;

/// Version of JoinGroup.
pub(super) const JOIN: i16 = 9;

/// Version of SyncGroup.
pub(super) const SYNC: i16 = 5;

/// Version of Heartbeat.
pub(super) const HEARTBEAT: i16 = 4;

/// Version of LeaveGroup.
pub(super) const LEAVE: i16 = 5;

/// Version of OffsetCommit: the last one that names topics instead of their ids.
pub(super) const COMMIT: i16 = 9;

/// The protocol that a group takes, as the first of those that all its members offer.
const PROTOCOL: &str = "range";

/// The other one that a Java consumer offers.
const SECOND_PROTOCOL: &str = "cooperative-sticky";

/// Version of the messages between consumers.
const CONSUMER_PROTOCOL: i16 = 3;

/// Longest rebalance that members let the group take: `max.poll.interval.ms` of the Java consumer.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;

/// What all members of a group tell the broker.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The group.
    pub(super) group: String,
    /// What they subscribe to.
    pub(super) topic: String,
    /// How long a member may be silent.
    pub(super) session: Duration,
}

impl Terms {
    /// Joins. Of two joins whose `turn` differs, the second changes the subscription, so that the group
    /// must rebalance.
    pub(super) fn join(&self, member_id: &str, turn: u8) -> Result<JoinGroupRequest> {
        let subscription = ConsumerProtocolSubscription::default()
            .with_topics(vec![text(&self.topic)])
            .with_user_data(Some(Bytes::copy_from_slice(&[turn])));
        let metadata = versioned(&subscription)?;
        let protocol = |name| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(metadata.clone())
        };
        Ok(JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(i32::try_from(self.session.as_millis())?)
            .with_rebalance_timeout_ms(REBALANCE_TIMEOUT_MS)
            .with_member_id(text(member_id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol(PROTOCOL), protocol(SECOND_PROTOCOL)]))
    }

    /// Waits for its assignment, and as the leader tells all of them.
    pub(super) fn sync(
        &self,
        member_id: &str,
        generation_id: i32,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> SyncGroupRequest {
        SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(generation_id)
            .with_member_id(text(member_id))
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text(PROTOCOL)))
            .with_assignments(assignments)
    }

    /// One partition for a member.
    pub(super) fn assignment(
        &self,
        member_id: &str,
        partition: i32,
    ) -> Result<SyncGroupRequestAssignment> {
        let partition = TopicPartition::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        let own = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![partition]);
        Ok(SyncGroupRequestAssignment::default()
            .with_member_id(text(member_id))
            .with_assignment(versioned(&own)?))
    }

    /// Says that a member lives.
    pub(super) fn heartbeat(&self, member_id: &str, generation_id: i32) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(generation_id)
            .with_member_id(text(member_id))
    }

    /// Commits the next offset of one partition.
    pub(super) fn commit(
        &self,
        (member_id, generation_id): (&str, i32),
        partition: i32,
        offset: i64,
    ) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(StrBytes::default()));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(generation_id)
            .with_member_id(text(member_id))
            .with_topics(vec![topic])
    }

    /// Lets members go.
    pub(super) fn leave<'a>(&self, members: impl Iterator<Item = &'a str>) -> LeaveGroupRequest {
        let members = members.map(|id| MemberIdentity::default().with_member_id(text(id)));
        LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(members.collect())
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }
}

/// A message between consumers, with its version before it.
fn versioned(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(CONSUMER_PROTOCOL);
    message.encode(&mut bytes, CONSUMER_PROTOCOL)?;
    Ok(bytes.freeze())
}
