//! The sparse time index of a segment, in Kafka's `.timeindex` format.
//!
//! ```text
//! one row of 12 bytes, big-endian
//!  0                      8                         12
//!  ├ i64 ─────────────────┼ i32 ────────────────────┤
//!  │ largest timestamp    │ last offset of the batch│
//!  │ of the segment so far│ that holds it − base    │
//! ```
//! Timestamps rise strictly. A row may be added with each row of the offset index; the largest
//! timestamp of the segment is added when it is rolled or closed, so that a closed segment's last
//! row tells its largest timestamp.

use protocol::types::{Offset, Timestamp};

/// Bytes of one row.
pub(crate) const ROW_BYTES: usize = 12;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeRow {
    /// The largest timestamp so far.
    pub(crate) timestamp: Timestamp,
    /// Last offset of the batch that holds it, relative to the segment.
    pub(crate) relative_offset: u32,
}

impl TimeRow {
    /// Reads one row.
    pub(crate) fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let (timestamp, offset) = bytes.split_at(8);
        Self {
            timestamp: Timestamp::new(i64::from_be_bytes(
                timestamp.try_into().expect("the first 8 bytes"),
            )),
            relative_offset: u32::from_be_bytes(offset.try_into().expect("the last 4 bytes")),
        }
    }

    /// The offset that it means in a segment that starts at `base_offset`.
    pub(crate) fn offset(self, base_offset: Offset) -> Offset {
        base_offset.advance(i64::from(self.relative_offset))
    }
}

/// The rows of an active segment, in memory.
#[derive(Debug, Default)]
pub(crate) struct TimeRows {
    rows: Vec<TimeRow>,
}

impl TimeRows {
    /// Reads a file's content as far as its timestamps rise.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut rows = Self::default();
        for row in bytes.as_chunks().0 {
            if !rows.push(TimeRow::decode(row)) {
                break;
            }
        }
        rows
    }

    /// Appends a row unless the last one says as much already.
    pub(crate) fn push(&mut self, row: TimeRow) -> bool {
        let last = self.rows.last();
        let rises = last.map_or(Timestamp::NONE, |last| last.timestamp) < row.timestamp
            && last.is_none_or(|last| last.relative_offset < row.relative_offset);
        if rises {
            self.rows.push(row);
        }
        rises
    }

    /// The last row.
    pub(crate) fn last(&self) -> Option<TimeRow> {
        self.rows.last().copied()
    }

    /// The first row whose timestamp is at least `target` has what comes before it as a bound: the
    /// last row below `target`, from whose offset on the search must read.
    pub(crate) fn last_below(&self, target: Timestamp) -> Option<TimeRow> {
        let at = self.rows.partition_point(|row| row.timestamp < target);
        at.checked_sub(1).map(|before| self.rows[before])
    }

    /// Drops rows that name offsets at or above a relative one.
    pub(crate) fn truncate(&mut self, relative_offset: u32) {
        let keep = self.rows.partition_point(|row| row.relative_offset < relative_offset);
        self.rows.truncate(keep);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows from number `from` on, as the file holds them.
    pub(crate) fn encode_from(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.rows.len().saturating_sub(from) * ROW_BYTES);
        for row in self.rows.iter().skip(from) {
            bytes.extend(row.timestamp.get().to_be_bytes());
            bytes.extend(row.relative_offset.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn row(timestamp: i64, relative_offset: u32) -> TimeRow {
        TimeRow { timestamp: Timestamp::new(timestamp), relative_offset }
    }

    #[test]
    fn rows_have_kafkas_bytes_and_rise() {
        let mut rows = TimeRows::default();
        assert!(!rows.push(row(-1, 0)), "no timestamp, no row");
        assert!(rows.push(row(500, 9)) && rows.push(row(700, 300)));
        assert!(!rows.push(row(700, 301)) && !rows.push(row(600, 302)));
        let bytes = rows.encode_from(1);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 2, 188, 0, 0, 1, 44]);
        assert_eq!(TimeRows::decode(&rows.encode_from(0)).last(), Some(row(700, 300)));
    }

    #[test]
    fn a_search_starts_at_the_last_row_that_is_too_early() {
        let mut rows = TimeRows::default();
        assert!(rows.push(row(500, 9)) && rows.push(row(700, 300)));
        for (target, start) in [(0, None), (500, None), (501, Some(9)), (701, Some(300))] {
            let found = rows.last_below(Timestamp::new(target));
            assert_eq!(found.map(|r| r.relative_offset), start, "{target}");
        }
        rows.truncate(300);
        assert_eq!(rows.len(), 1);
    }
}
