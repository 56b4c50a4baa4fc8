//! Groups on real logs: what is answered is durable, and what a restart finds is what was answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::response::Response;
use uuid::Uuid;

use crate::groups::{Groups, deleted_topics};
use crate::handlers;
use crate::leaders::follow;
use crate::reply::{Reply, Work};
use crate::test_node::{TestNode, assert_encodes, batch, finish, name, produce_request};
use crate::test_replica::TestReplica;
use crate::wire_text::text;

const VERSION: i16 = 5;

fn group() -> m::GroupId {
    m::GroupId(text("g"))
}

async fn answer(version: i16, work: Work) -> Response {
    let reply = finish(work).await;
    assert_encodes(&reply, version);
    let Reply::Message(response) = reply else { panic!("{reply:?}") };
    response
}

async fn join(node: &TestNode, member_id: &str) -> m::JoinGroupResponse {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    let request = m::JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text(member_id))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let work = handlers::join_group::handle(&node.broker, &TestNode::context(VERSION), request);
    let Response::JoinGroup(response) = answer(VERSION, work).await else { panic!() };
    response
}

async fn sync(node: &TestNode, joined: &m::JoinGroupResponse) -> m::SyncGroupResponse {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"mine"));
    let request = m::SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id)
        .with_assignments(vec![assignment]);
    let work = handlers::sync_group::handle(&node.broker, &TestNode::context(3), request);
    let Response::SyncGroup(response) = answer(3, work).await else { panic!() };
    response
}

async fn heartbeat(node: &TestNode, joined: &m::JoinGroupResponse) -> i16 {
    let request = m::HeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(joined.member_id.clone())
        .with_generation_id(joined.generation_id);
    let work = handlers::heartbeat::handle(&node.broker, &TestNode::context(3), request);
    let Response::Heartbeat(response) = answer(3, work).await else { panic!() };
    response.error_code
}

/// Commits for partition 0 of `topic` as one who assigns partitions itself.
async fn commit(node: &TestNode, topic: &str, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic =
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = m::OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let work = handlers::offset_commit::handle(&node.broker, &TestNode::context(8), request);
    let Response::OffsetCommit(response) = answer(8, work).await else { panic!() };
    response.topics[0].partitions[0].error_code
}

/// Everything that the group has committed: error, topics with offset of partition 0.
async fn committed(node: &TestNode) -> (i16, Vec<(String, i64)>) {
    let request = m::OffsetFetchRequest::default().with_group_id(group()).with_topics(None);
    let work = handlers::offset_fetch::handle(&node.broker, &TestNode::context(7), request);
    let Response::OffsetFetch(response) = answer(7, work).await else { panic!() };
    let topics = response.topics.iter();
    let offsets = topics.map(|it| (it.name.to_string(), it.partitions[0].committed_offset));
    (response.error_code, offsets.collect())
}

/// A node with a partition of the groups' state that it shares with two others.
async fn with_shared_groups() -> (TestNode, Arc<TestReplica>) {
    let node = TestNode::among_three().await;
    node.assign("t", &[&[1]], &[]).await;
    node.assign("u", &[&[1]], &[]).await;
    node.assign("__consumer_offsets", &[&[1, 2, 3]], &[]).await;
    let replica = node.replica("__consumer_offsets", 0);
    tokio::spawn(follow::run(node.broker.clone()));
    (node, replica)
}

