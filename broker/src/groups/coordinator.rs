//! Which partition of `__consumer_offsets` a group belongs to, and the owners of those that are here.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, PartitionId};
use tokio::sync::Semaphore;

use super::classic::Limits;
use super::consumer_terms::ConsumerTerms;
use super::owner::{Owner, Unavailable};
use super::shard::Terms;
use super::snapshot::SnapshotFile;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::cluster::controller::{Layout, TopicSpec};
use crate::cluster::error::ChangeError;
use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::cluster::outcome::Refusal;
use crate::leaders::Key;
use crate::partitions::Partitions;
use crate::settings::{BrokerSettings, GroupSettings, Values};

/// The topic that holds the groups' state.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// All groups that this broker coordinates.
pub(crate) struct Groups {
    cluster: Arc<Cluster>,
    partitions: Arc<Partitions>,
    clock: Arc<dyn Clock>,
    settings: Arc<BrokerSettings>,
    here: BrokerId,
    owners: RwLock<Owners>,
    /// One creation at a time: whoever comes second finds the topic.
    creating: tokio::sync::Mutex<()>,
    /// One snapshot at a time.
    covering: Arc<Semaphore>,
}

/// The owners of one incarnation of the topic, by partition.
#[derive(Default)]
struct Owners {
    topic: Option<TopicId>,
    by_partition: Vec<Option<Arc<Owner>>>,
}

