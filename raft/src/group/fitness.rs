//! Which replicas of a group can be counted on, and what a leader does that cannot be.

use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use protocol::types::BrokerId;

use super::{Group, HAND_OVER_LAG_MAX, IN_SYNC_LAG_MAX, proposer};
use crate::fitness::Fitness;
use crate::peers::Health;
use crate::types::ReplicaId;

impl Group {
    /// The replicas that follow this one closely, itself among them, if it leads as far as it knows.
    pub(crate) fn reached(&self) -> Vec<BrokerId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let reach = self.committed_index().saturating_sub(IN_SYNC_LAG_MAX);
        let mut brokers = vec![self.state.me.broker_id];
        let Some(matching) = &metrics.replication else { return brokers };
        let health = self.health.borrow();
        for (replica, matched) in matching.iter().filter(|(replica, _)| **replica != self.state.me)
        {
            let has_all = matched.is_some_and(|id| id.index() >= reach);
            let is_there = !matches!(health.get(&replica.broker_id), None | Some(Health::Down));
            // What it has now it has; of what comes nothing reaches its disk.
            let has_disk =
                !matches!(self.fitness_of(replica.broker_id), Fitness::Hanging | Fitness::Failed);
            if has_all && is_there && has_disk {
                brokers.push(replica.broker_id);
            }
        }
        brokers
    }

    fn fitness_of(&self, broker: BrokerId) -> Fitness {
        self.fitness.borrow().get(&broker).copied().unwrap_or_default()
    }

    /// Whether this broker may lead while others could.
    pub(crate) fn is_fit(&self) -> bool {
        self.fitness_of(self.state.me.broker_id).is_fit()
    }

    /// Takes no more produces in this term, and offers the leadership to the others until one takes it.
    pub(crate) async fn give_up_leadership(self: &Arc<Self>) {
        proposer::give_up(self).await;
    }

    /// Whether a follower lacks so little that it may be asked to lead: until it has all, nobody leads.
    pub(crate) fn has_caught_up(&self, follower: ReplicaId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&follower).copied());
        let last = metrics.last_log_index.unwrap_or_default();
        matched.flatten().is_some_and(|id| id.index() + HAND_OVER_LAG_MAX >= last)
    }
}
