//! The network of a group with one voter: there is nobody to talk to.
//!
//! With one voter Raft sends nothing, so none of this is called until the group can grow. Every call
//! answers that the peer cannot be reached; in particular a pre-vote is refused, where openraft's
//! default would grant it.

use std::future::Future;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use super::types::{MetadataRaft, Snapshot, Vote};
use crate::types::ReplicaId;

/// Knows no peers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoPeers;

/// A peer that this node does not know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnknownPeer(ReplicaId);

impl UnknownPeer {
    fn unreachable(self) -> Unreachable<MetadataRaft> {
        Unreachable::from_string(format!("this node knows no peers, so not {} either", self.0))
    }
}

impl RaftNetworkFactory<MetadataRaft> for NoPeers {
    type Network = UnknownPeer;

    async fn new_client(&mut self, target: ReplicaId, _node: &()) -> UnknownPeer {
        UnknownPeer(target)
    }
}

impl RaftNetworkV2<MetadataRaft> for UnknownPeer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<MetadataRaft>, StreamingError<MetadataRaft>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
