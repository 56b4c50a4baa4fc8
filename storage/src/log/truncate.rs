//! Cutting the end of a log, for a replica that must give up what it has not finished.

use std::sync::Arc;

use protocol::types::Offset;

use super::open::{save_log_cut, save_log_start};
use super::read::{failure_of, find_batch};
use super::{Log, Writer, producers};
use crate::device::OpenMode;
use crate::environment::StopKind;
use crate::error::{LogFailure, OpenError, ReadError};
use crate::recovery::{Recovered, Recovery, io_error};
use crate::scan::{LOOKUP_WINDOW_BYTES, Scan, Wait};
use crate::segment::{OFFSET_INDEX_SUFFIX, RAFT_ONLY_SUFFIX, Segment, TIME_INDEX_SUFFIX, leaving};

/// A batch boundary in a segment.
struct Place {
    offset: Offset,
    position: u64,
}

impl Log {
    /// Cuts the end: afterwards `log_end_offset` is `to`, or the start of the batch that holds it.
    /// Everything below is synced. Blocks. Only for callers that know nothing above `to` is finished.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] outside the log; [`ReadError::Failed`]: the log is offline.
    pub fn truncate(&self, to: Offset) -> Result<(), ReadError> {
        let mut writer = self.quiet_writer();
        self.state.lock().check_readable(to)?;
        self.write_all(&mut writer)?;
        if to == self.pointers().log_end_offset {
            return self.sync_now(&mut writer).map_err(|error| self.read_error(error));
        }
        let cut = self.cut(&mut writer, to);
        if cut.is_ok() {
            self.tell_progress();
        }
        cut.inspect_err(|error| {
            // Files and memory may differ now: only a restart can tell.
            if let ReadError::Failed(failure) = error {
                self.fail_with(&mut writer, failure.clone());
            }
        })
    }

    fn cut(&self, writer: &mut Writer, to: Offset) -> Result<(), ReadError> {
        let (segments, config) = {
            let state = self.state.lock();
            (state.segments.clone(), Arc::clone(&state.config))
        };
        // A replay must not bring back what is cut off, nor put it over what comes after.
        self.env.flusher.journal().retire().map_err(|cause| {
            let (path, cause) = (self.directory.clone(), Arc::new(cause));
            ReadError::Failed(LogFailure { path, operation: "empty the journal for", cause })
        })?;
        // What is noted of the cut makes the next start count everything below it as synced.
        self.sync_written(writer).map_err(|error| self.read_error(error))?;
        let after = segments.partition_point(|segment| segment.base_offset() <= to);
        let (kept, dropped) = segments.split_at(after.max(1));
        let last = kept.last().expect("at least one segment is kept");
        let end = self.batch_start(last, to)?;
        save_log_cut(&self.env, &self.directory, end.offset)
            .map_err(|error| self.read_error(error.into()))?;
        if end.offset < self.pointers().log_start_offset {
            // The log started inside the batch that goes: it is empty now and starts at its end.
            save_log_start(&self.env, &self.directory, end.offset)
                .map_err(|error| self.read_error(error.into()))?;
        }
        for segment in dropped.iter().rev() {
            leaving::remove_files(&self.env, &self.directory, segment.base_offset())
                .map_err(|error| self.read_error(error))?;
        }
        self.cut_file(last, end.position)?;
        let bases: Vec<Offset> = kept.iter().map(|segment| segment.base_offset()).collect();
        let recovery = Recovery {
            env: &self.env,
            directory: &self.directory,
            config: &config,
            stop: StopKind::PowerLost,
            recovery_point: end.offset,
            must_rewrite: false,
            is_synced: false,
            entries: None,
        };
        let recovered = recovery.run(&bases).map_err(|error| self.read_error(error))?;
        self.env
            .device
            .sync_dir(&self.directory)
            .map_err(|cause| self.read_error(io_error(&self.directory, "sync")(cause)))?;
        writer.take_unsynced();
        self.restart_from(writer, recovered).map_err(|error| self.read_error(error))
    }

    /// Where the batch that holds `to` starts, or the segment ends.
    fn batch_start(&self, segment: &Arc<Segment>, to: Offset) -> Result<Place, ReadError> {
        let path = segment.path();
        let bytes = u64::from(segment.bytes());
        if bytes == 0 {
            return Ok(Place { offset: to, position: 0 });
        }
        segment.load(&self.env).map_err(|error| self.read_error(error))?;
        let file = self.env.files.open(path, OpenMode::Read);
        let file = file.map_err(|cause| self.read_error(io_error(path, "open")(cause)))?;
        let mut scan = Scan::new(&*file, bytes, Wait::ForDisk, LOOKUP_WINDOW_BYTES);
        let found = find_batch(segment, &mut scan, to)
            .map_err(|error| ReadError::Failed(failure_of(segment, error)))?;
        Ok(found.map_or(Place { offset: to, position: bytes }, |found| Place {
            offset: found.header.base_offset,
            position: found.position,
        }))
    }

    /// Shortens the last file that stays; its indexes are made anew in new files, since the old ones
    /// may be mapped.
    fn cut_file(&self, segment: &Segment, position: u64) -> Result<(), ReadError> {
        if !segment.is_created() {
            return Ok(());
        }
        let path = segment.path();
        let failed = |operation| move |cause| self.read_error(io_error(path, operation)(cause));
        let file = self.env.files.open(path, OpenMode::Write).map_err(failed("open"))?;
        file.set_len(position).map_err(failed("cut"))?;
        file.sync_all().map_err(failed("sync"))?;
        for suffix in [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, RAFT_ONLY_SUFFIX] {
            let path = segment.sibling(suffix);
            self.env.files.forget(&path);
            match self.env.device.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.read_error(io_error(&path, "remove")(error)));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes what the files hold as the whole truth.
    fn restart_from(&self, writer: &mut Writer, recovered: Recovered) -> Result<(), OpenError> {
        let snapshots = std::mem::take(&mut writer.snapshots);
        let (loaded, snapshots) =
            producers::load(&self.env, &self.directory, &recovered, snapshots)?;
        writer.snapshots = snapshots;
        let mut state = self.state.lock();
        let end = recovered.log_end_offset;
        state.generation += 1;
        state.tail.clear();
        state.producers = loaded;
        state.segments = recovered.segments;
        state.written_position = state.active().bytes();
        state.pointers.log_start_offset = state.pointers.log_start_offset.min(end);
        state.pointers.recovery_point = end;
        state.pointers.written_end = end;
        state.pointers.log_end_offset = end;
        state.finished_end = end;
        let changed = state.leader_epochs.truncate_end(end);
        state.epochs_changed |= changed;
        state.validate();
        Ok(())
    }
}
