//! The value of a committed offset: the versions that were ever written, and which of them is written.
//! It must give the bytes that Kafka gives, since tools and brokers of others read them.

use std::sync::Arc;

use super::{WRITTEN_VERSION, new_value, no_tags, set_form, text};
use crate::wire::{Form, Reader, WireError};

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

pub(super) fn decode_offset(
    fields: &mut Reader<'_>,
    version: i16,
) -> Result<CommittedOffset, WireError> {
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

pub(super) fn encode_offset(value: &CommittedOffset) -> Vec<u8> {
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
