//! How a replica of a group calls the others: openraft's network over [`Peers`].
//!
//! Deadlines are our own: openraft enforces none on a stream of entries. Entries take the lane for
//! data, everything else the one for what must not wait behind data. Every error counts as an
//! unreachable peer, so that openraft waits a little before it tries again.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::codec::{self, Recipient};
use super::types::{PartitionRaft, Snapshot, Vote};
use crate::peers::{Lane, Message, Peers, ServiceId};
use crate::types::{GroupId, ReplicaId};

/// An answer to entries comes after the follower's sync.
const ENTRIES_TIMEOUT: Duration = Duration::from_secs(10);
/// Heartbeats, votes and hand-overs.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(1);
/// A follower makes its log anew.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a caller for each of the other replicas.
pub(super) struct Network {
    pub(super) peers: Peers,
    pub(super) group: GroupId,
}

/// Calls one of the other replicas.
pub(super) struct Peer {
    peers: Peers,
    to: Recipient,
}

impl RaftNetworkFactory<PartitionRaft> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: ReplicaId, _node: &()) -> Peer {
        let to = Recipient { group: self.group, replica: target };
        Peer { peers: self.peers.clone(), to }
    }
}

type RpcError = RPCError<PartitionRaft>;

fn unreachable(error: &impl ToString) -> RpcError {
    RPCError::Unreachable(Unreachable::from_string(error.to_string()))
}

impl Peer {
    async fn call(
        &self,
        lane: Lane,
        request: Message,
        timeout: Duration,
    ) -> Result<Bytes, RpcError> {
        let broker = self.to.replica.broker_id;
        let answer = self.peers.call(broker, ServiceId::PARTITIONS, lane, request, timeout).await;
        answer.map_err(|error| unreachable(&error))
    }

    async fn ask_for_vote(
        &self,
        rpc: &VoteRequest<PartitionRaft>,
        is_pre_vote: bool,
    ) -> Result<VoteResponse<PartitionRaft>, RpcError> {
        let request = codec::encode_vote(self.to, rpc, is_pre_vote);
        let answer = self.call(Lane::Control, request, CONTROL_TIMEOUT).await?;
        codec::decode_vote_answer(answer).map_err(|error| unreachable(&error))
    }
}

impl RaftNetworkV2<PartitionRaft> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<PartitionRaft>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<PartitionRaft>, RpcError> {
        let (lane, timeout) = if rpc.entries.is_empty() {
            (Lane::Control, CONTROL_TIMEOUT)
        } else {
            (Lane::Bulk, ENTRIES_TIMEOUT)
        };
        let request = codec::encode_append(self.to, rpc).map_err(|error| unreachable(&error))?;
        let answer = self.call(lane, request, timeout).await?;
        codec::decode_append_answer(answer).map_err(|error| unreachable(&error))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<PartitionRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<PartitionRaft>, RpcError> {
        self.ask_for_vote(&rpc, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<PartitionRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<PartitionRaft>, RpcError> {
        self.ask_for_vote(&rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<PartitionRaft>, StreamingError<PartitionRaft>> {
        let request = codec::encode_snapshot(self.to, &vote, &snapshot);
        let calling = self.call(Lane::Bulk, request, SNAPSHOT_TIMEOUT);
        // Given up, it may be installed nevertheless: then it is not asked for again.
        let answer = tokio::select! {
            answer = calling => answer,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let decode =
            |answer| codec::decode_snapshot_answer(answer).map_err(|error| unreachable(&error));
        match answer.and_then(decode) {
            Ok(vote) => Ok(SnapshotResponse::new(vote)),
            Err(error) => {
                Err(StreamingError::Unreachable(Unreachable::from_string(error.to_string())))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<PartitionRaft>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<PartitionRaft>, RpcError> {
        let request = codec::encode_transfer(self.to, &rpc);
        let answer = self.call(Lane::Control, request, CONTROL_TIMEOUT).await?;
        codec::decode_transfer_answer(answer).map_err(|error| unreachable(&error))
    }
}
