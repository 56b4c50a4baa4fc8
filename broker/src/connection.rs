//! One connection: requests in, responses out.
//!
//! ```text
//! socket ─> frames ─> decode ─> handler ─> Work ─> in flight ─> responses ─> outbox ─> socket
//!           (the reader, in order of arrival)     (the writer, in the same order)
//! ```
//! Reader and writer are two halves of one task, polled in this order: what a burst of requests asks
//! for has begun when the writer looks, and neither ever wakes the other. A frame's memory is reserved
//! before its body is read and freed after its response has left. At most [`REQUESTS_IN_FLIGHT_MAX`]
//! requests wait for their response; then nothing more is read. Must never wait for a handler's second
//! stage in the reader, and never answer out of order.
//!
//! Between taking a slot and queueing the work there is no await: a request that was handed to its
//! handler always reaches the writer.

mod frames;
mod in_flight;
mod outbox;
pub(crate) mod refusal;
mod responses;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::request::{Decoded, Request, RequestHeader, decode};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

use crate::context::{Listener, RequestContext};
use crate::handlers::api_versions::too_new;
use crate::metrics::EdgeMetrics;
use crate::read_buffers::ReadBuffers;
use crate::reply::Work;
use crate::request_memory::RequestMemory;
use crate::telemetry::SoftwareCell;
use frames::{Frame, Frames, ReadEnd};
use in_flight::{Awaiting, InFlight, closed_by_panic};
use refusal::{Refusal, Warnings};
use responses::{Responses, WriteEnd, send_farewell};

/// Requests of one connection without a response; then it is not read until one has left.
pub(crate) const REQUESTS_IN_FLIGHT_MAX: usize = 512;
/// Requests in flight that an idle connection keeps room for.
const REQUESTS_KEPT_MAX: usize = 4;
/// The reader lets the flusher, the writer and other connections have their turn after frames of this
/// size…
const BURST_BYTES_MAX: usize = 256 << 10;
/// …of which each counts as this much at least.
const BURST_BYTES_PER_FRAME_MIN: usize = 4 << 10;
/// A connection that waits for a slot keeps its read buffer this long, since a slot is usually free
/// within one disk commit.
const BUFFER_HELD_MAX: Duration = Duration::from_millis(250);
/// What a client is still owed when it has closed its side leaves within this time.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// What serves requests: the dispatcher with its broker, or a test's own function.
pub(crate) trait Serve: Send + Sync {
    /// The order-sensitive stage of a request.
    fn handle(&self, context: &RequestContext, request: Request) -> Work;

    /// Runs `burst`, in which requests of one connection may be handled one after the other.
    fn in_burst(&self, burst: &mut dyn FnMut()) {
        burst();
    }
}

impl<F: Fn(&RequestContext, Request) -> Work + Send + Sync> Serve for F {
    fn handle(&self, context: &RequestContext, request: Request) -> Work {
        self(context, request)
    }
}

/// What all connections share.
pub(crate) struct Shared {
    /// What serves the requests.
    pub(crate) handle: Box<dyn Serve>,
    /// Where sockets are read into.
    pub(crate) buffers: Arc<ReadBuffers>,
    /// The budget of request bytes.
    pub(crate) memory: RequestMemory,
    /// Where things are counted.
    pub(crate) metrics: Arc<EdgeMetrics>,
    /// Limits from the settings.
    pub(crate) limits: Limits,
    /// Who clients are until users exist.
    pub(crate) anonymous: Arc<str>,
    /// Where the HTTP port is, for clients that look for it here.
    pub(crate) http_address: String,
    /// Keeps hostile clients from filling the log.
    pub(crate) warnings: Warnings,
}

/// Limits from the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// `socket.request.max.bytes`.
    pub(crate) request_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub(crate) idle_max: Duration,
}

/// One accepted connection.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// Through which listener it came.
    pub(crate) listener: Arc<Listener>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Which connection of this process's life.
    pub(crate) id: u64,
}

/// The client of a connection, as both of its sides see it.
struct Client {
    /// Bytes are written through it. Dropping it ends the connection for the client, too.
    stream: OwnedWriteHalf,
    listener: Arc<Listener>,
    peer: SocketAddr,
    id: u64,
    software: Arc<SoftwareCell>,
}

