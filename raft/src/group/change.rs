//! Changes who keeps a partition: new replicas learn first, and vote when they have the log; those
//! that are not wanted leave. The leader does it, step by step, and each step may be repeated: a
//! change that a crash left half done is completed by asking for it again, whoever leads then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use protocol::types::LogIndex;
use tokio::time::Instant;

use super::{Arc, Group, HAND_OVER_LAG_MAX, Proposal};
use crate::types::ReplicaId;

/// Each step of a change is committed by then.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// New replicas have the log by then, or the change is tried again.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why the replicas are not as they were asked to be. What was done of it stays; asked for again, it
/// goes on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The group is not open here, or not led from here (any more).
    #[error("the group is not led from here")]
    NotLeader,
    /// They lack too much of the log still.
    #[error("{0:?} have not caught up yet")]
    NotCaughtUp(BTreeSet<ReplicaId>),
    /// Raft did not make it, or not in time.
    #[error("the replicas were not changed: {0}")]
    Failed(String),
}

/// Who takes part, as this replica's log says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) voters: BTreeSet<ReplicaId>,
    pub(crate) learners: BTreeSet<ReplicaId>,
    /// Two sets of voters decide together, while one follows the other.
    pub(crate) is_joint: bool,
}

impl Group {
    pub(crate) fn members(&self) -> Members {
        let stored = self.raft.metrics().borrow_watched().membership_config.clone();
        let mut membership = stored.membership().clone();
        if membership.voter_ids().next().is_none() {
            // Raft's core has told nothing yet.
            membership = self.state.applied.lock().membership().membership().clone();
        }
        let voters: BTreeSet<_> = membership.voter_ids().collect();
        let learners = membership.learner_ids().filter(|id| !voters.contains(id)).collect();
        Members { voters, learners, is_joint: membership.get_joint_config().len() > 1 }
    }

    /// Makes these the replicas, the first of them preferred as leader. Returns when all of them know.
    pub(crate) async fn change_replicas(
        self: Arc<Self>,
        to: Vec<ReplicaId>,
    ) -> Result<(), ChangeError> {
        let wanted: BTreeSet<_> = to.iter().copied().collect();
        *self.preferred.lock() = to;
        self.check_leads()?;
        let now = self.members();
        let unwanted: BTreeSet<_> = now.learners.difference(&wanted).copied().collect();
        if !unwanted.is_empty() && !now.is_joint {
            self.change(ChangeMembers::RemoveNodes(unwanted)).await?;
        }
        let known: BTreeSet<_> = now.voters.union(&now.learners).copied().collect();
        let new: BTreeMap<_, _> = wanted.difference(&known).map(|id| (*id, ())).collect();
        if !new.is_empty() && !now.is_joint {
            self.tell_log_start().await?;
            self.change(ChangeMembers::AddNodes(new)).await?;
        }
        let joining = wanted.difference(&now.voters).copied().collect();
        self.caught_up(&joining, HAND_OVER_LAG_MAX, None).await?;
        let me = self.me();
        let mut voters = wanted.clone();
        if !wanted.contains(&me) {
            // The next leader is one of those that stay; it lets this one go.
            voters.insert(me);
        }
        if now.voters != voters || now.is_joint {
            self.change(ChangeMembers::ReplaceAllVoters(voters.clone())).await?;
        }
        let others = voters.iter().copied().filter(|id| *id != me).collect();
        let last =
            self.raft.metrics().borrow_watched().membership_config.log_id().map(|id| id.index());
        self.caught_up(&others, 0, last).await?;
        if wanted.contains(&me) {
            return Ok(());
        }
        let heir = self.voters().into_iter().find(|id| wanted.contains(id));
        if let Some(heir) = heir {
            self.caught_up(&BTreeSet::from([heir]), HAND_OVER_LAG_MAX, None).await?;
            self.hand_over(heir).await;
        }
        Err(ChangeError::NotLeader)
    }

    fn check_leads(&self) -> Result<(), ChangeError> {
        if self.leadership_now().is_local { Ok(()) } else { Err(ChangeError::NotLeader) }
    }

    /// Makes one change, and waits until it is committed. On a task of its own: it runs to its end.
    async fn change(
        self: &Arc<Self>,
        change: ChangeMembers<ReplicaId, ()>,
    ) -> Result<(), ChangeError> {
        let until = Instant::now() + STEP_TIMEOUT;
        loop {
            self.check_leads()?;
            let (group, change) = (Arc::clone(self), change.clone());
            let changing =
                tokio::spawn(async move { group.raft.change_membership(change, false).await });
            let failed = |why: &dyn std::fmt::Display| ChangeError::Failed(why.to_string());
            let changed = tokio::time::timeout_at(until, changing).await;
            match changed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))? {
                Ok(_committed) => return Ok(()),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))
                    if Instant::now() < until =>
                {
                    // Its lease may have run out while nobody wrote.
                    drop(self.raft.trigger().heartbeat().await);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// Replicas begin with what the log holds: that a part of it is not to be read is an entry.
    async fn tell_log_start(self: &Arc<Self>) -> Result<(), ChangeError> {
        let start = self.state.log.pointers().log_start_offset;
        let purged = self.state.bounds().purged;
        let log = Arc::clone(&self.state.log);
        let first = tokio::task::spawn_blocking(move || {
            purged.map(|purged| log.offset_after(LogIndex::new(purged.index.get()))).transpose()
        });
        let first = first.await.map_err(|error| ChangeError::Failed(error.to_string()))?;
        let first = first.map_err(|error| ChangeError::Failed(error.to_string()))?;
        if first.is_none_or(|first| first >= start) {
            return Ok(());
        }
        let group = Arc::clone(self);
        let trimmed =
            tokio::spawn(
                async move { group.raft.client_write(Proposal::Trim(start)).await.map(drop) },
            );
        let trimmed = trimmed.await.map_err(|error| ChangeError::Failed(error.to_string()))?;
        trimmed.map_err(|error| ChangeError::Failed(error.to_string()))
    }

    /// Waits until these have the log up to an entry, or up to nearly its end.
    async fn caught_up(
        &self,
        replicas: &BTreeSet<ReplicaId>,
        lag_max: u64,
        upto: Option<u64>,
    ) -> Result<(), ChangeError> {
        let until = Instant::now() + CATCH_UP_TIMEOUT;
        loop {
            let lacking: BTreeSet<_> = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let upto = upto.or(metrics.last_log_index).unwrap_or_default();
                let has = |id: &ReplicaId| {
                    let matched = metrics.replication.as_ref().and_then(|all| all.get(id).copied());
                    matched.flatten().is_some_and(|matched| matched.index() + lag_max >= upto)
                };
                replicas.iter().copied().filter(|id| *id != self.me() && !has(id)).collect()
            };
            if lacking.is_empty() {
                return Ok(());
            }
            self.check_leads()?;
            if Instant::now() >= until {
                return Err(ChangeError::NotCaughtUp(lacking));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
