//! Requests that are encoded once and sent many times: of a frame only the correlation id changes,
//! and of a fetch the offset.

use crate::batch::set;
use crate::calls::{fetch_request, produce_request, topic_name};
use crate::load::batches::Batch;
use crate::wire::encode;
use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::protocol::Request;
use std::ops::Range;

/// Version of Produce: compact lengths, topics by name.
pub const PRODUCE: i16 = 9;

/// Version of Fetch: compact lengths, topics by name, no session in it as it is used here.
pub const FETCH: i16 = 12;

/// Bytes of a frame that differ from one request to the next: size, API key, version and
/// correlation id.
pub const HEAD_BYTES: usize = 12;

/// Bytes of a stamp.
const STAMP_BYTES: usize = 8;

/// Where the correlation id stands in a frame.
const CORRELATION_ID: Range<usize> = 8..HEAD_BYTES;

/// One request with its size before it.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Vec<u8>,
    stamp: Option<Stamp>,
}

/// Where a frame's one batch lies, and in it the value that is overwritten for each sending.
#[derive(Debug, Clone)]
struct Stamp {
    batch: Range<usize>,
    value: Range<usize>,
}

impl Frame {
    /// Encodes a request.
    ///
    /// # Errors
    /// It is larger than a frame can be.
    pub fn new<R: Request>(version: i16, request: &R) -> Result<Self> {
        let body = encode(version, 0, request);
        let size = i32::try_from(body.len()).context("a frame of more than 2 GiB")?;
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.extend_from_slice(&body);
        Ok(Self { bytes, stamp: None })
    }

    /// A produce request with one batch.
    ///
    /// # Errors
    /// It is larger than a frame can be.
    pub fn produce(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Result<Self> {
        let request: ProduceRequest =
            produce_request(topic, partition, acks, BytesMut::from(batch));
        Self::new(PRODUCE, &request)
    }

    /// A produce request with a batch for each of several partitions.
    ///
    /// # Errors
    /// It is larger than a frame can be.
    pub fn of_parts(topic: &str, acks: i16, parts: &[(i32, &Batch)]) -> Result<Self> {
        let data = parts.iter().map(|(partition, batch)| {
            let records = BytesMut::from(batch.bytes.as_slice()).freeze();
            PartitionProduceData::default().with_index(*partition).with_records(Some(records))
        });
        let data = data.collect();
        let topic =
            TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(data);
        let mut request = produce_request("", 0, acks, BytesMut::new());
        request.topic_data = vec![topic];
        Self::new(PRODUCE, &request)
    }

    /// A produce request with one record batch, not compressed, that can be stamped.
    ///
    /// # Errors
    /// It is larger than a frame can be, or the first record too small for a stamp.
    pub fn stamped(topic: &str, partition: i32, batch: &Batch) -> Result<Self> {
        let mut frame = Self::produce(topic, partition, -1, &batch.bytes)?;
        let found = frame.bytes.windows(batch.bytes.len()).position(|at| at == batch.bytes);
        let start = found.context("a frame holds its batch")?;
        let value = batch.stamp_at..batch.stamp_at + STAMP_BYTES;
        ensure!(value.end < batch.bytes.len(), "a record has room for a stamp");
        frame.stamp = Some(Stamp { batch: start..start + batch.bytes.len(), value });
        Ok(frame)
    }

    /// Puts a number at the front of the first record's value, if this frame can be stamped.
    pub fn stamp(&mut self, number: u64) {
        if let Some(Stamp { batch, value }) = &self.stamp {
            set(&mut self.bytes[batch.clone()], value.clone(), &number.to_be_bytes());
        }
    }

    /// The first byte where it differs from another frame.
    fn difference(&self, other: &Self) -> Option<usize> {
        self.bytes.iter().zip(&other.bytes).position(|(one, other)| one != other)
    }

    /// The part that differs, for one correlation id.
    pub fn head(&self, correlation_id: i32) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&self.bytes[..HEAD_BYTES]);
        head[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        head
    }

    /// The part that all of them share.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..]
    }
}

/// A request with a blank: a number that is filled in before each sending.
#[derive(Debug, Clone)]
pub struct Form {
    frame: Frame,
    blank_at: usize,
}

impl Form {
    /// Encodes two requests of which one has 0 where the blank is, and the other -1.
    ///
    /// # Errors
    /// They are alike, or larger than a frame can be.
    pub fn between<R: Request>(version: i16, zero: &R, other: &R) -> Result<Self> {
        let frame = Frame::new(version, zero)?;
        let blank_at = frame.difference(&Frame::new(version, other)?).context("a blank")?;
        Ok(Self { frame, blank_at })
    }

    /// The frame with these bytes of a number.
    pub fn filled<const N: usize>(&mut self, number: [u8; N]) -> &Frame {
        self.frame.bytes[self.blank_at..self.blank_at + N].copy_from_slice(&number);
        &self.frame
    }
}

/// How a fetch waits, and how much it wants.
#[derive(Debug, Clone, Copy)]
pub struct Appetite {
    /// Largest response, for the whole and for the partition.
    pub bytes_max: i32,
    /// How long the broker may wait for the first byte.
    pub wait_max_ms: i32,
}

/// A fetch of one partition, without a session, to be sent at ever new offsets.
#[derive(Debug, Clone)]
pub struct FetchFrame {
    bytes: Vec<u8>,
    offset_at: usize,
}

impl FetchFrame {
    /// Encodes the request.
    ///
    /// # Errors
    /// It is larger than a frame can be.
    pub fn new(topic: &str, partition: i32, appetite: Appetite) -> Result<Self> {
        let frame = |offset| {
            let mut request = fetch_request(topic, partition, offset)
                .with_max_wait_ms(appetite.wait_max_ms)
                .with_max_bytes(appetite.bytes_max);
            request.topics[0].partitions[0].partition_max_bytes = appetite.bytes_max;
            Frame::new(FETCH, &request)
        };
        // The offset stands where two frames that differ in nothing else begin to differ.
        let (frame, other) = (frame(0)?, frame(-1)?);
        let offset_at = frame.difference(&other).context("a fetch has an offset")?;
        Ok(Self { bytes: frame.bytes, offset_at })
    }

    /// The whole frame for one correlation id and offset.
    pub fn at(&mut self, correlation_id: i32, offset: i64) -> &[u8] {
        self.bytes[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        self.bytes[self.offset_at..self.offset_at + 8].copy_from_slice(&offset.to_be_bytes());
        &self.bytes
    }
}
