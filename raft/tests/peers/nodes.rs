//! Nodes of a test, and services that answer in ways that tests need.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::types::BrokerId;
use raft::peers::{Caller, Health, Message, PeerAddress, PeerConfig, Peers, Secret, Service};
use raft::replica::SeamFuture;
use raft::types::ReplicaId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
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

/// Stands between two nodes: can stop all bytes, or flip one.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    flows: watch::Sender<bool>,
    /// The byte to be changed, counted in each direction.
    flip: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (flows, flip) = (watch::Sender::new(true), Arc::new(AtomicUsize::new(usize::MAX)));
        let (flowing, flipping) = (flows.subscribe(), Arc::clone(&flip));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (near_reader, near_writer) = near.into_split();
                let (far_reader, far_writer) = far.into_split();
                for (reader, writer) in [(near_reader, far_writer), (far_reader, near_writer)] {
                    let (flowing, flipping) = (flowing.clone(), Arc::clone(&flipping));
                    tokio::spawn(carry(reader, writer, flowing, flipping));
                }
            }
        });
        Self { port, flows, flip }
    }

    pub(crate) fn flows(&self, flows: bool) {
        self.flows.send_replace(flows);
    }

    pub(crate) fn flip(&self, at_byte: usize) {
        self.flip.store(at_byte, Ordering::Relaxed);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flowing: watch::Receiver<bool>,
    flip: Arc<AtomicUsize>,
) {
    let (mut buffer, mut carried) = (vec![0; 64 << 10], 0);
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if flowing.wait_for(|flowing| *flowing).await.is_err() {
            return;
        }
        let at = flip.load(Ordering::Relaxed).wrapping_sub(carried);
        if at < read {
            buffer[at] ^= 0x10;
        }
        carried += read;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
