//! The rules that a client's batch must pass before it may be appended.
//!
//! Never trusts a length or a count, and never decompresses beyond the caller's bound. A batch that
//! keeps every rule leaves as it came, its body uncopied, unless the topic dates or recompresses it.

use bytes::Bytes;
use protocol::batch::{BatchError, BatchHeader, Codec, HEADER_BYTES, check_crc};
use protocol::compression::{compress, decompress};
use protocol::record::{RecordView, walk};
use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::log::AppendBatch;

/// Records at fault that a rejection names at most: enough to find the mistake.
const NAMED_RECORDS_MAX: usize = 100;

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
    pub codec: Codec,
    /// Its level; `None` is the codec's default.
    pub level: Option<i32>,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchRejection {
    /// Bad checksum.
    #[error("{0}")]
    Corrupt(BatchError),
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
    records: &Bytes,
    rules: &BatchRules,
    zstd_allowed: bool,
    now: Timestamp,
) -> Result<AppendBatch, BatchRejection> {
    let mut header = single_batch(records)?;
    if header.base_offset != Offset::ZERO {
        let found = header.base_offset;
        return Err(invalid(format!("the base offset is {found}, a client must send 0")));
    }
    check_size(records.len(), rules)?;
    check_crc(records).map_err(BatchRejection::Corrupt)?;
    check_header(&header)?;
    let codec = header.attributes.codec().ok_or(BatchRejection::UnsupportedCodec)?;
    if codec == Codec::Zstd && !zstd_allowed {
        return Err(BatchRejection::UnsupportedCodec);
    }
    if header.attributes.is_log_append_time() {
        let reason = "a client must not set the log-append-time bit".to_owned();
        return Err(BatchRejection::InvalidTimestamp { reason, records: Vec::new() });
    }
    let mut body = records.slice(HEADER_BYTES..);
    let target = rules.codec.filter(|target| target.codec != codec);
    let must_seal = if codec == Codec::None || rules.keys_required || target.is_some() {
        let limit = if codec == Codec::None { body.len() } else { rules.decompressed_bytes_max };
        let payload =
            decompress(codec, &body, limit).map_err(|error| invalid(error.to_string()))?;
        let max_timestamp = check_records(&header, &payload, rules, now)?;
        let must_date = max_timestamp != header.max_timestamp;
        header.max_timestamp = max_timestamp;
        if let Some(TargetCodec { codec, level }) = target {
            let compressed = compress(codec, level, &payload)
                .map_err(|error| invalid(format!("the records cannot be recompressed: {error}")))?;
            body = compressed.into();
            header.attributes = header.attributes.with_codec(codec);
            check_size(HEADER_BYTES + body.len(), rules)?;
        }
        must_date || target.is_some()
    } else {
        check_unread(&header, rules, now)?;
        false
    };
    if rules.log_append_time {
        header.attributes = header.attributes.with_log_append_time();
        header.max_timestamp = now;
    }
    if must_seal || rules.log_append_time {
        header = header.sealed(&body);
    }
    Ok(AppendBatch { header, body })
}

/// The header of the one batch that `records` must be.
fn single_batch(records: &Bytes) -> Result<BatchHeader, BatchRejection> {
    let header = BatchHeader::parse(records).map_err(|error| match error {
        BatchError::Short { .. } | BatchError::Magic { .. } | BatchError::Offsets { .. } => {
            invalid(error.to_string())
        }
        BatchError::Length { .. } | BatchError::Crc { .. } => BatchRejection::Corrupt(error),
    })?;
    let (has, announced) = (records.len(), header.batch_bytes());
    if has == announced {
        return Ok(header);
    }
    Err(invalid(format!(
        "exactly one batch is expected: it has {announced} bytes, {has} were sent"
    )))
}

fn check_size(batch_bytes: usize, rules: &BatchRules) -> Result<(), BatchRejection> {
    let batch_bytes_max = rules.batch_bytes_max;
    if u32::try_from(batch_bytes).is_ok_and(|bytes| bytes <= batch_bytes_max) {
        return Ok(());
    }
    Err(BatchRejection::TooLarge { batch_bytes, batch_bytes_max })
}

