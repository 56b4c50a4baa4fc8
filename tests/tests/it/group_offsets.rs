//! Committed offsets, and looking at groups and deleting them (behaviours 45 to 48).

use harness::calls::topic_name;
use harness::codes;
use harness::deadline::eventually;
use harness::member::{
    Member, commit_request, describe_request, group_id, join_request, protocol, stabilise,
    stable_group, subscription,
};
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, FindCoordinatorRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
};

/// A broker, a connection to it, a topic of three partitions and the id of a group that nobody used.
fn topic_and_group() -> (Target, Connection, String, String) {
    topic_and_group_of(Target::start())
}

fn topic_and_group_of(target: Target) -> (Target, Connection, String, String) {
    let mut connection = target.connect();
    let (topic, group) = (unique_topic("committed"), unique_topic("group"));
    connection.create_topic(&topic, 3, &[]);
    connection.find_coordinator(&group);
    (target, connection, topic, group)
}

fn with_metadata(request: OffsetCommitRequest, metadata: Option<&str>) -> OffsetCommitRequest {
    let mut request = request;
    request.topics[0].partitions[0].committed_metadata = metadata.map(text);
    request
}

/// Behaviour 45: a consumer without a group's protocol commits to a group that nobody is in.
#[test]
fn commits_without_membership() {
    let (target, mut connection, topic, group) = topic_and_group();
    for version in 2..=9 {
        let offset = i64::from(version) * 100;
        let request = commit_request(&group, &topic, 1, offset);
        assert_eq!(connection.commit(version, &request), codes::NONE, "version {version}");
        let found = connection.committed(&group, &topic, 1);
        assert_eq!((found.committed_offset, found.error_code), (offset, codes::NONE));
    }
    let described = connection.describe_group(&group);
    assert_eq!((described.group_state.as_str(), described.protocol_type.as_str()), ("Empty", ""));

    let mut members = stable_group(target.kafka(), &group, 1);
    let request = commit_request(&group, &topic, 1, 5);
    assert_eq!(connection.commit(9, &request), codes::UNKNOWN_MEMBER_ID, "somebody is in it");
    members[0].leave();
    assert_eq!(connection.commit(9, &request), codes::NONE);
    assert_eq!(connection.committed(&group, &topic, 1).committed_offset, 5);
}

/// Behaviour 45: whose commits are refused, and that they change nothing.
#[test]
fn commits_of_members() {
    let (target, mut connection, topic, group) = topic_and_group();
    let request = commit_request(&group, &topic, 0, 1);
    let of_generation = request.clone().with_generation_id_or_member_epoch(1);
    assert_eq!(connection.commit(8, &of_generation), codes::ILLEGAL_GENERATION, "no group");
    assert_eq!(connection.commit(9, &of_generation), codes::GROUP_ID_NOT_FOUND, "no group");

    let mut first = Member::new(target.kafka(), &group);
    let joined = first.join();
    assert_eq!(first.commit(&topic, 0, 1), codes::REBALANCE_IN_PROGRESS, "CompletingRebalance");
    first.sync(&[(&joined.member_id, b"all")]);
    assert_eq!(first.commit(&topic, 0, 7), codes::NONE, "Stable");
    let nobody = of_generation.clone().with_member_id(text("nobody"));
    assert_eq!(connection.commit(9, &nobody), codes::UNKNOWN_MEMBER_ID);
    for generation_id in [0, 2] {
        let other = first.commit_request(&topic, 0, 1);
        let other = other.with_generation_id_or_member_epoch(generation_id);
        assert_eq!(connection.commit(9, &other), codes::ILLEGAL_GENERATION, "{generation_id}");
    }
    let mut second = Member::new(target.kafka(), &group);
    second.send_join();
    first.heartbeat_until(codes::REBALANCE_IN_PROGRESS);
    assert_eq!(first.commit(&topic, 0, 8), codes::NONE, "PreparingRebalance: its last chance");
    first.join();
    let past = first.commit_request(&topic, 0, 1).with_generation_id_or_member_epoch(1);
    assert_eq!(connection.commit(9, &past), codes::ILLEGAL_GENERATION, "a past generation");
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 8);
}

