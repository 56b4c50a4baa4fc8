//! What Apache Kafka 4.3.1 wrote to `__consumer_offsets` (`golden/GroupRecords.java`): we read all of
//! it, and write it again byte for byte.

use std::collections::BTreeSet;

use protocol::group_record::GroupRecord;

/// Type of the records that Kafka before 4.1 wrote, and that 4.3 still writes tombstones for.
const PARTITION_METADATA: [u8; 2] = [0, 4];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| std::str::from_utf8(pair).expect("hex is ASCII").to_owned();
    let byte = |pair: &[u8]| u8::from_str_radix(&digits(pair), 16).expect("two digits");
    hex.as_bytes().chunks(2).map(byte).collect()
}

/// Key and value of each record.
fn golden() -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let lines = include_str!("golden/group_records.hex").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (key, value) = line.split_once(' ').expect("two words");
        (bytes(key), (value != "-").then(|| bytes(value)))
    })
}

fn decoded() -> Vec<GroupRecord> {
    let read = |(key, value): (Vec<u8>, Option<Vec<u8>>)| {
        let record = GroupRecord::decode(&key, value.as_deref()).expect("a sound record");
        assert_eq!(record.is_none(), key.starts_with(&PARTITION_METADATA), "{key:?}");
        record
    };
    golden().filter_map(read).collect()
}

#[test]
fn kafkas_records_are_written_again_byte_for_byte() {
    for (key, value) in golden() {
        let Some(record) = GroupRecord::decode(&key, value.as_deref()).unwrap() else { continue };
        assert_eq!(record.encode_key(), key, "{record:?}");
        assert_eq!(record.encode_value(), value, "{record:?}");
    }
}

/// The fixture is worth something only if all is in it that the codecs tell apart.
#[test]
fn kafkas_records_hold_every_case() {
    let mut found = BTreeSet::new();
    let mut seen = |name, value: bool| found.insert((name, value));
    for record in decoded() {
        match &record {
            GroupRecord::Offset(_, value) => {
                seen("offset", value.is_some());
                let Some(value) = value else { continue };
                seen("expiry", value.expires_at.is_some());
                seen("metadata", !value.metadata.is_empty());
            }
            GroupRecord::ClassicGroup(_, value) => {
                seen("classic group", value.is_some());
                for member in value.iter().flat_map(|group| &group.members) {
                    seen("static classic member", member.instance_id.is_some());
                }
            }
            GroupRecord::ConsumerGroup(_, value) => {
                seen("consumer group", value.is_some());
                seen("hash", value.is_some_and(|group| group.metadata_hash != 0));
            }
            GroupRecord::Member(_, value) => {
                seen("member", value.is_some());
                let Some(value) = value else { continue };
                seen("static member", value.instance_id.is_some());
                seen("rack", value.rack_id.is_some());
                // Who has none says so with an empty one.
                seen("expression", value.topics_regex.as_deref() != Some(""));
                seen("assignor", value.assignor.is_some());
                seen("classic protocols", value.classic.is_some());
            }
            GroupRecord::TargetEpoch(_, value) => _ = seen("target epoch", value.is_some()),
            GroupRecord::Target(_, value) => _ = seen("target", value.is_some()),
            GroupRecord::Current(_, value) => {
                seen("current", value.is_some());
                let Some(value) = value else { continue };
                seen("to be revoked", !value.pending_revocation.is_empty());
                seen("left for a while", value.member_epoch == -2);
            }
            GroupRecord::Regex(_, value) => _ = seen("regex", value.is_some()),
        }
    }
    let names: BTreeSet<_> = found.iter().map(|(name, _)| *name).collect();
    for name in names {
        for value in [true, false] {
            assert!(found.contains(&(name, value)), "{name} is never {value}");
        }
    }
}
