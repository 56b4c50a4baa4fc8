//! The partitions that this broker keeps: open, look up, delete.
//!
//! Opened and deleted by the reconciler, each partition by one step at a time; looked up by every
//! request. One with a single replica is a log and nothing else; one with several is a log and a group.
//! A log that cannot be opened takes its own partition offline and nothing else. The lock is never
//! held while the disk is touched.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use raft::replica::{Replica, ReplicaListener};
use raft::types::{GroupId, ReplicaId};
use storage::data_dir::{DataDir, LogName};
use storage::log::entries::LogKind;

use crate::leaders::Key;
use crate::leaders::news::LeadershipNews;
use crate::partition::Partition;
use crate::replication::{Beginning, Replication};
use crate::settings::TopicSettings;

/// All local partitions.
pub(crate) struct Partitions {
    data_dir: Arc<DataDir>,
    broker_id: BrokerId,
    entries: RwLock<HashMap<(TopicId, PartitionId), Entry>>,
    /// What opens those with several replicas, once this broker knows others.
    replication: OnceLock<Arc<dyn Replication>>,
    news: Arc<LeadershipNews>,
}

/// One partition that has, or should have, a log here.
#[derive(Debug, Clone)]
enum Entry {
    Online(Arc<Partition>),
    Offline { name: LogName, reason: String },
}

/// Why a partition cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    /// Nobody knows it, or it is not open yet.
    #[error("the partition is not here")]
    Unknown,
    /// Its log could not be opened or has failed; the sentence names file and position.
    #[error("the partition is offline: {0}")]
    Offline(String),
}

impl Partitions {
    /// No partition yet: the reconciler opens those that the metadata asks for.
    pub(crate) fn new(data_dir: Arc<DataDir>, broker_id: BrokerId) -> Self {
        let (entries, replication) = (RwLock::default(), OnceLock::new());
        Self { data_dir, broker_id, entries, replication, news: Arc::default() }
    }

    /// Takes what keeps partitions with several replicas into use, before the first of them is opened.
    /// Only the first call counts.
    pub(crate) fn set_replication(&self, replication: Arc<dyn Replication>) {
        self.replication.get_or_init(|| replication);
    }

    /// Changes of the leadership of these partitions.
    pub(crate) const fn news(&self) -> &Arc<LeadershipNews> {
        &self.news
    }

    /// The directory that all logs are in.
    pub(crate) const fn data_dir(&self) -> &Arc<DataDir> {
        &self.data_dir
    }

    /// The name by which administrators know that directory: its absolute path, as in Kafka.
    pub(crate) fn log_dir(&self) -> String {
        let path = self.data_dir.path();
        // Fails only where the working directory is gone; a name is owed all the same.
        let absolute = std::path::absolute(path).unwrap_or_else(|_gone| path.clone());
        absolute.to_string_lossy().into_owned()
    }

    /// Finds an open partition by topic id and index.
    pub(crate) fn get(
        &self,
        topic: TopicId,
        partition: PartitionId,
    ) -> Result<Arc<Partition>, LookupError> {
        match self.entries.read().get(&(topic, partition)) {
            Some(Entry::Online(partition)) => Ok(partition.clone()),
            Some(Entry::Offline { reason, .. }) => Err(LookupError::Offline(reason.clone())),
            None => Err(LookupError::Unknown),
        }
    }

    /// Opens (or creates) the log of a partition with one replica and makes the partition available, or
    /// records why it is offline. Does nothing for one that is open. `false` if the log had more
    /// replicas once: it is to be opened as a group. Blocks on the disk: called by the reconciler on
    /// its own thread.
    pub(crate) fn open(&self, name: &LogName, settings: TopicSettings) -> bool {
        if self.is_online(name) {
            return true;
        }
        let opened = self.data_dir.open_log(name, settings.log.clone(), LogKind::Direct);
        if opened.is_err() && matches!(self.data_dir.log_kind(name), Ok(Some(LogKind::Replicated)))
        {
            return false;
        }
        let replica = opened
            .map(|log| raft::direct::direct(log, self.broker_id))
            .map_err(|error| error.to_string());
        self.take_in(name, settings, replica);
        true
    }

