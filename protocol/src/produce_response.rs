//! The response to a produce request whose every batch is committed, written straight into the
//! connection's output: the one response that a busy broker makes for each request. Any other
//! outcome goes through the codec ([`crate::response`]), which writes the same bytes for this one.
//!
//! ```text
//! response   length, correlation id, [tags 9+], topics…, throttle, [tags 9+]
//! topic      name (..12) or id (13+), partitions…, [tags 9+]
//! partition  index, error 0, base offset, log append time, [log start offset 5+],
//!            [no record errors, no message 8+], [tags 9+]
//! ```
//! From version 9 on lengths are compact.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::types::{Offset, Timestamp};
use crate::varint;

/// From this version on the log start offset is told.
const LOG_START_SINCE: i16 = 5;
/// From this version on an error says more than its code.
const RECORD_ERRORS_SINCE: i16 = 8;
/// From this version on lengths are compact and tagged fields possible.
const FLEXIBLE_SINCE: i16 = 9;
/// From this version on topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The frame's length field, which does not count itself.
const LENGTH_PREFIX_BYTES: usize = size_of::<i32>();

/// One topic of the response.
#[derive(Debug, Clone, Copy)]
pub struct CommittedTopic<'a, P> {
    /// Name, written below v13.
    pub name: &'a str,
    /// Id, written from v13.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: P,
}

/// One partition, whose batch is committed.
#[derive(Debug, Clone, Copy)]
pub struct CommittedPartition {
    /// Which.
    pub index: i32,
    /// Where the batch stands.
    pub base_offset: Offset,
    /// The broker's date of its records, [`Timestamp::NONE`] if they keep the client's.
    pub log_append_time: Timestamp,
    /// First readable offset of the partition.
    pub log_start_offset: Offset,
}

/// Appends the whole frame, length prefix included, to `out`.
///
/// # Panics
/// If the frame exceeds 2 GiB: it has far fewer bytes than its request.
pub fn encode<'a, P>(
    out: &mut BytesMut,
    correlation_id: i32,
    api_version: i16,
    topics: impl Iterator<Item = CommittedTopic<'a, P>> + Clone,
) where
    P: Iterator<Item = CommittedPartition> + Clone,
{
    let start = out.len();
    out.put_bytes(0, LENGTH_PREFIX_BYTES);
    out.put_i32(correlation_id);
    let mut fields = Fields { out, version: api_version };
    fields.no_tags();
    fields.count(topics.clone().count());
    for topic in topics {
        fields.topic(&topic);
    }
    fields.out.put_i32(0);
    fields.no_tags();
    let frame_bytes = out.len() - start - LENGTH_PREFIX_BYTES;
    let frame_bytes = i32::try_from(frame_bytes).expect("shorter than its request");
    let prefix = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
    *prefix.expect("the prefix was put there") = frame_bytes.to_be_bytes();
}

struct Fields<'o> {
    out: &'o mut BytesMut,
    version: i16,
}

