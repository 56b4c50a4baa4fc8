//! What a log wants to have synced, and what becomes of it.
//!
//! A job holds the files that were written to. It is made under the writer's lock and finished on the
//! thread that made the files durable; until then the log counts it, see [`Log::quiet_writer`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::pieces::{Piece, Pieces};
use super::state::{Phase, Written};
use super::{Log, Writer};
use crate::config::SyncPolicy;
use crate::device::{DeviceFile, OpenMode};
use crate::error::LogFailure;

/// When a log wants its files synced.
#[derive(Default)]
pub(crate) struct SyncWish {
    /// In this round.
    pub(crate) due: Option<SyncJob>,
    /// At the latest at this time.
    pub(crate) at: Option<Instant>,
}

/// A file with bytes that may be lost with the power.
#[derive(Debug, Clone)]
pub(crate) struct UnsyncedFile {
    pub(crate) path: PathBuf,
    pub(crate) handle: Arc<dyn DeviceFile>,
}

/// Files of one log to be synced; [`SyncJob::finish`] must be called afterwards.
pub(crate) struct SyncJob {
    pub(crate) files: Vec<UnsyncedFile>,
    bytes: usize,
    pieces: Pieces,
    log: Arc<Log>,
    written: Written,
    generation: u64,
}

impl SyncJob {
    /// Whose files they are.
    pub(crate) const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// How much was written to them since they were synced.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that was written, unless that is much.
    pub(crate) fn pieces(&self) -> Option<(&[Piece], usize)> {
        self.pieces.complete()
    }

    /// Takes over what `later`, a job of the same log, would do.
    pub(crate) fn absorb(&mut self, mut later: Self) {
        // A truncation waits until no job is left.
        debug_assert_eq!(self.generation, later.generation, "jobs from both sides of a truncation");
        self.written = later.written;
        self.bytes += later.bytes;
        self.pieces.absorb(std::mem::take(&mut later.pieces));
        for file in std::mem::take(&mut later.files) {
            // Another handle of the same file may be the one that an error is reported to.
            let is_new = |known: &UnsyncedFile| {
                !Arc::ptr_eq(known.handle.std_file(), file.handle.std_file())
            };
            if self.files.iter().all(is_new) {
                self.files.push(file);
            }
        }
    }

    /// All files are durable, or something is lost.
    pub(crate) fn finish(self, failure: Option<LogFailure>) {
        match failure {
            None => self.log.synced(self.written, self.generation),
            Some(failure) => self.log.fail(failure),
        }
    }
}

impl Drop for SyncJob {
    fn drop(&mut self) {
        self.log.state.lock().syncs_in_flight -= 1;
        self.log.sync_ended.notify_all();
    }
}

impl Log {
    /// What should be synced now, and when at the latest.
    pub(super) fn wish_sync(&self, writer: &mut Writer, now: Instant) -> SyncWish {
        let policy = self.state.lock().config.sync;
        if writer.unsynced.is_empty() {
            return SyncWish::default();
        }
        let SyncPolicy::Relaxed { flush_records, flush_interval } = policy else {
            return SyncWish { due: self.sync_job(writer), at: None };
        };
        // A segment is synced when it is closed, as Kafka does it.
        let has_rolled = writer.unsynced.len() > 1;
        let is_much = flush_records.is_some_and(|records| writer.unsynced_records >= records);
        if has_rolled || is_much {
            return SyncWish { due: self.sync_job(writer), at: None };
        }
        let at = flush_interval.filter(|_| !writer.is_sync_timed).map(|interval| now + interval);
        writer.is_sync_timed |= at.is_some();
        SyncWish { due: None, at }
    }

    /// The sync that `flush.ms` asked for; `None` if nothing is unsynced any more.
    pub(crate) fn take_sync_job(&self) -> Option<SyncJob> {
        let mut writer = self.writer.lock();
        writer.is_sync_timed = false;
        self.sync_job(&mut writer)
    }

    fn sync_job(&self, writer: &mut Writer) -> Option<SyncJob> {
        let log = self.myself.upgrade()?;
        let mut files = Vec::with_capacity(writer.unsynced.len());
        let pieces = std::mem::take(&mut writer.pieces);
        for file in std::mem::take(&mut writer.unsynced) {
            let handle = match file.handle {
                Some(handle) => handle,
                None => match self.env.files.open(&file.path, OpenMode::Write) {
                    Ok(handle) => handle,
                    Err(cause) => {
                        let (path, cause) = (file.path, Arc::new(cause));
                        self.fail_with(writer, LogFailure { path, operation: "open", cause });
                        return None;
                    }
                },
            };
            files.push(UnsyncedFile { path: file.path, handle });
        }
        writer.unsynced_records = 0;
        let bytes = std::mem::take(&mut writer.unsynced_bytes);
        if files.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        let (written, generation) = (state.written(), state.generation);
        state.syncs_in_flight += 1;
        drop(state);
        Some(SyncJob { files, bytes, pieces, log, written, generation })
    }

    fn synced(&self, written: Written, generation: u64) {
        {
            let mut state = self.state.lock();
            if state.generation != generation || !matches!(state.phase, Phase::Open) {
                return;
            }
            state.synced(written);
        }
        self.tell_progress();
    }
}
