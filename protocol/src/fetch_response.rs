//! Fetch responses in our own framing: fields written here, records appended by reference.
//!
//! ```text
//! response   length, correlation id, [tags 12+], throttle, [error, session id 7+],
//!            topics…, [tags 12+: 0 node endpoints 16+]
//! topic      name (..12) or id (13+), partitions…, [tags 12+]
//! partition  index, error, high watermark, last stable offset, [log start offset 5+],
//!            aborted transactions…, [preferred read replica 11+], length of records, records,
//!            [tags 12+: 0 diverging epoch, 1 current leader]
//! ```
//! From version 12 on lengths are compact. A tagged field that holds its default is never written.
//! Records are neither copied nor looked at: their length stands in the fields, they themselves are
//! a part of their own.

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::varint;

/// Records that stand by reference in a response.
pub trait RecordsByReference {
    /// Their size in bytes.
    fn records_bytes(&self) -> usize;
}

/// One run of a response frame.
#[derive(Debug)]
pub enum Part<R> {
    /// Encoded fields.
    Bytes(Bytes),
    /// Records, to be written as they are.
    Records(R),
}

/// A whole response.
#[derive(Debug)]
pub struct FetchReply<R> {
    /// Milliseconds for which the client should stay quiet.
    pub throttle_ms: i32,
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// By topic, in the order of the request.
    pub topics: SmallVec<[FetchTopicReply<R>; 1]>,
    /// Where leaders named in `current_leader` listen (v16+): (broker id, host, port, rack).
    pub node_endpoints: Vec<(i32, String, i32, Option<String>)>,
}

/// One topic of a response.
#[derive(Debug)]
pub struct FetchTopicReply<R> {
    /// Name, written below v13.
    pub name: String,
    /// Id, written from v13.
    pub id: Uuid,
    /// Partitions.
    pub partitions: SmallVec<[FetchPartitionReply<R>; 1]>,
}

/// One partition of a response.
#[derive(Debug)]
pub struct FetchPartitionReply<R> {
    /// Which.
    pub partition: i32,
    /// Its error, 0 for none.
    pub error_code: i16,
    /// -1 where unknown.
    pub high_watermark: i64,
    /// -1 where unknown.
    pub last_stable_offset: i64,
    /// -1 where unknown (v5+).
    pub log_start_offset: i64,
    /// (epoch, end offset) where the client's history leaves ours (v12+).
    pub diverging_epoch: Option<(i32, i64)>,
    /// (leader id, leader epoch) for a client that asked the wrong broker (v12+).
    pub current_leader: Option<(i32, i32)>,
    /// (producer id, first offset) of aborted transactions; `None` for read_uncommitted.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    /// Broker to read from, -1 for this one (v11+).
    pub preferred_read_replica: i32,
    /// The records; `None` is written as empty.
    pub records: Option<R>,
}

/// Encodes a whole frame, length prefix included, as parts in the order of the wire. Adjacent fields
/// share one [`Part::Bytes`]. Fields that `api_version` lacks are left out.
///
/// # Panics
/// If the frame exceeds 2 GiB, far above what a broker lets one response hold.
#[must_use]
pub fn encode<R: RecordsByReference>(
    correlation_id: i32,
    api_version: i16,
    reply: FetchReply<R>,
) -> SmallVec<[Part<R>; 3]> {
    let mut frame = Frame::new(api_version, &reply);
    frame.fields.put_i32(correlation_id);
    frame.no_tags();
    frame.response(reply);
    frame.finish()
}

/// Bytes that a partition's fields take at most, without aborted transactions: what to reserve.
const PARTITION_FIELDS_BYTES: usize = 80;
/// The frame's length field, which does not count itself.
const LENGTH_PREFIX_BYTES: usize = size_of::<i32>();

/// (epoch, end offset) and (leader id, leader epoch) where they are not known; never written.
const DIVERGING_EPOCH_DEFAULT: (i32, i64) = (-1, -1);
const CURRENT_LEADER_DEFAULT: (i32, i32) = (-1, -1);

/// A frame in the making: all fields in one buffer, and where records interrupt them.
struct Frame<R> {
    version: i16,
    fields: BytesMut,
    /// Records, each with the position in `fields` before which it stands.
    records: SmallVec<[(usize, R); 1]>,
    records_bytes: usize,
}

impl<R: RecordsByReference> Frame<R> {
    fn new(version: i16, reply: &FetchReply<R>) -> Self {
        let partitions: usize = reply.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut fields = BytesMut::with_capacity((1 + partitions) * PARTITION_FIELDS_BYTES);
        fields.put_bytes(0, LENGTH_PREFIX_BYTES);
        Self { version, fields, records: SmallVec::with_capacity(partitions), records_bytes: 0 }
    }

    fn response(&mut self, reply: FetchReply<R>) {
        self.fields.put_i32(reply.throttle_ms);
        if self.version >= 7 {
            self.fields.put_i16(reply.error_code);
            self.fields.put_i32(reply.session_id);
        }
        self.length(reply.topics.len());
        for topic in reply.topics {
            self.topic(topic);
        }
        if self.version >= 16 && !reply.node_endpoints.is_empty() {
            let endpoints = encode_node_endpoints(&reply.node_endpoints);
            self.fields.put_u8(1);
            self.tag(0, endpoints.len());
            self.fields.put(endpoints);
        } else {
            self.no_tags();
        }
    }

