//! What a log's directory holds, and what of it can be believed after each kind of stop.
//!
//! Clean: the checkpoint is the whole truth, no `.log` file is read. Otherwise everything above the
//! recovery point is read and its CRC checked; the first batch that is not whole ends the log, since
//! what was not synced may be there in part and in any order. Below the recovery point everything
//! was synced, so damage there is reported and nothing is cut. Index files are believed below the
//! recovery point if only the process died; otherwise those of the segments that are read anyway
//! are made anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::{LeaderEpoch, Offset};

use crate::checkpoint::{TEMPORARY_SUFFIX, write_atomic};
use crate::config::LogConfig;
use crate::device::{Device, DeviceFile, OpenMode};
use crate::environment::{LogEnvironment, StopKind};
use crate::error::OpenError;
use crate::log::entries::open::FoundEntries;
use crate::log::open::LOG_CUT_FILE;
use crate::producer_snapshot;
use crate::scan::{SWEEP_WINDOW_BYTES, ScanError, as_u64};
use crate::segment::{
    self, ENTRIES_SUFFIX, LOG_SUFFIX, RAFT_ONLY_SUFFIX, SUFFIXES, Segment, SegmentEntries, leaving,
    parse_file_name,
};

mod sweep;

use sweep::Sweep;

/// Stands in the directory of a log whose write or sync has failed, until the next recovery. The page
/// cache may then show bytes that will never be written, and a sync may succeed without them.
pub(crate) const FAILED_MARK: &str = "failed";

/// What a file's name ends with once it has left the log.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// The names in a log's directory, sorted by what they are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Base offsets of the `.log` files, rising.
    pub(crate) segments: Vec<Offset>,
    /// Offsets of the producer snapshots, rising.
    pub(crate) snapshots: Vec<Offset>,
    /// Whether the log's end was cut since the last clean stop.
    pub(crate) was_cut: bool,
    /// Whether the log had failed, see [`FAILED_MARK`].
    pub(crate) has_failed: bool,
    /// Files that left the log before the stop, and index files without their log.
    leftovers: Vec<PathBuf>,
}

impl Listing {
    /// Lists `directory`.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn of(env: &LogEnvironment, directory: &Path) -> Result<Self, OpenError> {
        let mut listing = Self::default();
        let mut indexes = Vec::new();
        for entry in env.device.list(directory).map_err(io_error(directory, "list"))? {
            let name = entry.name.as_str();
            if let Some(base_offset) = parse_file_name(name, LOG_SUFFIX) {
                listing.segments.push(base_offset);
            } else if let Some(offset) = parse_file_name(name, producer_snapshot::SUFFIX) {
                listing.snapshots.push(offset);
            } else if name == LOG_CUT_FILE {
                listing.was_cut = true;
            } else if name == FAILED_MARK {
                listing.has_failed = true;
            } else if name.ends_with(DELETED_SUFFIX) || name.ends_with(TEMPORARY_SUFFIX) {
                listing.leftovers.push(directory.join(name));
            } else {
                let index_of = |suffix: &&str| parse_file_name(name, suffix);
                let base_offset = SUFFIXES.iter().find_map(index_of);
                indexes.extend(base_offset.map(|base_offset| (base_offset, directory.join(name))));
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        for (base_offset, path) in indexes {
            if listing.segments.binary_search(&base_offset).is_err() {
                listing.leftovers.push(path);
            }
        }
        Ok(listing)
    }

    /// Removes segments that lie below the log start. They were being deleted when the power went,
    /// and some may be gone already: the rest must not be taken for a log with a gap.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn remove_below(
        &mut self,
        env: &LogEnvironment,
        directory: &Path,
        log_start_offset: Offset,
    ) -> Result<(), OpenError> {
        let after = self.segments.partition_point(|base_offset| *base_offset <= log_start_offset);
        for base_offset in self.segments.drain(..after.saturating_sub(1)) {
            leaving::remove_files(env, directory, base_offset)?;
        }
        Ok(())
    }

    /// Removes what left the log before the stop.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn remove_leftovers(&self, env: &LogEnvironment) -> Result<(), OpenError> {
        for path in &self.leftovers {
            env.device.remove_file(path).map_err(io_error(path, "remove"))?;
        }
        Ok(())
    }
}

