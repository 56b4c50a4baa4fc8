//! Record batches to send: built by the `kafka-protocol` crate, then bent byte by byte where a test
//! needs a batch that no client would make.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::ops::Range;

/// Where the fields of a batch header stand (format v2).
pub mod field {
    use super::Range;

    /// Offset of the first record.
    pub const BASE_OFFSET: Range<usize> = 0..8;
    /// Bytes after this field.
    pub const BATCH_LENGTH: Range<usize> = 8..12;
    /// CRC-32C of everything after it.
    pub const CRC: Range<usize> = 17..21;
    /// Compression, timestamp type, transactional, control.
    pub const ATTRIBUTES: Range<usize> = 21..23;
    /// Offset of the last record, relative to the first.
    pub const LAST_OFFSET_DELTA: Range<usize> = 23..27;
    /// Largest timestamp.
    pub const MAX_TIMESTAMP: Range<usize> = 35..43;
    /// Id of the producer, -1 without one.
    pub const PRODUCER_ID: Range<usize> = 43..51;
    /// Epoch of the producer, -1 without one.
    pub const PRODUCER_EPOCH: Range<usize> = 51..53;
    /// Sequence of the first record, -1 without a producer.
    pub const BASE_SEQUENCE: Range<usize> = 53..57;
    /// Number of records.
    pub const RECORD_COUNT: Range<usize> = 57..61;
}

/// Who produces, for idempotence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Producer id, -1 for none.
    pub id: i64,
    /// Producer epoch, -1 for none.
    pub epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub sequence: i32,
}

/// A producer without idempotence.
pub const ANONYMOUS: Producer = Producer { id: -1, epoch: -1, sequence: -1 };

/// A record with this value and timestamp, and the value as key.
pub fn record(value: &str, timestamp_ms: i64) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: timestamp_ms,
        key: Some(Bytes::copy_from_slice(value.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::<StrBytes, Option<Bytes>>::new(),
    }
}

/// One uncompressed batch of these records.
pub fn batch(producer: Producer, records: &[Record]) -> BytesMut {
    let mut numbered = records.to_vec();
    for (place, record) in (0..).zip(&mut numbered) {
        record.offset = i64::from(place);
        record.sequence = place;
    }
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &numbered, &options).expect("records encode");
    set(&mut bytes, field::PRODUCER_ID, &producer.id.to_be_bytes());
    set(&mut bytes, field::PRODUCER_EPOCH, &producer.epoch.to_be_bytes());
    set(&mut bytes, field::BASE_SEQUENCE, &producer.sequence.to_be_bytes());
    bytes
}

/// A batch of records with these values, one second apart.
pub fn batch_of(producer: Producer, values: &[&str], first_ms: i64) -> BytesMut {
    let records: Vec<_> =
        (0..).zip(values).map(|(place, value)| record(value, first_ms + place * 1000)).collect();
    batch(producer, &records)
}

/// Overwrites a field and makes the CRC fit again.
pub fn set(batch: &mut [u8], field: Range<usize>, bytes: &[u8]) {
    batch[field].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[field::CRC.end..]);
    batch[field::CRC].copy_from_slice(&crc.to_be_bytes());
}

/// All records of the batches in a fetch response.
pub fn records_in(bytes: Option<Bytes>) -> Vec<Record> {
    let mut bytes = bytes.unwrap_or_default();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("whole batches with a right CRC");
    sets.into_iter().flat_map(|set| set.records).collect()
}

/// The same where the last batch may be cut off, as a broker's answer to a fetch may be.
pub fn records_in_part(bytes: Option<Bytes>) -> Vec<Record> {
    let bytes = bytes.unwrap_or_default();
    let mut end = 0;
    while let Some(length) = bytes.get(end + 8..end + 12) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let next = end + 12 + usize::try_from(length).expect("32 bits fit");
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    records_in(Some(bytes.slice(..end)))
}

/// The values of these records, as text.
pub fn values(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap_or(b"")).into_owned())
        .collect()
}
