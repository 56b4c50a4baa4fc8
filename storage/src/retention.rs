//! Which segments retention lets go: pure, given what is known of them.
//!
//! Kafka's rules (`UnifiedLog.deleteOldSegments`): from the oldest on, a segment goes while
//! - its newest record is older than `retention.ms`; a segment whose records carry no time is as old
//!   as its file. A record dated in the future keeps its segment until that time has passed;
//! - or the log without it still has at least `retention.bytes`;
//! - or all of it lies below the log start.
//!
//! The first segment that stays ends the choice. The active one goes by age or size too, but is
//! rolled before; below the log start it stays.

use std::time::Duration;

use protocol::types::{Offset, Timestamp};

/// What the choice needs to know of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// The offset after its last record.
    pub(crate) end_offset: Offset,
    pub(crate) bytes: u64,
    /// The largest timestamp of its records, or else the time of its file.
    pub(crate) newest: Timestamp,
}

/// What the log's configuration asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) retention: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    /// Whether age and size count at all (`cleanup.policy` holds `delete`).
    pub(crate) delete_old_segments: bool,
    pub(crate) log_start_offset: Offset,
    /// Nothing above is deleted: readers have not been shown it yet.
    pub(crate) finished_end: Offset,
}

/// How many segments, counted from the oldest, leave the log at `now`. If that is all of them, the
/// active one must be rolled first.
pub(crate) fn expired(segments: &[Candidate], limits: &Limits, now: Timestamp) -> usize {
    let mut bytes_left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let goes = |(at, segment): &(usize, &Candidate)| {
        let is_active = at + 1 == segments.len();
        if segment.end_offset > limits.finished_end || (is_active && segment.bytes == 0) {
            return false;
        }
        bytes_left -= segment.bytes;
        let is_below_start = !is_active && segment.end_offset <= limits.log_start_offset;
        let is_surplus = limits.retention_bytes.is_some_and(|max| bytes_left >= max);
        is_below_start
            || (limits.delete_old_segments && (is_too_old(segment, limits, now) || is_surplus))
    };
    segments.iter().enumerate().take_while(goes).count()
}

fn is_too_old(segment: &Candidate, limits: &Limits, now: Timestamp) -> bool {
    limits.retention.is_some_and(|retention| {
        let age_ms = now.get().saturating_sub(segment.newest.get());
        u128::try_from(age_ms).is_ok_and(|ms| ms > retention.as_millis())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::new(1_000_000);

    fn limits() -> Limits {
        Limits {
            retention: None,
            retention_bytes: None,
            delete_old_segments: true,
            log_start_offset: Offset::ZERO,
            finished_end: Offset::new(1_000),
        }
    }

    /// Segments of 100 bytes and 10 offsets whose newest records are this old.
    fn segments(ages_ms: &[i64]) -> Vec<Candidate> {
        let segment = |(number, age_ms): (i64, &i64)| Candidate {
            end_offset: Offset::new((number + 1) * 10),
            bytes: 100,
            newest: Timestamp::new(NOW.get() - age_ms),
        };
        (0..).zip(ages_ms).map(segment).collect()
    }

    #[test]
    fn age_takes_the_oldest_and_stops_at_the_first_that_stays() {
        let by_age = Limits { retention: Some(Duration::from_millis(50)), ..limits() };
        for (ages, count) in [
            (&[60, 55, 50, 10][..], 2),
            (&[60, 10, 60], 1),
            (&[60, 60], 2),
            (&[-500, 60], 0),
            (&[], 0),
        ] {
            assert_eq!(expired(&segments(ages), &by_age, NOW), count, "{ages:?}");
        }
    }

    #[test]
    fn size_never_goes_below_the_limit() {
        for (bytes, count) in [(400, 0), (399, 0), (300, 1), (150, 2), (0, 4)] {
            let by_size = Limits { retention_bytes: Some(bytes), ..limits() };
            assert_eq!(expired(&segments(&[0; 4]), &by_size, NOW), count, "{bytes}");
        }
    }

    #[test]
    fn without_the_delete_policy_only_the_log_start_counts() {
        let kept = Limits {
            retention: Some(Duration::ZERO),
            retention_bytes: Some(0),
            delete_old_segments: false,
            log_start_offset: Offset::new(20),
            ..limits()
        };
        assert_eq!(expired(&segments(&[9, 9, 9]), &kept, NOW), 2);
        let all = Limits { log_start_offset: Offset::new(30), ..kept };
        assert_eq!(expired(&segments(&[9, 9, 9]), &all, NOW), 2, "the active one stays");
    }

    #[test]
    fn what_is_not_finished_is_kept() {
        let unfinished =
            Limits { retention: Some(Duration::ZERO), finished_end: Offset::new(15), ..limits() };
        assert_eq!(expired(&segments(&[9, 9]), &unfinished, NOW), 1);
    }
}
