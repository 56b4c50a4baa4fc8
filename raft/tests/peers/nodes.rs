//! Nodes of a test, and services that answer in ways that tests need.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::types::BrokerId;
use raft::peers::{Caller, Health, Message, PeerAddress, PeerConfig, Peers, Secret, Service};
use raft::replica::SeamFuture;
use raft::types::ReplicaId;
use uuid::Uuid;

/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn replica(broker: i32) -> ReplicaId {
    let directory_id = Uuid::from_u128(u128::try_from(broker).unwrap() + 100);
    ReplicaId { broker_id: BrokerId::new(broker), directory_id }
}

pub(crate) fn config(broker: i32) -> PeerConfig {
    PeerConfig { me: replica(broker), cluster_id: Some("mill".to_owned()), secret: None }
}

pub(crate) fn with_secret(broker: i32, secret: &str) -> PeerConfig {
    PeerConfig { secret: Some(Secret::new(secret)), ..config(broker) }
}

pub(crate) fn loopback() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

pub(crate) async fn start(config: PeerConfig) -> Peers {
    Peers::start(loopback(), config).await.unwrap()
}

pub(crate) fn at(port: u16) -> PeerAddress {
    PeerAddress { host: Ipv4Addr::LOCALHOST.to_string(), port }
}

pub(crate) fn socket(peers: &Peers) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, peers.local_port()))
}

/// Tells `node` where `others` listen.
pub(crate) fn know(node: &Peers, others: &[&Peers]) {
    let addresses = others.iter().map(|peer| (peer.me().broker_id, at(peer.local_port())));
    node.set_addresses(addresses.collect::<BTreeMap<_, _>>());
}

/// Waits until `node` thinks so of `broker`.
pub(crate) async fn wait_for(node: &Peers, broker: i32, health: Health) {
    let mut seen = node.health();
    let is =
        |all: &Arc<BTreeMap<BrokerId, Health>>| all.get(&BrokerId::new(broker)) == Some(&health);
    let waiting = seen.wait_for(is);
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("broker {broker} is never {health:?}")).unwrap();
}

/// A service made of a function.
pub(crate) struct Answering<F>(pub(crate) F);

impl<F> Service for Answering<F>
where
    F: Fn(Caller, Bytes) -> SeamFuture<'static, Result<Message, String>> + Send + Sync + 'static,
{
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>> {
        (self.0)(from, request)
    }
}

/// Answers with what came.
pub(crate) fn echo() -> Arc<dyn Service> {
    Arc::new(Answering(|_from, request| {
        let answer: SeamFuture<'static, _> = Box::pin(async move { Ok(vec![request]) });
        answer
    }))
}
