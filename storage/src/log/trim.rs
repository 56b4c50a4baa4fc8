//! What leaves a log at its start: by DeleteRecords, by age, by size.
//!
//! A segment leaves in three steps: out of the list that reads use, its files renamed to `.deleted`,
//! and after `file.delete.delay.ms` removed. A read that holds such a file keeps it until it is done.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::types::{Offset, Timestamp};

use super::entries::LogKind;
use super::open::save_log_start;
use super::state::Phase;
use super::write::{WriteFailure, is_full};
use super::{Doomed, Log, Writer};
use crate::checkpoint::CheckpointError;
use crate::device::OpenMode;
use crate::error::{LogFailure, OpenError, ReadError};
use crate::recovery::{DELETED_SUFFIX, io_error};
use crate::retention::{Candidate, Limits, expired};
use crate::segment::{SUFFIXES, Segment, leaving};

/// In which order the names of deleted segments may go from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeletionOrder {
    /// The log start on disk says what counts.
    Any,
    /// Each before the next one, so that no gap can appear.
    OldestFirst,
}

/// The segments of a log as retention sees them.
pub(super) struct Expired {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) candidates: Vec<Candidate>,
    limits: Limits,
    /// How many do not stay.
    pub(super) count: usize,
}

impl Log {
    /// Raises the first readable offset, durably, and drops whole segments below it: in a replicated log
    /// they become part of the next [`Log::eviction_point`]. Blocks.
    /// Returns the log start, which may have been higher already.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] above the log end.
    pub fn raise_log_start(&self, to: Offset) -> Result<Offset, ReadError> {
        let mut writer = self.quiet_writer();
        let (recovery_point, is_raised) = {
            let state = self.state.lock();
            state.check_readable(to.max(state.pointers.log_start_offset))?;
            (state.pointers.recovery_point, to <= state.pointers.log_start_offset)
        };
        if is_raised {
            return Ok(self.pointers().log_start_offset);
        }
        if to > recovery_point {
            // The recovery point must be raised first, or a crash would leave a start without data.
            self.write_all(&mut writer)?;
            self.sync_now(&mut writer).map_err(|error| self.read_error(error))?;
        }
        save_log_start(&self.env, &self.directory, to)
            .map_err(|error| self.read_error(error.into()))?;
        let epochs_changed = {
            let mut state = self.state.lock();
            state.pointers.log_start_offset = to;
            state.validate();
            state.leader_epochs.truncate_start(to)
        };
        self.state.lock().epochs_changed |= epochs_changed;
        if self.kind() == LogKind::Direct {
            // Dated by the epoch: what DeleteRecords takes away need not wait for anyone.
            self.drop_expired(&mut writer, None)?;
        }
        Ok(to)
    }

