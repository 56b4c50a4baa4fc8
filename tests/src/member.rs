//! A consumer's half of the classic group protocol, one request at a time.
//!
//! A member here does nothing by itself: no heartbeat, no commit and no second try is sent unless a
//! test says so. A step that waits for other members is sent and received in two calls.

use crate::calls::topic_name;
use crate::codes;
use crate::deadline::eventually;
use crate::wire::{Connection, text};
use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::net::SocketAddr;

/// JoinGroup version of the members here: the newest.
pub const JOIN: i16 = 9;

/// SyncGroup version of the members here: the newest.
pub const SYNC: i16 = 5;

/// The shortest session timeout that a broker takes by default.
pub const SESSION_MS_MIN: i32 = 6_000;

/// Longer than any test waits: what ends within a test did not end by this.
pub const FOREVER_MS: i32 = 600_000;

/// A group's id for the crate's messages.
pub fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// What a consumer of this topic puts into its JoinGroup: ConsumerProtocol's subscription, v0.
pub fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    let length = u16::try_from(topic.len()).expect("topic names are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    bytes.into()
}

/// A JoinGroup of a consumer that nothing but its session's end removes.
pub fn join_request(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member_id))
        .with_session_timeout_ms(SESSION_MS_MIN)
        .with_rebalance_timeout_ms(FOREVER_MS)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", subscription("no-topic"))])
}

/// One entry of a JoinGroup's protocols.
pub fn protocol(name: &str, metadata: impl Into<Bytes>) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata.into())
}

/// An OffsetCommit of one offset in one partition.
pub fn commit_request(
    group: &str,
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

impl Connection {
    /// Waits until the group has a coordinator: Apache Kafka makes its topic when first asked.
    pub fn find_coordinator(&mut self, group: &str) {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        eventually("the group has a coordinator", || {
            let found = self.call(4, &request).coordinators.remove(0).error_code;
            let waiting = [codes::COORDINATOR_NOT_AVAILABLE, codes::COORDINATOR_LOAD_IN_PROGRESS];
            if waiting.contains(&found) {
                return None;
            }
            assert_eq!(found, codes::NONE, "find the coordinator of {group}");
            // Found is not loaded yet.
            let described = self.call(6, &describe_request(group)).groups.remove(0).error_code;
            let not_yet = [codes::NOT_COORDINATOR, waiting[0], waiting[1]];
            (!not_yet.contains(&described)).then_some(())
        });
    }

    /// Commits one offset; the code.
    pub fn commit(&mut self, version: i16, request: &OffsetCommitRequest) -> i16 {
        self.call(version, request).topics.remove(0).partitions.remove(0).error_code
    }

    /// All offsets that the group has committed, or those of some partitions of one topic.
    pub fn committed_offsets(
        &mut self,
        group: &str,
        asked: Option<(&str, &[i32])>,
    ) -> OffsetFetchResponseGroup {
        let topics = asked.map(|(topic, partitions)| {
            vec![
                OffsetFetchRequestTopics::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(partitions.to_vec()),
            ]
        });
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_epoch(-1)
            .with_topics(topics);
        self.call(8, &OffsetFetchRequest::default().with_groups(vec![group])).groups.remove(0)
    }

    /// What the group has committed for one partition.
    pub fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> OffsetFetchResponsePartitions {
        let mut answer = self.committed_offsets(group, Some((topic, &[partition])));
        assert_eq!(answer.error_code, codes::NONE, "fetch the offsets of {group}");
        answer.topics.remove(0).partitions.remove(0)
    }

    /// Describes the group, in the last version that has no error for an unknown one.
    pub fn describe_group(&mut self, group: &str) -> DescribedGroup {
        let described = self.call(5, &describe_request(group)).groups.remove(0);
        assert_eq!(described.error_code, codes::NONE, "describe {group}");
        described
    }

    /// Waits until the group is in this state.
    pub fn wait_for_state(&mut self, group: &str, state: &str) -> DescribedGroup {
        eventually(&format!("the group is {state}"), || {
            let described = self.describe_group(group);
            (described.group_state.as_str() == state).then_some(described)
        })
    }
}

/// A DescribeGroups of one group.
pub fn describe_request(group: &str) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(vec![group_id(group)])
}

/// A member of a classic group, on a connection of its own.
#[derive(Debug)]
pub struct Member {
    connection: Connection,
    join: JoinGroupRequest,
    waiting_for: i32,
    generation_id: i32,
    protocol_name: Option<StrBytes>,
}

impl Member {
    /// A consumer that is going to join this group, and has its id from the coordinator.
    pub fn new(address: SocketAddr, group: &str) -> Self {
        Self::with_request(address, join_request(group, ""))
    }

    /// A static member, which has its id when it has joined.
    pub fn new_static(address: SocketAddr, group: &str, instance_id: &str) -> Self {
        let join = join_request(group, "").with_group_instance_id(Some(text(instance_id)));
        Self::with_request(address, join)
    }

    /// A member that joins with this request, which a dynamic one sends once to be told its id.
    pub fn with_request(address: SocketAddr, join: JoinGroupRequest) -> Self {
        let mut member = Self {
            connection: Connection::open(address),
            join,
            waiting_for: -1,
            generation_id: -1,
            protocol_name: None,
        };
        let group = member.group().to_owned();
        member.connection.find_coordinator(&group);
        if member.join.group_instance_id.is_none() && member.join.member_id.is_empty() {
            let answer = member.connection.call(JOIN, &member.join);
            assert_eq!(answer.error_code, codes::MEMBER_ID_REQUIRED, "a first JoinGroup");
            member.join.member_id = answer.member_id;
        }
        member
    }

