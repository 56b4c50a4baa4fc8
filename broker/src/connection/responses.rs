//! The ordered response writer of one connection.
//!
//! Completions run at the same time; responses leave in the order of the requests (behaviour 7).
//! Whatever is ready together leaves in one write. While a client does not take its responses nothing
//! is polled here, the slots stay taken, and the connection stops reading.
//!
//! A produce is only asked for once it is the oldest request: its commit comes by itself, and finishes
//! those behind it too.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use protocol::response::EncodeError;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::in_flight::{Awaiting, FETCH, Guarded, InFlight, Stage, closed_by_panic};
use super::outbox::{Outbox, SendEnd};
use super::{Link, Shared};
use crate::handlers::produce::uncommitted::Uncommitted;
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

/// A response that is ready.
enum Answer {
    Reply(Reply),
    /// Committed, or its time is up.
    Produced(Uncommitted),
}

/// Writes one connection's responses.
pub(super) struct Responses<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
    link: &'a Link,
    /// How many of the requests in flight, from the oldest on, have begun what is left of them.
    started: usize,
    running: FuturesOrdered<Guarded>,
    /// What `running` has yielded, for the oldest requests that run.
    finished: VecDeque<Reply>,
    /// Whether one of those that have begun is a fetch whose response has not left.
    fetch_is_running: bool,
    /// For the deadline of the oldest request; made when it is first needed.
    timer: Option<Pin<Box<Sleep>>>,
    outbox: Outbox,
    /// Requests whose response is in the outbox.
    answered: Vec<Awaiting>,
}

impl<'a> Responses<'a> {
    pub(super) fn new(stream: &'a TcpStream, shared: &'a Shared, link: &'a Link) -> Self {
        Self {
            stream,
            shared,
            link,
            started: 0,
            running: FuturesOrdered::new(),
            finished: VecDeque::new(),
            fetch_is_running: false,
            timer: None,
            outbox: Outbox::default(),
            answered: Vec::new(),
        }
    }

    /// Runs until the connection ends. Dropping it drops the completions, which are safe to drop.
    pub(super) async fn write_all(mut self) -> WriteEnd {
        loop {
            let gathered = poll_fn(|cx| self.poll_gather(cx)).await;
            if let Err(end) = self.outbox.flush(self.stream).await {
                return WriteEnd::Send(end);
            }
            self.settle_answered();
            if let Err(end) = gathered {
                return end;
            }
        }
    }

