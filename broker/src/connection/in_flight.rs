//! One request between its order-sensitive stage and its response.
//!
//! A panic in a handler ends here: it becomes a reply that closes this one connection.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::reply::{Reply, Work};
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

/// A future of the reply. Dropping it is safe at any time.
pub(super) struct InFlight {
    work: Option<Work>,
    awaiting: Option<Awaiting>,
}

impl InFlight {
    pub(super) const fn new(work: Work, awaiting: Awaiting) -> Self {
        Self { work: Some(work), awaiting: Some(awaiting) }
    }

    /// Whether its response may pin as much memory as the client asks for.
    pub(super) fn is_fetch(&self) -> bool {
        self.awaiting.as_ref().is_some_and(|awaiting| awaiting.api_key == FETCH)
    }
}

impl Future for InFlight {
    type Output = (Awaiting, Reply);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match self.work.take().expect("a finished future is not polled again") {
            Work::Done(reply) => reply,
            Work::Later(mut completion) => {
                let poll = AssertUnwindSafe(|| completion.as_mut().poll(cx));
                match catch_unwind(poll) {
                    Ok(Poll::Ready(reply)) => reply,
                    Ok(Poll::Pending) => {
                        self.work = Some(Work::Later(completion));
                        return Poll::Pending;
                    }
                    Err(panic) => closed_by_panic(panic.as_ref()),
                }
            }
        };
        let awaiting = self.awaiting.take().expect("a finished future is not polled again");
        Poll::Ready((awaiting, reply))
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
