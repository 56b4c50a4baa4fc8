//! Raft's own values as bytes, shared by the journal and the snapshot.
//!
//! ```text
//! all fields big-endian
//! log id      ├ u64 term ┼ u64 index ┤
//! optional x  ├ u8 0 ┤  or  ├ u8 1 ┼ x ┤
//! replica     ├ i32 broker id ┼ 16 bytes directory id ┤
//! vote        ├ u64 term ┼ replica ┼ u8 committed ┤
//! membership  ├ u16 configs ┼ (u16 voters ┼ replica…)… ┼ u16 members ┼ replica… ┤
//! entry       ├ log id ┼ u8 kind: 0 blank, 1 command, 2 membership ┼ payload to the end ┤
//! ```
//! Every decoder takes what it needs from the front and refuses a value that ends early or that
//! it does not know; whoever frames these values checks a CRC first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, TryGetError};
use openraft::entry::{RaftEntry, RaftPayload};
use protocol::types::BrokerId;
use uuid::Uuid;

use super::types::{Command, CommittedLeaderId, Entry, EntryPayload, LogId, Membership, Vote};
use crate::types::ReplicaId;

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Why bytes whose CRC is right are no value of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// It ends early.
    #[error("a value ends early: {0}")]
    Short(#[from] TryGetError),
    /// A tag that this version does not know.
    #[error("{what} has the unknown tag {tag}")]
    Tag {
        /// Whose.
        what: &'static str,
        /// The byte.
        tag: u8,
    },
    /// A length beyond the end.
    #[error("{0} is longer than what it stands in")]
    Long(&'static str),
    /// A membership that names a voter without listing it as a member.
    #[error("a membership is inconsistent: {0}")]
    Membership(String),
    /// A value that cannot be.
    #[error("{0}")]
    Value(String),
}

pub(crate) fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    out.put_u64(id.committed_leader_id().term);
    out.put_u64(id.index());
}

pub(crate) fn get_log_id(bytes: &mut Bytes) -> Result<LogId, CodecError> {
    let term = bytes.try_get_u64()?;
    Ok(LogId::new(CommittedLeaderId::new(term), bytes.try_get_u64()?))
}

pub(crate) fn put_optional_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

pub(crate) fn get_optional_log_id(bytes: &mut Bytes) -> Result<Option<LogId>, CodecError> {
    match bytes.try_get_u8()? {
        0 => Ok(None),
        1 => get_log_id(bytes).map(Some),
        tag => Err(CodecError::Tag { what: "an optional log id", tag }),
    }
}

pub(crate) fn put_replica(out: &mut Vec<u8>, replica: &ReplicaId) {
    out.put_i32(replica.broker_id.get());
    out.put_slice(replica.directory_id.as_bytes());
}

