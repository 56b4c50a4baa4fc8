//! Who leads next when the leader is gone, sooner than Raft's own timers would find out.
//!
//! A voter holds elections up for as long as it believes in its leader (the lease). So when the
//! detector says that the leader's broker is down, or nobody has led for a while, each voter gives
//! way: it lifts its own lease and takes nothing more from that leader. Each asks the others to do the
//! same, and for the ends of their logs; the one with the longest log, of equals the one with the
//! lowest id, campaigns, and begins with a pre-vote: one that is lost costs nothing, while a lost
//! election would block its term for seconds. All of this is about when an election begins; that it
//! elects one leader and loses nothing is Raft's.
//!
//! A leader whose disk is unfit hands over by itself, if it can; to voters that are fit one whose disk
//! hangs or has failed is as good as gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use protocol::types::BrokerId;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Inner;
use super::membership::hand_over;
use super::message::{Request, get_yielded};
use super::network::ask;
use super::types::{LogId, Vote};
use crate::fitness::Fitness;
use crate::peers::{Health, Peers};
use crate::types::ReplicaId;

/// A group without a leader waits this long for one before its voters ask each other.
const NOBODY_LEADS_PATIENCE: Duration = Duration::from_millis(300);
/// Tries in a row; then a rest.
const TRIES_MAX: u32 = 40;
const REST: Duration = Duration::from_secs(1);
/// A voter that has not given way by then is counted out of this try.
const YIELD_TIMEOUT: Duration = Duration::from_millis(150);
/// How long a try waits for the leader that it should make.
const ELECTION_PATIENCE: Duration = Duration::from_millis(100);
/// The others may find out a little later that the leader is gone.
const AGREE_PATIENCE: Duration = Duration::from_millis(10);

/// Nobody: openraft lifts the lease when leadership passes to any other node.
const SOMEBODY_ELSE: ReplicaId =
    ReplicaId { broker_id: BrokerId::new(-1), directory_id: Uuid::nil() };

/// How long entries of a leader are refused that is there and unfit.
const FENCE_MAX: Duration = Duration::from_secs(2);
/// How often a leader that is unfit tries to hand over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(1);

/// From whom nothing is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence {
    term: u64,
    leader: ReplicaId,
    since: Instant,
}

/// Watches the leader until the group ends.
pub(super) async fn watch(inner: Arc<Inner>, peers: Peers) {
    let mut closing = inner.closing.subscribe();
    let (mut health, mut leader) = (peers.health(), inner.leader.subscribe());
    let mut fitness = peers.fitness();
    let mut was_up = BTreeSet::new();
    while !*closing.borrow() {
        let seen = Arc::clone(&health.borrow_and_update());
        inner.wake_replication(&mut was_up, &seen).await;
        leader.borrow_and_update();
        fitness.borrow_and_update();
        let is_misplaced = inner.is_misplaced(&peers);
        if is_misplaced {
            inner.give_away(&peers).await;
        }
        let due = if inner.leader_is_gone(&peers) {
            true
        } else {
            let nobody_leads = inner.leader_now().is_none();
            tokio::select! {
                _ = closing.changed() => false,
                changed = health.changed() => {
                    if changed.is_err() { return }
                    false
                }
                _ = leader.changed() => false,
                changed = fitness.changed() => {
                    if changed.is_err() { return }
                    false
                }
                () = sleep(HAND_OVER_EVERY), if is_misplaced => false,
                () = sleep(NOBODY_LEADS_PATIENCE), if nobody_leads => true,
            }
        };
        if due && !inner.take_over(&peers).await {
            tokio::select! {
                _ = closing.changed() => {}
                _ = leader.changed() => {}
                () = sleep(REST) => {}
            }
        }
    }
}

impl Inner {
    pub(super) fn leader_now(&self) -> Option<ReplicaId> {
        self.raft.metrics().borrow_watched().current_leader
    }

    fn leader_is_gone(&self, peers: &Peers) -> bool {
        let leader = self.leader_now().filter(|leader| *leader != self.me);
        leader.is_some_and(|leader| {
            // Whoever is unfit itself would not make it better.
            health_of(peers, leader) == Some(Health::Down)
                || (has_no_disk(peers, leader) && peers.is_fit(self.me.broker_id))
        })
    }

    /// Whether this node leads and should not.
    fn is_misplaced(&self, peers: &Peers) -> bool {
        let fitness = peers.fitness_of(self.me.broker_id);
        self.leader_now() == Some(self.me) && !matches!(fitness, Fitness::Fit | Fitness::Recovering)
    }

    /// Hands over to a voter that is fit, if there is one.
    async fn give_away(&self, peers: &Peers) {
        tracing::info!("this node is unfit to lead the metadata group");
        if let Err(error) = hand_over(self, |broker| peers.is_fit(broker)).await {
            tracing::debug!(%error, "the metadata group's leadership stays");
        }
    }

    /// Whether somebody leads who may be there.
    fn is_led(&self, peers: &Peers) -> bool {
        self.leader_now().is_some() && !self.leader_is_gone(peers)
    }

