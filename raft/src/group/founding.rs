//! How a new group begins: every replica by itself, with the same first entry.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use protocol::types::{LeaderEpoch, Timestamp};
use storage::log::Log;

use super::raft_only;
use super::types::{Membership, Payload, StoredMembership, log_id};
use crate::types::{GroupId, ReplicaId};
use crate::votes::Votes;

/// The membership with which every replica of a group begins, in the same bytes: so each of them may
/// campaign, also if the others never hear of the one that was to be the first leader.
pub(super) fn first_membership(voters: &[ReplicaId]) -> io::Result<StoredMembership> {
    let ids = voters.iter().copied().collect::<BTreeSet<_>>();
    let members = ids.iter().map(|id| (*id, ())).collect::<BTreeMap<_, _>>();
    let membership = Membership::new(vec![ids], members).map_err(io::Error::other)?;
    Ok(StoredMembership::new(Some(log_id(LeaderEpoch::ZERO, 0)?), membership))
}

/// Begins an empty log with the first membership, as openraft's `initialize` would on one replica.
pub(super) fn begin(
    id: GroupId,
    log: &Log,
    votes: &Votes,
    first: &StoredMembership,
    now: Timestamp,
) -> io::Result<()> {
    if log.entry_bounds().last.is_some() {
        return Ok(());
    }
    let noted = votes.remembered(id).progress;
    if noted.is_some_and(|progress| progress.applied.index() > 0) {
        // To vote and to follow from nothing would break what this disk has promised.
        let what = format!("{id}: the log is empty, and had entries on this disk");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let payload = Payload::Membership(first.membership().clone());
    let entry = raft_only::encode(&payload, log.pointers().log_end_offset, LeaderEpoch::ZERO);
    let entry = entry.expect("a membership is an entry without records");
    log.append_entries(vec![entry], false, now).map_err(io::Error::other)
}
