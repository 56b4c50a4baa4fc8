//! The types that openraft is told to use for the metadata group, and their short names.
//!
//! Nothing of this leaves the crate.

use std::fmt;

use bytes::Bytes;
use openraft::RaftTypeConfig;

use crate::types::ReplicaId;

/// The bytes of a command. Prints only its length: a command may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Bytes);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// openraft's configuration of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetadataRaft;

impl RaftTypeConfig for MetadataRaft {
    type D = Command;
    type R = Bytes;
    type NodeId = ReplicaId;
    /// Addresses come from the metadata itself, not from Raft's membership.
    type Node = ();
    type Term = u64;
    /// One leader for each term, as in the Raft paper; the alternative allows several.
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, ReplicaId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Command, ReplicaId, ()>;
    type Entry = openraft::impls::Entry<CommittedLeaderId, Self::Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<MetadataRaft>;
pub(crate) type Entry = openraft::alias::EntryOf<MetadataRaft>;
pub(crate) type EntryPayload = openraft::alias::PayloadOf<MetadataRaft>;
pub(crate) type LogId = openraft::alias::LogIdOf<MetadataRaft>;
pub(crate) type Membership = openraft::Membership<ReplicaId, ()>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<MetadataRaft, Bytes>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<MetadataRaft>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<MetadataRaft>;
pub(crate) type Vote = openraft::alias::VoteOf<MetadataRaft>;
