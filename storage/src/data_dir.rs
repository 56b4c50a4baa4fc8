//! The directory of one node: lock, identity, clean-stop mark, checkpoints, all logs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::topic::{TopicId, TopicPartition};
use protocol::types::BrokerId;
use uuid::Uuid;

use crate::config::LogConfig;
use crate::device::Device;
use crate::error::OpenError;
use crate::log::Log;

/// Who a data directory belongs to. Made on first start, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub broker_id: BrokerId,
    /// This directory.
    pub directory_id: Uuid,
}

/// Limits of everything under one data directory.
#[derive(Debug, Clone)]
pub struct DataDirConfig {
    /// Open segment and index files kept at once.
    pub open_files_max: usize,
    /// Bytes of recent batches kept in memory over all logs.
    pub tail_cache_bytes_max: usize,
    /// Bytes that may wait for the disk over all logs before appends are refused as busy.
    pub pending_bytes_max: usize,
    /// Appends are refused while less than this is free; they resume above twice as much.
    pub free_bytes_min: u64,
    /// Producer state expires after this long without a batch (`producer.id.expiration.ms`).
    pub producer_expiration: std::time::Duration,
}

/// A partition found on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogName {
    /// By name.
    pub partition: TopicPartition,
    /// The topic's incarnation.
    pub topic_id: TopicId,
}

/// An open, locked data directory with its flusher.
#[derive(Debug)]
pub struct DataDir {}

impl DataDir {
    /// Locks and opens `path`; makes it, with the identity that `identity` returns, if it is new.
    /// Logs are opened one by one with [`DataDir::open_log`].
    ///
    /// # Errors
    /// Each of [`OpenError`] asks something else of the operator.
    pub fn open(
        _path: &Path,
        _config: DataDirConfig,
        _identity: impl FnOnce() -> Identity,
    ) -> Result<Self, OpenError> {
        todo!()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        todo!()
    }

    /// The disk that it is on, for files in it that are no partition's log.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        todo!()
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        todo!()
    }

    /// Whether the last stop was clean, so that nothing needs scanning.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        todo!()
    }

    /// Partitions that have a directory here.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn list(&self) -> Result<Vec<LogName>, OpenError> {
        todo!()
    }

    /// Opens a partition's log, recovering it if needed, or creates it if `name` has no directory.
    /// The parent directory is synced before this returns. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] takes only this partition offline; others may still be opened.
    pub fn open_log(&self, _name: &LogName, _config: LogConfig) -> Result<Arc<Log>, OpenError> {
        todo!()
    }

    /// Closes and deletes a partition's log: renamed durably first, removed in the background.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn delete_log(&self, _name: &LogName) -> Result<(), OpenError> {
        todo!()
    }

    /// Free bytes of the file system.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        todo!()
    }

    /// Whether appends are refused for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        todo!()
    }

    /// Syncs everything, writes checkpoints and the clean-stop mark, releases the lock.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the next start recovers as after a crash.
    pub fn close(self) -> Result<(), OpenError> {
        todo!()
    }
}
