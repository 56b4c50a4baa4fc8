//! One partition's log: append, read, pointers, roll, truncate, delete.

//!
//! Two locks. The state's is short: appends and reads take it, and nobody waits for a disk while
//! holding it. The writer's is held by whoever changes files: the flusher, retention, truncation,
//! close. Order: writer before state; the listener's before the state's. The flusher's and the tail
//! cache's own locks are innermost and never held while calling back here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::topic::TopicId;
use protocol::types::{LeaderEpoch, Offset, Timestamp};

use crate::config::LogConfig;
use crate::device::DeviceFile;
use crate::disk_syncs::LogSyncs;
use crate::environment::{LogCheckpoint, LogEnvironment};
use crate::error::{AppendError, LogFailure};
use crate::producer_state::Judgement;
use crate::recovery;
use crate::scan::as_u64;

mod close;
pub mod entries;
pub(crate) mod open;
pub(crate) mod pieces;
pub mod producers;
mod read;
mod roll;
mod state;
pub(crate) mod sync_job;
#[cfg(test)]
mod tests;
mod time;
mod trim;
mod truncate;
pub(crate) mod write;

use pieces::Pieces;
use state::{Phase, State};

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
    /// `finished` (exclusive) has moved: synced, or written where the log is relaxed. In a replicated
    /// log also when only [`entries::EntryBounds::finished_end`] has: some entries take no offset.
    fn progressed(&self, finished: Offset);
    /// The log went offline; no further progress will be told.
    fn failed(&self, failure: &LogFailure);
}

/// One partition's log.
pub struct Log {
    name: String,
    topic_id: TopicId,
    directory: PathBuf,
    env: LogEnvironment,
    myself: Weak<Self>,
    state: Mutex<State>,
    /// Signalled when a sync of the flusher has ended.
    sync_ended: Condvar,
    /// Syncs of its files go through this.
    pub(crate) syncs: LogSyncs,
    writer: Mutex<Writer>,
    listener: Mutex<Option<Arc<dyn LogListener>>>,
}

/// What only the holder of the writer's lock needs.
#[derive(Debug, Default)]
struct Writer {
    /// Files with bytes that may be lost with the power, in the order of their segments.
    unsynced: Vec<Unsynced>,
    unsynced_records: u64,
    unsynced_bytes: usize,
    /// What `unsynced` holds, as long as it is little.
    pieces: Pieces,
    /// Up to where its newest segment's bytes count in the page cache.
    counted: Option<Counted>,
    /// Whether the flusher has a time for the next sync of this relaxed log.
    is_sync_timed: bool,
    /// Offsets of the producer snapshots on disk, rising; also of those that may be there.
    snapshots: Vec<Offset>,
    /// Files that have left the log.
    doomed: Vec<Doomed>,
}

/// A position in a segment.
#[derive(Debug)]
struct Counted {
    base_offset: Offset,
    position: u32,
}

/// A renamed file that is removed when its time has come.
#[derive(Debug)]
struct Doomed {
    path: PathBuf,
    due: Timestamp,
}

/// A file to be synced. A log that syncs every commit keeps it open until then, so that no error can
/// get lost; a relaxed one does not, or idle logs would hold descriptors.
#[derive(Debug)]
struct Unsynced {
    path: PathBuf,
    handle: Option<Arc<dyn DeviceFile>>,
}

impl Writer {
    /// Nothing of what was written is to be synced any more, or the caller does it.
    fn take_unsynced(&mut self) -> Vec<Unsynced> {
        (self.unsynced_records, self.unsynced_bytes) = (0, 0);
        self.pieces = Pieces::default();
        std::mem::take(&mut self.unsynced)
    }

    fn note_unsynced(&mut self, path: &Path, handle: &Arc<dyn DeviceFile>, keep_open: bool) {
        let handle = keep_open.then(|| Arc::clone(handle));
        match self.unsynced.iter_mut().find(|file| file.path == path) {
            Some(file) => file.handle = file.handle.take().or(handle),
            None => self.unsynced.push(Unsynced { path: path.to_owned(), handle }),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).field("state", &self.state).finish()
    }
}

impl Log {
    /// Appends one batch in memory and hands it to the flusher. Never blocks on the disk.
    ///
    /// Assigns the offset, stamps offset and `epoch`, checks the producer's sequence. A batch that
    /// follows another call's is behind it in the log. Readable at once for callers that read above
    /// the finished end; finished when the listener has been told `next_offset`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended.
    ///
    /// # Panics
    /// If the header does not describe the body or `epoch` is older than the log's newest: both are
    /// the caller's to check.
    pub fn append(
        &self,
        batch: AppendBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        let AppendBatch { header, body } = batch;
        let batch_bytes = HEADER_BYTES + body.len();
        assert_eq!(batch_bytes, header.batch_bytes(), "a header describes its own body");
        let mut state = self.state.lock();
        state.check_appendable()?;
        if state.entries.is_some() {
            // It has become a replicated one: its new owner takes batches, in a moment.
            return Err(AppendError::Busy { pending_bytes: 0 });
        }
        let segment_bytes_max = state.config.segment_bytes_max;
        if as_u64(batch_bytes) > u64::from(segment_bytes_max) {
            return Err(AppendError::LargerThanSegment { batch_bytes, segment_bytes_max });
        }
        let judgement = state.producers.judge(&header, now, self.env.producer_expiration.get())?;
        if let Judgement::Duplicate(earlier) = judgement {
            return Ok(Appended {
                base_offset: earlier.base_offset,
                next_offset: earlier.next_offset,
                duplicate: true,
            });
        }
        self.reserve(batch_bytes)?;
        let appended = state.append(header, body, epoch, now);
        let must_queue = !std::mem::replace(&mut state.is_queued, true);
        drop(state);
        if must_queue {
            self.queue();
        }
        Ok(appended)
    }