    /// Its id, empty for a static member that has not joined.
    pub fn id(&self) -> &str {
        &self.join.member_id
    }

    /// Its group.
    pub fn group(&self) -> &str {
        &self.join.group_id
    }

    /// The generation that it joined last.
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// The request that it joins with, to change what the next one says.
    pub fn join_request(&mut self) -> &mut JoinGroupRequest {
        &mut self.join
    }

    /// Its connection, for requests that are not a member's.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends its JoinGroup, which is answered when the rebalance ends.
    pub fn send_join(&mut self) {
        self.waiting_for = self.connection.send(JOIN, &self.join);
    }

    /// Receives the answer to the JoinGroup, whatever it is.
    pub fn receive_join(&mut self) -> JoinGroupResponse {
        let answer = self.connection.receive::<JoinGroupRequest>(JOIN, self.waiting_for);
        if answer.error_code == codes::NONE {
            self.join.member_id = answer.member_id.clone();
            self.generation_id = answer.generation_id;
            self.protocol_name = answer.protocol_name.clone();
        }
        answer
    }

    /// Joins, and waits for the end of the rebalance.
    pub fn join(&mut self) -> JoinGroupResponse {
        self.send_join();
        self.joined()
    }

    /// Waits for the end of the rebalance that it has sent its JoinGroup for.
    pub fn joined(&mut self) -> JoinGroupResponse {
        let answer = self.receive_join();
        assert_eq!(answer.error_code, codes::NONE, "join {}", self.group());
        answer
    }

    fn sync_request(&self, assignments: &[(&str, &[u8])]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(member_id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member_id))
                .with_assignment(Bytes::copy_from_slice(assignment))
        });
        SyncGroupRequest::default()
            .with_group_id(self.join.group_id.clone())
            .with_generation_id(self.generation_id)
            .with_member_id(self.join.member_id.clone())
            .with_group_instance_id(self.join.group_instance_id.clone())
            .with_protocol_type(Some(self.join.protocol_type.clone()))
            .with_protocol_name(self.protocol_name.clone())
            .with_assignments(assignments.collect())
    }

    /// Sends its SyncGroup; a follower's is answered when the leader has sent its own.
    pub fn send_sync(&mut self, assignments: &[(&str, &[u8])]) {
        let request = self.sync_request(assignments);
        self.waiting_for = self.connection.send(SYNC, &request);
    }

    /// Receives the answer to the SyncGroup.
    pub fn receive_sync(&mut self) -> SyncGroupResponse {
        self.connection.receive::<SyncGroupRequest>(SYNC, self.waiting_for)
    }

    /// Sends its SyncGroup and waits for its assignment.
    pub fn sync(&mut self, assignments: &[(&str, &[u8])]) -> Bytes {
        self.send_sync(assignments);
        let answer = self.receive_sync();
        assert_eq!(answer.error_code, codes::NONE, "sync {}", self.group());
        answer.assignment
    }

    /// Sends a heartbeat; the code.
    pub fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.join.group_id.clone())
            .with_generation_id(self.generation_id)
            .with_member_id(self.join.member_id.clone())
            .with_group_instance_id(self.join.group_instance_id.clone());
        self.connection.call(4, &request).error_code
    }

    /// Sends heartbeats until one is answered with this code.
    pub fn heartbeat_until(&mut self, code: i16) {
        eventually(&format!("a heartbeat is answered with {code}"), || {
            (self.heartbeat() == code).then_some(())
        });
    }

    /// An OffsetCommit as this member.
    pub fn commit_request(&self, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
        commit_request(self.group(), topic, partition, offset)
            .with_member_id(self.join.member_id.clone())
            .with_group_instance_id(self.join.group_instance_id.clone())
            .with_generation_id_or_member_epoch(self.generation_id)
    }

    /// Commits one offset; the code.
    pub fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> i16 {
        let request = self.commit_request(topic, partition, offset);
        self.connection.commit(9, &request)
    }

    /// Leaves the group; the code.
    pub fn leave(&mut self) -> i16 {
        let identity = MemberIdentity::default()
            .with_member_id(self.join.member_id.clone())
            .with_group_instance_id(self.join.group_instance_id.clone());
        let request = LeaveGroupRequest::default()
            .with_group_id(self.join.group_id.clone())
            .with_members(vec![identity]);
        let mut answer = self.connection.call(5, &request);
        assert_eq!(answer.error_code, codes::NONE, "leave {}", self.group());
        answer.members.remove(0).error_code
    }
}

/// Members that have joined one group together and have their assignments, which are their ids; the
/// leader is the first.
pub fn stable_group(address: SocketAddr, group: &str, members: usize) -> Vec<Member> {
    let members = (0..members).map(|_| Member::new(address, group)).collect();
    stabilise(members)
}

/// Lets these members join and gives each its own id as its assignment; the leader is the first.
pub fn stabilise(mut members: Vec<Member>) -> Vec<Member> {
    for member in &mut members {
        member.send_join();
    }
    let answers: Vec<_> = members.iter_mut().map(Member::joined).collect();
    let leader = answers.iter().position(|answer| answer.leader == answer.member_id);
    members.swap(0, leader.expect("one of the members leads"));
    let ids: Vec<_> = members.iter().map(|member| member.id().to_owned()).collect();
    let assignments: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_bytes())).collect();
    for (member, id) in members.iter_mut().zip(&ids) {
        assert_eq!(member.sync(&assignments), id.as_bytes(), "each is given its own id");
    }
    members
}
