//! How often a produce and a fetch ask the allocator, from the socket to the socket: most of what a
//! small request costs, if nobody counts.
//!
//! Counted is the thread of the connections. The flusher's works for many requests at once.

use allocation_counter::measure;
use kafka_protocol::protocol::Encodable;
use tokio::runtime;

use super::*;
use crate::dispatch::dispatch;
use crate::test_node::{TestNode, batch, fetch_request, produce_request};

const PER_PRODUCE_MAX: u64 = 5;
/// Of a fetch without a session, of one partition. The codec's request takes three of them.
const PER_FETCH_MAX: u64 = 13;
const REQUESTS: usize = 512;
const IN_FLIGHT: usize = 32;
const FETCH: i16 = 1;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;

/// A request with a flexible header.
fn request_frame(api_key: i16, api_version: i16, request: &impl Encodable) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_i16(2);
    body.put_slice(b"me");
    body.put_u8(0);
    request.encode(&mut body, api_version).unwrap();
    let mut frame = Vec::new();
    frame.put_u32(u32::try_from(8 + body.len()).unwrap());
    frame.put_i16(api_key);
    frame.put_i16(api_version);
    frame.put_i32(7);
    frame.put_slice(&body);
    frame
}

/// A produce request for one partition, with one record of that size.
fn produce_frame(record_bytes: usize) -> Vec<u8> {
    let records = batch(&[&"r".repeat(record_bytes)]);
    request_frame(PRODUCE, PRODUCE_VERSION, &produce_request(-1, &[("t", 0, Some(records))]))
}

/// Sends `requests` and waits for their responses, without an allocation of its own.
async fn exchange(stream: &mut TcpStream, burst: &[u8], check: fn(&[u8])) {
    let mut response = [0; 4096];
    for _ in 0..REQUESTS / IN_FLIGHT {
        stream.write_all(burst).await.unwrap();
        for _ in 0..IN_FLIGHT {
            let bytes = usize::try_from(stream.read_u32().await.unwrap()).unwrap();
            stream.read_exact(&mut response[..bytes]).await.unwrap();
            check(&response[..bytes]);
        }
    }
}

fn check_produced(response: &[u8]) {
    // Behind the correlation id: tags, topics, name, partitions, index, error.
    assert_eq!(response[4..15], [0, 2, 2, b't', 2, 0, 0, 0, 0, 0, 0]);
}

fn check_fetched(response: &[u8]) {
    // Behind the correlation id: tags, throttle time, error, session, topics, name, partitions, index,
    // error.
    assert_eq!(response[4..9], [0; 5]);
    assert_eq!(response[9..25], [0, 0, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 0, 0, 0]);
    assert!(response.ends_with(b"\0\0\0\0"), "no headers, and no tags three times");
    assert!(response.len() > 1000, "the record is in it");
}

#[test]
fn a_produce_and_a_fetch_allocate_a_few_times() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (node, mut client) = runtime.block_on(async {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let broker = Arc::clone(&node.broker);
        let client = Client::new(move |context, request| dispatch(&broker, context, request)).await;
        (node, client)
    });
    let fetch =
        request_frame(FETCH, FETCH_VERSION, &fetch_request(&[("t", 0, 0)]).with_max_bytes(1));
    let loads = [
        (produce_frame(1000), check_produced as fn(&[u8]), PER_PRODUCE_MAX),
        (produce_frame(16_000), check_produced, PER_PRODUCE_MAX),
        (fetch, check_fetched, PER_FETCH_MAX),
    ];
    for (number, (frame, check, per_request_max)) in loads.into_iter().enumerate() {
        let burst = frame.repeat(IN_FLIGHT);
        runtime.block_on(exchange(&mut client.stream, &burst, check));
        let measured = measure(|| runtime.block_on(exchange(&mut client.stream, &burst, check)));
        let total = measured.count_total;
        let total_max = per_request_max * u64::try_from(REQUESTS).unwrap();
        assert!(total <= total_max, "{total} allocations for {REQUESTS} requests of load {number}");
    }
    drop(node);
}
