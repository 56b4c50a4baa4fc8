//! The sparse offset index of a segment, in Kafka's `.index` format.
//!
//! ```text
//! one row of 8 bytes, big-endian
//!  0                          4                    8
//!  ├ i32 ─────────────────────┼ i32 ───────────────┤
//!  │ last offset of a batch − │ byte in the `.log` │
//!  │ base offset of segment   │ where it starts    │
//! ```
//! Rows rise strictly in both fields. A batch gets a row if more than `index.interval.bytes` were
//! written since the last batch that has one.
//!
//! A row is a hint: whoever follows it checks the batch it finds there, since after a lost power an
//! index may hold anything.

use protocol::types::Offset;

/// Bytes of one row.
pub(crate) const ROW_BYTES: usize = 8;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetRow {
    /// Last offset of the batch, relative to the segment.
    pub(crate) relative_offset: u32,
    /// Where the batch starts.
    pub(crate) position: u32,
}

impl OffsetRow {
    fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let (offset, position) = bytes.split_at(4);
        let field = |half: &[u8]| u32::from_be_bytes(half.try_into().expect("half of 8 is 4"));
        Self { relative_offset: field(offset), position: field(position) }
    }
}

/// The difference that a row can hold, if `offset` is near enough to `base_offset`.
pub(crate) fn relative(offset: Offset, base_offset: Offset) -> Option<u32> {
    let distance = i32::try_from(offset.distance_from(base_offset)).ok()?;
    u32::try_from(distance).ok()
}

/// The rows of an active segment, in memory.
#[derive(Debug, Default)]
pub(crate) struct OffsetRows {
    rows: Vec<OffsetRow>,
}

impl OffsetRows {
    /// Reads a file's content as far as its rows rise; what follows is ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut rows = Self::default();
        for row in bytes.as_chunks().0 {
            if !rows.push(OffsetRow::decode(row)) {
                break;
            }
        }
        rows
    }

    /// Appends a row; refuses one that does not rise above the last.
    pub(crate) fn push(&mut self, row: OffsetRow) -> bool {
        let rises = self.rows.last().is_none_or(|last| {
            last.relative_offset < row.relative_offset && last.position < row.position
        });
        if rises {
            self.rows.push(row);
        }
        rises
    }

    /// Where to start looking for a relative offset: the last row at or below it.
    pub(crate) fn floor(&self, relative_offset: u32) -> Option<OffsetRow> {
        let after = self.rows.partition_point(|row| row.relative_offset <= relative_offset);
        after.checked_sub(1).map(|at| self.rows[at])
    }

    /// The last row.
    pub(crate) fn last(&self) -> Option<OffsetRow> {
        self.rows.last().copied()
    }

    /// Drops rows of batches at or above a position.
    pub(crate) fn truncate(&mut self, position: u32) {
        let keep = self.rows.partition_point(|row| row.position < position);
        self.rows.truncate(keep);
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows from number `from` on, as the file holds them.
    pub(crate) fn encode_from(&self, from: usize) -> Vec<u8> {
        let encode =
            |row: &OffsetRow| [row.relative_offset.to_be_bytes(), row.position.to_be_bytes()];
        self.rows.iter().skip(from).flat_map(encode).flatten().collect()
    }
}

/// As [`OffsetRows::floor`], over a closed segment's file in memory.
pub(crate) fn floor_of_file(bytes: &[u8], relative_offset: u32) -> Option<OffsetRow> {
    let rows = bytes.as_chunks::<ROW_BYTES>().0;
    let after =
        rows.partition_point(|row| OffsetRow::decode(row).relative_offset <= relative_offset);
    after.checked_sub(1).map(|at| OffsetRow::decode(&rows[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn row(relative_offset: u32, position: u32) -> OffsetRow {
        OffsetRow { relative_offset, position }
    }

    #[test]
    fn rows_have_kafkas_bytes_and_lookup_finds_the_last_at_or_below() {
        let mut rows = OffsetRows::default();
        for r in [row(9, 100), row(19, 5000), row(300, 9000)] {
            assert!(rows.push(r));
        }
        assert!(!rows.push(row(300, 9100)) && !rows.push(row(301, 9000)), "must rise");
        let bytes = rows.encode_from(0);
        assert_eq!(bytes[..8], [0, 0, 0, 9, 0, 0, 0, 100]);
        assert_eq!(rows.encode_from(2), [0, 0, 1, 44, 0, 0, 35, 40]);
        for (wanted, found) in
            [(0, None), (9, Some(100)), (18, Some(100)), (19, Some(5000)), (u32::MAX, Some(9000))]
        {
            assert_eq!(rows.floor(wanted).map(|r| r.position), found, "{wanted}");
            assert_eq!(floor_of_file(&bytes, wanted), rows.floor(wanted), "{wanted}");
        }
        rows.truncate(9000);
        assert_eq!(rows.last(), Some(row(19, 5000)));
    }

    #[test]
    fn decoding_stops_where_rows_do_not_rise() {
        let mut bytes = [0, 0, 0, 9, 0, 0, 0, 100, 0, 0, 0, 19, 0, 0, 1, 0].to_vec();
        bytes.extend([0; 16]);
        assert_eq!(OffsetRows::decode(&bytes).len(), 2);
        assert_eq!(OffsetRows::decode(&bytes[..11]).len(), 1, "half a row is none");
    }

    #[test]
    fn a_row_reaches_two_thousand_million_offsets_far() {
        let base = Offset::new(10);
        assert_eq!(relative(Offset::new(10 + 0x7fff_ffff), base), Some(0x7fff_ffff));
        assert_eq!(relative(Offset::new(10 + 0x8000_0000), base), None);
        assert_eq!(relative(Offset::new(9), base), None);
    }
}
