//! From a socket's bytes to frames.
//!
//! ```text
//! frame on the wire   length i32 │ api_key i16 │ api_version i16 │ correlation_id i32 │ …
//!                                └────────────── length bytes ──────────────────────────
//! ```
//! Everything here is hostile. Nothing is allocated for a frame before its length has passed the
//! limits and its bytes are reserved in the [`RequestMemory`](crate::request_memory::RequestMemory).
//! A frame that arrives whole in a read buffer is split off without a copy; a large or slow one gets
//! a buffer of exactly its size. No read buffer is held across a wait for the client.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::future::FutureExt as _;
use protocol::api;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Link, Shared};
use crate::connection::refusal::Refusal;
use crate::read_buffers::{READ_BUFFER_BYTES, READ_BYTES_MIN, ReadBuffer};
use crate::request_memory::Reserved;

/// The length prefix.
const LENGTH_BYTES: usize = 4;
/// What must have arrived before a frame is judged: its length, API, version and correlation id.
const PREFIX_BYTES: usize = LENGTH_BYTES + 8;
/// The shortest legal frame: a request header without a client id.
const FRAME_BYTES_MIN: usize = 8;
/// Frames below this are copied out of the read buffer: a small batch that stays in memory for long
/// must not pin 256 KiB. Above, the copy would cost more than it saves.
const SPLIT_BYTES_MIN: usize = 8 << 10;
/// A frame that began must be whole after this long…
const ARRIVAL_MAX: Duration = Duration::from_secs(30);
/// …and another second for each of this many bytes.
const ARRIVAL_BYTES_PER_SECOND_MIN: usize = 64 << 10;
/// Decoded fields take up to this many times their bytes in the frame. Records stay encoded, so
/// Produce is charged as it is.
const DECODED_PER_FRAME_BYTE: usize = 8;

const _: () = assert!(SPLIT_BYTES_MIN <= READ_BUFFER_BYTES && PREFIX_BYTES <= SPLIT_BYTES_MIN);

/// One request as it came, without its length prefix.
#[derive(Debug)]
pub(super) struct Frame {
    /// At least [`FRAME_BYTES_MIN`].
    pub(super) bytes: Bytes,
    /// When its first bytes were seen.
    pub(super) arrived: Instant,
    /// To be held until the response has left.
    pub(super) memory: Reserved,
}

/// Why there is no further frame.
#[derive(Debug)]
pub(super) enum ReadEnd {
    /// The client closed the connection between two frames.
    Closed,
    /// The client closed it within a frame.
    ClosedMidFrame,
    /// Nothing came and nothing was owed for `connections.max.idle.ms`.
    Idle,
    /// A frame did not become whole in time.
    Stalled,
    /// What came is not a request.
    Refused(Refusal),
    /// The socket failed.
    Failed(io::Error),
}

/// Reads one connection's frames in order.
pub(super) struct Frames<'a> {
    stream: OwnedReadHalf,
    shared: &'a Shared,
    link: &'a Link,
    buffer: Option<ReadBuffer>,
    /// Unread bytes of a buffer that had to go back to the pool. Empty while there is a buffer.
    set_aside: BytesMut,
    timer: Pin<Box<Sleep>>,
    last_activity: Instant,
}

impl<'a> Frames<'a> {
    pub(super) fn new(stream: OwnedReadHalf, shared: &'a Shared, link: &'a Link) -> Self {
        let now = Instant::now();
        Self {
            stream,
            shared,
            link,
            buffer: None,
            set_aside: BytesMut::new(),
            timer: Box::pin(sleep_until(now + shared.limits.idle_max)),
            last_activity: now,
        }
    }

    /// The next frame. Cancelled only when the connection ends: bytes of a frame may be lost then.
    pub(super) async fn next(&mut self) -> Result<Frame, ReadEnd> {
        // The length is judged before anything else is waited for: behind a wrong one nothing comes.
        let arrived = self.await_unread(LENGTH_BYTES, None).await?;
        let frame_bytes = self.judge_length().map_err(ReadEnd::Refused)?;
        self.await_unread(PREFIX_BYTES, Some(arrived)).await?;
        let charged_bytes = self.judge_api(frame_bytes).map_err(ReadEnd::Refused)?;
        // Waiting here is the back-pressure of a broker whose memory is spent: nothing is read.
        let memory = self.shared.memory.reserve(charged_bytes).await;
        let buffer = self.buffer.as_mut().expect("await_unread leaves the prefix in a buffer");
        let whole_bytes = LENGTH_BYTES + frame_bytes;
        let bytes = if buffer.unread().len() >= whole_bytes {
            take_frame(buffer, frame_bytes)
        } else {
            self.await_rest(frame_bytes, arrived).await?
        };
        Ok(Frame { bytes, arrived, memory })
    }