/// Behaviour 45: a commit carries text, up to 4,096 of what Java counts as characters, which are the
/// units of UTF-16; each partition has its own answer.
#[test]
fn the_text_of_a_commit() {
    let (_target, mut connection, topic, group) = topic_and_group();
    let longest = ["é".repeat(4_094), "\u{1f986}".to_owned()].concat();
    let too_long = format!("{longest}x");
    for (metadata, code) in
        [(Some(longest.as_str()), codes::NONE), (Some(&too_long), codes::OFFSET_METADATA_TOO_LARGE)]
    {
        let request = with_metadata(commit_request(&group, &topic, 0, 3), metadata);
        assert_eq!(connection.commit(9, &request), code);
    }
    let found = connection.committed(&group, &topic, 0);
    assert_eq!((found.committed_offset, found.metadata.as_deref()), (3, Some(longest.as_str())));

    // What is wrong with one partition is no matter of the others.
    let mut request = commit_request(&group, &topic, 0, 10);
    request.topics[0].partitions[0].committed_metadata = Some(text(&too_long));
    request.topics[0]
        .partitions
        .push(commit_request(&group, &topic, 1, 11).topics.remove(0).partitions.remove(0));
    request.topics[0]
        .partitions
        .push(commit_request(&group, &topic, 3, 12).topics.remove(0).partitions.remove(0));
    request.topics.push(commit_request(&group, "no-such-topic", 0, 13).topics.remove(0));
    let answer = connection.call(9, &request);
    let mut answered: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    answered.sort_unstable();
    let unknown = codes::UNKNOWN_TOPIC_OR_PARTITION;
    let too_large = (0, codes::OFFSET_METADATA_TOO_LARGE);
    assert_eq!(answered, [(0, unknown), too_large, (1, codes::NONE), (3, unknown)]);
    assert_eq!(connection.committed(&group, &topic, 1).committed_offset, 11);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 3);
}

/// Behaviour 45: the leader epoch of a commit comes back, no text is an empty text.
#[test]
fn what_a_commit_keeps() {
    let (_target, mut connection, topic, group) = topic_and_group();
    let mut request = with_metadata(commit_request(&group, &topic, 2, i64::MAX), None);
    request.topics[0].partitions[0].committed_leader_epoch = 12;
    assert_eq!(connection.commit(9, &request), codes::NONE);
    let found = connection.committed(&group, &topic, 2);
    assert_eq!((found.committed_offset, found.committed_leader_epoch), (i64::MAX, 12));
    assert_eq!(found.metadata.as_deref(), Some(""));
}

/// Behaviour 46: what is not committed is −1 without an error; asking for nothing in particular gives
/// all that is.
#[test]
fn fetching_what_is_committed() {
    let (_target, mut connection, topic, group) = topic_and_group();
    let nothing = connection.committed(&group, &topic, 0);
    assert_eq!((nothing.committed_offset, nothing.error_code), (-1, codes::NONE), "no group");
    assert_eq!(nothing.committed_leader_epoch, -1);
    assert_eq!(nothing.metadata.as_deref(), Some(""));
    let all = connection.committed_offsets(&group, None);
    assert_eq!((all.error_code, all.topics.len()), (codes::NONE, 0));

    for partition in [0, 2] {
        let request = commit_request(&group, &topic, partition, i64::from(partition) + 10);
        assert_eq!(connection.commit(9, &request), codes::NONE);
    }
    let offsets = |found: &[(i32, i64)], expected: &[(i32, i64)]| {
        let mut found = found.to_vec();
        found.sort_unstable();
        assert_eq!(found, expected);
    };
    let all = connection.committed_offsets(&group, None);
    assert_eq!((all.topics.len(), all.topics[0].name.as_str()), (1, topic.as_str()));
    let found = |partitions: &[kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions]| -> Vec<_> {
        partitions.iter().map(|found| (found.partition_index, found.committed_offset)).collect()
    };
    offsets(&found(&all.topics[0].partitions), &[(0, 10), (2, 12)]);
    let asked = connection.committed_offsets(&group, Some((&topic, &[0, 1, 77])));
    offsets(&found(&asked.topics[0].partitions), &[(0, 10), (1, -1), (77, -1)]);
    let nowhere = connection.committed(&group, "no-such-topic", 0);
    assert_eq!((nowhere.committed_offset, nowhere.error_code), (-1, codes::NONE));

    // Before version 8 a request is for one group.
    for version in 1..=7 {
        let one = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![2]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(Some(vec![one]))
            .with_require_stable(version == 7);
        let answer = connection.call(version, &request);
        let found = &answer.topics[0].partitions[0];
        assert_eq!((found.committed_offset, answer.error_code), (12, 0), "version {version}");
        if version >= 2 {
            let all = connection.call(version, &request.with_topics(None));
            assert_eq!(all.topics[0].partitions.len(), 2, "version {version}");
        }
    }
}

