//! What the walk refuses, flaw by flaw. That it passes every sound request, in every version, is
//! shown in `tests/hostile`, where the codec encodes them.

use super::*;
use crate::api;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const DELETE_TOPICS: i16 = 20;
const INIT_PRODUCER_ID: i16 = 22;
const DESCRIBE_LOG_DIRS: i16 = 35;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

fn walk(key: i16, version: i16, rest: &[u8]) -> Result<Passed, GuardError> {
    check(api::spec(key).unwrap(), version, rest)
}

#[track_caller]
fn refused(key: i16, version: i16, rest: &[u8], flaw: Flaw, field: &str, position: usize) {
    let error = walk(key, version, rest).unwrap_err();
    assert_eq!((error.flaw, error.field, error.position), (flaw, field, position));
}

#[test]
fn header_tags_are_counted_in_flexible_versions_only() {
    assert_eq!(walk(METADATA, 1, &[0, 0, 0, 0]), Ok(Passed { header_end: 0, body_end: 4 }));
    assert_eq!(walk(METADATA, 9, &[0, 1, 0, 0, 0, 0]), Ok(Passed { header_end: 1, body_end: 6 }));
    assert_eq!(
        walk(METADATA, 9, &[1, 5, 2, 8, 8, 1, 0, 0, 0, 0]),
        Ok(Passed { header_end: 5, body_end: 10 })
    );
}

#[test]
fn null_stands_only_where_the_version_allows_it() {
    refused(METADATA, 0, &[0xff; 4], Flaw::Negative, "topics", 4);
    assert!(walk(METADATA, 1, &[0xff; 4]).is_ok());
    refused(METADATA, 1, &[0xff, 0xff, 0xff, 0xfe], Flaw::Negative, "topics", 4);
    // A topic by name, null from version 10 on.
    refused(METADATA, 9, &[0, 2, 0, 0, 0, 0, 0, 0], Flaw::Negative, "name", 3);
    let by_id = [[0, 2].as_slice(), &[7; 16], &[0, 0, 0, 0, 0, 0]].concat();
    assert!(walk(METADATA, 10, &by_id).is_ok());
    // Producers without transactions, and a question about all topics.
    assert!(walk(PRODUCE, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0]).is_ok());
    assert!(walk(INIT_PRODUCER_ID, 0, &[0xff, 0xff, 0, 0, 0, 9]).is_ok());
    assert!(walk(DESCRIBE_LOG_DIRS, 1, &[0xff; 4]).is_ok());
    // Elements of an array of names are never null.
    refused(DELETE_TOPICS, 3, &[0, 0, 0, 1, 0xff, 0xff], Flaw::Negative, "topic_names", 6);
}

#[test]
fn lengths_end_within_the_frame() {
    refused(METADATA, 1, &[0, 0, 0], Flaw::Truncated, "topics", 0);
    refused(METADATA, 1, &[0, 0, 0, 9, 0, 1, b't'], Flaw::Truncated, "topics", 4);
    refused(METADATA, 1, &[0, 0, 0, 1, 0, 2, b't'], Flaw::Truncated, "name", 6);
    refused(METADATA, 9, &[1, 5, 9, 8, 8], Flaw::Truncated, "tagged fields", 3);
    refused(METADATA, 9, &[0, 0x80, 0x80, 0x80, 0x80, 0x10], Flaw::Varint, "topics", 6);
}

#[test]
fn text_has_kafkas_limit_also_where_its_length_could_be_larger() {
    let name = |bytes: u16| {
        let [high, low] = (bytes + 1).to_be_bytes();
        let compact = [low | 0x80, (high << 1) | (low >> 7) | 0x80, high >> 6];
        [&[0, 2], compact.as_slice(), &vec![b'x'; bytes.into()], &[0, 0, 0, 0, 0]].concat()
    };
    assert!(walk(METADATA, 9, &name(0x7fff)).is_ok());
    refused(METADATA, 9, &name(0x8000), Flaw::TextTooLong(0x8000), "name", 5);
}

