//! What a replica answers to the others of its group.

use bytes::Bytes;
use openraft::entry::RaftEntry;

use super::Group;
use super::codec::{self, Request};
use super::types::Payload;
use crate::peers::{Caller, Message};

impl Group {
    /// Answers a request that is for this replica. Runs to its end, whatever becomes of the caller.
    pub(crate) async fn answer(&self, from: &Caller, request: Request) -> Result<Message, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        match request {
            Request::Append(rpc) => {
                if self.is_fenced(from.replica.broker_id) {
                    return Err("another leader is being elected".to_owned());
                }
                self.admit(&rpc)?;
                let answer = self.raft.append_entries(rpc).await.map_err(|e| failed(&e))?;
                Ok(codec::encode_append_answer(&answer))
            }
            // A replica that was taken away and comes back with nothing must not help one that has
            // not heard of that: it votes when its own log says that it may.
            Request::Vote(_) | Request::PreVote(_) if !self.is_voter() => {
                Err("this replica has no vote".to_owned())
            }
            Request::Vote(rpc) => {
                let answer = self.raft.vote(rpc).await.map_err(|e| failed(&e))?;
                Ok(codec::encode_vote_answer(&answer))
            }
            Request::PreVote(rpc) => {
                let answer = self.raft.pre_vote(rpc).await.map_err(|e| failed(&e))?;
                Ok(codec::encode_vote_answer(&answer))
            }
            Request::Transfer(rpc) => {
                let answer = self.raft.handle_transfer_leader(rpc).await;
                Ok(codec::encode_transfer_answer(&answer.map_err(|e| failed(&e))?))
            }
            Request::Snapshot { vote, snapshot } => {
                if self.is_fenced(from.replica.broker_id) {
                    return Err("another leader is being elected".to_owned());
                }
                let answer = self.raft.install_full_snapshot(vote, snapshot).await;
                Ok(codec::encode_snapshot_answer(&answer.map_err(|e| failed(&e))?.vote))
            }
        }
    }

    /// The one place where a follower may say that it has no room: what Raft has taken the log takes.
    fn admit(&self, rpc: &codec::AppendRequest) -> Result<(), String> {
        let bytes = rpc.entries.iter().map(|entry| match &entry.payload {
            Payload::Batch(batch) => batch.body.len(),
            _ => 0,
        });
        let bytes = bytes.sum::<usize>();
        if bytes == 0 {
            return Ok(());
        }
        self.state.log.admit_entries(bytes).map_err(|error| {
            let first = rpc.entries.first().map(RaftEntry::log_id);
            format!("entries from {first:?} have no room: {error}")
        })
    }
}

/// Which kinds of requests there are is the codec's business.
pub(crate) fn decode(
    me: protocol::types::BrokerId,
    request: Bytes,
) -> Result<(codec::Recipient, Request), String> {
    codec::decode_request(me, request).map_err(|error| error.to_string())
}
