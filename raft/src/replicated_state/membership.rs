//! Who belongs to the group: voters, whose majority decides, and learners, who only follow.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::{ChangeMembers, Raft, RaftMetrics};
use protocol::types::BrokerId;
use tokio::time::Instant;

use super::opening::CAUGHT_UP_ENTRIES;
use super::state_machine::AppliedState;
use super::types::MetadataRaft;
use super::{Inner, ReplicatedState};
use crate::types::ReplicaId;

/// Each step of a change is committed by then.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// A new voter has caught up by then, or stays a learner.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);
/// The rest after a try that a leader refused because its lease was over.
const RETRY: Duration = Duration::from_millis(10);

/// The members of the group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Whose majority decides.
    pub voters: BTreeSet<ReplicaId>,
    /// Who follow and do not vote.
    pub learners: BTreeSet<ReplicaId>,
}

/// Why the members are not as they were asked to be. The change may have been made in part: asked for
/// again it is completed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeMembersError {
    /// This node does not lead the group, or not any longer.
    #[error("this node does not lead the metadata group")]
    NotLeader(Option<BrokerId>),
    /// New voters, learners by now, do not get to the end of the log.
    #[error("{0:?} did not catch up within {CATCH_UP_TIMEOUT:?}")]
    NotCaughtUp(BTreeSet<ReplicaId>),
    /// Another change is under way, or this one cannot be made.
    #[error("the change was refused: {0}")]
    Refused(String),
    /// It may have been made or not.
    #[error("the outcome of the change is unknown: {0}")]
    Unknown(String),
    /// The group stopped for good.
    #[error("the metadata group has stopped: {0}")]
    Stopped(String),
}

type Change = ChangeMembers<ReplicaId, ()>;

impl ReplicatedState {
    /// The members, as far as this node's log tells.
    #[must_use]
    pub fn members(&self) -> Members {
        self.inner.members()
    }

    /// Makes these the members. New ones become learners first, and voters when they have caught up.
    /// Only the leader can do this. Idempotent; a dropped future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ChangeMembersError`].
    pub async fn change_members(
        &self,
        voters: BTreeSet<ReplicaId>,
        learners: BTreeSet<ReplicaId>,
    ) -> Result<(), ChangeMembersError> {
        if voters.is_empty() {
            return Err(ChangeMembersError::Refused("a group needs a voter".to_owned()));
        }
        let learners = learners.difference(&voters).copied().collect::<BTreeSet<_>>();
        self.inner.leads()?;
        let now = self.inner.members();
        let wanted = voters.union(&learners).copied().collect::<BTreeSet<_>>();

        let unwanted = now.learners.difference(&wanted).copied().collect::<BTreeSet<_>>();
        if !unwanted.is_empty() {
            self.inner.change(ChangeMembers::RemoveNodes(unwanted), true).await?;
        }
        let known = now.voters.union(&now.learners).copied().collect::<BTreeSet<_>>();
        let new = wanted.difference(&known).map(|replica| (*replica, ()));
        let new = new.collect::<std::collections::BTreeMap<_, _>>();
        if !new.is_empty() {
            self.inner.change(ChangeMembers::AddNodes(new), true).await?;
        }
        self.inner.caught_up(voters.difference(&now.voters).copied().collect()).await?;

        // Asked for also where nothing changes in name: a change that ended half-way is completed.
        let removed = now.voters.difference(&voters).copied().collect::<BTreeSet<_>>();
        let retain = !removed.is_disjoint(&learners);
        if now.voters != voters || self.inner.is_between_two() {
            self.inner.change(ChangeMembers::ReplaceAllVoters(voters), retain).await?;
        }
        let left = removed.difference(&learners).copied().collect::<BTreeSet<_>>();
        if retain && !left.is_empty() {
            self.inner.change(ChangeMembers::RemoveNodes(left), true).await?;
        }
        Ok(())
    }
}

impl Inner {
    pub(super) fn members(&self) -> Members {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters = membership.voter_ids().collect::<BTreeSet<_>>();
        let learners = membership.learner_ids().filter(|id| !voters.contains(id)).collect();
        Members { voters, learners }
    }

    /// Whether this node is the whole group.
    pub(super) fn is_alone(&self) -> bool {
        let Members { voters, learners } = self.members();
        learners.is_empty() && voters.len() == 1 && voters.contains(&self.me)
    }

    /// Whether a change of voters was begun and not completed.
    fn is_between_two(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().len() > 1
    }

    fn leads(&self) -> Result<(), ChangeMembersError> {
        self.health().map_err(ChangeMembersError::Stopped)?;
        match self.leader_now() {
            Some(leader) if leader == self.me => Ok(()),
            other => Err(ChangeMembersError::NotLeader(other.map(|leader| leader.broker_id))),
        }
    }

