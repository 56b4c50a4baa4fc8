//! Versions that the codec crate lacks: answers are those of Apache Kafka's own encoders
//! (`golden/Generate.java`), byte for byte. Its requests in these versions are read in `golden.rs`.

use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Message, StrBytes};
use protocol::response::Response;

/// Frame bytes before the body: length, correlation id, no tagged fields.
const HEAD_BYTES: usize = 9;

fn twice<T: Clone>(one: T) -> Vec<T> {
    vec![one.clone(), one]
}

fn topic() -> m::TopicName {
    StrBytes::from_static_str("topic").into()
}

fn list_offsets() -> m::ListOffsetsResponse {
    use m::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let partition = ListOffsetsPartitionResponse::default()
        .with_partition_index(1)
        .with_error_code(6)
        .with_timestamp(1_000)
        .with_offset(77)
        .with_leader_epoch(3);
    let topic =
        ListOffsetsTopicResponse::default().with_name(topic()).with_partitions(twice(partition));
    m::ListOffsetsResponse::default().with_throttle_time_ms(5).with_topics(twice(topic))
}

fn log_dirs() -> m::DescribeLogDirsResponse {
    use m::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };
    let partition = DescribeLogDirsPartition::default()
        .with_partition_index(1)
        .with_partition_size(1_000)
        .with_offset_lag(7)
        .with_is_future_key(true);
    let topic =
        DescribeLogDirsTopic::default().with_name(topic()).with_partitions(twice(partition));
    let directory = DescribeLogDirsResult::default()
        .with_error_code(56)
        .with_log_dir(StrBytes::from_static_str("/data"))
        .with_topics(twice(topic))
        .with_total_bytes(4_000)
        .with_usable_bytes(3_000);
    m::DescribeLogDirsResponse::default()
        .with_throttle_time_ms(5)
        .with_error_code(31)
        .with_results(twice(directory))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| std::str::from_utf8(pair).expect("hex is ASCII").to_owned();
    let byte = |pair: &[u8]| u8::from_str_radix(&digits(pair), 16).expect("two digits");
    hex.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn answers_are_kafkas() {
    let golden = include_str!("golden/newer_responses.hex").lines();
    let mut golden = golden.filter(|line| !line.starts_with('#'));
    for (response, key, codec_max) in [
        (Response::ListOffsets(list_offsets()), 2, m::ListOffsetsResponse::VERSIONS.max),
        (Response::DescribeLogDirs(log_dirs()), 35, m::DescribeLogDirsResponse::VERSIONS.max),
    ] {
        let version = codec_max + 1;
        let line: Vec<_> = golden.next().expect("a line of each").split(' ').collect();
        assert_eq!(line[..2], [key.to_string(), version.to_string()]);
        let frame = response.encode(7, version).expect("every field has its place");
        assert_eq!(frame[HEAD_BYTES..], bytes(line[2]), "{key} {version}");
        let newest = protocol::api::spec(key).map(|spec| spec.version_max);
        assert_eq!(newest, Some(version), "of API key {key}");
    }
    assert_eq!(golden.next(), None);
}
