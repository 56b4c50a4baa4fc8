//! Frames on their way to the socket, in order.
//!
//! Runs from memory that stand next to each other leave in one vectored write. Before a run from a
//! file the kernel is told that more follows, so that header and records reach the client as one
//! wake-up; without that a fetch of 64 KiB takes a third longer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
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

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parts: VecDeque<FramePart>,
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

    /// Puts a whole frame behind the others.
    pub(super) fn push_frame(&mut self, parts: impl IntoIterator<Item = FramePart>) {
        for part in parts {
            let bytes = part_bytes(&part);
            if bytes > 0 {
                self.bytes += bytes;
                self.parts.push_back(part);
            }
        }
    }

    /// Writes everything. Cancelled only when the connection ends.
    pub(super) async fn flush(&mut self, stream: &TcpStream) -> Result<(), SendEnd> {
        while !self.parts.is_empty() {
            let written = stream.async_io(Interest::WRITABLE, || self.write_once(stream));
            let written = tokio::time::timeout(STALL_MAX, written)
                .await
                .map_err(|_elapsed| SendEnd::Stalled)?
                .map_err(SendEnd::Failed)?;
            if written == 0 {
                return Err(SendEnd::FileEnded);
            }
            self.advance(written);
            // A client as fast as the broker would otherwise keep this task on its thread.
            tokio::task::coop::consume_budget().await;
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