/// What the reading and the writing side of a connection tell each other.
pub(crate) struct Link {
    slots: Semaphore,
    requests: Mutex<Requests>,
    began: Instant,
    /// Milliseconds after `began`.
    last_response_ms: AtomicU64,
    stopping: AtomicBool,
}

/// The requests in flight. The lock is never contended: both sides run in one task.
struct Requests {
    /// The oldest first; as many as slots are taken, less those whose response is being written.
    in_order: VecDeque<InFlight>,
    /// Whether more may come.
    reading: bool,
}

impl Requests {
    fn pop_oldest(&mut self) -> InFlight {
        let oldest = self.in_order.pop_front().expect("the caller has seen one");
        if self.in_order.is_empty() {
            self.in_order.shrink_to(REQUESTS_KEPT_MAX);
        }
        oldest
    }
}

impl Link {
    fn new() -> Self {
        Self {
            slots: Semaphore::new(REQUESTS_IN_FLIGHT_MAX),
            requests: Mutex::new(Requests { in_order: VecDeque::new(), reading: true }),
            began: Instant::now(),
            last_response_ms: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Takes a slot, which the writer gives back, if one is free.
    fn try_take_slot(&self) -> bool {
        self.slots.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// Takes a slot, which the writer gives back. May be cancelled.
    async fn take_slot(&self) {
        self.slots.acquire().await.expect("the slots are never closed").forget();
    }

    fn give_back(&self, count: usize, now: Instant) {
        self.slots.add_permits(count);
        let elapsed_ms = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        self.last_response_ms.store(elapsed_ms, Ordering::Relaxed);
    }

    fn in_flight(&self) -> usize {
        REQUESTS_IN_FLIGHT_MAX - self.slots.available_permits()
    }

    fn last_response_at(&self) -> Instant {
        self.began + Duration::from_millis(self.last_response_ms.load(Ordering::Relaxed))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Serves `connection` until it ends, or until `stop` becomes true: then nothing more is read, and
/// what is in flight is answered before this returns (but for a fetch that waits for records).
/// Dropping it ends the connection at once.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    connection: Connection,
    mut stop: watch::Receiver<bool>,
) {
    let Connection { stream, listener, peer, id } = connection;
    let (stream, written) = stream.into_split();
    let software = Arc::default();
    let client = Client { stream: written, listener, peer, id, software };
    let link = Link::new();
    let mut writer = pin!(Responses::new(client.stream.as_ref(), &shared, &link).write_all());
    let reader = Reader { shared: &shared, client: &client, link: &link };
    // The reader is dropped when its branch is not taken.
    let read_end = tokio::select! {
        biased;
        end = in_bursts(&shared, reader.run(stream)) => Some(end),
        end = &mut writer => return log_write_end(&client, end),
        _ = stop.wait_for(|stopping| *stopping) => {
            link.stopping.store(true, Ordering::Relaxed);
            None
        }
    };
    link.requests.lock().reading = false;
    match read_end {
        // The server limits how long all connections together may take.
        None => log_write_end(&client, writer.await),
        Some(end) => {
            if let Ok(ended) = timeout(LINGER_MAX, writer).await {
                log_write_end(&client, ended);
            }
            conclude(&shared, &client, end).await;
        }
    }
}

/// What `reader` does in one poll is one burst.
async fn in_bursts<T>(shared: &Shared, reader: impl Future<Output = T>) -> T {
    let mut reader = pin!(reader);
    poll_fn(|cx| {
        let mut poll = Poll::Pending;
        shared.handle.in_burst(&mut || poll = reader.as_mut().poll(cx));
        poll
    })
    .await
}

/// The reading side of a connection.
struct Reader<'a> {
    shared: &'a Shared,
    client: &'a Client,
    link: &'a Link,
}

impl Reader<'_> {
    /// Reads and hands over requests until there are no more. May be cancelled at every await.
    async fn run(self, stream: OwnedReadHalf) -> ReadEnd {
        let mut frames = Frames::new(stream, self.shared, self.link);
        let mut burst_bytes = 0;
        loop {
            let frame = match frames.next().await {
                Ok(frame) => frame,
                Err(end) => return end,
            };
            burst_bytes += frame.bytes.len().max(BURST_BYTES_PER_FRAME_MIN);
            if !self.link.try_take_slot() {
                self.take_slot(&mut frames).await;
            }
            if let Err(refusal) = self.hand_over(frame) {
                return ReadEnd::Refused(refusal);
            }
            if burst_bytes >= BURST_BYTES_MAX {
                // A client that never lets the socket run dry must not keep this task, nor this
                // thread, for its requests alone.
                burst_bytes = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn take_slot(&self, frames: &mut Frames<'_>) {
        if timeout(BUFFER_HELD_MAX, self.link.take_slot()).await.is_err() {
            let _reserved = frames.release_buffer().await;
            self.link.take_slot().await;
        }
    }

    /// Runs the first stage of a request and queues the rest. Never awaits.
    fn hand_over(&self, frame: Frame) -> Result<(), Refusal> {
        let frame_bytes = frame.bytes.len();
        let (header, work) = match decode(frame.bytes).map_err(Refusal::Request)? {
            Decoded::Request(header, request) => {
                let work = self.first_stage(&header, request);
                (header, work)
            }
            Decoded::ApiVersionsTooNew(header) => {
                // Whatever the client asked for, it can read version 0 (behaviour 1).
                let response = too_new();
                (RequestHeader { api_version: 0, ..header }, Work::message(response))
            }
        };
        if let Some(metrics) = self.shared.metrics.api(header.api_key) {
            metrics.requested(frame_bytes);
        }
        let awaiting = Awaiting {
            api_key: header.api_key,
            correlation_id: header.correlation_id,
            api_version: header.api_version,
            arrived: frame.arrived,
            _memory: frame.memory,
        };
        self.link.requests.lock().in_order.push_back(InFlight::new(work, awaiting));
        Ok(())
    }

    fn first_stage(&self, header: &RequestHeader, request: Request) -> Work {
        let context = RequestContext {
            listener: Arc::clone(&self.client.listener),
            principal: Arc::clone(&self.shared.anonymous),
            client_id: header.client_id.clone(),
            client_address: self.client.peer.ip().to_canonical(),
            connection_id: self.client.id,
            api_version: header.api_version,
            correlation_id: header.correlation_id,
            client_port: self.client.peer.port(),
            software: Arc::clone(&self.client.software),
        };
        catch_unwind(AssertUnwindSafe(|| self.shared.handle.handle(&context, request)))
            .unwrap_or_else(|panic| Work::Done(closed_by_panic(panic.as_ref())))
    }
}

/// Says why the reading side ended, to the log and, where it helps, to the client.
async fn conclude(shared: &Shared, client: &Client, end: ReadEnd) {
    let Client { stream, peer, listener, id, .. } = client;
    match end {
        ReadEnd::Closed => debug!(%peer, connection = id, "the client closed the connection"),
        ReadEnd::ClosedMidFrame => debug!(%peer, connection = id, "the client left within a frame"),
        ReadEnd::Idle => debug!(%peer, connection = id, "closed an idle connection"),
        ReadEnd::Stalled => debug!(%peer, connection = id, "a frame did not become whole in time"),
        ReadEnd::Failed(error) => debug!(%peer, connection = id, %error, "the socket failed"),
        ReadEnd::Refused(refusal) => {
            shared.metrics.refused();
            shared.warnings.log(&refusal, &listener.name, &peer.to_string());
            if let Some(farewell) = refusal.farewell(&shared.http_address)
                && let Err(error) = send_farewell(stream.as_ref(), farewell).await
            {
                debug!(%peer, connection = id, %error, "the client did not take the hint");
            }
        }
    }
}

fn log_write_end(client: &Client, end: WriteEnd) {
    let Client { peer, id, .. } = client;
    match end {
        WriteEnd::Finished | WriteEnd::Stopped => {}
        WriteEnd::Closed(reason) => {
            debug!(%peer, connection = id, reason, "a handler closed the connection");
        }
        WriteEnd::Encode(error) => {
            error!(%peer, connection = id, %error, "a response cannot be encoded");
        }
        WriteEnd::Send(error) => {
            debug!(%peer, connection = id, %error, "responses cannot be sent");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
