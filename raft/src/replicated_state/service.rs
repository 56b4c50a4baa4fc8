//! What a node of the group answers the others.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;

use super::Inner;
use super::message::{
    self, Request, put_appended, put_installed, put_transferred, put_voted, put_yielded,
};
use crate::peers::{Caller, Message, Service};
use crate::replica::SeamFuture;

/// The service of the metadata group, as long as the group runs.
pub(super) struct Answers(pub(super) Weak<Inner>);

impl Service for Answers {
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>> {
        Box::pin(async move {
            let inner = self.0.upgrade().ok_or("the metadata group has stopped here")?;
            inner.health()?;
            let (meant, request) = Request::decode(request)
                .map_err(|error| format!("the request of {} is none: {error}", from.replica))?;
            if meant != inner.me {
                return Err(format!("{meant} is meant, and this is {}", inner.me));
            }
            inner.answer(request).await
        })
    }
}

impl Inner {
    /// Not cancelled: it runs on a task of the transport, to its end.
    async fn answer(&self, request: Request) -> Result<Message, String> {
        let raft = &self.raft;
        match request {
            Request::Append(request) => {
                if self.is_fenced(&request.vote) {
                    return Err("this node takes its leader for gone".to_owned());
                }
                let appended = raft.append_entries(request).await;
                let appended = appended.map_err(|error| error.to_string())?;
                self.bound_journal().await;
                Ok(put_appended(&appended))
            }
            Request::Vote(request) => {
                let voted = raft.vote(request).await.map_err(|error| error.to_string())?;
                Ok(put_voted(&voted))
            }
            Request::PreVote(request) => {
                let voted = raft.pre_vote(request).await.map_err(|error| error.to_string())?;
                Ok(put_voted(&voted))
            }
            Request::Snapshot(vote, snapshot) => {
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                Ok(put_installed(&installed.map_err(|error| error.to_string())?))
            }
            Request::Transfer(request) => {
                let transferred = raft.handle_transfer_leader(request).await;
                Ok(put_transferred(&transferred.map_err(|error| error.to_string())?))
            }
            Request::Propose(command) => self.answer_proposal(command).await,
            Request::Yield => self.give_way().await.map(put_yielded),
        }
    }

    /// Only the leader takes what is sent on: sent on again it could go round for ever.
    async fn answer_proposal(&self, command: Bytes) -> Result<Message, String> {
        let leader = self.raft.metrics().borrow_watched().current_leader;
        let proposed = if leader == Some(self.me) {
            self.propose_here(command, Self::proposal_deadline()).await
        } else {
            message::Proposed::NotLeader(leader.map(|leader| leader.broker_id))
        };
        Ok(proposed.encode())
    }
}
