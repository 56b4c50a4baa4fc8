//! Who is there: a peer that ends, comes back, hangs, or was never there.

use std::time::Duration;

use protocol::types::BrokerId;
use raft::peers::{CallError, Health, Lane, Peers, ServiceId};
use tokio::time::Instant;

use crate::nodes::{PATIENCE, Proxy, at, config, echo, know, loopback, socket, start, wait_for};

const TWO: BrokerId = BrokerId::new(2);
/// What the detector states: silence for this long makes a peer down.
const SILENCE: Duration = Duration::from_millis(700);

async fn call(from: &Peers, lane: Lane) -> Result<bytes::Bytes, CallError> {
    from.call(TWO, ServiceId::BROKER, lane, vec![], PATIENCE).await
}

#[tokio::test]
async fn a_peer_that_ends_is_down_long_before_its_silence_would_say_so() {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    know(&one, &[&one, &two]);
    wait_for(&one, 2, Health::Up).await;
    assert_eq!(one.health().borrow().len(), 1, "a node does not watch itself");
    two.shutdown().await;
    let ended = Instant::now();
    wait_for(&one, 2, Health::Down).await;
    assert!(ended.elapsed() < SILENCE, "it took {:?}", ended.elapsed());
}

#[tokio::test]
async fn a_peer_that_comes_back_is_up_and_answers() {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    know(&one, &[&two]);
    wait_for(&one, 2, Health::Up).await;
    let port = socket(&two);
    two.shutdown().await;
    wait_for(&one, 2, Health::Down).await;
    let two = Peers::start(std::net::TcpListener::bind(port).unwrap(), config(2)).await.unwrap();
    two.serve(ServiceId::BROKER, echo());
    wait_for(&one, 2, Health::Up).await;
    for lane in [Lane::Control, Lane::Bulk] {
        call(&one, lane).await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_that_never_answers_is_down() {
    let one = start(config(1)).await;
    let silent = loopback();
    one.set_addresses([(TWO, at(silent.local_addr().unwrap().port()))].into());
    assert_eq!(one.health().borrow().get(&TWO), Some(&Health::Suspected));
    wait_for(&one, 2, Health::Down).await;
    assert!(matches!(call(&one, Lane::Bulk).await, Err(CallError::Unreachable(_))));
}

#[tokio::test]
async fn a_peer_that_hangs_is_suspected_then_down_and_up_when_it_goes_on() {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    two.serve(ServiceId::BROKER, echo());
    let proxy = Proxy::start(socket(&two)).await;
    one.set_addresses([(TWO, at(proxy.port))].into());
    wait_for(&one, 2, Health::Up).await;
    call(&one, Lane::Bulk).await.unwrap();

    proxy.flows(false);
    let hung = Instant::now();
    let calling = tokio::spawn({
        let one = one.clone();
        async move { call(&one, Lane::Bulk).await }
    });
    wait_for(&one, 2, Health::Suspected).await;
    wait_for(&one, 2, Health::Down).await;
    assert!(hung.elapsed() >= SILENCE / 2, "it took {:?}", hung.elapsed());
    // What waited for it waits no longer.
    let lost = tokio::time::timeout(PATIENCE, calling).await.unwrap().unwrap();
    assert!(matches!(lost, Err(CallError::Lost(_))), "{lost:?}");

    proxy.flows(true);
    wait_for(&one, 2, Health::Up).await;
    call(&one, Lane::Bulk).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_left_is_not_watched_and_one_that_moved_is_found() {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    two.serve(ServiceId::BROKER, echo());
    know(&one, &[&two]);
    wait_for(&one, 2, Health::Up).await;
    one.set_addresses([].into());
    assert!(one.health().borrow().is_empty());
    assert_eq!(call(&one, Lane::Control).await, Err(CallError::UnknownPeer(TWO)));

    let moved = start(config(2)).await;
    moved.serve(ServiceId::BROKER, echo());
    know(&one, &[&moved]);
    two.shutdown().await;
    wait_for(&one, 2, Health::Up).await;
    call(&one, Lane::Control).await.unwrap();
}

/// Two brokers exchanged their addresses, or a stale one was given to another.
#[tokio::test]
async fn an_address_that_leads_to_another_broker_is_not_taken_for_the_right_one() {
    let (one, three) = (start(config(1)).await, start(config(3)).await);
    one.set_addresses([(TWO, at(three.local_port()))].into());
    wait_for(&one, 2, Health::Down).await;
}
