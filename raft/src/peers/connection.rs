//! One outgoing connection: calls go out, their answers come back, in any order.
//!
//! Two tasks own the socket's halves. A call notes itself before its frame is queued, so its answer
//! finds it; when the connection ends, everything noted is answered with the reason, by whether its
//! frame may have left. Bytes of requests that have no answer yet are bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::frame::{FrameError, Kind, Pieces, read_frame};
use super::{CallError, Caller, MESSAGE_BYTES_MAX, Message, ServiceId};

/// Frames that wait for the writer; callers wait when there are more.
const FRAMES_WAITING_MAX: usize = 256;
/// Bytes of requests without an answer; callers wait when there are more. A larger one goes alone.
const BYTES_IN_FLIGHT_MAX: usize = 64 << 20;
/// The writer gathers no further frame once it has this many bytes.
const WRITE_BYTES_MAX: usize = 1 << 20;
const READ_BUFFER_BYTES: usize = 16 << 10;
/// An open connection on which nothing comes is looked after by pings; this only has a limit because
/// every wait has one.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An open connection on which the other side has been welcomed.
#[derive(Debug)]
pub(super) struct Connection {
    /// Who answers.
    pub(super) caller: Caller,
    queue: mpsc::Sender<Queued>,
    bytes: Semaphore,
    next: AtomicU64,
    calls: Arc<Calls>,
}

/// A request on its way to the writer.
#[derive(Debug)]
struct Queued {
    kind: Kind,
    service: ServiceId,
    correlation: u64,
    request: Message,
}

/// The calls that have no answer yet, and why there will be no more of them.
#[derive(Debug)]
struct Calls {
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// Why the connection has ended.
    ended: watch::Sender<Option<Arc<str>>>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<Bytes, CallError>>,
    may_have_left: bool,
}

impl Connection {
    /// Starts the tasks of a connection.
    pub(super) fn start(stream: TcpStream, caller: Caller) -> Arc<Self> {
        let (reader, writer) = stream.into_split();
        let (queue, queued) = mpsc::channel(FRAMES_WAITING_MAX);
        let (ended, _) = watch::channel(None);
        let calls = Arc::new(Calls { waiting: Mutex::default(), ended });
        tokio::spawn(write_requests(writer, queued, Arc::clone(&calls)));
        tokio::spawn(read_answers(reader, Arc::clone(&calls)));
        let (bytes, next) = (Semaphore::new(BYTES_IN_FLIGHT_MAX), AtomicU64::new(1));
        Arc::new(Self { caller, queue, bytes, next, calls })
    }

    /// Why the connection has ended, if it has.
    pub(super) fn end(&self) -> Option<Arc<str>> {
        self.calls.ended.borrow().clone()
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(&self) {
        let mut ended = self.calls.ended.subscribe();
        // The sender is held by `self`.
        drop(ended.wait_for(Option::is_some).await);
    }

    /// Ends the connection; calls without an answer are told.
    pub(super) fn close(&self, why: &str) {
        self.calls.end(why);
    }

    /// Sends a request and waits for its answer, for as long as the caller has patience. May be
    /// cancelled: a frame that is not being written yet is then not sent.
    pub(super) async fn call(
        &self,
        kind: Kind,
        service: ServiceId,
        request: Message,
    ) -> Result<Bytes, CallError> {
        let request_bytes = request.iter().map(Bytes::len).sum::<usize>();
        let permits = u32::try_from(request_bytes.min(BYTES_IN_FLIGHT_MAX))
            .expect("the limit is below 4 GiB");
        let permits = self.bytes.acquire_many(permits).await;
        let _permits = permits.expect("the semaphore is never closed");
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { answer, may_have_left: false };
        self.calls.note(correlation, waiting)?;
        let _forget = Forget { calls: &self.calls, correlation };
        let queued = Queued { kind, service, correlation, request };
        // The connection ended if it cannot be queued, and then the call is told below.
        drop(self.queue.send(queued).await);
        answered.await.unwrap_or_else(|_| Err(self.calls.unsent()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close("nobody needs it any more");
    }
}

/// Forgets a call that is over or was cancelled.
struct Forget<'a> {
    calls: &'a Calls,
    correlation: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.calls.waiting.lock().remove(&self.correlation);
    }
}

impl Calls {
    fn note(&self, correlation: u64, call: Waiting) -> Result<(), CallError> {
        let mut waiting = self.waiting.lock();
        // Under the lock: `end` sets the reason before it takes what waits.
        if self.ended.borrow().is_some() {
            return Err(self.unsent());
        }
        waiting.insert(correlation, call);
        Ok(())
    }

    fn unsent(&self) -> CallError {
        let why = self.ended.borrow().clone();
        CallError::Unreachable(why.map_or_else(String::new, |why| why.to_string()))
    }

    /// Whether the frame is still wanted; it counts as sent from now on.
    fn leaves(&self, correlation: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let call = waiting.get_mut(&correlation);
        call.map(|call| call.may_have_left = true).is_some()
    }

    fn answer(&self, correlation: u64, answer: Result<Bytes, CallError>) {
        // If nobody waits, the caller lost its patience.
        if let Some(call) = self.waiting.lock().remove(&correlation) {
            drop(call.answer.send(answer));
        }
    }

    fn end(&self, why: &str) {
        let first = self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert_with(|| why.into());
            first
        });
        if !first {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for call in waiting.into_values() {
            let why = why.to_owned();
            let error =
                if call.may_have_left { CallError::Lost(why) } else { CallError::Unreachable(why) };
            drop(call.answer.send(Err(error)));
        }
    }
}

async fn write_requests(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Queued>,
    calls: Arc<Calls>,
) {
    let mut ended = calls.ended.subscribe();
    let writing = async {
        let mut pieces = Pieces::default();
        while let Some(first) = queue.recv().await {
            let mut next = Some(first);
            while let Some(Queued { kind, service, correlation, request }) = next {
                if calls.leaves(correlation) {
                    pieces.push(kind, service.0, correlation, request);
                }
                let full = pieces.bytes() >= WRITE_BYTES_MAX;
                next = if full { None } else { queue.try_recv().ok() };
            }
            if let Err(error) = pieces.write(&mut writer).await {
                return calls.end(&FrameError::Io(error).to_string());
            }
        }
    };
    // Cancelled in the middle of a frame only when the connection ends.
    tokio::select! {
        () = writing => {}
        _ = ended.wait_for(Option::is_some) => {}
    }
}

async fn read_answers(reader: OwnedReadHalf, calls: Arc<Calls>) {
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let mut ended = calls.ended.subscribe();
    let reading = async {
        loop {
            let frame = match read_frame(&mut reader, MESSAGE_BYTES_MAX, SILENCE_MAX).await {
                Ok(frame) => frame,
                Err(error) => return calls.end(&error.to_string()),
            };
            match frame.kind {
                Kind::Answer | Kind::Pong => calls.answer(frame.correlation, Ok(frame.payload)),
                Kind::Refusal => {
                    let why = String::from_utf8_lossy(&frame.payload).into_owned();
                    calls.answer(frame.correlation, Err(CallError::Refused(why)));
                }
                Kind::Hello
                | Kind::Challenge
                | Kind::Proof
                | Kind::Welcome
                | Kind::Refused
                | Kind::Request
                | Kind::Ping => {
                    return calls.end(&format!("it sent {:?} where an answer was due", frame.kind));
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        _ = ended.wait_for(Option::is_some) => {}
    }
}
