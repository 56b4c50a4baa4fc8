//! What brokers tell each other of what they lead (service LEADERS).
//!
//! Each broker tells the others of its own tenures alone: changes at once, everything to one that has
//! just come up, and every few seconds what it amounts to, so that a difference, however it came about,
//! does not stay. A task for each peer has one message under way at a time and builds it from what is
//! true when it is sent, so that nothing queues and the last word is the newest.
//!
//! Nothing rests on it: what is told late or never costs clients a detour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::types::BrokerId;
use raft::peers::{Caller, Health, Lane, Message, Peers, Service, ServiceId};
use raft::replica::SeamFuture;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::news::LeadershipNews;
use super::wire::{Answer, Digest, Told};
use super::{Brokers, Key, Leaders, Tenure};
use crate::cluster::image::Image;
use crate::partitions::Partitions;

/// How long one message may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader may take to hand over.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer is left alone that has not taken a message.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How often a peer hears what everything amounts to.
const DIGEST_EVERY: Duration = Duration::from_secs(3);
/// How often it is looked whether other replicas are in sync than before.
const IN_SYNC_EVERY: Duration = Duration::from_secs(1);
/// Tenures in one message: a few hundred KiB, well below what a message may have.
const TENURES_MAX: usize = 4096;

/// The teller and the listener of this broker.
pub(crate) struct Gossip {
    peers: Peers,
    leaders: Arc<Leaders>,
    partitions: Arc<Partitions>,
    /// What each peer was not told yet.
    untold: Mutex<BTreeMap<BrokerId, Arc<LeadershipNews>>>,
}

impl Gossip {
    /// Listens to what peers tell from now on; [`Gossip::run`] tells.
    pub(crate) fn start(
        peers: Peers,
        leaders: Arc<Leaders>,
        partitions: Arc<Partitions>,
    ) -> Arc<Self> {
        let listener =
            Listener { leaders: Arc::clone(&leaders), partitions: Arc::clone(&partitions) };
        peers.serve(ServiceId::LEADERS, Arc::new(listener));
        Arc::new(Self { peers, leaders, partitions, untold: Mutex::default() })
    }

    /// Whether a broker's disk lets it lead.
    pub(crate) fn is_fit(&self, broker: BrokerId) -> bool {
        self.peers.is_fit(broker)
    }

    /// Which peers are there.
    pub(crate) fn peers_health(&self) -> Arc<BTreeMap<BrokerId, Health>> {
        self.peers.health().borrow().clone()
    }

    /// Has every peer told of these.
    pub(crate) fn tell(&self, keys: &BTreeSet<Key>) {
        for untold in self.untold.lock().values() {
            keys.iter().for_each(|key| untold.tell(*key));
        }
    }

    /// Has `leader` hand a partition over to `to`. The sentence of an error says why it did not.
    pub(super) async fn ask_to_transfer(
        &self,
        leader: BrokerId,
        partition: Key,
        to: BrokerId,
    ) -> Result<(), String> {
        let message = vec![Told::Transfer(partition, to).encode()];
        let service = ServiceId::LEADERS;
        let called = self.peers.call(leader, service, Lane::Control, message, TRANSFER_TIMEOUT);
        called.await.map(drop).map_err(|error| error.to_string())
    }

