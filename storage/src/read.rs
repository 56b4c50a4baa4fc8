//! What a read hands out: bytes in memory, or a range of a segment file for `sendfile`.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use protocol::types::Offset;
use smallvec::SmallVec;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// First wanted offset, inclusive. Inside a batch it returns that whole batch.
    pub from: Offset,
    /// Nothing at or above this offset is returned (exclusive).
    pub end: Offset,
    /// Stop before this many bytes…
    pub bytes_max: usize,
    /// …but return one whole batch even if it is larger (KIP-74).
    pub at_least_one: bool,
    /// Where the records may come from.
    pub source: ReadSource,
}

/// Where a read may find its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadSource {
    /// In memory if they are there, else in the file.
    Any,
    /// In the file only: what is not written yet is not found. For a caller that already holds as
    /// much memory as it may.
    File,
}

/// Whole batches, or whole batches and then the beginning of one (clients drop it).
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// In order; empty if there was nothing to read. One batch in memory is its header and its body.
    pub pieces: SmallVec<[RecordsPiece; 2]>,
    /// Sum of the pieces.
    pub bytes: usize,
}

/// One run of bytes.
#[derive(Debug, Clone)]
pub enum RecordsPiece {
    /// From the tail cache or a read buffer.
    Memory(Bytes),
    /// A range of a segment file.
    File(FileSlice),
}

/// A range of a segment file that stays readable while this lives, also after retention deletes it.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The open file.
    pub file: Arc<File>,
    /// First byte.
    pub position: u64,
    /// How many bytes.
    pub len: usize,
}
