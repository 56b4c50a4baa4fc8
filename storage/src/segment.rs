//! One segment of a log: a `.log` file of batches and what is known about it in memory.
//!
//! ```text
//! <20-digit base offset>.log        v2 batches one after the other, nothing else
//!                      .index       see `offset_index`
//!                      .timeindex   see `time_index`
//!                      .raftonly    see `raft_only`; most segments have none
//!                      .entries     see `entry_index`; in replicated logs alone
//! ```
//! The last segment of a log is active: its index rows are in memory and go to their files lazily.
//! All others are closed: their files change no more, and lookups go through a mapping.
//!
//! The lock here is held for lookups in memory only, never for a system call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::batch::BatchHeader;
use protocol::types::{LogIndex, Offset, Timestamp};

use crate::checkpoint;
use crate::config::LogConfig;
use crate::device::{DeviceFile, OpenMode};
use crate::entry_index::{EntryRow, EntryStart};
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::mmap::Mapping;
use crate::offset_index::{self, relative};
use crate::raft_only::{self, RaftOnlyRows};
use crate::scan::as_u64;
use crate::time_index::{self, TimeRow, TimeRows};

mod active_index;
mod entries;
mod index_files;
pub(crate) mod leaving;

use active_index::newest_of;
pub(crate) use active_index::{ActiveIndex, NewestRecord};
pub(crate) use entries::read_entry_start;

/// What the names of a segment's files end with.
pub(crate) const LOG_SUFFIX: &str = ".log";
pub(crate) const OFFSET_INDEX_SUFFIX: &str = ".index";
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub(crate) const RAFT_ONLY_SUFFIX: &str = ".raftonly";
pub(crate) const ENTRIES_SUFFIX: &str = ".entries";
/// All of them, in the order in which they leave: a segment whose log is there may lack an index, but
/// not the places of its Raft-only entries nor the index of its first one, see [`leaving`].
pub(crate) const SUFFIXES: [&str; 5] =
    [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, LOG_SUFFIX, RAFT_ONLY_SUFFIX, ENTRIES_SUFFIX];

#[derive(Debug)]
enum Index {
    /// Active, but its files were not read yet.
    Unread,
    Active(ActiveIndex),
    /// Closed; read when first needed.
    Closed(Option<ClosedIndex>),
}

#[derive(Debug)]
struct ClosedIndex {
    offsets: Mapping,
    raft_only: RaftOnlyRows,
    /// In a replicated log.
    entries: Option<Mapping>,
}

/// What a segment of a replicated log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEntries {
    /// Where it starts, also if its first entry is still to come.
    pub(crate) start: EntryStart,
    /// How many are in its file. Right in an active segment; in a closed one the next segment tells.
    pub(crate) count: u32,
}

impl SegmentEntries {
    /// Nothing yet.
    pub(crate) const fn none_from(start: EntryStart) -> Self {
        Self { start, count: 0 }
    }

    /// The index behind its last entry. For an active segment.
    pub(crate) fn end(self) -> LogIndex {
        LogIndex::new(self.start.first_index.get() + u64::from(self.count))
    }
}

#[derive(Debug)]
struct State {
    bytes: u32,
    /// Whether the `.log` file exists; the first one of a new log is made with its first batch.
    is_created: bool,
    /// Largest timestamp of the first batch: the age of the segment counts from it.
    first_timestamp: Option<Timestamp>,
    /// When this process first wrote to it: its age where records carry no time.
    first_written_at: Option<Timestamp>,
    /// `None` until it is read from the index.
    newest: Option<NewestRecord>,
    index: Index,
    /// In a replicated log.
    entries: Option<SegmentEntries>,
}

/// Where a lookup should start reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// At this byte.
    Position(u32),
    /// The index must be read from the disk first: [`Segment::load`].
    NotLoaded,
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    base_offset: Offset,
    path: PathBuf,
    state: Mutex<State>,
}

