//! The way of a proposal: to the core here if this node leads, to the leader otherwise.
//!
//! What a leader refused had no effect and is tried again, at whoever leads next, until the deadline.
//! What may have had an effect is never tried again: a command is not always the same when it is
//! applied twice, and only its proposer knows.

use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::message::{Proposed, Request};
use super::network::ask;
use super::types::{Command, MetadataRaft};
use super::{COMMAND_BYTES_MAX, Inner, JOURNAL_BYTES_MAX, ProposeError, ReplicatedState};
use crate::types::ReplicaId;

/// A proposal in a group of several voters has its answer by then.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(15);
/// The rest after a refused try: leaders change, and a new one takes nothing for a moment.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(100);

type Written = Result<
    Result<
        ClientWriteResponse<MetadataRaft>,
        RaftError<MetadataRaft, ClientWriteError<MetadataRaft>>,
    >,
    JoinError,
>;

impl ReplicatedState {
    /// Proposes a command; answers with what [`StateMachine::apply`](super::StateMachine::apply)
    /// returned, after it is durable at a majority and applied here. Any number of proposals may wait
    /// at once: they share their syncs. A follower sends the command on to the leader.
    ///
    /// A dropped future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { command_bytes: command.len() });
        }
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        let mut rest = RETRY_FIRST;
        loop {
            self.health().map_err(ProposeError::Stopped)?;
            let proposed = match self.inner.leader_elsewhere() {
                Some(leader) => self.inner.propose_at(leader, &command, deadline).await,
                None => self.inner.propose_here(command.clone(), deadline).await,
            };
            match proposed {
                Proposed::Applied { answer, .. } => return Ok(answer),
                Proposed::Unknown(why) => return Err(ProposeError::Unknown(why)),
                Proposed::NotLeader(hint) => {
                    if Instant::now() + rest >= deadline {
                        return Err(ProposeError::NotLeader(hint));
                    }
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

impl Inner {
    /// The leader, if it is another node that can be asked.
    fn leader_elsewhere(&self) -> Option<ReplicaId> {
        let leader = self.raft.metrics().borrow_watched().current_leader;
        leader.filter(|leader| *leader != self.me && self.peers.is_some())
    }

    /// Proposes to the core of this node.
    pub(super) async fn propose_here(&self, command: Bytes, deadline: Instant) -> Proposed {
        // On a task: a call into openraft that is given up while its core ends breaks later calls.
        let raft = self.raft.clone();
        let writing = tokio::spawn(async move { raft.client_write(Command(command)).await });
        let written = if self.is_alone() {
            // Nobody else could take it, and a full disk is waited out.
            writing.await
        } else {
            match tokio::time::timeout_at(deadline, writing).await {
                Ok(written) => written,
                Err(_elapsed) => return Proposed::Unknown("no majority answered".to_owned()),
            }
        };
        let proposed = self.outcome(written).await;
        self.bound_journal().await;
        proposed
    }

    async fn outcome(&self, written: Written) -> Proposed {
        match written {
            Ok(Ok(applied)) => {
                Proposed::Applied { index: applied.log_id().index(), answer: applied.data }
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                if to.leader_id.is_none_or(|leader| leader == self.me) {
                    // A leader whose lease is over leads again when a majority has answered.
                    self.renew_lease().await;
                }
                Proposed::NotLeader(to.leader_id.map(|id| id.broker_id))
            }
            Ok(Err(RaftError::APIError(error))) => Proposed::Unknown(error.to_string()),
            Ok(Err(RaftError::Fatal(error))) => {
                // The core has ended; whoever proposes next shall know, even before its end is noted.
                let cause = self.ended.get_or_init(|| error.to_string()).clone();
                Proposed::Unknown(self.health().err().unwrap_or(cause))
            }
            Err(error) => Proposed::Unknown(error.to_string()),
        }
    }

    /// Proposes at another node and waits until it is applied here, too.
    async fn propose_at(&self, leader: ReplicaId, command: &Bytes, deadline: Instant) -> Proposed {
        let Some(peers) = &self.peers else { return Proposed::NotLeader(None) };
        let request = Request::Propose(command.clone());
        let left = deadline.saturating_duration_since(Instant::now());
        let answered = match ask(peers, leader, &request, left).await {
            Ok(answer) => Proposed::decode(answer),
            Err(error) if error.had_no_effect() => {
                return Proposed::NotLeader(Some(leader.broker_id));
            }
            Err(error) => return Proposed::Unknown(error.to_string()),
        };
        match answered {
            Ok(Proposed::Applied { index, answer }) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let wait = self.raft.wait(Some(left));
                let applied = wait.applied_index_at_least(Some(index), "it is applied here").await;
                match applied {
                    Ok(_) => Proposed::Applied { index, answer },
                    Err(error) => Proposed::Unknown(error.to_string()),
                }
            }
            Ok(refused) => refused,
            Err(error) => Proposed::Unknown(error.to_string()),
        }
    }

    /// Makes a snapshot due when the journal has grown large.
    pub(super) async fn bound_journal(&self) {
        if self.journal.bytes() > JOURNAL_BYTES_MAX {
            // Does nothing while one is being built. If the core has ended, the next proposal says so.
            let raft = self.raft.clone();
            on_task(async move { drop(raft.trigger().snapshot().await) }).await;
        }
    }

    /// Asks a majority whether this node still leads.
    pub(super) async fn renew_lease(&self) {
        let raft = self.raft.clone();
        on_task(async move { drop(raft.trigger().heartbeat().await) }).await;
    }

    /// When a proposal that comes from another node must be answered.
    pub(super) fn proposal_deadline() -> Instant {
        Instant::now() + PROPOSE_TIMEOUT
    }
}

/// Runs a call into openraft where nobody can give it up.
async fn on_task(call: impl Future<Output = ()> + Send + 'static) {
    // A panic of the call is one of openraft's; whoever calls next finds the core ended.
    drop(tokio::spawn(call).await);
}