    /// Follows peers, topics and replicas. Runs until it is dropped, which is safe at every await.
    pub(crate) async fn run(self: Arc<Self>, mut images: watch::Receiver<Arc<Image>>) {
        let mut health = self.peers.health();
        let mut tellers = JoinSet::new();
        let mut telling: BTreeMap<BrokerId, AbortHandle> = BTreeMap::new();
        let mut deleted = images.borrow_and_update().deleted_topics.clone();
        let (mut in_sync, mut was_down) = (BTreeMap::new(), BTreeSet::new());
        let mut takeovers = JoinSet::new();
        let mut look = tokio::time::interval(IN_SYNC_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let known = health.borrow_and_update().clone();
            let down = known.iter().filter(|(_, health)| **health == Health::Down);
            let down: BTreeSet<BrokerId> = down.map(|(broker, _)| *broker).collect();
            for broker in down.difference(&was_down) {
                let (broker, partitions) = (*broker, Arc::clone(&self.partitions));
                takeovers.spawn(async move { partitions.broker_down(broker).await });
            }
            self.leaders.set_down(down.clone());
            was_down = down;
            telling.retain(|broker, teller| {
                let stays = known.contains_key(broker);
                if !stays {
                    teller.abort();
                    self.untold.lock().remove(broker);
                }
                stays
            });
            for broker in known.keys() {
                telling.entry(*broker).or_insert_with(|| {
                    let untold = Arc::<LeadershipNews>::default();
                    self.untold.lock().insert(*broker, Arc::clone(&untold));
                    tellers.spawn(Arc::clone(&self).tell_peer(*broker, untold))
                });
            }
            tokio::select! {
                changed = health.changed() => if changed.is_err() { return },
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = images.borrow_and_update().deleted_topics.clone();
                    if !Arc::ptr_eq(&deleted, &newest) {
                        let gone: BTreeSet<_> = newest.iter().collect();
                        self.leaders.retain(|(topic, _)| !gone.contains(topic));
                        deleted = newest;
                    }
                }
                _ = look.tick(), if !known.is_empty() => self.look_who_is_in_sync(&mut in_sync),
            }
            // Those that are over.
            while tellers.try_join_next().is_some() {}
            while takeovers.try_join_next().is_some() {}
        }
    }

    /// Tells of partitions whose in-sync replicas are others than at the last look.
    fn look_who_is_in_sync(&self, known: &mut BTreeMap<Key, Brokers>) {
        let present = self.present();
        let now: BTreeMap<Key, Brokers> =
            present.into_iter().map(|(key, tenure)| (key, tenure.in_sync)).collect();
        let changed = now.iter().filter(|(key, in_sync)| known.get(key) != Some(in_sync));
        let changed: BTreeSet<Key> = changed.map(|(key, _)| *key).collect();
        self.tell(&changed);
        *known = now;
    }

    /// Everything that is led here.
    fn present(&self) -> Vec<(Key, Tenure)> {
        let online = self.partitions.online();
        let keys = online.iter().map(|it| (it.name.topic_id, it.name.partition.partition));
        let tenures = keys.filter_map(|key| Some((key, self.tenure(key)?)));
        tenures.filter(|(_, tenure)| tenure.is_present).collect()
    }

    fn tenure(&self, (topic, partition): Key) -> Option<Tenure> {
        let partition = self.partitions.get(topic, partition).ok()?;
        let (leader_epoch, is_present) = partition.waiters().tenure()?;
        let in_sync = if is_present {
            Brokers::from_vec(partition.replica.in_sync())
        } else {
            Brokers::new()
        };
        Some(Tenure { leader_epoch, is_present, in_sync })
    }

    /// Tells one peer, as long as it is known.
    async fn tell_peer(self: Arc<Self>, to: BrokerId, untold: Arc<LeadershipNews>) {
        let mut health = self.peers.health();
        let is_up = |all: &Arc<BTreeMap<BrokerId, Health>>| all.get(&to) == Some(&Health::Up);
        let mut knows_everything = false;
        let mut digest_at = Instant::now() + DIGEST_EVERY;
        loop {
            if !knows_everything {
                if health.wait_for(is_up).await.is_err() {
                    return;
                }
                knows_everything = self.tell_everything(to).await;
                if !knows_everything {
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            }
            let told = tokio::select! {
                keys = untold.next() => {
                    let tenures = keys.into_iter();
                    let tenures = tenures.filter_map(|key| Some((key, self.tenure(key)?)));
                    self.tell_some(to, tenures.collect()).await
                }
                () = tokio::time::sleep_until(digest_at) => {
                    digest_at = Instant::now() + DIGEST_EVERY;
                    self.call(to, &Told::Digest(Digest::of(&self.present()))).await
                }
                changed = health.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // It may have been away long enough to forget.
                    is_up(&health.borrow_and_update())
                }
            };
            knows_everything = told;
        }
    }

    async fn tell_everything(&self, to: BrokerId) -> bool {
        let present = self.present();
        let mut is_first = true;
        let mut chunks = present.chunks(TENURES_MAX);
        loop {
            let chunk = chunks.next();
            if chunk.is_none() && !is_first {
                return true;
            }
            let tenures = chunk.unwrap_or_default().to_vec();
            if !self.call(to, &Told::Everything { is_first, tenures }).await {
                return false;
            }
            is_first = false;
        }
    }

    async fn tell_some(&self, to: BrokerId, mut tenures: Vec<(Key, Tenure)>) -> bool {
        while !tenures.is_empty() {
            let rest = tenures.split_off(tenures.len().min(TENURES_MAX));
            if !self.call(to, &Told::Changes(tenures)).await {
                return false;
            }
            tenures = rest;
        }
        true
    }

    /// Whether the peer knows all that it was told by now.
    async fn call(&self, to: BrokerId, told: &Told) -> bool {
        let message = vec![told.encode()];
        let called = self.peers.call(to, ServiceId::LEADERS, Lane::Control, message, CALL_TIMEOUT);
        match called.await {
            Ok(answer) => Answer::decode(&answer) == Answer::Taken,
            Err(error) => {
                tracing::debug!(broker = %to, %error, "a broker was not told who leads");
                false
            }
        }
    }
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip").finish_non_exhaustive()
    }
}

/// Takes what peers tell.
struct Listener {
    leaders: Arc<Leaders>,
    partitions: Arc<Partitions>,
}

/// What is left to be done for a message.
enum Taken {
    Answer(Answer),
    Transfer(Key, BrokerId),
}

impl Listener {
    fn take(&self, by: BrokerId, told: Told) -> Taken {
        match told {
            Told::Changes(tenures) => self.leaders.learn(by, tenures),
            Told::Everything { is_first, tenures } => {
                if is_first {
                    self.leaders.forget_all_of(by);
                }
                self.leaders.learn(by, tenures);
            }
            Told::Digest(digest) => {
                let mut known = self.leaders.told_by(by);
                known.retain(|(_, tenure)| tenure.is_present);
                if Digest::of(&known) != digest {
                    return Taken::Answer(Answer::TellEverything);
                }
            }
            Told::Transfer(partition, to) => return Taken::Transfer(partition, to),
        }
        Taken::Answer(Answer::Taken)
    }
}

impl Service for Listener {
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>> {
        // Before the future: in the order in which it was told.
        let told = Told::decode(&request).map(|told| self.take(from.replica.broker_id, told));
        Box::pin(async move {
            let answer = match told.map_err(|error| error.to_string())? {
                Taken::Answer(answer) => answer,
                Taken::Transfer(partition, to) => {
                    self.partitions.transfer(partition, to).await?;
                    Answer::Taken
                }
            };
            Ok(vec![answer.encode()])
        })
    }
}

#[cfg(test)]
mod tests;
