//! Fetch (API key 1): session, budget, park.
//!
//! The order-sensitive stage resolves the session. The completion looks at what is due, answers if
//! that is enough, and otherwise parks until a watched partition changes or the client's time is
//! up; it never asks twice without a reason (behaviour 28).
//!
//! Brokers replicate by Raft, never by Fetch: a replica id in the request is ignored, and everybody
//! reads committed records only.

mod gather;
mod respond;
mod subject;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use protocol::error_code::ErrorCode;
use tokio::time::Sleep;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::fetch_session::session::SessionError;
use crate::partition::read::Isolation;
use crate::partition::watch::Watch;
use crate::reply::{Reply, Work};
use subject::Subject;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: FetchRequest,
) -> Work {
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else {
        return Work::Done(Reply::Close(format!(
            "Fetch asks for isolation level {}",
            request.isolation_level
        )));
    };
    let terms = Terms::new(broker, &request, isolation);
    match Subject::of(broker, context, &request) {
        Ok(subject) => {
            let (broker, context) = (broker.clone(), context.clone());
            Work::later(Fetch { broker, context, terms }.run(subject))
        }
        Err(error) => Work::Done(respond::refusal(context, session_error(error))),
    }
}

/// What the whole request asks for.
#[derive(Debug, Clone, Copy)]
struct Terms {
    isolation: Isolation,
    /// Answer once there are as many bytes…
    bytes_min: usize,
    /// …at most this many…
    bytes_max: usize,
    /// …or after this long.
    wait_max: Duration,
}

impl Terms {
    fn new(broker: &Broker, request: &FetchRequest, isolation: Isolation) -> Self {
        let bytes_max = request.max_bytes.min(broker.settings.fetch_max_bytes);
        let bytes_min = request.min_bytes.min(bytes_max);
        let wait_max = u64::try_from(request.max_wait_ms).unwrap_or(0);
        Self {
            isolation,
            bytes_min: usize::try_from(bytes_min).unwrap_or(0),
            bytes_max: usize::try_from(bytes_max).unwrap_or(0),
            wait_max: Duration::from_millis(wait_max),
        }
    }
}

const fn session_error(error: SessionError) -> ErrorCode {
    match error {
        // A session that is too large is ended: the client goes on with full fetches.
        SessionError::UnknownId | SessionError::TooLarge => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

/// One request under way.
struct Fetch {
    broker: Arc<Broker>,
    context: RequestContext,
    terms: Terms,
}

impl Fetch {
    /// May be dropped at every await: what was handed out goes back to the session.
    async fn run(self, mut subject: Subject) -> Reply {
        let wait_max = self.terms.wait_max;
        let mut deadline = None;
        let mut time_is_up = wait_max.is_zero();
        loop {
            let pass = self.look(subject.hand_out()).await;
            let enough = pass.bytes >= self.terms.bytes_min || pass.is_urgent;
            if enough || time_is_up || subject.is_empty(&pass) {
                return respond::answer(&self, &subject, pass);
            }
            // Records in hand are let go while the request is parked: they would pin memory.
            if let Some(watch) = subject.park(pass) {
                let deadline =
                    deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait_max)));
                time_is_up = !news_before(&watch, deadline.as_mut()).await;
            } else {
                // Under a stream of commits this turn must not keep its thread from the others.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Waits; `false` if the deadline came first. Safe to drop.
async fn news_before(watch: &Watch, deadline: Pin<&mut Sleep>) -> bool {
    tokio::select! {
        () = watch.marked() => true,
        () = deadline => false,
    }
}

#[cfg(test)]
mod tests;
