//! How nodes talk to each other: calls to services over TCP, and who is there.
//!
//! It knows frames, addresses and services by number, and neither what a message means nor who leads
//! what. One port for each node. A node opens two connections to each of its peers, one for small
//! messages that must not wait and one for data, and calls over them; the answers come back over the
//! same connection. So of two nodes each opens two.
//!
//! ```text
//! Peers::call ─> link (opens, rests) ─> connection (calls in flight) ══ TCP ══> incoming ─> Service::call
//!                  ^                                                               │
//!                detector (pings)                                        answers ──┘ in any order
//! ```
//! A call has a deadline and bounded bytes. Its error says whether it may have had an effect.

mod connection;
mod detector;
mod frame;
mod hello;
mod incoming;
mod link;
mod node;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::types::BrokerId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fitness::Fitness;
use crate::replica::SeamFuture;
use crate::types::ReplicaId;
use frame::Kind;
use hello::Purpose;
pub use hello::Secret;
use link::NoConnection;
use node::{Node, Peer};

/// The largest request and the largest answer.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// The largest request of the control lane.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long an end waits for requests that are being answered.
const HANDLERS_END_TIMEOUT: Duration = Duration::from_secs(5);

/// A message, in the pieces it is made of. They are sent as they are, without being copied together.
pub type Message = Vec<Bytes>;

/// Where a peer listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which of a peer's two connections a call takes. Neither ever waits for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Small messages: at most [`CONTROL_REQUEST_BYTES_MAX`].
    Control,
    /// Data.
    Bulk,
}

/// Who is meant at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceId(
    /// The number in the frame.
    pub u8,
);

impl ServiceId {
    /// The metadata group.
    pub const METADATA: Self = Self(1);
    /// The groups of partitions.
    pub const PARTITIONS: Self = Self(2);
    /// Who takes over from a broker that is gone.
    pub const TAKEOVER: Self = Self(3);
    /// How nodes become a cluster; the one service for callers that belong to none yet.
    pub const FORMATION: Self = Self(4);
    /// Questions to a broker.
    pub const BROKER: Self = Self(5);
    /// Who leads which partition.
    pub const LEADERS: Self = Self(6);
    /// A broker that is about to stop.
    pub const LEAVING: Self = Self(7);
}

/// Who calls, as it proved by its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Which node.
    pub replica: ReplicaId,
    /// Its cluster, if it belonged to one when it connected.
    pub cluster_id: Option<String>,
}

/// Answers requests of other nodes.
///
/// # Contract
/// `call` itself is called in the order in which the requests of one lane of one peer arrived, on the
/// task that reads them: what must keep that order belongs before the future, and it MUST be quick
/// and MUST NOT block. The future runs on a task of its own, beside those of other requests, and to
/// its end: it is never cancelled, also when the caller has gone. Over a lost connection the order
/// holds too, except for a request whose `call` is just being made.
///
/// The request is one buffer; slices of it share its memory, and hold all of it. An error is a
/// sentence for the caller's log. A panic is answered as an error.
pub trait Service: Send + Sync + 'static {
    /// Takes a request and returns what will answer it.
    fn call(
        self: Arc<Self>,
        from: Caller,
        request: Bytes,
    ) -> SeamFuture<'static, Result<Message, String>>;
}

/// Who this node is.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The broker and its directory.
    pub me: ReplicaId,
    /// The cluster it belongs to, if it does.
    pub cluster_id: Option<String>,
    /// What it proves itself with; all of a cluster have the same, or none has any.
    pub secret: Option<Secret>,
}

