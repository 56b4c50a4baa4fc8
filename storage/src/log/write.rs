//! The flusher's side of a log: writes pending batches and rolls segments.
//!
//! Everything here holds the writer's lock, which no append and no read takes.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use protocol::types::Offset;

use super::state::{PendingBatch, Phase};
use super::sync_job::SyncWish;
use super::{Counted, Log, Writer};
use crate::checkpoint::{self, CheckpointError};
use crate::config::{LogConfig, SyncPolicy};
use crate::device::{DeviceFile, OpenMode};
use crate::error::{LogFailure, OpenError};
use crate::leader_epochs;
use crate::log::roll::RollRules;
use crate::page_cache::STRETCH_BYTES;
use crate::scan::{LOOKUP_WINDOW_BYTES, Scan, ScanError, Wait, as_u64};
use crate::segment::{Segment, SegmentEntries};
use crate::tail_cache::tail::{Chunk, join_small};

/// Bytes of one write call at most.
const RUN_BYTES_MAX: usize = 8 << 20;

/// What became of one log in one round.
pub(crate) struct Written {
    /// Bytes that are in the page cache now.
    pub(crate) bytes: usize,
    /// What is left to do.
    pub(crate) rest: Rest,
    /// What should be synced, and when.
    pub(crate) sync: SyncWish,
}

/// Why a log wants to be in another round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It does not.
    Nothing,
    /// It has more than it was allowed to write.
    More,
    /// Someone else is changing its files, or waits to do so.
    Busy,
    /// The disk is full.
    Full,
}

impl Written {
    /// Nothing was written, and nothing is left.
    pub(crate) fn nothing() -> Self {
        Self { bytes: 0, rest: Rest::Nothing, sync: SyncWish::default() }
    }

    /// Nothing was written in this round.
    pub(crate) fn more() -> Self {
        Self { rest: Rest::More, ..Self::nothing() }
    }
}

/// Why a run was not written.
pub(super) enum WriteFailure {
    /// The disk is full; the file ends where it ended before.
    Full,
    /// The log cannot go on.
    Failed(LogFailure),
}

impl WriteFailure {
    pub(super) fn of(path: &Path, operation: &'static str, cause: io::Error) -> Self {
        if is_full(&cause) {
            return Self::Full;
        }
        Self::Failed(LogFailure { path: path.to_owned(), operation, cause: Arc::new(cause) })
    }
}

impl From<CheckpointError> for WriteFailure {
    fn from(error: CheckpointError) -> Self {
        Self::from(OpenError::from(error))
    }
}

impl From<OpenError> for WriteFailure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io { path, operation, cause } => Self::of(&path, operation, cause),
            other => Self::Failed(LogFailure {
                path: PathBuf::new(),
                operation: "read",
                cause: Arc::new(io::Error::new(io::ErrorKind::InvalidData, other)),
            }),
        }
    }
}

