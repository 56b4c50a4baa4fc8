//! Cuts off the last entries of a replicated log: what another leader has never had.
//!
//! What is not written yet goes in memory alone. Of the files, later segments are removed and the last
//! one that stays is shortened; what is left of it is looked at from its last index row on.

use std::sync::Arc;

use protocol::types::{LogIndex, Offset};

use super::EntryId;
use super::open::FoundEntries;
use crate::checkpoint;
use crate::config::LogConfig;
use crate::device::OpenMode;
use crate::environment::StopKind;
use crate::error::{LogFailure, OpenError, ReadError};
use crate::log::open::{damaged, save_log_cut};
use crate::log::state::State;
use crate::log::write::WriteFailure;
use crate::log::{Log, Writer, close, producers};
use crate::recovery::{Recovered, Recovery, io_error};
use crate::segment::{
    ENTRIES_SUFFIX, OFFSET_INDEX_SUFFIX, Segment, SegmentEntries, TIME_INDEX_SUFFIX, leaving,
};

/// Where a log is cut.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// The first entry that goes.
    end: LogIndex,
    /// The one before it.
    last: Option<EntryId>,
    /// The offset behind that one.
    offset: Offset,
}

impl Log {
    /// Keeps the entries below `end` alone, and gives up what is staged. Durable when it returns: what
    /// was cut off does not come back. Blocks. Only for callers that know none of it is committed.
    ///
    /// # Errors
    /// [`ReadError::EntryOutOfRange`] if `end` is beyond the log or below what was purged;
    /// [`ReadError::Failed`]: the log is offline.
    pub fn truncate_entries(&self, end: LogIndex) -> Result<(), ReadError> {
        let mut writer = self.quiet_writer();
        let (bounds, purged) = {
            let state = self.state.lock();
            state.check_open()?;
            (state.entries().bounds, state.entries().purged())
        };
        let first = bounds.first();
        if end < first || end > bounds.end {
            return Err(ReadError::EntryOutOfRange { wanted: end, first, end: bounds.end });
        }
        if end == bounds.end {
            self.unstage();
            return Ok(());
        }
        let cut = if end == first {
            let offset = purged.map_or(Offset::ZERO, |purged| purged.next_offset);
            Cut { end, last: bounds.purged, offset }
        } else {
            let index = LogIndex::new(end.get() - 1);
            let header = self.entry_header(index)?;
            let last = EntryId { index, leader_epoch: header.leader_epoch };
            Cut { end, last: Some(last), offset: header.next_offset() }
        };
        let outcome = self.cut_entries(&mut writer, cut);
        if outcome.is_ok() {
            self.tell_progress();
        }
        outcome.inspect_err(|error| {
            // Files and memory may differ now: only a restart can tell.
            if let ReadError::Failed(failure) = error {
                self.fail_with(&mut writer, failure.clone());
            }
        })
    }

    fn cut_entries(&self, writer: &mut Writer, cut: Cut) -> Result<(), ReadError> {
        let written_end = self.state.lock().entries().written_end;
        if cut.end < written_end {
            let range = self.state.lock().entry_range(cut.end);
            let position = self.position_in(&range, cut.end)?;
            self.cut_pending(cut);
            self.cut_files(writer, &range.segment, position, cut)?;
        } else {
            self.cut_pending(cut);
            let removed = producers::remove_above(&self.env, &self.directory, writer, cut.offset);
            removed.map_err(|error| self.read_error(error))?;
        }
        self.save_epochs().map_err(|failure| {
            let error = match failure {
                WriteFailure::Full => close::unwritten(self),
                WriteFailure::Failed(failure) => close::as_open_error(failure),
            };
            self.read_error(error)
        })
    }

    fn cut_pending(&self, cut: Cut) {
        let bytes = self.state.lock().cut_pending(cut);
        self.give_back(bytes);
    }

    fn cut_files(
        &self,
        writer: &mut Writer,
        last: &Arc<Segment>,
        position: u32,
        cut: Cut,
    ) -> Result<(), ReadError> {
        // A replay must not bring back what is cut off, nor put it over what comes after.
        self.env.flusher.journal().retire().map_err(|cause| {
            let (path, cause) = (self.directory.clone(), Arc::new(cause));
            ReadError::Failed(LogFailure { path, operation: "empty the journal for", cause })
        })?;
        let (dropped, config) = {
            let mut state = self.state.lock();
            (state.cut_written(last, position, cut), Arc::clone(&state.config))
        };
        let recovered = self
            .sync_written(writer)
            .and_then(|()| self.shorten_files(last, &dropped, position, cut))
            .and_then(|()| self.recover_last(last, cut, &config))
            .map_err(|error| self.read_error(error))?;
        writer.take_unsynced();
        writer.counted = None;
        let snapshots = std::mem::take(&mut writer.snapshots);
        let (loaded, snapshots) =
            producers::load(&self.env, &self.directory, &recovered, snapshots)
                .map_err(|error| self.read_error(error))?;
        writer.snapshots = snapshots;
        let mut state = self.state.lock();
        state.producers = loaded;
        let written = state.written();
        state.synced(written);
        Ok(())
    }

