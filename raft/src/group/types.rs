//! The types that openraft is told to use for a partition's group, and their short names.
//!
//! Nothing of this leaves the crate. An entry that holds records is named by what the log holds of
//! it: a proposal carries no bytes, because its batch is staged in the log already.

use std::fmt;
use std::io;
use std::sync::Arc;

use openraft::entry::RaftPayload;
use openraft::raft::responder::Responder;
use openraft::{OptionalSend, RaftTypeConfig};
use protocol::types::{LeaderEpoch, Offset};
use storage::log::entries::EntryBatch;

use crate::types::ReplicaId;

/// openraft's configuration of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionRaft;

impl RaftTypeConfig for PartitionRaft {
    type D = Proposal;
    type R = ();
    type NodeId = ReplicaId;
    /// Addresses come from the metadata, not from Raft's membership.
    type Node = ();
    type Term = u64;
    /// One leader for each term, as in the Raft paper; the alternative allows several.
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, ReplicaId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = Payload;
    type Entry = openraft::impls::Entry<CommittedLeaderId, Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<PartitionRaft>;
pub(crate) type Entry = openraft::alias::EntryOf<PartitionRaft>;
pub(crate) type LogId = openraft::alias::LogIdOf<PartitionRaft>;
pub(crate) type Membership = openraft::Membership<ReplicaId, ()>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<PartitionRaft, bytes::Bytes>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<PartitionRaft>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<PartitionRaft>;
pub(crate) type Vote = openraft::alias::VoteOf<PartitionRaft>;

/// What a leader asks its group to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proposal {
    /// The batch that is staged at this offset.
    Staged(Offset),
    /// Everything below this offset is unreadable from now on.
    Trim(Offset),
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staged(base_offset) => write!(f, "the staged batch at {base_offset}"),
            Self::Trim(to) => write!(f, "trim to {to}"),
        }
    }
}

/// What an entry holds.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Nothing: it begins a leader's term.
    Blank,
    /// Who takes part from here on.
    Membership(Membership),
    /// Everything below this offset is unreadable from here on.
    Trim(Offset),
    /// Nothing: it stands where a batch was refused that was proposed behind one that was refused.
    Void,
    /// The batch that is staged here at this offset. Only on its way into the log.
    Staged(Offset),
    /// A batch with its bytes.
    Batch(EntryBatch),
    /// A batch of which only the place in the log was asked for. Never on its way anywhere.
    Records,
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(f, "blank"),
            Self::Membership(membership) => write!(f, "membership {membership}"),
            Self::Trim(to) => Proposal::Trim(*to).fmt(f),
            Self::Void => write!(f, "void"),
            Self::Staged(base_offset) => Proposal::Staged(*base_offset).fmt(f),
            Self::Batch(batch) => write!(f, "batch at {}", batch.header.base_offset),
            Self::Records => write!(f, "a batch"),
        }
    }
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = ReplicaId;
    type Node = ();

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, proposal: Proposal) -> Self {
        match proposal {
            Proposal::Staged(base_offset) => Self::Staged(base_offset),
            Proposal::Trim(to) => Self::Trim(to),
        }
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self::Membership(membership)
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Self::Membership(membership) => Some(membership.clone()),
            Self::Blank
            | Self::Trim(_)
            | Self::Void
            | Self::Staged(_)
            | Self::Batch(_)
            | Self::Records => None,
        }
    }
}

/// Hands what became of a proposal to a function, which all proposals of one proposer share.
pub(crate) struct Answer<T>(pub(crate) Arc<dyn Fn(T) + Send + Sync>);

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: OptionalSend + 'static> Responder<PartitionRaft, T> for Answer<T> {
    fn on_complete(self, outcome: T) {
        (self.0)(outcome);
    }
}

/// The term of a leader epoch in a log.
pub(crate) fn term_of(leader_epoch: LeaderEpoch) -> io::Result<u64> {
    u64::try_from(leader_epoch.get()).map_err(|_negative| {
        let what = format!("the leader epoch {leader_epoch} in a replicated log");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// The leader epoch that clients see of a term.
pub(crate) fn epoch_of(term: u64) -> io::Result<LeaderEpoch> {
    let epoch = i32::try_from(term).map(LeaderEpoch::new);
    epoch.map_err(|_beyond| io::Error::other(format!("the term {term} exceeds a leader epoch")))
}

/// A log id of an entry as the log names it.
pub(crate) fn log_id(leader_epoch: LeaderEpoch, index: u64) -> io::Result<LogId> {
    Ok(LogId::new(CommittedLeaderId::new(term_of(leader_epoch)?), index))
}
