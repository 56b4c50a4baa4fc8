//! Versions that the codec crate lacks: answers are those of Apache Kafka's own encoders
//! (`golden/Generate.java`), byte for byte. Its requests in these versions are read in `golden.rs`.

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::protocol::StrBytes;
use protocol::request::{Decoded, Request, decode};
use protocol::response::Response;
use uuid::Uuid;

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

fn offset_commit() -> m::OffsetCommitResponse {
    use m::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    let partition =
        OffsetCommitResponsePartition::default().with_partition_index(1).with_error_code(12);
    let topic = OffsetCommitResponseTopic::default()
        .with_topic_id(Uuid::from_u64_pair(7, 8))
        .with_partitions(twice(partition));
    m::OffsetCommitResponse::default().with_throttle_time_ms(5).with_topics(twice(topic))
}

fn offset_fetch() -> m::OffsetFetchResponse {
    use m::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
    };
    let noted = OffsetFetchResponsePartitions::default()
        .with_partition_index(1)
        .with_committed_offset(1_000)
        .with_committed_leader_epoch(3)
        .with_metadata(Some(StrBytes::from_static_str("note")))
        .with_error_code(88);
    let bare = OffsetFetchResponsePartitions::default()
        .with_partition_index(2)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(None);
    let topic = OffsetFetchResponseTopics::default()
        .with_topic_id(Uuid::from_u64_pair(7, 8))
        .with_partitions(vec![noted, bare]);
    let group = OffsetFetchResponseGroup::default()
        .with_group_id(StrBytes::from_static_str("group").into())
        .with_error_code(15)
        .with_topics(twice(topic));
    m::OffsetFetchResponse::default().with_throttle_time_ms(5).with_groups(twice(group))
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
    for (response, key, version) in [
        (Response::ListOffsets(list_offsets()), 2, 11),
        (Response::OffsetCommit(offset_commit()), 8, 10),
        (Response::OffsetFetch(offset_fetch()), 9, 10),
        (Response::DescribeLogDirs(log_dirs()), 35, 5),
    ] {
        let line: Vec<_> = golden.next().expect("a line of each").split(' ').collect();
        assert_eq!(line[..2], [key.to_string(), version.to_string()]);
        let frame = response.encode(7, version).expect("every field has its place");
        assert_eq!(frame[HEAD_BYTES..], bytes(line[2]), "{key} {version}");
        let newest = protocol::api::spec(key).map(|spec| spec.version_max);
        assert_eq!(newest, Some(version), "of API key {key}");
    }
    assert_eq!(golden.next(), None);
}

/// What `Generate.java` fills every field with.
const ID: Uuid = Uuid::from_u128(0x5152_5354_5556_5758_595a_5b5c_5d5e_5f50);
const NUMBER: i32 = 0x3132_3334;
const LONG: i64 = 0x4142_4344_4546_4748;

/// A request of Kafka's encoder, by API key, version and what is filled.
fn golden_request(words: [&str; 3]) -> Request {
    let lines = include_str!("golden/requests.hex").lines();
    let line =
        lines.map(|line| line.split(' ').collect::<Vec<_>>()).find(|line| line[..3] == words);
    match decode(Bytes::from(bytes(line.expect("such a line")[3]))) {
        Ok(Decoded::Request(_, request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_commit_by_topic_id_means_what_kafka_means() {
    let Request::OffsetCommit(full) = golden_request(["8", "10", "full"]) else {
        panic!("an OffsetCommit")
    };
    let ids = (full.group_id.as_str(), full.member_id.as_str());
    assert_eq!((ids, full.generation_id_or_member_epoch), (("text", "text"), NUMBER));
    assert_eq!(full.group_instance_id.as_deref(), Some("text"));
    assert_eq!(full.topics.len(), 2);
    for topic in &full.topics {
        assert_eq!((topic.topic_id, topic.name.as_str(), topic.partitions.len()), (ID, "", 2));
        for partition in &topic.partitions {
            let numbers = (partition.partition_index, partition.committed_offset);
            assert_eq!((numbers, partition.committed_leader_epoch), ((NUMBER, LONG), NUMBER));
            assert_eq!(partition.committed_metadata.as_deref(), Some("text"));
        }
    }
    let Request::OffsetCommit(null) = golden_request(["8", "10", "null"]) else {
        panic!("an OffsetCommit")
    };
    assert_eq!(null.group_instance_id, None);
    assert_eq!(null.topics[0].partitions[0].committed_metadata, None);
}

#[test]
fn an_offset_fetch_by_topic_id_means_what_kafka_means() {
    let Request::OffsetFetch(full) = golden_request(["9", "10", "full"]) else {
        panic!("an OffsetFetch")
    };
    assert_eq!((full.groups.len(), full.require_stable), (2, true));
    for group in &full.groups {
        assert_eq!((group.group_id.as_str(), group.member_epoch), ("text", NUMBER));
        assert_eq!(group.member_id.as_deref(), Some("text"));
        for topic in group.topics.as_ref().expect("topics") {
            assert_eq!(
                (topic.topic_id, topic.partition_indexes.as_slice()),
                (ID, &[NUMBER; 2][..])
            );
        }
    }
    let Request::OffsetFetch(null) = golden_request(["9", "10", "null"]) else {
        panic!("an OffsetFetch")
    };
    assert_eq!((&null.groups[0].topics, &null.groups[0].member_id), (&None, &None));
}
