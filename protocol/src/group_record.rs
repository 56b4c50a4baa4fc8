//! Records of `__consumer_offsets`, as Apache Kafka 4 writes them: what a group coordinator remembers.
//!
//! ```text
//! key    ├ i16 type ┼ fields of that type ────────────┤   lengths of two bytes, whatever the type
//! value  ├ i16 version ┼ fields of that version ──────┤   none: forget what the key names
//!
//! type  key                             value, by the version that is written
//!  0,1  group, topic, partition         3  a committed offset (0 to 4 are read)
//!    2  group                           3  a classic group's generation (0 to 4 are read)
//!    3  group                           0  a consumer group's epoch (KIP-848)
//!    5  group, member                   0  what a member has told
//!    6  group                           0  the epoch of the target assignment
//!    7  group, member                   0  a member's target
//!    8  group, member                   0  what a member owns, and must give up
//!   16  group, regular expression       0  the topics that it matches
//! ```
//! Types that are not listed (share groups, streams groups, what Kafka 4.1 no longer writes) are left
//! alone. Versions 3 of the first two are what Kafka writes too: 4 cannot be read by what came before
//! KIP-915.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::wire::{Form, Reader, WireError, Writer};

const OFFSET_OLD: i16 = 0;
const OFFSET: i16 = 1;
const CLASSIC_GROUP: i16 = 2;
const CONSUMER_GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// Version of the values of [`OFFSET`] and [`CLASSIC_GROUP`] that is written.
const WRITTEN_VERSION: i16 = 3;
/// The first of them, and their last, in the flexible form.
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

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to be consumed.
    pub offset: i64,
    /// Epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Arc<str>,
    /// Milliseconds since 1970.
    pub committed_at: i64,
    /// Milliseconds since 1970; only clients before Kafka 2.1 ask for it.
    pub expires_at: Option<i64>,
}

/// What a classic group agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicGeneration {
    /// `consumer`, `connect` or whatever the members call themselves.
    pub protocol_type: Arc<str>,
    /// The generation's number.
    pub generation: i32,
    /// The assignor that all members have; `None` in a group without members.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Option<Arc<str>>,
    /// When the group came into its state; milliseconds since 1970, or -1.
    pub state_since: i64,
    /// The members with their assignments.
    pub members: Vec<ClassicMember>,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static id (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata for the group's protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// A consumer group as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// Rises when members, subscriptions or topics change.
    pub epoch: i32,
    /// Over the partitions of all subscribed topics (KIP-1101); 0 if it is not known.
    pub metadata_hash: i64,
}

/// Which member of which group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    /// The group.
    pub group: Arc<str>,
    /// The member's id.
    pub member_id: Arc<str>,
}

/// What a member of a consumer group has told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
    /// Its rack.
    pub rack_id: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it is.
    pub client_host: Arc<str>,
    /// The topics that it names.
    pub topics: Vec<Arc<str>>,
    /// The expression that names more.
    pub topics_regex: Option<Arc<str>>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants.
    pub assignor: Option<Arc<str>>,
    /// The protocols of a member that speaks the classic protocol.
    pub classic: Option<Vec<ClassicProtocol>>,
}

/// A protocol that a classic member supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicProtocol {
    /// The assignor.
    pub name: Arc<str>,
    /// The member's metadata for it.
    pub metadata: Bytes,
}

/// See [`GroupRecord::TargetEpoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch that the target is for.
    pub epoch: i32,
    /// When it was computed (KIP-1263); milliseconds since 1970, 0 if it is not known.
    pub computed_at: i64,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Indexes.
    pub partitions: Vec<i32>,
}

/// See [`GroupRecord::Current`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch that the member must send.
    pub member_epoch: i32,
    /// The one before, from a member that missed the answer.
    pub previous_epoch: i32,
    /// Kafka's number of the member's state: stable 0, unrevoked partitions 1, unreleased ones 2.
    pub state: i8,
    /// What it owns.
    pub assigned: Vec<TopicPartitions>,
    /// What it owns and must give up.
    pub pending_revocation: Vec<TopicPartitions>,
}

/// Which regular expression of which group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegexKey {
    /// The group.
    pub group: Arc<str>,
    /// The expression, in RE2's dialect.
    pub expression: Arc<str>,
}

/// See [`GroupRecord::Regex`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// The topics that match.
    pub topics: Vec<Arc<str>>,
    /// Of the metadata that was searched.
    pub version: i64,
    /// When; milliseconds since 1970.
    pub resolved_at: i64,
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
            TARGET_EPOCH => {
                Self::TargetEpoch(text(&mut fields, "the group")?, read(value, decode_target_epoch)?)
            }
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