/// Whether a peer is there, as far as this node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// It was there, or is new, and does not answer just now.
    Suspected,
    /// Nobody listens where it was, or it has been silent for too long.
    Down,
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Anybody who reaches the port could do anything.
    #[error(
        "{0} can be reached from other hosts, and this node has no secret that its peers share"
    )]
    SecretRequired(SocketAddr),
    /// The listener cannot be used.
    #[error("the listener for other nodes cannot be used: {0}")]
    Listener(#[from] io::Error),
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No address is known for this broker. Nothing was sent.
    #[error("broker {0} is not known here")]
    UnknownPeer(BrokerId),
    /// It cannot be reached. Nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Too many bytes. Nothing was sent.
    #[error("a request of {bytes} bytes exceeds the limit of {bytes_max}")]
    TooLarge {
        /// The request.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The other side answered with this sentence.
    #[error("refused: {0}")]
    Refused(String),
    /// The connection ended before the answer: the request may have had its effect.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// No answer within the deadline: the request may have had its effect, or have it later.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// This node's transport was shut down. Nothing was sent.
    #[error("this node is stopping")]
    Closed,
}

impl CallError {
    /// Whether the request certainly had no effect and will have none. After `Refused` the service
    /// alone knows.
    #[must_use]
    pub const fn had_no_effect(&self) -> bool {
        match self {
            Self::UnknownPeer(_) | Self::Unreachable(_) | Self::TooLarge { .. } | Self::Closed => {
                true
            }
            Self::Refused(_) | Self::Lost(_) | Self::TimedOut(_) => false,
        }
    }
}

impl From<NoConnection> for CallError {
    fn from(failure: NoConnection) -> Self {
        Self::Unreachable(failure.why.to_string())
    }
}

/// This node among its peers. Cheap to clone. It runs until [`Peers::shutdown`].
#[derive(Debug, Clone)]
pub struct Peers {
    node: Arc<Node>,
    local_port: u16,
}

impl Peers {
    /// Listens, and knows no peers yet.
    ///
    /// # Errors
    /// [`PeerError`].
    #[expect(clippy::unused_async, reason = "it needs the runtime, and its callers await a start")]
    pub async fn start(
        listener: std::net::TcpListener,
        config: PeerConfig,
    ) -> Result<Self, PeerError> {
        let address = listener.local_addr()?;
        let PeerConfig { me, cluster_id, secret } = config;
        if secret.is_none() && !address.ip().is_loopback() {
            return Err(PeerError::SecretRequired(address));
        }
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let node = Arc::new(Node::new(me, cluster_id, secret));
        tokio::spawn(incoming::accept(listener, Arc::clone(&node)));
        Ok(Self { node, local_port: address.port() })
    }

    /// The cluster is known from now on: nodes of another one are refused, both ids named. Services
    /// other than [`ServiceId::FORMATION`] answer only callers of the same cluster. Connections are
    /// opened anew, so that peers know it too.
    pub fn join_cluster(&self, cluster_id: String) {
        *self.node.cluster_id.lock() = Some(cluster_id);
        for peer in self.node.peers.lock().values() {
            peer.control.reset("this node has joined a cluster");
            peer.bulk.reset("this node has joined a cluster");
        }
    }

    /// Answers requests to `service` from now on.
    pub fn serve(&self, service: ServiceId, handler: Arc<dyn Service>) {
        self.node.services.lock().insert(service, handler);
    }

    /// Answers requests to `service` no longer. Those that are being answered are finished.
    pub fn withdraw(&self, service: ServiceId) {
        self.node.services.lock().remove(&service);
    }

    /// The port on which this node listens.
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.local_port
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> ReplicaId {
        self.node.me
    }

    /// Replaces all that is known of where brokers listen. This node may be among them.
    pub fn set_addresses(&self, all: BTreeMap<BrokerId, PeerAddress>) {
        let node = &self.node;
        let mut peers = node.peers.lock();
        if *node.closing.borrow() {
            return;
        }
        peers.retain(|broker_id, peer| {
            let stays = all.get(broker_id) == Some(&peer.address);
            if !stays {
                peer.close("its address is another one now, or it has left");
            }
            stays
        });
        let mut new = Vec::new();
        for (broker_id, address) in all {
            if broker_id != node.me.broker_id && !peers.contains_key(&broker_id) {
                let peer = Peer::new(node, broker_id, address);
                peers.insert(broker_id, Arc::clone(&peer));
                new.push(peer);
            }
        }
        node.health.send_modify(|health| {
            let known = peers.keys().map(|broker_id| {
                let known = health.get(broker_id).copied();
                (*broker_id, known.unwrap_or(Health::Suspected))
            });
            *health = Arc::new(known.collect());
        });
        for peer in new {
            tokio::spawn(detector::watch_peer(Arc::clone(node), peer));
        }
    }

    /// Calls a service of a broker; of this one, too. A dropped future gives the call up: it may have
    /// its effect nevertheless.
    ///
    /// A peer that is down is not tried: the detector does that.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(
        &self,
        to: BrokerId,
        service: ServiceId,
        lane: Lane,
        request: Message,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let bytes = request.iter().map(Bytes::len).sum::<usize>();
        let bytes_max = match lane {
            Lane::Control => CONTROL_REQUEST_BYTES_MAX,
            Lane::Bulk => MESSAGE_BYTES_MAX,
        };
        if bytes > bytes_max {
            return Err(CallError::TooLarge { bytes, bytes_max });
        }
        if *self.node.closing.borrow() {
            return Err(CallError::Closed);
        }
        let calling = async {
            if to == self.node.me.broker_id {
                return self.node.call_self(service, request).await;
            }
            let peer = self.node.peers.lock().get(&to).cloned();
            let peer = peer.ok_or(CallError::UnknownPeer(to))?;
            if self.node.health_of(to) == Some(Health::Down) {
                return Err(CallError::Unreachable(format!("broker {to} is down")));
            }
            let link = match lane {
                Lane::Control => &peer.control,
                Lane::Bulk => &peer.bulk,
            };
            link.connection().await?.call(Kind::Request, service, request).await
        };
        let called = tokio::time::timeout(timeout, calling).await;
        called.unwrap_or(Err(CallError::TimedOut(timeout)))
    }

    /// Calls a service at an address, over a connection for this one call; also returns who answered.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_address(
        &self,
        to: &PeerAddress,
        service: ServiceId,
        request: Message,
        timeout: Duration,
    ) -> Result<(Caller, Bytes), CallError> {
        let (bytes, bytes_max) = (request.iter().map(Bytes::len).sum(), MESSAGE_BYTES_MAX);
        if bytes > bytes_max {
            return Err(CallError::TooLarge { bytes, bytes_max });
        }
        let calling = async {
            let connection = link::open(&self.node, to, None, Purpose::Once).await?;
            let answer = connection.call(Kind::Request, service, request).await?;
            Ok((connection.caller.clone(), answer))
        };
        let called = tokio::time::timeout(timeout, calling).await;
        called.unwrap_or(Err(CallError::TimedOut(timeout)))
    }

    /// Who is there: every known peer.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Arc<BTreeMap<BrokerId, Health>>> {
        self.node.health.subscribe()
    }

    /// How the disks of this node and of its peers stand; whoever is not among them is fit.
    #[must_use]
    pub fn fitness(&self) -> watch::Receiver<Arc<BTreeMap<BrokerId, Fitness>>> {
        self.node.fitness.subscribe()
    }

    /// Whether a broker may lead while others could, as far as this node knows.
    #[must_use]
    pub fn is_fit(&self, broker: BrokerId) -> bool {
        self.fitness_of(broker).is_fit()
    }

    pub(crate) fn fitness_of(&self, broker: BrokerId) -> Fitness {
        self.node.fitness.borrow().get(&broker).copied().unwrap_or_default()
    }

    /// Tells peers from now on how the disk of this node stands.
    pub fn set_fitness(&self, fitness: Fitness) {
        self.node.set_fitness(self.node.me.broker_id, fitness);
    }

    /// Ends all connections and listens no longer. Waits for handlers that run, within a limit.
    pub async fn shutdown(&self) {
        let node = &self.node;
        node.closing.send_replace(true);
        for peer in std::mem::take(&mut *node.peers.lock()).into_values() {
            peer.close("this node is stopping");
        }
        node.health.send_modify(|health| *health = Arc::default());
        node.services.lock().clear();
        let ended = node.running.closed();
        if tokio::time::timeout(HANDLERS_END_TIMEOUT, ended).await.is_err() {
            tracing::warn!("requests of other nodes are still being answered");
        }
    }
}
