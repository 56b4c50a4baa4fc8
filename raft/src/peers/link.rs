//! One lane to one peer: opens its connection when it is needed, and again after it was lost.
//!
//! A connection is opened by a task of its own, so that a caller without patience does not end the
//! try that others wait for. After a failed try the lane rests for a while, in which calls fail at
//! once with the reason of the failure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::Connection;
use super::hello::{self, HelloError, Purpose};
use super::{Node, PeerAddress};
use protocol::types::BrokerId;

/// A try to connect is over by then, the greeting not included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The rest after the first failed try; it doubles…
const REST_FIRST: Duration = Duration::from_millis(50);
/// …up to this.
const REST_MAX: Duration = Duration::from_millis(400);

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) struct NoConnection {
    /// Nobody listens there: the process has ended or not begun.
    pub(super) nobody_listens: bool,
    /// The reason.
    pub(super) why: Arc<str>,
}

type Opened = Result<Arc<Connection>, NoConnection>;

/// A lane.
#[derive(Debug)]
pub(super) struct Link {
    node: Arc<Node>,
    broker_id: BrokerId,
    address: PeerAddress,
    purpose: Purpose,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Opening(watch::Receiver<Option<Opened>>),
    Open(Arc<Connection>),
    Resting { until: Instant, rest: Duration, failure: NoConnection },
    Closed,
}

impl Link {
    pub(super) fn new(
        node: Arc<Node>,
        broker_id: BrokerId,
        address: PeerAddress,
        purpose: Purpose,
    ) -> Arc<Self> {
        Arc::new(Self { node, broker_id, address, purpose, state: Mutex::new(State::Idle) })
    }

    /// The open connection; opens one if there is none and the lane does not rest.
    pub(super) async fn connection(self: &Arc<Self>) -> Opened {
        self.connect(false).await
    }

    /// As [`Self::connection`], but does not respect the rest.
    pub(super) async fn connection_now(self: &Arc<Self>) -> Opened {
        self.connect(true).await
    }

    /// The connection, if one is open.
    pub(super) fn open_connection(&self) -> Option<Arc<Connection>> {
        match &*self.state.lock() {
            State::Open(connection) => Some(Arc::clone(connection)),
            State::Idle | State::Opening(_) | State::Resting { .. } | State::Closed => None,
        }
    }

    /// Ends the open connection, if there is one. A try to open one goes on.
    pub(super) fn end(&self, why: &str) {
        if let Some(connection) = self.open_connection() {
            connection.close(why);
        }
    }

    /// Ends a rest: the peer is there again.
    pub(super) fn wake(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Resting { .. }) {
            *state = State::Idle;
        }
    }

    /// Ends the present connection or try, if there is one; the next call opens another.
    pub(super) fn reset(&self, why: &str) {
        let mut state = self.state.lock();
        if let State::Open(connection) = &*state {
            connection.close(why);
        }
        if !matches!(*state, State::Closed) {
            *state = State::Idle;
        }
    }

    /// Ends it for good.
    pub(super) fn close(&self, why: &str) {
        self.reset(why);
        *self.state.lock() = State::Closed;
    }

    async fn connect(self: &Arc<Self>, now: bool) -> Opened {
        let mut opening = match self.begin(now) {
            Begun::Done(opened) => return opened,
            Begun::Wait(opening) => opening,
        };
        let opened = opening.wait_for(Option::is_some).await.map(|opened| opened.clone());
        let gone = || NoConnection { nobody_listens: false, why: "the try was given up".into() };
        opened.ok().flatten().unwrap_or_else(|| Err(gone()))
    }

    fn begin(self: &Arc<Self>, now: bool) -> Begun {
        let mut state = self.state.lock();
        let mut rest = REST_FIRST;
        match &*state {
            State::Opening(opening) => return Begun::Wait(opening.clone()),
            State::Open(connection) if connection.end().is_none() => {
                return Begun::Done(Ok(Arc::clone(connection)));
            }
            State::Resting { until, failure, .. } if !now && *until > Instant::now() => {
                return Begun::Done(Err(failure.clone()));
            }
            State::Resting { rest: last, .. } => rest = (*last * 2).min(REST_MAX),
            State::Closed => {
                let why = "this node does not know it any more".into();
                return Begun::Done(Err(NoConnection { nobody_listens: false, why }));
            }
            State::Idle | State::Open(_) => {}
        }
        let (sender, opening) = watch::channel(None);
        *state = State::Opening(opening.clone());
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let opened = open(&link.node, &link.address, Some(link.broker_id), link.purpose).await;
            let opened = link.finish(opened, rest, &sender);
            sender.send_replace(Some(opened));
        });
        Begun::Wait(opening)
    }

    /// Notes how a try ended, unless the lane was reset meanwhile.
    fn finish(
        &self,
        opened: Opened,
        rest: Duration,
        mine: &watch::Sender<Option<Opened>>,
    ) -> Opened {
        let mut state = self.state.lock();
        let is_mine = match &*state {
            State::Opening(opening) => opening.same_channel(&mine.subscribe()),
            State::Idle | State::Open(_) | State::Resting { .. } | State::Closed => false,
        };
        if !is_mine {
            let why: Arc<str> = "the address or the cluster changed".into();
            if let Ok(connection) = opened {
                connection.close(&why);
            }
            return Err(NoConnection { nobody_listens: false, why });
        }
        *state = match &opened {
            Ok(connection) => State::Open(Arc::clone(connection)),
            Err(failure) => {
                State::Resting { until: Instant::now() + rest, rest, failure: failure.clone() }
            }
        };
        opened
    }
}

enum Begun {
    Done(Opened),
    Wait(watch::Receiver<Option<Opened>>),
}

/// Connects and greets. If `expected` is given, nobody else may answer.
pub(super) async fn open(
    node: &Node,
    address: &PeerAddress,
    expected: Option<BrokerId>,
    purpose: Purpose,
) -> Opened {
    let failed = |nobody_listens, why: String| NoConnection { nobody_listens, why: why.into() };
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let mut stream = match connected {
        Err(_elapsed) => {
            return Err(failed(false, format!("{address} did not accept in {CONNECT_TIMEOUT:?}")));
        }
        Ok(Err(error)) => {
            let nobody_listens = error.kind() == std::io::ErrorKind::ConnectionRefused;
            return Err(failed(nobody_listens, format!("{address}: {error}")));
        }
        Ok(Ok(stream)) => stream,
    };
    if let Err(error) = stream.set_nodelay(true) {
        return Err(failed(false, format!("{address}: {error}")));
    }
    let greeted = hello::greet(&mut stream, &node.identity(), purpose).await;
    let answerer = greeted.map_err(|error| {
        if let HelloError::Refused(why) | HelloError::Unwelcome(why) = &error {
            node.warnings.say(&format!("{address}: {why}"), "a node is not one of ours");
        }
        failed(false, format!("{address}: {error}"))
    })?;
    if let Some(expected) = expected
        && answerer.replica.broker_id != expected
    {
        let why = format!("{address} is {}, not broker {expected}", answerer.replica);
        node.warnings.say(&why, "an address leads to another broker");
        return Err(failed(false, why));
    }
    Ok(Connection::start(stream, answerer))
}