    /// The same for a partition with several replicas, which are kept by `voters`, the preferred leader
    /// first. Makes the partition available once this replica is open, whoever leads.
    pub(crate) async fn open_group(
        self: &Arc<Self>,
        name: &LogName,
        settings: TopicSettings,
        beginning: Beginning,
        voters: Vec<ReplicaId>,
    ) {
        let adopts = beginning == Beginning::Adopt && !self.is_group(name);
        if self.is_online(name) && !adopts {
            return;
        }
        let replica = self.open_replica(name, &settings, beginning, voters).await;
        if self.is_online(name)
            && let Err(reason) = &replica
            && !self.is_group(name)
        {
            // It serves alone as before, until this is asked for again.
            tracing::warn!(partition = %name.partition, %reason, "its replicas are not changed");
            return;
        }
        // Everything that was produced before is committed by now, and was told so.
        self.take_away(name);
        self.take_in(name, settings, replica);
    }

    async fn open_replica(
        self: &Arc<Self>,
        name: &LogName,
        settings: &TopicSettings,
        beginning: Beginning,
        voters: Vec<ReplicaId>,
    ) -> Result<Arc<dyn Replica>, String> {
        let replication =
            self.replication.get().ok_or("this broker does not replicate with others")?;
        let (partitions, opened, config) = (Arc::clone(self), name.clone(), settings.log.clone());
        let open = move || {
            let kind = match beginning {
                Beginning::Found | Beginning::Join => LogKind::Replicated,
                Beginning::Alone | Beginning::Adopt => {
                    partitions.data_dir.log_kind(&opened)?.unwrap_or(LogKind::Direct)
                }
            };
            partitions.data_dir.open_log(&opened, config, kind)
        };
        let log = on_blocking_pool(open).await.map_err(|error| error.to_string())?;
        match beginning {
            Beginning::Found => replication.open(group(name), log, voters).await,
            Beginning::Join => replication.join(group(name), log, voters).await,
            Beginning::Alone | Beginning::Adopt => replication.adopt(group(name), log).await,
        }
    }

    /// Whether the log of a partition that is open is a group's.
    pub(crate) fn is_group(&self, name: &LogName) -> bool {
        let open = self.get(name.topic_id, name.partition.partition);
        open.is_ok_and(|open| open.replica.log().kind() == LogKind::Replicated)
    }

    /// Makes these the replicas of a partition that is led here. The sentence of an error says why that
    /// is not done yet.
    pub(crate) async fn change_replicas(
        &self,
        (topic_id, partition): Key,
        to: Vec<ReplicaId>,
    ) -> Result<(), String> {
        let replication = self.replication.get().ok_or("there is no other replica")?;
        replication.change_replicas(GroupId { topic_id, partition }, to).await
    }

    fn is_online(&self, name: &LogName) -> bool {
        self.get(name.topic_id, name.partition.partition).is_ok()
    }

    fn take_in(
        &self,
        name: &LogName,
        settings: TopicSettings,
        replica: Result<Arc<dyn Replica>, String>,
    ) {
        let entry = match replica {
            Ok(replica) => {
                let news = Arc::clone(&self.news);
                Entry::Online(Arc::new(Partition::new(name.clone(), replica, settings, news)))
            }
            Err(reason) => {
                tracing::error!(partition = %name.partition, %reason, "a partition is offline");
                Entry::Offline { name: name.clone(), reason }
            }
        };
        self.entries.write().insert(key(name), entry);
    }

    /// Takes the partition away from clients, then deletes its log. Blocks on the disk.
    pub(crate) fn delete(&self, name: &LogName) {
        self.take_away(name);
        if let Err(error) = self.data_dir.delete_log(name) {
            tracing::warn!(partition = %name.partition, %error, "a deleted log stays on the disk");
        }
    }

    /// The same for a partition with several replicas: nothing of it is replicated any more when its
    /// log goes.
    pub(crate) async fn delete_group(self: &Arc<Self>, name: LogName) {
        self.take_away(&name);
        self.forget_group(&name).await;
        let partitions = Arc::clone(self);
        on_blocking_pool(move || partitions.delete(&name)).await;
    }

