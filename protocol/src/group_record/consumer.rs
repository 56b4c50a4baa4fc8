//! The values of a consumer group (KIP-848): epochs, members, what is meant for them and what they own,
//! what regular expressions match. All have one version, flexible, and leave out tagged fields at their
//! defaults, as Kafka does.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{ONLY_VERSION, new_value, no_tags, nullable_text, only_version, text};
use crate::wire::{Form, Reader, WireError, Writer};

/// A consumer group as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// Rises when members, subscriptions or topics change.
    pub epoch: i32,
    /// Over the partitions of all subscribed topics (KIP-1101); 0 if it is not known.
    pub metadata_hash: i64,
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
    /// Of a member that speaks the classic protocol, what it joined with.
    pub classic: Option<ClassicMetadata>,
}

/// What a member of a consumer group that speaks the classic protocol has told beyond the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// The protocols that it supports, the one that it likes best first.
    pub protocols: Vec<ClassicProtocol>,
}

impl ClassicMetadata {
    /// What a record means that has none.
    const UNTOLD: Self = Self { session_timeout_ms: 0, protocols: Vec::new() };
}

/// A protocol that a classic member supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicProtocol {
    /// The assignor.
    pub name: Arc<str>,
    /// The member's metadata for it.
    pub metadata: Bytes,
}

/// See [`GroupRecord::TargetEpoch`](super::GroupRecord::TargetEpoch).
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

/// Partitions of one topic that a member owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// Each with the epoch since which the member has it.
    pub partitions: Vec<OwnedPartition>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedPartition {
    /// Index.
    pub partition: i32,
    /// The member epoch with which it was given: commits of an earlier one are refused (KIP-1251).
    pub since_epoch: i32,
}

/// See [`GroupRecord::Current`](super::GroupRecord::Current).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The epoch that the member must send.
    pub member_epoch: i32,
    /// The one before, from a member that missed the answer.
    pub previous_epoch: i32,
    /// Kafka's number of the member's state: stable 0, unrevoked partitions 1, unreleased ones 2.
    pub state: i8,
    /// What it owns.
    pub assigned: Vec<OwnedPartitions>,
    /// What it owns and must give up.
    pub pending_revocation: Vec<OwnedPartitions>,
}

/// See [`GroupRecord::Regex`](super::GroupRecord::Regex).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// The topics that match.
    pub topics: Vec<Arc<str>>,
    /// Of the metadata that was searched.
    pub version: i64,
    /// When; milliseconds since 1970.
    pub resolved_at: i64,
}

pub(super) fn decode_group(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<ConsumerGroup, WireError> {
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

pub(super) fn encode_group(value: &ConsumerGroup) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.i32(value.epoch);
    let hash = (value.metadata_hash != 0).then(|| (0, value.metadata_hash.to_be_bytes().to_vec()));
    out.tags(hash.as_slice());
    out.into_bytes()
}

pub(super) fn decode_member(fields: &mut Reader<'_>, version: i16) -> Result<Member, WireError> {
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
        classic: Some(ClassicMetadata::UNTOLD),
    };
    fields.tags(|tag, bytes| {
        if tag == 0 {
            member.classic = decode_classic(bytes)?;
        }
        Ok(())
    })?;
    Ok(member)
}

/// A nullable struct in a tag begins with 1, or is 0 for null, other than outside of tags.
fn decode_classic(bytes: &[u8]) -> Result<Option<ClassicMetadata>, WireError> {
    let mut fields = Reader::new(bytes, Form::Flexible);
    if fields.i8("the classic metadata")? == 0 {
        fields.end()?;
        return Ok(None);
    }
    let session_timeout_ms = fields.i32("the session timeout")?;
    let protocols = fields.list("the classic protocols", |fields| {
        let name = text(fields, "a protocol")?;
        let metadata = Bytes::copy_from_slice(fields.bytes("a protocol's metadata")?);
        no_tags(fields)?;
        Ok(ClassicProtocol { name, metadata })
    })?;
    no_tags(&mut fields)?;
    fields.end()?;
    Ok(Some(ClassicMetadata { session_timeout_ms, protocols }))
}

pub(super) fn encode_member(value: &Member) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.nullable_string(value.instance_id.as_deref());
    out.nullable_string(value.rack_id.as_deref());
    out.string(&value.client_id);
    out.string(&value.client_host);
    out.list(&value.topics, |out, topic| out.string(topic));
    out.nullable_string(value.topics_regex.as_deref());
    out.i32(value.rebalance_timeout_ms);
    out.nullable_string(value.assignor.as_deref());
    let told = value.classic != Some(ClassicMetadata::UNTOLD);
    let classic = told.then(|| (0, encode_classic(value.classic.as_ref())));
    out.tags(classic.as_slice());
    out.into_bytes()
}

