//! Frames, versions and order on a connection, as `ApiVersions` and the first bytes decide them.

use bytes::{Buf, Bytes};
use harness::batch::{ANONYMOUS, batch_of};
use harness::calls::{FETCH, PRODUCE, fetch_request, produce_request};
use harness::codes;
use harness::deadline::now_ms;
use harness::program::run_with_text;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, encode, header_bytes, text};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Decodable, Message, Request};
use std::process::Command;

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("harness"))
        .with_client_software_version(text("1.0"))
}

/// Still in order: the answer to the next request is the one that comes next.
fn assert_serves(connection: &mut Connection) {
    let answer = connection.call(3, &api_versions());
    assert_eq!(answer.error_code, codes::NONE);
}

/// Correlation id and body of an ApiVersions response in version 0, which has no header fields.
fn decode_v0(mut frame: Bytes) -> (i32, ApiVersionsResponse) {
    let correlation_id = frame.get_i32();
    let response = ApiVersionsResponse::decode(&mut frame, 0).expect("a body in version 0");
    assert!(!frame.has_remaining(), "{} bytes too many", frame.remaining());
    (correlation_id, response)
}

/// Behaviour 1: a client that is newer than the broker learns so and goes on.
#[test]
fn api_versions_above_ours_are_answered_in_version_0() {
    let target = Target::start();
    let mut connection = target.connect();
    let mut newer = header_bytes(ApiVersionsRequest::KEY, 99, 7, true);
    newer.extend_from_slice(&[8, b'h', b'a', b'r', b'n', b'e', b's', b's', 4, b'1', b'.', b'0', 0]);
    connection.send_frame(&newer);
    let (correlation_id, answer) = decode_v0(connection.receive_frame().unwrap());
    assert_eq!((correlation_id, answer.error_code), (7, codes::UNSUPPORTED_VERSION));
    let own = answer.api_keys.iter().find(|api| api.api_key == ApiVersionsRequest::KEY).unwrap();
    assert!(own.min_version == 0 && own.max_version >= 3, "{own:?}");
    assert_serves(&mut connection);
}

/// Behaviour 2: the header of the response never grows tagged fields.
#[test]
fn api_versions_answers_every_version_with_header_0() {
    let target = Target::start();
    let mut connection = target.connect();
    for version in ApiVersionsRequest::VERSIONS.min..=ApiVersionsRequest::VERSIONS.max {
        // The crate reads header 0 for all of them, and `receive` refuses bytes that are left.
        let request = if version < 3 { ApiVersionsRequest::default() } else { api_versions() };
        let answer = connection.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE, "version {version}");
        assert!(answer.api_keys.len() > 10, "version {version}");
    }
}

/// Behaviour 3: librdkafka before 2.9 compresses only where Produce 0 is advertised.
#[test]
fn produce_is_advertised_from_0_but_served_from_3() {
    let target = Target::start();
    let mut connection = target.connect();
    let answer = connection.call(3, &api_versions());
    let produce = answer.api_keys.iter().find(|api| api.api_key == ProduceRequest::KEY).unwrap();
    assert_eq!(produce.min_version, 0);
    for version in 0..3 {
        let mut connection = target.connect();
        let mut frame = header_bytes(ProduceRequest::KEY, version, 0, false);
        frame.extend_from_slice(&[0, 1, 0, 0, 0, 9, 0, 0, 0, 0]); // acks, timeout, no topics
        connection.send_frame(&frame);
        connection.expect_closed();
    }

    let topic = unique_topic("connection");
    connection.create_topic(&topic, 1, &[]);
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &target.kafka().to_string(), "-P", "-t", &topic, "-p", "0", "-z", "gzip"]);
    run_with_text(&mut kcat, &"the same line\n".repeat(100));
    let batch = connection.fetch(&topic, 0, 0).records.unwrap();
    assert_eq!(batch[harness::batch::field::ATTRIBUTES][1] & 7, 1, "gzip in the attributes");
}

