//! One request between its order-sensitive stage and its response.
//!
//! A panic in a handler ends here: it becomes a reply that closes this one connection.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::future::{CatchUnwind, FutureExt as _};
use tokio::time::Instant;

use crate::handlers::produce::uncommitted::Uncommitted;
use crate::reply::{Completion, Reply, Work};
use crate::request_memory::Reserved;

/// The key of Fetch.
pub(super) const FETCH: i16 = 1;

/// What is known of a request that awaits its response.
#[derive(Debug)]
pub(super) struct Awaiting {
    /// Which API.
    pub(super) api_key: i16,
    /// Echoed in the response.
    pub(super) correlation_id: i32,
    /// The response is encoded in this version.
    pub(super) api_version: i16,
    /// When its first bytes were seen.
    pub(super) arrived: Instant,
    /// Its frame's memory, held until the response has left.
    pub(super) _memory: Reserved,
}

/// A request in flight. Dropping it is safe at any time.
pub(super) struct InFlight {
    pub(super) awaiting: Awaiting,
    pub(super) stage: Stage,
}

/// How far a request has come.
pub(super) enum Stage {
    /// Only its response is left to be written.
    Done(Reply),
    /// Its commit is to come.
    Commit(Uncommitted),
    /// Its completion has not begun.
    Queued(Completion),
    /// Its completion runs among those of the connection.
    Running,
}

/// A completion that runs.
pub(super) type Guarded = CatchUnwind<AssertUnwindSafe<Completion>>;

impl InFlight {
    pub(super) fn new(work: Work, awaiting: Awaiting) -> Self {
        let stage = match work {
            Work::Done(reply) => Stage::Done(reply),
            Work::Commit(uncommitted) => Stage::Commit(uncommitted),
            Work::Later(completion) => Stage::Queued(completion),
        };
        Self { awaiting, stage }
    }

    /// Whether its response may pin as much memory as the client asks for.
    pub(super) const fn is_fetch(&self) -> bool {
        self.awaiting.api_key == FETCH
    }

    /// The completion, which from here on runs, if there is one that has not begun.
    pub(super) fn start(&mut self) -> Option<Guarded> {
        if !matches!(self.stage, Stage::Queued(_)) {
            return None;
        }
        match std::mem::replace(&mut self.stage, Stage::Running) {
            Stage::Queued(completion) => Some(AssertUnwindSafe(completion).catch_unwind()),
            Stage::Done(_) | Stage::Commit(_) | Stage::Running => None,
        }
    }
}

/// The reply of a handler that panicked.
pub(super) fn closed_by_panic(panic: &(dyn Any + Send)) -> Reply {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    let message = message.unwrap_or("no message");
    tracing::error!(message, "a handler panicked; its connection is closed");
    Reply::Close(format!("the handler panicked: {message}"))
}
