//! The end of an open log: closed for a later start, or given up because it is deleted.

use super::state::Phase;
use super::write::WriteFailure;
use super::{Log, Writer};
use crate::device::OpenMode;
use crate::environment::LogCheckpoint;
use crate::error::{LogFailure, OpenError};
use crate::recovery::{self, io_error};

/// Who makes durable what a closed log's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FinalSync {
    /// The log, file by file.
    Own,
    /// The caller, for many logs together.
    ByCaller,
}

impl Log {
    /// Writes, syncs and trims everything, so that Kafka's tools read the files; appends and reads
    /// answer `Closed` from here on. Returns what to checkpoint. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the next start must recover this log.
    pub(crate) fn close(&self) -> Result<LogCheckpoint, OpenError> {
        let checkpoint = self.close_with(FinalSync::Own)?;
        self.env.files.forget_in(&self.directory);
        Ok(checkpoint)
    }

    /// As [`Log::close`] for one of many: the caller syncs the file system before it relies on what
    /// is returned, or calls [`Log::close_failed`], and lets go of the open files.
    ///
    /// # Errors
    /// As [`Log::close`].
    pub(crate) fn close_unsynced(&self) -> Result<LogCheckpoint, OpenError> {
        self.close_with(FinalSync::ByCaller)
    }

    /// The sync after [`Log::close_unsynced`] has failed: the next start must not trust what it reads.
    pub(crate) fn close_failed(&self) {
        recovery::mark_failed(&*self.env.device, &self.directory);
    }

    fn close_with(&self, sync: FinalSync) -> Result<LogCheckpoint, OpenError> {
        let mut writer = self.quiet_writer();
        let mut finished = self.finish_files(&mut writer, sync);
        {
            let mut state = self.state.lock();
            // Batches that came after the last write were never acknowledged.
            let is_drained = state.pending.is_empty();
            match &state.phase {
                Phase::Open if is_drained => state.phase = Phase::Closed,
                Phase::Open => {
                    state.phase = Phase::Closed;
                    finished = finished.and_then(|()| Err(unwritten(self)));
                }
                Phase::Failed(failure) => finished = Err(as_open_error(failure.clone())),
                Phase::Closed => {}
            }
            self.give_up_pending(&mut state);
        }
        drop(writer);
        finished?;
        Ok(self.checkpoint())
    }

    fn finish_files(&self, writer: &mut Writer, sync: FinalSync) -> Result<(), OpenError> {
        if matches!(self.state.lock().phase, Phase::Closed) {
            return Ok(());
        }
        match self.write_runs(writer, usize::MAX, &mut 0) {
            Ok(()) => {}
            Err(WriteFailure::Full) => return Err(unwritten(self)),
            Err(WriteFailure::Failed(failure)) => {
                self.fail_with(writer, failure.clone());
                return Err(as_open_error(failure));
            }
        }
        if sync == FinalSync::ByCaller && self.state.lock().is_relaxed() {
            writer.take_unsynced();
        } else {
            // Somebody may wait for the end of the last batches.
            self.sync_now(writer)?;
        }
        self.keep_epoch_spent()?;
        self.try_snapshot_at_end(writer);
        let active = self.state.lock().active().clone();
        if active.is_created() && active.is_index_loaded() {
            let finished = match sync {
                FinalSync::Own => active.finish_index(&self.env),
                FinalSync::ByCaller => active.write_index(&self.env).map(drop),
            };
            finished.map_err(io_error(active.path(), "finish the index of"))?;
        }
        Ok(())
    }

    /// After an unclean start the next epoch is due. If no batch has taken it yet, the next start,
    /// which finds a clean stop, must not take the old one again.
    fn keep_epoch_spent(&self) -> Result<(), OpenError> {
        {
            let mut state = self.state.lock();
            if let Some(spent) = state.spent_epoch {
                let end = state.pointers.log_end_offset;
                let changed = state.leader_epochs.begin(spent.next(), end);
                state.epochs_changed |= changed;
            }
        }
        self.save_epochs().map_err(|failure| match failure {
            WriteFailure::Full => unwritten(self),
            WriteFailure::Failed(failure) => as_open_error(failure),
        })
    }

    /// Syncs everything that is written, and tells the listener. The log is offline if that fails.
    pub(super) fn sync_now(&self, writer: &mut Writer) -> Result<(), OpenError> {
        let written = self.state.lock().written();
        self.sync_written(writer)?;
        self.state.lock().synced(written);
        // The flusher may find nothing left to do, and then tells nobody.
        self.tell_progress();
        Ok(())
    }

    /// As [`Log::sync_now`], and tells nobody.
    pub(super) fn sync_written(&self, writer: &mut Writer) -> Result<(), OpenError> {
        for file in writer.take_unsynced() {
            let handle = match file.handle {
                Some(handle) => Ok(handle),
                None => self.env.files.open(&file.path, OpenMode::Write),
            };
            if let Err(cause) = handle.and_then(|handle| self.syncs.sync_data(&*handle)) {
                let (path, cause) = (file.path, std::sync::Arc::new(cause));
                let failure = LogFailure { path, operation: "sync", cause };
                self.fail_with(writer, failure.clone());
                return Err(as_open_error(failure));
            }
        }
        Ok(())
    }

    /// With a snapshot at the very end, the next start replays nothing.
    fn try_snapshot_at_end(&self, writer: &mut Writer) {
        let end = self.state.lock().pointers.log_end_offset;
        if end > protocol::types::Offset::ZERO && writer.snapshots.last() != Some(&end) {
            self.try_snapshot(writer);
        }
    }

    /// Stops the log for good without writing anything more and lets go of its files; the caller
    /// has renamed or removes the directory. Waits for a flusher round that is at work on it.
    pub(crate) fn delete(&self) {
        let mut writer = self.quiet_writer();
        writer.take_unsynced();
        {
            let mut state = self.state.lock();
            state.phase = Phase::Closed;
            self.give_up_pending(&mut state);
        }
        drop(writer);
        self.env.files.forget_in(&self.directory);
        let directory = Some(&*self.directory);
        self.env.flusher.journal().forget(|path| path.parent() == directory);
    }
}

pub(super) fn unwritten(log: &Log) -> OpenError {
    OpenError::Io {
        path: log.directory.clone(),
        operation: "write",
        cause: std::io::ErrorKind::StorageFull.into(),
    }
}

pub(super) fn as_open_error(failure: LogFailure) -> OpenError {
    let LogFailure { path, operation, cause } = failure;
    let kind = cause.kind();
    OpenError::Io { path, operation, cause: std::io::Error::new(kind, cause) }
}
