//! What a log wrote to files that are not synced yet, for the journal: all of it, or nothing.

use protocol::types::Offset;

use crate::journal;
use crate::tail_cache::tail::Chunk;

/// Bytes that stand next to each other in one segment file.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Names the segment.
    pub(crate) base_offset: Offset,
    /// The first byte in its file.
    pub(crate) position: u32,
    /// The bytes.
    pub(crate) chunks: Vec<Chunk>,
}

impl Piece {
    /// How many.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }
}

/// All bytes that were written to a log's files since these were synced, as long as they are few.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    list: Vec<Piece>,
    bytes: usize,
    is_incomplete: bool,
}

impl Pieces {
    /// The pieces with their bytes, unless something is missing.
    pub(crate) fn complete(&self) -> Option<(&[Piece], usize)> {
        (!self.is_incomplete).then_some((&self.list, self.bytes))
    }

    /// Something was written that is not kept here.
    pub(super) fn give_up(&mut self) {
        self.list.clear();
        (self.bytes, self.is_incomplete) = (0, true);
    }

    /// Keeps what was just written.
    pub(super) fn note(&mut self, base_offset: Offset, position: u32, chunks: &[Chunk]) {
        let bytes: usize = chunks.iter().map(Chunk::bytes).sum();
        if self.is_incomplete || self.bytes + bytes > journal::LOG_BYTES_MAX {
            return self.give_up();
        }
        self.list.push(Piece { base_offset, position, chunks: chunks.to_vec() });
        self.bytes += bytes;
    }

    /// Takes over what was written later.
    pub(super) fn absorb(&mut self, later: Self) {
        if later.is_incomplete || self.bytes + later.bytes > journal::LOG_BYTES_MAX {
            return self.give_up();
        }
        self.list.extend(later.list);
        self.bytes += later.bytes;
    }
}
