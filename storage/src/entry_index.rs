//! Which entries of a replicated log a segment holds: the file `<base offset>.entries` beside it.
//!
//! ```text
//! header of 20 bytes, big-endian
//!  0         4                         12                     16          20
//!  ├ u32 ────┼ u64 ────────────────────┼ i32 ─────────────────┼ u32 ──────┤ rows …
//!  │ "MPE1"  │ index of the segment's  │ leader epoch of the  │ crc32c of │
//!  │         │ first entry             │ entry before it, -1: │ the 16    │
//!  │         │                         │ there is none        │           │
//! one row of 8 bytes
//!  ├ u32 ───────────────────┼ u32 ───────────────┤
//!  │ index of an entry −    │ byte in the `.log` │
//!  │ index of the first one │ where it starts    │
//! ```
//! The header is durable before the first entry is written. Rows rise strictly in both fields; an
//! entry gets one if more than `index.interval.bytes` were written since the last that has one. A
//! row is a hint that saves reading: a recovery makes the rows anew of what it reads.

use bytes::{Buf, BufMut};
use protocol::types::{LeaderEpoch, LogIndex};

use crate::scan::as_u64;

/// Bytes before the first row.
pub(crate) const HEADER_BYTES: usize = 20;
/// Bytes of one row.
pub(crate) const ROW_BYTES: usize = 8;
/// Names the format and its version.
const MAGIC: u32 = u32::from_be_bytes(*b"MPE1");
/// What the header's checksum covers.
const CHECKED_BYTES: usize = 16;

/// What stands before a segment's first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryStart {
    /// The index of the first entry.
    pub(crate) first_index: LogIndex,
    /// The epoch of the one before it; [`LeaderEpoch::NONE`] if there is none.
    pub(crate) epoch_before: LeaderEpoch,
}

impl EntryStart {
    /// The header.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_u32(MAGIC);
        header.put_u64(self.first_index.get());
        header.put_i32(self.epoch_before.get());
        header.put_u32(crc32c::crc32c(&header));
        header
    }

    /// What a file tells that begins with a whole header.
    pub(crate) fn decode(file: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = file.first_chunk()?;
        let (mut checked, mut crc) = header.split_at(CHECKED_BYTES);
        let is_whole = crc.get_u32() == crc32c::crc32c(checked) && checked.get_u32() == MAGIC;
        let first_index = LogIndex::new(checked.get_u64());
        let epoch_before = LeaderEpoch::new(checked.get_i32());
        is_whole.then_some(Self { first_index, epoch_before })
    }
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRow {
    /// Index of the entry, relative to the segment.
    pub(crate) relative_index: u32,
    /// Where it starts.
    pub(crate) position: u32,
}

impl EntryRow {
    /// Where every segment begins.
    pub(crate) const START: Self = Self { relative_index: 0, position: 0 };

    fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let (relative_index, position) = bytes.split_at(4);
        let field = |half: &[u8]| u32::from_be_bytes(half.try_into().expect("half of 8 is 4"));
        Self { relative_index: field(relative_index), position: field(position) }
    }
}

/// The rows of an active segment, in memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct EntryRows {
    rows: Vec<EntryRow>,
    bytes_since_row: u32,
}

impl EntryRows {
    /// Reads a file's rows below the byte `end` of the segment, as far as they rise.
    pub(crate) fn decode(file: &[u8], end: u32) -> Self {
        let mut rows = Self::default();
        for row in file.get(HEADER_BYTES..).unwrap_or_default().as_chunks().0 {
            let row = EntryRow::decode(row);
            let last = rows.last();
            let rises = last.relative_index < row.relative_index && last.position < row.position;
            if !rises || row.position >= end {
                break;
            }
            rows.rows.push(row);
        }
        rows.bytes_since_row = end - rows.last().position;
        rows
    }

    /// Takes one more entry into account.
    pub(crate) fn note(&mut self, row: EntryRow, entry_bytes: u32, interval_bytes: u32) {
        if self.bytes_since_row > interval_bytes {
            self.rows.push(row);
            self.bytes_since_row = 0;
        }
        self.bytes_since_row = self.bytes_since_row.saturating_add(entry_bytes);
    }

