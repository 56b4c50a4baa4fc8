//! A connection for load: requests leave by vectored writes of bytes that exist already, responses
//! come by large reads into one buffer and are looked at where they lie.

use crate::deadline::PATIENCE;
use crate::load::frames::Frame;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_protocol::protocol::{Decodable as _, HeaderVersion as _, Request};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

/// Requests in one vectored write: two pieces each, and the system takes 1,024.
const GROUP_MAX: usize = 512;

/// Largest response that is believed to be one.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// A connection whose responses come in the order of its requests.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    input: Input,
    next_sent_id: i32,
    next_received_id: i32,
}

impl Link {
    /// Connects, with a buffer for that many bytes of responses.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr, buffer_bytes: usize) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("connect to {address}"))?;
        Self::over(stream, buffer_bytes)
    }

    /// The same over a connection that is there and blocks.
    ///
    /// # Errors
    /// The system's word.
    pub fn over(stream: TcpStream, buffer_bytes: usize) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let input = Input { bytes: vec![0; buffer_bytes], filled: 0..0 };
        Ok(Self { stream, input, next_sent_id: 0, next_received_id: 0 })
    }

    /// Correlation id of the next request, for one that is sent by [`Link::send`].
    pub fn next_id(&mut self) -> i32 {
        let id = self.next_sent_id;
        self.next_sent_id = id.wrapping_add(1);
        id
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).context("send")
    }

    /// Sends frames, each with a correlation id of its own.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send_all<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<()> {
        let mut frames = frames.peekable();
        while frames.peek().is_some() {
            let group: Vec<_> = frames.by_ref().take(GROUP_MAX).collect();
            let heads: Vec<_> = group.iter().map(|frame| frame.head(self.next_id())).collect();
            let mut pieces = Vec::with_capacity(2 * group.len());
            for (head, frame) in heads.iter().zip(group) {
                pieces.extend([IoSlice::new(head), IoSlice::new(frame.rest())]);
            }
            write_all_vectored(&mut self.stream, &mut pieces)?;
        }
        Ok(())
    }

    /// Reads once: what has come, or what comes first.
    ///
    /// # Errors
    /// The connection has ended, or nothing came in time.
    pub fn fill(&mut self) -> Result<()> {
        self.input.fill(&mut self.stream)
    }

    /// Waits for one response; what follows its correlation id.
    ///
    /// # Errors
    /// The connection has ended, nothing came in time, or it answers another request.
    pub fn receive(&mut self) -> Result<&[u8]> {
        let place = loop {
            match self.input.next_frame()? {
                Some(place) => break place,
                None => self.input.fill(&mut self.stream)?,
            }
        };
        self.accept(place)
    }

    /// Sends one request and waits for its response, decoded: for what is not measured by the request.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.send_all(std::iter::once(&Frame::new(version, request)?))?;
        self.receive_decoded::<R>(version)
    }

    /// Waits for the response to a request of this kind, decoded.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub fn receive_decoded<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let mut body = Bytes::copy_from_slice(self.receive()?);
        if R::Response::header_version(version) > 0 {
            ensure!(body.first() == Some(&0), "a response header with tagged fields");
            drop(body.split_to(1));
        }
        R::Response::decode(&mut body, version)
    }

    /// The next response, if it has come whole; what follows its correlation id.
    ///
    /// # Errors
    /// It answers another request.
    pub fn try_receive(&mut self) -> Result<Option<&[u8]>> {
        match self.input.next_frame()? {
            Some(place) => self.accept(place).map(Some),
            None => Ok(None),
        }
    }

    /// Goes on as if all requests so far had been answered, for those that have no answer.
    pub fn skip_answers(&mut self) {
        self.next_received_id = self.next_sent_id;
    }

    fn accept(&mut self, place: Range<usize>) -> Result<&[u8]> {
        let frame = &self.input.bytes[place];
        let (id, rest) = frame.split_first_chunk().context("a response without correlation id")?;
        let id = i32::from_be_bytes(*id);
        ensure!(id == self.next_received_id, "answer {id} instead of {}", self.next_received_id);
        self.next_received_id = id.wrapping_add(1);
        Ok(rest)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn write_all_vectored(stream: &mut TcpStream, mut pieces: &mut [IoSlice<'_>]) -> Result<()> {
    while !pieces.is_empty() {
        match stream.write_vectored(pieces) {
            Ok(written) => IoSlice::advance_slices(&mut pieces, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("send"),
        }
    }
    Ok(())
}

/// Received bytes; `filled` are those that were not consumed yet.
#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    filled: Range<usize>,
}

impl Input {
    /// Consumes a frame that is here as a whole; where it lies, without its size.
    fn next_frame(&mut self) -> Result<Option<Range<usize>>> {
        let Some(size) = self.pending_size()? else { return Ok(None) };
        let place = self.filled.start + 4..self.filled.start + 4 + size;
        if place.end > self.filled.end {
            return Ok(None);
        }
        self.filled.start = place.end;
        Ok(Some(place))
    }

    fn pending_size(&self) -> Result<Option<usize>> {
        let pending = &self.bytes[self.filled.clone()];
        let Some(size) = pending.first_chunk() else { return Ok(None) };
        let size = usize::try_from(i32::from_be_bytes(*size)).context("a frame's size")?;
        ensure!(size <= FRAME_BYTES_MAX, "a response of {size} bytes");
        Ok(Some(size))
    }

    /// Waits for more bytes, as many as have come and fit.
    fn fill(&mut self, stream: &mut TcpStream) -> Result<()> {
        let wanted = self.pending_size()?.map_or(4, |size| size + 4);
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.start + wanted > self.bytes.len()
            || self.filled.end == self.bytes.len()
        {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted, 0);
        }
        loop {
            match stream.read(&mut self.bytes[self.filled.end..]) {
                Ok(0) => anyhow::bail!("the broker closed the connection"),
                Ok(count) => {
                    self.filled.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("receive"),
            }
        }
    }
}
