//! Limits on connections, and the end of all of them, over loopback sockets.

use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::*;
use crate::connection::tests::{API_VERSIONS, answer, frame, shared};
use crate::reply::Work;

/// How long nothing must happen before it counts as "does not happen". Time is paused, so this
/// passes as soon as nothing else can run.
const QUIET: Duration = Duration::from_secs(1);

/// A server with these limits whose handler answers at once, but for correlation id 0: never.
fn server(connections_max: usize, per_ip_max: usize) -> (Server, SocketAddr) {
    let shared = shared(|context, _| match context.correlation_id {
        0 => Work::later(pending()),
        _ => answer(),
    });
    let mut server = Server::new(shared, ConnectionLimits { connections_max, per_ip_max });
    let port = BoundPort::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = port.address;
    let listener = Listener {
        name: "PLAINTEXT".to_owned(),
        advertised_host: "localhost".to_owned(),
        advertised_port: address.port(),
    };
    server.accept_from(port, Arc::new(listener)).unwrap();
    (server, address)
}

async fn ask(stream: &mut TcpStream, correlation_id: i32) {
    stream.write_all(&frame(API_VERSIONS, 0, correlation_id, &[])).await.unwrap();
}

/// Whether the server answers within a quiet moment.
async fn is_answered(stream: &mut TcpStream) -> bool {
    let mut length = [0; 4];
    match timeout(QUIET, stream.read_exact(&mut length)).await {
        Ok(read) => read.is_ok(),
        Err(_elapsed) => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_beyond_the_limit_waits_until_another_leaves() {
    let (_server, address) = server(1, 10);
    let mut first = TcpStream::connect(address).await.unwrap();
    ask(&mut first, 1).await;
    assert!(is_answered(&mut first).await);
    let mut second = TcpStream::connect(address).await.unwrap();
    ask(&mut second, 1).await;
    assert!(!is_answered(&mut second).await);
    drop(first);
    assert!(is_answered(&mut second).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_beyond_the_limit_of_its_address_is_closed() {
    let (_server, address) = server(10, 1);
    let mut first = TcpStream::connect(address).await.unwrap();
    ask(&mut first, 1).await;
    assert!(is_answered(&mut first).await);
    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(matches!(second.read(&mut [0]).await, Ok(0) | Err(_)));
    drop(first);
    // Its place is free again once its end has been noticed.
    while !{
        let mut third = TcpStream::connect(address).await.unwrap();
        ask(&mut third, 1).await;
        is_answered(&mut third).await
    } {}
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_answers_but_not_for_ever() {
    let (server, address) = server(10, 10);
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle, 1).await;
    assert!(is_answered(&mut idle).await);
    let mut stuck = TcpStream::connect(address).await.unwrap();
    ask(&mut stuck, 0).await;
    assert!(!is_answered(&mut stuck).await);
    let before = Instant::now();
    server.stop().await;
    assert_eq!(before.elapsed().as_secs(), DRAIN_MAX.as_secs());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(matches!(stuck.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_requests_in_flight_takes_no_time() {
    let (server, address) = server(10, 10);
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle, 1).await;
    assert!(is_answered(&mut idle).await);
    let before = Instant::now();
    server.stop().await;
    assert!(before.elapsed() < QUIET);
}

#[test]
fn a_port_is_bound_before_it_listens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let port = BoundPort::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = port.address;
        assert!(TcpStream::connect(address).await.is_err());
        let _listening = port.listen().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
        let busy = BoundPort::bind(address).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
    });
}

#[tokio::test(start_paused = true)]
async fn limits_change_while_clients_are_connected() {
    let (server, address) = server(1, 10);
    let set = |connections_max, per_ip_max| {
        server.limits().set(ConnectionLimits { connections_max, per_ip_max });
    };
    let mut first = TcpStream::connect(address).await.unwrap();
    ask(&mut first, 1).await;
    assert!(is_answered(&mut first).await);
    let mut second = TcpStream::connect(address).await.unwrap();
    ask(&mut second, 1).await;
    assert!(!is_answered(&mut second).await);
    set(2, 10);
    assert!(is_answered(&mut second).await, "there is one place more");
    set(1, 10);
    drop(first);
    let mut third = TcpStream::connect(address).await.unwrap();
    ask(&mut third, 1).await;
    assert!(!is_answered(&mut third).await, "the place that was left is none any more");
    ask(&mut second, 2).await;
    assert!(is_answered(&mut second).await, "who is in stays in");
    set(10, 1);
    assert!(
        matches!(third.read(&mut [0]).await, Ok(0) | Err(_)),
        "one from this address is enough"
    );
}
