//! Versions that Apache Kafka 4.3 serves and the codec crate does not know, whose schemas are of 4.1.
//!
//! ```text
//! ListOffsets      11   as 10, byte by byte: it only allows one more question
//! OffsetCommit     10   topics by id, no more by name
//! OffsetFetch      10   topics by id, no more by name
//! DescribeLogDirs   5   asked as 4; the answer says of each directory whether it is cordoned
//! ```
//! The codec's messages have places for the new fields already, since Kafka 4.1 knew them as unstable.
//! Nothing here decides what a request means, and a frame comes here only behind the guard, which
//! knows these versions like any other.

use kafka_protocol::messages as m;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::protocol::StrBytes;

use crate::request::Request;
use crate::response::Response;
use crate::wire::{Form, Reader, WireError, Writer};

const LIST_OFFSETS: i16 = 2;
const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const DESCRIBE_LOG_DIRS: i16 = 35;

/// The version of the codec that reads and writes the same bytes, where there is one.
pub(crate) const fn codec_version(api_key: i16, version: i16) -> i16 {
    match (api_key, version) {
        (LIST_OFFSETS, 11) => 10,
        // The answer is another matter: see `encode`.
        (DESCRIBE_LOG_DIRS, 5) => 4,
        _ => version,
    }
}

/// Whether the codec can neither read nor write a version.
pub(crate) const fn is_unknown_to_codec(api_key: i16, version: i16) -> bool {
    matches!((api_key, version), (OFFSET_COMMIT | OFFSET_FETCH, 10))
}

/// Reads a body in a version that [`is_unknown_to_codec`].
///
/// # Errors
/// [`WireError`]: text that is not UTF-8, or a shape that the guard should not have passed.
pub(crate) fn decode(api_key: i16, body: &[u8]) -> Result<Request, WireError> {
    let mut fields = Reader::new(body, Form::Flexible);
    let request = match api_key {
        OFFSET_COMMIT => Request::OffsetCommit(decode_offset_commit(&mut fields)?),
        OFFSET_FETCH => Request::OffsetFetch(decode_offset_fetch(&mut fields)?),
        _ => return Err(WireError::Unknown("the API", api_key)),
    };
    fields.end()?;
    Ok(request)
}

fn text(fields: &mut Reader<'_>, what: &'static str) -> Result<StrBytes, WireError> {
    fields.string(what).map(|text| StrBytes::from_string(text.to_owned()))
}

fn nullable_text(
    fields: &mut Reader<'_>,
    what: &'static str,
) -> Result<Option<StrBytes>, WireError> {
    Ok(fields.nullable_string(what)?.map(|text| StrBytes::from_string(text.to_owned())))
}

fn decode_offset_commit(fields: &mut Reader<'_>) -> Result<m::OffsetCommitRequest, WireError> {
    let request = m::OffsetCommitRequest::default()
        .with_group_id(text(fields, "the group")?.into())
        .with_generation_id_or_member_epoch(fields.i32("the generation")?)
        .with_member_id(text(fields, "the member")?)
        .with_group_instance_id(nullable_text(fields, "the instance")?)
        .with_topics(fields.list("the topics", |fields| {
            let topic = OffsetCommitRequestTopic::default()
                .with_topic_id(fields.uuid("a topic's id")?)
                .with_partitions(fields.list("partitions", decode_commit)?);
            fields.no_tags()?;
            Ok(topic)
        })?);
    fields.no_tags()?;
    Ok(request)
}

fn decode_commit(fields: &mut Reader<'_>) -> Result<OffsetCommitRequestPartition, WireError> {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(fields.i32("a partition")?)
        .with_committed_offset(fields.i64("an offset")?)
        .with_committed_leader_epoch(fields.i32("a leader epoch")?)
        .with_committed_metadata(nullable_text(fields, "metadata")?);
    fields.no_tags()?;
    Ok(partition)
}

fn decode_offset_fetch(fields: &mut Reader<'_>) -> Result<m::OffsetFetchRequest, WireError> {
    let groups = fields.list("the groups", |fields| {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(text(fields, "a group")?.into())
            .with_member_id(nullable_text(fields, "the member")?)
            .with_member_epoch(fields.i32("the member's epoch")?)
            .with_topics(fields.nullable_list("the topics", |fields| {
                let topic = OffsetFetchRequestTopics::default()
                    .with_topic_id(fields.uuid("a topic's id")?)
                    .with_partition_indexes(
                        fields.list("partitions", |fields| fields.i32("a partition"))?,
                    );
                fields.no_tags()?;
                Ok(topic)
            })?);
        fields.no_tags()?;
        Ok(group)
    })?;
    let require_stable = fields.i8("whether to wait for transactions")? != 0;
    fields.no_tags()?;
    Ok(m::OffsetFetchRequest::default().with_groups(groups).with_require_stable(require_stable))
}

/// The body of a response in a version whose bytes the codec cannot write, with its API key.
pub(crate) fn encode(response: &Response, version: i16) -> Option<(i16, Vec<u8>)> {
    match (response, version) {
        (Response::DescribeLogDirs(message), 5) => {
            Some((DESCRIBE_LOG_DIRS, encode_log_dirs(message)))
        }
        (Response::OffsetCommit(message), 10) => {
            Some((OFFSET_COMMIT, encode_offset_commit(message)))
        }
        (Response::OffsetFetch(message), 10) => Some((OFFSET_FETCH, encode_offset_fetch(message))),
        _ => None,
    }
}

fn encode_offset_commit(message: &m::OffsetCommitResponse) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    out.i32(message.throttle_time_ms);
    out.list(&message.topics, |out, topic| {
        out.uuid(topic.topic_id);
        out.list(&topic.partitions, |out, partition| {
            out.i32(partition.partition_index);
            out.i16(partition.error_code);
            out.tags(&[]);
        });
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}

fn encode_offset_fetch(message: &m::OffsetFetchResponse) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    out.i32(message.throttle_time_ms);
    out.list(&message.groups, |out, group| {
        out.string(&group.group_id);
        out.list(&group.topics, |out, topic| {
            out.uuid(topic.topic_id);
            out.list(&topic.partitions, |out, partition| {
                out.i32(partition.partition_index);
                out.i64(partition.committed_offset);
                out.i32(partition.committed_leader_epoch);
                out.nullable_string(partition.metadata.as_deref());
                out.i16(partition.error_code);
                out.tags(&[]);
            });
            out.tags(&[]);
        });
        out.i16(group.error_code);
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}

fn encode_log_dirs(message: &m::DescribeLogDirsResponse) -> Vec<u8> {
    let mut out = Writer::new(Form::Flexible);
    out.i32(message.throttle_time_ms);
    out.i16(message.error_code);
    out.list(&message.results, |out, directory| {
        out.i16(directory.error_code);
        out.string(&directory.log_dir);
        out.list(&directory.topics, |out, topic| {
            out.string(&topic.name);
            out.list(&topic.partitions, |out, partition| {
                out.i32(partition.partition_index);
                out.i64(partition.partition_size);
                out.i64(partition.offset_lag);
                out.bool(partition.is_future_key);
                out.tags(&[]);
            });
            out.tags(&[]);
        });
        out.i64(directory.total_bytes);
        out.i64(directory.usable_bytes);
        // Cordoned directories (KIP-1066) take no new partitions; ours is never one.
        out.bool(false);
        out.tags(&[]);
    });
    out.tags(&[]);
    out.into_bytes()
}
