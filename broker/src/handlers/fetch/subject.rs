//! What a fetch is about: the partitions of its request, or those of a session (KIP-227).
//!
//! Partitions go out of here in the order in which they are to be looked at, and come back once they
//! are answered for or the fetch parks. Those of a session never get lost: what is handed out goes
//! back when it is dropped.

use std::sync::Arc;

use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use parking_lot::Mutex;
use protocol::types::{LeaderEpoch, Offset};
use smallvec::SmallVec;
use uuid::Uuid;

use super::gather::{Look, Pass};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::fetch_session::session::{
    Candidate, FINAL_EPOCH, INITIAL_EPOCH, Session, SessionError, TopicKey, Wanted,
};
use crate::fetch_session::{NO_SESSION, SharedSession};
use crate::partition::read::ReadFrom;
use crate::partition::watch::{Slot, Watch};

/// From this version on topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// Up to so many partitions a request's are compared with each other to find one that is named twice.
const COMPARED_MAX: usize = 16;

/// Partitions to look at. Most fetches are about one.
pub(super) type Candidates = SmallVec<[Candidate; 1]>;

/// Which partitions a request is about, and how its response names the session.
pub(super) enum Subject {
    /// Those of the request, all of them answered for.
    Request(Candidates),
    /// The same, and they become a session if there is room.
    NewSession(SharedSession),
    /// Those of a session, answered for where something has changed.
    Session(i32, SharedSession),
}

impl Subject {
    /// Finds or makes the state that the request works on.
    pub(super) fn of(
        broker: &Broker,
        context: &RequestContext,
        request: &FetchRequest,
    ) -> Result<Self, SessionError> {
        let uses_topic_ids = context.api_version >= TOPIC_IDS_SINCE;
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch != INITIAL_EPOCH && epoch != FINAL_EPOCH {
            return Self::continued(broker, uses_topic_ids, request);
        }
        if id != NO_SESSION {
            broker.fetch_sessions.remove(id);
        }
        if epoch == INITIAL_EPOCH {
            let session = Session::wanting_all(uses_topic_ids, request)?;
            return Ok(Self::NewSession(Arc::new(Mutex::new(session))));
        }
        Ok(Self::Request(candidates_of(uses_topic_ids, request)?))
    }

    fn continued(
        broker: &Broker,
        uses_topic_ids: bool,
        request: &FetchRequest,
    ) -> Result<Self, SessionError> {
        let (id, sessions) = (request.session_id, &broker.fetch_sessions);
        let shared = sessions.get(id)?;
        let size = {
            let mut session = shared.lock();
            session.advance(request.session_epoch, uses_topic_ids)?;
            for topic in &request.forgotten_topics_data {
                let key = topic_key(uses_topic_ids, &topic.topic, topic.topic_id);
                for partition in &topic.partitions {
                    session.forget(key.clone(), *partition);
                }
            }
            session.want_all(uses_topic_ids, request).inspect_err(|_| sessions.remove(id))?;
            session.len()
        };
        if size == 0 {
            sessions.remove(id);
            return Ok(Self::Request(Candidates::new()));
        }
        if sessions.touch(id, size, broker.clock.monotonic()) {
            Ok(Self::Session(id, shared))
        } else {
            Err(SessionError::UnknownId)
        }
    }

    /// The partitions to look at now.
    pub(super) fn hand_out(&mut self) -> HandedOut {
        match self {
            Self::Request(candidates) => {
                HandedOut { session: None, candidates: std::mem::take(candidates) }
            }
            Self::NewSession(session) => HandedOut::of(session, Session::take_all),
            Self::Session(_, session) => HandedOut::of(session, Session::take_due),
        }
    }

    /// Whether nothing is wanted, so that nothing is worth waiting for.
    pub(super) fn is_empty(&self, pass: &Pass) -> bool {
        match self {
            Self::Request(_) => pass.looks.is_empty(),
            Self::NewSession(session) | Self::Session(_, session) => session.lock().len() == 0,
        }
    }

    /// Takes everything back to wait for more. What is marked at the next change, or `None` if
    /// something has changed already.
    pub(super) fn park(&mut self, pass: Pass) -> Option<Arc<Watch>> {
        let Pass { handed_out, looks, .. } = pass;
        match self {
            Self::Request(candidates) => {
                *candidates = handed_out.settle();
                // A new one each time: registrations of the last one that nobody marked are void.
                let watch = Arc::default();
                let register = |(at, look): (usize, &Look)| {
                    Slot::at(at).is_some_and(|slot| look.register(&watch, slot))
                };
                looks.iter().enumerate().all(register).then_some(watch)
            }
            Self::NewSession(shared) | Self::Session(_, shared) => {
                let mut session = shared.lock();
                let mut may_sleep = true;
                for (candidate, look) in handed_out.settle().iter().zip(&looks) {
                    let register = |watch: &Arc<Watch>| look.register(watch, candidate.slot);
                    may_sleep &= session.park(candidate, look.finding(), register);
                }
                may_sleep.then(|| session.watch().clone())
            }
        }
    }
}

/// Candidates on their way; those of a session that nobody answered for go back when this is dropped.
pub(super) struct HandedOut {
    session: Option<SharedSession>,
    candidates: Candidates,
}

impl HandedOut {
    fn of(session: &SharedSession, take: impl FnOnce(&mut Session) -> Vec<Candidate>) -> Self {
        let candidates = take(&mut session.lock()).into();
        Self { session: Some(session.clone()), candidates }
    }

    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The caller answers for them.
    pub(super) fn settle(mut self) -> Candidates {
        std::mem::take(&mut self.candidates)
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        if let Some(session) = &self.session
            && !self.candidates.is_empty()
        {
            let slots = self.candidates.iter().map(|candidate| candidate.slot);
            session.lock().give_back(slots);
        }
    }
}

/// The partitions of a request, each once, as a session would hand them out.
fn candidates_of(uses_topic_ids: bool, request: &FetchRequest) -> Result<Candidates, SessionError> {
    let count: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if count > COMPARED_MAX {
        return Ok(Session::wanting_all(uses_topic_ids, request)?.take_all().into());
    }
    let mut candidates = Candidates::new();
    for topic in &request.topics {
        let key = topic_key(uses_topic_ids, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let index = partition.partition;
            let is_same = |other: &&mut Candidate| other.partition == index && other.topic == key;
            let wanted = wanted(partition);
            if let Some(earlier) = candidates.iter_mut().find(is_same) {
                earlier.wanted = wanted;
                continue;
            }
            let slot = Slot::at(candidates.len()).ok_or(SessionError::TooLarge)?;
            candidates.push(Candidate { slot, topic: key.clone(), partition: index, wanted });
        }
    }
    Ok(candidates)
}

impl Session {
    /// A new session of what a request asks for.
    fn wanting_all(uses_topic_ids: bool, request: &FetchRequest) -> Result<Self, SessionError> {
        let mut session = Self::new(uses_topic_ids);
        session.want_all(uses_topic_ids, request)?;
        Ok(session)
    }

    fn want_all(
        &mut self,
        uses_topic_ids: bool,
        request: &FetchRequest,
    ) -> Result<(), SessionError> {
        for topic in &request.topics {
            let key = topic_key(uses_topic_ids, &topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                self.want(key.clone(), partition.partition, wanted(partition))?;
            }
        }
        Ok(())
    }
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
