//! Every record keeps its content through a round trip, and what is malformed is refused.

use super::*;
use bytes::Bytes;
use uuid::Uuid;

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn key() -> MemberKey {
    MemberKey { group: name("g"), member_id: name("m") }
}

fn topics() -> Vec<TopicPartitions> {
    vec![
        TopicPartitions { topic_id: Uuid::from_u128(1), partitions: vec![0, 1, 300] },
        TopicPartitions { topic_id: Uuid::from_u128(2), partitions: vec![] },
    ]
}

fn offset(expires_at: Option<i64>) -> CommittedOffset {
    // Version 1, which alone has an expiry, has no epoch.
    let leader_epoch = if expires_at.is_some() { -1 } else { 7 };
    let (offset, metadata, committed_at) = (5, name("note"), 1_700_000_000_000);
    let topic_id = None;
    CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at, topic_id }
}

fn generation() -> ClassicGeneration {
    let member = ClassicMember {
        member_id: name("m-1"),
        instance_id: Some(name("i")),
        client_id: name("c"),
        client_host: name("/127.0.0.1"),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(&[1, 2, 3]),
        assignment: Bytes::new(),
    };
    ClassicGeneration {
        protocol_type: name("consumer"),
        generation: 3,
        protocol: Some(name("range")),
        leader: Some(name("m-1")),
        state_since: 1_700_000_000_000,
        members: vec![ClassicMember { instance_id: None, ..member.clone() }, member],
    }
}

fn owned(topic_id: u128, partitions: &[(i32, i32)]) -> OwnedPartitions {
    let owned = |(partition, since_epoch): &_| OwnedPartition {
        partition: *partition,
        since_epoch: *since_epoch,
    };
    let topic_id = Uuid::from_u128(topic_id);
    OwnedPartitions { topic_id, partitions: partitions.iter().map(owned).collect() }
}

fn member(protocols: Option<Vec<ClassicProtocol>>) -> Member {
    let session_timeout_ms = 45_000;
    let classic = protocols.map(|protocols| ClassicMetadata { session_timeout_ms, protocols });
    Member {
        instance_id: None,
        rack_id: Some(name("rack")),
        client_id: name("c"),
        client_host: name("/::1"),
        topics: vec![name("a"), name("b")],
        topics_regex: Some(name("x.*")),
        rebalance_timeout_ms: -1,
        assignor: Some(name("uniform")),
        classic,
    }
}

fn all() -> Vec<GroupRecord> {
    let group = || name("g");
    let offset_key = || OffsetKey { group: group(), topic: name("t"), partition: 9 };
    let regex_key = || RegexKey { group: group(), expression: name("x.*") };
    let protocol = ClassicProtocol { name: name("range"), metadata: Bytes::from_static(&[9]) };
    vec![
        GroupRecord::Offset(offset_key(), Some(offset(None))),
        GroupRecord::Offset(offset_key(), Some(offset(Some(1_800_000_000_000)))),
        GroupRecord::Offset(offset_key(), None),
        GroupRecord::ClassicGroup(group(), Some(generation())),
        GroupRecord::ClassicGroup(group(), None),
        GroupRecord::ConsumerGroup(group(), Some(ConsumerGroup { epoch: 4, metadata_hash: 0 })),
        GroupRecord::ConsumerGroup(group(), Some(ConsumerGroup { epoch: 4, metadata_hash: -8 })),
        GroupRecord::Member(key(), Some(member(None))),
        GroupRecord::Member(key(), Some(member(Some(vec![protocol])))),
        GroupRecord::Member(key(), Some(member(Some(vec![])))),
        GroupRecord::TargetEpoch(group(), Some(TargetEpoch { epoch: 4, computed_at: 0 })),
        GroupRecord::TargetEpoch(group(), Some(TargetEpoch { epoch: 4, computed_at: 5 })),
        GroupRecord::Target(key(), Some(topics())),
        GroupRecord::Target(key(), None),
        GroupRecord::Current(
            key(),
            Some(CurrentAssignment {
                member_epoch: 4,
                previous_epoch: 3,
                state: 1,
                assigned: vec![owned(1, &[(0, 2), (300, 4)]), owned(2, &[])],
                pending_revocation: vec![],
            }),
        ),
        GroupRecord::Regex(
            regex_key(),
            Some(ResolvedRegex { topics: vec![name("xa")], version: 12, resolved_at: 5 }),
        ),
    ]
}

fn decode(record: &GroupRecord) -> Result<Option<GroupRecord>, WireError> {
    GroupRecord::decode(&record.encode_key(), record.encode_value().as_deref())
}

