//! The rules that a client's batch must pass before it may be appended.

use bytes::Bytes;
use protocol::types::Timestamp;

use crate::log::AppendBatch;

/// What the topic asks of a batch.
#[derive(Debug, Clone)]
pub struct BatchRules {
    /// `max.message.bytes`: limit of the batch with its header.
    pub batch_bytes_max: u32,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Whether records need keys (`cleanup.policy` holds `compact`).
    pub keys_required: bool,
    /// `compression.type`: `None` keeps the producer's codec.
    pub codec: Option<TargetCodec>,
    /// Refuse to decompress beyond this many bytes for one batch.
    pub decompressed_bytes_max: usize,
}

/// A codec that the topic asks for, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetCodec {
    /// The codec.
    pub codec: protocol::batch::Codec,
    /// Its level; `None` is the codec's default.
    pub level: Option<i32>,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchRejection {
    /// Bad checksum.
    #[error("{0}")]
    Corrupt(protocol::batch::BatchError),
    /// Breaks a rule of the format (Kafka's INVALID_RECORD), with the records at fault if known.
    #[error("{reason}")]
    InvalidRecord {
        /// The rule, for the reader.
        reason: String,
        /// (index of the record in the batch, what is wrong with it).
        records: Vec<(i32, String)>,
    },
    /// Above `max.message.bytes`.
    #[error("the batch has {batch_bytes} bytes, max.message.bytes is {batch_bytes_max}")]
    TooLarge {
        /// The batch.
        batch_bytes: usize,
        /// The limit.
        batch_bytes_max: u32,
    },
    /// A record's timestamp is outside the allowed range, or the client set the log-append bit.
    #[error("{reason}")]
    InvalidTimestamp {
        /// The rule, for the reader.
        reason: String,
        /// (index of the record in the batch, what is wrong with it).
        records: Vec<(i32, String)>,
    },
    /// zstd in a request version that must not carry it, or an unknown codec.
    #[error("the batch's codec is not supported here")]
    UnsupportedCodec,
}

/// Checks one produced record set: exactly one whole v2 batch that keeps every rule; dates it if the
/// topic asks for log-append time; recompresses it if the topic asks for another codec.
///
/// Uncompressed records are walked structurally. Compressed ones are trusted behind header and CRC
/// unless a rule needs their content (a stated deviation from Kafka).
///
/// # Errors
/// [`BatchRejection`]; Kafka's behaviours 13–19.
pub fn validate(
    _records: &Bytes,
    _rules: &BatchRules,
    _zstd_allowed: bool,
    _now: Timestamp,
) -> Result<AppendBatch, BatchRejection> {
    todo!()
}
