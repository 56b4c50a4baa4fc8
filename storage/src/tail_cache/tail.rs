//! One log's part of the tail cache: its newest batches, without a gap up to the log's end.
//!
//! ```text
//!   written (may be dropped from the left)    │ not written yet (always held)
//!   ├ chunk ┼ chunk ┼ chunk ┼ chunk ──────────┼ chunk ┼ chunk ┤ log_end_offset
//! ```
//! A chunk is one batch as it was appended (header and body apart, the body still being the
//! socket's bytes) or, after it was written, many small batches copied together.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::types::{LogIndex, Offset};

use crate::scan::as_u64;

/// A batch with fewer bytes than this is copied when it is written: handing it out piece by piece
/// costs more than the copy, and its body may pin a much larger network buffer.
pub(crate) const COPIED_BATCH_BYTES_MAX: usize = 8 << 10;
/// Copied batches are joined up to this size.
pub(crate) const JOINED_BYTES_MAX: usize = 64 << 10;

/// Whole batches that stand next to each other.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// First offset, inclusive.
    pub(crate) base_offset: Offset,
    /// The offset after the last, exclusive; equal to `base_offset` in a Raft-only entry, which is
    /// always a chunk of its own.
    pub(crate) next_offset: Offset,
    /// The index of its first entry; of no meaning where the log is not replicated.
    pub(crate) index: LogIndex,
    /// The header of a batch whose body is apart; empty where `body` holds whole batches.
    pub(crate) header: Bytes,
    /// The rest.
    pub(crate) body: Bytes,
}

impl Chunk {
    /// Bytes of the whole.
    pub(crate) const fn bytes(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Its batches, each with its header and its body.
    pub(crate) fn batches(self) -> impl Iterator<Item = (BatchHeader, Bytes)> {
        let Self { mut header, mut body, .. } = self;
        let parse = |bytes: &[u8]| {
            BatchHeader::parse(bytes).expect("a batch was validated before it was appended")
        };
        std::iter::from_fn(move || {
            if !header.is_empty() {
                return Some((parse(&std::mem::take(&mut header)), std::mem::take(&mut body)));
            }
            if body.is_empty() {
                return None;
            }
            let header = parse(&body);
            Some((header, body.split_to(header.batch_bytes()).slice(HEADER_BYTES..)))
        })
    }

    const fn is_raft_only(&self) -> bool {
        self.base_offset.get() == self.next_offset.get()
    }
}

/// One log's newest batches.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    /// Number of the first chunk; every chunk ever pushed has its number.
    first_number: u64,
    /// How many chunks, from the first on, are in the file.
    written_count: usize,
}

impl Tail {
    /// Adds a batch at the end.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        debug_assert!(self.chunks.back().is_none_or(|last| last.next_offset == chunk.base_offset));
        self.chunks.push_back(chunk);
    }

    /// The first `replaced` chunks that are not written yet now are, in the form of `replacement`.
    /// Returns the number behind the last of them.
    pub(crate) fn written(&mut self, replaced: usize, replacement: Vec<Chunk>) -> u64 {
        let mut rest = self.chunks.split_off(self.written_count);
        rest.drain(..replaced);
        self.chunks.extend(replacement);
        self.written_count = self.chunks.len();
        self.chunks.append(&mut rest);
        self.first_number + as_u64(self.written_count)
    }

    /// Drops the newest chunk, which is not written.
    pub(crate) fn pop_unwritten(&mut self) {
        debug_assert!(self.written_count < self.chunks.len());
        self.chunks.pop_back();
    }

    /// Drops the chunks numbered below `number`.
    pub(crate) fn drop_below(&mut self, number: u64) {
        while self.first_number < number && self.written_count > 0 {
            self.chunks.pop_front();
            self.written_count -= 1;
            self.first_number += 1;
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.first_number += as_u64(self.chunks.len());
        self.written_count = 0;
        self.chunks = VecDeque::new();
    }

    /// Clones the chunks that hold the entry `from` and what follows below `end`, up to about
    /// `bytes_max` and one chunk at least; `None` if `from` is not held. For replicated logs.
    pub(crate) fn read_entries(
        &self,
        from: LogIndex,
        end: LogIndex,
        bytes_max: usize,
    ) -> Option<Vec<Chunk>> {
        let first = self.chunks.front()?;
        if from < first.index {
            return None;
        }
        let after = self.chunks.partition_point(|chunk| chunk.index <= from);
        let mut found = Vec::new();
        let mut bytes = 0;
        for chunk in self.chunks.range(after.saturating_sub(1)..) {
            if chunk.index >= end || (bytes >= bytes_max && !found.is_empty()) {
                break;
            }
            bytes += chunk.bytes();
            found.push(chunk.clone());
        }
        Some(found)
    }

    /// Clones the chunks that hold `from` and what follows below `end`, up to about `bytes_max`;
    /// `None` if `from` is not held.
    pub(crate) fn read(&self, from: Offset, end: Offset, bytes_max: usize) -> Option<Vec<Chunk>> {
        let first = self.chunks.front()?;
        if from < first.base_offset {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.next_offset <= from);
        let mut found = Vec::new();
        let mut bytes = 0;
        for chunk in self.chunks.range(at..) {
            // A read stops before a Raft-only entry; the next one starts after it.
            let is_full = bytes >= bytes_max && !found.is_empty();
            if chunk.base_offset >= end || is_full || chunk.is_raft_only() {
                break;
            }
            bytes += chunk.bytes();
            found.push(chunk.clone());
        }
        Some(found)
    }
}

