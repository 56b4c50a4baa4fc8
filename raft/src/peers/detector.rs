//! Finds out which peers are there: one task for each of them, over the control lane.
//!
//! ```text
//!          answered ping                    closed, or no answer for SUSPECTED_AFTER
//! Down ──────────────────> Up ────────────────────────────────────────────> Suspected
//!   ^                       ^──────────────── answered ping ───────────────────│
//!   └── nobody listens, twice within CONFIRM_AFTER, or silence for DOWN_AFTER ──┘
//! ```
//! A process that was killed is known to be gone after about [`CONFIRM_AFTER`]: its sockets close and
//! nobody listens. A host that vanished or a process that hangs is silent, and silence has a limit. If
//! this node itself was stopped or starved, the silence was its own, and the time begins anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::Connection;
use super::frame::Kind;
use super::link::NoConnection;
use super::{CallError, Health, Node, Peer, ServiceId};
use crate::fitness::Fitness;

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_millis(200);
/// An unanswered ping makes a peer suspected after this.
const SUSPECTED_AFTER: Duration = Duration::from_millis(400);
/// Silence makes it down after this.
const DOWN_AFTER: Duration = Duration::from_millis(700);
/// Time between the two tries that find nobody listening.
const CONFIRM_AFTER: Duration = Duration::from_millis(30);
/// Time between two tries to reach a peer that is down.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// A timer that goes off this late says that this node was stopped.
const STARVED_AFTER: Duration = Duration::from_millis(250);
/// The bulk lane is pinged only so that the other side knows that it is alive.
const BULK_PING_EVERY: Duration = Duration::from_secs(10);

const _: () = assert!(SUSPECTED_AFTER.as_millis() < DOWN_AFTER.as_millis());
const _: () = assert!(PING_EVERY.as_millis() < SUSPECTED_AFTER.as_millis());

/// Watches one peer until it is closed.
pub(super) async fn watch_peer(node: Arc<Node>, peer: Arc<Peer>) {
    let mut closed = peer.closed.subscribe();
    let watching = async {
        let mut detector = Detector::new(&node, &peer);
        loop {
            detector.round().await;
        }
    };
    // May be cancelled anywhere: it only pings and connects.
    tokio::select! {
        () = watching => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

struct Detector<'a> {
    node: &'a Node,
    peer: &'a Arc<Peer>,
    /// When it was last known to be there, or when the wait for it began.
    heard: Instant,
    /// Tries in a row that found nobody listening.
    nobody: u32,
    bulk_pinged: Instant,
}

impl<'a> Detector<'a> {
    fn new(node: &'a Node, peer: &'a Arc<Peer>) -> Self {
        let now = Instant::now();
        Self { node, peer, heard: now, nobody: 0, bulk_pinged: now }
    }

    /// Connects and pings until the connection ends, or fails to connect and rests.
    async fn round(&mut self) {
        // A peer that is down already is given the same time for each try.
        if self.is_down() {
            self.heard = Instant::now();
        }
        let connecting = self.peer.control.connection_now();
        let connected = match self.within(DOWN_AFTER, connecting).await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(failure)) => Err(failure),
            None => {
                let why = format!("it has not answered for {DOWN_AFTER:?}").into();
                Err(NoConnection { nobody_listens: false, why })
            }
        };
        match connected {
            Ok(connection) => {
                self.nobody = 0;
                self.ping(&connection).await;
            }
            Err(failure) => self.failed(&failure).await,
        }
    }

    async fn ping(&mut self, connection: &Connection) {
        loop {
            let sent = Instant::now();
            let ponged = tokio::select! {
                ponged = self.pong(connection) => ponged,
                () = connection.ended() => false,
            };
            if !ponged {
                let why = connection.end().unwrap_or_else(|| "it does not answer".into());
                return self.lost(&why);
            }
            self.heard = Instant::now();
            self.tell(Health::Up, "it answers");
            self.keep_bulk_alive();
            tokio::select! {
                () = sleep_until(sent + PING_EVERY) => {}
                () = connection.ended() => {}
            }
        }
    }

    /// Sends one ping; whether it was answered before the peer had to be taken for down.
    async fn pong(&mut self, connection: &Connection) -> bool {
        let mut pinging = Box::pin(connection.call(Kind::Ping, ServiceId(0), Vec::new()));
        match self.within(SUSPECTED_AFTER, &mut pinging).await {
            Some(outcome) => return self.take_pong(outcome),
            None => self.suspect("it is silent"),
        }
        let ponged = self.within(DOWN_AFTER, pinging).await;
        ponged.is_some_and(|outcome| self.take_pong(outcome))
    }

    /// The answer says how the peer's disk stands; an empty one that nothing is known of it.
    fn take_pong(&self, outcome: Result<Bytes, CallError>) -> bool {
        let Ok(answer) = outcome else { return false };
        let fitness = answer.first().map_or(Fitness::Fit, |tag| Fitness::of_tag(*tag));
        let broker_id = self.peer.broker_id;
        if self.node.set_fitness(broker_id, fitness) {
            let fitness = fitness.name();
            tracing::warn!(%broker_id, fitness, "the disk of a peer");
        }
        true
    }

    /// Waits until the silence has lasted for `limit`. If the wait was over much too late, this node
    /// did not run, and the silence begins anew.
    async fn within<T>(&mut self, limit: Duration, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = std::pin::pin!(wait);
        loop {
            let until = self.heard + limit;
            if let Ok(done) = timeout_at(until, &mut wait).await {
                return Some(done);
            }
            if Instant::now() < until + STARVED_AFTER {
                return None;
            }
            tracing::warn!("this node was stopped or starved: it waits for its peers anew");
            self.heard = Instant::now();
        }
    }

    /// The connection has ended, or the peer was silent for too long.
    fn lost(&mut self, why: &str) {
        if self.heard.elapsed() >= DOWN_AFTER {
            self.down(why);
        } else {
            self.suspect(why);
        }
    }

    async fn failed(&mut self, failure: &NoConnection) {
        self.nobody = if failure.nobody_listens { self.nobody + 1 } else { 0 };
        let began = Instant::now();
        if self.nobody >= 2 || self.heard.elapsed() >= DOWN_AFTER || self.is_down() {
            self.down(&failure.why);
            sleep_until(began + RETRY_EVERY).await;
        } else {
            self.suspect(&failure.why);
            sleep_until(began + CONFIRM_AFTER).await;
        }
    }

    fn down(&self, why: &str) {
        // Whatever waits for an answer on these connections waits in vain.
        self.peer.control.end(why);
        self.peer.bulk.end(why);
        self.tell(Health::Down, why);
    }

    /// What is down stays down until it answers.
    fn suspect(&self, why: &str) {
        if !self.is_down() {
            self.tell(Health::Suspected, why);
        }
    }

    fn is_down(&self) -> bool {
        self.node.health_of(self.peer.broker_id) == Some(Health::Down)
    }

    fn tell(&self, health: Health, why: &str) {
        self.node.set_health(self.peer, health, why);
    }

    fn keep_bulk_alive(&mut self) {
        if self.bulk_pinged.elapsed() < BULK_PING_EVERY {
            return;
        }
        self.bulk_pinged = Instant::now();
        if let Some(connection) = self.peer.bulk.open_connection() {
            tokio::spawn(async move {
                let ping = connection.call(Kind::Ping, ServiceId(0), Vec::new());
                // Nobody asks how it ends; it must not wait for ever.
                drop(tokio::time::timeout(BULK_PING_EVERY, ping).await);
            });
        }
    }
}
