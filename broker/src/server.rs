//! Listeners: accept connections within the limits, and end them in order when the broker stops.
//!
//! A port is bound before anything else starts, so that a busy one is reported at once, and it
//! accepts only when the broker is ready. Must never accept more than the limits allow: a client
//! beyond `max.connections` waits in the backlog until another has left.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustix::net::sockopt::set_tcp_congestion;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::connection::{Connection, Shared, serve};
use crate::context::Listener;

/// Connections that the kernel completes before they are accepted. The usual 1,024 overflows when
/// some thousand clients come back at once, and each that is turned away loses a second.
const BACKLOG: u32 = 4096;
/// How long accepting pauses when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is in flight when the broker stops is answered within this time, or not at all.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A port that is bound and does not listen yet.
#[derive(Debug)]
pub(crate) struct BoundPort {
    socket: TcpSocket,
    /// Where, with the port that the system chose if 0 was asked for.
    pub(crate) address: SocketAddr,
}

impl BoundPort {
    /// Binds `address`.
    ///
    /// # Errors
    /// The system's, e.g. that another process listens there.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port whose old connections are still dying can be bound again at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// From now on clients can connect.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)
    }
}

/// How many connections are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// In all: `max.connections`, or fewer if the process may not open so many descriptors.
    pub(crate) connections_max: usize,
    /// From one address: `max.connections.per.ip`.
    pub(crate) per_ip_max: usize,
}

impl ConnectionLimits {
    /// Lets nobody in, until other limits are set.
    pub(crate) const NOBODY: Self = Self { connections_max: 0, per_ip_max: 0 };
}

/// All listeners and their connections.
pub(crate) struct Server {
    inner: Arc<Inner>,
    accepting: JoinSet<()>,
}

struct Inner {
    shared: Arc<Shared>,
    limits: RwLock<ConnectionLimits>,
    /// Connections, and listeners that may accept one more.
    places_taken: Mutex<usize>,
    /// A place was given back, or there are more now.
    place_free: Notify,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    next_id: AtomicU64,
    /// Connections read nothing more and answer what is in flight.
    draining: watch::Sender<bool>,
    /// Connections end at once.
    ended: watch::Sender<bool>,
    open: watch::Sender<usize>,
    /// Replaces BBR on loopback sockets, where it costs up to two thirds of the throughput.
    loopback_congestion: Option<&'static str>,
    limit_was_reached: AtomicBool,
}

impl Server {
    /// A server without a listener.
    pub(crate) fn new(shared: Arc<Shared>, limits: ConnectionLimits) -> Self {
        let inner = Inner {
            shared,
            limits: RwLock::new(limits),
            places_taken: Mutex::new(0),
            place_free: Notify::new(),
            by_ip: Mutex::new(HashMap::new()),
            next_id: AtomicU64::new(0),
            draining: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            open: watch::Sender::new(0),
            loopback_congestion: replacement_for_bbr(),
            limit_was_reached: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner), accepting: JoinSet::new() }
    }

    /// How its limits are changed.
    pub(crate) fn limits(&self) -> LimitsHandle {
        LimitsHandle(Arc::clone(&self.inner))
    }

    /// Lets clients in through `port`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn accept_from(
        &mut self,
        port: BoundPort,
        listener: Arc<Listener>,
    ) -> io::Result<()> {
        let socket = port.listen()?;
        let inner = Arc::clone(&self.inner);
        self.accepting.spawn(async move { inner.accept_all(&socket, &listener).await });
        Ok(())
    }

    /// Closes the ports, lets connections answer what is in flight for at most [`DRAIN_MAX`], then
    /// ends those that are left.
    pub(crate) async fn stop(mut self) {
        self.accepting.shutdown().await;
        self.inner.draining.send_replace(true);
        let mut open = self.inner.open.subscribe();
        if timeout(DRAIN_MAX, open.wait_for(|count| *count == 0)).await.is_err() {
            warn!(connections = *open.borrow(), "connections are closed with requests in flight");
        }
        self.inner.ended.send_replace(true);
        // Each ends at its next poll, so this takes no time unless a handler blocks its thread.
        drop(timeout(DRAIN_MAX, open.wait_for(|count| *count == 0)).await);
    }
}

/// Changes the limits of a server.
pub(crate) struct LimitsHandle(Arc<Inner>);

