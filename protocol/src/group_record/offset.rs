//! The value of a committed offset: the versions that were ever written, and which of them is written.
//! It must give the bytes that Kafka gives, since tools and brokers of others read them.

use std::sync::Arc;

use uuid::Uuid;

use super::{new_value, set_form, text};
use crate::wire::{Form, Reader, WireError};

/// The version that is written, unless the topic's id is known.
const WRITTEN_VERSION: i16 = 3;
/// The only version with the topic's id, and the only flexible one. Apache Kafka 4.3 writes it; programs
/// that read the log themselves, such as the Burrow that Debian has, know nothing of it.
const TOPIC_ID_VERSION: i16 = 4;
/// The only version with an expiry, and without an epoch: as Kafka does it.
const EXPIRING_VERSION: i16 = 1;
/// Tag of the topic's id.
const TOPIC_ID: u32 = 0;

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
    /// The incarnation of the topic that was read, if it is known.
    pub topic_id: Option<Uuid>,
}

pub(super) fn decode_offset(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<CommittedOffset, WireError> {
    set_form(fields, version)?;
    let offset = fields.i64("the offset")?;
    let leader_epoch = if version >= 3 { fields.i32("the leader epoch")? } else { -1 };
    let metadata = text(fields, "the metadata")?;
    let committed_at = fields.i64("the time of the commit")?;
    let expires_at =
        if version == EXPIRING_VERSION { Some(fields.i64("the time of expiry")?) } else { None };
    let mut topic_id = None;
    fields.tags(|tag, bytes| {
        if tag == TOPIC_ID {
            topic_id = Some(Reader::new(bytes, Form::Plain).uuid("the topic's id")?);
        }
        Ok(())
    })?;
    let topic_id = topic_id.filter(|id| !id.is_nil());
    let expires_at = expires_at.filter(|at| *at >= 0);
    Ok(CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at, topic_id })
}

pub(super) fn encode_offset(value: &CommittedOffset) -> Vec<u8> {
    if let Some(expires_at) = value.expires_at {
        let mut out = new_value(EXPIRING_VERSION, Form::Plain);
        out.i64(value.offset);
        out.string(&value.metadata);
        out.i64(value.committed_at);
        out.i64(expires_at);
        return out.into_bytes();
    }
    let (version, form) = match value.topic_id {
        Some(_) => (TOPIC_ID_VERSION, Form::Flexible),
        None => (WRITTEN_VERSION, Form::Plain),
    };
    let mut out = new_value(version, form);
    out.i64(value.offset);
    out.i32(value.leader_epoch);
    out.string(&value.metadata);
    out.i64(value.committed_at);
    let topic_id = value.topic_id.map(|id| (TOPIC_ID, id.as_bytes().to_vec()));
    out.tags(topic_id.as_slice());
    out.into_bytes()
}
