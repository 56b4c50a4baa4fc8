//! The value of a classic group: its generation with all members, in the versions that were ever
//! written. It must give the bytes that Kafka gives, and look into nothing that members exchange.

use std::sync::Arc;

use bytes::Bytes;

use super::{new_value, no_tags, nullable_text, set_form, text};
use crate::wire::{Form, Reader, WireError};

/// The version that is written.
const WRITTEN_VERSION: i16 = 3;

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

pub(super) fn decode_generation(
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

pub(super) fn encode_generation(value: &ClassicGeneration) -> Vec<u8> {
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