/// Bytes that Apache Kafka 4.3.1's own classes wrote. The second topic stands without epochs.
#[test]
fn kafkas_own_members_and_assignments_are_read() {
    let value = |text: &str| {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let current = "000000000004000000030102000000000000000000000000000000010300000002000000050100\
                   09030000000300000004020000000000000000000000000000000202000000070000";
    let key_bytes = GroupRecord::Current(key(), None).encode_key();
    let read = GroupRecord::decode(&key_bytes, Some(&value(current)));
    let expected = CurrentAssignment {
        member_epoch: 4,
        previous_epoch: 3,
        state: 1,
        assigned: vec![owned(1, &[(2, 3), (5, 4)])],
        pending_revocation: vec![owned(2, &[(7, 4)])],
    };
    assert_eq!(read, Ok(Some(GroupRecord::Current(key(), Some(expected)))));
    let classic = "000000000263032f6802027401000003e800010010010000afc8020672616e676502090000";
    let protocol = ClassicProtocol { name: name("range"), metadata: Bytes::from_static(&[9]) };
    let expected = Member {
        rack_id: None,
        client_host: name("/h"),
        topics: vec![name("t")],
        topics_regex: Some(name("")),
        rebalance_timeout_ms: 1000,
        assignor: None,
        ..member(Some(vec![protocol]))
    };
    let record = GroupRecord::Member(key(), Some(expected));
    assert_eq!(record.encode_value(), Some(value(classic)));
    assert_eq!(decode(&record), Ok(Some(record)));
}

/// Without the tag Kafka takes a member for one that speaks the classic protocol.
#[test]
fn a_member_without_classic_protocol_says_so() {
    let record = GroupRecord::Member(key(), Some(member(None)));
    let value = record.encode_value().unwrap();
    assert!(value.ends_with(b"\x01\x00\x01\x00"), "one tag, 0, of one byte, null: {value:?}");
    let untold = [&value[..value.len() - 4], &[0]].concat();
    let read = GroupRecord::decode(&record.encode_key(), Some(&untold)).unwrap().unwrap();
    let GroupRecord::Member(_, Some(read)) = read else { panic!("{read:?}") };
    assert_eq!(read.classic, Some(ClassicMetadata { session_timeout_ms: 0, protocols: vec![] }));
}

#[test]
fn what_is_written_is_read() {
    for record in all() {
        assert_eq!(decode(&record), Ok(Some(record.clone())));
        assert_eq!(&**record.group(), "g");
    }
}

#[test]
fn a_commit_has_the_bytes_of_the_schema() {
    let key = OffsetKey { group: name("g"), topic: name("t"), partition: 9 };
    let topic_id = Some(Uuid::from_u128(1));
    let record = GroupRecord::Offset(key, Some(CommittedOffset { topic_id, ..offset(None) }));
    assert_eq!(record.encode_key(), *b"\0\x01\0\x01g\0\x01t\0\0\0\x09");
    let mut value = b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x07\x05note".to_vec();
    value.extend(1_700_000_000_000_i64.to_be_bytes());
    value.extend(b"\x01\0\x10");
    value.extend(1_u128.to_be_bytes());
    assert_eq!(record.encode_value(), Some(value));
}

#[test]
fn a_flexible_value_has_the_bytes_of_the_schema() {
    let record = GroupRecord::Target(
        key(),
        Some(vec![TopicPartitions { topic_id: Uuid::from_u128(1), partitions: vec![2] }]),
    );
    assert_eq!(record.encode_key(), *b"\0\x07\0\x01g\0\x01m");
    let mut value = b"\0\0\x02".to_vec();
    value.extend(1_u128.to_be_bytes());
    value.extend(b"\x02\0\0\0\x02\0\0");
    assert_eq!(record.encode_value(), Some(value));
}

#[test]
fn older_versions_of_a_commit_are_read() {
    let key = b"\0\0\0\x01g\0\x01t\0\0\0\x09";
    let mut value = b"\0\0\0\0\0\0\0\0\0\x05\0\x04note".to_vec();
    value.extend(1_700_000_000_000_i64.to_be_bytes());
    let record = GroupRecord::decode(key, Some(&value)).unwrap().unwrap();
    let GroupRecord::Offset(_, Some(found)) = record else { panic!("{record:?}") };
    assert_eq!(found, CommittedOffset { leader_epoch: -1, ..offset(None) });
}

#[test]
fn no_cut_or_lengthened_record_is_taken_for_whole() {
    for record in all() {
        let (key, value) = (record.encode_key(), record.encode_value());
        for bytes in 0..key.len() {
            assert!(GroupRecord::decode(&key[..bytes], value.as_deref()).is_err());
        }
        let Some(value) = value else { continue };
        for bytes in 0..value.len() {
            assert!(GroupRecord::decode(&key, Some(&value[..bytes])).is_err(), "{record:?}");
        }
        let longer = [&value[..], &[0]].concat();
        assert_eq!(GroupRecord::decode(&key, Some(&longer)), Err(WireError::Trailing(1)));
    }
}

#[test]
fn types_of_others_are_left_alone_and_unknown_versions_are_named() {
    assert_eq!(GroupRecord::decode(b"\0\x0a\0\x01g", Some(b"\0\0")), Ok(None));
    let unknown = GroupRecord::decode(b"\0\x03\0\x01g", Some(b"\0\x09\0\0\0\0\0"));
    assert_eq!(unknown, Err(WireError::Unknown("the version", 9)));
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing() {
    let count = [&b"\0\0"[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(GroupRecord::decode(b"\0\x07\0\x01g\0\x01m", Some(&count)).is_err());
}