fn decode_offset(fields: &mut Reader<'_>, version: i16) -> Result<CommittedOffset, WireError> {
    set_form(fields, version)?;
    let offset = fields.i64("the offset")?;
    let leader_epoch = if version >= 3 { fields.i32("the leader epoch")? } else { -1 };
    let metadata = text(fields, "the metadata")?;
    let committed_at = fields.i64("the time of the commit")?;
    let expires_at = if version == 1 { Some(fields.i64("the time of expiry")?) } else { None };
    no_tags(fields)?;
    let expires_at = expires_at.filter(|at| *at >= 0);
    Ok(CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at })
}

fn encode_offset(value: &CommittedOffset) -> Vec<u8> {
    // Only version 1 has the expiry, and it has no epoch: as Kafka does it.
    let version = if value.expires_at.is_some() { 1 } else { WRITTEN_VERSION };
    let mut out = new_value(version, Form::Plain);
    out.i64(value.offset);
    if version >= 3 {
        out.i32(value.leader_epoch);
    }
    out.string(&value.metadata);
    out.i64(value.committed_at);
    if let Some(expires_at) = value.expires_at {
        out.i64(expires_at);
    }
    out.into_bytes()
}

fn decode_generation(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<ClassicGeneration, WireError> {
    set_form(fields, version)?;
    let generation = ClassicGeneration {
        protocol_type: text(fields, "the protocol type")?,
        generation: fields.i32("the generation")?,
        protocol: nullable_text(fields, "the protocol")?,
        leader: nullable_text(fields, "the leader")?,
        state_since: if version >= 2 { fields.i64("the time of the state")? } else { -1 },
        members: fields.list("the members", |fields| decode_classic_member(fields, version))?,
    };
    no_tags(fields)?;
    Ok(generation)
}

fn decode_classic_member(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<ClassicMember, WireError> {
    let member_id = text(fields, "a member's id")?;
    let instance_id =
        if version >= 3 { nullable_text(fields, "a member's instance")? } else { None };
    let client_id = text(fields, "a member's client")?;
    let client_host = text(fields, "a member's host")?;
    let rebalance_timeout_ms =
        if version >= 1 { Some(fields.i32("a rebalance timeout")?) } else { None };
    let session_timeout_ms = fields.i32("a session timeout")?;
    let member = ClassicMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        // As Kafka reads what was written before there were two.
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription: Bytes::copy_from_slice(fields.bytes("a subscription")?),
        assignment: Bytes::copy_from_slice(fields.bytes("an assignment")?),
    };
    no_tags(fields)?;
    Ok(member)
}

fn encode_generation(value: &ClassicGeneration) -> Vec<u8> {
    let mut out = new_value(WRITTEN_VERSION, Form::Plain);
    out.string(&value.protocol_type);
    out.i32(value.generation);
    out.nullable_string(value.protocol.as_deref());
    out.nullable_string(value.leader.as_deref());
    out.i64(value.state_since);
    out.list(&value.members, |out, member| {
        out.string(&member.member_id);
        out.nullable_string(member.instance_id.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.i32(member.rebalance_timeout_ms);
        out.i32(member.session_timeout_ms);
        out.bytes(&member.subscription);
        out.bytes(&member.assignment);
    });
    out.into_bytes()
}

fn decode_group(fields: &mut Reader<'_>, version: i16) -> Result<ConsumerGroup, WireError> {
    only_version(fields, version)?;
    let epoch = fields.i32("the group's epoch")?;
    let mut metadata_hash = 0;
    fields.tags(|tag, bytes| {
        if tag == 0 {
            metadata_hash = Reader::new(bytes, Form::Plain).i64("the metadata's hash")?;
        }
        Ok(())
    })?;
    Ok(ConsumerGroup { epoch, metadata_hash })
}

fn encode_group(value: &ConsumerGroup) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.i32(value.epoch);
    let hash = (value.metadata_hash != 0).then(|| (0, value.metadata_hash.to_be_bytes().to_vec()));
    out.tags(hash.as_slice());
    out.into_bytes()
}

fn decode_member(fields: &mut Reader<'_>, version: i16) -> Result<Member, WireError> {
    only_version(fields, version)?;
    let mut member = Member {
        instance_id: nullable_text(fields, "the instance")?,
        rack_id: nullable_text(fields, "the rack")?,
        client_id: text(fields, "the client")?,
        client_host: text(fields, "the host")?,
        topics: fields.list("the topics", |fields| text(fields, "a topic"))?,
        topics_regex: nullable_text(fields, "the expression")?,
        rebalance_timeout_ms: fields.i32("the rebalance timeout")?,
        assignor: nullable_text(fields, "the assignor")?,
        classic: None,
    };
    fields.tags(|tag, bytes| {
        if tag == 0 {
            member.classic = decode_classic_protocols(bytes)?;
        }
        Ok(())
    })?;
    Ok(member)
}

/// A nullable struct in a tag: one byte says whether it is there.
fn decode_classic_protocols(bytes: &[u8]) -> Result<Option<Vec<ClassicProtocol>>, WireError> {
    let mut fields = Reader::new(bytes, Form::Flexible);
    if fields.i8("the classic protocols")? < 0 {
        return Ok(None);
    }
    let protocols = fields.list("the classic protocols", |fields| {
        let name = text(fields, "a protocol")?;
        let metadata = Bytes::copy_from_slice(fields.bytes("a protocol's metadata")?);
        no_tags(fields)?;
        Ok(ClassicProtocol { name, metadata })
    })?;
    no_tags(&mut fields)?;
    fields.end()?;
    Ok(Some(protocols))
}

fn encode_member(value: &Member) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.nullable_string(value.instance_id.as_deref());
    out.nullable_string(value.rack_id.as_deref());
    out.string(&value.client_id);
    out.string(&value.client_host);
    out.list(&value.topics, |out, topic| out.string(topic));
    out.nullable_string(value.topics_regex.as_deref());
    out.i32(value.rebalance_timeout_ms);
    out.nullable_string(value.assignor.as_deref());
    let classic = value.classic.as_ref().map(|protocols| (0, encode_classic_protocols(protocols)));
    out.tags(classic.as_slice());
    out.into_bytes()
}