    /// Puts the log into the flusher's next round; `is_queued` was set by the caller.
    fn queue(&self) {
        if let Some(log) = self.myself.upgrade() {
            self.env.flusher.enqueue(log);
        }
    }

    /// Sets who is told of progress. There is one; the last call wins. Told the present state at once.
    pub fn set_listener(&self, listener: Arc<dyn LogListener>) {
        let mut slot = self.listener.lock();
        let (finished, failure) = {
            let state = self.state.lock();
            (state.finished_end, state.failure())
        };
        listener.progressed(finished);
        if let Some(failure) = failure {
            listener.failed(&failure);
        }
        *slot = Some(listener);
    }

    /// Tells the listener how far the log has come. Must be called without the state's lock.
    fn tell_progress(&self) {
        // The lock is held while telling, and the end is read under it, so that ends never fall.
        let slot = self.listener.lock();
        let finished = {
            let state = self.state.lock();
            if state.failure().is_some() {
                return;
            }
            state.finished_end
        };
        if let Some(listener) = slot.as_ref() {
            listener.progressed(finished);
        }
    }

    /// Takes the log offline for good.
    pub(crate) fn fail(&self, failure: LogFailure) {
        let mut writer = self.writer.lock();
        self.fail_with(&mut writer, failure);
    }

    /// As [`Log::fail`], for the flusher after a panic in this log's code or in its listener's.
    pub(crate) fn fail_after_panic(&self, operation: &'static str) {
        let cause = Arc::new(std::io::Error::other("the code of this log panicked"));
        self.fail(LogFailure { path: self.directory.clone(), operation, cause });
    }

    fn fail_with(&self, writer: &mut Writer, failure: LogFailure) {
        if !matches!(self.state.lock().phase, Phase::Open) {
            return;
        }
        recovery::mark_failed(&*self.env.device, &self.directory);
        let slot = self.listener.lock();
        {
            let mut state = self.state.lock();
            state.phase = Phase::Failed(failure.clone());
            state.is_queued = false;
            self.give_up_pending(&mut state);
        }
        writer.take_unsynced();
        tracing::error!(log = %self.name, %failure, "the log is offline");
        self.env.watch.note_failure(|| format!("{}: {failure}", self.name));
        metrics::counter!(crate::metrics::LOGS_FAILED.name).increment(1);
        if let Some(listener) = slot.as_ref() {
            listener.failed(&failure);
        }
    }

    fn give_up_pending(&self, state: &mut State) {
        let bytes = state.drop_pending();
        self.give_back(bytes);
    }

    /// The writer's lock, at a moment when the flusher syncs none of this log's files.
    fn quiet_writer(&self) -> MutexGuard<'_, Writer> {
        self.state.lock().quiet_wanted += 1;
        loop {
            let writer = self.writer.lock();
            let mut state = self.state.lock();
            if state.syncs_in_flight == 0 {
                state.quiet_wanted -= 1;
                return writer;
            }
            // The flusher needs the writer's lock to say that a sync has failed.
            drop(writer);
            self.sync_ended.wait(&mut state);
        }
    }

    /// The pointers, consistent with each other.
    #[must_use]
    pub fn pointers(&self) -> LogPointers {
        self.state.lock().pointers
    }

    /// Everything below is finished by the log's own [`crate::config::SyncPolicy`] (exclusive).
    #[must_use]
    pub fn finished_end(&self) -> Offset {
        self.state.lock().finished_end
    }

    /// What the next start needs to know; cheap, never blocks on the disk.
    pub(crate) fn checkpoint(&self) -> LogCheckpoint {
        let pointers = self.state.lock().pointers;
        LogCheckpoint {
            log_start_offset: pointers.log_start_offset,
            recovery_point: pointers.recovery_point,
            log_end_offset: pointers.log_end_offset,
        }
    }

    /// The largest epoch up to `epoch` that has records, and the offset where the next one starts
    /// (the log end for the newest). For an epoch older than all that are known, that epoch itself
    /// and where the first known one starts, as Kafka answers. `None` if the log knows none.
    #[must_use]
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.state.lock();
        state.leader_epochs.end_of(epoch, state.pointers.log_end_offset)
    }

    /// The epoch in which the log starts.
    #[must_use]
    pub fn earliest_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().leader_epochs.earliest()
    }

    /// The newest epoch in the log.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state.lock().leader_epochs.latest()
    }

    /// Whether the log was recovered after an unclean stop, so that a new epoch is due.
    #[must_use]
    pub fn recovered_uncleanly(&self) -> bool {
        self.state.lock().spent_epoch.is_some()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.state.lock().segments.iter().map(|segment| u64::from(segment.bytes())).sum()
    }

    /// Takes new settings into use for what follows.
    pub fn set_config(&self, config: LogConfig) {
        let config = self.kind().settings(config);
        let must_queue = {
            let mut state = self.state.lock();
            let must_sync = state.config.sync != config.sync;
            state.config = Arc::new(config);
            must_sync && !std::mem::replace(&mut state.is_queued, true)
        };
        if must_queue {
            self.queue();
        }
    }

    /// Why the log is offline, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<LogFailure> {
        self.state.lock().failure()
    }

    /// The name of its directory, which is the partition's.
    pub(crate) fn directory_name(&self) -> &str {
        &self.name
    }

    /// The incarnation of the topic that it belongs to.
    pub(crate) const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Lets go of batches in memory that are in the file. Called by the tail cache.
    pub(crate) fn drop_tail_below(&self, number: u64) {
        self.state.lock().tail.drop_below(number);
    }
}
