//! Who leads which partition, as far as this broker knows.
//!
//! Leadership is decided in each partition's own Raft group. A broker that holds a replica asks that;
//! what other brokers lead they tell (service LEADERS), since a client may ask any broker. What is here
//! is therefore a hint that may be old: whoever is named decides itself whether it leads, and answers a
//! client that comes in error with a retriable code.
//!
//! Invariants: of one partition the newest leader epoch wins, whoever tells it; in one epoch only one
//! broker leads, so that only that one can take back what it has told. A broker that is down leads
//! nothing. A partition with one replica is led where that is.

pub(crate) mod follow;
pub(crate) mod gossip;
pub(crate) mod news;
pub(crate) mod transfer;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::topic::TopicId;
use protocol::types::{BrokerId, LeaderEpoch, PartitionId};
use smallvec::SmallVec;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::cluster::image::{PartitionImage, TopicImage};
use crate::partitions::{LookupError, Partitions};

/// A partition of one incarnation of a topic.
pub(crate) type Key = (TopicId, PartitionId);

/// Brokers that hold replicas of one partition.
pub(crate) type Brokers = SmallVec<[BrokerId; 3]>;

/// What a broker tells of a partition that it leads, or has led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// In this epoch,
    pub(crate) leader_epoch: LeaderEpoch,
    /// which is not over.
    pub(crate) is_present: bool,
    /// The replicas that were in sync when it was told.
    pub(crate) in_sync: Brokers,
}

/// One partition as it is shown to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who leads, if that is known.
    pub(crate) leader: Option<BrokerId>,
    /// Its epoch, or the last one known; [`LeaderEpoch::NONE`] if none is.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Its in-sync replicas, in the order of its replicas; as they were last known, if nobody leads.
    pub(crate) in_sync: Brokers,
    /// Its replicas that cannot be used at present.
    pub(crate) offline: Brokers,
}

/// The table.
pub(crate) struct Leaders {
    here: BrokerId,
    partitions: Arc<Partitions>,
    /// By the other brokers.
    told: RwLock<HashMap<Key, Told>>,
    down: RwLock<BTreeSet<BrokerId>>,
    /// Told when anything of this may be different.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Told {
    by: BrokerId,
    tenure: Tenure,
}

impl Leaders {
    /// Nobody has told anything yet.
    pub(crate) fn new(here: BrokerId, partitions: Arc<Partitions>) -> Self {
        let (told, down) = (RwLock::default(), RwLock::default());
        Self { here, partitions, told, down, changes: watch::Sender::default() }
    }

    /// Takes what `by` tells of some of its partitions.
    pub(crate) fn learn(&self, by: BrokerId, tenures: impl IntoIterator<Item = (Key, Tenure)>) {
        let mut told = self.told.write();
        for (key, tenure) in tenures {
            let known = told.get(&key);
            let is_news = known.is_none_or(|known| {
                let known_epoch = known.tenure.leader_epoch;
                tenure.leader_epoch > known_epoch
                    || (tenure.leader_epoch == known_epoch && known.by == by)
            });
            if is_news {
                told.insert(key, Told { by, tenure });
            }
        }
        drop(told);
        self.note_change();
    }

    /// Forgets what `by` has told: it tells everything anew.
    pub(crate) fn forget_all_of(&self, by: BrokerId) {
        self.told.write().retain(|_, told| told.by != by);
    }

