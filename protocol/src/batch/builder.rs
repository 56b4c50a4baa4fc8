//! Makes whole v2 batches out of records: for batches that a broker writes itself, and for tests.
//!
//! Never on the way of a client's batch, which stays as it was sent.

use crate::batch::{Attributes, BatchHeader, Codec};
use crate::compression::{self, CompressError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::varint;

/// A record to be put into a batch.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// When it was made.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers; a key may repeat.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> NewRecord<'a> {
    /// A record without key and headers.
    #[must_use]
    pub const fn of_value(timestamp: Timestamp, value: &'a [u8]) -> Self {
        Self { timestamp, key: None, value: Some(value), headers: &[] }
    }
}

/// Collects records, at offsets 0, 1, 2, … until the batch is stamped.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    payload: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch with `attributes`, without a producer.
    #[must_use]
    pub const fn new(attributes: Attributes) -> Self {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            length: 0,
            leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes,
            last_offset_delta: -1,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            record_count: 0,
        };
        Self { header, payload: Vec::new() }
    }

    /// Names the idempotent producer and the sequence of its first record in this batch.
    #[must_use]
    pub const fn with_producer(
        mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Adds a record.
    ///
    /// # Panics
    /// After two billion records, or on a key, value or header of more than two billion bytes.
    #[must_use]
    pub fn with_record(mut self, record: &NewRecord<'_>) -> Self {
        let header = &mut self.header;
        if header.record_count == 0 {
            header.base_timestamp = record.timestamp;
        }
        header.max_timestamp = header.max_timestamp.max(record.timestamp);
        let timestamp_delta = record.timestamp.get() - header.base_timestamp.get();

        let mut fields = vec![0];
        varint::write_i64(&mut fields, timestamp_delta);
        varint::write_i64(&mut fields, i64::from(header.record_count));
        write_bytes(&mut fields, record.key);
        write_bytes(&mut fields, record.value);
        varint::write_i64(&mut fields, i64::from(length(record.headers)));
        for (key, value) in record.headers {
            write_bytes(&mut fields, Some(key.as_bytes()));
            write_bytes(&mut fields, *value);
        }
        varint::write_i64(&mut self.payload, i64::from(length(&fields)));
        self.payload.append(&mut fields);

        header.last_offset_delta += 1;
        header.record_count += 1;
        self
    }

    /// The whole batch, compressed as its attributes say, with its CRC.
    ///
    /// # Errors
    /// [`CompressError`].
    ///
    /// # Panics
    /// If the attributes name a codec that does not exist.
    pub fn build(self) -> Result<Vec<u8>, CompressError> {
        let codec = self.header.attributes.codec().expect("a builder is given an existing codec");
        let body = match codec {
            Codec::None => self.payload,
            codec => compression::compress(codec, None, &self.payload)?,
        };
        let mut batch = self.header.sealed(&body).encode().to_vec();
        batch.extend_from_slice(&body);
        Ok(batch)
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint::write_i64(out, bytes.map_or(-1, |bytes| i64::from(length(bytes))));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn length<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).expect("a field of a record counts at most 2^31 - 1")
}