/// Waits until a question for what is committed has another answer than these.
async fn committed_but_not(node: &TestNode, codes: &[i16]) -> (i16, Vec<(String, i64)>) {
    let answered = async {
        loop {
            let answer = committed(node).await;
            if !codes.contains(&answer.0) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap()
}

#[tokio::test]
async fn groups_are_where_their_partition_is_led() {
    const NOT_COORDINATOR: i16 = 16;
    const LOADING: i16 = 14;
    let (node, replica) = with_shared_groups().await;
    assert_eq!(commit(&node, "t", 1).await, NOT_COORDINATOR, "nobody leads yet");
    replica.lead(1);
    assert_eq!(committed_but_not(&node, &[NOT_COORDINATOR, LOADING]).await, (0, vec![]));
    assert_eq!(commit(&node, "t", 5).await, 0);

    // What is not committed when the leadership is lost is not answered as if it were.
    replica.hold(true);
    let uncommitted = {
        let node = node.broker.clone();
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(6);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("u"))
            .with_partitions(vec![partition]);
        let request = m::OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        handlers::offset_commit::handle(&node, &TestNode::context(8), request)
    };
    replica.lose(Some(2), 2);
    assert_eq!(committed(&node).await.0, NOT_COORDINATOR);
    let Response::OffsetCommit(response) = answer(8, uncommitted).await else { panic!() };
    assert_eq!(response.topics[0].partitions[0].error_code, NOT_COORDINATOR);
    assert_eq!(commit(&node, "t", 7).await, NOT_COORDINATOR);

    // The other leader has committed it after all, and this one finds it when it leads again.
    replica.hold(false);
    replica.lead(3);
    let (error, mut offsets) = committed_but_not(&node, &[NOT_COORDINATOR, LOADING]).await;
    offsets.sort();
    assert_eq!((error, offsets), (0, vec![("t".to_owned(), 5), ("u".to_owned(), 6)]));
    assert_eq!(commit(&node, "t", 8).await, 0);
}

#[tokio::test]
async fn who_waits_for_a_group_is_told_when_it_goes() {
    let (node, replica) = with_shared_groups().await;
    replica.lead(1);
    committed_but_not(&node, &[16, 14]).await;
    // The first member waits for others to join.
    let waiting = tokio::spawn({
        let broker = node.broker.clone();
        async move {
            let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
            let request = m::JoinGroupRequest::default()
                .with_group_id(group())
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            let work = handlers::join_group::handle(&broker, &TestNode::context(2), request);
            let Response::JoinGroup(response) = answer(2, work).await else { panic!() };
            response.error_code
        }
    });
    let owner = node.broker.groups.owner("g").unwrap();
    while owner.look(|shard| shard.len()).unwrap().0 == 0 {
        tokio::task::yield_now().await;
    }
    replica.lose(None, 1);
    let told = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(told, 16);
    // The same broker again, in another epoch: the member is not known there.
    replica.lead(2);
    assert_eq!(committed_but_not(&node, &[16, 14]).await, (0, vec![]));
    assert!(!owner.is_in_office());
    assert_eq!(node.broker.groups.owner("g").unwrap().look(|shard| shard.len()).unwrap().0, 0);
}

#[tokio::test]
async fn the_coordinator_is_the_leader_of_the_groups_partition() {
    let (node, replica) = with_shared_groups().await;
    let ask = async || {
        let request = m::FindCoordinatorRequest::default()
            .with_key_type(0)
            .with_coordinator_keys(vec![text("g")]);
        let context = TestNode::context(4);
        let work = handlers::find_coordinator::handle(&node.broker, &context, request);
        let Response::FindCoordinator(response) = answer(4, work).await else { panic!() };
        let found = &response.coordinators[0];
        (found.error_code, found.node_id.0, found.host.to_string())
    };
    assert_eq!(ask().await.0, 15);
    replica.lead(1);
    assert_eq!(ask().await, (0, 1, "localhost".to_owned()));
    replica.lose(Some(3), 2);
    assert_eq!(ask().await, (0, 3, "host-3".to_owned()));
    replica.lose(None, 3);
    assert_eq!(ask().await.0, 15);
}

async fn find_coordinator(node: &TestNode) {
    node.broker.groups.create_topic().await.unwrap();
    loaded(&node.broker.groups).await;
}

/// Waits until the group's state is in memory.
async fn loaded(groups: &Groups) {
    let load = async {
        while groups.owner("g").unwrap().look(|_| ()).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), load).await.expect("groups are loaded");
}

