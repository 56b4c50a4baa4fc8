//! What a log needs from its surroundings, and what the data directory remembers of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::types::Offset;

use crate::data_dir::DataDirConfig;
use crate::device::Device;
use crate::disk_syncs::DiskSyncs;
use crate::error::OpenError;
use crate::file_cache::FileCache;
use crate::fitness::DiskWatch;
use crate::flusher::Flusher;
use crate::journal::{Journal, JournalConfig};
use crate::mapped_indexes::MappedIndexes;
use crate::page_cache::PageCache;
use crate::space::SpaceGuard;
use crate::tail_cache::TailCache;

/// What all logs of one data directory share.
#[derive(Debug, Clone)]
pub(crate) struct LogEnvironment {
    /// The disk.
    pub(crate) device: Arc<dyn Device>,
    /// What is noted of the disk.
    pub(crate) watch: Arc<DiskWatch>,
    /// Open files of all logs.
    pub(crate) files: Arc<FileCache>,
    /// The mapped ones among their indexes.
    pub(crate) mapped_indexes: Arc<MappedIndexes>,
    /// Lets appends in while the disk has space.
    pub(crate) space: Arc<SpaceGuard>,
    /// Which syncs of the disk count.
    pub(crate) disk_syncs: Arc<DiskSyncs>,
    /// Writes and syncs for all logs of the disk.
    pub(crate) flusher: Arc<Flusher>,
    /// Recent batches of all logs.
    pub(crate) tail_cache: Arc<TailCache>,
    /// What all logs leave in the page cache.
    pub(crate) page_cache: Arc<PageCache>,
    /// A producer without a batch for this long is forgotten.
    pub(crate) producer_expiration: ProducerExpiration,
    /// Whether all that was on the disk when the directory was opened is durable.
    pub(crate) found_is_synced: bool,
}

impl LogEnvironment {
    /// What the logs below `path` share. Starts the flusher.
    pub(crate) fn new(
        (device, watch): (Arc<dyn Device>, Arc<DiskWatch>),
        path: &Path,
        config: &DataDirConfig,
        journal: JournalConfig,
        found_is_synced: bool,
    ) -> Result<Self, OpenError> {
        let space = SpaceGuard::new(Arc::clone(&device), path.to_owned(), config.free_bytes_min);
        let space = space.map_err(|cause| OpenError::Io {
            path: path.to_owned(),
            operation: "ask for the free space",
            cause,
        })?;
        let disk_syncs = DiskSyncs::new(Arc::clone(&device), path.to_owned());
        let journal = Journal::new(Arc::clone(&device), Arc::clone(&disk_syncs), journal);
        let page_cache = Arc::new(PageCache::new(config.page_cache_bytes_max));
        let pending_bytes_max = config.pending_bytes_max;
        Ok(Self {
            files: Arc::new(FileCache::new(Arc::clone(&device), config.open_files_max)),
            device,
            watch,
            mapped_indexes: Arc::default(),
            space: Arc::new(space),
            flusher: Flusher::start(&disk_syncs, &page_cache, journal, pending_bytes_max),
            disk_syncs,
            tail_cache: Arc::new(TailCache::new(config.tail_cache_bytes_max)),
            page_cache,
            producer_expiration: ProducerExpiration::new(config.producer_expiration),
            found_is_synced,
        })
    }
}

/// How long a producer may be silent before it is forgotten. One for all logs, which take a change
/// into account with their next batch.
#[derive(Debug, Clone)]
pub(crate) struct ProducerExpiration(Arc<AtomicU64>);

impl ProducerExpiration {
    pub(crate) fn new(expiration: Duration) -> Self {
        let this = Self(Arc::default());
        this.set(expiration);
        this
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, expiration: Duration) {
        let millis = u64::try_from(expiration.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Ordering::Relaxed);
    }
}

/// What the data directory's checkpoint file remembers of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogCheckpoint {
    /// First readable offset, inclusive.
    pub(crate) log_start_offset: Offset,
    /// Everything below is synced (exclusive).
    pub(crate) recovery_point: Offset,
    /// The log's end (exclusive); true only if the stop was clean.
    pub(crate) log_end_offset: Offset,
}

/// How the process that had the data directory before us ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// Every log was closed: the checkpoint is the whole truth.
    Clean,
    /// The process died, the machine did not: every finished write is there.
    Killed,
    /// The machine stopped, or it cannot be told: only what was synced is there for sure.
    PowerLost,
}
