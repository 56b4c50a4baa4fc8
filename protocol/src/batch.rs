//! The 61-byte header of a v2 record batch: read, check, stamp.
//!
//! ```text
//! all fields big-endian
//!  0        8            12            16     17       21          23              27
//!  ├ i64 ───┼ i32 ───────┼ i32 ────────┼ i8 ──┼ u32 ───┼ i16 ──────┼ i32 ──────────┤
//!  │ base   │ length     │ partition   │magic │ crc32c │attributes │ lastOffset    │
//!  │ Offset │ after here │ leaderEpoch │ = 2  │        │           │ Delta         │
//!  27              35             43           51              53             57        61
//!  ├ i64 ──────────┼ i64 ─────────┼ i64 ───────┼ i16 ──────────┼ i32 ─────────┼ i32 ───┤
//!  │ baseTimestamp │ maxTimestamp │ producerId │ producerEpoch │ baseSequence │ count  │ records…
//! ```
//! `length` counts everything after itself. The CRC covers everything from `attributes` to the end
//! of the records; base offset and leader epoch lie outside it, so that a broker can stamp them.
//! Attributes: bits 0–2 codec, 3 log-append time, 4 transactional, 5 control, 6 delete horizon.
//!
//! This file never decodes records and never allocates in proportion to its input.

pub mod builder;

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before and including the length field: what `length` does not count.
pub const LENGTH_END: usize = 12;
/// Where the CRC begins to cover.
pub const CRC_START: usize = 21;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As they are.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy, raw or in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    const fn from_bits(bits: i16) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    const fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes(i16);

impl Attributes {
    /// Attributes of a plain batch in `codec`.
    #[must_use]
    pub const fn new(codec: Codec) -> Self {
        Self(codec.bits())
    }

    /// The raw bits.
    #[must_use]
    pub const fn get(self) -> i16 {
        self.0
    }

    /// The codec; `None` for the three values that Kafka does not define.
    #[must_use]
    pub const fn codec(self) -> Option<Codec> {
        Codec::from_bits(self.0)
    }

    /// Whether the broker's clock dates the records.
    #[must_use]
    pub const fn is_log_append_time(self) -> bool {
        self.0 & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Whether the batch holds markers of the broker instead of records of a client.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// The same attributes with the log-append-time bit set.
    #[must_use]
    pub const fn with_log_append_time(self) -> Self {
        Self(self.0 | LOG_APPEND_TIME)
    }

    /// The same attributes with the transactional bit set.
    #[must_use]
    pub const fn with_transactional(self) -> Self {
        Self(self.0 | TRANSACTIONAL)
    }

    /// The same attributes with the control bit set.
    #[must_use]
    pub const fn with_control(self) -> Self {
        Self(self.0 | CONTROL)
    }

    /// The same attributes with another codec.
    #[must_use]
    pub const fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !7) | codec.bits())
    }
}

/// Why bytes are not a v2 batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header.
    #[error("{have} bytes are too few for a record batch, whose header alone has 61")]
    Short {
        /// How many there were.
        have: usize,
    },
    /// The length field cannot be right: it counts less than the rest of a header, or is negative.
    #[error("the length field of the record batch is {length}")]
    Length {
        /// The field.
        length: i32,
    },
    /// An older message format, or noise.
    #[error("the record batch has magic {magic}; only format 2 is supported")]
    Magic {
        /// The byte.
        magic: i8,
    },
    /// The last offset lies beyond the offset space.
    #[error("a record batch from offset {base_offset} cannot extend by {last_offset_delta}")]
    Offsets {
        /// The first offset.
        base_offset: Offset,
        /// The last one, relative to it.
        last_offset_delta: i32,
    },
    /// The checksum differs.
    #[error("the record batch's checksum is {computed:#010x}, its header says {stored:#010x}")]
    Crc {
        /// As in the header.
        stored: u32,
        /// As computed.
        computed: u32,
    },
}

/// The header of one v2 batch, every field decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, inclusive.
    pub base_offset: Offset,
    /// Bytes after the length field; a whole batch has [`BatchHeader::batch_bytes`].
    pub length: i32,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// Stored checksum (CRC-32C).
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus `base_offset`; -1 in a Raft-only entry.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp in the batch.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub base_sequence: Sequence,
    /// Records in the batch; fewer than `last_offset_delta + 1` after compaction.
    pub record_count: i32,
}

