//! Records of `__consumer_offsets`, as Apache Kafka 4 writes them: what a group coordinator remembers.
//!
//! ```text
//! key    ├ i16 type ┼ fields of that type ────────────┤   lengths of two bytes, whatever the type
//! value  ├ i16 version ┼ fields of that version ──────┤   none: forget what the key names
//!
//! type  key                             value, by the version that is written
//!  0,1  group, topic, partition       3    a committed offset; 1 with an expiry, 4 with the topic's id (0 to 4 are read)
//!    2  group                           3  a classic group's generation (0 to 4 are read)
//!    3  group                           0  a consumer group's epoch (KIP-848)
//!    5  group, member                   0  what a member has told
//!    6  group                           0  the epoch of the target assignment
//!    7  group, member                   0  a member's target
//!    8  group, member                   0  what a member owns, and must give up
//!   16  group, regular expression       0  the topics that it matches
//! ```
//! Types that are not listed (share groups, streams groups, what Kafka 4.1 no longer writes) are left
//! alone. The versions are those that Kafka 4.3 writes, but for commits, of which it writes version 4.

mod classic;
mod consumer;
mod offset;

use std::sync::Arc;

use crate::wire::{Form, Reader, WireError, Writer};

use classic::{decode_generation, encode_generation};
use consumer::{
    decode_current, decode_group, decode_member, decode_regex, decode_target, decode_target_epoch,
    encode_current, encode_group, encode_member, encode_regex, encode_target, encode_target_epoch,
};
use offset::{decode_offset, encode_offset};

// One name for a record's parts: which file has them is no business of who reads and writes them.
pub use classic::{ClassicGeneration, ClassicMember};
pub use consumer::{
    ClassicMetadata, ClassicProtocol, ConsumerGroup, CurrentAssignment, Member, OwnedPartition,
    OwnedPartitions, ResolvedRegex, TargetEpoch, TopicPartitions,
};
pub use offset::CommittedOffset;

const OFFSET_OLD: i16 = 0;
const OFFSET: i16 = 1;
const CLASSIC_GROUP: i16 = 2;
const CONSUMER_GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// Of the values of [`OFFSET`] and [`CLASSIC_GROUP`] the first version, and the last, in the flexible form.
const FLEXIBLE_SINCE: i16 = 4;
/// The only version of the other values, in the flexible form.
const ONLY_VERSION: i16 = 0;

/// One record. A value of `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord {
    /// What a group has committed for a partition.
    Offset(OffsetKey, Option<CommittedOffset>),
    /// A generation of a group of the classic protocol.
    ClassicGroup(Arc<str>, Option<ClassicGeneration>),
    /// A group of the consumer protocol.
    ConsumerGroup(Arc<str>, Option<ConsumerGroup>),
    /// A member of such a group.
    Member(MemberKey, Option<Member>),
    /// The epoch for which such a group's target assignment was computed.
    TargetEpoch(Arc<str>, Option<TargetEpoch>),
    /// A member's target assignment.
    Target(MemberKey, Option<Vec<TopicPartitions>>),
    /// What a member has now.
    Current(MemberKey, Option<CurrentAssignment>),
    /// What a group's regular expression matches.
    Regex(RegexKey, Option<ResolvedRegex>),
}

/// Which partition of which group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetKey {
    /// The group.
    pub group: Arc<str>,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index.
    pub partition: i32,
}

/// Which member of which group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    /// The group.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: Arc<str>,
}

/// Which regular expression of which group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegexKey {
    /// The group.
    pub group: Arc<str>,
    /// The expression, in RE2's dialect.
    pub expression: Arc<str>,
}

