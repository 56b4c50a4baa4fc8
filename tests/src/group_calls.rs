//! The requests of a classic group's members, as Kafka's Java consumer sends them: two protocols to
//! choose from, one topic.

use crate::calls::topic_name;
use crate::wire::text;
use anyhow::Result;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable as _, Encodable, StrBytes};
use std::time::Duration;

/// Version of JoinGroup.
pub const JOIN: i16 = 9;

/// Version of SyncGroup.
pub const SYNC: i16 = 5;

/// Version of Heartbeat.
pub const HEARTBEAT: i16 = 4;

/// Version of LeaveGroup.
pub const LEAVE: i16 = 5;

/// Version of OffsetCommit: the last one that names topics instead of their ids.
pub const COMMIT: i16 = 9;

/// Version of OffsetFetch: the last one that names topics instead of their ids.
pub const OFFSET_FETCH: i16 = 9;

/// Version of FindCoordinator.
pub const FIND_COORDINATOR: i16 = 4;

/// The protocol that a group takes, as the first of those that all its members offer.
const PROTOCOL: &str = "range";

/// The other one that a Java consumer offers.
const SECOND_PROTOCOL: &str = "cooperative-sticky";

/// Version of the messages between consumers.
const CONSUMER_PROTOCOL: i16 = 3;

/// Longest rebalance that members let the group take: `max.poll.interval.ms` of the Java consumer.
pub const REBALANCE_TIMEOUT: Duration = Duration::from_secs(300);

/// What all members of a group tell the broker.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The group.
    pub group: String,
    /// What they subscribe to.
    pub topic: String,
    /// How long a member may be silent.
    pub session: Duration,
    /// How long a rebalance may take.
    pub rebalance: Duration,
}

impl Terms {
    /// Joins. Of two joins whose `turn` differs, the second changes the subscription, so that the group
    /// must rebalance.
    ///
    /// # Errors
    /// The topic's name does not fit.
    pub fn join(&self, member_id: &str, turn: u8) -> Result<JoinGroupRequest> {
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
            .with_rebalance_timeout_ms(i32::try_from(self.rebalance.as_millis())?)
            .with_member_id(text(member_id))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol(PROTOCOL), protocol(SECOND_PROTOCOL)]))
    }

    /// Waits for its assignment, and as the leader tells all of them.
    pub fn sync(
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

    /// Partitions for a member.
    ///
    /// # Errors
    /// The topic's name does not fit.
    pub fn assignment(
        &self,
        member_id: &str,
        partitions: Vec<i32>,
    ) -> Result<SyncGroupRequestAssignment> {
        let own = TopicPartition::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(partitions);
        let own = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![own]);
        Ok(SyncGroupRequestAssignment::default()
            .with_member_id(text(member_id))
            .with_assignment(versioned(&own)?))
    }

    /// Says that a member lives.
    pub fn heartbeat(&self, member_id: &str, generation_id: i32) -> HeartbeatRequest {
        HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(generation_id)
            .with_member_id(text(member_id))
    }

    /// Commits the next offset of one partition.
    pub fn commit(
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
    pub fn leave<'a>(&self, members: impl Iterator<Item = &'a str>) -> LeaveGroupRequest {
        let members = members.map(|id| MemberIdentity::default().with_member_id(text(id)));
        LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(members.collect())
    }

    /// Asks for the positions of partitions.
    pub fn positions(&self, partitions: Vec<i32>) -> OffsetFetchRequest {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic))
            .with_partition_indexes(partitions);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group_id())
            .with_member_epoch(-1)
            .with_topics(Some(vec![topic]));
        OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true)
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }
}

/// The partitions that an assignment names.
///
/// # Errors
/// It is none.
pub fn assigned_partitions(assignment: &Bytes) -> Result<Vec<i32>> {
    let mut left = assignment.clone();
    let version = left.try_get_i16()?;
    let own = ConsumerProtocolAssignment::decode(&mut left, version)?;
    Ok(own.assigned_partitions.into_iter().flat_map(|topic| topic.partitions).collect())
}

/// A message between consumers, with its version before it.
fn versioned(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(CONSUMER_PROTOCOL);
    message.encode(&mut bytes, CONSUMER_PROTOCOL)?;
    Ok(bytes.freeze())
}
