//! Frames on their way to the socket, in order.
//!
//! Runs from memory that stand next to each other leave in one vectored write. Before a run from a
//! file the kernel is told that more follows, so that header and records reach the client as one
//! wake-up; without that a fetch of 64 KiB takes a third longer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustix::fs::sendfile;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::reply::FramePart;

/// Runs of one vectored write.
const RUNS_PER_WRITE_MAX: usize = 64;
/// Bytes of one `sendfile`: long enough to be cheap, short enough to let others run in between.
const SENDFILE_BYTES_MAX: usize = 1 << 20;
/// A client that takes no byte for this long is disconnected.
pub(super) const STALL_MAX: Duration = Duration::from_secs(30);

/// What an idle connection keeps for the frames that it will encode.
const ENCODED_BYTES_KEPT_MAX: usize = 4 << 10;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parts: VecDeque<FramePart>,
    /// Frames behind `parts`, encoded one after the other.
    encoded: BytesMut,
    /// Of both.
    bytes: usize,
}

/// Why the outbox could not be emptied.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendEnd {
    /// The client took nothing for [`STALL_MAX`].
    #[error("the client took nothing for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// A segment file ended before the records that were promised from it.
    #[error("a segment file ended within promised records")]
    FileEnded,
    /// The socket or a file failed.
    #[error(transparent)]
    Failed(io::Error),
}

impl Outbox {
    /// Bytes that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the frame that `encode` appends behind the others, without an allocation of its own.
    /// `encode` may decline, and appends nothing then.
    pub(super) fn encode(&mut self, encode: impl FnOnce(&mut BytesMut) -> bool) -> bool {
        let before = self.encoded.len();
        let is_encoded = encode(&mut self.encoded);
        self.bytes += self.encoded.len() - before;
        is_encoded
    }

    /// Puts a whole frame behind the others.
    pub(super) fn push_frame(&mut self, parts: impl IntoIterator<Item = FramePart>) {
        self.seal_encoded();
        for part in parts {
            let bytes = part_bytes(&part);
            if bytes > 0 {
                self.bytes += bytes;
                self.parts.push_back(part);
            }
        }
    }

    fn seal_encoded(&mut self) {
        if !self.encoded.is_empty() {
            self.parts.push_back(FramePart::Bytes(self.encoded.split().freeze()));
        }
    }

    /// Writes everything. Cancelled only when the connection ends.
    pub(super) async fn flush(&mut self, stream: &TcpStream) -> Result<(), SendEnd> {
        self.seal_encoded();
        while !self.parts.is_empty() {
            let written = match stream.try_io(Interest::WRITABLE, || self.write_once(stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Only now: a timer costs about as much as a small write.
                    let written = stream.async_io(Interest::WRITABLE, || self.write_once(stream));
                    tokio::time::timeout(STALL_MAX, written).await.or(Err(SendEnd::Stalled))?
                }
                written => written,
            };
            let written = written.map_err(SendEnd::Failed)?;
            if written == 0 {
                return Err(SendEnd::FileEnded);
            }
            self.advance(written);
            // A client as fast as the broker would otherwise keep this task on its thread.
            tokio::task::coop::consume_budget().await;
        }
        // Its memory is its own again, now that every frame has left.
        if !self.encoded.try_reclaim(1) || self.encoded.capacity() > ENCODED_BYTES_KEPT_MAX {
            self.encoded = BytesMut::new();
        }
        Ok(())
    }

    fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
        match self.parts.front() {
            None => Ok(0),
            Some(FramePart::Bytes(_)) => self.write_runs(stream),
            Some(FramePart::File(slice)) => {
                let mut position = slice.position;
                let bytes = slice.len.min(SENDFILE_BYTES_MAX);
                Ok(sendfile(stream, &*slice.file, Some(&mut position), bytes)?)
            }
        }
    }

    fn write_runs(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut runs = [IoSlice::new(&[]); RUNS_PER_WRITE_MAX];
        let mut count = 0;
        for (run, part) in runs.iter_mut().zip(&self.parts) {
            let FramePart::Bytes(bytes) = part else { break };
            *run = IoSlice::new(bytes);
            count += 1;
        }
        let mut flags = SendFlags::NOSIGNAL;
        if count < self.parts.len() {
            flags |= SendFlags::MORE;
        }
        Ok(sendmsg(stream, &runs[..count], &mut SendAncillaryBuffer::default(), flags)?)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let part = self.parts.front_mut().expect("no more is written than was there");
            let step = written.min(part_bytes(part));
            written -= step;
            if step == part_bytes(part) {
                self.parts.pop_front();
            } else {
                match part {
                    FramePart::Bytes(bytes) => Bytes::advance(bytes, step),
                    FramePart::File(slice) => {
                        slice.position += u64::try_from(step).expect("usize is at most 64 bits");
                        slice.len -= step;
                    }
                }
            }
        }
    }
}

fn part_bytes(part: &FramePart) -> usize {
    match part {
        FramePart::Bytes(bytes) => bytes.len(),
        FramePart::File(slice) => slice.len,
    }
}