    /// Closes the group of a partition whose topic is deleted, and forgets what was promised in it.
    pub(crate) async fn forget_group(&self, name: &LogName) {
        if let Some(replication) = self.replication.get() {
            replication.close(group(name)).await;
            replication.forget(group(name)).await;
        }
    }

    /// A broker is gone: what it led gets other leaders.
    pub(crate) async fn broker_down(&self, broker: BrokerId) {
        if let Some(replication) = self.replication.get() {
            replication.broker_down(broker).await;
        }
    }

    /// Hands what is led here and has replicas elsewhere to those, before this broker stops.
    pub(crate) async fn hand_over(&self) {
        if let Some(replication) = self.replication.get() {
            replication.hand_over_all().await;
        }
    }

    /// Groups of these partitions that rest.
    pub(crate) fn resting(&self) -> usize {
        self.replication.get().map_or(0, |replication| replication.resting())
    }

    /// Closes what replicates partitions: the data directory may be closed then.
    pub(crate) async fn stop_replication(&self) {
        if let Some(replication) = self.replication.get() {
            replication.shutdown().await;
        }
    }

    fn take_away(&self, name: &LogName) {
        let entry = self.entries.write().remove(&key(name));
        if let Some(Entry::Online(partition)) = entry {
            // Parked fetches find out that the partition is gone; nothing of it commits any more.
            partition.waiters().ended();
        }
    }

    /// Hands the leadership of a partition to another of its replicas. The sentence of an error says
    /// why it stays.
    pub(crate) async fn transfer(&self, partition: Key, to: BrokerId) -> Result<(), String> {
        let replication = self.replication.get().ok_or("there is no other replica")?;
        let (topic_id, partition) = partition;
        replication.transfer(GroupId { topic_id, partition }, to).await
    }

    /// Takes new settings into use.
    pub(crate) fn set_settings(&self, name: &LogName, settings: TopicSettings) {
        if let Ok(partition) = self.get(name.topic_id, name.partition.partition) {
            partition.set_settings(settings);
        }
    }

    /// Those that are open, also if their log has failed since.
    pub(crate) fn online(&self) -> Vec<Arc<Partition>> {
        let entries = self.entries.read();
        let open = entries.values().filter_map(|entry| match entry {
            Entry::Online(partition) => Some(partition.clone()),
            Entry::Offline { .. } => None,
        });
        open.collect()
    }

    /// Those whose log could not be opened, and why.
    pub(crate) fn offline(&self) -> Vec<(LogName, String)> {
        let entries = self.entries.read();
        let failed = entries.values().filter_map(|entry| match entry {
            Entry::Online(_) => None,
            Entry::Offline { name, reason } => Some((name.clone(), reason.clone())),
        });
        failed.collect()
    }
}

async fn on_blocking_pool<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

const fn group(name: &LogName) -> GroupId {
    GroupId { topic_id: name.topic_id, partition: name.partition.partition }
}

