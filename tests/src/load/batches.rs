//! Record batches to send: records of JSON-like text in batches of format v2, written here because
//! the batch's size, not its records, is what a run asks for. Made before a run, never during one.
//!
//! Layout of a batch: the 61 bytes of header that `crate::batch::field` names, then the records,
//! compressed as one block. Layout of a record: length, attributes, timestamp delta, offset delta,
//! key length (-1), value length, value, number of headers (0), all lengths and deltas as zigzag
//! varints.

use crate::batch::{field, set};
use crate::deadline::now_ms;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use flate2::write::GzEncoder;
use lz4_flex::frame::FrameEncoder;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// Bytes of a batch before its records.
const HEADER_BYTES: usize = field::RECORD_COUNT.end;

/// Compression of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Records as they are.
    None,
    /// gzip.
    Gzip,
    /// lz4 frame.
    Lz4,
    /// zstd.
    Zstd,
}

/// What a batch should be like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of each record's value.
    pub record_bytes: usize,
    /// How many records.
    pub size: Size,
    /// Compression.
    pub codec: Codec,
}

/// How large a batch should be.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// As many records as fit into so many bytes on the wire, at least one.
    Bytes(usize),
    /// So many records.
    Records(usize),
}

/// A batch to send.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The batch as it crosses the wire.
    pub bytes: Vec<u8>,
    /// How many records it holds.
    pub records: u64,
    /// Where the first record's value begins, of a batch that is not compressed.
    pub stamp_at: usize,
}

impl Batch {
    /// Makes a batch; equal seeds give equal records.
    ///
    /// # Errors
    /// The codec failed.
    pub fn make(shape: &Shape, seed: u64) -> Result<Self> {
        match shape.size {
            Size::Records(count) => Self::of_count(shape, count, seed),
            Size::Bytes(wanted) => Self::of_bytes(shape, wanted, seed),
        }
    }

    fn of_bytes(shape: &Shape, wanted: usize, seed: u64) -> Result<Self> {
        let mut count = (wanted / (shape.record_bytes + 1)).max(1);
        // Compressed size is nearly proportional to the number of records: a few steps get there.
        for _ in 0..4 {
            let bytes = Self::of_count(shape, count, seed)?.bytes.len();
            let next = (count * wanted / bytes).max(1);
            if next == count {
                break;
            }
            count = next;
        }
        loop {
            let batch = Self::of_count(shape, count, seed)?;
            if batch.bytes.len() <= wanted || count == 1 {
                return Ok(batch);
            }
            count -= 1 + count / 200;
        }
    }

    fn of_count(shape: &Shape, count: usize, seed: u64) -> Result<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut records, mut first_end) = (Vec::new(), None);
        for offset_delta in 0..count {
            let value = text(shape.record_bytes, &mut random);
            put_record(&mut records, i64::try_from(offset_delta)?, &value);
            first_end.get_or_insert(records.len());
        }
        // After the value stands one byte, the number of headers.
        let stamp_at = HEADER_BYTES + first_end.context("no records")? - 1 - shape.record_bytes;
        let packed = compress(shape.codec, records)?;
        let last_delta = i32::try_from(count)? - 1;
        let bytes = assemble(shape.codec, last_delta, &packed)?;
        Ok(Self { bytes, records: count as u64, stamp_at })
    }
}

/// The header before the records, without a producer.
fn assemble(codec: Codec, last_delta: i32, packed: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(packed);
    let after_length = i32::try_from(bytes.len() - field::BATCH_LENGTH.end)?;
    let now = now_ms().to_be_bytes();
    bytes[field::BATCH_LENGTH].copy_from_slice(&after_length.to_be_bytes());
    bytes[12..16].copy_from_slice(&(-1_i32).to_be_bytes()); // partition leader epoch
    bytes[16] = 2; // magic
    bytes[field::LAST_OFFSET_DELTA].copy_from_slice(&last_delta.to_be_bytes());
    bytes[27..35].copy_from_slice(&now); // base timestamp
    bytes[field::MAX_TIMESTAMP].copy_from_slice(&now);
    bytes[field::PRODUCER_ID].copy_from_slice(&(-1_i64).to_be_bytes());
    bytes[field::PRODUCER_EPOCH].copy_from_slice(&(-1_i16).to_be_bytes());
    bytes[field::BASE_SEQUENCE].copy_from_slice(&(-1_i32).to_be_bytes());
    bytes[field::RECORD_COUNT].copy_from_slice(&(last_delta + 1).to_be_bytes());
    set(&mut bytes, field::ATTRIBUTES, &codec.attribute().to_be_bytes());
    Ok(bytes)
}

