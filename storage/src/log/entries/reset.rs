//! A replicated log that begins anew behind an entry that it does not have.
//!
//! The state that it begins with stands in `entries-reset` from before the first file goes until the
//! last new one is there: a start that finds it does the rest.

use std::path::Path;
use std::sync::Arc;

use super::evict::EvictionState;
use super::open::save_start;
use super::tracker::Entries;
use crate::checkpoint::{self, write_atomic};
use crate::entry_index::EntryStart;
use crate::environment::LogEnvironment;
use crate::error::{LogFailure, OpenError, ReadError};
use crate::leader_epochs::{self, LeaderEpochs};
use crate::log::open::{save_log_cut, save_log_start};
use crate::log::state::State;
use crate::log::{Log, Writer, producers};
use crate::recovery::{Listing, io_error};
use crate::segment::{Segment, SegmentEntries, leaving};

/// See the header.
pub(crate) const RESET_FILE: &str = "entries-reset";

impl Log {
    /// Everything leaves the log, and it starts behind `state.at`. Durable when it returns. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Failed`]: the log is offline; [`ReadError::Closed`].
    pub fn reset_entries(&self, to: &EvictionState) -> Result<(), ReadError> {
        let mut writer = self.quiet_writer();
        {
            let mut state = self.state.lock();
            state.check_open()?;
            state.entries();
            self.give_up_pending(&mut state);
        }
        let outcome = self.reset_files(&mut writer, to);
        if outcome.is_ok() {
            self.tell_progress();
        }
        outcome.inspect_err(|error| {
            // Files and memory differ now: only a restart can tell.
            if let ReadError::Failed(failure) = error {
                self.fail_with(&mut writer, failure.clone());
            }
        })
    }

    fn reset_files(&self, writer: &mut Writer, to: &EvictionState) -> Result<(), ReadError> {
        // A replay must not bring back what goes, nor put it over what comes after.
        self.env.flusher.journal().retire().map_err(|cause| {
            let (path, cause) = (self.directory.clone(), Arc::new(cause));
            ReadError::Failed(LogFailure { path, operation: "empty the journal for", cause })
        })?;
        writer.take_unsynced();
        writer.counted = None;
        let path = self.directory.join(RESET_FILE);
        let segment = write_atomic(&*self.env.device, &path, &to.encode())
            .map_err(OpenError::from)
            .and_then(|()| reset(&self.env, &self.directory, to))
            .map_err(|error| self.read_error(error))?;
        writer.snapshots = vec![to.next_offset];
        self.state.lock().start_behind(to, segment);
        Ok(())
    }
}

impl State {
    fn start_behind(&mut self, to: &EvictionState, segment: Segment) {
        let EvictionState { at, next_offset, .. } = *to;
        self.generation += 1;
        self.tail.clear();
        self.segments = vec![Arc::new(segment)];
        self.written_position = 0;
        self.producers = to.producers().clone();
        self.bytes_since_snapshot = 0;
        self.leader_epochs = LeaderEpochs::default();
        self.leader_epochs.begin(at.leader_epoch, next_offset);
        self.epochs_changed = false;
        let pointers = &mut self.pointers;
        pointers.log_start_offset = next_offset;
        pointers.recovery_point = next_offset;
        pointers.written_end = next_offset;
        pointers.log_end_offset = next_offset;
        self.finished_end = next_offset;
        let end = super::tracker::behind(at.index, 1);
        **self.entries.as_mut().expect("only a replicated log is reset") =
            Entries::new(Some(to.purged()), None, end);
        self.validate();
    }
}

/// Does what is left of a reset that was begun before the start.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn complete(env: &LogEnvironment, directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(RESET_FILE);
    let Some(bytes) = checkpoint::read_whole(&*env.device, &path)? else { return Ok(()) };
    let state = EvictionState::decode(&bytes).ok_or_else(|| {
        let what = "the state that the log is to begin with is not whole".to_owned();
        OpenError::Corrupt { path, position: 0, what }
    })?;
    tracing::info!(directory = %directory.display(), at = ?state.at, "going on to reset the log");
    reset(env, directory, &state).map(drop)
}

/// Replaces all that the log has by one segment without an entry, which is returned.
fn reset(env: &LogEnvironment, directory: &Path, to: &EvictionState) -> Result<Segment, OpenError> {
    let EvictionState { at, next_offset, .. } = *to;
    let device = &env.device;
    // A recovery point that was noted before may lie above.
    save_log_cut(env, directory, next_offset)?;
    let listing = Listing::of(env, directory)?;
    for base_offset in listing.segments.iter().rev() {
        leaving::remove_files(env, directory, *base_offset)?;
    }
    producers::remove(env, directory, &listing.snapshots)?;
    save_start(env, directory, Some(to.purged()))?;
    save_log_start(env, directory, next_offset)?;
    let epochs = directory.join(leader_epochs::FILE_NAME);
    let line = std::iter::once(format!("{} {next_offset}", at.leader_epoch));
    checkpoint::write(&**device, &epochs, leader_epochs::VERSION, line)?;
    producers::write(env, directory, next_offset, to.producers())?;
    let start = EntryStart {
        first_index: super::tracker::behind(at.index, 1),
        epoch_before: at.leader_epoch,
    };
    let segment = Segment::new(directory, next_offset);
    let segment = segment.with_entries(SegmentEntries::none_from(start));
    segment.create(env)?;
    let path = directory.join(RESET_FILE);
    device.remove_file(&path).map_err(io_error(&path, "remove"))?;
    device.sync_dir(directory).map_err(io_error(directory, "sync"))?;
    Ok(segment)
}