/// Behaviour 46: several groups in one request, each with its own answer.
#[test]
fn fetching_for_several_groups() {
    let (target, mut connection, topic, group) = topic_and_group();
    let others = [unique_topic("group"), unique_topic("group")];
    for (offset, group) in [(1, &group), (2, &others[0])] {
        assert_eq!(connection.commit(9, &commit_request(group, &topic, 0, offset)), codes::NONE);
    }
    let of = |group: &str| {
        OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_epoch(-1)
            .with_topics(None)
    };
    let request = OffsetFetchRequest::default()
        .with_groups(vec![of(&group), of(&others[0]), of(&others[1])])
        .with_require_stable(true);
    let answer = connection.call(9, &request);
    let found: Vec<_> = answer
        .groups
        .iter()
        .map(|group| {
            let offsets = group.topics.iter().flat_map(|topic| &topic.partitions);
            (group.group_id.as_str(), offsets.map(|found| found.committed_offset).collect())
        })
        .collect();
    let expected: Vec<(&str, Vec<i64>)> =
        vec![(&group, vec![1]), (&others[0], vec![2]), (&others[1], vec![])];
    assert_eq!(found, expected);
    // A classic member's id and generation are checked in no version.
    let members = stable_group(target.kafka(), &group, 1);
    let asked = of(&group).with_member_id(Some(text(members[0].id()))).with_member_epoch(77);
    let answer = connection.call(9, &OffsetFetchRequest::default().with_groups(vec![asked]));
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 1);
}

/// Behaviour 47 for commits that say how long they hold, as old clients' do: they are gone then,
/// but not where a member is subscribed to the topic. Apache Kafka has to be started with a short
/// `offsets.retention.check.interval.ms` too.
#[test]
fn commits_expire_unless_somebody_is_subscribed() {
    let often = Target::start_with(&["--set", "offsets.retention.check.interval.ms=1000"]);
    let (target, mut connection, topic, group) = topic_and_group_of(often);
    let other_topic = unique_topic("committed");
    connection.create_topic(&other_topic, 1, &[]);
    let mut member = Member::new(target.kafka(), &group);
    member.join_request().protocols = vec![protocol("range", subscription(&topic))];
    member.join_request().session_timeout_ms = 600_000;
    let mut member = stabilise(vec![member]).remove(0);
    for topic in [&topic, &other_topic] {
        let request = member.commit_request(topic, 0, 5).with_retention_time_ms(1);
        assert_eq!(connection.commit(4, &request), codes::NONE);
    }
    let gone = |connection: &mut Connection, topic: &str| {
        eventually("an offset expires", || {
            (connection.committed(&group, topic, 0).committed_offset == -1).then_some(())
        });
    };
    gone(&mut connection, &other_topic);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 5);
    member.leave();
    gone(&mut connection, &topic);
    // A group without members and offsets is no more.
    connection.wait_for_state(&group, "Dead");
}

/// Behaviour 48: what is told of a group that is not there.
#[test]
fn describing_an_unknown_group() {
    let (_target, mut connection, _, group) = topic_and_group();
    for version in 0..=6 {
        let answer = connection.call(version, &describe_request(&group)).groups.remove(0);
        let code = if version == 6 { codes::GROUP_ID_NOT_FOUND } else { codes::NONE };
        assert_eq!((answer.error_code, answer.group_state.as_str()), (code, "Dead"));
        assert_eq!(answer.group_id.as_str(), group);
        assert!(answer.members.is_empty() && answer.protocol_type.is_empty());
        if version == 6 {
            let message = answer.error_message.expect("version 6 says why");
            assert_eq!(message.as_str(), format!("Group {group} not found."));
        }
    }
}

/// A group in each state, described and listed.
#[test]
fn states_of_groups() {
    let (target, mut connection, topic, group) = topic_and_group();
    let list = |connection: &mut Connection, states: &[&str], types: &[&str]| {
        let request = ListGroupsRequest::default()
            .with_states_filter(states.iter().map(|state| text(state)).collect())
            .with_types_filter(types.iter().map(|name| text(name)).collect());
        let answer = connection.call(5, &request);
        assert_eq!(answer.error_code, codes::NONE);
        answer.groups.into_iter().find(|listed| listed.group_id.as_str() == group)
    };
    let mut check = |state: &str, other_state: &str| {
        connection.wait_for_state(&group, state);
        let listed = list(&mut connection, &[], &[]).expect("every group is listed");
        assert_eq!(listed.group_state.as_str(), state);
        assert_eq!(listed.group_type.as_str(), "classic");
        assert!(list(&mut connection, &[state, other_state], &[]).is_some());
        assert!(list(&mut connection, &[&state.to_lowercase()], &["Classic"]).is_some());
        assert!(list(&mut connection, &[other_state], &[]).is_none());
        assert!(list(&mut connection, &[], &["consumer"]).is_none());
    };
    let mut member = Member::new(target.kafka(), &group);
    member.send_join();
    check("PreparingRebalance", "Stable");
    member.joined();
    check("CompletingRebalance", "Empty");
    let id = member.id().to_owned();
    member.sync(&[(&id, b"all")]);
    check("Stable", "PreparingRebalance");
    assert_eq!(member.commit(&topic, 0, 1), codes::NONE);
    member.leave();
    check("Empty", "Stable");
    // Old versions say less.
    let old = connection.call(3, &ListGroupsRequest::default());
    let listed = old.groups.iter().find(|listed| listed.group_id.as_str() == group).unwrap();
    assert_eq!((listed.protocol_type.as_str(), listed.group_state.as_str()), ("consumer", ""));
}