impl Groups {
    /// Nothing is loaded yet; see [`Groups::load`].
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        partitions: Arc<Partitions>,
        clock: Arc<dyn Clock>,
        settings: Arc<BrokerSettings>,
        here: BrokerId,
    ) -> Self {
        let (owners, creating) = (RwLock::default(), tokio::sync::Mutex::default());
        let covering = Arc::new(Semaphore::new(1));
        Self { cluster, partitions, clock, settings, here, owners, creating, covering }
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &GroupSettings {
        &self.settings.groups
    }

    /// Begins to load all groups that are here, so that those who do not come back are missed.
    pub(crate) fn load(&self) {
        let image = self.cluster.image();
        let Some(topic) = image.topics.get(OFFSETS_TOPIC) else { return };
        for partition in 0..topic.partitions.len() {
            // Whoever asks for one that is not here is told why.
            self.owner_of(topic, partition).ok();
        }
    }

    /// Takes over the groups of a partition that is led here from now on, and gives up those of one
    /// that is not any more. The owner, if there is one.
    pub(crate) fn leadership_changed(&self, (topic, partition): Key) -> Option<Arc<Owner>> {
        let image = self.cluster.image();
        let offsets = image.topics.get(OFFSETS_TOPIC).filter(|known| known.id == topic)?;
        let partition = usize::try_from(partition.get()).ok()?;
        let former = {
            let mut owners = self.owners.write();
            let is_this = owners.topic == Some(topic);
            let owner = owners.by_partition.get_mut(partition).filter(|_| is_this);
            owner.and_then(|owner| owner.take_if(|owner| !owner.is_in_office()))
        };
        if let Some(former) = former {
            former.resign();
        }
        self.owner_of(offsets, partition).ok()
    }

    /// The partition of `__consumer_offsets` that a group belongs to; `None` before that exists.
    pub(crate) fn place_of(&self, image: &Image, group: &str) -> Option<(TopicId, PartitionImage)> {
        let topic = image.topics.get(OFFSETS_TOPIC)?;
        let partition = partition_of(group, topic.partitions.len());
        Some((topic.id, topic.partitions.get(partition)?.clone()))
    }

    /// Waits until no snapshot is being written, and lets no other begin: the data directory may be
    /// closed then.
    pub(crate) async fn stop(&self) {
        // Closed already: there is nothing to wait for.
        let turn = self.covering.acquire().await.ok();
        self.covering.close();
        drop(turn);
    }

    /// The owner of a group.
    pub(crate) fn owner(&self, group: &str) -> Result<Arc<Owner>, Unavailable> {
        let image = self.cluster.image();
        let topic = image.topics.get(OFFSETS_TOPIC).ok_or(Unavailable::NotHere)?;
        self.owner_of(topic, partition_of(group, topic.partitions.len()))
    }

    /// All owners that are here.
    pub(crate) fn owners(&self) -> Vec<Arc<Owner>> {
        self.owners.read().by_partition.iter().flatten().cloned().collect()
    }

    /// Sees to it that groups can be coordinated: creates the topic if it is not there, and tells
    /// whether it was.
    ///
    /// # Errors
    /// [`ChangeError`]; the client may ask again.
    pub(crate) async fn create_topic(&self) -> Result<bool, ChangeError> {
        let is_there = || self.cluster.image().topics.contains_key(OFFSETS_TOPIC);
        if is_there() {
            return Ok(true);
        }
        let _alone = self.creating.lock().await;
        if is_there() {
            return Ok(true);
        }
        let controller = self.cluster.controller();
        let planned = controller.plan_topics(vec![Ok(self.topic_spec()?)]);
        let changed = controller.create_topics(planned).await;
        for item in changed.items {
            match item {
                Ok(_) | Err(ChangeError::Refused(Refusal::TopicExists)) => {}
                Err(error) => return Err(error),
            }
        }
        self.cluster.reconciled(changed.index).await?;
        self.load();
        Ok(false)
    }

    fn topic_spec(&self) -> Result<TopicSpec, ChangeError> {
        let brokers = self.cluster.image().brokers.len();
        let replicas = self.settings().offsets_replication_factor;
        let replicas = replicas.min(i16::try_from(brokers).unwrap_or(i16::MAX)).max(1);
        let overrides = [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            (
                "segment.bytes",
                self.settings().offsets_segment_bytes.max(SEGMENT_BYTES_MIN).to_string(),
            ),
        ];
        Ok(TopicSpec {
            name: TopicName::new(OFFSETS_TOPIC)?,
            layout: Layout::Counts {
                partitions: Some(self.settings().offsets_partitions),
                replicas: Some(replicas),
            },
            overrides: overrides
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect::<Values>(),
        })
    }

    fn owner_of(&self, topic: &TopicImage, partition: usize) -> Result<Arc<Owner>, Unavailable> {
        {
            let owners = self.owners.read();
            if owners.topic == Some(topic.id)
                && let Some(Some(owner)) = owners.by_partition.get(partition)
                && owner.is_in_office()
                && !owner.is_spent()
            {
                return Ok(Arc::clone(owner));
            }
        }
        let id = PartitionId::new(i32::try_from(partition).map_err(|_large| Unavailable::NotHere)?);
        let open = self.partitions.get(topic.id, id).map_err(|_why| Unavailable::NotHere)?;
        let leader_epoch = open.waiters().leads_in().ok_or(Unavailable::NotHere)?;
        let mut owners = self.owners.write();
        if owners.topic != Some(topic.id) {
            *owners = Owners { topic: Some(topic.id), by_partition: Vec::new() };
        }
        if owners.by_partition.len() <= partition {
            owners.by_partition.resize_with(partition + 1, || None);
        }
        let start = || {
            let data_dir = self.partitions.data_dir();
            let device = Arc::clone(data_dir.device());
            let snapshot = SnapshotFile::new(device, data_dir.path(), open.name.clone());
            let (clock, cluster) = (Arc::clone(&self.clock), Arc::clone(&self.cluster));
            let covering = Arc::clone(&self.covering);
            Owner::start((open, leader_epoch), clock, cluster, self.terms(), snapshot, covering)
        };
        let owner = &mut owners.by_partition[partition];
        if let Some(former) = owner.take_if(|owner| owner.is_spent() || !owner.is_in_office()) {
            former.resign();
        }
        Ok(Arc::clone(owner.get_or_insert_with(start)))
    }

    fn terms(&self) -> Terms {
        let settings = self.settings();
        let retention = settings.offsets_retention.as_millis();
        Terms {
            limits: Limits {
                initial_delay: settings.initial_rebalance_delay,
                members_max: settings.members_max,
                session_timeout_min: settings.session_timeout_min,
                session_timeout_max: settings.session_timeout_max,
            },
            consumer: ConsumerTerms::new(self.here, Arc::clone(&self.settings)),
            retention_ms: i64::try_from(retention).unwrap_or(i64::MAX),
            idle_kept: settings.idle_group_kept.max(Duration::from_millis(1)),
        }
    }
}

/// The least that a topic's `segment.bytes` may be.
const SEGMENT_BYTES_MIN: i32 = 1 << 20;

/// Kafka's choice, which a log that Kafka has written relies on: the group id's hash as Java computes
/// it, over UTF-16, without its sign.
fn partition_of(group: &str, partitions: usize) -> usize {
    let hash = group
        .encode_utf16()
        .fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    // Java's absolute value of the smallest number is itself; Kafka takes 0 for it.
    let hash = if hash == 1 << 31 { 0 } else { hash.cast_signed().unsigned_abs() };
    usize::try_from(hash).map_or(0, |hash| hash % partitions.max(1))
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_fall_into_the_partitions_that_kafka_puts_them_into() {
        // As Java computes `abs(hashCode()) % 50`; the fourth is the smallest number, which has no
        // absolute value.
        let groups = ["", "a-group", "grüße", "polygenelubricants", "connect-cluster", "😀"];
        assert_eq!(groups.map(|group| partition_of(group, 50)), [0, 29, 23, 0, 13, 49]);
    }
}