    /// Tries to have a leader again; false if that has not succeeded and was not hopeless either.
    async fn take_over(&self, peers: &Peers) -> bool {
        for _ in 0..TRIES_MAX {
            if *self.closing.borrow() || self.is_led(peers) {
                return true;
            }
            let voters = self.members().voters;
            let hangs = peers.fitness_of(self.me.broker_id) == Fitness::Hanging;
            if hangs || !voters.contains(&self.me) {
                return false;
            }
            let Ok(mine) = self.give_way().await else { return self.is_led(peers) };
            let gone = self.leader_now();
            let may_vote = |voter: &ReplicaId| {
                *voter != self.me
                    && Some(*voter) != gone
                    && peers.fitness_of(voter.broker_id) != Fitness::Hanging
            };
            let others = voters.iter().filter(|voter| may_vote(voter));
            let asked = others.map(async |voter| {
                let answer = ask(peers, *voter, &Request::Yield, YIELD_TIMEOUT).await.ok()?;
                Some((*voter, get_yielded(answer).ok()?))
            });
            let gave_way = join_all(asked).await.into_iter().flatten().collect::<Vec<_>>();
            if (gave_way.len() + 1) * 2 <= voters.len() {
                sleep(AGREE_PATIENCE).await;
                continue;
            }
            let rank = |voter: ReplicaId, last: Option<LogId>| {
                (last, peers.is_fit(voter.broker_id), std::cmp::Reverse(voter))
            };
            let best = gave_way.iter().map(|(voter, last)| rank(*voter, *last)).max();
            if best.is_none_or(|best| best < rank(self.me, mine)) {
                tracing::info!(me = %self.me, "the metadata group has no leader: this node campaigns");
                if self.raft.trigger().elect(true).await.is_err() {
                    return false;
                }
            }
            let mut leader = self.leader.subscribe();
            let led = leader.wait_for(|_| self.is_led(peers));
            // The try after this one asks anew.
            drop(tokio::time::timeout(ELECTION_PATIENCE, led).await);
        }
        false
    }

    /// Stops believing in the leader, unless it is there or is this node; returns the end of the log.
    pub(super) async fn give_way(&self) -> Result<Option<LogId>, String> {
        let Some(peers) = &self.peers else { return Err("this node has no peers".to_owned()) };
        let leader = self.leader_now();
        if let Some(leader) = leader {
            // A broker that the detector does not know may be there.
            let health = health_of(peers, leader).unwrap_or(Health::Up);
            let is_there = health == Health::Up && !has_no_disk(peers, leader);
            if leader == self.me || is_there {
                return Err(format!("{leader} leads, as {} sees it", self.me));
            }
        }
        let state =
            self.raft.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied()));
        let (vote, last) = state.await.map_err(|error| error.to_string())?;
        // Another may lead by now, and a lease that is lifted stays so for as long as its leader leads.
        let holder = Some(vote.leader_id.voted_for).filter(|_| vote.committed);
        if let Some(holder) = holder.filter(|holder| Some(*holder) != leader && *holder != self.me)
            && health_of(peers, holder) == Some(Health::Up)
        {
            return Err(format!("{holder} leads by now"));
        }
        let (term, since) = (vote.leader_id.term, Instant::now());
        *self.fence.lock() = leader.map(|leader| Fence { term, leader, since });
        let lift = TransferLeaderRequest::new(vote, SOMEBODY_ELSE, None);
        let lifted = self.raft.handle_transfer_leader(lift).await;
        // A vote that changed meanwhile means that somebody campaigns already.
        drop(lifted.map_err(|error| error.to_string())?);
        Ok(last)
    }

    /// Whether entries of this leader are refused, so that it cannot renew what was lifted. The fence
    /// falls when the detector sees it again.
    pub(super) fn is_fenced(&self, vote: &Vote) -> bool {
        let sender = &vote.leader_id;
        let fence = self
            .fence
            .lock()
            .filter(|fence| fence.term == sender.term && fence.leader == sender.voted_for);
        let (Some(fence), Some(peers)) = (fence, &self.peers) else { return false };
        // One that is there and unfit may be the only one that can lead after all.
        health_of(peers, fence.leader) != Some(Health::Up)
            || (has_no_disk(peers, fence.leader) && fence.since.elapsed() < FENCE_MAX)
    }

    /// Ends the rests of replication to followers that are there again.
    async fn wake_replication(
        &self,
        was_up: &mut BTreeSet<BrokerId>,
        health: &BTreeMap<BrokerId, Health>,
    ) {
        let up = health.iter().filter(|(_, health)| **health == Health::Up);
        let up = up.map(|(broker_id, _)| *broker_id).collect::<BTreeSet<_>>();
        let again = up.difference(was_up).copied().collect::<BTreeSet<_>>();
        *was_up = up;
        if again.is_empty() || self.leader_now() != Some(self.me) {
            return;
        }
        let members = self.members();
        let members = members.voters.into_iter().chain(members.learners);
        let again = members.filter(|replica| again.contains(&replica.broker_id));
        // The core's end is noted elsewhere.
        drop(self.raft.trigger().reset_backoff(again.collect::<Vec<_>>()).await);
    }
}

/// Whether nothing that a node promises from now on gets onto its disk.
fn has_no_disk(peers: &Peers, replica: ReplicaId) -> bool {
    matches!(peers.fitness_of(replica.broker_id), Fitness::Hanging | Fitness::Failed)
}

fn health_of(peers: &Peers, replica: ReplicaId) -> Option<Health> {
    peers.health().borrow().get(&replica.broker_id).copied()
}