#[test]
fn bytes_after_the_last_field_are_not_part_of_the_request() {
    let passed = walk(METADATA, 1, &[0, 0, 0, 0, 1, 2]);
    assert_eq!(passed, Ok(Passed { header_end: 0, body_end: 4 }));
    // How librdkafka 2.16.0 asks for all topics: Kafka reads null, false, false and no tagged field.
    let all_topics = [0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(walk(METADATA, 13, &all_topics), Ok(Passed { header_end: 1, body_end: 5 }));
}

#[test]
fn presence_is_one_or_minus_one() {
    let with = |presence: u8| [0, 1, 0, 0, 0, 0, presence, 0];
    assert!(walk(DESCRIBE_TOPIC_PARTITIONS, 0, &with(0xff)).is_ok());
    refused(DESCRIBE_TOPIC_PARTITIONS, 0, &with(2), Flaw::Presence(2), "cursor", 7);
}

#[test]
fn known_tagged_fields_fill_their_size_exactly() {
    let request = |tags: &[u8]| [&[0], [0; 25].as_slice(), &[1, 1, 1], tags].concat();
    assert!(walk(FETCH, 12, &request(&[0])).is_ok());
    assert!(walk(FETCH, 12, &request(&[1, 0, 3, 3, b'i', b'd'])).is_ok());
    // Null, which the codec never writes but a client may.
    assert!(walk(FETCH, 12, &request(&[1, 0, 1, 0])).is_ok());
    let slack = request(&[1, 0, 4, 3, b'i', b'd', 0]);
    refused(FETCH, 12, &slack, Flaw::TagSlack(1), "cluster_id", 35);
    let short = request(&[1, 0, 2, 3, b'i', b'd']);
    refused(FETCH, 12, &short, Flaw::Truncated, "cluster_id", 33);
}

#[test]
fn a_tag_is_known_from_its_first_version_on() {
    // One topic by id with one partition; tags of the partition, then tags of the request.
    let request = |partition_tags: &[u8], tags: &[u8]| {
        let topic = [[2].as_slice(), &[7; 16], &[2], &[0; 32], partition_tags, &[0]].concat();
        [[0; 22].as_slice(), &topic, &[1, 1], tags].concat()
    };
    let with_replica_id = |tags: &[u8]| {
        let later = request(&[0], tags);
        [&later[..1], &[0; 4], &later[1..]].concat()
    };
    assert!(walk(FETCH, 15, &request(&[0], &[0])).is_ok());
    // An unknown tag may hold anything, a known one may not.
    assert!(walk(FETCH, 14, &with_replica_id(&[1, 1, 1, 9])).is_ok());
    let outcome = walk(FETCH, 15, &request(&[0], &[1, 1, 1, 9])).map_err(|error| error.field);
    assert_eq!(outcome, Err("replica_id"));
    for (first, tag, field) in [(17, 0, "replica_directory_id"), (18, 1, "high_watermark")] {
        let frame = request(&[1, tag, 1, 9], &[0]);
        assert!(walk(FETCH, first - 1, &frame).is_ok());
        assert_eq!(walk(FETCH, first, &frame).map_err(|error| error.field), Err(field));
    }
}

#[test]
fn what_decoding_may_allocate_grows_with_the_frame_up_to_a_limit() {
    assert_eq!(decoded_bytes_max(0), DECODED_FREE_BYTES);
    assert!(decoded_bytes_max(1 << 20) > decoded_bytes_max(0));
    assert_eq!(decoded_bytes_max(usize::MAX), DECODED_TOTAL_BYTES_MAX);

    let names =
        |count: u32| [count.to_be_bytes().as_slice(), &[0; 2].repeat(count as usize)].concat();
    assert!(walk(METADATA, 1, &names(10_000)).is_ok());
    refused(METADATA, 1, &names(100_000), Flaw::Amplification, "topics", 4);
}