    fn shorten_files(
        &self,
        last: &Segment,
        dropped: &[Arc<Segment>],
        position: u32,
        cut: Cut,
    ) -> Result<(), OpenError> {
        // What is noted of the cut makes the next start count everything below it as synced.
        save_log_cut(&self.env, &self.directory, cut.offset)?;
        for segment in dropped.iter().rev() {
            leaving::remove_files(&self.env, &self.directory, segment.base_offset())?;
        }
        self.shorten(last, u64::from(position), dropped.is_empty())
    }

    /// Cuts the file of the last segment that stays. Index files of one that was closed may be mapped, and
    /// what is mapped must not shrink: they are replaced by copies.
    fn shorten(&self, segment: &Segment, position: u64, is_active: bool) -> Result<(), OpenError> {
        if is_active {
            if let Err(error) = segment.save_index(&self.env, true) {
                // More of the segment is read.
                tracing::debug!(log = %self.name, %error, "index rows not written yet");
            }
        } else {
            for suffix in [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, ENTRIES_SUFFIX] {
                let path = segment.sibling(suffix);
                let bytes = checkpoint::read_whole(&*self.env.device, &path)?.unwrap_or_default();
                checkpoint::write_atomic(&*self.env.device, &path, &bytes)?;
                self.env.files.forget(&path);
            }
        }
        let path = segment.path();
        let file = self.env.files.open(path, OpenMode::Write).map_err(io_error(path, "open"))?;
        file.set_len(position).map_err(io_error(path, "cut"))?;
        file.sync_all().map_err(io_error(path, "sync"))
    }

    /// What the files hold of the last segment now.
    fn recover_last(
        &self,
        last: &Segment,
        cut: Cut,
        config: &LogConfig,
    ) -> Result<Recovered, OpenError> {
        let found = FoundEntries::of_segment(last);
        let recovery = Recovery {
            env: &self.env,
            directory: &self.directory,
            config,
            stop: StopKind::Killed,
            recovery_point: cut.offset,
            must_rewrite: false,
            // Just now.
            is_synced: true,
            entries: Some(&found),
        };
        let mut recovered = recovery.run(&[last.base_offset()])?;
        self.env.device.sync_dir(&self.directory).map_err(io_error(&self.directory, "sync"))?;
        let entries = recovered.segments.last().and_then(|segment| segment.entries());
        let end = entries.map(SegmentEntries::end);
        if recovered.log_end_offset != cut.offset || end != Some(cut.end) {
            let what = format!("it does not end before entry {} as it was cut", cut.end);
            return Err(io_error(last.path(), "cut")(damaged(what)));
        }
        // Those before it are as they were.
        let mut state = self.state.lock();
        state.segments.pop();
        state.segments.append(&mut recovered.segments);
        state.generation += 1;
        recovered.segments = state.all_segments();
        Ok(recovered)
    }
}

impl State {
    /// Gives up pending entries from the cut on; returns how many bytes they have, and what is staged.
    fn cut_pending(&mut self, cut: Cut) -> usize {
        let mut bytes = self.unstage();
        while let Some(batch) = self.pending.pop_back_if(|batch| batch.chunk.index >= cut.end) {
            bytes += batch.chunk.bytes();
            let undo = self.entries_mut().pop_pending_undo();
            self.producers.undo(undo);
            self.tail.pop_unwritten();
        }
        if self.entries().written_end <= cut.end {
            self.end_with(cut);
        }
        bytes
    }

    /// Nothing is behind the cut any more; returns the segments that are not needed.
    fn cut_written(&mut self, last: &Segment, position: u32, cut: Cut) -> Vec<Arc<Segment>> {
        let after = self.segments.partition_point(|s| s.base_offset() <= last.base_offset());
        self.written_position = position;
        self.tail.clear();
        let pointers = &mut self.pointers;
        pointers.written_end = cut.offset;
        pointers.recovery_point = pointers.recovery_point.min(cut.offset);
        pointers.log_start_offset = pointers.log_start_offset.min(cut.offset);
        self.finished_end = self.finished_end.min(cut.offset);
        self.end_with(cut);
        self.segments.split_off(after)
    }

    fn end_with(&mut self, cut: Cut) {
        self.entries_mut().cut(cut.last, cut.end);
        let leader_epoch = cut.last.map(|last| last.leader_epoch);
        self.epochs_changed |= self.leader_epochs.end_with(leader_epoch, cut.offset);
        self.pointers.log_end_offset = cut.offset;
        self.validate();
    }
}