    /// Forgets partitions that are no more.
    pub(crate) fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.told.write().retain(|key, _| exists(key));
    }

    /// What `by` has told and was not overtaken, in no order.
    pub(crate) fn told_by(&self, by: BrokerId) -> Vec<(Key, Tenure)> {
        let told = self.told.read();
        let own = told.iter().filter(|(_, told)| told.by == by);
        own.map(|(key, told)| (*key, told.tenure.clone())).collect()
    }

    /// Which other brokers cannot be reached at present.
    pub(crate) fn set_down(&self, down: BTreeSet<BrokerId>) {
        *self.down.write() = down;
        self.note_change();
    }

    /// The leadership of a partition here may be another one.
    pub(crate) fn note_change(&self) {
        self.changes.send_replace(());
    }

    /// Waits until every partition of these topics has a leader, as far as the topics exist. Safe to
    /// drop: it may take long.
    pub(crate) async fn all_led(&self, cluster: &Cluster, topics: &[&str]) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let image = cluster.image();
            let mut existing = topics.iter().filter_map(|topic| image.topics.get(*topic));
            let is_led = |topic: &TopicImage| {
                let mut partitions = topic.partitions.iter();
                partitions.all(|partition| self.standing(topic.id, partition).leader.is_some())
            };
            if existing.all(|topic| is_led(topic)) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether `broker` cannot be reached at present.
    pub(crate) fn is_down(&self, broker: BrokerId) -> bool {
        self.down.read().contains(&broker)
    }

    /// How a partition stands.
    pub(crate) fn standing(&self, topic: TopicId, partition: &PartitionImage) -> Standing {
        let holders = partition.holders();
        let replicas = &holders;
        let key = (topic, partition.partition);
        let local = replicas.contains(&self.here).then(|| self.partitions.get(key.0, key.1));
        let mut standing = self.as_others_tell(key, replicas, &partition.replicas);
        standing.offline.extend(replicas.iter().copied().filter(|replica| self.is_down(*replica)));
        match local {
            None => {}
            Some(Err(LookupError::Unknown)) if replicas.len() == 1 => {
                // Just created. Kafka names the leader before its log is open, too: requests until
                // then are answered NOT_LEADER_OR_FOLLOWER, which all clients retry, while some
                // (kafka-go) take a partition without a leader for a failure.
                standing.leader = Some(self.here);
                standing.in_sync.push(self.here);
            }
            Some(Err(LookupError::Unknown)) => {}
            Some(Err(LookupError::Offline(_))) => standing.offline.push(self.here),
            Some(Ok(local)) => {
                let leadership = local.replica.leadership();
                // A leader that was cut off, or hangs, may be the last to hear of the next one.
                if leadership.is_local && leadership.leader_epoch >= standing.leader_epoch {
                    standing.leader = Some(self.here);
                    standing.leader_epoch = leadership.leader_epoch;
                    standing.in_sync = in_order(replicas, &local.replica.in_sync());
                } else if local.replica.log().failure().is_some() {
                    standing.offline.push(self.here);
                } else if leadership.leader_epoch > standing.leader_epoch {
                    // Its leader has not told us yet, or has yet to make sure that it leads.
                    let elsewhere = |leader: &BrokerId| *leader != self.here;
                    standing.leader = leadership.leader.filter(elsewhere);
                    standing.leader_epoch = leadership.leader_epoch;
                }
            }
        }
        standing.leader = standing.leader.filter(|leader| !self.is_down(*leader));
        if standing.leader.is_some() && standing.in_sync.is_empty() {
            standing.in_sync.extend(standing.leader);
        }
        let offline = &standing.offline;
        standing.in_sync.retain(|replica| !offline.contains(replica));
        standing
    }

    fn as_others_tell(&self, key: Key, replicas: &[BrokerId], settled: &[BrokerId]) -> Standing {
        let mut standing = Standing {
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            in_sync: Brokers::new(),
            offline: Brokers::new(),
        };
        if let Some(Told { by, tenure }) = self.told.read().get(&key) {
            standing.leader = Some(*by).filter(|by| tenure.is_present && *by != self.here);
            standing.leader_epoch = tenure.leader_epoch;
            standing.in_sync = in_order(replicas, &tenure.in_sync);
        }
        if let [only] = settled
            && *only != self.here
            && standing.leader_epoch == LeaderEpoch::NONE
        {
            // It has not told us yet; nobody else can lead.
            standing.leader = Some(*only);
        }
        standing
    }
}

/// Those of `replicas` that are `among` them.
fn in_order(replicas: &[BrokerId], among: &[BrokerId]) -> Brokers {
    replicas.iter().copied().filter(|replica| among.contains(replica)).collect()
}

impl std::fmt::Debug for Leaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaders").field("here", &self.here).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
