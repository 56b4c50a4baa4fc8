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

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use parking_lot::Mutex;
use protocol::error_code::ErrorCode;
use protocol::types::{LeaderEpoch, Offset};
use tokio::time::Sleep;
use uuid::Uuid;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::fetch_session::session::{
    FINAL_EPOCH, INITIAL_EPOCH, Session, SessionError, TopicKey, Wanted,
};
use crate::fetch_session::{NO_SESSION, SharedSession};
use crate::partition::read::{Isolation, ReadFrom};
use crate::partition::watch::Watch;
use crate::reply::{Reply, Work};
use gather::HandedOut;

/// From this version on topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;

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
    match open_session(broker, context, &request) {
        Ok((session, mode)) => {
            let (broker, context) = (broker.clone(), context.clone());
            Work::later(Fetch { broker, context, terms, session, mode }.run())
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

/// Which partitions a request is about, and how its response names the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Those of the request, all of them answered for.
    Sessionless,
    /// The same, and they become a session if there is room.
    Create,
    /// Those of a session, answered for where something has changed.
    Incremental(i32),
}

/// Finds or makes the state that the request works on (KIP-227).
fn open_session(
    broker: &Broker,
    context: &RequestContext,
    request: &FetchRequest,
) -> Result<(SharedSession, Mode), SessionError> {
    let uses_topic_ids = context.api_version >= TOPIC_IDS_SINCE;
    let (id, epoch) = (request.session_id, request.session_epoch);
    let sessions = &broker.fetch_sessions;
    if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
        if id != NO_SESSION {
            sessions.remove(id);
        }
        let mut session = Session::new(uses_topic_ids);
        want_all(&mut session, uses_topic_ids, request)?;
        let mode = if epoch == INITIAL_EPOCH { Mode::Create } else { Mode::Sessionless };
        return Ok((Arc::new(Mutex::new(session)), mode));
    }
    let shared = sessions.get(id)?;
    let size = {
        let mut session = shared.lock();
        session.advance(epoch, uses_topic_ids)?;
        for topic in &request.forgotten_topics_data {
            let key = topic_key(uses_topic_ids, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                session.forget(key.clone(), *partition);
            }
        }
        want_all(&mut session, uses_topic_ids, request).inspect_err(|_| sessions.remove(id))?;
        session.len()
    };
    if size == 0 {
        sessions.remove(id);
        return Ok((shared, Mode::Sessionless));
    }
    if sessions.touch(id, size, broker.clock.monotonic()) {
        Ok((shared, Mode::Incremental(id)))
    } else {
        Err(SessionError::UnknownId)
    }
}

fn want_all(
    session: &mut Session,
    uses_topic_ids: bool,
    request: &FetchRequest,
) -> Result<(), SessionError> {
    for topic in &request.topics {
        let key = topic_key(uses_topic_ids, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            session.want(key.clone(), partition.partition, wanted(partition))?;
        }
    }
    Ok(())
}

fn topic_key(uses_topic_ids: bool, name: &str, id: Uuid) -> TopicKey {
    if uses_topic_ids { TopicKey::Id(id) } else { TopicKey::Name(name.into()) }
}

fn wanted(partition: &FetchPartition) -> Wanted {
    Wanted {
        from: ReadFrom {
            fetch_offset: Offset::new(partition.fetch_offset),
            current_leader_epoch: LeaderEpoch::new(partition.current_leader_epoch),
            last_fetched_epoch: LeaderEpoch::new(partition.last_fetched_epoch),
        },
        bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
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
    session: SharedSession,
    mode: Mode,
}

impl Fetch {
    /// May be dropped at every await: what was handed out goes back to the session.
    async fn run(self) -> Reply {
        let wait_max = self.terms.wait_max;
        let mut deadline = None;
        let mut time_is_up = wait_max.is_zero();
        let watch = self.session.lock().watch().clone();
        loop {
            let pass = self.look(HandedOut::take(&self.session, self.mode)).await;
            let nothing_wanted = self.session.lock().len() == 0;
            let enough = pass.bytes >= self.terms.bytes_min || pass.is_urgent;
            if enough || time_is_up || nothing_wanted {
                return respond::answer(&self, pass);
            }
            // Records in hand are let go while the request is parked: they would pin memory.
            if pass.park() {
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