/// The segments of a log as they are after recovery: all written, all synced.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) log_end_offset: Offset,
    /// Epochs that were met on the way, with the first offset seen of each.
    pub(crate) epochs: Vec<(LeaderEpoch, Offset)>,
}

/// Opens segments after a clean stop: nothing of them is read but their sizes.
///
/// # Errors
/// [`OpenError::Io`]; [`OpenError::Corrupt`] for a file larger than a segment can be, or if a segment
/// of a replicated log does not tell which entries it holds.
pub(crate) fn trust(
    env: &LogEnvironment,
    directory: &Path,
    bases: &[Offset],
    log_end_offset: Offset,
    entries: Option<&FoundEntries>,
) -> Result<Recovered, OpenError> {
    let mut segments = Vec::with_capacity(bases.len());
    for (at, base_offset) in bases.iter().enumerate() {
        let is_active = at + 1 == bases.len();
        let mut segment = found_segment(env, directory, *base_offset, is_active)?;
        if let Some(entries) = entries {
            let start = entries.start_of(*base_offset);
            let start = start.ok_or_else(|| entries.damaged(directory, *base_offset))?;
            segment = segment.with_entries(SegmentEntries::none_from(start));
        }
        segments.push(Arc::new(segment));
    }
    Ok(Recovered { segments, log_end_offset, epochs: Vec::new() })
}

fn found_segment(
    env: &LogEnvironment,
    directory: &Path,
    base_offset: Offset,
    is_active: bool,
) -> Result<Segment, OpenError> {
    let path = directory.join(segment::file_name(base_offset, LOG_SUFFIX));
    let file = env.device.open(&path, OpenMode::Read).map_err(io_error(&path, "open"))?;
    let size = file.size().map_err(io_error(&path, "read the size of"))?;
    let Ok(bytes) = u32::try_from(size) else {
        let what = format!("{size} bytes are more than a segment can have");
        return Err(OpenError::Corrupt { path, position: u64::from(u32::MAX), what });
    };
    Ok(Segment::found(directory, base_offset, bytes, is_active))
}

/// Reads everything above the recovery point and cuts off what is not whole.
pub(crate) struct Recovery<'a> {
    pub(crate) env: &'a LogEnvironment,
    pub(crate) directory: &'a Path,
    pub(crate) config: &'a LogConfig,
    pub(crate) stop: StopKind,
    /// Everything below was synced.
    pub(crate) recovery_point: Offset,
    /// Whether what is read above the recovery point must be written anew, see [`FAILED_MARK`].
    pub(crate) must_rewrite: bool,
    /// Whether what is read is durable already, by a sync of the whole file system.
    pub(crate) is_synced: bool,
    /// In a replicated log.
    pub(crate) entries: Option<&'a FoundEntries>,
}

/// One segment after it was read.
struct Swept {
    segment: Segment,
    end_offset: Offset,
    /// Whether the segment ended before its file did.
    was_cut: bool,
}

