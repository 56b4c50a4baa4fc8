//! One segment of a log: a `.log` file of batches and what is known about it in memory.
//!
//! ```text
//! <20-digit base offset>.log        v2 batches one after the other, nothing else
//!                      .index       see `offset_index`
//!                      .timeindex   see `time_index`
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
use protocol::types::{Offset, Timestamp};

use crate::checkpoint;
use crate::config::LogConfig;
use crate::device::OpenMode;
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::mmap::Mapping;
use crate::offset_index::{self, OffsetRow, OffsetRows, relative};
use crate::scan::as_u64;
use crate::time_index::{self, TimeRow, TimeRows};

/// What the names of a segment's files end with.
pub(crate) const LOG_SUFFIX: &str = ".log";
pub(crate) const OFFSET_INDEX_SUFFIX: &str = ".index";
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// All of them, the log itself last, so that a segment whose log is there may lack an index but not
/// the other way round.
pub(crate) const SUFFIXES: [&str; 3] = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, LOG_SUFFIX];

/// Rows that may wait in memory until they are written to the index files.
const UNSAVED_ROWS_MAX: usize = 512;

/// The largest timestamp of a segment and the last offset of the batch that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewestRecord {
    pub(crate) timestamp: Timestamp,
    pub(crate) last_offset: Offset,
}

/// The index of an active segment.
#[derive(Debug, Default)]
pub(crate) struct ActiveIndex {
    pub(crate) offsets: OffsetRows,
    pub(crate) times: TimeRows,
    saved_offsets: usize,
    saved_times: usize,
    bytes_since_row: u32,
}

#[derive(Debug)]
enum Index {
    /// Active, but its files were not read yet.
    Unread,
    Active(ActiveIndex),
    /// Closed; mapped when first needed.
    Closed(Option<Arc<Mapping>>),
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

    /// Tells the largest timestamp of the first batch, read from the file.
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
            Index::Closed(Some(map)) => offset_index::floor_of_file(map, wanted),
            Index::Unread | Index::Closed(None) => return Hint::NotLoaded,
        };
        Hint::Position(row.map_or(0, |row| row.position))
    }

    /// Reads the index from the disk unless it is in memory. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn load(&self, env: &LogEnvironment) -> Result<(), OpenError> {
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
            let active = ActiveIndex::read(env, self, bytes)?;
            let mut state = self.state.lock();
            if matches!(state.index, Index::Unread) {
                state.newest = Some(active.newest(self.base_offset));
                state.index = Index::Active(active);
            }
            return Ok(());
        }
        let map = self.map(env)?;
        let newest = self.read_newest(env)?;
        let mut state = self.state.lock();
        state.newest.get_or_insert(newest);
        if let Index::Closed(slot) = &mut state.index {
            slot.get_or_insert(map);
        }
        Ok(())
    }

    /// Learns the newest record of a segment that was found on disk, without its whole index.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn load_newest(&self, env: &LogEnvironment) -> Result<(), OpenError> {
        let is_unread = matches!(self.state.lock().index, Index::Unread);
        if is_unread {
            return self.load(env);
        }
        let newest = self.read_newest(env)?;
        self.state.lock().newest.get_or_insert(newest);
        Ok(())
    }

    fn map(&self, env: &LogEnvironment) -> Result<Arc<Mapping>, OpenError> {
        let path = self.sibling(OFFSET_INDEX_SUFFIX);
        let failed = |operation| {
            let path = path.clone();
            move |cause| OpenError::Io { path, operation, cause }
        };
        let file = env.device.open(&path, OpenMode::Create).map_err(failed("open"))?;
        Ok(Arc::new(Mapping::open(file.std_file()).map_err(failed("map"))?))
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

    /// Writes index rows to their files if many wait, or all of them.
    ///
    /// # Errors
    /// The operating system's. The rows stay in memory and are written another time.
    pub(crate) fn save_index(&self, env: &LogEnvironment, all: bool) -> io::Result<()> {
        let (offsets, times, offsets_at, times_at, counts) = {
            let state = self.state.lock();
            let Index::Active(active) = &state.index else { return Ok(()) };
            let unsaved = active.offsets.len() - active.saved_offsets;
            if !all && unsaved < UNSAVED_ROWS_MAX {
                return Ok(());
            }
            (
                active.offsets.encode_from(active.saved_offsets),
                active.times.encode_from(active.saved_times),
                active.saved_offsets * offset_index::ROW_BYTES,
                active.saved_times * time_index::ROW_BYTES,
                (active.offsets.len(), active.times.len()),
            )
        };
        for (suffix, bytes, at) in
            [(OFFSET_INDEX_SUFFIX, offsets, offsets_at), (TIME_INDEX_SUFFIX, times, times_at)]
        {
            let file = env.files.open(&self.sibling(suffix), OpenMode::Create)?;
            if !bytes.is_empty() {
                file.write_at(&bytes, as_u64(at))?;
            }
        }
        let mut state = self.state.lock();
        if let Index::Active(active) = &mut state.index {
            (active.saved_offsets, active.saved_times) = counts;
        }
        Ok(())
    }

    /// Brings both index files to what Kafka's tools expect of a closed segment: every row, the
    /// largest timestamp last, nothing behind, synced.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn finish_index(&self, env: &LogEnvironment) -> io::Result<()> {
        {
            let mut state = self.state.lock();
            let newest = state.newest;
            if let (Index::Active(active), Some(newest)) = (&mut state.index, newest) {
                active.push_time(newest, self.base_offset);
            }
        }
        self.save_index(env, true)?;
        let lengths = {
            let state = self.state.lock();
            let Index::Active(active) = &state.index else { return Ok(()) };
            [
                (OFFSET_INDEX_SUFFIX, active.offsets.len() * offset_index::ROW_BYTES),
                (TIME_INDEX_SUFFIX, active.times.len() * time_index::ROW_BYTES),
            ]
        };
        for (suffix, bytes) in lengths {
            let file = env.files.open(&self.sibling(suffix), OpenMode::Create)?;
            if file.size()? != as_u64(bytes) {
                file.set_len(as_u64(bytes))?;
            }
            file.sync_all()?;
        }
        Ok(())
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
    }
}