impl Segment {
    /// A segment without a batch, whose file is made later.
    pub(crate) fn new(directory: &Path, base_offset: Offset) -> Self {
        let index = Index::Active(ActiveIndex::default());
        let newest = Some(NewestRecord { timestamp: Timestamp::NONE, last_offset: base_offset });
        let state = State {
            bytes: 0,
            is_created: false,
            first_timestamp: None,
            first_written_at: None,
            newest,
            index,
            entries: None,
        };
        Self::with(directory, base_offset, state)
    }

    /// A segment that was found on disk, closed or active; nothing of it is read.
    pub(crate) fn found(
        directory: &Path,
        base_offset: Offset,
        bytes: u32,
        is_active: bool,
    ) -> Self {
        let index = if is_active { Index::Unread } else { Index::Closed(None) };
        let state = State {
            bytes,
            is_created: true,
            first_timestamp: None,
            first_written_at: None,
            newest: None,
            index,
            entries: None,
        };
        Self::with(directory, base_offset, state)
    }

    fn with(directory: &Path, base_offset: Offset, state: State) -> Self {
        let path = directory.join(file_name(base_offset, LOG_SUFFIX));
        Self { base_offset, path, state: Mutex::new(state) }
    }

    /// Its first offset, also if no batch holds that.
    pub(crate) const fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Its `.log` file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// One of its files.
    pub(crate) fn sibling(&self, suffix: &str) -> PathBuf {
        self.path.with_file_name(file_name(self.base_offset, suffix))
    }

    /// Bytes of batches.
    pub(crate) fn bytes(&self) -> u32 {
        self.state.lock().bytes
    }

    /// Whether its file exists.
    pub(crate) fn is_created(&self) -> bool {
        self.state.lock().is_created
    }

    /// Its file exists now.
    pub(crate) fn mark_created(&self) {
        self.state.lock().is_created = true;
    }

    /// The largest timestamp of the first batch, once it is known.
    pub(crate) fn first_timestamp(&self) -> Option<Timestamp> {
        self.state.lock().first_timestamp
    }

    /// When this process first wrote to it.
    pub(crate) fn first_written_at(&self) -> Option<Timestamp> {
        self.state.lock().first_written_at
    }

    /// Tells what [`Segment::first_timestamp`] is.
    pub(crate) fn set_first_timestamp(&self, timestamp: Timestamp) {
        self.state.lock().first_timestamp.get_or_insert(timestamp);
    }

    /// The newest record, once the index is loaded.
    pub(crate) fn newest(&self) -> Option<NewestRecord> {
        self.state.lock().newest
    }

    /// Rows that the fuller of the two indexes has room for.
    pub(crate) fn index_rows_left(&self, index_bytes_max: u32) -> usize {
        let max = usize::try_from(index_bytes_max).unwrap_or(usize::MAX);
        match &self.state.lock().index {
            Index::Active(active) => {
                let offsets = (max / offset_index::ROW_BYTES).saturating_sub(active.offsets.len());
                // One row is kept for the largest timestamp at the roll.
                let times = (max / time_index::ROW_BYTES).saturating_sub(active.times.len() + 1);
                offsets.min(times)
            }
            Index::Unread | Index::Closed(_) => usize::MAX,
        }
    }