/// The groups of the same log in a process that starts now.
async fn started_again(node: &TestNode) -> Groups {
    let broker = &node.broker;
    let groups = Groups::new(
        Arc::clone(&broker.cluster),
        Arc::clone(&broker.partitions),
        Arc::clone(&broker.clock),
        Arc::clone(&broker.settings),
        broker.broker_id,
    );
    groups.load();
    loaded(&groups).await;
    groups
}

#[tokio::test]
async fn a_member_joins_and_a_restart_finds_it() {
    let node = TestNode::new(&[("t", 1, &[])]).await;
    find_coordinator(&node).await;
    let known = join(&node, "").await;
    assert_eq!((known.error_code, known.generation_id), (79, -1), "an id first");
    let joined = join(&node, &known.member_id).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    let synced = sync(&node, &joined).await;
    assert_eq!((synced.error_code, &*synced.assignment), (0, b"mine".as_slice()));
    assert_eq!(heartbeat(&node, &joined).await, 0);

    let groups = started_again(&node).await;
    let (member, _) = groups
        .owner("g")
        .unwrap()
        .look(|shard| {
            let classic = shard.get("g").unwrap().members.classic().unwrap();
            let (member_id, member) = classic.members.first_key_value().unwrap();
            (classic.generation, member_id.to_string(), member.assignment.clone())
        })
        .unwrap();
    assert_eq!(member, (1, joined.member_id.to_string(), Bytes::from_static(b"mine")));
}

#[tokio::test]
async fn commits_are_told_by_all_who_start_from_the_log() {
    let node = TestNode::new(&[("t", 1, &[]), ("u", 1, &[])]).await;
    find_coordinator(&node).await;
    assert_eq!(committed(&node).await, (0, Vec::new()));
    assert_eq!([commit(&node, "t", 5).await, commit(&node, "u", 6).await], [0, 0]);
    assert_eq!(commit(&node, "t", 7).await, 0);
    assert_eq!(commit(&node, "nope", 7).await, 3);
    let expected = vec![("t".to_owned(), 7), ("u".to_owned(), 6)];
    assert_eq!(committed(&node).await, (0, expected));
    let groups = started_again(&node).await;
    let (offset, _) = groups
        .owner("g")
        .unwrap()
        .look(|shard| shard.get("g").unwrap().offsets.get("t", 0).unwrap().offset)
        .unwrap();
    assert_eq!(offset, 7);
}

const KAFKA_STORAGE_ERROR: i16 = 56;

/// Tries to write something else, which is how the broker finds out that the disk is full.
async fn produce(node: &TestNode) -> i16 {
    let request = produce_request(-1, &[("t", 0, Some(batch(&["a"])))]).with_timeout_ms(50);
    let Reply::Message(Response::Produce(response)) = node.produce_request(9, request).await else {
        panic!("no response")
    };
    response.responses[0].partition_responses[0].error_code
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_keeps_members_waiting_until_there_is_space() {
    let (node, device) = TestNode::on_faulty_device(&[("t", 1, &[])]).await;
    find_coordinator(&node).await;
    assert_eq!(commit(&node, "t", 5).await, 0);
    let known = join(&node, "").await;
    let joined = join(&node, &known.member_id).await;
    device.set_capacity_bytes(Some(0));
    while produce(&node).await != KAFKA_STORAGE_ERROR {}
    assert_eq!(committed(&node).await, (0, vec![("t".to_owned(), 5)]), "reading goes on");
    let waiting = sync(&node, &joined);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "nothing is told that is not stored: {early:?}");
    assert_eq!(heartbeat(&node, &joined).await, 0, "it is alive all the same");
    assert_eq!(commit(&node, "t", 9).await, 15);
    device.set_capacity_bytes(None);
    let synced = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
    assert_eq!((synced.error_code, &*synced.assignment), (0, b"mine".as_slice()));
    assert_eq!(committed(&node).await, (0, vec![("t".to_owned(), 5)]));
}

#[tokio::test]
async fn clients_cannot_write_into_the_groups_log() {
    let node = TestNode::new(&[]).await;
    find_coordinator(&node).await;
    assert_eq!(node.produce("__consumer_offsets", 0, batch(&["noise"])).await.error_code, 17);
}

