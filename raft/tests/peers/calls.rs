//! Calls: that they are answered, in which order, and what their errors say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::types::BrokerId;
use raft::peers::{
    CONTROL_REQUEST_BYTES_MAX, CallError, Health, Lane, PeerConfig, PeerError, Peers, ServiceId,
};
use raft::replica::SeamFuture;
use tokio::sync::{Semaphore, mpsc};

use crate::nodes::{
    Answering, PATIENCE, at, config, echo, know, loopback, replica, start, wait_for, with_secret,
};

const TWO: BrokerId = BrokerId::new(2);
const SERVICE: ServiceId = ServiceId::METADATA;

/// Broker 1, which knows broker 2, which serves.
async fn pair() -> (Peers, Peers) {
    let (one, two) = (start(config(1)).await, start(config(2)).await);
    two.serve(SERVICE, echo());
    know(&one, &[&two]);
    (one, two)
}

async fn call(from: &Peers, lane: Lane, request: &'static [u8]) -> Result<Bytes, CallError> {
    from.call(TWO, SERVICE, lane, vec![Bytes::from_static(request)], PATIENCE).await
}

#[tokio::test]
async fn a_call_is_answered_on_either_lane() {
    let (one, two) = pair().await;
    for lane in [Lane::Control, Lane::Bulk] {
        assert_eq!(call(&one, lane, b"hello").await.unwrap(), "hello");
        let pieces = vec![Bytes::from_static(b"a"), Bytes::new(), vec![b'b'; 3 << 20].into()];
        let answer = one.call(TWO, SERVICE, lane, pieces, PATIENCE).await.unwrap();
        assert_eq!((answer.len(), answer[0], answer[1]), (1 + (3 << 20), b'a', b'b'));
    }
    two.shutdown().await;
    one.shutdown().await;
    assert_eq!(call(&one, Lane::Control, b"late").await, Err(CallError::Closed));
}

#[tokio::test]
async fn the_caller_is_who_it_proved_to_be_and_an_address_is_enough() {
    let (one, two) = (start(with_secret(1, "s")).await, start(with_secret(2, "s")).await);
    two.serve(
        SERVICE,
        Arc::new(Answering(|from, _request| {
            let answer: SeamFuture<'static, _> =
                Box::pin(async move { Ok(vec![format!("{from:?}").into()]) });
            answer
        })),
    );
    let (who, answer) =
        one.call_address(&at(two.local_port()), SERVICE, vec![], PATIENCE).await.unwrap();
    assert_eq!(who.replica, replica(2));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("broker 1") && answer.contains("mill"), "{answer}");
    know(&one, &[&two]);
    assert_eq!(call(&one, Lane::Bulk, b"").await.unwrap(), answer);
}

#[tokio::test]
async fn a_node_calls_itself_as_any_other() {
    let (_one, two) = pair().await;
    assert_eq!(call(&two, Lane::Control, b"me").await.unwrap(), "me");
}

#[tokio::test]
async fn errors_say_whether_the_request_may_have_had_an_effect() {
    let (one, two) = pair().await;
    let nobody = one.call(BrokerId::new(9), SERVICE, Lane::Control, vec![], PATIENCE).await;
    assert_eq!(nobody, Err(CallError::UnknownPeer(BrokerId::new(9))));
    let large = vec![vec![0; CONTROL_REQUEST_BYTES_MAX + 1].into()];
    let large = one.call(TWO, SERVICE, Lane::Control, large, PATIENCE).await.unwrap_err();
    assert!(matches!(large, CallError::TooLarge { .. }) && large.had_no_effect(), "{large}");
    let other = one.call(TWO, ServiceId(99), Lane::Control, vec![], PATIENCE).await.unwrap_err();
    assert!(matches!(&other, CallError::Refused(why) if why.contains("99")), "{other}");

    let failing = Answering(|_from, request: Bytes| {
        let answer: SeamFuture<'static, _> = Box::pin(async move {
            assert_ne!(request, "panic", "a broken handler");
            Err("no".to_owned())
        });
        answer
    });
    two.serve(SERVICE, Arc::new(failing));
    assert_eq!(call(&one, Lane::Control, b"x").await, Err(CallError::Refused("no".to_owned())));
    let panicked = call(&one, Lane::Control, b"panic").await.unwrap_err();
    assert!(matches!(panicked, CallError::Refused(_)), "{panicked}");
    assert_eq!(call(&one, Lane::Control, b"x").await, Err(CallError::Refused("no".to_owned())));

    two.shutdown().await;
    wait_for(&one, 2, Health::Down).await;
    let gone = call(&one, Lane::Bulk, b"x").await.unwrap_err();
    assert!(matches!(gone, CallError::Unreachable(_)) && gone.had_no_effect(), "{gone}");
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_its_late_answer_harms_nobody() {
    let (one, two) = pair().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let slow = Answering(move |_from, request| {
        let gate = Arc::clone(&held);
        let answer: SeamFuture<'static, _> = Box::pin(async move {
            drop(gate.acquire().await);
            Ok(vec![request])
        });
        answer
    });
    two.serve(SERVICE, Arc::new(slow));
    let short = Duration::from_millis(50);
    let request = vec![Bytes::from_static(b"one")];
    let late = one.call(TWO, SERVICE, Lane::Control, request, short).await;
    assert_eq!(late, Err(CallError::TimedOut(short)));
    assert!(!late.unwrap_err().had_no_effect());
    gate.add_permits(1);
    assert_eq!(call(&one, Lane::Control, b"two").await.unwrap(), "two");
}