/// Whether a write failed only for lack of space.
pub(super) fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Log {
    /// Whether the next write waits for more than its own bytes.
    pub(crate) fn needs_preparation(&self) -> bool {
        let state = self.state.lock();
        state.epochs_changed || !state.active().is_created()
    }

    /// Does ahead of [`Log::write_pending`] what the first write of a log or of an epoch needs. Where
    /// the disk is full nothing is lost: the write finds that out again.
    pub(crate) fn prepare(&self) {
        // Like the write, it never waits for others that change this log's files.
        let Some(mut writer) = self.writer.try_lock() else { return };
        let segment = {
            let state = self.state.lock();
            let is_open = matches!(state.phase, Phase::Open);
            if !is_open || state.pending.is_empty() || state.quiet_wanted > 0 {
                return;
            }
            Arc::clone(state.active())
        };
        let mut outcome = self.save_epochs();
        if outcome.is_ok() && !segment.is_created() {
            outcome = segment.create(&self.env).map_err(WriteFailure::from);
        }
        if let Err(WriteFailure::Failed(failure)) = outcome {
            self.fail_with(&mut writer, failure);
        }
    }

    /// Writes pending batches up to about `bytes_max`. Called by the flusher, which never waits for
    /// others that change this log's files.
    pub(crate) fn write_pending(&self, bytes_max: usize, now: Instant) -> Written {
        let is_wanted = self.state.lock().quiet_wanted > 0;
        let writer = if is_wanted { None } else { self.writer.try_lock() };
        let Some(mut writer) = writer else {
            return Written { rest: Rest::Busy, ..Written::nothing() };
        };
        let mut bytes = 0;
        let outcome = self.write_runs(&mut writer, bytes_max, &mut bytes);
        let is_full = matches!(outcome, Err(WriteFailure::Full));
        match outcome {
            Ok(()) => {}
            Err(WriteFailure::Full) => self.env.space.found_full(),
            Err(WriteFailure::Failed(failure)) => {
                self.fail_with(&mut writer, failure);
                return Written { bytes, ..Written::nothing() };
            }
        }
        let sync = self.wish_sync(&mut writer, now);
        drop(writer);
        let (has_more, is_relaxed) = {
            let mut state = self.state.lock();
            state.is_queued = !state.pending.is_empty();
            if state.is_relaxed() {
                // Also what was written while the log was not relaxed yet.
                state.finish_written();
            }
            (state.is_queued, state.is_relaxed())
        };
        if is_relaxed {
            self.tell_progress();
        }
        let rest = match (has_more, is_full) {
            (false, _) => Rest::Nothing,
            (true, false) => Rest::More,
            (true, true) => Rest::Full,
        };
        Written { bytes, rest, sync }
    }

    pub(super) fn write_runs(
        &self,
        writer: &mut Writer,
        bytes_max: usize,
        written_bytes: &mut usize,
    ) -> Result<(), WriteFailure> {
        while *written_bytes < bytes_max {
            let limit = RUN_BYTES_MAX.min(bytes_max - *written_bytes);
            let (run, config) = {
                let state = self.state.lock();
                if !matches!(state.phase, Phase::Open) {
                    return Ok(());
                }
                let mut bytes = 0;
                let within = |batch: &&PendingBatch| {
                    let is_first = bytes == 0;
                    bytes += batch.chunk.bytes();
                    is_first || bytes <= limit
                };
                let run: Vec<_> = state.pending.iter().take_while(within).cloned().collect();
                (run, Arc::clone(&state.config))
            };
            let Some(first) = run.first() else { return Ok(()) };
            self.save_epochs()?;
            let segment = self.writable_segment(writer, first, &config)?;
            let rules = RollRules::new(&segment, &config, &self.name);
            let run = &run[..rules.fitting(&run)];
            *written_bytes += self.write_run(writer, &segment, run, &config)?;
            self.snapshot_if_much_was_written(writer);
        }
        Ok(())
    }

    /// Writes batches that fit into the segment, and publishes them.
    fn write_run(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        run: &[PendingBatch],
        config: &LogConfig,
    ) -> Result<usize, WriteFailure> {
        let path = segment.path();
        let file = self
            .env
            .files
            .open(path, OpenMode::Write)
            .map_err(|cause| WriteFailure::of(path, "open", cause))?;
        let chunks: Vec<Chunk> = run.iter().map(|batch| batch.chunk.clone()).collect();
        let chunks = join_small(&chunks);
        let slices: Vec<IoSlice<'_>> = chunks
            .iter()
            .flat_map(|chunk| [&chunk.header, &chunk.body])
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| IoSlice::new(bytes))
            .collect();
        let start = segment.bytes();
        let position = u64::from(start);
        // Known as unsynced before the write: a part of it may get into the file.
        writer.note_unsynced(path, &file, matches!(config.sync, SyncPolicy::EveryCommit));
        if let Err(error) = file.write_vectored_at(&slices, position) {
            if is_full(&error.cause) {
                file.set_len(position)
                    .map_err(|cause| WriteFailure::of(path, "cut back to what fits", cause))?;
            }
            return Err(WriteFailure::of(path, "write", error.cause));
        }
        drop(slices);
        if config.sync == SyncPolicy::EveryCommit {
            writer.pieces.note(segment.base_offset(), start, &chunks);
        } else {
            writer.pieces.give_up();
        }
        segment.note_written(run.iter().map(|batch| &batch.header), config, run[0].appended_at);
        if let Err(error) = segment.save_index(&self.env, false) {
            // The rows stay in memory; a lookup never depends on the file of an active segment.
            tracing::debug!(log = %self.name, %error, "index rows not written yet");
        }
        let saved = segment.save_raft_only(&self.env);
        if let Some((path, handle)) =
            saved.map_err(|cause| WriteFailure::of(path, "write beside", cause))?
        {
            writer.note_unsynced(&path, &handle, true);
            writer.pieces.give_up();
        }
        writer.unsynced_bytes += chunks.iter().map(Chunk::bytes).sum::<usize>();
        writer.unsynced_records += run
            .iter()
            .map(|batch| u64::try_from(batch.header.record_count).unwrap_or(0))
            .sum::<u64>();
        let bytes = chunks.iter().map(Chunk::bytes).sum();
        let bytes_in_segment = u32::try_from(bytes).expect("a run is far below 4 GiB");
        let drop_below = self.state.lock().note_written(run.len(), bytes_in_segment, chunks);
        self.env.flusher.release(bytes);
        self.env.space.settle(as_u64(bytes));
        self.env.tail_cache.written(self.myself.clone(), drop_below, bytes);
        self.count_in_page_cache(writer, segment, &file, start);
        Ok(bytes)
    }

    /// Counts what was written from `start` on, once it is a whole stretch.
    fn count_in_page_cache(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        file: &Arc<dyn DeviceFile>,
        start: u32,
    ) {
        let (base_offset, end) = (segment.base_offset(), segment.bytes());
        let goes_on =
            |counted: &Counted| counted.base_offset == base_offset && counted.position <= start;
        let before =
            writer.counted.take().filter(goes_on).map_or(start, |counted| counted.position);
        let mut position = before;
        if end - before >= STRETCH_BYTES {
            self.env.page_cache.written(file, u64::from(before), u64::from(end - before));
            position = end;
        }
        writer.counted = Some(Counted { base_offset, position });
    }

    /// The epoch table is durable before the first batch of a new epoch is written.
    pub(super) fn save_epochs(&self) -> Result<(), WriteFailure> {
        let lines: Vec<String> = {
            let state = self.state.lock();
            if !state.epochs_changed {
                return Ok(());
            }
            state.leader_epochs.lines().collect()
        };
        let path = self.directory.join(leader_epochs::FILE_NAME);
        checkpoint::write(&*self.env.device, &path, leader_epochs::VERSION, lines.iter())?;
        let mut state = self.state.lock();
        // An epoch that began meanwhile is saved before its own first batch.
        state.epochs_changed = !state.leader_epochs.lines().eq(lines);
        Ok(())
    }

    /// The active segment, rolled first if `first` does not go into it; its file exists and its
    /// index is in memory.
    fn writable_segment(
        &self,
        writer: &mut Writer,
        first: &PendingBatch,
        config: &LogConfig,
    ) -> Result<Arc<Segment>, WriteFailure> {
        let mut segment = Arc::clone(self.state.lock().active());
        segment.load(&self.env)?;
        if segment.bytes() > 0 && segment.first_timestamp().is_none() {
            self.read_first_timestamp(&segment)?;
        }
        if RollRules::new(&segment, config, &self.name).is_due(first) {
            segment = self.roll(first.chunk.base_offset)?;
            self.snapshot_at_roll(writer, first.chunk.base_offset);
        }
        if !segment.is_created() {
            segment.create(&self.env)?;
        }
        Ok(segment)
    }

    fn read_first_timestamp(&self, segment: &Segment) -> Result<(), WriteFailure> {
        let path = segment.path();
        let failed = |operation| move |cause| WriteFailure::of(path, operation, cause);
        let file = self.env.files.open(path, OpenMode::Read).map_err(failed("open"))?;
        let end = u64::from(segment.bytes());
        let mut scan = Scan::new(&*file, end, Wait::ForDisk, LOOKUP_WINDOW_BYTES);
        let mut next = scan.batch_at(0);
        while let Ok(Some(found)) = next
            && found.header.is_raft_only()
        {
            next = scan.batch_at(found.end());
        }
        match next {
            Ok(Some(found)) => segment.set_first_timestamp(found.header.max_timestamp),
            Ok(None) | Err(ScanError::WouldBlock) => {}
            Err(ScanError::Io(cause)) => return Err(failed("read")(cause)),
            Err(ScanError::Damaged { what, .. }) => {
                return Err(failed("read")(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
        }
        Ok(())
    }

    fn next_segment(&self, base_offset: Offset) -> Segment {
        let segment = Segment::new(&self.directory, base_offset);
        match &self.state.lock().entries {
            None => segment,
            Some(entries) => {
                segment.with_entries(SegmentEntries::none_from(entries.written_start()))
            }
        }
    }

    /// Closes the active segment and makes a new one that starts at `base_offset`.
    /// The caller holds the writer's lock.
    pub(super) fn roll(&self, base_offset: Offset) -> Result<Arc<Segment>, WriteFailure> {
        let old = Arc::clone(self.state.lock().active());
        assert!(old.base_offset() < base_offset, "a segment without an offset is not rolled");
        let segment = Arc::new(self.next_segment(base_offset));
        segment.create(&self.env)?;
        if let Err(error) = old.finish_index(&self.env) {
            if is_full(&error) {
                return Err(WriteFailure::Full);
            }
            return Err(WriteFailure::of(old.path(), "finish the index of", error));
        }
        old.close();
        let mut state = self.state.lock();
        state.segments.push(Arc::clone(&segment));
        state.written_position = 0;
        Ok(segment)
    }
}
