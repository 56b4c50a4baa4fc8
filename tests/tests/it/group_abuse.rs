//! Members that vanish, ids that two claim, requests larger than anybody sends: what a group does
//! with them, and that it works afterwards.

use bytes::Bytes;
use harness::codes;
use harness::deadline::eventually;
use harness::member::{Member, commit_request, join_request, protocol, stabilise, stable_group};
use harness::node::Node;
use harness::process::raise_descriptors_max;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use std::net::SocketAddr;

/// Fails unless new members can form the group and commit.
fn assert_works(address: SocketAddr, group: &str, topic: &str) {
    let mut members = stable_group(address, group, 2);
    for member in &mut members {
        assert_eq!(member.commit(topic, 0, 42), codes::NONE);
    }
    assert_eq!(members[0].connection().committed(group, topic, 0).committed_offset, 42);
}

/// What a member of a group does before it vanishes.
type Step = fn(SocketAddr, &str);

/// A member whose connection ends, at each step of its life; the group goes on without it.
#[test]
fn members_that_vanish() {
    let target = Target::start();
    let topic = unique_topic("vanish");
    target.connect().create_topic(&topic, 1, &[]);
    let address = target.kafka();
    let steps: [(&str, Step); 5] = [
        ("with an id", |address, group| drop(Member::new(address, group))),
        ("while it joins", |address, group| Member::new(address, group).send_join()),
        ("joined, the leader", |address, group| {
            Member::new(address, group).join();
        }),
        ("while it waits for its assignment", |address, group| {
            let mut members = [Member::new(address, group), Member::new(address, group)];
            members.iter_mut().for_each(Member::send_join);
            members.iter_mut().for_each(|member| {
                let answer = member.joined();
                if answer.leader != answer.member_id {
                    member.send_sync(&[]);
                }
            });
        }),
        ("while all join again", |address, group| {
            let mut first = stable_group(address, group, 1).remove(0);
            Member::new(address, group).send_join();
            first.heartbeat_until(codes::REBALANCE_IN_PROGRESS);
            first.send_join();
        }),
    ];
    // Each is a group of its own, so that their sessions end side by side.
    let groups: Vec<_> = steps
        .iter()
        .map(|(what, vanish)| {
            let group = unique_topic("group");
            vanish(address, &group);
            (what, group)
        })
        .collect();
    for (_, group) in &groups {
        assert_works(address, group, &topic);
    }
}

/// Two consumers with one instance id: the one that joined first is fenced, whatever it does, and
/// the other keeps its place.
#[test]
fn two_consumers_with_one_instance_id() {
    let target = Target::start();
    let (topic, group) = (unique_topic("twins"), unique_topic("group"));
    target.connect().create_topic(&topic, 1, &[]);
    let twin = || Member::new_static(target.kafka(), &group, "twin");
    let mut first = twin();
    first.send_join();
    // The second joins while the first waits.
    target.connect().wait_for_state(&group, "PreparingRebalance");
    let mut second = twin();
    second.send_join();
    assert_eq!(first.receive_join().error_code, codes::FENCED_INSTANCE_ID);
    let joined = second.joined();
    assert_eq!(joined.members.len(), 1);
    second.sync(&[(&joined.member_id, b"all")]);

    let mut third = twin();
    third.join();
    assert_eq!(third.sync(&[]), b"all".as_slice());
    assert_eq!(second.heartbeat(), codes::FENCED_INSTANCE_ID);
    assert_eq!(second.commit(&topic, 0, 1), codes::FENCED_INSTANCE_ID);
    second.send_join();
    assert_eq!(second.receive_join().error_code, codes::FENCED_INSTANCE_ID);
    second.send_sync(&[]);
    assert_eq!(second.receive_sync().error_code, codes::FENCED_INSTANCE_ID);
    assert_eq!(second.leave(), codes::FENCED_INSTANCE_ID);
    assert_eq!((third.heartbeat(), third.commit(&topic, 0, 2)), (codes::NONE, codes::NONE));
}

/// A commit of 10,000 offsets is taken whole, and fetched whole.
#[test]
fn a_commit_of_ten_thousand_offsets() {
    const PARTITIONS: i32 = 500;
    const TOPICS: usize = 20;
    let target = Target::start();
    let mut connection = target.connect();
    let group = unique_topic("group");
    connection.find_coordinator(&group);
    let topics: Vec<_> = (0..TOPICS).map(|_| unique_topic("wide")).collect();
    let mut request = commit_request(&group, &topics[0], 0, 0);
    let template = request.topics.remove(0);
    for topic in &topics {
        create_wide_topic(&mut connection, topic, PARTITIONS);
        let mut entry = template.clone().with_name(harness::calls::topic_name(topic));
        entry.partitions = (0..PARTITIONS)
            .map(|partition| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(i64::from(partition) * 3)
                    .with_committed_leader_epoch(-1)
                    .with_committed_metadata(Some(text("x")))
            })
            .collect();
        request.topics.push(entry);
    }
    let answer = connection.call(9, &request);
    let codes: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(codes.len(), 10_000);
    assert!(codes.iter().all(|&code| code == codes::NONE), "{codes:?}");
    let all = connection.committed_offsets(&group, None);
    let offsets = || all.topics.iter().flat_map(|topic| &topic.partitions);
    assert_eq!(offsets().count(), 10_000);
    assert!(offsets().all(|found| found.committed_offset == i64::from(found.partition_index) * 3));
    for topic in &topics {
        connection.delete_topic(topic);
    }
}

