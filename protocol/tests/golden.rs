//! Bytes that Apache Kafka's own encoders made (`golden/Generate.java`): we read its requests and
//! batches, and write its Fetch responses and batches byte for byte.

use bytes::Bytes;
use protocol::api::{API_VERSIONS, SERVED};
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, Codec, HEADER_BYTES, check_crc};
use protocol::compression::decompress;
use protocol::fetch_response::{
    FetchPartitionReply, FetchReply, FetchTopicReply, Part, RecordsByReference, encode,
};
use protocol::record::{RecordView, walk};
use protocol::request::{Decoded, Request, RequestError, decode};
use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use uuid::Uuid;

fn lines(file: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| std::str::from_utf8(pair).expect("hex is ASCII").to_owned();
    let byte = |pair: &[u8]| u8::from_str_radix(&digits(pair), 16).expect("two digits");
    hex.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn kafkas_requests_are_read_in_every_version() {
    let mut read = Vec::new();
    for line in lines(include_str!("golden/requests.hex")) {
        let [key, version, fill, hex] = line[..] else { panic!("{line:?}") };
        let (key, version) = (key.parse().unwrap(), version.parse().unwrap());
        let outcome = decode(Bytes::from(bytes(hex)));
        // The file may run ahead of what is served.
        let Some(spec) = protocol::api::spec(key) else {
            assert_eq!(outcome.unwrap_err(), RequestError::UnknownApi(key));
            continue;
        };
        let newer = version > spec.version_max;
        match outcome {
            Ok(Decoded::Request(header, _)) if !newer => {
                assert_eq!((header.api_key, header.api_version), (key, version));
                let client_id = [("full", Some("text")), ("null", None), ("empty", Some(""))];
                assert!(client_id.contains(&(fill, header.client_id.as_deref())));
                read.push((key, version));
            }
            Ok(Decoded::ApiVersionsTooNew(_)) if newer && key == API_VERSIONS => {}
            Err(RequestError::UnsupportedVersion { .. }) if newer && key != API_VERSIONS => {}
            outcome => panic!("{} {version} {fill}: {outcome:?}", spec.name),
        }
    }
    for spec in SERVED {
        for version in spec.version_decoded_min..=spec.version_max {
            assert!(read.contains(&(spec.key, version)), "{} {version}", spec.name);
        }
    }
}

#[test]
fn a_full_request_means_what_kafka_means() {
    let produce = lines(include_str!("golden/requests.hex"))
        .find(|line| line[..3] == ["0", "13", "full"])
        .map(|line| Bytes::from(bytes(line[3])));
    let Ok(Decoded::Request(header, Request::Produce(produce))) = decode(produce.unwrap()) else {
        panic!("it is a Produce request");
    };
    assert_eq!(header.correlation_id, 0x3132_3334);
    assert_eq!(produce.transactional_id.as_ref().map(|id| id.as_str()), Some("text"));
    assert_eq!((produce.acks, produce.timeout_ms), (0x2122, 0x3132_3334));
    let id = Uuid::from_u128(0x5152_5354_5556_5758_595a_5b5c_5d5e_5f50);
    assert_eq!(produce.topic_data.len(), 2);
    for topic in &produce.topic_data {
        assert_eq!((topic.topic_id, topic.partition_data.len()), (id, 2));
        for partition in &topic.partition_data {
            assert_eq!(partition.index, 0x3132_3334);
            assert_eq!(partition.records.as_deref(), Some(b"text".as_slice()));
        }
    }
}

fn large_value() -> Vec<u8> {
    b"all work and no play ".repeat(60)
}

#[test]
fn kafkas_batches_are_read_in_every_codec() {
    let large = large_value();
    for line in lines(include_str!("golden/batches.hex")) {
        let [codec, hex] = line[..] else { panic!("{line:?}") };
        let batch = bytes(hex);
        let header = check_crc(&batch).unwrap();
        assert_eq!(header.batch_bytes(), batch.len());
        assert_eq!((header.base_offset, header.next_offset()), (Offset::ZERO, Offset::new(3)));
        assert_eq!(header.base_timestamp, Timestamp::new(1_700_000_000_000));
        assert_eq!(header.max_timestamp, Timestamp::new(1_700_000_000_250));
        assert_eq!(header.producer_id, ProducerId::new(4_000));
        assert_eq!(header.producer_epoch, ProducerEpoch::new(7));
        assert_eq!(
            (header.base_sequence, header.last_sequence()),
            (Sequence::new(9), Sequence::new(11))
        );
        let used = header.attributes.codec().unwrap();
        assert_eq!(format!("{used:?}").to_lowercase(), codec);

        let payload = decompress(used, &batch[HEADER_BYTES..], 1 << 20).unwrap();
        let records: Result<Vec<_>, _> = walk(&payload, header.record_count).unwrap().collect();
        let record = |offset_delta, timestamp_delta, key, value| RecordView {
            offset_delta,
            timestamp_delta,
            key,
            value,
            header_bytes: b"\0",
        };
        let first = RecordView {
            header_bytes: b"\x04\x0atrace\x04\x01\x02\x0atrace\x01",
            ..record(0, 0, Some(b"key"), Some(&large))
        };
        let second = record(1, 250, None, Some(b"value"));
        let third = record(2, -10, Some(b"gone"), None);
        assert_eq!(records.unwrap(), [first, second, third], "{codec}");
    }
}

#[test]
fn the_builder_writes_kafkas_batch() {
    let large = large_value();
    let record = |timestamp, key, value| NewRecord {
        timestamp: Timestamp::new(timestamp),
        key,
        value,
        headers: &[],
    };
    let first = NewRecord {
        headers: &[("trace", Some(&[1, 2])), ("trace", None)],
        ..record(1_700_000_000_000, Some(b"key"), Some(&large))
    };
    let batch = BatchBuilder::new(Attributes::new(Codec::None))
        .with_producer(ProducerId::new(4_000), ProducerEpoch::new(7), Sequence::new(9))
        .with_record(&first)
        .with_record(&record(1_700_000_000_250, None, Some(b"value")))
        .with_record(&record(1_699_999_999_990, Some(b"gone"), None))
        .build()
        .unwrap();
    let golden = lines(include_str!("golden/batches.hex")).find(|line| line[0] == "none");
    assert_eq!(batch, bytes(golden.unwrap()[1]));
}

struct Blob(&'static [u8]);

impl RecordsByReference for Blob {
    fn records_bytes(&self) -> usize {
        self.0.len()
    }
}

/// What `Generate.java` makes of the same content.
fn reply() -> FetchReply<Blob> {
    let bare = FetchPartitionReply {
        partition: 2,
        error_code: 0,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging_epoch: None,
        current_leader: None,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: None,
    };
    let full = FetchPartitionReply {
        partition: 1,
        error_code: 6,
        high_watermark: 1_000,
        last_stable_offset: 900,
        log_start_offset: 10,
        diverging_epoch: Some((3, 77)),
        current_leader: Some((2, 4)),
        aborted_transactions: Some(vec![(4_000, 5), (4_001, 6)]),
        preferred_read_replica: 3,
        records: Some(Blob(b"records")),
    };
    let topic = FetchTopicReply {
        name: "topic".into(),
        id: Uuid::from_u64_pair(7, 8),
        partitions: vec![full, bare].into(),
    };
    FetchReply {
        throttle_ms: 5,
        error_code: 0,
        session_id: 12,
        topics: vec![topic].into(),
        node_endpoints: vec![
            (2, "broker-2.example".into(), 9_092, Some("rack".into())),
            (3, "broker-3.example".into(), 9_093, None),
        ],
    }
}

#[test]
fn fetch_responses_are_kafkas_in_every_version() {
    let mut versions = 4..;
    for line in lines(include_str!("golden/fetch_responses.hex")) {
        let [version, hex] = line[..] else { panic!("{line:?}") };
        let version = version.parse().unwrap();
        assert_eq!(versions.next(), Some(version));
        let part = |part| match part {
            Part::Bytes(bytes) => bytes.to_vec(),
            Part::Records(Blob(bytes)) => bytes.to_vec(),
        };
        let frame: Vec<u8> = encode(1, version, reply()).into_iter().flat_map(part).collect();
        let header_bytes = if version >= 12 { 9 } else { 8 };
        assert_eq!(frame[header_bytes..], bytes(hex), "version {version}");
    }
    assert_eq!(versions.next(), Some(19));
}
