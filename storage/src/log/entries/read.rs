//! Entries by their index: from memory without copying, or from the files with their CRC checked.

use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::types::{LeaderEpoch, LogIndex, Offset};

use super::EntryBatch;
use super::tracker::behind;
use crate::device::{DeviceFile, OpenMode};
use crate::entry_index::EntryRow;
use crate::error::ReadError;
use crate::log::Log;
use crate::log::read::failure_of;
use crate::log::state::State;
use crate::recovery::io_error;
use crate::scan::{Found, LOOKUP_WINDOW_BYTES, SWEEP_WINDOW_BYTES, Scan, ScanError, Wait, as_u64};
use crate::segment::Segment;
use crate::tail_cache::tail::Chunk;

/// Bytes that one read takes from a file at once, unless a single entry is larger.
const FILE_READ_BYTES_MAX: usize = 8 << 20;

/// How often an index is loaded that others make go away again.
const LOADS_MAX: u32 = 3;

/// Which entries somebody wants, and how much of them.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: LogIndex,
    /// Exclusive.
    end: LogIndex,
    bytes_max: usize,
    /// Without the bodies of entries that have offsets.
    headers_only: bool,
}

/// What a read found out under the lock.
enum Plan {
    Memory(Vec<Chunk>),
    File(FileRange),
}

/// The part of a read that one segment can answer.
pub(super) struct FileRange {
    pub(super) segment: Arc<Segment>,
    /// Bytes of it that are written.
    bytes: u32,
    /// The entry behind the last of them.
    end: LogIndex,
    generation: u64,
}

