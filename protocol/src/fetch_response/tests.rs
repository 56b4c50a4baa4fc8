//! Our framing against the codec library's encoder, byte for byte, in every version.

use kafka_protocol::messages as m;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;

#[derive(Debug, Clone)]
struct Blob(Bytes);

impl RecordsByReference for Blob {
    fn records_bytes(&self) -> usize {
        self.0.len()
    }
}

fn partition(partition: i32, records: Option<Vec<u8>>) -> FetchPartitionReply<Blob> {
    FetchPartitionReply {
        partition,
        error_code: 0,
        high_watermark: 1_000,
        last_stable_offset: 900,
        log_start_offset: 10,
        diverging_epoch: None,
        current_leader: None,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: records.map(|bytes| Blob(bytes.into())),
    }
}

fn topic(name: &str, partitions: Vec<FetchPartitionReply<Blob>>) -> FetchTopicReply<Blob> {
    FetchTopicReply {
        name: name.into(),
        id: Uuid::from_u128(0xabcd),
        partitions: partitions.into(),
    }
}

fn reply(topics: Vec<FetchTopicReply<Blob>>) -> FetchReply<Blob> {
    FetchReply {
        throttle_ms: 5,
        error_code: 0,
        session_id: 0,
        topics: topics.into(),
        node_endpoints: vec![],
    }
}

/// The same content through the codec library, whose defaults stand where a version lacks a field.
fn by_the_codec(correlation_id: i32, version: i16, reply: &FetchReply<Blob>) -> Vec<u8> {
    let text = |text: &str| StrBytes::from_string(text.into());
    let partition = |p: &FetchPartitionReply<Blob>| {
        let mut data = PartitionData::default()
            .with_partition_index(p.partition)
            .with_error_code(p.error_code)
            .with_high_watermark(p.high_watermark)
            .with_last_stable_offset(p.last_stable_offset)
            .with_log_start_offset(p.log_start_offset)
            .with_aborted_transactions(p.aborted_transactions.as_ref().map(|aborted| {
                let one = |(producer_id, first_offset): &(i64, i64)| {
                    AbortedTransaction::default()
                        .with_producer_id((*producer_id).into())
                        .with_first_offset(*first_offset)
                };
                aborted.iter().map(one).collect()
            }))
            .with_records(Some(p.records.clone().map_or_else(Bytes::new, |blob| blob.0)));
        if version >= 11 {
            data = data.with_preferred_read_replica(p.preferred_read_replica.into());
        }
        if let Some((epoch, end_offset)) = p.diverging_epoch {
            data.diverging_epoch =
                EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
        }
        if let Some((leader_id, leader_epoch)) = p.current_leader {
            data.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(leader_id.into())
                .with_leader_epoch(leader_epoch);
        }
        data
    };
    let topic = |t: &FetchTopicReply<Blob>| {
        FetchableTopicResponse::default()
            .with_topic(text(&t.name).into())
            .with_topic_id(t.id)
            .with_partitions(t.partitions.iter().map(partition).collect())
    };
    let endpoint = |(id, host, port, rack): &(i32, String, i32, Option<String>)| {
        NodeEndpoint::default()
            .with_node_id((*id).into())
            .with_host(text(host))
            .with_port(*port)
            .with_rack(rack.as_deref().map(text))
    };
    let mut response = m::FetchResponse::default()
        .with_throttle_time_ms(reply.throttle_ms)
        .with_responses(reply.topics.iter().map(topic).collect())
        .with_node_endpoints(reply.node_endpoints.iter().map(endpoint).collect());
    if version >= 7 {
        response = response.with_error_code(reply.error_code).with_session_id(reply.session_id);
    }
    let mut body = BytesMut::new();
    let header_version = m::ApiKey::Fetch.response_header_version(version);
    let header = m::ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut body, header_version).unwrap();
    response.encode(&mut body, version).unwrap();
    let mut frame = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

fn concatenated(parts: &[Part<Blob>]) -> Vec<u8> {
    let bytes = |part: &Part<Blob>| match part {
        Part::Bytes(bytes) | Part::Records(Blob(bytes)) => bytes.clone(),
    };
    parts.iter().flat_map(bytes).collect()
}

#[track_caller]
fn check(make: impl Fn() -> FetchReply<Blob>) {
    for version in VERSIONS {
        let parts = encode(99, version, make());
        assert_eq!(concatenated(&parts), by_the_codec(99, version, &make()), "version {version}");
    }
}

#[test]
fn empty_response() {
    check(|| reply(vec![]));
    check(|| FetchReply { session_id: 12, error_code: 70, ..reply(vec![]) });
}

#[test]
fn records_of_every_length_class() {
    for bytes in [0, 1, 126, 127, 128, 16_382, 16_383, 16_384, 3 << 20] {
        check(|| reply(vec![topic("t", vec![partition(0, Some(vec![7; bytes]))])]));
    }
    check(|| reply(vec![topic("t", vec![partition(0, None)])]));
}

#[test]
fn many_topics_and_partitions() {
    check(|| {
        let some = |index: i32| {
            let records = (index % 3 != 0).then(|| vec![9; 40 * usize::try_from(index).unwrap()]);
            partition(index, records)
        };
        let name = "x".repeat(249);
        let topics =
            vec![topic(&name, (0..200).map(some).collect()), topic("b", vec![]), topic("", vec![])];
        FetchReply { session_id: 5, ..reply(topics) }
    });
}

#[test]
fn every_optional_field() {
    check(|| {
        let full = FetchPartitionReply {
            error_code: 6,
            diverging_epoch: Some((3, 77)),
            current_leader: Some((2, 4)),
            aborted_transactions: Some(vec![(4_000, 5), (4_001, 6)]),
            preferred_read_replica: 3,
            ..partition(1, Some(vec![1, 2, 3]))
        };
        let leader_only = FetchPartitionReply {
            current_leader: Some((2, 4)),
            aborted_transactions: Some(vec![]),
            ..partition(2, None)
        };
        let topics = vec![topic("t", vec![full, leader_only])];
        let node_endpoints = vec![
            (2, "broker-2.example".into(), 9_092, Some("rack".into())),
            (3, "h".repeat(200), 9_093, None),
        ];
        FetchReply { node_endpoints, ..reply(topics) }
    });
}

#[test]
fn defaults_are_never_written_as_tagged_fields() {
    check(|| {
        let unknown = FetchPartitionReply {
            diverging_epoch: Some((-1, -1)),
            current_leader: Some((-1, -1)),
            ..partition(0, None)
        };
        reply(vec![topic("t", vec![unknown])])
    });
}

#[test]
fn records_are_parts_of_their_own_and_fields_between_them_share_one() {
    let partitions =
        vec![partition(0, Some(vec![1; 10])), partition(1, None), partition(2, Some(vec![2; 20]))];
    let parts = encode(1, 16, reply(vec![topic("t", partitions)]));
    let shape: Vec<_> = parts
        .iter()
        .map(|part| match part {
            Part::Bytes(_) => None,
            Part::Records(blob) => Some(blob.records_bytes()),
        })
        .collect();
    assert_eq!(shape, [None, Some(10), None, Some(20), None]);
}