fn take<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    out
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`. The CRC is not checked here.
    ///
    /// # Errors
    /// [`BatchError::Short`], [`BatchError::Length`], [`BatchError::Magic`] or
    /// [`BatchError::Offsets`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let short = BatchError::Short { have: bytes.len() };
        let h: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let magic = i8::from_be_bytes(take(h, 16));
        if magic != 2 {
            return Err(BatchError::Magic { magic });
        }
        let length = i32::from_be_bytes(take(h, 8));
        if usize::try_from(length).map_or(true, |l| l < HEADER_BYTES - LENGTH_END) {
            return Err(BatchError::Length { length });
        }
        let base_offset = Offset::new(i64::from_be_bytes(take(h, 0)));
        let last_offset_delta = i32::from_be_bytes(take(h, 23));
        // The offset after the batch must exist too.
        if base_offset.get().checked_add(i64::from(last_offset_delta) + 1).is_none() {
            return Err(BatchError::Offsets { base_offset, last_offset_delta });
        }
        Ok(Self {
            base_offset,
            length,
            leader_epoch: LeaderEpoch::new(i32::from_be_bytes(take(h, 12))),
            crc: u32::from_be_bytes(take(h, 17)),
            attributes: Attributes(i16::from_be_bytes(take(h, 21))),
            last_offset_delta,
            base_timestamp: Timestamp::new(i64::from_be_bytes(take(h, 27))),
            max_timestamp: Timestamp::new(i64::from_be_bytes(take(h, 35))),
            producer_id: ProducerId::new(i64::from_be_bytes(take(h, 43))),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(take(h, 51))),
            base_sequence: Sequence::new(i32::from_be_bytes(take(h, 53))),
            record_count: i32::from_be_bytes(take(h, 57)),
        })
    }

    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0_u8; HEADER_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        };
        put(&self.base_offset.get().to_be_bytes());
        put(&self.length.to_be_bytes());
        put(&self.leader_epoch.get().to_be_bytes());
        put(&[2]);
        put(&self.crc.to_be_bytes());
        put(&self.attributes.0.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.get().to_be_bytes());
        put(&self.max_timestamp.get().to_be_bytes());
        put(&self.producer_id.get().to_be_bytes());
        put(&self.producer_epoch.get().to_be_bytes());
        put(&self.base_sequence.get().to_be_bytes());
        put(&self.record_count.to_be_bytes());
        out
    }

    /// The checksum of this header's covered part followed by `body`, the records as they are stored.
    #[must_use]
    pub fn recompute_crc(&self, body: &[u8]) -> u32 {
        let header = self.encode();
        let (_outside, covered) = header.split_at(CRC_START);
        crc32c::crc32c_append(crc32c::crc32c(covered), body)
    }

    /// The header with the length and the checksum that fit `body`: what ends every rewrite of a
    /// covered field or of the records.
    ///
    /// # Panics
    /// If `body` has more than 2 GiB.
    #[must_use]
    pub fn sealed(mut self, body: &[u8]) -> Self {
        self.length = i32::try_from(HEADER_BYTES - LENGTH_END + body.len())
            .expect("a batch is smaller than 2 GiB");
        self.crc = self.recompute_crc(body);
        self
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        LENGTH_END + usize::try_from(self.length).expect("parse refuses negative lengths")
    }

    /// Offset of the last record, inclusive. Meaningless in a Raft-only entry.
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.advance(self.last_offset_delta as i64)
    }

    /// The offset after the batch; equal to `base_offset` in a Raft-only entry.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.base_offset.advance(self.last_offset_delta as i64 + 1)
    }

    /// Whether this is an entry of the replication layer that takes no offset.
    #[must_use]
    pub const fn is_raft_only(&self) -> bool {
        self.last_offset_delta == -1
    }

    /// Sequence of the last record.
    #[must_use]
    pub const fn last_sequence(&self) -> Sequence {
        if self.base_sequence.get() < 0 {
            return Sequence::NONE;
        }
        self.base_sequence.advance(self.last_offset_delta)
    }
}

/// Checks the CRC of one whole batch.
///
/// # Errors
/// What [`BatchHeader::parse`] returns, [`BatchError::Short`] if `batch` ends before the batch
/// does, and [`BatchError::Crc`].
pub fn check_crc(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let short = BatchError::Short { have: batch.len() };
    let covered = batch.get(CRC_START..header.batch_bytes()).ok_or(short)?;
    let computed = crc32c::crc32c(covered);
    if computed == header.crc {
        Ok(header)
    } else {
        Err(BatchError::Crc { stored: header.crc, computed })
    }
}

#[cfg(test)]
mod tests;
