//! One error enum per operation, with the facts that a caller needs to act.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::types::{LeaderEpoch, LogIndex, Offset, ProducerEpoch, ProducerId, Sequence};

/// Why a log is offline. Final until the process starts again and recovers it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {operation} failed: {cause}", path = path.display())]
pub struct LogFailure {
    /// The file.
    pub path: PathBuf,
    /// What was being done: "write", "sync", "read", ….
    pub operation: &'static str,
    /// The operating system's word, or what was found.
    pub cause: Arc<io::Error>,
}

/// Why an append was refused. Nothing of the batch is in the log then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The producer's sequence leaves a gap or repeats something older than the last five batches.
    #[error("producer {producer_id} sent sequence {got}, expected {expected}")]
    OutOfOrderSequence {
        /// Who.
        producer_id: ProducerId,
        /// What would have continued.
        expected: Sequence,
        /// What came.
        got: Sequence,
    },
    /// A newer incarnation of the producer has taken over.
    #[error("producer {producer_id} epoch {got} is fenced by epoch {current}")]
    FencedProducer {
        /// Who.
        producer_id: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// What came.
        got: ProducerEpoch,
    },
    /// Larger than a segment may be.
    #[error("a batch of {batch_bytes} bytes does not fit a segment of {segment_bytes_max}")]
    LargerThanSegment {
        /// The batch.
        batch_bytes: usize,
        /// The limit.
        segment_bytes_max: u32,
    },
    /// The disk's free space is below the guard's watermark; try again later.
    #[error("the disk is too full to accept writes")]
    DiskFull,
    /// Too many bytes wait for the disk; try again later.
    #[error("{pending_bytes} bytes already wait for the disk")]
    Busy {
        /// How many.
        pending_bytes: usize,
    },
    /// An entry does not continue a replicated log.
    #[error(
        "an entry at offset {offset} of epoch {leader_epoch} does not continue a log that ends at \
         {log_end_offset} in epoch {newest}"
    )]
    OutOfSequence {
        /// The entry's base offset.
        offset: Offset,
        /// Its epoch.
        leader_epoch: LeaderEpoch,
        /// What its base offset must be.
        log_end_offset: Offset,
        /// The epoch of the entry before it; [`LeaderEpoch::NONE`] if there is none.
        newest: LeaderEpoch,
    },
    /// The log is offline.
    #[error(transparent)]
    Failed(LogFailure),
    /// The log was closed (topic deleted, or the process stops).
    #[error("the log is closed")]
    Closed,
}

/// Why a read was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Below the log start or above the log end.
    #[error("offset {wanted} is outside {log_start_offset}..={log_end_offset}")]
    OutOfRange {
        /// Asked for.
        wanted: Offset,
        /// First readable, inclusive.
        log_start_offset: Offset,
        /// End, exclusive (asking for it is legal and returns nothing).
        log_end_offset: Offset,
    },
    /// Entries that a replicated log does not hold: purged, or not appended yet.
    #[error("entry {wanted} is outside {first}..{end}")]
    EntryOutOfRange {
        /// Asked for.
        wanted: LogIndex,
        /// First that is there, inclusive.
        first: LogIndex,
        /// End, exclusive.
        end: LogIndex,
    },
    /// The log is offline.
    #[error(transparent)]
    Failed(LogFailure),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a log or a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("{path} is in use by {holder}", path = path.display(), holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The holder, where the lock file tells.
        pid: Option<u32>,
    },
    /// The directory holds files but is not a data directory of ours.
    #[error("{path} is not empty and not a Millpond data directory (it holds {found})", path = path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the foreign names.
        found: String,
    },
    /// Written by a newer version.
    #[error("{path} has format {found}, this version reads up to {supported}", path = path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// Synced data is damaged.
    #[error("{path} is damaged at byte {position}: {what}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from its start.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: {operation} failed: {cause}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// The refusal.
        cause: io::Error,
    },
}
