//! Bytes that no node of ours sends. None may end the process, stop others or be believed.

use std::time::Duration;

use protocol::types::BrokerId;
use raft::peers::{Health, Lane, Peers, ServiceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::nodes::{PATIENCE, Proxy, at, config, echo, know, socket, start, wait_for};

const TWO: BrokerId = BrokerId::new(2);

async fn pair() -> (Peers, Peers) {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    two.serve(ServiceId::BROKER, echo());
    know(&one, &[&two]);
    (one, two)
}

async fn assert_serves(one: &Peers) {
    let request = vec![b"are you well"[..].into()];
    let answer = one.call(TWO, ServiceId::BROKER, Lane::Control, request, PATIENCE).await;
    assert_eq!(answer.unwrap(), "are you well");
}

/// Sends bytes and waits until the other side has closed.
async fn send(two: &Peers, bytes: &[u8]) {
    let mut stream = TcpStream::connect(socket(two)).await.unwrap();
    // It may have closed before all of it is sent.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(closed.expect("the connection is closed"));
    assert!(answer.len() < 2000, "{} bytes for a stranger", answer.len());
}

#[tokio::test]
async fn whoever_does_not_greet_is_closed() {
    let (one, two) = pair().await;
    // A whole frame of kind request, as a peer might send it after its greeting.
    let mut request = vec![1, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let mut frame = 12_u32.to_be_bytes().to_vec();
    frame.extend_from_slice(&crc32c::crc32c(&request).to_be_bytes());
    frame.append(&mut request);
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: mill\r\n\r\n",
        &[0; 4096],
        &[0xff; 4096],
        // A length that would take 2 GiB.
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0, 0, 0, 12, 1, 2, 3, 4, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &frame,
    ];
    for bytes in cases {
        send(&two, bytes).await;
        assert_serves(&one).await;
    }
}

#[tokio::test]
async fn a_greeting_that_never_comes_is_not_waited_for() {
    let (one, two) = pair().await;
    // Also more of them than may greet at once: the rest is closed at once.
    let streams = (0..60).map(|_| TcpStream::connect(socket(&two)));
    let mut streams = futures_util::future::try_join_all(streams).await.unwrap();
    for stream in &mut streams {
        let closed = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
    wait_for(&one, 2, Health::Up).await;
    assert_serves(&one).await;
}

/// A flipped bit anywhere, in either direction, ends the connection; no answer is ever wrong.
#[tokio::test]
async fn a_flipped_bit_ends_the_connection_and_is_never_believed() {
    let (_one, two) = pair().await;
    for at_byte in (0..700).step_by(7) {
        let proxy = Proxy::start(socket(&two)).await;
        proxy.flip(at_byte);
        let one = start(config(1)).await;
        let request = vec![vec![b'r'; 300].into()];
        let patience = Duration::from_secs(3);
        let address = at(proxy.port);
        match one.call_address(&address, ServiceId::BROKER, request, patience).await {
            Ok((who, answer)) => {
                assert_eq!(who.replica.broker_id, TWO, "byte {at_byte}");
                assert_eq!(answer, vec![b'r'; 300], "byte {at_byte}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        one.shutdown().await;
    }
    let healthy = start(config(3)).await;
    know(&healthy, &[&two]);
    assert_serves(&healthy).await;
}