impl Log {
    /// Headers of entries from `from` up to, not including, `end`; Raft-only entries have their
    /// payload too, of the others the body is left out. Blocks on the disk if they are not in memory.
    ///
    /// # Errors
    /// [`ReadError::EntryOutOfRange`], [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn entry_headers(
        &self,
        from: LogIndex,
        end: LogIndex,
    ) -> Result<Vec<EntryBatch>, ReadError> {
        let mut wanted = Wanted { from, end, bytes_max: usize::MAX, headers_only: true };
        let mut found = Vec::new();
        while wanted.from < end {
            found.extend(self.read_wanted(wanted)?);
            wanted.from = behind(from, found.len());
        }
        Ok(found)
    }

    /// Whole entries from `from` on, all below `end`: at least one, else as many as have `bytes_max`
    /// together, or fewer. Never blocks; `None`: the disk is needed.
    ///
    /// # Errors
    /// As [`Log::entry_headers`].
    pub fn read_entries(
        &self,
        from: LogIndex,
        end: LogIndex,
        bytes_max: usize,
    ) -> Result<Option<Vec<EntryBatch>>, ReadError> {
        let wanted = Wanted { from, end, bytes_max, headers_only: false };
        match self.plan_entries(wanted)? {
            Some(Plan::Memory(chunks)) => Ok(Some(wanted.of_chunks(chunks))),
            Some(Plan::File(_)) => Ok(None),
            None => Ok(Some(Vec::new())),
        }
    }

    /// As [`Log::read_entries`], and waits for the disk where it is needed.
    ///
    /// # Errors
    /// As [`Log::entry_headers`]; [`ReadError::Failed`] also for an entry that is damaged.
    pub fn read_entries_blocking(
        &self,
        from: LogIndex,
        end: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<EntryBatch>, ReadError> {
        self.read_wanted(Wanted { from, end, bytes_max, headers_only: false })
    }

    /// The offset behind an entry. Blocks on the disk if it is not in memory.
    ///
    /// # Errors
    /// As [`Log::entry_headers`].
    pub fn offset_after(&self, index: LogIndex) -> Result<Offset, ReadError> {
        {
            let state = self.state.lock();
            let entries = state.entries();
            if entries.bounds.last.is_some_and(|last| last.index == index) {
                return Ok(state.pointers.log_end_offset);
            }
            if let Some(purged) = entries.purged().filter(|purged| purged.id.index == index) {
                return Ok(purged.next_offset);
            }
        }
        Ok(self.entry_header(index)?.next_offset())
    }

    /// The epoch of an entry. Blocks on the disk if it is not in memory.
    ///
    /// # Errors
    /// As [`Log::entry_headers`].
    pub fn epoch_of(&self, index: LogIndex) -> Result<LeaderEpoch, ReadError> {
        let bounds = self.entry_bounds();
        let known = bounds.last.into_iter().chain(bounds.purged).find(|id| id.index == index);
        match known {
            Some(id) => Ok(id.leader_epoch),
            None => Ok(self.entry_header(index)?.leader_epoch),
        }
    }

    pub(super) fn entry_header(&self, index: LogIndex) -> Result<BatchHeader, ReadError> {
        let end = behind(index, 1);
        let wanted = Wanted { from: index, end, bytes_max: 1, headers_only: true };
        let found = self.read_wanted(wanted)?;
        Ok(found.first().expect("a read below the end finds an entry").header)
    }

    fn read_wanted(&self, wanted: Wanted) -> Result<Vec<EntryBatch>, ReadError> {
        loop {
            let range = match self.plan_entries(wanted)? {
                None => return Ok(Vec::new()),
                Some(Plan::Memory(chunks)) => return Ok(wanted.of_chunks(chunks)),
                Some(Plan::File(range)) => range,
            };
            let read = self.read_range(&range, wanted);
            // After a truncation, something else may be where that was read.
            if self.state.lock().generation == range.generation {
                // What cannot be read may have left the log meanwhile.
                return read.or_else(|error| self.plan_entries(wanted).and(Err(error)));
            }
        }
    }

    fn plan_entries(&self, wanted: Wanted) -> Result<Option<Plan>, ReadError> {
        let state = self.state.lock();
        state.check_open()?;
        let bounds = &state.entries().bounds;
        let Wanted { from, end, .. } = wanted;
        if from < bounds.first() || end > bounds.end {
            let wanted = if from < bounds.first() { from } else { end };
            return Err(ReadError::EntryOutOfRange {
                wanted,
                first: bounds.first(),
                end: bounds.end,
            });
        }
        if from >= end {
            return Ok(None);
        }
        if let Some(chunks) = state.tail.read_entries(from, end, wanted.bytes_max) {
            return Ok(Some(Plan::Memory(chunks)));
        }
        Ok(Some(Plan::File(state.entry_range(from))))
    }

    /// The byte at which an entry starts in the segment.
    pub(super) fn position_in(&self, range: &FileRange, index: LogIndex) -> Result<u32, ReadError> {
        let found = self.with_file(range, |file| range.find(file, index))?;
        Ok(u32::try_from(found.position).expect("a segment has less than 4 GiB"))
    }

    fn with_file<T>(
        &self,
        range: &FileRange,
        look: impl FnOnce(&dyn DeviceFile) -> Result<T, ScanError>,
    ) -> Result<T, ReadError> {
        let segment = &range.segment;
        for _ in 0..LOADS_MAX {
            segment.load(&self.env).map_err(|error| self.read_error(error))?;
            if segment.entry_hint(segment.first_index()).is_some() {
                break;
            }
        }
        let path = segment.path();
        let file = self.env.files.open(path, OpenMode::Read);
        let file = file.map_err(|cause| self.read_error(io_error(path, "open")(cause)))?;
        look(&*file).map_err(|error| ReadError::Failed(failure_of(segment, error)))
    }

    fn read_range(&self, range: &FileRange, wanted: Wanted) -> Result<Vec<EntryBatch>, ReadError> {
        let wanted = Wanted { end: wanted.end.min(range.end), ..wanted };
        self.with_file(range, |file| {
            let first = range.find(file, wanted.from)?;
            if wanted.headers_only {
                range.headers(file, first, wanted)
            } else {
                range.whole(file, first, wanted)
            }
        })
    }
}

impl State {
    /// The segment that holds an entry, and how far it goes.
    pub(super) fn entry_range(&self, index: LogIndex) -> FileRange {
        let after = self.segments.partition_point(|segment| segment.first_index() <= index);
        let at = after.saturating_sub(1);
        let segment = Arc::clone(&self.segments[at]);
        let (end, bytes) = match self.segments.get(at + 1) {
            Some(next) => (next.first_index(), segment.bytes()),
            None => (self.entries().written_end, self.written_position),
        };
        FileRange { segment, bytes, end, generation: self.generation }
    }
}