pub(crate) fn get_replica(bytes: &mut Bytes) -> Result<ReplicaId, CodecError> {
    let broker_id = BrokerId::new(bytes.try_get_i32()?);
    Ok(ReplicaId { broker_id, directory_id: Uuid::from_u128(bytes.try_get_u128()?) })
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.put_u64(vote.leader_id.term);
    put_replica(out, &vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

pub(crate) fn get_vote(bytes: &mut Bytes) -> Result<Vote, CodecError> {
    let term = bytes.try_get_u64()?;
    let replica = get_replica(bytes)?;
    match bytes.try_get_u8()? {
        0 => Ok(Vote::new(term, replica)),
        1 => Ok(Vote::new_committed(term, replica)),
        tag => Err(CodecError::Tag { what: "a vote", tag }),
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u16(u16::try_from(count).expect("a group has far fewer than 65,536 members"));
}

pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    put_count(out, membership.get_joint_config().len());
    for voters in membership.get_joint_config() {
        put_count(out, voters.len());
        voters.iter().for_each(|replica| put_replica(out, replica));
    }
    put_count(out, membership.nodes().count());
    membership.nodes().for_each(|(replica, ())| put_replica(out, replica));
}

fn get_replicas<T: FromIterator<ReplicaId>>(bytes: &mut Bytes) -> Result<T, CodecError> {
    let count = bytes.try_get_u16()?;
    (0..count).map(|_| get_replica(bytes)).collect()
}

pub(crate) fn get_membership(bytes: &mut Bytes) -> Result<Membership, CodecError> {
    let configs = bytes.try_get_u16()?;
    let configs = (0..configs).map(|_| get_replicas(bytes)).collect::<Result<Vec<_>, _>>()?;
    let members: BTreeSet<ReplicaId> = get_replicas(bytes)?;
    if configs.is_empty() {
        return Ok(Membership::default());
    }
    let members: BTreeMap<_, _> = members.into_iter().map(|replica| (replica, ())).collect();
    Membership::new(configs, members).map_err(|error| CodecError::Membership(error.to_string()))
}

pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    if let Some(command) = put_entry_head(out, entry) {
        out.put_slice(command);
    }
}

/// Puts what stands before the command of an entry, or all of one that has none; returns the command.
pub(crate) fn put_entry_head<'e>(out: &mut Vec<u8>, entry: &'e Entry) -> Option<&'e Bytes> {
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {
            out.put_u8(BLANK);
            None
        }
        EntryPayload::Normal(Command(bytes)) => {
            out.put_u8(COMMAND);
            Some(bytes)
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(MEMBERSHIP);
            put_membership(out, membership);
            None
        }
    }
}

/// Decodes an entry; a command shares the bytes it was read from.
pub(crate) fn get_entry(mut bytes: Bytes) -> Result<Entry, CodecError> {
    let log_id = get_log_id(&mut bytes)?;
    let payload = match bytes.try_get_u8()? {
        BLANK => EntryPayload::blank(),
        COMMAND => EntryPayload::normal(Command(bytes)),
        MEMBERSHIP => EntryPayload::membership(get_membership(&mut bytes)?),
        tag => return Err(CodecError::Tag { what: "an entry", tag }),
    };
    Ok(Entry::new(log_id, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(broker: i32) -> ReplicaId {
        ReplicaId { broker_id: BrokerId::new(broker), directory_id: Uuid::from_u128(77) }
    }

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term), index)
    }

    #[test]
    fn what_is_put_is_got() {
        let joint = Membership::new(
            vec![BTreeSet::from([replica(1)]), BTreeSet::from([replica(1), replica(2)])],
            BTreeMap::from([(replica(1), ()), (replica(2), ()), (replica(3), ())]),
        );
        let payloads = [
            EntryPayload::blank(),
            EntryPayload::normal(Command(Bytes::from_static(b"create"))),
            EntryPayload::membership(joint.unwrap()),
            EntryPayload::membership(Membership::default()),
        ];
        for payload in payloads {
            let entry = Entry::new(log_id(3, 9), payload);
            let mut out = Vec::new();
            put_entry(&mut out, &entry);
            assert_eq!(get_entry(out.into()).unwrap(), entry);
        }
        for vote in [Vote::new(4, replica(-1)), Vote::new_committed(u64::MAX, replica(7))] {
            let mut out = Vec::new();
            put_vote(&mut out, &vote);
            assert_eq!(get_vote(&mut out.into()).unwrap(), vote);
        }
    }

    #[test]
    fn a_value_cut_anywhere_is_refused() {
        let members = BTreeMap::from([(replica(1), ())]);
        let membership = Membership::new(vec![BTreeSet::from([replica(1)])], members).unwrap();
        let mut out = Vec::new();
        put_entry(&mut out, &Entry::new(log_id(1, 0), EntryPayload::membership(membership)));
        for cut in 0..out.len() {
            assert!(get_entry(Bytes::copy_from_slice(&out[..cut])).is_err(), "cut at {cut}");
        }
        *out.last_mut().unwrap() ^= 1;
        assert!(matches!(get_entry(out.into()), Err(CodecError::Membership(_))));
    }
}