    /// Waits until a response is ready, and puts all that are into the outbox.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteEnd>> {
        while self.outbox.bytes() < GATHERED_BYTES_MAX {
            match self.poll_next(cx) {
                Poll::Ready(Ok((awaiting, answer))) => self.take(awaiting, answer)?,
                Poll::Ready(Err(end)) => return Poll::Ready(Err(end)),
                Poll::Pending if self.answered.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The oldest request, once its response is ready.
    ///
    /// Nobody wakes this for a new request: the reader runs in the same task, and before it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Awaiting, Answer), WriteEnd>> {
        let link = self.link;
        let mut requests = link.requests.lock();
        self.start_queued(&mut requests.in_order);
        self.poll_running(cx, &mut requests.in_order);
        let Some(oldest) = requests.in_order.front_mut().filter(|_| self.started > 0) else {
            let is_over = requests.in_order.is_empty() && !requests.reading;
            return if is_over { Poll::Ready(Err(WriteEnd::Finished)) } else { Poll::Pending };
        };
        let is_ready = match &mut oldest.stage {
            Stage::Done(_) => true,
            Stage::Commit(wait) => {
                wait.poll_finished(cx).is_ready()
                    || self.poll_deadline(cx, wait.deadline()).is_ready()
            }
            Stage::Queued(_) | Stage::Running => !self.finished.is_empty(),
        };
        if !is_ready {
            let only_fetches = || requests.in_order.iter().all(InFlight::is_fetch);
            let is_stopped = link.is_stopping() && !requests.reading && only_fetches();
            return if is_stopped { Poll::Ready(Err(WriteEnd::Stopped)) } else { Poll::Pending };
        }
        let InFlight { awaiting, stage } = requests.pop_oldest();
        self.started -= 1;
        let answer = match stage {
            Stage::Done(reply) => Answer::Reply(reply),
            Stage::Commit(uncommitted) => Answer::Produced(uncommitted),
            Stage::Queued(_) | Stage::Running => {
                let reply = self.finished.pop_front();
                Answer::Reply(reply.expect("the oldest that ran was found finished"))
            }
        };
        Poll::Ready(Ok((awaiting, answer)))
    }

    /// At most one fetch of a connection is under way: each may pin as many bytes as the client
    /// asks for until its response has left.
    fn start_queued(&mut self, in_order: &mut VecDeque<InFlight>) {
        while let Some(next) = in_order.get_mut(self.started) {
            let is_fetch = next.is_fetch();
            if is_fetch && self.fetch_is_running {
                return;
            }
            let is_completion = matches!(next.stage, Stage::Queued(_));
            if is_completion && self.running.len() + self.finished.len() >= COMPLETIONS_MAX {
                return;
            }
            self.fetch_is_running |= is_fetch;
            self.running.extend(next.start());
            self.started += 1;
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>, in_order: &mut VecDeque<InFlight>) {
        while !self.running.is_empty()
            && let Poll::Ready(Some(reply)) = self.running.poll_next_unpin(cx)
        {
            let reply = reply.unwrap_or_else(|panic| closed_by_panic(panic.as_ref()));
            self.finished.push_back(reply);
            self.start_queued(in_order);
        }
    }

    /// Ready at `deadline`. The timer is left where it is while that is early enough: setting it for
    /// each request would cost more than waking up once in vain.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            if timer.deadline() > deadline || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
        }
    }

    fn take(&mut self, awaiting: Awaiting, answer: Answer) -> Result<(), WriteEnd> {
        let before = self.outbox.bytes();
        match answer {
            Answer::Produced(uncommitted) => self.take_produced(&awaiting, uncommitted)?,
            Answer::Reply(Reply::Message(response)) => {
                let frame = response
                    .encode(awaiting.correlation_id, awaiting.api_version)
                    .map_err(WriteEnd::Encode)?;
                self.outbox.push_frame([FramePart::Bytes(frame)]);
            }
            Answer::Reply(Reply::Frame(parts)) => self.outbox.push_frame(parts),
            Answer::Reply(Reply::Nothing) => {}
            Answer::Reply(Reply::Close(reason)) => return Err(WriteEnd::Closed(reason)),
        }
        if let Some(metrics) = self.shared.metrics.api(awaiting.api_key) {
            metrics.responded(self.outbox.bytes() - before);
        }
        self.answered.push(awaiting);
        Ok(())
    }

    fn take_produced(
        &mut self,
        awaiting: &Awaiting,
        produced: Uncommitted,
    ) -> Result<(), WriteEnd> {
        let correlation_id = awaiting.correlation_id;
        if self.outbox.encode(|out| produced.encode_committed(correlation_id, out)) {
            return Ok(());
        }
        let response = produced.into_response();
        let frame = response.encode(correlation_id, awaiting.api_version);
        self.outbox.push_frame([FramePart::Bytes(frame.map_err(WriteEnd::Encode)?)]);
        Ok(())
    }

    /// The outbox has left: memory and slots of its requests are free again.
    fn settle_answered(&mut self) {
        let count = self.answered.len();
        let now = Instant::now();
        for awaiting in self.answered.drain(..) {
            if awaiting.api_key == FETCH {
                self.fetch_is_running = false;
            }
            if let Some(metrics) = self.shared.metrics.api(awaiting.api_key) {
                metrics.answered_after(now - awaiting.arrived);
            }
        }
        self.link.give_back(count, now);
    }
}

/// Bytes that leave outside the protocol, for a client that does not speak it.
pub(super) async fn send_farewell(stream: &TcpStream, text: String) -> Result<(), SendEnd> {
    let mut outbox = Outbox::default();
    outbox.push_frame([FramePart::Bytes(Bytes::from(text))]);
    outbox.flush(stream).await
}