const fn key(name: &LogName) -> (TopicId, PartitionId) {
    (name.topic_id, name.partition.partition)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::topic::{TopicName, TopicPartition};

    use super::*;
    use crate::settings::{BrokerSettings, Values};
    use crate::test_node::{TestNode, batch};
    use crate::test_replica::Asked;

    fn settings() -> TopicSettings {
        let broker = BrokerSettings::new(Values::new()).unwrap();
        TopicSettings::resolve(&Values::new(), &Values::new(), &broker).unwrap()
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_opened_takes_only_its_own_partition_offline() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let name = |partition| {
            let mut name = node.partition("t", 0).name.clone();
            name.partition.partition = PartitionId::new(partition);
            name
        };
        let in_the_way = node.data_dir.path().join("t-1");
        std::fs::File::create(&in_the_way).unwrap();
        let partitions = &node.broker.partitions;
        partitions.open(&name(1), settings());
        partitions.open(&name(2), settings());
        let get = |partition| partitions.get(name(0).topic_id, PartitionId::new(partition));
        assert!(matches!(get(1), Err(LookupError::Offline(why)) if why.contains("t-1")));
        assert!(get(0).is_ok() && get(2).is_ok());
        assert_eq!(get(3).unwrap_err(), LookupError::Unknown);
        assert_eq!((partitions.online().len(), partitions.offline().len()), (2, 1));
        std::fs::remove_file(in_the_way).unwrap();
        partitions.open(&name(1), settings());
        assert!(get(1).is_ok() && partitions.offline().is_empty(), "the next attempt succeeds");
    }

    #[tokio::test]
    async fn a_deleted_partition_comes_back_empty() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        assert_eq!(node.produce("t", 0, batch(&["a"])).await.error_code, 0);
        let name = node.partition("t", 0).name.clone();
        node.broker.partitions.delete(&name);
        assert!(node.broker.partitions.online().is_empty());
        node.broker.partitions.open(&name, settings());
        assert_eq!(node.produce("t", 0, batch(&["b"])).await.base_offset, 0);
    }

    #[tokio::test]
    async fn a_partition_with_several_replicas_is_a_log_and_a_group() {
        let node = TestNode::among_three().await;
        node.assign("t", &[&[3, 1, 2]], &[]).await;
        node.assign("elsewhere", &[&[2, 3]], &[]).await;
        node.assign("alone", &[&[1]], &[]).await;
        let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId::new(*id)).collect::<Vec<_>>();
        let name = node.partition("t", 0).name.clone();
        let opened = Asked::Open(group(&name), brokers(&[3, 1, 2]));
        assert_eq!(*node.replication.asked.lock(), std::slice::from_ref(&opened));
        let partitions = &node.broker.partitions;
        assert_eq!(partitions.online().len(), 2, "nothing of what is elsewhere");
        assert_eq!(node.partition("t", 0).replica.log().kind(), LogKind::Replicated);
        assert_eq!(node.partition("alone", 0).replica.log().kind(), LogKind::Direct);

        let controller = node.broker.cluster.controller();
        let changed = controller.delete_topics(vec![Ok(name.topic_id)]).await;
        node.broker.cluster.reconciled(changed.index).await.unwrap();
        let (closed, forgotten) = (Asked::Close(group(&name)), Asked::Forget(group(&name)));
        assert_eq!(*node.replication.asked.lock(), [opened, closed, forgotten]);
        assert!(!node.data_dir.path().join("t-0").exists());
    }

    #[tokio::test]
    async fn a_broker_that_knows_no_others_has_no_groups() {
        let node = TestNode::new(&[]).await;
        let lonely = Arc::new(Partitions::new(node.data_dir.clone(), BrokerId::new(1)));
        let topic_id = TopicId::new(uuid::Uuid::from_u128(5)).unwrap();
        let partition = TopicPartition::new(TopicName::new("t").unwrap(), PartitionId::new(0));
        let name = LogName { partition, topic_id };
        lonely.open_group(&name, settings(), Beginning::Found, Vec::new()).await;
        let found = lonely.get(topic_id, PartitionId::new(0));
        assert!(matches!(found, Err(LookupError::Offline(why)) if why.contains("replicate")));
    }

    #[tokio::test]
    async fn new_settings_are_in_force_at_once() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let partition = node.partition("t", 0);
        let mut stricter = settings();
        stricter.rules.batch_bytes_max = 1;
        node.broker.partitions.set_settings(&partition.name, stricter);
        assert_eq!(node.produce("t", 0, batch(&["a"])).await.error_code, 10);
        assert_eq!(partition.settings().rules.batch_bytes_max, 1);
    }

    #[tokio::test]
    async fn retention_tells_who_waits_only_if_something_left_the_log() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        node.produce("t", 0, batch(&["a"])).await;
        let partition = node.partition("t", 0);
        let apply = async || {
            let seen = partition.waiters().version();
            crate::retention::apply(&partition, node.clock.as_ref()).await;
            partition.waiters().version() != seen
        };
        assert!(!apply().await, "the record is young");
        node.clock.advance(Duration::from_secs(365 * 24 * 3600));
        assert!(apply().await);
        assert_eq!(partition.replica.pointers().log_start_offset.get(), 1);
        assert!(!apply().await, "nothing is left");
    }
}