    /// Applies retention by age and size at `now`; never touches the active segment unless all of
    /// it is expired, and then rolls first. In a replicated log, only what was purged leaves. Returns how
    /// many bytes left the log. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Failed`].
    pub fn apply_retention(&self, now: Timestamp) -> Result<u64, ReadError> {
        let mut writer = self.writer.lock();
        self.remove_doomed(&mut writer, now);
        {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Open) {
                state.check_readable(state.pointers.log_start_offset)?;
            }
            state.producers.expire(now, self.env.producer_expiration.get());
        }
        let bytes = match self.kind() {
            LogKind::Direct => self.drop_expired(&mut writer, Some(now))?,
            LogKind::Replicated => self.remove_purged(&mut writer, now)?,
        };
        if self.env.space.is_full() && !writer.doomed.is_empty() {
            // Nobody waits for a delay while producers are refused.
            self.remove_doomed(&mut writer, Timestamp::new(i64::MAX));
            if let Err(error) = self.env.space.look() {
                tracing::debug!(log = %self.name, %error, "the free space is unknown");
            }
        }
        Ok(bytes)
    }

    /// Writes everything pending, for a caller that holds the writer's lock.
    pub(super) fn write_all(&self, writer: &mut Writer) -> Result<(), ReadError> {
        match self.write_runs(writer, usize::MAX, &mut 0) {
            Ok(()) => Ok(()),
            Err(WriteFailure::Full) => {
                let cause = Arc::new(std::io::ErrorKind::StorageFull.into());
                let path = self.directory.clone();
                Err(ReadError::Failed(LogFailure { path, operation: "write", cause }))
            }
            Err(WriteFailure::Failed(failure)) => {
                self.fail_with(writer, failure.clone());
                Err(ReadError::Failed(failure))
            }
        }
    }

    /// What retention knows of the segments, and how many of them, from the oldest on, it does not keep;
    /// without a time, only those below the log start.
    pub(super) fn expired_segments(&self, now: Option<Timestamp>) -> Result<Expired, ReadError> {
        let (segments, limits) = {
            let state = self.state.lock();
            let limits = Limits {
                retention: state.config.retention,
                retention_bytes: state.config.retention_bytes,
                delete_old_segments: state.config.delete_old_segments && now.is_some(),
                log_start_offset: state.pointers.log_start_offset,
                finished_end: state.finished_end,
            };
            (state.segments.clone(), limits)
        };
        let candidates = self.candidates(&segments, &limits)?;
        let count = expired(&candidates, &limits, now.unwrap_or(Timestamp::new(0)));
        Ok(Expired { segments, candidates, limits, count })
    }

    /// Drops the segments that retention does not keep.
    fn drop_expired(&self, writer: &mut Writer, now: Option<Timestamp>) -> Result<u64, ReadError> {
        let Expired { segments, candidates, limits, mut count } = self.expired_segments(now)?;
        if count == 0 {
            return Ok(0);
        }
        if count == segments.len() {
            let end = candidates[count - 1].end_offset;
            if !self.roll_expired(end)? {
                count -= 1;
            }
        }
        let Some(last) = candidates[..count].last() else { return Ok(0) };
        let start = last.end_offset;
        let gone: u64 = candidates[..count].iter().map(|candidate| candidate.bytes).sum();
        let order = self.note_start(start, &limits)?;
        {
            let mut state = self.state.lock();
            state.segments.drain(..count);
            // Nothing of the segments is readable any more, so nothing of them needs a sync.
            state.pointers.recovery_point = state.pointers.recovery_point.max(start);
            state.pointers.log_start_offset = state.pointers.log_start_offset.max(start);
            state.validate();
            let changed = state.leader_epochs.truncate_start(start);
            state.epochs_changed |= changed;
        }
        let delay = self.state.lock().config.file_delete_delay;
        let due = now.map_or(Timestamp::new(0), |now| later(now, delay));
        self.doom_segments(writer, &segments[..count], due, order)?;
        tracing::debug!(log = %self.name, segments = count, bytes = gone, %start, "deleted");
        Ok(gone)
    }

    /// Takes the files of segments out of the log, which knows of them no more.
    pub(super) fn doom_segments(
        &self,
        writer: &mut Writer,
        segments: &[Arc<Segment>],
        due: Timestamp,
        order: DeletionOrder,
    ) -> Result<(), ReadError> {
        for segment in segments {
            writer.unsynced.retain(|file| file.path != segment.path());
            self.doom(writer, segment, due).map_err(|error| self.read_error(error))?;
            if order == DeletionOrder::OldestFirst {
                self.sync_names()?;
            }
        }
        self.sync_names()
    }

    /// Makes the new log start durable before the first segment goes: after lost power some of the
    /// names may be gone and others not.
    fn note_start(&self, start: Offset, limits: &Limits) -> Result<DeletionOrder, ReadError> {
        if start <= limits.log_start_offset {
            return Ok(DeletionOrder::Any);
        }
        match save_log_start(&self.env, &self.directory, start) {
            Ok(()) => Ok(DeletionOrder::Any),
            // Deleting is what helps on a full disk: one after the other then, which is slower.
            Err(CheckpointError::Io { cause, .. }) if is_full(&cause) => {
                Ok(DeletionOrder::OldestFirst)
            }
            Err(error) => Err(self.read_error(error.into())),
        }
    }

    fn sync_names(&self) -> Result<(), ReadError> {
        let synced = self.env.device.sync_dir(&self.directory);
        synced.map_err(|cause| self.read_error(io_error(&self.directory, "sync")(cause)))
    }

    /// What retention needs to know; reads the time index of segments not looked at before.
    fn candidates(
        &self,
        segments: &[Arc<Segment>],
        limits: &Limits,
    ) -> Result<Vec<Candidate>, ReadError> {
        let ends = segments.iter().skip(1).map(|next| next.base_offset());
        let log_end = self.pointers().written_end;
        let needs_time = limits.delete_old_segments && limits.retention.is_some();
        let mut candidates = Vec::with_capacity(segments.len());
        for (segment, end_offset) in segments.iter().zip(ends.chain([log_end])) {
            let newest = if needs_time { self.newest_of(segment)? } else { Timestamp::NONE };
            let bytes = u64::from(segment.bytes());
            candidates.push(Candidate { end_offset, bytes, newest });
        }
        Ok(candidates)
    }

    fn newest_of(&self, segment: &Arc<Segment>) -> Result<Timestamp, ReadError> {
        if !segment.is_created() {
            return Ok(Timestamp::new(i64::MAX));
        }
        if segment.newest().is_none() {
            segment.load_newest(&self.env).map_err(|error| self.read_error(error))?;
        }
        let newest = segment.newest().map_or(Timestamp::NONE, |newest| newest.timestamp);
        if newest >= Timestamp::new(0) {
            return Ok(newest);
        }
        let modified = self.env.files.open(segment.path(), OpenMode::Read).and_then(|file| {
            let modified = file.std_file().metadata()?.modified()?;
            let age = modified.duration_since(std::time::UNIX_EPOCH);
            Ok(age.ok().and_then(|age| i64::try_from(age.as_millis()).ok()).unwrap_or(i64::MAX))
        });
        modified
            .map(Timestamp::new)
            .map_err(|cause| self.read_error(io_error(segment.path(), "read the time of")(cause)))
    }

    /// Rolls an active segment that is expired as a whole; not if it has grown meanwhile, which
    /// cannot be while the writer's lock is held, or if the disk has no room for another file.
    pub(super) fn roll_expired(&self, end: Offset) -> Result<bool, ReadError> {
        match self.roll(end) {
            Ok(_) => Ok(true),
            Err(WriteFailure::Full) => Ok(false),
            Err(WriteFailure::Failed(failure)) => Err(ReadError::Failed(failure)),
        }
    }

    /// Renames a segment's files, to be removed when `due`.
    fn doom(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        due: Timestamp,
    ) -> Result<(), OpenError> {
        for suffix in SUFFIXES {
            let path = segment.sibling(suffix);
            let mut renamed = path.clone().into_os_string();
            renamed.push(DELETED_SUFFIX);
            let renamed = PathBuf::from(renamed);
            leaving::before_leaving(&*self.env.device, &path, suffix)
                .map_err(io_error(&path, "sync before"))?;
            match self.env.device.rename(&path, &renamed) {
                Ok(()) => writer.doomed.push(Doomed { path: renamed, due }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&path, "rename")(error)),
            }
            self.env.files.forget(&path);
        }
        self.env.flusher.journal().forget(|path| path == segment.path());
        Ok(())
    }

    /// Removes the files that are due.
    fn remove_doomed(&self, writer: &mut Writer, now: Timestamp) {
        writer.doomed.retain(|doomed| {
            if doomed.due > now {
                return true;
            }
            if let Err(error) = self.env.device.remove_file(&doomed.path) {
                // It is removed at the next start, if it is still there then.
                tracing::warn!(path = %doomed.path.display(), %error, "a file was not removed");
            }
            false
        });
    }

    pub(super) fn read_error(&self, error: OpenError) -> ReadError {
        match error {
            OpenError::Io { path, operation, cause } => {
                ReadError::Failed(LogFailure { path, operation, cause: Arc::new(cause) })
            }
            other => ReadError::Failed(LogFailure {
                path: self.directory.clone(),
                operation: "read",
                cause: Arc::new(super::open::damaged(other.to_string())),
            }),
        }
    }
}

pub(super) fn later(now: Timestamp, delay: std::time::Duration) -> Timestamp {
    Timestamp::new(now.get().saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
}
