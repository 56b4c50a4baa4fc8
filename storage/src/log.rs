//! One partition's log: append, read, pointers, roll, truncate, delete.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::BatchHeader;
use protocol::types::{LeaderEpoch, Offset, Timestamp};

use crate::config::LogConfig;
use crate::data_dir::LogName;
use crate::environment::{LogCheckpoint, LogEnvironment, StopKind};
use crate::error::{AppendError, LogFailure, OpenError, ReadError};
use crate::read::{ReadRequest, Records};

/// One validated batch on its way into a log. The header is stamped at append, the body is the
/// bytes after the header as they came from the socket, never copied.
#[derive(Debug, Clone)]
pub struct AppendBatch {
    /// Decoded header; `base_offset` and `leader_epoch` are overwritten.
    pub header: BatchHeader,
    /// Everything after the 61 header bytes.
    pub body: Bytes,
}

/// Where a batch landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record, inclusive.
    pub base_offset: Offset,
    /// The offset after it; the batch is finished once the visible end reaches this.
    pub next_offset: Offset,
    /// Whether the batch was already there (idempotent retry): nothing was appended.
    pub duplicate: bool,
}

/// A consistent copy of a log's pointers; see the crate header for the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPointers {
    /// First readable offset, inclusive.
    pub log_start_offset: Offset,
    /// Everything below is synced (exclusive).
    pub recovery_point: Offset,
    /// Everything below is in the page cache (exclusive).
    pub written_end: Offset,
    /// Next offset to be assigned (exclusive end).
    pub log_end_offset: Offset,
}

/// Told by the flusher, on its thread, in order: keep it short, never block, never call back into
/// a log's append.
pub trait LogListener: Send + Sync {
    /// `finished` (exclusive) has moved: synced, or written where the log is relaxed.
    fn progressed(&self, finished: Offset);
    /// The log went offline; no further progress will be told.
    fn failed(&self, failure: &LogFailure);
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Opens the log in the existing directory `dir`, recovering it as `stop` asks. An empty
    /// directory is a new log. The caller has synced the directory's own name. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] or [`OpenError::Io`].
    pub(crate) fn open(
        _env: &LogEnvironment,
        _dir: PathBuf,
        _name: &LogName,
        _config: LogConfig,
        _checkpoint: Option<LogCheckpoint>,
        _stop: StopKind,
    ) -> Result<Arc<Self>, OpenError> {
        todo!()
    }

    /// What the next start needs to know; cheap, never blocks on the disk.
    pub(crate) fn checkpoint(&self) -> LogCheckpoint {
        todo!()
    }

    /// Writes a snapshot of the producers' state if enough was appended since the last one. Blocks.
    pub(crate) fn snapshot_producers(&self) {
        todo!()
    }

    /// Writes, syncs and trims everything, so that Kafka's tools read the files; appends and reads
    /// answer `Closed` from here on. Returns what to checkpoint. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the next start must recover this log.
    pub(crate) fn close(&self) -> Result<LogCheckpoint, OpenError> {
        todo!()
    }

    /// Stops the log for good without writing anything more and lets go of its files; the caller
    /// has renamed or removes the directory. Waits for a flusher round that is at work on it.
    pub(crate) fn delete(&self) {
        todo!()
    }

    /// Appends one batch in memory and hands it to the flusher. Never blocks on the disk.
    ///
    /// Assigns the offset, stamps offset and `epoch`, checks the producer's sequence. A batch that
    /// follows another call's is behind it in the log. Readable at once for callers that read above
    /// the finished end; finished when the listener has been told `next_offset`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended.
    pub fn append(
        &self,
        _batch: AppendBatch,
        _epoch: LeaderEpoch,
        _now: Timestamp,
    ) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Sets who is told of progress. There is one; the last call wins. Told the present state at once.
    pub fn set_listener(&self, _listener: Arc<dyn LogListener>) {
        todo!()
    }

    /// The pointers, consistent with each other.
    #[must_use]
    pub fn pointers(&self) -> LogPointers {
        todo!()
    }

    /// Everything below is finished by the log's own [`crate::config::SyncPolicy`] (exclusive).
    #[must_use]
    pub fn finished_end(&self) -> Offset {
        todo!()
    }

    /// Reads without blocking: tail cache, or a file range whose lookup needed no disk access.
    /// `Ok(None)` means that the disk is needed: call [`Log::read_blocking`] on the blocking pool.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below the log start or above the log end.
    pub fn read_nonblocking(&self, _request: ReadRequest) -> Result<Option<Records>, ReadError> {
        todo!()
    }

    /// Reads, waiting for the disk where needed, and brings the range into the page cache.
    ///
    /// # Errors
    /// As [`Log::read_nonblocking`], and [`ReadError::Failed`].
    pub fn read_blocking(&self, _request: ReadRequest) -> Result<Records, ReadError> {
        todo!()
    }

    /// The first record below `end` whose timestamp is at or after `target`, exact inside a batch:
    /// (its offset, its timestamp, its epoch). Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn offset_for_timestamp(
        &self,
        _target: Timestamp,
        _end: Offset,
    ) -> Result<Option<(Offset, Timestamp, LeaderEpoch)>, ReadError> {
        todo!()
    }

    /// The record with the largest timestamp below `end` (the first of them). Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn offset_of_max_timestamp(
        &self,
        _end: Offset,
    ) -> Result<Option<(Offset, Timestamp, LeaderEpoch)>, ReadError> {
        todo!()
    }

    /// Largest epoch ≤ `epoch` that has records, and the offset where the next one starts (the log
    /// end for the newest). `None` if the log knows none.
    #[must_use]
    pub fn epoch_end(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        todo!()
    }

    /// The newest epoch in the log.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        todo!()
    }

    /// Whether the log was recovered after an unclean stop, so that a new epoch is due.
    #[must_use]
    pub fn recovered_uncleanly(&self) -> bool {
        todo!()
    }

    /// Raises the first readable offset, durably, and drops whole segments below it. Blocks.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] above the log end.
    pub fn raise_log_start(&self, _to: Offset) -> Result<Offset, ReadError> {
        todo!()
    }

    /// Cuts the end: afterwards `log_end_offset` is `to`, or the start of the batch that holds it.
    /// Everything below is synced. Blocks. Only for callers that know nothing above `to` is finished.
    ///
    /// # Errors
    /// [`ReadError::Failed`]: the log is offline.
    pub fn truncate(&self, _to: Offset) -> Result<(), ReadError> {
        todo!()
    }

    /// Applies retention by age and size at `now`; never touches the active segment unless all of
    /// it is expired, and then rolls first. Returns how many bytes left the log. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Failed`].
    pub fn apply_retention(&self, _now: Timestamp) -> Result<u64, ReadError> {
        todo!()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        todo!()
    }

    /// Takes new settings into use for what follows.
    pub fn set_config(&self, _config: LogConfig) {
        todo!()
    }

    /// Why the log is offline, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<LogFailure> {
        todo!()
    }
}
