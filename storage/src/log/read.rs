//! Reads of a log: from memory, or as a range of a segment file.
//!
//! ```text
//!  segment files ──────────────────────────────┐
//!                          tail cache ─────────┴────────────────┐
//!  ├───────────────────────┼───────────────────┼────────────────┤
//!  log_start_offset        tail.start          written_end      log_end_offset
//! ```
//! A read returns whole batches from the one that holds `from`; the end of a file range may cut the
//! last one. It may return less than was asked for: at the end of a segment, before a Raft-only
//! entry, or where memory ends.

use std::io;
use std::sync::Arc;

use protocol::types::Offset;
use smallvec::smallvec;

use super::Log;
use super::state::{Phase, State};
use crate::device::{Advice, DeviceFile, OpenMode};
use crate::error::{LogFailure, OpenError, ReadError};
use crate::read::{FileSlice, ReadRequest, ReadSource, Records, RecordsPiece};
use crate::scan::{Found, LOOKUP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{Hint, Segment};
use crate::tail_cache::tail::{self, Chunk};

/// Bytes that a blocking read brings into the page cache with one call. Where commits go on, also what
/// it asks of the disk at once: a sync waits behind it.
const PREFETCH_BYTES: usize = 256 << 10;
/// Bytes that one read looks at in the tail cache at most.
const TAIL_READ_BYTES_MAX: usize = 64 << 20;

/// What a read found out under the lock.
enum Plan {
    Nothing,
    Memory(Vec<Chunk>),
    File(FileRange),
}

/// The part of a read that one segment can answer.
struct FileRange {
    segment: Arc<Segment>,
    from: Offset,
    /// Exclusive.
    end: Offset,
    /// The byte that `segment_end` stands for.
    segment_bytes: u32,
    /// The offset after the last batch that is in the file.
    segment_end: Offset,
}

impl Log {
    /// Reads without blocking: tail cache, or a file range whose lookup needed no disk access.
    /// `Ok(None)` means that the disk is needed: call [`Log::read_blocking`] on the blocking pool.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below the log start or above the log end.
    pub fn read_nonblocking(&self, request: ReadRequest) -> Result<Option<Records>, ReadError> {
        match self.plan(request)? {
            Plan::Nothing => Ok(Some(Records::default())),
            Plan::Memory(chunks) => Ok(Some(from_memory(chunks, request))),
            Plan::File(range) => self.read_file(&range, request, Wait::Never),
        }
    }

    /// Reads, waiting for the disk where needed, and brings the range into the page cache.
    ///
    /// # Errors
    /// As [`Log::read_nonblocking`], and [`ReadError::Failed`].
    pub fn read_blocking(&self, request: ReadRequest) -> Result<Records, ReadError> {
        match self.plan(request)? {
            Plan::Nothing => Ok(Records::default()),
            Plan::Memory(chunks) => Ok(from_memory(chunks, request)),
            Plan::File(range) => {
                Ok(self.read_file(&range, request, Wait::ForDisk)?.unwrap_or_default())
            }
        }
    }

    fn plan(&self, request: ReadRequest) -> Result<Plan, ReadError> {
        let state = self.state.lock();
        state.check_readable(request.from)?;
        let end = request.end.min(state.pointers.log_end_offset);
        if request.from >= end {
            return Ok(Plan::Nothing);
        }
        let bytes_max = request.bytes_max.min(TAIL_READ_BYTES_MAX);
        if request.source == ReadSource::Any
            && let Some(chunks) = state.tail.read(request.from, end, bytes_max)
        {
            return Ok(Plan::Memory(chunks));
        }
        Ok(Plan::File(state.file_range(request.from, end)))
    }

    /// `Ok(None)` if the disk would be needed and `wait` forbids it.
    fn read_file(
        &self,
        range: &FileRange,
        request: ReadRequest,
        wait: Wait,
    ) -> Result<Option<Records>, ReadError> {
        match self.find_range(range, request, wait) {
            Ok(None) => Ok(Some(Records::default())),
            Ok(Some(slice)) => {
                let bytes = slice.len;
                Ok(Some(Records { pieces: smallvec![RecordsPiece::File(slice)], bytes }))
            }
            Err(ScanError::WouldBlock) => Ok(None),
            // Segments may have left the log since the plan was made.
            Err(error) => {
                self.state.lock().check_readable(request.from)?;
                Err(ReadError::Failed(failure_of(&range.segment, error)))
            }
        }
    }

    fn find_range(
        &self,
        range: &FileRange,
        request: ReadRequest,
        wait: Wait,
    ) -> Result<Option<FileSlice>, ScanError> {
        let segment = &range.segment;
        if range.from >= range.end {
            return Ok(None);
        }
        if segment.hint(range.from) == Hint::NotLoaded {
            if wait == Wait::Never {
                return Err(ScanError::WouldBlock);
            }
            segment.load(&self.env).map_err(scan_error)?;
        }
        let file = self.env.files.open(segment.path(), OpenMode::Read)?;
        let segment_bytes = u64::from(range.segment_bytes);
        let gives_way = wait == Wait::ForDisk && self.env.flusher.has_committed_lately();
        if wait == Wait::ForDisk {
            let advice = if gives_way { Advice::NothingAhead } else { Advice::Usual };
            file.advise(0, segment_bytes, advice);
        }
        let mut scan = Scan::new(&*file, segment_bytes, wait, LOOKUP_WINDOW_BYTES);
        let Some(first) = find_batch(segment, &mut scan, range.from)? else {
            // A consumer must not wait for ever for what is not there.
            let what = format!("nothing at or behind offset {} is in the file", range.from);
            return Err(ScanError::Damaged { position: segment_bytes, what });
        };
        if first.header.next_offset() > range.end {
            return Ok(None);
        }
        let wanted = u64::try_from(request.bytes_max).unwrap_or(u64::MAX);
        let first_bytes = first.end() - first.position;
        if first_bytes > wanted && !request.at_least_one {
            return Ok(None);
        }
        let limit = first.position.saturating_add(wanted.max(first_bytes)).min(segment_bytes);
        let before_raft_only = segment.raft_only_after(first.position).unwrap_or(segment_bytes);
        let limit = limit.min(before_raft_only.max(first.end()));
        let end = find_end(range, &mut scan, &first, limit)?;
        let len = usize::try_from(end - first.position).unwrap_or(usize::MAX);
        match wait {
            Wait::Never => probe(&*file, first.position, end)?,
            Wait::ForDisk => prefetch(&*file, first.position, end, gives_way)?,
        }
        let file = Arc::clone(file.std_file());
        Ok(Some(FileSlice { file, position: first.position, len }))
    }
}

impl State {
    /// Whether anything may be read.
    pub(super) fn check_open(&self) -> Result<(), ReadError> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Failed(failure) => Err(ReadError::Failed(failure.clone())),
            Phase::Closed => Err(ReadError::Closed),
        }
    }

    /// Whether `from` may be read.
    pub(super) fn check_readable(&self, from: Offset) -> Result<(), ReadError> {
        self.check_open()?;
        let log_start_offset = self.pointers.log_start_offset;
        let log_end_offset = self.pointers.log_end_offset;
        if from < log_start_offset || from > log_end_offset {
            return Err(ReadError::OutOfRange { wanted: from, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// The segment that holds `from`, and how far it goes.
    fn file_range(&self, from: Offset, end: Offset) -> FileRange {
        let at = self.segment_index(from);
        let segment = Arc::clone(&self.segments[at]);
        let (segment_end, segment_bytes) = match self.segments.get(at + 1) {
            Some(next) => (next.base_offset(), segment.bytes()),
            None => (self.pointers.written_end, self.written_position),
        };
        FileRange { segment, from, end: end.min(segment_end), segment_bytes, segment_end }
    }
}

fn from_memory(chunks: Vec<Chunk>, request: ReadRequest) -> Records {
    let ReadRequest { from, end, bytes_max, at_least_one, source: _ } = request;
    let pieces = tail::cut(chunks, from, end, bytes_max, at_least_one);
    let bytes = pieces.iter().map(bytes::Bytes::len).sum();
    Records { pieces: pieces.into_iter().map(RecordsPiece::Memory).collect(), bytes }
}

/// The first batch that ends above `offset`, looked for from the place that the index names. A hint
/// that leads nowhere is ignored: after a lost power an index may hold anything.
pub(super) fn find_batch(
    segment: &Segment,
    scan: &mut Scan<'_>,
    offset: Offset,
) -> Result<Option<Found>, ScanError> {
    let hint = match segment.hint(offset) {
        Hint::Position(position) => u64::from(position),
        Hint::NotLoaded => 0,
    };
    let mut at = hint;
    if hint > 0 {
        let is_right = match scan.batch_at(hint) {
            Ok(Some(found)) => (segment.base_offset()..=offset).contains(&found.header.base_offset),
            Ok(None) | Err(ScanError::Damaged { .. }) => false,
            Err(error) => return Err(error),
        };
        if !is_right {
            tracing::warn!(path = %segment.path().display(), hint, "the offset index is wrong");
            at = 0;
        }
    }
    while let Some(found) = scan.batch_at(at)? {
        if found.header.next_offset() > offset {
            return Ok(Some(found));
        }
        at = found.end();
    }
    Ok(None)
}

/// Where the range ends: at `limit`, or before the first batch that reaches beyond `range.end`.
fn find_end(
    range: &FileRange,
    scan: &mut Scan<'_>,
    first: &Found,
    limit: u64,
) -> Result<u64, ScanError> {
    if range.end >= range.segment_end {
        return Ok(limit);
    }
    let hint = match range.segment.hint(range.end) {
        Hint::Position(position) => u64::from(position),
        Hint::NotLoaded => 0,
    };
    if hint >= limit {
        return Ok(limit);
    }
    // The batch at the hint begins at or below the end: everything before it is wanted.
    let mut at = hint.max(first.position);
    while at < limit {
        match scan.batch_at(at)? {
            Some(found) if found.header.next_offset() <= range.end => at = found.end(),
            Some(_) | None => return Ok(at),
        }
    }
    Ok(limit)
}

/// Whether a range whose first page was just read is in memory, judged by its middle and its end.
fn probe(file: &dyn DeviceFile, start: u64, end: u64) -> Result<(), ScanError> {
    let mut byte = [0];
    for position in [start + (end - start) / 2, end - 1] {
        file.read_at_nowait(&mut byte, position)?;
    }
    Ok(())
}

/// Reads the range, so that `sendfile` will find it in memory. With `gives_way` it keeps the disk busy
/// with one piece at a time: what is read ahead, megabytes, a producer's sync would wait for.
fn prefetch(file: &dyn DeviceFile, start: u64, end: u64, gives_way: bool) -> Result<(), ScanError> {
    if probe(file, start, end).is_ok() {
        return Ok(());
    }
    if !gives_way {
        file.advise(start, end - start, Advice::WillNeed);
    }
    let mut buffer = vec![0; PREFETCH_BYTES];
    let mut at = start;
    while at < end {
        let rest = usize::try_from(end - at).unwrap_or(usize::MAX).min(PREFETCH_BYTES);
        let read = file.read_at(&mut buffer[..rest], at)?;
        if read == 0 {
            break;
        }
        at += crate::scan::as_u64(read);
    }
    Ok(())
}

fn scan_error(error: OpenError) -> ScanError {
    match error {
        OpenError::Io { cause, .. } => ScanError::Io(cause),
        other => ScanError::Io(io::Error::new(io::ErrorKind::InvalidData, other)),
    }
}

/// What a read tells of a file that cannot be read; the log itself stays online.
pub(super) fn failure_of(segment: &Segment, error: ScanError) -> LogFailure {
    let cause = match error {
        ScanError::Io(cause) => cause,
        ScanError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        ScanError::Damaged { position, what } => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("damaged at byte {position}: {what}"),
        ),
    };
    LogFailure { path: segment.path().to_owned(), operation: "read", cause: Arc::new(cause) }
}