/// What a client must not say in a header.
fn check_header(header: &BatchHeader) -> Result<(), BatchRejection> {
    let BatchHeader { record_count, last_offset_delta, attributes, .. } = *header;
    if record_count <= 0 {
        return Err(invalid(format!("the batch announces {record_count} records")));
    }
    if last_offset_delta != record_count - 1 {
        return Err(invalid(format!(
            "the last offset delta is {last_offset_delta}, but the batch has {record_count} records"
        )));
    }
    if attributes.is_control() {
        return Err(invalid("a client must not write control records".to_owned()));
    }
    let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
    if producer_id != ProducerId::NONE {
        let is_legal = producer_id > ProducerId::NONE
            && producer_epoch > ProducerEpoch::NONE
            && header.base_sequence > Sequence::NONE;
        if !is_legal {
            return Err(invalid(format!(
                "producer {producer_id} with epoch {producer_epoch} and sequence {}",
                header.base_sequence
            )));
        }
    } else if attributes.is_transactional() {
        return Err(invalid("a transactional batch needs a producer id".to_owned()));
    }
    Ok(())
}

/// Walks the records; returns their largest timestamp.
fn check_records(
    header: &BatchHeader,
    payload: &[u8],
    rules: &BatchRules,
    now: Timestamp,
) -> Result<Timestamp, BatchRejection> {
    let mut max_timestamp = Timestamp::NONE;
    let mut keyless = Vec::new();
    let mut misdated = Vec::new();
    let walked = walk(payload, header.record_count).map_err(|error| invalid(error.to_string()))?;
    for (number, record) in (0..).zip(walked) {
        let record = record.map_err(|error| BatchRejection::InvalidRecord {
            reason: error.to_string(),
            records: vec![(number, error.to_string())],
        })?;
        let timestamp = timestamp_of(header, &record);
        max_timestamp = max_timestamp.max(timestamp);
        if rules.keys_required && record.key.is_none() && keyless.len() < NAMED_RECORDS_MAX {
            keyless.push((number, "a compacted topic needs a key in every record".to_owned()));
        }
        if let Some(why) = misdating(timestamp, rules, now)
            && misdated.len() < NAMED_RECORDS_MAX
        {
            misdated.push((number, why));
        }
    }
    if !keyless.is_empty() {
        let reason = "a compacted topic needs a key in every record".to_owned();
        return Err(BatchRejection::InvalidRecord { reason, records: keyless });
    }
    if !misdated.is_empty() {
        let reason = "a record's timestamp is outside the allowed range".to_owned();
        return Err(BatchRejection::InvalidTimestamp { reason, records: misdated });
    }
    Ok(max_timestamp)
}

fn timestamp_of(header: &BatchHeader, record: &RecordView<'_>) -> Timestamp {
    Timestamp::new(header.base_timestamp.get().saturating_add(record.timestamp_delta))
}

/// The one figure that is known of records that stay unread.
fn check_unread(
    header: &BatchHeader,
    rules: &BatchRules,
    now: Timestamp,
) -> Result<(), BatchRejection> {
    match misdating(header.max_timestamp, rules, now) {
        Some(reason) => Err(BatchRejection::InvalidTimestamp { reason, records: Vec::new() }),
        None => Ok(()),
    }
}

/// Why a record must not have this timestamp; the broker's own time needs no check.
fn misdating(timestamp: Timestamp, rules: &BatchRules, now: Timestamp) -> Option<String> {
    if rules.log_append_time || timestamp == Timestamp::NONE {
        return None;
    }
    let ahead_ms = timestamp.get().saturating_sub(now.get());
    let is_allowed = ahead_ms <= rules.timestamp_after_max_ms
        && ahead_ms.saturating_neg() <= rules.timestamp_before_max_ms;
    (!is_allowed).then(|| {
        format!(
            "the timestamp {timestamp} is {ahead_ms} ms ahead of the broker's {now}; allowed are {} \
             ms before and {} ms after",
            rules.timestamp_before_max_ms, rules.timestamp_after_max_ms
        )
    })
}

fn invalid(reason: String) -> BatchRejection {
    BatchRejection::InvalidRecord { reason, records: Vec::new() }
}

#[cfg(test)]
mod tests;