#[tokio::test]
async fn a_connection_lost_within_a_call_leaves_the_outcome_unknown() {
    let (one, two) = pair().await;
    let (began, mut begun) = mpsc::channel(1);
    let never = Answering(move |_from, _request| {
        let began = began.clone();
        let answer: SeamFuture<'static, _> = Box::pin(async move {
            began.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(vec![])
        });
        answer
    });
    two.serve(SERVICE, Arc::new(never));
    let calling = tokio::spawn({
        let one = one.clone();
        async move { call(&one, Lane::Bulk, b"x").await }
    });
    begun.recv().await.unwrap();
    let ending = tokio::spawn(async move { two.shutdown().await });
    let lost = tokio::time::timeout(PATIENCE, calling).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(lost, CallError::Lost(_)) && !lost.had_no_effect(), "{lost}");
    ending.await.unwrap();
}

/// A peer that takes no data must still be asked who leads.
#[tokio::test]
async fn control_passes_beside_bulk_that_does_not_move() {
    let (one, two) = pair().await;
    let stuck = Answering(|_from, request: Bytes| {
        let answer: SeamFuture<'static, _> = Box::pin(async move {
            if request.len() > 1000 {
                std::future::pending::<()>().await;
            }
            Ok(vec![request])
        });
        answer
    });
    two.serve(SERVICE, Arc::new(stuck));
    let piece = Bytes::from(vec![0; 16 << 20]);
    let bulk = (0..20).map(|_| {
        let (one, piece) = (one.clone(), piece.clone());
        tokio::spawn(async move { one.call(TWO, SERVICE, Lane::Bulk, vec![piece], PATIENCE).await })
    });
    let bulk = bulk.collect::<Vec<_>>();
    for _ in 0..100 {
        assert_eq!(call(&one, Lane::Control, b"small").await.unwrap(), "small");
    }
    bulk.into_iter().for_each(|call| call.abort());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_are_made_in_the_order_of_arrival() {
    let (one, two) = pair().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let noting = Answering(move |_from, request: Bytes| {
        noted.lock().push(request);
        let answer: SeamFuture<'static, _> = Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(vec![])
        });
        answer
    });
    two.serve(SERVICE, Arc::new(noting));
    // Polled in order, so sent in order, unless the executor makes one of them yield.
    let calls = (0..500_u32).map(|n| {
        let request = vec![Bytes::copy_from_slice(&n.to_be_bytes())];
        one.call(TWO, SERVICE, Lane::Bulk, request, PATIENCE)
    });
    call(&one, Lane::Bulk, b"the connection is open").await.unwrap();
    let calls = tokio::task::unconstrained(futures_util::future::join_all(calls));
    for answer in calls.await {
        answer.unwrap();
    }
    let want = (0..500_u32).map(|n| Bytes::copy_from_slice(&n.to_be_bytes()));
    assert!(seen.lock()[1..].iter().cloned().eq(want), "another order");
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other_and_name_both() {
    let other = PeerConfig { cluster_id: Some("weir".to_owned()), ..config(2) };
    let (one, two) = (start(config(1)).await, start(other).await);
    two.serve(ServiceId::FORMATION, echo());
    let address = at(two.local_port());
    let refused = one.call_address(&address, ServiceId::FORMATION, vec![], PATIENCE).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("mill") && refused.contains("weir"), "{refused}");
    assert!(refused.contains("broker 1") && refused.contains("broker 2"), "{refused}");
    know(&one, &[&two]);
    let refused = call(&one, Lane::Control, b"x").await.unwrap_err().to_string();
    assert!(refused.contains("mill") && refused.contains("weir"), "{refused}");
}

#[tokio::test]
async fn a_node_without_a_cluster_may_ask_for_one_and_nothing_else() {
    let stray = PeerConfig { cluster_id: None, ..config(1) };
    let (one, two) = (start(stray).await, start(config(2)).await);
    two.serve(ServiceId::FORMATION, echo());
    two.serve(SERVICE, echo());
    know(&one, &[&two]);
    wait_for(&one, 2, Health::Up).await;
    let request = vec![Bytes::from_static(b"let me in")];
    let formed = one.call(TWO, ServiceId::FORMATION, Lane::Control, request, PATIENCE).await;
    assert_eq!(formed.unwrap(), "let me in");
    let refused = call(&one, Lane::Control, b"x").await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused(why) if why.contains("no cluster")), "{refused}");
    one.join_cluster("mill".to_owned());
    wait_for(&one, 2, Health::Up).await;
    assert_eq!(call(&one, Lane::Control, b"x").await.unwrap(), "x");
}

#[tokio::test]
async fn secrets_must_be_the_same_or_absent_on_both_sides() {
    let cases = [
        (with_secret(1, "a"), with_secret(2, "b"), "another secret"),
        (config(1), with_secret(2, "b"), "broker 2"),
        (with_secret(1, "a"), config(2), "broker 1"),
    ];
    for (one, two, want) in cases {
        let (one, two) = (start(one).await, start(two).await);
        two.serve(SERVICE, echo());
        let address = at(two.local_port());
        let refused = one.call_address(&address, SERVICE, vec![], PATIENCE).await;
        let refused = refused.unwrap_err();
        assert!(refused.had_no_effect() && refused.to_string().contains(want), "{refused}");
    }
}

#[tokio::test]
async fn a_listener_for_other_hosts_requires_a_secret() {
    let open = || std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let refused = Peers::start(open(), config(1)).await.unwrap_err();
    assert!(matches!(refused, PeerError::SecretRequired(_)), "{refused}");
    Peers::start(open(), with_secret(1, "s")).await.unwrap().shutdown().await;
    Peers::start(loopback(), config(1)).await.unwrap().shutdown().await;
}