fn encode_classic_protocols(protocols: &[ClassicProtocol]) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    out.i8(1);
    out.list(protocols, |out, protocol| {
        out.string(&protocol.name);
        out.bytes(&protocol.metadata);
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}

fn decode_target_epoch(fields: &mut Reader<'_>, version: i16) -> Result<TargetEpoch, WireError> {
    only_version(fields, version)?;
    let epoch = fields.i32("the target's epoch")?;
    let mut computed_at = 0;
    fields.tags(|tag, bytes| {
        if tag == 0 {
            computed_at = Reader::new(bytes, Form::Plain).i64("the target's time")?;
        }
        Ok(())
    })?;
    Ok(TargetEpoch { epoch, computed_at })
}

fn encode_target_epoch(value: &TargetEpoch) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.i32(value.epoch);
    let computed = (value.computed_at != 0).then(|| (0, value.computed_at.to_be_bytes().to_vec()));
    out.tags(computed.as_slice());
    out.into_bytes()
}

fn decode_topics(
    fields: &mut Reader<'_>,
    what: &'static str,
) -> Result<Vec<TopicPartitions>, WireError> {
    fields.list(what, |fields| {
        let topic_id = fields.uuid("a topic's id")?;
        let partitions = fields.list("partitions", |fields| fields.i32("a partition"))?;
        // Among them the epochs of KIP-1251, which are not kept.
        no_tags(fields)?;
        Ok(TopicPartitions { topic_id, partitions })
    })
}

fn encode_topics(out: &mut Writer, topics: &[TopicPartitions]) {
    out.list(topics, |out, topic| {
        out.uuid(topic.topic_id);
        out.list(&topic.partitions, |out, partition| out.i32(*partition));
        out.tags(&[]);
    });
}

fn decode_target(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<Vec<TopicPartitions>, WireError> {
    only_version(fields, version)?;
    let topics = decode_topics(fields, "the target")?;
    no_tags(fields)?;
    Ok(topics)
}

fn encode_target(value: &[TopicPartitions]) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    encode_topics(&mut out, value);
    out.tags(&[]);
    out.into_bytes()
}

fn decode_current(fields: &mut Reader<'_>, version: i16) -> Result<CurrentAssignment, WireError> {
    only_version(fields, version)?;
    let current = CurrentAssignment {
        member_epoch: fields.i32("the member's epoch")?,
        previous_epoch: fields.i32("the epoch before")?,
        state: fields.i8("the member's state")?,
        assigned: decode_topics(fields, "the assignment")?,
        pending_revocation: decode_topics(fields, "what is to be revoked")?,
    };
    no_tags(fields)?;
    Ok(current)
}

fn encode_current(value: &CurrentAssignment) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.i32(value.member_epoch);
    out.i32(value.previous_epoch);
    out.i8(value.state);
    encode_topics(&mut out, &value.assigned);
    encode_topics(&mut out, &value.pending_revocation);
    out.tags(&[]);
    out.into_bytes()
}

fn decode_regex(fields: &mut Reader<'_>, version: i16) -> Result<ResolvedRegex, WireError> {
    only_version(fields, version)?;
    let resolved = ResolvedRegex {
        topics: fields.list("the topics", |fields| text(fields, "a topic"))?,
        version: fields.i64("the metadata's version")?,
        resolved_at: fields.i64("the time of the search")?,
    };
    no_tags(fields)?;
    Ok(resolved)
}

fn encode_regex(value: &ResolvedRegex) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.list(&value.topics, |out, topic| out.string(topic));
    out.i64(value.version);
    out.i64(value.resolved_at);
    out.tags(&[]);
    out.into_bytes()
}

#[cfg(test)]
mod tests;