#[tokio::test]
async fn commits_go_with_their_topic() {
    let node = TestNode::new(&[("t", 1, &[]), ("u", 1, &[])]).await;
    find_coordinator(&node).await;
    assert_eq!([commit(&node, "t", 5).await, commit(&node, "u", 6).await], [0, 0]);
    let request =
        m::DeleteTopicsRequest::default().with_topic_names(vec![name("t")]).with_timeout_ms(30_000);
    let work = handlers::delete_topics::handle(&node.broker, &TestNode::context(5), request);
    let Response::DeleteTopics(response) = answer(5, work).await else { panic!() };
    assert_eq!(response.responses[0].error_code, 0);
    assert_eq!(committed(&node).await, (0, vec![("u".to_owned(), 6)]), "nobody is told of it");
    let in_log = || {
        let owner = node.broker.groups.owner("g").unwrap();
        owner.look(|shard| shard.get("g").unwrap().offsets.len_in_log()).unwrap().0
    };
    assert_eq!(in_log(), 2);
    let watching = tokio::spawn(deleted_topics::run(Arc::clone(&node.broker)));
    let forgotten = async {
        while in_log() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), forgotten).await.expect("the log forgets it");
    watching.abort();
}

/// Commits for partition 0 of a topic, and asks for it, by id; the two errors, and the offset.
async fn commit_and_ask_by_id(node: &TestNode, topic_id: Uuid) -> (i16, i16, i64) {
    let context = TestNode::context(10);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
    let topic = OffsetCommitRequestTopic::default()
        .with_topic_id(topic_id)
        .with_partitions(vec![partition]);
    let request = m::OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let work = handlers::offset_commit::handle(&node.broker, &context, request);
    let Response::OffsetCommit(committed) = answer(10, work).await else { panic!() };
    assert_eq!(committed.topics[0].topic_id, topic_id);

    let topic =
        OffsetFetchRequestTopics::default().with_topic_id(topic_id).with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(group());
    let request =
        m::OffsetFetchRequest::default().with_groups(vec![asked.with_topics(Some(vec![topic]))]);
    let work = handlers::offset_fetch::handle(&node.broker, &context, request);
    let Response::OffsetFetch(fetched) = answer(10, work).await else { panic!() };
    let topic = &fetched.groups[0].topics[0];
    assert_eq!(topic.topic_id, topic_id);
    let partition = &topic.partitions[0];
    let errors = (committed.topics[0].partitions[0].error_code, partition.error_code);
    (errors.0, errors.1, partition.committed_offset)
}

fn id_of(node: &TestNode, topic: &str) -> Uuid {
    node.broker.cluster.image().topics.get(topic).expect("it was made").id.get()
}

#[tokio::test]
async fn topics_are_found_by_their_ids() {
    let node = TestNode::new(&[("t", 1, &[]), ("u", 1, &[])]).await;
    find_coordinator(&node).await;
    assert_eq!(commit_and_ask_by_id(&node, id_of(&node, "t")).await, (0, 0, 7));
    assert_eq!(committed(&node).await, (0, vec![("t".to_owned(), 7)]));
    assert_eq!(commit_and_ask_by_id(&node, Uuid::from_u128(7)).await, (100, 100, -1));
    assert_eq!(commit_and_ask_by_id(&node, Uuid::nil()).await, (100, 100, -1));

    // All that is committed, by id too.
    assert_eq!(commit(&node, "u", 9).await, 0);
    let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let request = m::OffsetFetchRequest::default().with_groups(vec![all]);
    let work = handlers::offset_fetch::handle(&node.broker, &TestNode::context(10), request);
    let Response::OffsetFetch(fetched) = answer(10, work).await else { panic!() };
    let told = fetched.groups[0].topics.iter();
    let told: Vec<_> =
        told.map(|topic| (topic.topic_id, topic.partitions[0].committed_offset)).collect();
    assert_eq!(told, [(id_of(&node, "t"), 7), (id_of(&node, "u"), 9)]);
}