    /// Makes one change, and waits until it is committed.
    async fn change(&self, change: Change, retain: bool) -> Result<(), ChangeMembersError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let changing =
                tokio::spawn(change_membership(self.raft.clone(), change.clone(), retain));
            let changed = tokio::time::timeout_at(deadline, changing).await;
            let changed = changed
                .map_err(|_elapsed| ChangeMembersError::Unknown("no majority answered".to_owned()))?
                .map_err(|error| ChangeMembersError::Unknown(error.to_string()))?;
            match changed {
                Ok(()) => return Ok(()),
                Err(RaftError::Fatal(error)) => {
                    return Err(ChangeMembersError::Stopped(error.to_string()));
                }
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                    // Its own lease may be over for the moment.
                    if self.leads().is_ok() && Instant::now() + RETRY < deadline {
                        self.renew_lease().await;
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                    let leader = to.leader_id.map(|leader| leader.broker_id);
                    return Err(ChangeMembersError::NotLeader(leader));
                }
                Err(RaftError::APIError(error @ ClientWriteError::LogEntryDiscarded(_))) => {
                    return Err(ChangeMembersError::Unknown(error.to_string()));
                }
                Err(RaftError::APIError(error)) => {
                    return Err(ChangeMembersError::Refused(error.to_string()));
                }
            }
        }
    }

    /// Waits until these have nearly the whole log.
    async fn caught_up(&self, new: BTreeSet<ReplicaId>) -> Result<(), ChangeMembersError> {
        let lacking = |metrics: &RaftMetrics<MetadataRaft>| {
            let has = |replica: &ReplicaId| {
                let matched = metrics.replication.as_ref().and_then(|all| all.get(replica))?;
                let (matched, last) = (matched.as_ref()?.index(), metrics.last_log_index?);
                Some(last.saturating_sub(matched) <= CAUGHT_UP_ENTRIES)
            };
            let lacking = new.iter().filter(|replica| has(replica) != Some(true));
            lacking.copied().collect::<BTreeSet<_>>()
        };
        let done = |metrics: &RaftMetrics<MetadataRaft>| {
            !metrics.state.is_leader() || lacking(metrics).is_empty()
        };
        let wait = self.raft.wait(Some(CATCH_UP_TIMEOUT));
        let waited = wait.metrics(done, "new voters have caught up").await;
        self.leads()?;
        waited.map(drop).map_err(|_error| {
            ChangeMembersError::NotCaughtUp(lacking(&self.raft.metrics().borrow_watched()))
        })
    }
}

async fn change_membership(
    raft: Raft<MetadataRaft, AppliedState>,
    change: Change,
    retain: bool,
) -> Result<(), RaftError<MetadataRaft, ClientWriteError<MetadataRaft>>> {
    raft.change_membership(change, retain).await.map(drop)
}

/// Hands leadership to the voter that is furthest, if there is another one, so that a stop does not
/// look like a failure. Best effort.
pub(super) async fn hand_over(
    inner: &Inner,
    may_lead: impl Fn(BrokerId) -> bool,
) -> Result<(), Fatal<MetadataRaft>> {
    let metrics = inner.raft.metrics().borrow_watched().clone();
    let voters = inner.members().voters;
    let Some(peers) = inner.peers.as_ref().filter(|_| metrics.state.is_leader()) else {
        return Ok(());
    };
    let health = peers.health().borrow().clone();
    let is_up = |id: &ReplicaId| {
        health.get(&id.broker_id) == Some(&crate::peers::Health::Up) && may_lead(id.broker_id)
    };
    let replication = metrics.replication.unwrap_or_default();
    let heirs = replication.into_iter().filter(|(id, _)| voters.contains(id) && is_up(id));
    let rank = |(id, matched): &(ReplicaId, _)| {
        (peers.is_fit(id.broker_id), *matched, std::cmp::Reverse(*id))
    };
    let Some((heir, _)) = heirs.max_by_key(rank) else { return Ok(()) };
    inner.raft.trigger().transfer_leader(heir).await?;
    let wait = inner.raft.wait(Some(HAND_OVER_PATIENCE));
    let led = |metrics: &RaftMetrics<MetadataRaft>| {
        metrics.current_leader.is_some_and(|leader| leader != inner.me)
    };
    if wait.metrics(led, "another node leads").await.is_err() {
        tracing::info!(%heir, "leadership of the metadata group was not taken over in time");
    }
    Ok(())
}

/// How long a stop waits for its heir.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);
