//! Partitions on their way to other replicas.
//!
//! The image says which replicas a partition has and which are wanted. Every broker that leads such a
//! partition changes its group, one step after the other, and then says that it is done; whoever leads
//! after a crash begins where the group stands. The leader of the metadata group wants more replicas
//! of the broker's own topics while they have fewer than the cluster can give them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use raft::replicated_state::ReplicatedState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::alive::Alive;
use super::controller::Controller;
use super::image::{Image, Moving, PartitionImage};
use super::reconciler::voters;
use crate::partitions::Partitions;
use crate::topic_view::is_internal;

/// Partitions that are moved at once from one broker: what their new replicas read is bounded by it.
const AT_ONCE: usize = 8;
/// How often it is looked again: a leadership that changes is no change of the image.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Replicas of the broker's own topics, where there are so many brokers.
const INTERNAL_REPLICAS: usize = 3;

type Key = (TopicId, PartitionId);

/// What moves partitions from one broker.
pub(super) struct Mover {
    pub(super) group: ReplicatedState,
    pub(super) images: watch::Receiver<Arc<Image>>,
    pub(super) controller: Arc<Controller>,
    pub(super) partitions: Arc<Partitions>,
    pub(super) alive: Alive,
}

/// A change of a partition's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionId,
    /// The replicas that it is to have; none: those that it had, and has.
    pub(crate) wanted: Vec<BrokerId>,
}

impl Mover {
    /// Runs as long as images are published; may be dropped anywhere.
    pub(super) async fn run(mut self) {
        loop {
            let image = self.images.borrow_and_update().clone();
            if self.group.leader().borrow().is_local {
                let moves = growth(&image, &self.alive.all());
                if !moves.is_empty() {
                    tracing::info!(partitions = moves.len(), "the broker's topics grow");
                    let moves = moves.into_iter().map(Ok).collect();
                    drop(self.controller.move_replicas(moves).await);
                }
            }
            let mut running = JoinSet::new();
            for (key, wanted) in moving(&image).filter(|(key, _)| self.leads(*key)) {
                if running.len() == AT_ONCE {
                    drop(running.join_next().await);
                }
                running.spawn(self.one(key, wanted, &image));
            }
            while running.join_next().await.is_some() {}
            if let Ok(Err(_ended)) = timeout(LOOK_EVERY, self.images.changed()).await {
                return;
            }
        }
    }

    fn leads(&self, (topic, partition): Key) -> bool {
        let local = self.partitions.get(topic, partition);
        local.is_ok_and(|local| local.replica.leadership().is_local)
    }

    /// Makes one change, unless another is wanted meanwhile.
    fn one(
        &self,
        key: Key,
        wanted: Vec<BrokerId>,
        image: &Image,
    ) -> impl Future<Output = ()> + Send + 'static {
        let to = voters(image, &wanted);
        let (controller, partitions) = (Arc::clone(&self.controller), Arc::clone(&self.partitions));
        let mut images = self.images.clone();
        async move {
            let is_other = |image: &Arc<Image>| {
                !moving(image).any(|(other, still)| other == key && still == wanted)
            };
            let changed = tokio::select! {
                changed = partitions.change_replicas(key, to) => changed,
                _ = images.wait_for(is_other) => return,
            };
            let (topic, partition) = key;
            if let Err(reason) = changed {
                tracing::debug!(%topic, %partition, %reason, "its replicas are not changed yet");
                return;
            }
            match controller.settle_replicas(topic, partition, wanted.clone()).await {
                Ok(()) => tracing::info!(%topic, %partition, ?wanted, "its replicas have changed"),
                Err(error) => tracing::debug!(%topic, %partition, %error, "not settled yet"),
            }
        }
    }
}

fn moving(image: &Image) -> impl Iterator<Item = (Key, Vec<BrokerId>)> {
    image.topics.values().flat_map(|topic| {
        topic.partitions.iter().filter_map(|partition| {
            let wanted = partition.moving.as_ref()?.wanted.clone();
            Some(((topic.id, partition.partition), wanted))
        })
    })
}

