//! How Raft's core reaches the other nodes of the group: openraft's network over calls to peers.
//!
//! Every call has a deadline of our own: openraft enforces none on appends. What fits beside votes
//! goes over the control lane; entries with many bytes and snapshots over the bulk lane. Without
//! peers, in a group that has one voter, every call answers that nobody can be reached.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::codec::CodecError;
use super::message::{self, Request};
use super::types::{MetadataRaft, Snapshot, Vote};
use crate::peers::{CallError, Lane, Message, Peers, ServiceId};
use crate::types::ReplicaId;

/// Requests up to this go over the control lane.
const CONTROL_BYTES_MAX: usize = 64 << 10;
/// A follower that has not synced entries by then gets them again.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// A vote is of no use for longer than an election lasts.
const VOTE_TIMEOUT: Duration = Duration::from_millis(800);
/// A snapshot of the largest size, over a slow line and to a slow disk.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Makes a client for each target.
#[derive(Debug, Clone)]
pub(crate) struct Network(pub(crate) Option<Peers>);

/// One other node.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    peers: Option<Peers>,
    replica: ReplicaId,
}

impl RaftNetworkFactory<MetadataRaft> for Network {
    type Network = Target;

    async fn new_client(&mut self, replica: ReplicaId, _node: &()) -> Target {
        Target { peers: self.0.clone(), replica }
    }
}

/// Sends a request to a node of the group.
pub(crate) async fn ask(
    peers: &Peers,
    to: ReplicaId,
    request: &Request,
    timeout: Duration,
) -> Result<Bytes, CallError> {
    let message: Message = request.encode(to);
    let bytes = message.iter().map(Bytes::len).sum::<usize>();
    let lane = if bytes <= CONTROL_BYTES_MAX { Lane::Control } else { Lane::Bulk };
    peers.call(to.broker_id, ServiceId::METADATA, lane, message, timeout).await
}

impl Target {
    async fn ask<T>(
        &self,
        request: Request,
        timeout: Duration,
        decode: impl FnOnce(Bytes) -> Result<T, CodecError>,
    ) -> Result<T, RPCError<MetadataRaft>> {
        let Some(peers) = &self.peers else {
            let why = format!("this node knows no peers, so not {} either", self.replica);
            return Err(RPCError::Unreachable(Unreachable::from_string(why)));
        };
        let answer = ask(peers, self.replica, &request, timeout).await.map_err(|error| {
            match error {
                // May be tried again soon; the others rest first.
                CallError::Lost(_) | CallError::TimedOut(_) => {
                    RPCError::Network(NetworkError::new(&error))
                }
                CallError::UnknownPeer(_)
                | CallError::Unreachable(_)
                | CallError::TooLarge { .. }
                | CallError::Refused(_)
                | CallError::Closed => RPCError::Unreachable(Unreachable::new(&error)),
            }
        })?;
        decode(answer).map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
    }
}

impl RaftNetworkV2<MetadataRaft> for Target {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<MetadataRaft>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        let timeout = if rpc.entries.is_empty() { option.hard_ttl() } else { APPEND_TIMEOUT };
        self.ask(Request::Append(rpc), timeout, message::get_appended).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        self.ask(Request::Vote(rpc), VOTE_TIMEOUT, message::get_voted).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<VoteResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        self.ask(Request::PreVote(rpc), VOTE_TIMEOUT, message::get_voted).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<MetadataRaft>, StreamingError<MetadataRaft>> {
        let request = Request::Snapshot(vote, snapshot);
        let sending = self.ask(request, SNAPSHOT_TIMEOUT, message::get_installed);
        // Cancelled, the other side may install it nevertheless.
        let sent = tokio::select! {
            sent = sending => sent,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        sent.map_err(|error| match error {
            RPCError::Timeout(error) => StreamingError::Timeout(error),
            RPCError::Unreachable(error) => StreamingError::Unreachable(error),
            RPCError::Network(error) => StreamingError::Network(error),
            RPCError::RemoteError(error) => StreamingError::Unreachable(Unreachable::new(&error)),
        })
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<MetadataRaft>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<MetadataRaft>, RPCError<MetadataRaft>> {
        self.ask(Request::Transfer(request), VOTE_TIMEOUT, message::get_transferred).await
    }
}
