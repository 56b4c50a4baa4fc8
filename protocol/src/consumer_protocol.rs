//! What consumers of the classic protocol put into JoinGroup and SyncGroup: subscriptions, and the
//! assignments that answer them. To the classic protocol both are opaque bytes; a group that mixes both
//! protocols reads and writes them.
//!
//! ```text
//! subscription  i16 version ┼ [topic] ┼ user data or null ┼ [topic, [i32 partition]] owned, since 1
//!                           ┼ i32 generation, since 2 ┼ rack or null, since 3
//! assignment    i16 version ┼ [topic, [i32 partition]] ┼ user data or null
//! ```
//! Lengths are plain: two bytes for strings, four for the rest. A version beyond the newest is read as
//! the newest, as Kafka does: what follows the known fields is left alone.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{Form, Reader, WireError, Writer};

/// The newest version that is known.
const VERSION_MAX: i16 = 3;

/// How many topics one of the two may name. An empty name takes two bytes here, and more in memory.
const TOPICS_MAX: usize = 100_000;

/// What a consumer wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Of the bytes; an assignment for this consumer is written in the same.
    pub version: i16,
    /// The topics that it names.
    pub topics: Vec<Arc<str>>,
    /// What it owns, as it says.
    pub owned: Vec<NamedPartitions>,
    /// Its rack.
    pub rack_id: Option<Arc<str>>,
}

/// What a consumer gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The partitions.
    pub partitions: Vec<NamedPartitions>,
    /// Whether an assignor of the clients' has put something of its own beside them.
    pub has_user_data: bool,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPartitions {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Indexes.
    pub partitions: Vec<i32>,
}

impl Subscription {
    /// Reads one.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut fields = Reader::new(bytes, Form::Plain);
        let version = decode_version(&mut fields)?;
        let topics = decode_topics(&mut fields, "the topics", |fields| {
            fields.string("a topic").map(Arc::from)
        })?;
        fields.nullable_bytes("the user data")?;
        let owned = if version >= 1 { decode_partitions(&mut fields)? } else { Vec::new() };
        if version >= 2 {
            fields.i32("the generation")?;
        }
        let rack_id = if version >= 3 { fields.nullable_string("the rack")? } else { None };
        Ok(Self { version, topics, owned, rack_id: rack_id.map(Arc::from) })
    }
}

impl Assignment {
    /// Reads one. No bytes at all are an assignment of nothing.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut fields = Reader::new(bytes, Form::Plain);
        decode_version(&mut fields)?;
        let partitions = decode_partitions(&mut fields)?;
        let user_data = fields.nullable_bytes("the user data")?;
        Ok(Self { partitions, has_user_data: user_data.is_some_and(|data| !data.is_empty()) })
    }

    /// Writes one without user data, in `version`: the consumer's own.
    #[must_use]
    pub fn encode(&self, version: i16) -> Bytes {
        let mut out = Writer::new(Form::Plain);
        out.i16(version.clamp(0, VERSION_MAX));
        out.list(&self.partitions, |out, named| {
            out.string(&named.topic);
            out.list(&named.partitions, |out, partition| out.i32(*partition));
        });
        out.null_bytes();
        out.into_bytes().into()
    }
}

fn decode_version(fields: &mut Reader<'_>) -> Result<i16, WireError> {
    match fields.i16("the version")? {
        version @ 0.. => Ok(version.min(VERSION_MAX)),
        version => Err(WireError::Unknown("the version", version)),
    }
}

fn decode_partitions(fields: &mut Reader<'_>) -> Result<Vec<NamedPartitions>, WireError> {
    decode_topics(fields, "the partitions", |fields| {
        let topic = fields.string("a topic")?.into();
        let partitions = fields.list("partitions", |fields| fields.i32("a partition"))?;
        Ok(NamedPartitions { topic, partitions })
    })
}

fn decode_topics<'a, T>(
    fields: &mut Reader<'a>,
    what: &'static str,
    topic: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut count = 0_i64;
    fields.list(what, |fields| {
        count += 1;
        if usize::try_from(count).is_ok_and(|count| count > TOPICS_MAX) {
            return Err(WireError::Length(what, count));
        }
        topic(fields)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(topic: &str, partitions: &[i32]) -> NamedPartitions {
        NamedPartitions { topic: Arc::from(topic), partitions: partitions.to_vec() }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    /// What the classes of kafka-clients 4.3.1 wrote, by version.
    const SUBSCRIPTIONS: [(i16, &str); 4] = [
        (0, "000000000002000161000262620000000107"),
        (1, "00010000000200016100026262000000010700000001000161000000020000000000000002"),
        (2, "0002000000020001610002626200000001070000000100016100000002000000000000000200000005"),
        (
            3,
            "0003000000020001610002626200000001070000000100016100000002000000000000000200000005\
             000172",
        ),
    ];
    const ASSIGNMENT: &str =
        "000100000002000161000000020000000000000002000262620000000100000001ffffffff";
    const WITH_USER_DATA: &str = "00030000000100016100000001000000000000000107";

    #[test]
    fn subscriptions_of_each_version_are_read() {
        for (version, hex) in SUBSCRIPTIONS {
            let expected = Subscription {
                version,
                topics: vec![Arc::from("a"), Arc::from("bb")],
                owned: if version >= 1 { vec![named("a", &[0, 2])] } else { vec![] },
                rack_id: (version >= 3).then(|| Arc::from("r")),
            };
            assert_eq!(Subscription::decode(&bytes(hex)), Ok(expected));
        }
        let newer = bytes(&SUBSCRIPTIONS[3].1.replacen("0003", "0009", 1));
        assert_eq!(Subscription::decode(&newer).unwrap().version, VERSION_MAX);
    }

    #[test]
    fn assignments_are_read_and_written() {
        let partitions = vec![named("a", &[0, 2]), named("bb", &[1])];
        let assignment = Assignment { partitions, has_user_data: false };
        assert_eq!(Assignment::decode(&bytes(ASSIGNMENT)), Ok(assignment.clone()));
        assert_eq!(assignment.encode(1), bytes(ASSIGNMENT));
        assert!(Assignment::decode(&bytes(WITH_USER_DATA)).unwrap().has_user_data);
        assert_eq!(Assignment::decode(&[]), Ok(Assignment::default()));
    }

    #[test]
    fn no_cut_is_taken_for_whole_and_what_follows_is_left_alone() {
        for (version, hex) in SUBSCRIPTIONS {
            let whole = bytes(hex);
            for end in 0..whole.len() {
                assert!(Subscription::decode(&whole[..end]).is_err(), "version {version}: {end}");
            }
            let mut longer = whole.clone();
            longer.extend(b"more");
            assert_eq!(Subscription::decode(&longer), Subscription::decode(&whole));
        }
        assert!(Assignment::decode(&bytes("ffff0000000000000000")).is_err());
        assert!(Assignment::decode(&bytes("00007fffffff")).is_err());
        let mut crowd = bytes("0000000186a1");
        crowd.resize(crowd.len() + 2 * (TOPICS_MAX + 1), 0);
        let refused = WireError::Length("the topics", 100_001);
        assert_eq!(Subscription::decode(&crowd), Err(refused));
    }
}
