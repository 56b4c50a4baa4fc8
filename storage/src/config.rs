//! What a log is told about how to behave. Checked by whoever builds it; this crate trusts it.

use std::time::Duration;

/// When an append counts as finished. A replicated log syncs every commit, whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After the data is synced to disk (the default).
    EveryCommit,
    /// After the data is in the page cache: safe against a killed process, not against power loss.
    Relaxed {
        /// Sync at the latest after this many records (`flush.messages`).
        flush_records: Option<u64>,
        /// Sync at the latest after this long (`flush.ms`).
        flush_interval: Option<Duration>,
    },
}

/// The settings of one log. May change while the log is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Roll when the active segment would grow beyond this (`segment.bytes`).
    pub segment_bytes_max: u32,
    /// Roll when the active segment's first record is older than this (`segment.ms`).
    pub segment_age_max: Duration,
    /// Spread of the age limit over segments (`segment.jitter.ms`).
    pub segment_jitter_max: Duration,
    /// Size limit of each index file (`segment.index.bytes`).
    pub index_bytes_max: u32,
    /// Bytes of records per index row (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Delete segments whose newest record is older; `None` keeps by age for ever.
    pub retention: Option<Duration>,
    /// Delete oldest segments while the log stays at least this large; `None` is unlimited.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` holds `delete`; without it retention leaves the log alone.
    pub delete_old_segments: bool,
    /// How long a deleted segment's files stay after they left the log (`file.delete.delay.ms`).
    pub file_delete_delay: Duration,
    /// When an append counts as finished.
    pub sync: SyncPolicy,
}

impl Default for LogConfig {
    fn default() -> Self {
        const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
        Self {
            segment_bytes_max: 1 << 30,
            segment_age_max: WEEK,
            segment_jitter_max: Duration::ZERO,
            index_bytes_max: 10 << 20,
            index_interval_bytes: 4096,
            retention: Some(WEEK),
            retention_bytes: None,
            delete_old_segments: true,
            file_delete_delay: Duration::from_secs(60),
            sync: SyncPolicy::EveryCommit,
        }
    }
}
