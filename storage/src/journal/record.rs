//! One record of the journal: what one commit wrote, and where.
//!
//! ```text
//! record ├ u32 magic ┼ u32 crc32c of the rest ┼ u64 sequence ┼ u32 bytes of the rest from here ┼
//!        ├ u32 number of pieces ┼ piece … ┼ zeros up to a whole block ┤
//! piece  ├ 16 topic id ┼ i64 base offset of the segment ┼ u32 position in its file ┼ u32 bytes ┼
//!        ├ u16 bytes of the name ┼ name of the log's directory ┼ the bytes ┤
//! ```
//! Integers are big-endian. The checksum ends with the last piece. Never trusts what it reads.

use bytes::{Buf, BufMut};
use protocol::topic::TopicId;
use protocol::types::Offset;
use uuid::Uuid;

use crate::log::pieces::Piece;
use crate::log::sync_job::SyncJob;

/// The unit of writes past the page cache.
pub(super) const BLOCK_BYTES: usize = 4 << 10;
const MAGIC: u32 = 0x4d50_4a31;
/// Magic, checksum, sequence and length.
const HEAD_BYTES: usize = 20;
/// A piece without its name and its bytes.
const PIECE_HEAD_BYTES: usize = 34;

/// A buffer whose start suits a write past the page cache.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len_max: usize,
}

impl Buffer {
    /// A buffer for records of up to `len_max` bytes.
    pub(super) fn new(len_max: usize) -> Self {
        let bytes = vec![0; len_max + BLOCK_BYTES];
        // What cannot be aligned is written through the page cache, or fails.
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        Self { bytes, start, len_max }
    }

    /// Zeros.
    pub(super) fn zeros(&mut self, len: usize) -> &[u8] {
        let zeros = &mut self.bytes[self.start..self.start + len];
        zeros.fill(0);
        zeros
    }

    /// The record of `jobs`, which all have their pieces; `None` if it is larger than the buffer.
    pub(super) fn encode(&mut self, sequence: u64, jobs: &[SyncJob]) -> Option<&[u8]> {
        let size = HEAD_BYTES + 4 + jobs.iter().map(size_of_job).sum::<usize>();
        let padded = size.next_multiple_of(BLOCK_BYTES);
        if padded > self.len_max {
            return None;
        }
        let block = &mut self.bytes[self.start..self.start + padded];
        let (head, mut rest) = block.split_at_mut(HEAD_BYTES);
        let count = jobs.iter().map(|job| pieces_of(job).len()).sum();
        rest.put_u32(u32_of(count));
        for job in jobs {
            put_pieces(&mut rest, job);
        }
        rest.fill(0);
        let mut head_rest = &mut *head;
        head_rest.put_u32(MAGIC);
        head_rest.put_u32(0);
        head_rest.put_u64(sequence);
        head_rest.put_u32(u32_of(size - HEAD_BYTES));
        let crc = crc32c::crc32c(&block[8..size]);
        block[4..8].copy_from_slice(&crc.to_be_bytes());
        Some(block)
    }
}

fn pieces_of(job: &SyncJob) -> &[Piece] {
    job.pieces().map_or(&[], |(pieces, _)| pieces)
}

fn size_of_job(job: &SyncJob) -> usize {
    let name = job.log().directory_name().len();
    pieces_of(job).iter().map(|piece| PIECE_HEAD_BYTES + name + piece.bytes()).sum()
}

fn put_pieces(to: &mut &mut [u8], job: &SyncJob) {
    let name = job.log().directory_name().as_bytes();
    let name_bytes = u16::try_from(name.len()).expect("a file name is short");
    for piece in pieces_of(job) {
        to.put_slice(job.log().topic_id().get().as_bytes());
        to.put_i64(piece.base_offset.get());
        to.put_u32(piece.position);
        to.put_u32(u32_of(piece.bytes()));
        to.put_u16(name_bytes);
        to.put_slice(name);
        for chunk in &piece.chunks {
            to.put_slice(&chunk.header);
            to.put_slice(&chunk.body);
        }
    }
}

fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a record is far below 4 GiB")
}

/// A record that was read back.
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    /// With the zeros behind it.
    pub(super) block_bytes: usize,
    rest: &'a [u8],
    pieces_left: u32,
}

/// What a record says of one file.
pub(super) struct Redo<'a> {
    pub(super) directory: &'a str,
    pub(super) topic_id: TopicId,
    pub(super) base_offset: Offset,
    pub(super) position: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with, if it is whole.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut head = bytes.get(..HEAD_BYTES)?;
        let (magic, crc, sequence) = (head.get_u32(), head.get_u32(), head.get_u64());
        let size = usize::try_from(head.get_u32()).ok()?.checked_add(HEAD_BYTES)?;
        let whole = bytes.get(..size)?;
        if magic != MAGIC || crc32c::crc32c(&whole[8..]) != crc {
            return None;
        }
        let mut rest = &whole[HEAD_BYTES..];
        let pieces_left = rest.try_get_u32().ok()?;
        let block_bytes = size.next_multiple_of(BLOCK_BYTES);
        Some(Self { sequence, block_bytes, rest, pieces_left })
    }

    /// Its next piece.
    pub(super) fn next_piece(&mut self) -> Option<Redo<'a>> {
        self.pieces_left = self.pieces_left.checked_sub(1)?;
        let mut topic_id = [0; 16];
        self.rest.try_copy_to_slice(&mut topic_id).ok()?;
        let base_offset = Offset::new(self.rest.try_get_i64().ok()?);
        let position = self.rest.try_get_u32().ok()?;
        let bytes = usize::try_from(self.rest.try_get_u32().ok()?).ok()?;
        let name = usize::from(self.rest.try_get_u16().ok()?);
        let (name, rest) = self.rest.split_at_checked(name)?;
        let (bytes, rest) = rest.split_at_checked(bytes)?;
        self.rest = rest;
        let directory = std::str::from_utf8(name).ok()?;
        let topic_id = TopicId::new(Uuid::from_bytes(topic_id))?;
        Some(Redo { directory, topic_id, base_offset, position, bytes })
    }
}