/// Null must be told: a reader takes a tag that is missing for an empty struct, and so the member for
/// one that speaks the classic protocol.
fn encode_classic(classic: Option<&ClassicMetadata>) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    let Some(classic) = classic else {
        out.i8(0);
        return out.into_bytes();
    };
    out.i8(1);
    out.i32(classic.session_timeout_ms);
    out.list(&classic.protocols, |out, protocol| {
        out.string(&protocol.name);
        out.bytes(&protocol.metadata);
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}

pub(super) fn decode_target_epoch(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<TargetEpoch, WireError> {
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

pub(super) fn encode_target_epoch(value: &TargetEpoch) -> Vec<u8> {
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

pub(super) fn decode_target(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<Vec<TopicPartitions>, WireError> {
    only_version(fields, version)?;
    let topics = decode_topics(fields, "the target")?;
    no_tags(fields)?;
    Ok(topics)
}

pub(super) fn encode_target(value: &[TopicPartitions]) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    encode_topics(&mut out, value);
    out.tags(&[]);
    out.into_bytes()
}

pub(super) fn decode_current(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<CurrentAssignment, WireError> {
    only_version(fields, version)?;
    let member_epoch = fields.i32("the member's epoch")?;
    let current = CurrentAssignment {
        member_epoch,
        previous_epoch: fields.i32("the epoch before")?,
        state: fields.i8("the member's state")?,
        assigned: decode_owned(fields, member_epoch, "the assignment")?,
        pending_revocation: decode_owned(fields, member_epoch, "what is to be revoked")?,
    };
    no_tags(fields)?;
    Ok(current)
}

/// Where no epochs stand, or not one for each partition, as before KIP-1251, the member's counts.
fn decode_owned(
    fields: &mut Reader<'_>,
    member_epoch: i32,
    what: &'static str,
) -> Result<Vec<OwnedPartitions>, WireError> {
    fields.list(what, |fields| {
        let topic_id = fields.uuid("a topic's id")?;
        let partitions = fields.list("partitions", |fields| fields.i32("a partition"))?;
        let mut epochs = Vec::new();
        fields.tags(|tag, bytes| {
            if tag == 0 {
                epochs = decode_epochs(bytes)?;
            }
            Ok(())
        })?;
        if epochs.len() != partitions.len() {
            epochs = vec![member_epoch.max(0); partitions.len()];
        }
        let owned = partitions.into_iter().zip(epochs);
        let owned = owned.map(|(partition, since_epoch)| OwnedPartition { partition, since_epoch });
        Ok(OwnedPartitions { topic_id, partitions: owned.collect() })
    })
}

fn decode_epochs(bytes: &[u8]) -> Result<Vec<i32>, WireError> {
    const NULL: &[u8] = &[0];
    if bytes == NULL {
        return Ok(Vec::new());
    }
    let mut fields = Reader::new(bytes, Form::Flexible);
    let epochs = fields.list("the epochs", |fields| fields.i32("an epoch"))?;
    fields.end()?;
    Ok(epochs)
}

fn encode_owned(out: &mut Writer, topics: &[OwnedPartitions]) {
    out.list(topics, |out, topic| {
        out.uuid(topic.topic_id);
        out.list(&topic.partitions, |out, owned| out.i32(owned.partition));
        let mut epochs = Writer::new(Form::Flexible);
        epochs.list(&topic.partitions, |out, owned| out.i32(owned.since_epoch));
        out.tags(&[(0, epochs.into_bytes())]);
    });
}

pub(super) fn encode_current(value: &CurrentAssignment) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.i32(value.member_epoch);
    out.i32(value.previous_epoch);
    out.i8(value.state);
    encode_owned(&mut out, &value.assigned);
    encode_owned(&mut out, &value.pending_revocation);
    out.tags(&[]);
    out.into_bytes()
}

pub(super) fn decode_regex(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<ResolvedRegex, WireError> {
    only_version(fields, version)?;
    let resolved = ResolvedRegex {
        topics: fields.list("the topics", |fields| text(fields, "a topic"))?,
        version: fields.i64("the metadata's version")?,
        resolved_at: fields.i64("the time of the search")?,
    };
    no_tags(fields)?;
    Ok(resolved)
}

pub(super) fn encode_regex(value: &ResolvedRegex) -> Vec<u8> {
    let mut out = new_value(ONLY_VERSION, Form::Flexible);
    out.list(&value.topics, |out, topic| out.string(topic));
    out.i64(value.version);
    out.i64(value.resolved_at);
    out.tags(&[]);
    out.into_bytes()
}
