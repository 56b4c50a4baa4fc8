//! ListOffsets 0, which Apache Kafka 4 no longer serves and no codec knows. The Burrow of Debian asks it
//! for the ends of logs, whatever a broker advertises; so it is answered, and not advertised.
//!
//! ```text
//! request   i32 replica ┼ [topic name ┼ [i32 partition ┼ i64 timestamp ┼ i32 offsets at most]]
//! response  [topic name ┼ [i32 partition ┼ i16 error ┼ [i64 offset]]]
//! ```
//! It is read as version 1, and answered with one offset or, beside an error, none. The guard does not
//! know this version: what is read here grows as elements come, within a frame that is small.

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{self as m, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::request::Request;
use crate::response::Response;
use crate::wire::{Form, Reader, WireError, Writer};

const LIST_OFFSETS: i16 = 2;

/// Largest request, in bytes. Burrow asks for each partition of a broker once.
const REQUEST_BYTES_MAX: usize = 256 << 10;

/// Reads the body of a request in a version that the table does not have; `None` if nor has this.
pub(crate) fn decode(
    api_key: i16,
    version: i16,
    body: &[u8],
) -> Option<Result<Request, WireError>> {
    let is_known = (api_key, version) == (LIST_OFFSETS, 0) && body.len() <= REQUEST_BYTES_MAX;
    is_known.then(|| list_offsets(body).map(Request::ListOffsets))
}

fn list_offsets(body: &[u8]) -> Result<m::ListOffsetsRequest, WireError> {
    let mut fields = Reader::new(body, Form::Plain);
    let replica_id = fields.i32("the replica")?;
    let topics = fields.list("the topics", |fields| {
        let name = StrBytes::from_string(fields.string("a topic")?.to_owned());
        let partitions = fields.list("the partitions", |fields| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(fields.i32("a partition")?)
                .with_timestamp(fields.i64("a time")?);
            fields.i32("how many offsets")?;
            Ok(partition)
        })?;
        Ok(ListOffsetsTopic::default().with_name(TopicName(name)).with_partitions(partitions))
    })?;
    fields.end()?;
    Ok(m::ListOffsetsRequest::default().with_replica_id(replica_id.into()).with_topics(topics))
}

/// The body of a response in such a version, with its API key.
pub(crate) fn encode(response: &Response, version: i16) -> Option<(i16, Vec<u8>)> {
    let (Response::ListOffsets(response), 0) = (response, version) else { return None };
    let mut out = Writer::new(Form::Plain);
    out.list(&response.topics, |out, topic| {
        out.string(&topic.name);
        out.list(&topic.partitions, |out, partition| {
            out.i32(partition.partition_index);
            out.i16(partition.error_code);
            let offsets =
                if partition.error_code == 0 { vec![partition.offset] } else { Vec::new() };
            out.list(&offsets, |out, offset| out.i64(*offset));
        });
    });
    Some((LIST_OFFSETS, out.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Decoded, RequestError, decode};
    use bytes::Bytes;
    use kafka_protocol::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    /// As sarama 1.22 in Burrow sends it: the end of partition 1 of topic "t".
    const REQUEST: &[u8] = b"\0\x02\0\0\0\0\0\x05\0\x01b\xff\xff\xff\xff\0\0\0\x01\0\x01t\
        \0\0\0\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01";

    #[test]
    fn a_request_for_the_end_of_a_partition() {
        let decoded = decode(Bytes::from_static(REQUEST)).expect("a sound request");
        let Decoded::Request(header, Request::ListOffsets(request)) = decoded else { panic!() };
        assert_eq!((header.api_version, header.correlation_id), (0, 5));
        assert_eq!(request.topics[0].name.as_str(), "t");
        let partition = &request.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.timestamp), (1, -1));
    }

    #[test]
    fn no_part_of_it_and_nothing_more_is_a_request() {
        for length in 12..REQUEST.len() {
            let outcome = decode(Bytes::copy_from_slice(&REQUEST[..length]));
            assert!(matches!(outcome, Err(RequestError::Malformed { .. })), "{length}");
        }
        let longer = [REQUEST, b"x"].concat();
        assert!(matches!(decode(longer.into()), Err(RequestError::Malformed { .. })));
        let larger = [REQUEST, &vec![0; REQUEST_BYTES_MAX]].concat();
        assert!(matches!(decode(larger.into()), Err(RequestError::UnsupportedVersion { .. })));
    }

    #[test]
    fn one_offset_or_an_error() {
        let found = |error_code, offset| {
            let partition = ListOffsetsPartitionResponse::default()
                .with_partition_index(1)
                .with_error_code(error_code)
                .with_offset(offset);
            let topic = ListOffsetsTopicResponse::default()
                .with_name(TopicName(StrBytes::from_static_str("t")))
                .with_partitions(vec![partition]);
            let response = m::ListOffsetsResponse::default().with_topics(vec![topic]);
            Response::ListOffsets(response).encode(5, 0).expect("version 0 is known")
        };
        let head = b"\0\0\0\x05\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x01";
        let one = [head.as_slice(), b"\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07"].concat();
        assert_eq!(found(0, 7)[4..], one);
        assert_eq!(found(3, -1)[4..], [head.as_slice(), b"\0\x03\0\0\0\0"].concat());
    }
}