impl LimitsHandle {
    /// Takes new limits into use. Connections that are open stay: where there are more than the new
    /// limits allow, nobody is let in until enough have left.
    pub(crate) fn set(&self, limits: ConnectionLimits) {
        let before = std::mem::replace(&mut *self.0.limits.write(), limits);
        if before == limits {
            return;
        }
        if before != ConnectionLimits::NOBODY {
            let ConnectionLimits { connections_max, per_ip_max } = limits;
            info!(connections_max, per_ip_max, "the limits of connections have changed");
        }
        self.0.limit_was_reached.store(false, Ordering::Relaxed);
        self.0.place_free.notify_waiters();
    }
}

impl Inner {
    async fn accept_all(self: &Arc<Self>, socket: &TcpListener, listener: &Arc<Listener>) {
        let mut failing = false;
        loop {
            let place = self.place().await;
            match socket.accept().await {
                Ok((stream, peer)) => {
                    failing = false;
                    self.admit(stream, peer, listener, place);
                }
                // The client gave up while it waited in the backlog.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let listener = &listener.name;
                        warn!(listener, %error, "cannot accept connections; raise the limit of open files");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until another connection is allowed.
    async fn place(self: &Arc<Self>) -> Place {
        loop {
            let mut place_free = pin!(self.place_free.notified());
            // Registered before the look, so that nothing is missed in between.
            place_free.as_mut().enable();
            if let Some(place) = self.try_place() {
                return place;
            }
            if !self.limit_was_reached.swap(true, Ordering::Relaxed) {
                let connections_max = self.limits.read().connections_max;
                warn!(connections_max, "the limit of connections is reached; new clients wait");
            }
            place_free.await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let connections_max = self.limits.read().connections_max;
        let mut taken = self.places_taken.lock();
        if *taken >= connections_max {
            return None;
        }
        *taken += 1;
        Some(Place(Arc::clone(self)))
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        listener: &Arc<Listener>,
        place: Place,
    ) {
        let Some(guest) = Guest::new(self, peer.ip().to_canonical(), place) else {
            self.shared.metrics.refused();
            debug!(%peer, "closed a connection beyond max.connections.per.ip");
            return;
        };
        prepare(&stream, peer, self.loopback_congestion);
        let connection = Connection {
            stream,
            listener: Arc::clone(listener),
            peer,
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
        };
        let served = serve(Arc::clone(&self.shared), connection, self.draining.subscribe());
        let mut ended = self.ended.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
            drop(guest);
        });
    }
}

/// One of the places for connections, given back when dropped.
struct Place(Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.places_taken.lock() -= 1;
        self.0.place_free.notify_one();
    }
}

/// The place of one connection among the limits, left when dropped.
struct Guest {
    inner: Arc<Inner>,
    ip: IpAddr,
    _place: Place,
}

impl Guest {
    /// `None` if there are already enough from `ip`.
    fn new(inner: &Arc<Inner>, ip: IpAddr, place: Place) -> Option<Self> {
        let per_ip_max = inner.limits.read().per_ip_max;
        let mut by_ip = inner.by_ip.lock();
        let count = by_ip.get(&ip).copied().unwrap_or(0);
        if count >= per_ip_max {
            return None;
        }
        by_ip.insert(ip, count + 1);
        drop(by_ip);
        inner.open.send_modify(|open| *open += 1);
        inner.shared.metrics.connected();
        Some(Self { inner: Arc::clone(inner), ip, _place: place })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut by_ip = self.inner.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&self.ip);
            }
        }
        drop(by_ip);
        self.inner.shared.metrics.disconnected();
        self.inner.open.send_modify(|open| *open -= 1);
    }
}

/// Sets what a socket can do without, so a refusal is only worth a line for the curious.
fn prepare(stream: &TcpStream, peer: SocketAddr, loopback_congestion: Option<&str>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    if let Some(algorithm) = loopback_congestion.filter(|_| peer.ip().to_canonical().is_loopback())
        && let Err(error) = set_tcp_congestion(stream, algorithm)
    {
        debug!(%peer, %error, algorithm, "cannot set the congestion control");
    }
}

/// What loopback sockets use instead of BBR, whose pacing has nothing to pace there; `None` if the
/// system's default is not BBR.
fn replacement_for_bbr() -> Option<&'static str> {
    let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    if read("tcp_congestion_control")?.trim() != "bbr" {
        return None;
    }
    let allowed = read("tcp_allowed_congestion_control")?;
    let chosen =
        ["cubic", "reno"].into_iter().find(|name| allowed.split_whitespace().any(|a| a == *name));
    info!(algorithm = chosen, "loopback connections do not use BBR");
    chosen
}

#[cfg(test)]
mod tests;