fn delete(connection: &mut Connection, group: &str) -> i16 {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
    let mut answer = connection.call(2, &request);
    assert_eq!(answer.results[0].group_id.as_str(), group);
    answer.results.remove(0).error_code
}

/// Behaviour 48: only what is empty is deleted, with its offsets.
#[test]
fn deleting_groups() {
    let (target, mut connection, topic, group) = topic_and_group();
    assert_eq!(delete(&mut connection, &group), codes::GROUP_ID_NOT_FOUND);
    assert_eq!(delete(&mut connection, ""), codes::GROUP_ID_NOT_FOUND);
    let mut member = stable_group(target.kafka(), &group, 1).remove(0);
    assert_eq!(member.commit(&topic, 0, 9), codes::NONE);
    assert_eq!(delete(&mut connection, &group), codes::NON_EMPTY_GROUP);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 9);
    member.leave();
    assert_eq!(delete(&mut connection, &group), codes::NONE);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, -1);
    assert_eq!(connection.describe_group(&group).group_state.as_str(), "Dead");
    assert_eq!(member.heartbeat(), codes::UNKNOWN_MEMBER_ID);
}

fn delete_offset(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partition: i32,
) -> (i16, i16) {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request =
        OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic]);
    let answer = connection.call(0, &request);
    let partition = answer.topics.first().map_or(-1, |topic| topic.partitions[0].error_code);
    (answer.error_code, partition)
}

/// Behaviour 48: offsets of a topic that somebody is subscribed to are not deleted.
#[test]
fn deleting_offsets() {
    let (target, mut connection, topic, group) = topic_and_group();
    let unsubscribed = unique_topic("committed");
    connection.create_topic(&unsubscribed, 1, &[]);
    let missing = (codes::GROUP_ID_NOT_FOUND, -1);
    assert_eq!(delete_offset(&mut connection, &group, &topic, 0), missing);

    let request = join_request(&group, "")
        .with_protocols(vec![protocol("range", subscription(&topic))])
        .with_session_timeout_ms(600_000);
    let mut member = stabilise(vec![Member::with_request(target.kafka(), request)]).remove(0);
    for topic in [&topic, &unsubscribed] {
        assert_eq!(member.commit(topic, 0, 4), codes::NONE);
    }
    let subscribed = (codes::NONE, codes::GROUP_SUBSCRIBED_TO_TOPIC);
    assert_eq!(delete_offset(&mut connection, &group, &topic, 0), subscribed);
    let deleted = (codes::NONE, codes::NONE);
    assert_eq!(delete_offset(&mut connection, &group, &unsubscribed, 0), deleted);
    let nowhere = (codes::NONE, codes::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(delete_offset(&mut connection, &group, "no-such-topic", 0), nowhere);
    assert_eq!(delete_offset(&mut connection, &group, &unsubscribed, 5), nowhere);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, 4);
    assert_eq!(connection.committed(&group, &unsubscribed, 0).committed_offset, -1);
    member.leave();
    assert_eq!(delete_offset(&mut connection, &group, &topic, 0), deleted);
    assert_eq!(connection.committed(&group, &topic, 0).committed_offset, -1);
}

/// Every key of a batch is found, by old and new versions; a key that is no group's is not.
#[test]
fn finding_coordinators() {
    let (target, mut connection, topic, group) = topic_and_group();
    let node = connection.describe_topic(&topic).partitions[0].leader_id;
    let port = i32::from(target.kafka().port());
    for version in 0..=3 {
        let answer =
            connection.call(version, &FindCoordinatorRequest::default().with_key(text(&group)));
        assert_eq!((answer.error_code, answer.node_id, answer.port), (codes::NONE, node, port));
    }
    let keys = [text(&group), text(&unique_topic("group")), text("")];
    let request = FindCoordinatorRequest::default().with_coordinator_keys(keys.to_vec());
    for version in 4..=6 {
        let answer = connection.call(version, &request);
        let found: Vec<_> =
            answer.coordinators.iter().map(|found| (found.key.clone(), found.error_code)).collect();
        assert_eq!(found[..2], [(keys[0].clone(), 0), (keys[1].clone(), 0)], "version {version}");
        assert_eq!(answer.coordinators[0].node_id, node);
    }
    let wrong_type = FindCoordinatorRequest::default().with_key(text("x")).with_key_type(9);
    assert_eq!(connection.call(3, &wrong_type).error_code, codes::INVALID_REQUEST);
}