/// Joins neighbouring small batches of a run that was just written; large ones stay as they are.
pub(crate) fn join_small(run: &[Chunk]) -> Vec<Chunk> {
    let mut joined: Vec<Chunk> = Vec::new();
    let mut small: Vec<&Chunk> = Vec::new();
    let mut small_bytes = 0;
    let flush = |small: &mut Vec<&Chunk>, joined: &mut Vec<Chunk>| {
        if let (Some(first), Some(last)) = (small.first(), small.last()) {
            let mut bytes = BytesMut::with_capacity(small.iter().map(|c| c.bytes()).sum());
            for chunk in small.iter() {
                bytes.extend_from_slice(&chunk.header);
                bytes.extend_from_slice(&chunk.body);
            }
            joined.push(Chunk {
                base_offset: first.base_offset,
                next_offset: last.next_offset,
                index: first.index,
                header: Bytes::new(),
                body: bytes.freeze(),
            });
        }
        small.clear();
    };
    for chunk in run {
        let is_small = chunk.bytes() < COPIED_BATCH_BYTES_MAX && !chunk.is_raft_only();
        if !is_small || small_bytes + chunk.bytes() > JOINED_BYTES_MAX {
            flush(&mut small, &mut joined);
            small_bytes = 0;
        }
        if is_small {
            small_bytes += chunk.bytes();
            small.push(chunk);
        } else {
            joined.push(chunk.clone());
        }
    }
    flush(&mut small, &mut joined);
    joined
}

/// Cuts what [`Tail::read`] returned to whole batches from the one that holds `from` up to `end`,
/// and to `bytes_max` unless the first batch alone is larger and `at_least_one` is asked.
pub(crate) fn cut(
    chunks: Vec<Chunk>,
    from: Offset,
    end: Offset,
    bytes_max: usize,
    at_least_one: bool,
) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(chunks.len() * 2);
    let mut left = bytes_max;
    let mut is_first = true;
    for chunk in chunks {
        let is_single = !chunk.header.is_empty();
        if is_single {
            if chunk.next_offset > end || (chunk.bytes() > left && !(is_first && at_least_one)) {
                break;
            }
            left = left.saturating_sub(chunk.bytes());
            is_first = false;
            pieces.extend([chunk.header, chunk.body]);
            continue;
        }
        let range = whole_batches(&chunk.body, from, end, left, is_first && at_least_one);
        let took_all = range.end == chunk.body.len();
        if !range.is_empty() {
            left = left.saturating_sub(range.len());
            is_first = false;
            pieces.push(chunk.body.slice(range));
        }
        if !took_all {
            break;
        }
    }
    pieces
}

/// The range of joined batches from the one that holds `from`, all below `end`, within `bytes_max`.
fn whole_batches(
    joined: &[u8],
    from: Offset,
    end: Offset,
    bytes_max: usize,
    at_least_one: bool,
) -> std::ops::Range<usize> {
    let (mut start, mut at) = (0, 0);
    while at < joined.len() {
        let header = BatchHeader::parse(&joined[at..])
            .expect("a batch was validated before it was appended");
        debug_assert!(header.batch_bytes() >= HEADER_BYTES);
        let next = at + header.batch_bytes();
        if header.next_offset() <= from {
            (start, at) = (next, next);
            continue;
        }
        let fits = next - start <= bytes_max || (at == start && at_least_one);
        if header.next_offset() > end || !fits {
            break;
        }
        at = next;
    }
    start..at
}