impl Recovery<'_> {
    /// Recovers the segments with these base offsets, rising and at least one.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] for damage below the recovery point, [`OpenError::Io`].
    pub(crate) fn run(&self, bases: &[Offset]) -> Result<Recovered, OpenError> {
        // The segment that holds the last offset below the recovery point, not one that begins there: a
        // Raft-only entry without an offset of its own may end the one before, and need not be synced.
        let after = bases.partition_point(|base_offset| *base_offset < self.recovery_point);
        let first_read = after.saturating_sub(1);
        if !self.is_synced {
            // The names of segments above the recovery point may not be durable yet.
            self.env.device.sync_dir(self.directory).map_err(io_error(self.directory, "sync"))?;
        }
        let (trusted, point) = (&bases[..first_read], self.recovery_point);
        let mut recovered = trust(self.env, self.directory, trusted, point, self.entries)?;
        for segment in &recovered.segments {
            segment.close();
        }
        for at in first_read..bases.len() {
            let swept = self.sweep(bases[at], &mut recovered.epochs)?;
            recovered.log_end_offset = swept.end_offset;
            let next = bases.get(at + 1).copied();
            let goes_on = !swept.was_cut
                && next.is_some_and(|next| next == swept.end_offset && self.is_next(&swept, next));
            self.check_synced(&swept, next)?;
            if goes_on {
                self.finish_closed(&swept.segment)?;
            }
            recovered.segments.push(Arc::new(swept.segment));
            if !goes_on {
                self.remove_segments(&bases[at + 1..])?;
                break;
            }
        }
        Ok(recovered)
    }

    /// Reads one segment from the recovery point, or from its start.
    fn sweep(
        &self,
        base_offset: Offset,
        epochs: &mut Vec<(LeaderEpoch, Offset)>,
    ) -> Result<Swept, OpenError> {
        let segment = self.swept_segment(base_offset)?;
        let path = segment.path().to_owned();
        let file = self.env.device.open(&path, OpenMode::Write).map_err(io_error(&path, "open"))?;
        let mut sweep = Sweep::new(&segment, epochs.len());
        if self.stop == StopKind::Killed && self.recovery_point > base_offset {
            sweep.start_from_index(self.env, &segment, &*file, self.recovery_point)?;
        }
        let mut ended = sweep.run(&*file, self.config, self.recovery_point, epochs);
        if ended.is_err() && sweep.started_at > 0 && sweep.next_offset < self.recovery_point {
            // The index may have led to a place that is no batch: without it, then.
            epochs.truncate(sweep.epochs_before);
            sweep = Sweep::new(&segment, epochs.len());
            ended = sweep.run(&*file, self.config, self.recovery_point, epochs);
        }
        let was_cut = match ended {
            Ok(()) => false,
            Err(ScanError::Damaged { position, what }) => {
                if sweep.next_offset < self.recovery_point {
                    return Err(OpenError::Corrupt { path, position, what });
                }
                tracing::warn!(path = %path.display(), position, what, "cut off an unfinished end");
                file.set_len(position).map_err(io_error(&path, "cut"))?;
                true
            }
            Err(ScanError::Io(cause)) => {
                return Err(OpenError::Io { path, operation: "read", cause });
            }
            Err(ScanError::WouldBlock) => unreachable!("this scan waits for the disk"),
        };
        // What was finished before the stop was perhaps not synced, and from now on counts as such.
        if self.must_rewrite {
            self.rewrite(&*file, &path, u64::from(sweep.position))?;
        } else if was_cut || !self.is_synced {
            // Not only its bytes: a truncation may have been interrupted after it cut the file.
            file.sync_all().map_err(io_error(&path, "sync"))?;
        }
        let end_offset = sweep.next_offset;
        segment.reset(sweep.position, sweep.newest, sweep.first_timestamp, sweep.index);
        segment.set_entry_count(sweep.entry_count);
        segment.trim_index(self.env).map_err(io_error(&path, "trim the index of"))?;
        self.save_raft_only(&segment)?;
        Ok(Swept { segment, end_offset, was_cut })
    }

    /// A segment that is about to be read. In a replicated log its file tells which entries it holds; one
    /// without an entry may lack that, and gets it.
    fn swept_segment(&self, base_offset: Offset) -> Result<Segment, OpenError> {
        let segment = found_segment(self.env, self.directory, base_offset, true)?;
        let Some(entries) = self.entries else { return Ok(segment) };
        if let Some(start) = entries.start_of(base_offset) {
            return Ok(segment.with_entries(SegmentEntries::none_from(start)));
        }
        if segment.bytes() > 0 {
            return Err(entries.damaged(self.directory, base_offset));
        }
        let segment = segment.with_entries(SegmentEntries::none_from(entries.start()));
        segment
            .create_entries(self.env)
            .and_then(|()| self.env.device.sync_dir(self.directory))
            .map_err(io_error(&segment.sibling(ENTRIES_SUFFIX), "create"))?;
        Ok(segment)
    }

    /// Whether the first entry of the segment at `next` follows the last of the one that was read. An
    /// entry without an offset may be missing in between.
    fn is_next(&self, swept: &Swept, next: Offset) -> bool {
        let end = swept.segment.entries().map(SegmentEntries::end);
        self.entries
            .is_none_or(|entries| entries.start_of(next).map(|start| start.first_index) == end)
    }

    /// Replaces the file by a synced copy of its first `bytes`.
    fn rewrite(&self, file: &dyn DeviceFile, path: &Path, bytes: u64) -> Result<(), OpenError> {
        let mut copy_path = path.as_os_str().to_owned();
        copy_path.push(TEMPORARY_SUFFIX);
        let copy_path = PathBuf::from(copy_path);
        let device = &self.env.device;
        let copy =
            device.open(&copy_path, OpenMode::CreateNew).map_err(io_error(&copy_path, "create"))?;
        let mut buffer = vec![0; SWEEP_WINDOW_BYTES];
        let mut at = 0;
        while at < bytes {
            let rest = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = &mut buffer[..rest];
            let read = file.read_at(piece, at).map_err(io_error(path, "read"))?;
            if read < rest {
                return Err(io_error(path, "read")(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let wrote = copy.write_at(piece, at);
            wrote.map_err(|error| io_error(&copy_path, "write")(error.cause))?;
            at += as_u64(read);
        }
        copy.sync_all().map_err(io_error(&copy_path, "sync"))?;
        device.rename(&copy_path, path).map_err(io_error(path, "rename"))?;
        self.env.files.forget(path);
        device.sync_dir(self.directory).map_err(io_error(self.directory, "sync"))
    }

    /// Makes the places of Raft-only entries durable, as they are by what was read. The file is
    /// replaced as a whole: the next start believes what it says of the part that is not read again.
    fn save_raft_only(&self, segment: &Segment) -> Result<(), OpenError> {
        let rows = segment.all_raft_only();
        let path = segment.sibling(RAFT_ONLY_SUFFIX);
        if !rows.is_empty() {
            write_atomic(&*self.env.device, &path, &rows)?;
            self.env.files.forget(&path);
            segment.raft_only_saved();
            return Ok(());
        }
        self.env.files.forget(&path);
        match self.env.device.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error(&path, "remove")(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The synced part must be there as a whole, without a gap between segments.
    fn check_synced(&self, swept: &Swept, next: Option<Offset>) -> Result<(), OpenError> {
        let end = swept.end_offset;
        let missing_up_to = match next {
            Some(next) if next <= self.recovery_point && next != end => next,
            Some(next) if next < self.recovery_point && !self.is_next(swept, next) => {
                let entries = self.entries.expect("only a replicated log lacks entries");
                return Err(entries.damaged(self.directory, next));
            }
            None if end < self.recovery_point => self.recovery_point,
            Some(_) | None => return Ok(()),
        };
        Err(OpenError::Corrupt {
            path: swept.segment.path().to_owned(),
            position: u64::from(swept.segment.bytes()),
            what: format!(
                "it ends at offset {end}, but everything up to {missing_up_to} was synced"
            ),
        })
    }

    fn finish_closed(&self, segment: &Segment) -> Result<(), OpenError> {
        segment.finish_index(self.env).map_err(io_error(segment.path(), "index"))?;
        segment.close();
        Ok(())
    }

    fn remove_segments(&self, bases: &[Offset]) -> Result<(), OpenError> {
        if bases.is_empty() {
            return Ok(());
        }
        // The last first, so that a crash in between leaves no gap.
        for base_offset in bases.iter().rev() {
            leaving::remove_files(self.env, self.directory, *base_offset)?;
        }
        self.env.device.sync_dir(self.directory).map_err(io_error(self.directory, "sync"))
    }
}

/// Leaves [`FAILED_MARK`] for the next recovery. Best effort: the disk may take nothing any more.
pub(crate) fn mark_failed(device: &dyn Device, directory: &Path) {
    if let Err(error) = note_failed(device, directory) {
        tracing::warn!(%error, "a failure could not be noted");
    }
}

/// As [`mark_failed`], for a caller that must not go on without.
///
/// # Errors
/// [`OpenError::Io`].
pub(crate) fn note_failed(device: &dyn Device, directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(FAILED_MARK);
    let noted = device
        .open(&path, OpenMode::Create)
        .and_then(|mark| mark.sync_all())
        .and_then(|()| device.sync_dir(directory));
    noted.map_err(io_error(&path, "note a failure in"))
}

/// Names the file and what was being done.
pub(crate) fn io_error(
    path: &Path,
    operation: &'static str,
) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |cause| OpenError::Io { path, operation, cause }
}
