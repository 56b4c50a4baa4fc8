//! The partitions that this broker keeps: open, look up, delete.
//!
//! Opened and deleted on the reconciler's threads, each partition by one at a time; looked up by
//! every request.
//! A log that cannot be opened takes its own partition offline and nothing else. The lock is never
//! held while the disk is touched.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use raft::replica::ReplicaListener;
use storage::data_dir::{DataDir, LogName};
use storage::log::entries::LogKind;

use crate::partition::Partition;
use crate::settings::TopicSettings;

/// All local partitions.
pub(crate) struct Partitions {
    data_dir: Arc<DataDir>,
    broker_id: BrokerId,
    entries: RwLock<HashMap<(TopicId, PartitionId), Entry>>,
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
        Self { data_dir, broker_id, entries: RwLock::default() }
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

    /// Opens (or creates) the log and makes the partition available, or records why it is offline.
    /// Does nothing for one that is open. Blocks on the disk: called by the reconciler on its own
    /// thread.
    pub(crate) fn open(&self, name: &LogName, settings: TopicSettings) {
        if self.get(name.topic_id, name.partition.partition).is_ok() {
            return;
        }
        let entry = match self.data_dir.open_log(name, settings.log.clone(), LogKind::Direct) {
            Ok(log) => {
                let replica = raft::direct::direct(log, self.broker_id);
                Entry::Online(Arc::new(Partition::new(name.clone(), replica, settings)))
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(partition = %name.partition, %reason, "a partition is offline");
                Entry::Offline { name: name.clone(), reason }
            }
        };
        self.entries.write().insert(key(name), entry);
    }

    /// Takes the partition away from clients, then deletes its log. Blocks on the disk.
    pub(crate) fn delete(&self, name: &LogName) {
        let entry = self.entries.write().remove(&key(name));
        if let Some(Entry::Online(partition)) = entry {
            // Parked fetches find out that the partition is gone; nothing of it commits any more.
            partition.waiters().ended();
        }
        if let Err(error) = self.data_dir.delete_log(name) {
            tracing::warn!(partition = %name.partition, %error, "a deleted log stays on the disk");
        }
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

const fn key(name: &LogName) -> (TopicId, PartitionId) {
    (name.topic_id, name.partition.partition)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{BrokerSettings, Values};
    use crate::test_node::{TestNode, batch};

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
