//! When the active segment is full: pure, given the segment and the batches to come.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use protocol::types::Timestamp;

use super::state::PendingBatch;
use crate::config::LogConfig;
use crate::offset_index::relative;
use crate::segment::Segment;

/// What decides whether a batch still goes into a segment.
pub(super) struct RollRules<'a> {
    segment: &'a Segment,
    bytes: usize,
    bytes_max: usize,
    /// Bytes that may be written until an index is full for sure.
    index_room_bytes: usize,
    age_max: Duration,
}

impl<'a> RollRules<'a> {
    /// The rules for `segment` as it is now.
    pub(super) fn new(segment: &'a Segment, config: &LogConfig, log_name: &str) -> Self {
        let usize_of = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        let rows = segment.index_rows_left(config.index_bytes_max);
        let jitter = jitter(segment, config.segment_jitter_max, log_name);
        Self {
            segment,
            bytes: usize_of(segment.bytes()),
            bytes_max: usize_of(config.segment_bytes_max),
            index_room_bytes: rows.saturating_mul(usize_of(config.index_interval_bytes.max(1))),
            age_max: config.segment_age_max.saturating_sub(jitter),
        }
    }

    /// Whether `batch` must go into a new segment. Not if the segment holds only entries without offsets:
    /// the next one would have the same name. Of such entries, mostly one for each election, tens of
    /// millions fit.
    pub(super) fn is_due(&self, batch: &PendingBatch) -> bool {
        self.bytes > 0
            && self.segment.base_offset() < batch.chunk.base_offset
            && (!self.has_room(batch, 0) || self.index_room_bytes == 0 || self.is_too_old(batch))
    }

    /// How many of the batches go into the segment, the first one in any case.
    pub(super) fn fitting(&self, batches: &[PendingBatch]) -> usize {
        let mut bytes = 0;
        let fits = |batch: &&PendingBatch| {
            let fits = bytes == 0
                || (self.has_room(batch, bytes)
                    && bytes <= self.index_room_bytes
                    && !self.is_too_old(batch));
            bytes += batch.chunk.bytes();
            fits
        };
        batches.iter().take_while(fits).count()
    }

    fn has_room(&self, batch: &PendingBatch, bytes_before: usize) -> bool {
        self.bytes + bytes_before + batch.chunk.bytes() <= self.bytes_max
            && relative(batch.header.last_offset(), self.segment.base_offset()).is_some()
    }

    /// Kafka's rule: by the records' own time where they have one, else by the broker's.
    fn is_too_old(&self, batch: &PendingBatch) -> bool {
        let (from, to) = match self.segment.first_timestamp() {
            Some(first) if first >= Timestamp::new(0) => (first, batch.header.max_timestamp),
            _ => match self.segment.first_written_at() {
                Some(first) => (first, batch.appended_at),
                None => return false,
            },
        };
        let age_ms = to.get().saturating_sub(from.get());
        u128::try_from(age_ms).is_ok_and(|ms| ms > self.age_max.as_millis())
    }
}

/// Spreads the rolls of many logs that began together; the same for a segment at each look.
fn jitter(segment: &Segment, jitter_max: Duration, log_name: &str) -> Duration {
    let max_ms = u64::try_from(jitter_max.as_millis()).unwrap_or(u64::MAX);
    if max_ms == 0 {
        return Duration::ZERO;
    }
    let mut hasher = DefaultHasher::new();
    (log_name, segment.base_offset()).hash(&mut hasher);
    Duration::from_millis(hasher.finish() % max_ms)
}