impl Codec {
    /// Its number in a batch's attributes.
    fn attribute(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

fn compress(codec: Codec, records: Vec<u8>) -> Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(records),
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&records)?;
            Ok(encoder.finish()?)
        }
        Codec::Lz4 => {
            let mut encoder = FrameEncoder::new(Vec::new());
            encoder.write_all(&records)?;
            encoder.finish().context("lz4")
        }
        Codec::Zstd => Ok(zstd::encode_all(records.as_slice(), zstd::DEFAULT_COMPRESSION_LEVEL)?),
    }
}

fn put_record(out: &mut Vec<u8>, offset_delta: i64, value: &[u8]) {
    let mut body = vec![0]; // attributes
    put_varint(&mut body, 0); // timestamp delta
    put_varint(&mut body, offset_delta);
    put_varint(&mut body, -1); // no key
    put_varint(&mut body, i64::try_from(value.len()).expect("a length fits"));
    body.extend_from_slice(value);
    put_varint(&mut body, 0); // no headers
    put_varint(out, i64::try_from(body.len()).expect("a length fits"));
    out.extend_from_slice(&body);
}

/// A number in zigzag and base 128, low bits first.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).expect("seven bits"));
}

/// Text like that of an event in JSON, of exactly so many bytes: names that repeat, and values that
/// do not.
fn text(bytes: usize, random: &mut StdRng) -> Vec<u8> {
    const KINDS: [&str; 6] = ["page_view", "add_to_cart", "checkout", "search", "login", "refund"];
    const CITIES: [&str; 6] = ["Lisbon", "Nairobi", "Osaka", "Toronto", "Lima", "Gothenburg"];
    let mut text = String::with_capacity(bytes + 512);
    while text.len() < bytes {
        let kind = KINDS[random.random_range(0..KINDS.len())];
        let city = CITIES[random.random_range(0..CITIES.len())];
        let (trace, session): (u128, u64) = (random.random(), random.random());
        let (user, product): (u32, u32) = (random.random(), random.random_range(0..1_000_000));
        let price = f64::from(random.random_range(100..100_000_u32)) / 100.0;
        let (milliseconds, port): (u32, u16) =
            (random.random_range(0..86_400_000), random.random());
        writeln!(
            text,
            "{{\"event_type\":\"{kind}\",\"trace_id\":\"{trace:032x}\",\"user_id\":{user},\
             \"session_id\":\"{session:016x}\",\"product\":{{\"sku\":\"SKU-{product:06}\",\
             \"price\":{price:.2},\"currency\":\"EUR\"}},\"location\":{{\"city\":\"{city}\"}},\
             \"time_of_day_ms\":{milliseconds},\"client\":{{\"version\":\"web/4.12.0\",\
             \"port\":{port}}},\"consent\":true}}"
        )
        .expect("a String takes any text");
    }
    text.truncate(bytes);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::records_in;
    use bytes::Bytes;

    #[test]
    fn a_batch_holds_what_was_asked_for() {
        for (record_bytes, size, codec) in [
            (1024, Size::Records(1), Codec::None),
            (1024, Size::Bytes(16_384), Codec::None),
            (100, Size::Bytes(65_536), Codec::None),
        ] {
            let shape = Shape { record_bytes, size, codec };
            let batch = Batch::make(&shape, 1).expect("a batch");
            let records = records_in(Some(Bytes::from(batch.bytes.clone())));
            assert_eq!(records.len() as u64, batch.records);
            let lengths = records.iter().map(|record| record.value.as_ref().map(Bytes::len));
            assert!(lengths.into_iter().all(|length| length == Some(record_bytes)));
            let first = records[0].value.as_ref().expect("a value");
            assert_eq!(first, &batch.bytes[batch.stamp_at..batch.stamp_at + record_bytes]);
        }
    }

    #[test]
    fn a_batch_fills_its_size_whatever_the_codec() {
        for codec in [Codec::None, Codec::Gzip, Codec::Lz4, Codec::Zstd] {
            for wanted in [16_384, 65_536] {
                let shape = Shape { record_bytes: 1024, size: Size::Bytes(wanted), codec };
                let bytes = Batch::make(&shape, 1).expect("a batch").bytes.len();
                assert!(bytes <= wanted, "{codec:?}: {bytes} of {wanted}");
                assert!(bytes > wanted * 9 / 10, "{codec:?}: {bytes} of {wanted}");
            }
        }
    }
}
