//! Which record has a timestamp: exact inside a batch, compressed or not (ListOffsets).

use std::sync::Arc;

use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::compression::decompress;
use protocol::record::walk;
use protocol::types::{LeaderEpoch, Offset, Timestamp};

use super::Log;
use super::read::{failure_of, find_batch};
use crate::device::{DeviceFile, OpenMode};
use crate::error::ReadError;
use crate::recovery::io_error;
use crate::scan::{Found, SWEEP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{NewestRecord, Segment};

/// Records of one batch are not decompressed beyond this; the batch's own figures answer then.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// A record and what a lookup tells of it.
type Dated = (Offset, Timestamp, LeaderEpoch);

/// The offsets that a lookup may answer with: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: Offset,
    end: Offset,
}

impl Window {
    fn holds(&self, offset: Offset) -> bool {
        self.start <= offset && offset < self.end
    }
}

impl Log {
    /// The first record below `end` whose timestamp is at or after `target`, exact inside a batch:
    /// (its offset, its timestamp, its epoch). Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn offset_for_timestamp(
        &self,
        target: Timestamp,
        end: Offset,
    ) -> Result<Option<Dated>, ReadError> {
        let (segments, window) = self.readable_segments(end)?;
        for segment in segments {
            self.load(&segment)?;
            if segment.newest().is_none_or(|newest| newest.timestamp < target) {
                continue;
            }
            let found = self.with_scan(&segment, |scan| {
                let from = segment.offset_before_timestamp(&self.env, target)?;
                let from = from.max(window.start);
                let mut next = find_batch(&segment, scan, from)?;
                while let Some(batch) = next.filter(|batch| batch.header.base_offset < window.end) {
                    if batch.header.max_timestamp >= target && !batch.header.is_raft_only() {
                        let records = dated_records(scan, &batch)?;
                        let is_it = |r: &&Dated| r.1 >= target && window.holds(r.0);
                        if let Some(record) = records.iter().find(is_it) {
                            return Ok(Some(*record));
                        }
                    }
                    next = scan.batch_at(batch.end())?;
                }
                Ok(None)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp below `end` (the first of them). Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn offset_of_max_timestamp(&self, end: Offset) -> Result<Option<Dated>, ReadError> {
        let (segments, window) = self.readable_segments(end)?;
        let mut best: Option<Dated> = None;
        for segment in segments {
            self.load(&segment)?;
            let Some(newest) = segment.newest() else { continue };
            let is_newer = |timestamp: Timestamp| {
                timestamp >= best.map_or(Timestamp::new(0), |best| Timestamp::new(best.1.get() + 1))
            };
            if !is_newer(newest.timestamp) {
                continue;
            }
            let found =
                self.with_scan(&segment, |scan| newest_record(&segment, scan, window, newest))?;
            if let Some(record) = found.filter(|record| is_newer(record.1)) {
                best = Some(record);
            }
        }
        Ok(best)
    }

    fn readable_segments(&self, end: Offset) -> Result<(Vec<Arc<Segment>>, Window), ReadError> {
        let state = self.state.lock();
        let start = state.pointers.log_start_offset;
        state.check_readable(start)?;
        let window = Window { start, end: end.min(state.pointers.written_end) };
        let first = state.segment_index(start);
        let holds_some =
            |segment: &&Arc<Segment>| segment.base_offset() < window.end && segment.is_created();
        Ok((state.segments[first..].iter().filter(holds_some).cloned().collect(), window))
    }

    fn load(&self, segment: &Arc<Segment>) -> Result<(), ReadError> {
        segment.load(&self.env).map_err(|error| self.read_error(error))
    }

    fn with_scan<T>(
        &self,
        segment: &Segment,
        search: impl FnOnce(&mut Scan<'_>) -> Result<T, ScanError>,
    ) -> Result<T, ReadError> {
        let path = segment.path();
        let file = self
            .env
            .files
            .open(path, OpenMode::Read)
            .map_err(|cause| self.read_error(io_error(path, "open")(cause)))?;
        let file: &dyn DeviceFile = &*file;
        let end = u64::from(segment.bytes());
        let mut scan = Scan::new(file, end, Wait::ForDisk, SWEEP_WINDOW_BYTES);
        search(&mut scan).map_err(|error| ReadError::Failed(failure_of(segment, error)))
    }
}

/// The first of the records with the largest timestamp inside the window.
fn newest_record(
    segment: &Segment,
    scan: &mut Scan<'_>,
    window: Window,
    newest: NewestRecord,
) -> Result<Option<Dated>, ScanError> {
    let Some(first) = find_batch(segment, scan, window.start)? else { return Ok(None) };
    if first.header.base_offset < window.start {
        // The log starts inside this batch: its largest timestamp may be of a record that is gone.
        let inside = newest_inside(&dated_records(scan, &first)?, window);
        let later = match newest_batch(scan, first.end(), window.end)? {
            Some(batch) => newest_inside(&dated_records(scan, &batch)?, window),
            None => None,
        };
        return Ok(inside.into_iter().chain(later).rev().max_by_key(|record| record.1));
    }
    let batch = if window.holds(newest.last_offset) {
        find_batch(segment, scan, newest.last_offset)?
    } else {
        newest_batch(scan, first.position, window.end)?
    };
    let Some(batch) = batch else { return Ok(None) };
    Ok(newest_inside(&dated_records(scan, &batch)?, window))
}

fn newest_inside(records: &[Dated], window: Window) -> Option<Dated> {
    // The first of several equal ones: `max_by_key` alone would give the last.
    let inside = records.iter().filter(|record| window.holds(record.0));
    inside.rev().max_by_key(|record| record.1).copied()
}

/// The first batch with the largest timestamp from `position` on, of those that end by `end`.
fn newest_batch(
    scan: &mut Scan<'_>,
    position: u64,
    end: Offset,
) -> Result<Option<Found>, ScanError> {
    let mut best: Option<Found> = None;
    let mut next = scan.batch_at(position)?;
    while let Some(batch) = next.filter(|batch| batch.header.next_offset() <= end) {
        let is_newer = best.is_none_or(|b| b.header.max_timestamp < batch.header.max_timestamp);
        if is_newer && !batch.header.is_raft_only() {
            best = Some(batch);
        }
        next = scan.batch_at(batch.end())?;
    }
    Ok(best)
}

/// Every record of a batch with its timestamp. A batch whose records cannot be read (the broker
/// trusts compressed ones unread) answers with its first offset and its largest timestamp.
fn dated_records(scan: &mut Scan<'_>, batch: &Found) -> Result<Vec<Dated>, ScanError> {
    let bytes = scan.whole_batch(batch)?;
    let header = &batch.header;
    let as_a_whole = (header.base_offset, header.max_timestamp, header.leader_epoch);
    Ok(walk_records(header, &bytes[HEADER_BYTES..]).unwrap_or_else(|| vec![as_a_whole]))
}

fn walk_records(header: &BatchHeader, body: &[u8]) -> Option<Vec<Dated>> {
    let codec = header.attributes.codec()?;
    let payload = decompress(codec, body, DECOMPRESSED_BYTES_MAX).ok()?;
    let mut records = Vec::new();
    for record in walk(&payload, header.record_count).ok()? {
        let record = record.ok()?;
        let timestamp = if header.attributes.is_log_append_time() {
            header.max_timestamp
        } else {
            Timestamp::new(header.base_timestamp.get().saturating_add(record.timestamp_delta))
        };
        let offset = header.base_offset.advance(i64::from(record.offset_delta));
        records.push((offset, timestamp, header.leader_epoch));
    }
    (!records.is_empty()).then_some(records)
}
