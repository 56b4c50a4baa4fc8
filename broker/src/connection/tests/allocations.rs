//! How often a produce asks the allocator, from the socket to the socket: most of what a small request
//! costs, if nobody counts.
//!
//! Counted is the thread of the connections. The flusher's works for many requests at once.

use allocation_counter::measure;
use kafka_protocol::protocol::Encodable;
use tokio::runtime;

use super::*;
use crate::dispatch::dispatch;
use crate::test_node::{TestNode, batch, produce_request};

const PER_REQUEST_MAX: u64 = 5;
const REQUESTS: usize = 512;
const IN_FLIGHT: usize = 32;
const VERSION: i16 = 9;

/// A produce request for one partition, with one record of that size.
fn produce_frame(record_bytes: usize) -> Vec<u8> {
    let records = batch(&[&"r".repeat(record_bytes)]);
    let mut body = BytesMut::new();
    body.put_i16(2);
    body.put_slice(b"me");
    body.put_u8(0);
    produce_request(-1, &[("t", 0, Some(records))]).encode(&mut body, VERSION).unwrap();
    let mut frame = Vec::new();
    frame.put_u32(u32::try_from(8 + body.len()).unwrap());
    frame.put_i16(PRODUCE);
    frame.put_i16(VERSION);
    frame.put_i32(7);
    frame.put_slice(&body);
    frame
}

/// Sends `requests` and waits for their responses, without an allocation of its own.
async fn exchange(stream: &mut TcpStream, burst: &[u8], requests: usize) {
    let mut response = [0; 128];
    for _ in 0..requests / IN_FLIGHT {
        stream.write_all(burst).await.unwrap();
        for _ in 0..IN_FLIGHT {
            let bytes = usize::try_from(stream.read_u32().await.unwrap()).unwrap();
            stream.read_exact(&mut response[..bytes]).await.unwrap();
            // Behind the correlation id: tags, topics, name, partitions, index, error.
            assert_eq!(response[4..14], [0, 2, 2, b't', 2, 0, 0, 0, 0, 0]);
            assert_eq!(response[14], 0);
        }
    }
}

#[test]
fn a_produce_allocates_at_most_five_times() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (node, mut client) = runtime.block_on(async {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let broker = Arc::clone(&node.broker);
        let client = Client::new(move |context, request| dispatch(&broker, context, request)).await;
        (node, client)
    });
    for record_bytes in [1000, 16_000] {
        let burst = produce_frame(record_bytes).repeat(IN_FLIGHT);
        runtime.block_on(exchange(&mut client.stream, &burst, REQUESTS));
        let measured = measure(|| runtime.block_on(exchange(&mut client.stream, &burst, REQUESTS)));
        let total = measured.count_total;
        assert!(
            total <= PER_REQUEST_MAX * u64::try_from(REQUESTS).unwrap(),
            "{total} allocations for {REQUESTS} records of {record_bytes} bytes"
        );
    }
    drop(node);
}