impl FileRange {
    /// Where an entry is in the file.
    fn find(&self, file: &dyn DeviceFile, index: LogIndex) -> Result<Found, ScanError> {
        // Without the index, if it was given up a moment ago: the segment may have been closed.
        let row = self.segment.entry_hint(index).unwrap_or(EntryRow::START);
        let end = u64::from(self.bytes);
        let mut scan = Scan::new(file, end, Wait::ForDisk, LOOKUP_WINDOW_BYTES);
        let first = self.segment.first_index().get() + u64::from(row.relative_index);
        let mut at = u64::from(row.position);
        for _ in first..index.get() {
            at = scan.batch_at(at)?.ok_or_else(|| missing(at, index))?.end();
        }
        scan.batch_at(at)?.ok_or_else(|| missing(at, index))
    }

    fn headers(
        &self,
        file: &dyn DeviceFile,
        first: Found,
        wanted: Wanted,
    ) -> Result<Vec<EntryBatch>, ScanError> {
        let count = wanted.end.get() - wanted.from.get();
        let window = if count > 1 { SWEEP_WINDOW_BYTES } else { LOOKUP_WINDOW_BYTES };
        let mut scan = Scan::new(file, u64::from(self.bytes), Wait::ForDisk, window);
        let mut headers = Vec::new();
        let mut at = first.position;
        for index in wanted.from.get()..wanted.end.get() {
            let found = scan.batch_at(at)?.ok_or_else(|| missing(at, LogIndex::new(index)))?;
            let header = found.header;
            let body = if header.is_raft_only() {
                scan.check_crc(&found)?;
                Bytes::from(scan.whole_batch(&found)?).slice(HEADER_BYTES..)
            } else {
                Bytes::new()
            };
            headers.push(EntryBatch { header, body });
            at = found.end();
        }
        Ok(headers)
    }

    /// One read of the file, cut into its entries.
    fn whole(
        &self,
        file: &dyn DeviceFile,
        first: Found,
        wanted: Wanted,
    ) -> Result<Vec<EntryBatch>, ScanError> {
        let left = u64::from(self.bytes) - first.position;
        let bytes = first.header.batch_bytes().max(wanted.bytes_max.min(FILE_READ_BYTES_MAX));
        let mut buffer = vec![0; bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let read = file.read_at(&mut buffer, first.position)?;
        buffer.truncate(read);
        let mut rest = Bytes::from(buffer);
        let mut found = Vec::new();
        for index in wanted.from.get()..wanted.end.get() {
            let position = first.position + as_u64(read - rest.len());
            let batch_bytes = BatchHeader::parse(&rest).map(|header| header.batch_bytes());
            let is_whole = batch_bytes.is_ok_and(|bytes| bytes <= rest.len());
            if !is_whole && !found.is_empty() {
                break;
            }
            let header = protocol::batch::check_crc(&rest).map_err(|error| {
                let what = format!("entry {index}: {error}");
                ScanError::Damaged { position, what }
            })?;
            let batch = rest.split_to(header.batch_bytes());
            found.push(EntryBatch { header, body: batch.slice(HEADER_BYTES..) });
        }
        Ok(found)
    }
}

fn missing(position: u64, index: LogIndex) -> ScanError {
    ScanError::Damaged { position, what: format!("entry {index} is not there") }
}

impl Wanted {
    /// What is wanted of chunks of the tail cache, the first of which holds `from`.
    fn of_chunks(&self, chunks: Vec<Chunk>) -> Vec<EntryBatch> {
        let mut found: Vec<EntryBatch> = Vec::new();
        let mut bytes = 0;
        for chunk in chunks {
            for (index, (header, body)) in (chunk.index.get()..).zip(chunk.batches()) {
                if index < self.from.get() {
                    continue;
                }
                bytes += header.batch_bytes();
                if index >= self.end.get() || (bytes > self.bytes_max && !found.is_empty()) {
                    return found;
                }
                let has_body = !self.headers_only || header.is_raft_only();
                let body = if has_body { body } else { Bytes::new() };
                found.push(EntryBatch { header, body });
            }
        }
        found
    }
}
