//! The ordered response writer of one connection.
//!
//! Completions run at the same time, in this task; their responses leave in the order of the
//! requests (behaviour 7). Whatever is ready together leaves in one write. While a client does not
//! take its responses nothing is polled here, the slots stay taken, and the connection stops reading.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use protocol::response::EncodeError;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::in_flight::{Awaiting, FETCH, InFlight};
use super::outbox::{Outbox, SendEnd};
use super::{Link, Shared};
use crate::reply::{FramePart, Reply};

/// Completions of one connection that are polled at the same time.
const COMPLETIONS_MAX: usize = 128;
/// No more responses are gathered when this much waits to be written.
const GATHERED_BYTES_MAX: usize = 256 << 10;

/// Why no more responses are written.
#[derive(Debug)]
pub(super) enum WriteEnd {
    /// Every request has its response, and the reader has ended.
    Finished,
    /// The broker stops, and only fetches are left, which wait for records.
    Stopped,
    /// A handler wants the connection closed.
    Closed(String),
    /// A response cannot be encoded: a bug of its handler.
    Encode(EncodeError),
    /// The socket does not take them.
    Send(SendEnd),
}

/// A queued request. Boxed, so that the queue of an idle connection stays small.
pub(super) type Queued = Pin<Box<InFlight>>;

/// Writes one connection's responses.
pub(super) struct Responses<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    link: &'a Link,
    requests: mpsc::Receiver<Queued>,
    /// Whether the reader may still queue requests.
    reading: bool,
    /// Requests whose completion has not begun.
    queued: VecDeque<Queued>,
    running: FuturesOrdered<Queued>,
    /// Whether one of `running` is a fetch.
    fetch_is_running: bool,
    outbox: Outbox,
    /// Requests whose response is in the outbox.
    answered: Vec<Awaiting>,
}

impl<'a> Responses<'a> {
    pub(super) fn new(
        stream: &'a TcpStream,
        shared: &'a Shared,
        link: &'a Link,
        requests: mpsc::Receiver<Queued>,
    ) -> Self {
        Self {
            stream,
            shared,
            link,
            requests,
            reading: true,
            queued: VecDeque::new(),
            running: FuturesOrdered::new(),
            fetch_is_running: false,
            outbox: Outbox::default(),
            answered: Vec::new(),
        }
    }

    /// Runs until the connection ends. Dropping it drops the completions, which are safe to drop.
    pub(super) async fn write_all(mut self) -> WriteEnd {
        loop {
            if let Err(end) = self.await_ready().await {
                return end;
            }
            let gathered = self.gather_ready();
            if let Err(end) = self.outbox.flush(self.stream).await {
                return WriteEnd::Send(end);
            }
            self.settle_answered();
            if let Err(end) = gathered {
                return end;
            }
        }
    }

    /// Waits until a response is ready, and puts it into the outbox.
    async fn await_ready(&mut self) -> Result<(), WriteEnd> {
        loop {
            self.start_queued();
            if self.running.is_empty() && !self.reading {
                return Err(WriteEnd::Finished);
            }
            if self.link.is_stopping() && !self.reading && self.only_fetches_are_left() {
                return Err(WriteEnd::Stopped);
            }
            tokio::select! {
                biased;
                Some((awaiting, reply)) = self.running.next(), if !self.running.is_empty() => {
                    return self.take(awaiting, reply);
                }
                request = self.requests.recv(), if self.reading => match request {
                    Some(request) => self.queued.push_back(request),
                    None => self.reading = false,
                },
            }
        }
    }

    /// Puts what else is ready into the outbox, without waiting.
    fn gather_ready(&mut self) -> Result<(), WriteEnd> {
        while self.outbox.bytes() < GATHERED_BYTES_MAX {
            while let Ok(request) = self.requests.try_recv() {
                self.queued.push_back(request);
            }
            self.start_queued();
            // The next wait polls again with the task's own waker, so no wake-up is lost here.
            match self.running.next().now_or_never().flatten() {
                Some((awaiting, reply)) => self.take(awaiting, reply)?,
                None => break,
            }
        }
        Ok(())
    }

    /// At most one fetch of a connection is under way: each may pin as many bytes as the client
    /// asks for until its response has left.
    fn start_queued(&mut self) {
        while let Some(next) = self.queued.front() {
            let is_fetch = next.is_fetch();
            if self.running.len() >= COMPLETIONS_MAX || (is_fetch && self.fetch_is_running) {
                return;
            }
            self.fetch_is_running |= is_fetch;
            self.running.extend(self.queued.pop_front());
        }
    }

    fn only_fetches_are_left(&self) -> bool {
        let running = self.fetch_is_running && self.running.len() == 1;
        running && self.queued.iter().all(|queued| queued.is_fetch())
    }

    fn take(&mut self, awaiting: Awaiting, reply: Reply) -> Result<(), WriteEnd> {
        let before = self.outbox.bytes();
        match reply {
            Reply::Message(response) => {
                let frame = response
                    .encode(awaiting.correlation_id, awaiting.api_version)
                    .map_err(WriteEnd::Encode)?;
                self.outbox.push_frame([FramePart::Bytes(frame)]);
            }
            Reply::Frame(parts) => self.outbox.push_frame(parts),
            Reply::Nothing => {}
            Reply::Close(reason) => return Err(WriteEnd::Closed(reason)),
        }
        if let Some(metrics) = self.shared.metrics.api(awaiting.api_key) {
            metrics.responded(self.outbox.bytes() - before);
        }
        self.answered.push(awaiting);
        Ok(())
    }

    /// The outbox has left: memory and slots of its requests are free again.
    fn settle_answered(&mut self) {
        let count = self.answered.len();
        for awaiting in self.answered.drain(..) {
            if awaiting.api_key == FETCH {
                self.fetch_is_running = false;
            }
            if let Some(metrics) = self.shared.metrics.api(awaiting.api_key) {
                metrics.answered_after(awaiting.arrived.elapsed());
            }
        }
        self.link.give_back(count);
    }
}

/// Bytes that leave outside the protocol, for a client that does not speak it.
pub(super) async fn send_farewell(stream: &TcpStream, text: String) -> Result<(), SendEnd> {
    let mut outbox = Outbox::default();
    outbox.push_frame([FramePart::Bytes(Bytes::from(text))]);
    outbox.flush(stream).await
}