    fn topic(&mut self, topic: FetchTopicReply<R>) {
        if self.version >= 13 {
            self.fields.put_slice(topic.id.as_bytes());
        } else if self.is_flexible() {
            put_compact_string(&mut self.fields, &topic.name);
        } else {
            let length = i16::try_from(topic.name.len()).expect("a request's names fit an i16");
            self.fields.put_i16(length);
            self.fields.put_slice(topic.name.as_bytes());
        }
        self.length(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: FetchPartitionReply<R>) {
        self.fields.put_i32(partition.partition);
        self.fields.put_i16(partition.error_code);
        self.fields.put_i64(partition.high_watermark);
        self.fields.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.fields.put_i64(partition.log_start_offset);
        }
        match partition.aborted_transactions {
            None => self.null(),
            Some(aborted) => {
                self.length(aborted.len());
                for (producer_id, first_offset) in aborted {
                    self.fields.put_i64(producer_id);
                    self.fields.put_i64(first_offset);
                    self.no_tags();
                }
            }
        }
        if self.version >= 11 {
            self.fields.put_i32(partition.preferred_read_replica);
        }
        let records_bytes = partition.records.as_ref().map_or(0, R::records_bytes);
        self.length(records_bytes);
        self.records_bytes += records_bytes;
        if let Some(records) = partition.records.filter(|_| records_bytes > 0) {
            self.records.push((self.fields.len(), records));
        }
        self.partition_tags(partition.diverging_epoch, partition.current_leader);
    }

    fn partition_tags(
        &mut self,
        diverging_epoch: Option<(i32, i64)>,
        current_leader: Option<(i32, i32)>,
    ) {
        if !self.is_flexible() {
            return;
        }
        let diverging_epoch = diverging_epoch.filter(|value| *value != DIVERGING_EPOCH_DEFAULT);
        let current_leader = current_leader.filter(|value| *value != CURRENT_LEADER_DEFAULT);
        let count = u8::from(diverging_epoch.is_some()) + u8::from(current_leader.is_some());
        self.fields.put_u8(count);
        if let Some((epoch, end_offset)) = diverging_epoch {
            self.tag(0, 13);
            self.fields.put_i32(epoch);
            self.fields.put_i64(end_offset);
            self.no_tags();
        }
        if let Some((leader_id, leader_epoch)) = current_leader {
            self.tag(1, 9);
            self.fields.put_i32(leader_id);
            self.fields.put_i32(leader_epoch);
            self.no_tags();
        }
    }

    fn tag(&mut self, tag: u8, bytes: usize) {
        self.fields.put_u8(tag);
        put_uvarint(&mut self.fields, bytes);
    }

    const fn is_flexible(&self) -> bool {
        self.version >= 12
    }

    /// Ends a structure that has no tagged fields to write.
    fn no_tags(&mut self) {
        if self.is_flexible() {
            self.fields.put_u8(0);
        }
    }

    /// The length of an array or of records.
    fn length(&mut self, length: usize) {
        if self.is_flexible() {
            put_uvarint(&mut self.fields, length + 1);
        } else {
            self.fields.put_i32(i32::try_from(length).expect("a response stays below 2 GiB"));
        }
    }

    /// The length of an array that is null.
    fn null(&mut self) {
        if self.is_flexible() {
            self.fields.put_u8(0);
        } else {
            self.fields.put_i32(-1);
        }
    }

    fn finish(self) -> SmallVec<[Part<R>; 3]> {
        let Self { mut fields, records, records_bytes, .. } = self;
        let length = i32::try_from(fields.len() - LENGTH_PREFIX_BYTES + records_bytes)
            .expect("a response stays below 2 GiB");
        *fields.first_chunk_mut().expect("the prefix was reserved") = length.to_be_bytes();

        let mut rest = fields.freeze();
        let mut parts = SmallVec::with_capacity(2 * records.len() + 1);
        let mut written = 0;
        for (position, records) in records {
            parts.push(Part::Bytes(rest.split_to(position - written)));
            parts.push(Part::Records(records));
            written = position;
        }
        if !rest.is_empty() {
            parts.push(Part::Bytes(rest));
        }
        parts
    }
}

/// The value of the tagged field; always flexible.
fn encode_node_endpoints(endpoints: &[(i32, String, i32, Option<String>)]) -> BytesMut {
    let mut out = BytesMut::new();
    put_uvarint(&mut out, endpoints.len() + 1);
    for (broker_id, host, port, rack) in endpoints {
        out.put_i32(*broker_id);
        put_compact_string(&mut out, host);
        out.put_i32(*port);
        match rack {
            None => out.put_u8(0),
            Some(rack) => put_compact_string(&mut out, rack),
        }
        out.put_u8(0);
    }
    out
}

fn put_compact_string(out: &mut BytesMut, text: &str) {
    put_uvarint(out, text.len() + 1);
    out.put_slice(text.as_bytes());
}

fn put_uvarint(out: &mut BytesMut, value: usize) {
    varint::write_u64(out, u64::try_from(value).expect("a length fits 64 bits"));
}

#[cfg(test)]
mod tests;
