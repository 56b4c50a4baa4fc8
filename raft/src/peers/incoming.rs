//! Connections that others opened: who they are, what they ask, and what they are answered.
//!
//! Nothing that comes is believed: a connection that has not finished its greeting in time, sends a
//! frame that cannot be read or one that is not its turn, is closed with a warning that names the
//! other end. What waits and what is being answered is bounded for each connection: the bulk lane is
//! not read while it has too much of either, the control lane is refused, so that pings pass.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::io::BufReader;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::frame::{Frame, FrameError, Kind, Pieces, read_frame};
use super::hello::{self, Purpose};
use super::{Caller, MESSAGE_BYTES_MAX, Message, Node, ServiceId};
use crate::types::ReplicaId;

/// Connections at once; more are closed at once.
const CONNECTIONS_MAX: usize = 512;
/// Of these, connections that have not finished their greeting.
const STRANGERS_MAX: usize = 32;
/// Requests of one connection that are being answered.
const REQUESTS_MAX: usize = 1024;
/// Bytes of requests of one connection that are being answered. A larger one goes alone.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Answers that wait for the writer of one connection.
const ANSWERS_WAITING_MAX: usize = 256;
/// The writer gathers no further answer once it has this many bytes.
const WRITE_BYTES_MAX: usize = 1 << 20;
const READ_BUFFER_BYTES: usize = 16 << 10;
/// A lane on which nothing came for this long is dead: callers ping each of theirs more often.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the listener rests when the system refuses it a connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Accepts until the node closes.
pub(super) async fn accept(listener: TcpListener, node: Arc<Node>) {
    let _running = node.running.subscribe();
    let mut closing = node.closing.subscribe();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                node.warnings.say(&error.to_string(), "a node's connection was not accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let place = Arc::clone(&places).try_acquire_owned();
        let stranger = Arc::clone(&strangers).try_acquire_owned();
        let (Ok(place), Ok(stranger)) = (place, stranger) else {
            node.warnings.say(&address.to_string(), "too many nodes connect: one was turned away");
            continue;
        };
        let node = Arc::clone(&node);
        let running = node.running.subscribe();
        let mut closing = node.closing.subscribe();
        tokio::spawn(async move {
            let serving = serve(stream, address, &node, stranger);
            // Cancelled only at the end, when no answer can be given any more.
            tokio::select! {
                () = serving => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
            drop((place, running));
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    node: &Arc<Node>,
    stranger: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "a connection was lost before its greeting");
        return;
    }
    let (caller, purpose) = match hello::answer(&mut stream, &node.identity()).await {
        Ok(greeted) => greeted,
        Err(error) => {
            node.warnings.say(&format!("{address}: {error}"), "a node was not let in");
            return;
        }
    };
    drop(stranger);
    let newest = node.lanes.enter(caller.replica, purpose);
    let (reader, writer) = stream.into_split();
    let (answers, queued) = mpsc::channel(ANSWERS_WAITING_MAX);
    let mut lane = Lane {
        node: Arc::clone(node),
        caller: Arc::new(caller),
        purpose,
        answers,
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        bytes: Arc::new(Semaphore::new(REQUEST_BYTES_MAX)),
        newest,
    };
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let writing = tokio::spawn(write_answers(writer, queued));
    let end = loop {
        match read_frame(&mut reader, MESSAGE_BYTES_MAX, SILENCE_MAX).await {
            Ok(frame) => {
                if let Err(end) = lane.take(frame).await {
                    break end;
                }
            }
            Err(error) => break error,
        }
    };
    // Answers that are still being made have nowhere to go.
    writing.abort();
    match end {
        FrameError::Closed | FrameError::Io(_) => {
            tracing::debug!(peer = %lane.caller.replica, ?purpose, %end, "a connection has ended");
        }
        FrameError::Silent(_) | FrameError::Garbage(_) => {
            let what = format!("{} at {address}: {end}", lane.caller.replica);
            node.warnings.say(&what, "the connection of a node was closed");
        }
    }
}

/// An incoming connection after its greeting.
struct Lane {
    node: Arc<Node>,
    caller: Arc<Caller>,
    purpose: Purpose,
    answers: mpsc::Sender<Answer>,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    newest: Newest,
}

/// Which incoming connection of a lane is the newest.
#[derive(Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<LaneTable>>);

type LaneTable = HashMap<(ReplicaId, Purpose), Arc<AtomicBool>>;

/// Whether a connection is still the newest of its lane: what is left on an older one came before,
/// and must not be handed on after.
#[derive(Debug)]
struct Newest {
    table: Arc<Mutex<LaneTable>>,
    lane: (ReplicaId, Purpose),
    is_newest: Arc<AtomicBool>,
}

impl Lanes {
    fn enter(&self, replica: ReplicaId, purpose: Purpose) -> Newest {
        let (lane, is_newest) = ((replica, purpose), Arc::new(AtomicBool::new(true)));
        // Calls to an address are independent of each other.
        if purpose != Purpose::Once
            && let Some(older) = self.0.lock().insert(lane, Arc::clone(&is_newest))
        {
            older.store(false, Ordering::Release);
        }
        Newest { table: Arc::clone(&self.0), lane, is_newest }
    }
}

impl Newest {
    fn is(&self) -> bool {
        self.is_newest.load(Ordering::Acquire)
    }
}

impl Drop for Newest {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        if table.get(&self.lane).is_some_and(|newest| Arc::ptr_eq(newest, &self.is_newest)) {
            table.remove(&self.lane);
        }
    }
}

/// What holds a request's share of the limits until its answer is written.
type Share = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// An answer on its way to the writer.
struct Answer {
    kind: Kind,
    correlation: u64,
    payload: Message,
    _share: Option<Share>,
}

impl Lane {
    /// Deals with one frame. Waits only while the lane is above its limits.
    async fn take(&mut self, frame: Frame) -> Result<(), FrameError> {
        let Frame { kind, service, correlation, payload } = frame;
        match kind {
            Kind::Ping => {
                let fitness = vec![vec![self.node.own_fitness().tag()].into()];
                self.send(Kind::Pong, correlation, fitness, None).await
            }
            Kind::Request => self.request(ServiceId(service), correlation, payload).await,
            Kind::Hello
            | Kind::Challenge
            | Kind::Proof
            | Kind::Welcome
            | Kind::Refused
            | Kind::Answer
            | Kind::Refusal
            | Kind::Pong => Err(FrameError::Garbage(format!("{kind:?} where a request was due"))),
        }
    }

    async fn request(
        &self,
        service: ServiceId,
        correlation: u64,
        request: Bytes,
    ) -> Result<(), FrameError> {
        let Some(share) = self.share(request.len()).await else {
            let why = "too many requests of this node are unanswered".to_owned();
            return self.send(Kind::Refusal, correlation, vec![why.into()], None).await;
        };
        if !self.newest.is() {
            return Err(FrameError::Closed);
        }
        let answering = match self.node.handler(service, &self.caller) {
            Err(why) => {
                let refusal = vec![why.into()];
                return self.send(Kind::Refusal, correlation, refusal, Some(share)).await;
            }
            Ok(handler) => {
                // Here, on the task that reads: the order of arrival.
                let caller = Caller::clone(&self.caller);
                let call = AssertUnwindSafe(|| handler.call(caller, request));
                std::panic::catch_unwind(call)
            }
        };
        let answers = self.answers.clone();
        let running = self.node.running.subscribe();
        // Never cancelled: what it calls may not bear that.
        tokio::spawn(async move {
            let outcome = match answering {
                Ok(answering) => AssertUnwindSafe(answering).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            let (kind, payload) = match outcome {
                Ok(Ok(payload)) => answer_or_too_large(payload),
                Ok(Err(why)) => (Kind::Refusal, vec![why.into()]),
                Err(_panic) => (Kind::Refusal, vec![Bytes::from_static(b"the handler panicked")]),
            };
            let answer = Answer { kind, correlation, payload, _share: Some(share) };
            // A connection that is gone takes no answers.
            drop(answers.send(answer).await);
            drop(running);
        });
        Ok(())
    }

    /// The request's share of the limits; none if it cannot be had and must not be waited for.
    async fn share(&self, request_bytes: usize) -> Option<Share> {
        let bytes = u32::try_from(request_bytes.min(REQUEST_BYTES_MAX)).expect("it is below 4 GiB");
        let (requests, all) = (Arc::clone(&self.requests), Arc::clone(&self.bytes));
        match self.purpose {
            Purpose::Control => {
                let share = requests
                    .try_acquire_owned()
                    .and_then(|request| Ok((request, all.try_acquire_many_owned(bytes)?)));
                share.ok()
            }
            Purpose::Bulk | Purpose::Once => {
                let request = requests.acquire_owned().await.ok()?;
                Some((request, all.acquire_many_owned(bytes).await.ok()?))
            }
        }
    }

    async fn send(
        &self,
        kind: Kind,
        correlation: u64,
        payload: Message,
        share: Option<Share>,
    ) -> Result<(), FrameError> {
        let answer = Answer { kind, correlation, payload, _share: share };
        self.answers.send(answer).await.map_err(|_writer_ended| FrameError::Closed)
    }
}

fn answer_or_too_large(payload: Message) -> (Kind, Message) {
    let bytes = payload.iter().map(Bytes::len).sum::<usize>();
    if bytes <= MESSAGE_BYTES_MAX {
        return (Kind::Answer, payload);
    }
    let why = format!("the answer has {bytes} bytes, and {MESSAGE_BYTES_MAX} are allowed");
    (Kind::Refusal, vec![why.into()])
}

async fn write_answers(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Answer>) {
    let mut pieces = Pieces::default();
    let mut shares = Vec::new();
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(Answer { kind, correlation, payload, _share }) = next {
            pieces.push(kind, 0, correlation, payload);
            shares.push(_share);
            let full = pieces.bytes() >= WRITE_BYTES_MAX;
            next = if full { None } else { queue.try_recv().ok() };
        }
        if let Err(error) = pieces.write(&mut writer).await {
            // The reader finds out by itself, and says it.
            tracing::debug!(%error, "an answer could not be written");
            return;
        }
        shares.clear();
    }
}
