//! The partitions that this broker keeps: open, look up, delete.

use std::sync::Arc;

use protocol::topic::TopicId;
use protocol::types::PartitionId;
use storage::data_dir::LogName;

use crate::partition::Partition;
use crate::settings::TopicSettings;

/// All local partitions.
pub(crate) struct Partitions {}

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
    /// Finds an open partition by topic id and index.
    pub(crate) fn get(
        &self,
        _topic: TopicId,
        _partition: PartitionId,
    ) -> Result<Arc<Partition>, LookupError> {
        todo!()
    }
    /// Opens (or creates) the log and makes the partition available, or records why it is offline.
    /// Blocks on the disk: called by the reconciler on its own thread.
    pub(crate) fn open(&self, _name: &LogName, _settings: TopicSettings) {
        todo!()
    }
    /// Takes the partition away from clients, then deletes its log. Blocks on the disk.
    pub(crate) fn delete(&self, _name: &LogName) {
        todo!()
    }
    /// Takes new settings into use.
    pub(crate) fn set_settings(&self, _name: &LogName, _settings: TopicSettings) {
        todo!()
    }
    /// What is known locally, open or offline.
    pub(crate) fn names(&self) -> Vec<LogName> {
        todo!()
    }
}
