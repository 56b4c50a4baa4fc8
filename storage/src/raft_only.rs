//! Where a segment holds Raft-only entries, which no client may be sent.
//!
//! They are rare (a handful for each change of leader), so all their places are kept in memory. The
//! file `<base offset>.raftonly` exists only beside a segment that has some:
//!
//! ```text
//! one row of 8 bytes, big-endian
//!  0                    4            8
//!  ├ u32 ───────────────┼ u32 ───────┤
//!  │ byte in the `.log` │ bytes of   │
//!  │ where it starts    │ the entry  │
//! ```
//! Positions rise strictly. A row is durable before the recovery point passes its entry.

/// Bytes of one row.
pub(crate) const ROW_BYTES: usize = 8;

/// The place of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RaftOnlyRow {
    pub(crate) position: u32,
    pub(crate) bytes: u32,
}

/// All of them in one segment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RaftOnlyRows {
    rows: Vec<RaftOnlyRow>,
}

impl RaftOnlyRows {
    /// Reads a file's content as far as its rows rise.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut rows = Self::default();
        for row in bytes.as_chunks::<ROW_BYTES>().0 {
            let (position, bytes) = row.split_at(4);
            let field = |half: &[u8]| u32::from_be_bytes(half.try_into().expect("half of 8 is 4"));
            let row = RaftOnlyRow { position: field(position), bytes: field(bytes) };
            if row.bytes == 0 || rows.rows.last().is_some_and(|last| last.position >= row.position)
            {
                break;
            }
            rows.rows.push(row);
        }
        rows
    }

    /// Adds an entry behind all others.
    pub(crate) fn push(&mut self, row: RaftOnlyRow) {
        assert!(self.rows.last().is_none_or(|last| last.position < row.position));
        self.rows.push(row);
    }

    /// Where the first entry behind `position` starts.
    pub(crate) fn next_after(&self, position: u64) -> Option<u64> {
        let at = self.rows.partition_point(|row| u64::from(row.position) <= position);
        self.rows.get(at).map(|row| u64::from(row.position))
    }

    /// Drops entries at or behind a position.
    pub(crate) fn truncate(&mut self, position: u32) {
        let keep = self.rows.partition_point(|row| row.position < position);
        self.rows.truncate(keep);
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows from number `from` on, as the file holds them.
    pub(crate) fn encode_from(&self, from: usize) -> Vec<u8> {
        let encode = |row: &RaftOnlyRow| [row.position.to_be_bytes(), row.bytes.to_be_bytes()];
        self.rows.iter().skip(from).flat_map(encode).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back_and_found() {
        let mut rows = RaftOnlyRows::default();
        rows.push(RaftOnlyRow { position: 0, bytes: 70 });
        rows.push(RaftOnlyRow { position: 500, bytes: 61 });
        let mut bytes = rows.encode_from(0);
        assert_eq!(bytes[8..], [0, 0, 1, 244, 0, 0, 0, 61]);
        bytes.extend([0; 12]);
        assert_eq!(RaftOnlyRows::decode(&bytes), rows, "what does not rise is no row");
        assert_eq!(rows.next_after(0), Some(500));
        assert_eq!(rows.next_after(500), None);
        rows.truncate(500);
        assert_eq!(rows.len(), 1);
    }
}