/// Which of the broker's own topics are to have more replicas.
fn growth(image: &Image, alive: &BTreeSet<BrokerId>) -> Vec<Move> {
    let reachable = |(id, broker): (&BrokerId, &super::image::BrokerImage)| {
        (broker.node.is_some() && alive.contains(id)).then_some(*id)
    };
    let brokers: Vec<_> = image.brokers.iter().filter_map(reachable).collect();
    let count = brokers.len().min(INTERNAL_REPLICAS);
    let internal = image.topics.values().filter(|topic| is_internal(topic.name.as_str()));
    let mut moves = Vec::new();
    for topic in internal {
        for (at, partition) in topic.partitions.iter().enumerate() {
            if partition.moving.is_some() || partition.replicas.len() >= count {
                continue;
            }
            moves.push(Move {
                topic: topic.id,
                partition: partition.partition,
                wanted: grown(&partition.replicas, &brokers, count, at),
            });
        }
    }
    moves
}

/// `count` replicas, those that there are among them; partitions prefer one leader after the other.
fn grown(replicas: &[BrokerId], brokers: &[BrokerId], count: usize, at: usize) -> Vec<BrokerId> {
    let from = at % brokers.len();
    let others = brokers[from..].iter().chain(&brokers[..from]);
    let others = others.copied().filter(|broker| !replicas.contains(broker));
    let mut wanted: Vec<_> = replicas.iter().copied().chain(others).take(count).collect();
    wanted.rotate_left(at % count);
    wanted
}

impl PartitionImage {
    /// Every broker that may hold a replica, those that are wanted first.
    pub(crate) fn holders(&self) -> Vec<BrokerId> {
        let mut holders = Vec::with_capacity(self.replicas.len());
        let moving = self.moving.as_deref();
        let wanted = moving.map_or(&[][..], |moving| &moving.wanted);
        let others = moving.map_or(&[][..], |moving| &moving.others);
        for broker in wanted.iter().chain(&self.replicas).chain(others) {
            if !holders.contains(broker) {
                holders.push(*broker);
            }
        }
        holders
    }

    /// Whether `broker` may hold a replica.
    pub(crate) fn is_held_by(&self, broker: BrokerId) -> bool {
        let among =
            |moving: &Moving| moving.wanted.contains(&broker) || moving.others.contains(&broker);
        self.replicas.contains(&broker) || self.moving.as_deref().is_some_and(among)
    }

    /// These are wanted from now on; none: those that it has.
    pub(super) fn want(&mut self, wanted: Vec<BrokerId>) {
        let wanted = if wanted.is_empty() { self.replicas.clone() } else { wanted };
        if self.moving.is_none() && wanted == self.replicas {
            return;
        }
        let mut others = self.holders();
        others.retain(|broker| !wanted.contains(broker) && !self.replicas.contains(broker));
        self.moving = Some(Box::new(Moving { wanted, others }));
    }

    /// The wanted replicas are those that it has; `false` if others are wanted by now.
    pub(super) fn settle(&mut self, replicas: Vec<BrokerId>) -> bool {
        if self.moving.as_ref().is_none_or(|moving| moving.wanted != replicas) {
            return false;
        }
        self.replicas = replicas;
        self.moving = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    #[test]
    fn what_may_hold_a_replica_is_known_until_the_change_is_settled() {
        let mut partition =
            PartitionImage { partition: PartitionId::new(0), replicas: ids(&[1]), moving: None };
        partition.want(ids(&[1]));
        assert_eq!(partition.moving, None);
        partition.want(ids(&[2, 1, 3]));
        assert_eq!(partition.holders(), ids(&[2, 1, 3]));
        partition.want(ids(&[1, 4]));
        assert_eq!(partition.holders(), ids(&[1, 4, 2, 3]));
        assert!(!partition.settle(ids(&[2, 1, 3])), "overtaken");
        // Taken back: what was begun is undone first.
        partition.want(Vec::new());
        assert_eq!(partition.holders(), ids(&[1, 4, 2, 3]));
        assert!([1, 2, 3, 4].iter().all(|id| partition.is_held_by(BrokerId::new(*id))));
        assert!(partition.settle(ids(&[1])));
        assert_eq!((partition.holders(), partition.moving), (ids(&[1]), None));
    }

    #[test]
    fn grown_partitions_keep_their_replicas_and_prefer_every_broker() {
        let brokers = ids(&[1, 2, 3, 4]);
        let all: Vec<_> = (0..12).map(|at| grown(&ids(&[1]), &brokers, 3, at)).collect();
        assert!(all.iter().all(|one| one.len() == 3 && one.contains(&BrokerId::new(1))));
        let first: BTreeSet<_> = all.iter().map(|one| one[0]).collect();
        assert!(first.len() >= 3, "{all:?}");
        assert_eq!(grown(&ids(&[2]), &ids(&[1, 2]), 2, 1), ids(&[1, 2]));
    }
}