impl ActiveIndex {
    /// What the index files hold of the first `bytes` of the segment.
    fn read(env: &LogEnvironment, segment: &Segment, bytes: u32) -> Result<Self, OpenError> {
        let read = |suffix| checkpoint::read_whole(&*env.device, &segment.sibling(suffix));
        let mut offsets = OffsetRows::decode(&read(OFFSET_INDEX_SUFFIX)?.unwrap_or_default());
        offsets.truncate(bytes);
        let times = TimeRows::decode(&read(TIME_INDEX_SUFFIX)?.unwrap_or_default());
        let bytes_since_row = bytes - offsets.last().map_or(0, |row| row.position);
        let (saved_offsets, saved_times) = (offsets.len(), times.len());
        Ok(Self { offsets, times, saved_offsets, saved_times, bytes_since_row })
    }

    /// What the index files say of batches up to the one that holds `offset` or is not far before
    /// it, and where that one starts: a recovery walks on from there.
    pub(crate) fn read_below(
        env: &LogEnvironment,
        segment: &Segment,
        offset: Offset,
        bytes: u32,
    ) -> Result<(Self, u32), OpenError> {
        let mut index = Self::read(env, segment, bytes)?;
        let wanted = relative(offset, segment.base_offset()).unwrap_or(0);
        let Some(row) = index.offsets.floor(wanted) else { return Ok((Self::default(), 0)) };
        index.offsets.truncate(row.position + 1);
        index.times.truncate(row.relative_offset + 1);
        index.saved_offsets = index.offsets.len();
        index.saved_times = index.times.len();
        index.bytes_since_row = 0;
        Ok((index, row.position))
    }

    /// Takes one more batch into account.
    pub(crate) fn note(
        &mut self,
        base_offset: Offset,
        position: u32,
        header: &BatchHeader,
        interval_bytes: u32,
        newest: &mut NewestRecord,
    ) {
        let batch_bytes = u32::try_from(header.batch_bytes()).unwrap_or(u32::MAX);
        let last_offset = header.last_offset();
        // A Raft-only entry has no offset that a lookup could ask for.
        if !header.is_raft_only() {
            if header.max_timestamp > newest.timestamp {
                *newest = NewestRecord { timestamp: header.max_timestamp, last_offset };
            }
            if self.bytes_since_row > interval_bytes
                && let Some(relative_offset) = relative(last_offset, base_offset)
                && self.offsets.push(OffsetRow { relative_offset, position })
            {
                self.push_time(*newest, base_offset);
                self.bytes_since_row = 0;
            }
        }
        self.bytes_since_row = self.bytes_since_row.saturating_add(batch_bytes);
    }

    /// What the time index says about the newest record.
    pub(crate) fn newest(&self, base_offset: Offset) -> NewestRecord {
        newest_of(self.times.last(), base_offset)
    }

    fn push_time(&mut self, newest: NewestRecord, base_offset: Offset) {
        if let Some(relative_offset) = relative(newest.last_offset, base_offset) {
            self.times.push(TimeRow { timestamp: newest.timestamp, relative_offset });
        }
    }
}

fn newest_of(last: Option<TimeRow>, base_offset: Offset) -> NewestRecord {
    last.map_or(NewestRecord { timestamp: Timestamp::NONE, last_offset: base_offset }, |row| {
        NewestRecord { timestamp: row.timestamp, last_offset: row.offset(base_offset) }
    })
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