impl Fields<'_> {
    const fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE_SINCE
    }

    fn topic<P>(&mut self, topic: &CommittedTopic<'_, P>)
    where
        P: Iterator<Item = CommittedPartition> + Clone,
    {
        if self.version >= TOPIC_IDS_SINCE {
            self.out.put_slice(topic.id.as_bytes());
        } else {
            self.text(topic.name);
        }
        self.count(topic.partitions.clone().count());
        for partition in topic.partitions.clone() {
            self.partition(&partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: &CommittedPartition) {
        self.out.put_i32(partition.index);
        self.out.put_i16(0);
        self.out.put_i64(partition.base_offset.get());
        self.out.put_i64(partition.log_append_time.get());
        if self.version >= LOG_START_SINCE {
            self.out.put_i64(partition.log_start_offset.get());
        }
        if self.version >= RECORD_ERRORS_SINCE {
            self.count(0);
            self.null_text();
        }
        self.no_tags();
    }

    fn text(&mut self, text: &str) {
        if self.is_flexible() {
            self.count(text.len());
        } else {
            self.out
                .put_i16(i16::try_from(text.len()).expect("a topic's name came as such a text"));
        }
        self.out.put_slice(text.as_bytes());
    }

    fn null_text(&mut self) {
        if self.is_flexible() {
            self.out.put_u8(0);
        } else {
            self.out.put_i16(-1);
        }
    }

    fn count(&mut self, count: usize) {
        let count = i32::try_from(count).expect("the request had as many");
        if self.is_flexible() {
            varint::write_u64(self.out, u64::from(count.unsigned_abs()) + 1);
        } else {
            self.out.put_i32(count);
        }
    }

    fn no_tags(&mut self) {
        if self.is_flexible() {
            self.out.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages as m;
    use kafka_protocol::protocol::StrBytes;
    use m::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;
    use crate::response::Response;

    /// Name, id, and (index, base offset) of each partition.
    type Topic = (&'static str, u128, &'static [(i32, i64)]);

    const TOPICS: [Topic; 2] =
        [("orders", 7, &[(0, 1 << 40), (300, 0)]), ("a-much-longer-name", 8, &[(5, 77)])];

    fn committed(&(index, base_offset): &(i32, i64)) -> CommittedPartition {
        CommittedPartition {
            index,
            base_offset: Offset::new(base_offset),
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset::new(base_offset / 2),
        }
    }

    fn by_codec(topics: &[Topic], version: i16) -> Vec<u8> {
        let topics = topics.iter().map(|(name, id, partitions)| {
            let partitions = partitions.iter().map(committed).map(|partition| {
                PartitionProduceResponse::default()
                    .with_index(partition.index)
                    .with_base_offset(partition.base_offset.get())
                    .with_log_append_time_ms(partition.log_append_time.get())
                    .with_log_start_offset(partition.log_start_offset.get())
            });
            TopicProduceResponse::default()
                .with_name(m::TopicName(StrBytes::from_string((*name).to_owned())))
                .with_topic_id(Uuid::from_u128(*id))
                .with_partition_responses(partitions.collect())
        });
        let response = m::ProduceResponse::default().with_responses(topics.collect());
        Response::Produce(response).encode(42, version).unwrap().to_vec()
    }

    #[test]
    fn the_bytes_are_those_of_the_codec_in_every_version() {
        for version in 3..=13 {
            for topics in [&TOPICS[..0], &TOPICS[..1], &TOPICS[..]] {
                let committed_topics = topics.iter().map(|(name, id, partitions)| CommittedTopic {
                    name,
                    id: Uuid::from_u128(*id),
                    partitions: partitions.iter().map(committed),
                });
                // Behind another frame, as in a busy connection's output.
                let mut out = BytesMut::from(&b"before"[..]);
                encode(&mut out, 42, version, committed_topics);
                assert_eq!(&out[..6], b"before");
                assert_eq!(out[6..], by_codec(topics, version), "version {version}");
            }
        }
    }

    #[test]
    fn version_9_with_one_partition() {
        let topic = CommittedTopic {
            name: "t",
            id: Uuid::nil(),
            partitions: std::iter::once(committed(&(3, 258))),
        };
        let mut out = BytesMut::new();
        encode(&mut out, 1, 9, std::iter::once(topic));
        let expected: &[u8] = &[
            0, 0, 0, 48, 0, 0, 0, 1, 0, // length, correlation id, no tags
            2, 2, b't', 2, 0, 0, 0, 3, 0,
            0, // one topic, its name, one partition, 3, no error
            0, 0, 0, 0, 0, 0, 1, 2, // base offset
            255, 255, 255, 255, 255, 255, 255, 255, // the client's timestamps
            0, 0, 0, 0, 0, 0, 0, 129, // log start offset
            1, 0, 0, 0, // no record errors, no message, no tags of partition and topic
            0, 0, 0, 0, 0, // throttle, no tags
        ];
        assert_eq!(&out[..], expected);
    }
}