    /// Where to start looking for an entry: the last row at or below it.
    pub(crate) fn floor(&self, relative_index: u32) -> EntryRow {
        let after = self.rows.partition_point(|row| row.relative_index <= relative_index);
        after.checked_sub(1).map_or(EntryRow::START, |at| self.rows[at])
    }

    /// The last row.
    pub(crate) fn last(&self) -> EntryRow {
        self.rows.last().copied().unwrap_or(EntryRow::START)
    }

    /// Drops rows of entries at or behind a position, where the next entry starts.
    pub(crate) fn truncate(&mut self, position: u32) {
        let keep = self.rows.partition_point(|row| row.position < position);
        self.rows.truncate(keep);
        self.bytes_since_row = position - self.last().position;
    }

    /// How many rows there are.
    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows from number `from` on, as the file holds them.
    pub(crate) fn encode_from(&self, from: usize) -> Vec<u8> {
        let encode =
            |row: &EntryRow| [row.relative_index.to_be_bytes(), row.position.to_be_bytes()];
        self.rows.iter().skip(from).flat_map(encode).flatten().collect()
    }
}

/// As [`EntryRows::floor`], over a closed segment's file in memory.
pub(crate) fn floor_of_file(file: &[u8], relative_index: u32) -> EntryRow {
    let rows = file.get(HEADER_BYTES..).unwrap_or_default().as_chunks::<ROW_BYTES>().0;
    let after = rows.partition_point(|row| EntryRow::decode(row).relative_index <= relative_index);
    after.checked_sub(1).map_or(EntryRow::START, |at| EntryRow::decode(&rows[at]))
}

/// How long the file is with so many rows.
pub(crate) fn file_bytes(rows: usize) -> u64 {
    as_u64(HEADER_BYTES + rows * ROW_BYTES)
}

/// How many entries lie between two indexes of one segment.
pub(crate) fn relative(index: LogIndex, first_index: LogIndex) -> Option<u32> {
    index.get().checked_sub(first_index.get()).and_then(|distance| u32::try_from(distance).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_no_changed_byte_of_it_passes() {
        let start = EntryStart {
            first_index: LogIndex::new(0x0102_0304_0506_0708),
            epoch_before: LeaderEpoch::new(9),
        };
        let header = start.encode();
        assert_eq!(header[..16], *b"MPE1\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x09");
        assert_eq!(EntryStart::decode(&header), Some(start));
        for at in 0..HEADER_BYTES {
            let mut bad = header.clone();
            bad[at] ^= 1;
            assert_eq!(EntryStart::decode(&bad), None, "byte {at}");
            assert_eq!(EntryStart::decode(&header[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn rows_are_sparse_and_lookup_finds_the_last_at_or_below() {
        let mut rows = EntryRows::default();
        for number in 0..10 {
            let row = EntryRow { relative_index: number, position: number * 100 };
            rows.note(row, 100, 250);
        }
        assert_eq!(rows.len(), 3, "every third");
        let mut file = vec![0; HEADER_BYTES];
        file.extend(rows.encode_from(0));
        assert_eq!(as_u64(file.len()), file_bytes(3));
        for (wanted, found) in [(0, 0), (2, 0), (3, 3), (5, 3), (6, 6), (9, 9), (u32::MAX, 9)] {
            assert_eq!(rows.floor(wanted).relative_index, found, "{wanted}");
            assert_eq!(floor_of_file(&file, wanted), rows.floor(wanted), "{wanted}");
        }
        assert_eq!(EntryRows::decode(&file, 1000), rows);
        file.extend([0; 24]);
        assert_eq!(EntryRows::decode(&file, 1000), rows, "what does not rise is no row");
        assert_eq!(EntryRows::decode(&file, 900).len(), 2, "nor what lies behind the end");
        rows.truncate(700);
        assert_eq!((rows.last().relative_index, rows.bytes_since_row), (6, 100));
    }
}