/// Behaviour 4.
#[test]
fn api_versions_refuses_names_that_are_none() {
    let target = Target::start();
    for name in ["", "-x", "x-", "a b", "ü"] {
        let mut connection = target.connect();
        let request = api_versions().with_client_software_name(text(name));
        assert_eq!(connection.call(3, &request).error_code, codes::INVALID_REQUEST, "{name:?}");
    }
    let mut connection = target.connect();
    for name in ["a", "apache-kafka-java", "a.b-c.9"] {
        let request = api_versions().with_client_software_name(text(name));
        assert_eq!(connection.call(3, &request).error_code, codes::NONE, "{name:?}");
    }
}

/// Behaviour 5: clients before version 4 cannot parse a feature that starts at 0 (KAFKA-17492).
#[test]
fn api_versions_hides_features_that_start_at_0() {
    let target = Target::start();
    let mut connection = target.connect();
    let answer = connection.call(3, &api_versions());
    assert!(answer.supported_features.iter().all(|feature| feature.min_version > 0));
    if target.is_ours() {
        let switches_to_transactions_2 = answer.finalized_features.iter().any(|feature| {
            &*feature.name == "transaction.version" && feature.max_version_level >= 2
        });
        assert!(!switches_to_transactions_2, "transactions are not served yet");
    }
}

/// Behaviour 6: what cannot be answered in a way the client understands closes the connection.
#[test]
fn unknown_apis_versions_and_sizes_close_the_connection() {
    let target = Target::start();
    let unknown_version = header_bytes(MetadataRequest::KEY, 99, 0, true);
    let unknown_api = header_bytes(999, 0, 0, false);
    for frame in [&unknown_version[..], &unknown_api[..], &[], &[0], &[0, 3, 0]] {
        let mut connection = target.connect();
        connection.send_frame(frame);
        connection.expect_closed();
    }
    for size in [104_857_601_i32, i32::MAX, -1, i32::MIN] {
        let mut connection = target.connect();
        connection.send_bytes(&size.to_be_bytes());
        connection.expect_closed();
    }
    assert_serves(&mut target.connect());
}

/// Behaviour 7, with fetches that wait between requests that do not.
#[test]
fn responses_leave_in_request_order() {
    let target = Target::start();
    let topic = unique_topic("connection");
    let mut connection = target.connect();
    connection.create_topic(&topic, 1, &[]);
    let waiting = fetch_request(&topic, 0, 5).with_max_wait_ms(100);
    let mut sent = Vec::new();
    for number in 0..5 {
        let batch = batch_of(ANONYMOUS, &["value"], now_ms());
        let produce = connection.send(PRODUCE, &produce_request(&topic, 0, -1, batch));
        let fetch = connection.send(FETCH, &waiting);
        let metadata = connection.send(12, &MetadataRequest::default().with_topics(None));
        sent.push((number, produce, fetch, metadata));
    }
    for (number, produce, fetch, metadata) in sent {
        let answer = connection.receive::<ProduceRequest>(PRODUCE, produce);
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (codes::NONE, number));
        connection.receive::<FetchRequest>(FETCH, fetch);
        connection.receive::<MetadataRequest>(12, metadata);
    }
}

/// A frame may come in any pieces, and may end anywhere.
#[test]
fn pieces_and_halves_of_frames() {
    let target = Target::start();
    let mut connection = target.connect();
    let body = encode(3, 0, &api_versions());
    let size = i32::try_from(body.len()).unwrap();
    for byte in size.to_be_bytes().iter().chain(&body) {
        connection.send_bytes(&[*byte]);
    }
    assert!(connection.receive_frame().is_some(), "byte by byte is a frame too");
    for length in [1, 3, 4, 5, body.len()] {
        let mut connection = target.connect();
        let frame = [&size.to_be_bytes()[..], &body].concat();
        connection.send_bytes(&frame[..length]);
        connection.finish_sending();
        connection.expect_closed();
    }
    assert_serves(&mut target.connect());
}