impl GroupRecord {
    /// Reads a record; `None` for a type that is not this coordinator's.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, WireError> {
        let mut fields = Reader::new(key, Form::Plain);
        let record = match fields.i16("the type")? {
            OFFSET_OLD | OFFSET => {
                let key = OffsetKey {
                    group: text(&mut fields, "the group")?,
                    topic: text(&mut fields, "the topic")?,
                    partition: fields.i32("the partition")?,
                };
                Self::Offset(key, read(value, decode_offset)?)
            }
            CLASSIC_GROUP => {
                Self::ClassicGroup(text(&mut fields, "the group")?, read(value, decode_generation)?)
            }
            CONSUMER_GROUP => {
                Self::ConsumerGroup(text(&mut fields, "the group")?, read(value, decode_group)?)
            }
            MEMBER => Self::Member(member_key(&mut fields)?, read(value, decode_member)?),
            TARGET_EPOCH => Self::TargetEpoch(
                text(&mut fields, "the group")?,
                read(value, decode_target_epoch)?,
            ),
            TARGET => Self::Target(member_key(&mut fields)?, read(value, decode_target)?),
            CURRENT => Self::Current(member_key(&mut fields)?, read(value, decode_current)?),
            REGEX => {
                let key = RegexKey {
                    group: text(&mut fields, "the group")?,
                    expression: text(&mut fields, "the expression")?,
                };
                Self::Regex(key, read(value, decode_regex)?)
            }
            _ => return Ok(None),
        };
        fields.end()?;
        Ok(Some(record))
    }

    /// The key as it stands in the log.
    ///
    /// # Panics
    /// On an id of more than 32,767 bytes, which no request can carry.
    #[must_use]
    pub fn encode_key(&self) -> Vec<u8> {
        let mut out = Writer::new(Form::Plain);
        match self {
            Self::Offset(key, _) => {
                out.i16(OFFSET);
                out.string(&key.group);
                out.string(&key.topic);
                out.i32(key.partition);
            }
            Self::ClassicGroup(group, _) => group_key(&mut out, CLASSIC_GROUP, group),
            Self::ConsumerGroup(group, _) => group_key(&mut out, CONSUMER_GROUP, group),
            Self::TargetEpoch(group, _) => group_key(&mut out, TARGET_EPOCH, group),
            Self::Member(key, _) => pair_key(&mut out, MEMBER, &key.group, &key.member_id),
            Self::Target(key, _) => pair_key(&mut out, TARGET, &key.group, &key.member_id),
            Self::Current(key, _) => pair_key(&mut out, CURRENT, &key.group, &key.member_id),
            Self::Regex(key, _) => pair_key(&mut out, REGEX, &key.group, &key.expression),
        }
        out.into_bytes()
    }

    /// The value as it stands in the log; `None` is a tombstone.
    #[must_use]
    pub fn encode_value(&self) -> Option<Vec<u8>> {
        match self {
            Self::Offset(_, value) => value.as_ref().map(encode_offset),
            Self::ClassicGroup(_, value) => value.as_ref().map(encode_generation),
            Self::ConsumerGroup(_, value) => value.as_ref().map(encode_group),
            Self::Member(_, value) => value.as_ref().map(encode_member),
            Self::TargetEpoch(_, value) => value.as_ref().map(encode_target_epoch),
            Self::Target(_, value) => value.as_ref().map(|target| encode_target(target)),
            Self::Current(_, value) => value.as_ref().map(encode_current),
            Self::Regex(_, value) => value.as_ref().map(encode_regex),
        }
    }

    /// The group that it is about.
    #[must_use]
    pub const fn group(&self) -> &Arc<str> {
        match self {
            Self::Offset(OffsetKey { group, .. }, _)
            | Self::ClassicGroup(group, _)
            | Self::ConsumerGroup(group, _)
            | Self::TargetEpoch(group, _)
            | Self::Member(MemberKey { group, .. }, _)
            | Self::Target(MemberKey { group, .. }, _)
            | Self::Current(MemberKey { group, .. }, _)
            | Self::Regex(RegexKey { group, .. }, _) => group,
        }
    }
}

fn text(fields: &mut Reader<'_>, what: &'static str) -> Result<Arc<str>, WireError> {
    fields.string(what).map(Arc::from)
}

fn nullable_text(
    fields: &mut Reader<'_>,
    what: &'static str,
) -> Result<Option<Arc<str>>, WireError> {
    Ok(fields.nullable_string(what)?.map(Arc::from))
}

fn member_key(fields: &mut Reader<'_>) -> Result<MemberKey, WireError> {
    let group = text(fields, "the group")?;
    Ok(MemberKey { group, member_id: text(fields, "the member")? })
}

fn group_key(out: &mut Writer, record_type: i16, group: &str) {
    out.i16(record_type);
    out.string(group);
}

fn pair_key(out: &mut Writer, record_type: i16, group: &str, second: &str) {
    group_key(out, record_type, group);
    out.string(second);
}

/// Reads a value's version, then the rest of it by `decode`, to its end.
fn read<'a, T>(
    value: Option<&'a [u8]>,
    decode: impl FnOnce(&mut Reader<'a>, i16) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    let Some(value) = value else { return Ok(None) };
    let mut fields = Reader::new(value, Form::Plain);
    let version = fields.i16("the version")?;
    let decoded = decode(&mut fields, version)?;
    fields.end()?;
    Ok(Some(decoded))
}

/// For the two values that have versions.
fn set_form(fields: &mut Reader<'_>, version: i16) -> Result<(), WireError> {
    match version {
        0..FLEXIBLE_SINCE => Ok(()),
        FLEXIBLE_SINCE => {
            fields.set_form(Form::Flexible);
            Ok(())
        }
        _ => Err(WireError::Unknown("the version", version)),
    }
}

/// For the values that have one version.
fn only_version(fields: &mut Reader<'_>, version: i16) -> Result<(), WireError> {
    if version != ONLY_VERSION {
        return Err(WireError::Unknown("the version", version));
    }
    fields.set_form(Form::Flexible);
    Ok(())
}

fn new_value(version: i16, form: Form) -> Writer {
    let mut out = Writer::new(form);
    out.i16(version);
    out
}

fn no_tags(fields: &mut Reader<'_>) -> Result<(), WireError> {
    fields.tags(|_, _| Ok(()))
}

#[cfg(test)]
mod tests;
