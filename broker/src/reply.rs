//! What a handler hands back to its connection.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use protocol::response::Response;
use storage::read::FileSlice;

use crate::handlers::produce::uncommitted::Uncommitted;

/// One run of a response frame that a handler framed itself.
#[derive(Debug)]
pub(crate) enum FramePart {
    /// From memory.
    Bytes(Bytes),
    /// From a segment file, with `sendfile`.
    File(FileSlice),
}

/// How a request ends.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A message, encoded by the connection in the request's version.
    Message(Response),
    /// A whole frame, length prefix included.
    Frame(Vec<FramePart>),
    /// No response (acks=0).
    Nothing,
    /// Close the connection; the reason goes into the log.
    Close(String),
}

/// The second stage of a request: may finish in any order, is answered in the order of arrival.
pub(crate) type Completion = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What remains to be done after the order-sensitive stage, which has run in the order of arrival
/// when the handler returns. A handler never blocks its thread.
pub(crate) enum Work {
    /// Nothing.
    Done(Reply),
    /// A commit to wait for, which comes whether somebody asks for it or not.
    Commit(Uncommitted),
    /// This future. Dropping it (client gone) must be safe at every await.
    Later(Completion),
}

impl Work {
    /// A finished message.
    pub(crate) const fn message(response: Response) -> Self {
        Self::Done(Reply::Message(response))
    }

    /// An asynchronous completion.
    pub(crate) fn later(completion: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Later(Box::pin(completion))
    }
}
