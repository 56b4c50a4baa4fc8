//! A bound on the memory that fetch responses hold on their way to clients.
//!
//! Records at the tail go out as they stand in the tail cache. A client that takes them slowly keeps
//! them in memory after the cache has let go of them, and there may be thousands of such clients.
//! What they hold together is counted here; beyond the bound a fetch reads from the file, where
//! records cost no memory of this process. Nobody waits and nobody is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use storage::read::{Records, RecordsPiece};

/// Bytes that all responses may hold together.
pub(crate) const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// Counts what responses hold.
#[derive(Debug)]
pub(crate) struct ResponseMemory {
    bytes_max: usize,
    held_bytes: AtomicUsize,
}

impl ResponseMemory {
    /// A bound of `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held_bytes: AtomicUsize::new(0) })
    }

    /// Bytes held at present.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Counts the records that stand in memory until they are dropped; `None` beyond the bound.
    pub(crate) fn hold(self: &Arc<Self>, records: Records) -> Option<Records> {
        let is_memory = |piece: &RecordsPiece| matches!(piece, RecordsPiece::Memory(_));
        let Some(last) = records.pieces.iter().rposition(is_memory) else { return Some(records) };
        let bytes = records.pieces.iter().map(|piece| match piece {
            RecordsPiece::Memory(bytes) => bytes.len(),
            RecordsPiece::File(_) => 0,
        });
        let bytes = bytes.sum();
        let held = self.count(bytes)?;
        let mut records = records;
        // The pieces leave in order, so that the last one lets go of all.
        if let Some(RecordsPiece::Memory(piece)) = records.pieces.get_mut(last) {
            *piece = Bytes::from_owner(HeldPiece { bytes: std::mem::take(piece), _held: held });
        }
        Some(records)
    }

    fn count(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let within = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Held { memory: self.clone(), bytes })
    }
}

/// Counted bytes; dropping it takes them off the count.
#[derive(Debug)]
struct Held {
    memory: Arc<ResponseMemory>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A piece that lets go of the count when its last slice is dropped.
struct HeldPiece {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pieces: &[&'static [u8]]) -> Records {
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let memory = |piece: &&'static [u8]| RecordsPiece::Memory(Bytes::from_static(piece));
        Records { pieces: pieces.iter().map(memory).collect(), bytes }
    }

    #[test]
    fn records_are_counted_until_their_last_piece_has_left() {
        let memory = ResponseMemory::new(10);
        let mut held = memory.hold(records(&[b"abcd", b"efg"])).unwrap();
        assert_eq!(memory.held_bytes(), 7);
        assert!(memory.hold(records(&[b"abcd"])).is_none(), "beyond the bound");
        assert!(memory.hold(records(&[b"abc"])).is_some(), "and dropped at once");
        drop(held.pieces.remove(0));
        assert_eq!(memory.held_bytes(), 7);
        let RecordsPiece::Memory(last) = held.pieces.remove(0) else { panic!("not in memory") };
        let slice = last.slice(1..);
        drop((held, last));
        assert_eq!((&slice[..], memory.held_bytes()), (&b"fg"[..], 7));
        drop(slice);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn what_is_empty_or_in_a_file_is_not_counted() {
        let memory = ResponseMemory::new(0);
        assert!(memory.hold(Records::default()).is_some());
    }
}