    /// Takes batches into account that were just written at the end. The index must be loaded.
    pub(crate) fn note_written<'a>(
        &self,
        headers: impl Iterator<Item = &'a BatchHeader>,
        config: &LogConfig,
        now: Timestamp,
    ) {
        let mut state = self.state.lock();
        state.first_written_at.get_or_insert(now);
        for header in headers {
            state.note(self.base_offset, header, config.index_interval_bytes);
        }
    }

    /// Whether the rows of an active segment are in memory.
    pub(crate) fn is_index_loaded(&self) -> bool {
        matches!(self.state.lock().index, Index::Active(_))
    }

    /// Where the batch with `offset`, or one not far before it, starts.
    pub(crate) fn hint(&self, offset: Offset) -> Hint {
        let Some(wanted) = relative(offset.max(self.base_offset), self.base_offset) else {
            return Hint::Position(0);
        };
        let row = match &self.state.lock().index {
            Index::Active(active) => active.offsets.floor(wanted),
            Index::Closed(Some(index)) => offset_index::floor_of_file(&index.offsets, wanted),
            Index::Unread | Index::Closed(None) => return Hint::NotLoaded,
        };
        Hint::Position(row.map_or(0, |row| row.position))
    }

    /// Where the first Raft-only entry behind `position` starts. The index must be loaded.
    pub(crate) fn raft_only_after(&self, position: u64) -> Option<u64> {
        match &self.state.lock().index {
            Index::Active(active) => active.raft_only.next_after(position),
            Index::Closed(Some(index)) => index.raft_only.next_after(position),
            // Given up a moment ago: the caller had it, and reads no further than one batch now.
            Index::Unread | Index::Closed(None) => Some(position),
        }
    }

    /// Reads the index from the disk unless it is in memory. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn load(self: &Arc<Self>, env: &LogEnvironment) -> Result<(), OpenError> {
        let (is_active, bytes) = {
            let state = self.state.lock();
            match state.index {
                Index::Active(_) => return Ok(()),
                Index::Closed(Some(_)) if state.newest.is_some() => return Ok(()),
                Index::Closed(_) => (false, state.bytes),
                Index::Unread => (true, state.bytes),
            }
        };
        if is_active {
            return self.load_active(env, bytes);
        }
        let closed = self.read_closed(env)?;
        let newest = self.read_newest(env)?;
        let mut is_mapped = false;
        {
            let mut state = self.state.lock();
            state.newest.get_or_insert(newest);
            if let Index::Closed(slot @ None) = &mut state.index {
                *slot = Some(closed);
                is_mapped = true;
            }
        }
        if is_mapped {
            env.mapped_indexes.mapped(self);
        }
        Ok(())
    }

    fn load_active(&self, env: &LogEnvironment, bytes: u32) -> Result<(), OpenError> {
        let active = ActiveIndex::read(env, self, bytes)?;
        let mut state = self.state.lock();
        if matches!(state.index, Index::Unread) {
            state.newest = Some(active.newest(self.base_offset));
            state.index = Index::Active(active);
        }
        Ok(())
    }

    /// Learns the newest record of a segment that was found on disk, without its whole index.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn load_newest(self: &Arc<Self>, env: &LogEnvironment) -> Result<(), OpenError> {
        if matches!(self.state.lock().index, Index::Unread) {
            return self.load(env);
        }
        let newest = self.read_newest(env)?;
        self.state.lock().newest.get_or_insert(newest);
        Ok(())
    }

    fn read_closed(&self, env: &LogEnvironment) -> Result<ClosedIndex, OpenError> {
        let path = self.sibling(OFFSET_INDEX_SUFFIX);
        let failed = |operation| {
            let path = path.clone();
            move |cause| OpenError::Io { path, operation, cause }
        };
        let file = env.device.open(&path, OpenMode::Create).map_err(failed("open"))?;
        let offsets = Mapping::open(file.std_file()).map_err(failed("map"))?;
        let raft_only = checkpoint::read_whole(&*env.device, &self.sibling(RAFT_ONLY_SUFFIX))?;
        let raft_only = RaftOnlyRows::decode(&raft_only.unwrap_or_default());
        Ok(ClosedIndex { offsets, raft_only, entries: self.map_entries(env)? })
    }

    /// The last row of the time index tells the largest timestamp of a closed segment.
    fn read_newest(&self, env: &LogEnvironment) -> Result<NewestRecord, OpenError> {
        let bytes = checkpoint::read_whole(&*env.device, &self.sibling(TIME_INDEX_SUFFIX))?;
        let last = TimeRows::decode(&bytes.unwrap_or_default()).last();
        Ok(newest_of(last, self.base_offset))
    }

    /// An offset at or before the first record whose timestamp reaches `target`. Blocks.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn offset_before_timestamp(
        &self,
        env: &LogEnvironment,
        target: Timestamp,
    ) -> io::Result<Offset> {
        let offset_of =
            |row: Option<TimeRow>| row.map_or(self.base_offset, |row| row.offset(self.base_offset));
        if let Index::Active(active) = &self.state.lock().index {
            return Ok(offset_of(active.times.last_below(target)));
        }
        let bytes = checkpoint::read_whole(&*env.device, &self.sibling(TIME_INDEX_SUFFIX))
            .map_err(io::Error::other)?;
        Ok(offset_of(TimeRows::decode(&bytes.unwrap_or_default()).last_below(target)))
    }

    /// Lets go of the mapping; the next lookup maps again.
    pub(crate) fn unmap(&self) {
        if let Index::Closed(map) = &mut self.state.lock().index {
            *map = None;
        }
    }

    /// Writes the places of new Raft-only entries; returns the file to be synced, if there are any.
    ///
    /// # Errors
    /// The operating system's. The log must not go on: reads would send such entries to clients.
    pub(crate) fn save_raft_only(
        &self,
        env: &LogEnvironment,
    ) -> io::Result<Option<(PathBuf, Arc<dyn DeviceFile>)>> {
        let (bytes, at, count) = {
            let state = self.state.lock();
            let Index::Active(active) = &state.index else { return Ok(None) };
            let (saved, count) = (active.saved.raft_only, active.raft_only.len());
            if saved == count {
                return Ok(None);
            }
            (active.raft_only.encode_from(saved), saved * raft_only::ROW_BYTES, count)
        };
        let path = self.sibling(RAFT_ONLY_SUFFIX);
        let file = env.files.open(&path, OpenMode::Create)?;
        if at == 0 {
            file.set_len(0)?;
            env.device.sync_dir(path.parent().expect("a segment stands in a directory"))?;
        }
        file.write_at(&bytes, as_u64(at))?;
        if let Index::Active(active) = &mut self.state.lock().index {
            active.saved.raft_only = count;
        }
        Ok(Some((path, file)))
    }

    /// The places of all Raft-only entries of the active segment, as their file holds them.
    pub(crate) fn all_raft_only(&self) -> Vec<u8> {
        let state = self.state.lock();
        let Index::Active(active) = &state.index else { return Vec::new() };
        active.raft_only.encode_from(0)
    }

    /// All of them are in their file.
    pub(crate) fn raft_only_saved(&self) {
        if let Index::Active(active) = &mut self.state.lock().index {
            active.saved.raft_only = active.raft_only.len();
        }
    }

    /// No batch will follow: the rows in memory are given up for the files.
    pub(crate) fn close(&self) {
        self.state.lock().index = Index::Closed(None);
    }

    /// Sets what a recovery or a truncation found to be in the file.
    pub(crate) fn reset(
        &self,
        bytes: u32,
        newest: NewestRecord,
        first_timestamp: Option<Timestamp>,
        index: ActiveIndex,
    ) {
        let mut state = self.state.lock();
        state.bytes = bytes;
        state.newest = Some(newest);
        state.first_timestamp = first_timestamp;
        state.index = Index::Active(index);
    }
}

impl State {
    fn note(&mut self, base_offset: Offset, header: &BatchHeader, interval_bytes: u32) {
        let position = self.bytes;
        let batch_bytes =
            u32::try_from(header.batch_bytes()).expect("a batch's length field has 31 bits");
        self.bytes += batch_bytes;
        if self.first_timestamp.is_none() && !header.is_raft_only() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        let Index::Active(active) = &mut self.index else {
            unreachable!("the writer loads the index of the segment that it writes to")
        };
        let newest = self.newest.get_or_insert_with(|| active.newest(base_offset));
        active.note(base_offset, position, header, interval_bytes, newest);
        if let Some(entries) = &mut self.entries {
            let row = EntryRow { relative_index: entries.count, position };
            active.entries.get_or_insert_default().note(row, batch_bytes, interval_bytes);
            entries.count += 1;
        }
    }
}

/// The name of a segment's file.
pub(crate) fn file_name(base_offset: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base_offset.get())
}

/// The base offset in the name of a file that ends with `suffix`.
pub(crate) fn parse_file_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    let is_offset = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_offset.then(|| digits.parse().ok().map(Offset::new))?
}