/// Creates a topic without looking at each of its partitions.
fn create_wide_topic(connection: &mut Connection, name: &str, partitions: i32) {
    connection.create_topic(name, 1, &[]);
    let grown =
        kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic::default()
            .with_name(harness::calls::topic_name(name))
            .with_count(partitions)
            .with_assignments(None);
    let request = kafka_protocol::messages::CreatePartitionsRequest::default()
        .with_topics(vec![grown])
        .with_timeout_ms(30_000);
    let answer = connection.call(3, &request);
    assert_eq!(answer.results[0].error_code, codes::NONE, "{:?}", answer.results[0].error_message);
    eventually("the broker knows its partitions", || {
        let known = connection.describe_topic(name).partitions.len();
        (i32::try_from(known) == Ok(partitions)).then_some(())
    });
}

/// Names as long as the protocol allows are names.
#[test]
fn a_group_id_of_thirty_thousand_bytes() {
    let target = Target::start();
    let topic = unique_topic("long");
    let mut connection = target.connect();
    connection.create_topic(&topic, 1, &[]);
    for length in [30_000, 32_767] {
        let mut group = unique_topic("group");
        group.push_str(&"g".repeat(length - group.len()));
        assert_eq!(group.len(), length);
        // Found in a batch of keys: alone it would not fit into old versions' frames either.
        connection.find_coordinator(&group);
        assert_eq!(connection.commit(9, &commit_request(&group, &topic, 0, 17)), codes::NONE);
        assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 17);
        assert_works(target.kafka(), &group, &topic);
        assert_eq!(connection.describe_group(&group).group_state.as_str(), "Stable");
    }
}

/// Member ids begin with the instance id. Apache Kafka makes one that it cannot store, and says that it
/// does not know what went wrong.
#[test]
fn an_instance_id_as_long_as_a_string_can_be() {
    let node = Node::start();
    let topic = unique_topic("long");
    let mut connection = Connection::open(node.kafka());
    connection.create_topic(&topic, 1, &[]);
    for length in [2_000, 32_767] {
        let group = unique_topic("group");
        connection.find_coordinator(&group);
        let mut member = Member::new_static(node.kafka(), &group, &"i".repeat(length));
        let joined = member.join();
        assert_eq!(joined.error_code, codes::NONE);
        member.sync(&[(&joined.member_id, b"mine")]);
        assert_eq!(member.heartbeat(), codes::NONE);
    }
    let group = unique_topic("group");
    connection.find_coordinator(&group);
    assert_works(node.kafka(), &group, &topic);
}

/// A subscription of a megabyte passes through; an assignment larger than a record may be does not
/// take the broker down.
#[test]
fn large_subscriptions_and_assignments() {
    let target = Target::start();
    let (topic, group) = (unique_topic("large"), unique_topic("group"));
    target.connect().create_topic(&topic, 1, &[]);
    let large = Bytes::from(vec![7; 400_000]);
    let joining = |group: &str, metadata: Bytes| {
        // Not a consumer's, which would have to be parsed.
        join_request(group, "")
            .with_session_timeout_ms(600_000)
            .with_protocol_type(text("connect"))
            .with_protocols(vec![protocol("large", metadata)])
    };
    let request = joining(&group, large.clone());
    let mut member = Member::with_request(target.kafka(), request);
    let joined = member.join();
    assert_eq!(joined.members[0].metadata, large);
    assert_eq!(member.sync(&[(&joined.member_id, &large)]), large);
    member.leave();

    // More than a megabyte Apache Kafka cannot keep, and refuses; ours keeps more than this.
    let group = unique_topic("group");
    let request = joining(&group, vec![7; 2_000_000].into());
    let mut member = Member::with_request(target.kafka(), request);
    let joined = member.join();
    member.send_sync(&[(&joined.member_id, &large)]);
    let code = member.receive_sync().error_code;
    assert_eq!(code == codes::NONE, target.is_ours(), "code {code}");
    assert_works(target.kafka(), &unique_topic("group"), &topic);
}

/// Five thousand members join at once: they are one generation, and the leader knows them all.
#[test]
fn five_thousand_members_join_at_once() {
    const MEMBERS: usize = 5_000;
    raise_descriptors_max(MEMBERS + 500);
    let target = Target::start();
    let group = unique_topic("group");
    target.connect().find_coordinator(&group);
    let mut joining: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let request = join_request(&group, "").with_session_timeout_ms(600_000);
            let mut connection = Connection::open(target.kafka());
            // Version 3 joins in one step.
            let waiting_for = connection.send(3, &request);
            (connection, waiting_for)
        })
        .collect();
    let mut ids = Vec::new();
    let mut known = Vec::new();
    for (connection, waiting_for) in &mut joining {
        let answer =
            connection.receive::<kafka_protocol::messages::JoinGroupRequest>(3, *waiting_for);
        assert_eq!(answer.error_code, codes::NONE);
        if answer.leader == answer.member_id {
            assert_eq!(answer.generation_id, 1);
            known = answer.members.iter().map(|member| member.member_id.clone()).collect();
        }
        ids.push(answer.member_id);
    }
    ids.sort_unstable();
    known.sort_unstable();
    assert_eq!(known.len(), MEMBERS, "the leader of the first generation knows all");
    assert_eq!(ids, known);
    // And a small group works beside it.
    drop(stabilise(vec![Member::new(target.kafka(), &unique_topic("group"))]));
}