    /// Gives the buffer back to the pool before a long wait for something else than the socket. The
    /// unread bytes are copied into memory that is reserved for them; hold it during the wait.
    pub(super) async fn release_buffer(&mut self) -> Reserved {
        let reserved = self.shared.memory.reserve(self.unread_bytes()).await;
        self.set_buffer_aside();
        reserved
    }

    /// Returns when `count` bytes of a frame are in the buffer, with the time when its first was
    /// seen: `began`, if it was before.
    async fn await_unread(
        &mut self,
        count: usize,
        mut began: Option<Instant>,
    ) -> Result<Instant, ReadEnd> {
        while self.unread_bytes() < count {
            if self.unread_bytes() > 0 && began.is_none() {
                began = Some(Instant::now());
            }
            self.fill_buffer(began.map(|began| began + ARRIVAL_MAX)).await?;
            self.last_activity = Instant::now();
            began = began.or(Some(self.last_activity));
        }
        self.ensure_buffer().await;
        Ok(began.unwrap_or(self.last_activity))
    }

    fn unread(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&self.set_aside, ReadBuffer::unread)
    }

    fn unread_bytes(&self) -> usize {
        self.unread().len()
    }

    /// Reads what the socket has into the buffer, waiting for the client if it has nothing: until
    /// `frame_deadline` within a frame, else until the connection counts as idle.
    async fn fill_buffer(&mut self, frame_deadline: Option<Instant>) -> Result<(), ReadEnd> {
        loop {
            if self.ensure_buffer().await.room() < READ_BYTES_MIN {
                self.replace_buffer().await;
            }
            if self.read_now()? {
                return Ok(());
            }
            self.set_buffer_aside();
            match frame_deadline {
                Some(deadline) => self.readable_before(deadline).await?,
                None => self.readable_before_idle().await?,
            }
        }
    }

    /// Reads what the socket has into the buffer; false if it has nothing now.
    fn read_now(&mut self) -> Result<bool, ReadEnd> {
        let buffer = self.buffer.as_mut().expect("reading begins with a buffer");
        match read_now(&mut self.stream, buffer.tail())? {
            Some(0) if self.unread_bytes() == 0 => Err(ReadEnd::Closed),
            Some(0) => Err(ReadEnd::ClosedMidFrame),
            read => Ok(read.is_some()),
        }
    }

    /// The buffer with all unread bytes, lent if there was none.
    async fn ensure_buffer(&mut self) -> &mut ReadBuffer {
        if self.buffer.is_none() {
            let mut lent = self.shared.buffers.lend(self.set_aside.len()).await;
            lent.put(&std::mem::take(&mut self.set_aside));
            self.buffer = Some(lent);
        }
        self.buffer.as_mut().expect("was put there if it was missing")
    }

    /// Moves the unread bytes into a buffer that has room behind them.
    async fn replace_buffer(&mut self) -> &mut ReadBuffer {
        // The old one goes back first: whoever waits for a buffer while holding one could wait for
        // somebody who does the same.
        self.set_buffer_aside();
        self.ensure_buffer().await
    }

    fn set_buffer_aside(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.set_aside = BytesMut::from(buffer.unread());
        }
    }

    /// The frame's length, if it is one.
    fn judge_length(&self) -> Result<usize, Refusal> {
        let mut length = [0; LENGTH_BYTES];
        length.copy_from_slice(&self.unread()[..LENGTH_BYTES]);
        let frame_bytes_max = self.shared.limits.request_bytes_max;
        usize::try_from(i32::from_be_bytes(length))
            .ok()
            .filter(|bytes| (FRAME_BYTES_MIN..=frame_bytes_max).contains(bytes))
            .ok_or_else(|| Refusal::of_length(length, frame_bytes_max))
    }

    /// The memory to reserve for a frame of this length, if its API takes one of this length.
    fn judge_api(&self, frame_bytes: usize) -> Result<usize, Refusal> {
        let api_key = (&self.unread()[LENGTH_BYTES..PREFIX_BYTES]).get_i16();
        let Some(spec) = api::spec(api_key) else { return Err(Refusal::UnknownApi { api_key }) };
        match spec.frame_bytes_max {
            Some(frame_bytes_max) if frame_bytes > frame_bytes_max => {
                Err(Refusal::TooLarge { api: spec.name, frame_bytes, frame_bytes_max })
            }
            Some(_) => Ok(frame_bytes * DECODED_PER_FRAME_BYTE),
            None => Ok(frame_bytes),
        }
    }

    /// Reads the rest of a frame whose prefix is in the buffer.
    async fn await_rest(&mut self, frame_bytes: usize, arrived: Instant) -> Result<Bytes, ReadEnd> {
        let whole_bytes = LENGTH_BYTES + frame_bytes;
        let mut buffer = self.ensure_buffer().await;
        if buffer.room_from_unread() < whole_bytes && whole_bytes <= READ_BYTES_MIN {
            buffer = self.replace_buffer().await;
        }
        // In place, as long as the client keeps up: the frames behind this one come with it.
        let fits = whole_bytes <= buffer.room_from_unread();
        while fits && self.read_now()? {
            let buffer = self.ensure_buffer().await;
            if buffer.unread().len() >= whole_bytes {
                return Ok(take_frame(buffer, frame_bytes));
            }
        }
        let is_large = frame_bytes > READ_BUFFER_BYTES;
        let mut exact = if is_large {
            self.shared.buffers.for_large_frame(frame_bytes)
        } else {
            BytesMut::with_capacity(frame_bytes)
        };
        let buffer = self.ensure_buffer().await;
        buffer.consume(LENGTH_BYTES);
        exact.put_slice(buffer.unread());
        self.buffer = None;
        let seconds = u64::try_from(frame_bytes / ARRIVAL_BYTES_PER_SECOND_MIN)
            .expect("a frame's length is an i32");
        let deadline = arrived + ARRIVAL_MAX + Duration::from_secs(seconds);
        self.await_exact(&mut exact, frame_bytes, deadline).await?;
        Ok(if is_large { self.shared.buffers.freeze_large_frame(exact) } else { exact.freeze() })
    }

    /// Fills `exact` up to `frame_bytes`, and reads nothing beyond the frame.
    async fn await_exact(
        &mut self,
        exact: &mut BytesMut,
        frame_bytes: usize,
        deadline: Instant,
    ) -> Result<(), ReadEnd> {
        while exact.len() < frame_bytes {
            let missing = frame_bytes - exact.len();
            match read_now(&mut self.stream, &mut (&mut *exact).limit(missing))? {
                Some(0) => return Err(ReadEnd::ClosedMidFrame),
                Some(_) => {}
                None => self.readable_before(deadline).await?,
            }
        }
        self.last_activity = Instant::now();
        Ok(())
    }

    async fn readable_before(&mut self, deadline: Instant) -> Result<(), ReadEnd> {
        if Instant::now() >= deadline {
            return Err(ReadEnd::Stalled);
        }
        while !self.readable_or_timer(deadline).await? {
            if Instant::now() >= deadline {
                return Err(ReadEnd::Stalled);
            }
        }
        Ok(())
    }

    /// A connection that is owed a response is not idle, however long it has been silent.
    async fn readable_before_idle(&mut self) -> Result<(), ReadEnd> {
        let idle_max = self.shared.limits.idle_max;
        loop {
            let idle_from = self.last_activity.max(self.link.last_response_at());
            if self.readable_or_timer(idle_from + idle_max).await? {
                return Ok(());
            }
            if self.link.in_flight() > 0 {
                self.last_activity = Instant::now();
            } else if Instant::now() >= idle_from + idle_max {
                return Err(ReadEnd::Idle);
            }
        }
    }

    /// True when the socket is readable, false when the timer has run off. The timer is left where
    /// it is while that is early enough: setting it for each request would cost more than waking
    /// up once in vain.
    async fn readable_or_timer(&mut self, deadline: Instant) -> Result<bool, ReadEnd> {
        // A poll that was refused because the task has had its share must not be repeated at once:
        // the socket would still be called readable, and the task would never yield.
        tokio::task::coop::consume_budget().await;
        if self.timer.deadline() > deadline || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        tokio::select! {
            biased;
            ready = self.stream.readable() => ready.map(|()| true).map_err(ReadEnd::Failed),
            () = self.timer.as_mut() => Ok(false),
        }
    }
}

/// How many bytes the socket had; `None` if it has nothing now. Polls instead of trying: that way
/// the runtime knows after a read which did not fill the room that the socket is empty, and saves
/// the system call that would say so.
fn read_now(
    stream: &mut OwnedReadHalf,
    room: &mut (impl BufMut + Send),
) -> Result<Option<usize>, ReadEnd> {
    stream.read_buf(room).now_or_never().transpose().map_err(ReadEnd::Failed)
}

fn take_frame(buffer: &mut ReadBuffer, frame_bytes: usize) -> Bytes {
    buffer.consume(LENGTH_BYTES);
    if frame_bytes >= SPLIT_BYTES_MIN {
        return buffer.split(frame_bytes);
    }
    let frame = Bytes::copy_from_slice(&buffer.unread()[..frame_bytes]);
    buffer.consume(frame_bytes);
    frame
}
