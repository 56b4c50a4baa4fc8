//! From what a fetch found to the frame of its response, records by reference.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::fetch_response::{
    self, FetchPartitionReply, FetchReply, FetchTopicReply, Part, RecordsByReference,
};
use smallvec::{SmallVec, smallvec};
use storage::read::{Records, RecordsPiece};
use uuid::Uuid;

use super::Fetch;
use super::gather::{Look, Pass, Refused, UNKNOWN, topic_ref};
use super::subject::Subject;
use crate::context::RequestContext;
use crate::fetch_session::session::{Candidate, TopicKey};
use crate::fetch_session::{NO_SESSION, SharedSession};
use crate::partition::read::Isolation;
use crate::partition::watch::Watch;
use crate::reply::{FramePart, Reply};
use crate::resolve::{self, LeaderHint};

/// From this version on clients are told who leads and where (KIP-951).
const LEADER_HINTS_SINCE: i16 = 16;

struct ByReference(Records);

impl RecordsByReference for ByReference {
    fn records_bytes(&self) -> usize {
        self.0.bytes
    }
}

/// A response that says why the session cannot go on.
pub(super) fn refusal(context: &RequestContext, error: ErrorCode) -> Reply {
    frame(
        context,
        FetchReply {
            throttle_ms: 0,
            error_code: error.code(),
            session_id: NO_SESSION,
            topics: SmallVec::new(),
            node_endpoints: Vec::new(),
        },
    )
}

/// The response to what `pass` found.
pub(super) fn answer(fetch: &Fetch, subject: &Subject, pass: Pass) -> Reply {
    let Pass { handed_out, looks, .. } = pass;
    let candidates = handed_out.settle();
    let mut topics = Topics::default();
    let session_id = match subject {
        Subject::Request(_) => NO_SESSION,
        Subject::NewSession(session) => keep(fetch, session),
        Subject::Session(id, _) => *id,
    };
    let mut session = match subject {
        Subject::NewSession(session) | Subject::Session(_, session) if session_id != NO_SESSION => {
            Some(session.lock())
        }
        Subject::Request(_) | Subject::NewSession(_) | Subject::Session(..) => None,
    };
    for (candidate, look) in candidates.into_iter().zip(looks) {
        let has_news = session.as_mut().is_some_and(|session| {
            let register = |watch: &Arc<Watch>| look.register(watch, candidate.slot);
            session.report(&candidate, look.finding(), register)
        });
        if has_news || !matches!(subject, Subject::Session(..)) {
            topics.push(fetch, &candidate, look);
        }
    }
    drop(session);
    let Topics { replies, node_endpoints } = topics;
    let reply =
        FetchReply { throttle_ms: 0, error_code: 0, session_id, topics: replies, node_endpoints };
    frame(&fetch.context, reply)
}

/// The id of a new session, [`NO_SESSION`] if there is no room for it.
fn keep(fetch: &Fetch, session: &SharedSession) -> i32 {
    let size = session.lock().len();
    if size == 0 {
        return NO_SESSION;
    }
    let now = fetch.broker.clock.monotonic();
    fetch.broker.fetch_sessions.insert(Arc::clone(session), size, now)
}

/// Partitions grouped by topic, in order.
#[derive(Default)]
struct Topics {
    replies: SmallVec<[FetchTopicReply<ByReference>; 1]>,
    node_endpoints: Vec<(i32, String, i32, Option<String>)>,
}

impl Topics {
    fn push(&mut self, fetch: &Fetch, candidate: &Candidate, look: Look) {
        let hint = self.leader_hint(fetch, candidate, &look);
        let reply = partition_reply(fetch.terms.isolation, candidate, look, hint);
        match self.replies.last_mut() {
            Some(topic) if is_same(&candidate.topic, topic) => topic.partitions.push(reply),
            _ => {
                let (name, id) = match &candidate.topic {
                    TopicKey::Name(name) => (name.as_ref().to_owned(), Uuid::nil()),
                    TopicKey::Id(id) => (String::new(), *id),
                };
                self.replies.push(FetchTopicReply { name, id, partitions: smallvec![reply] });
            }
        }
    }

    fn leader_hint(
        &mut self,
        fetch: &Fetch,
        candidate: &Candidate,
        look: &Look,
    ) -> Option<(i32, i32)> {
        let Err(Refused(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)) = look.0
        else {
            return None;
        };
        if fetch.context.api_version < LEADER_HINTS_SINCE {
            return None;
        }
        let topic = topic_ref(&candidate.topic);
        let LeaderHint { leader, leader_epoch, endpoint } = resolve::leader_hint(
            &fetch.broker,
            &fetch.context.listener,
            topic,
            candidate.partition,
        )?;
        let leader = leader.get();
        if let Some((host, port)) = endpoint
            && !self.node_endpoints.iter().any(|(id, ..)| *id == leader)
        {
            self.node_endpoints.push((leader, host, port, None));
        }
        Some((leader, leader_epoch))
    }
}

fn is_same(key: &TopicKey, topic: &FetchTopicReply<ByReference>) -> bool {
    match key {
        TopicKey::Name(name) => **name == *topic.name,
        TopicKey::Id(id) => *id == topic.id,
    }
}

fn partition_reply(
    isolation: Isolation,
    candidate: &Candidate,
    look: Look,
    current_leader: Option<(i32, i32)>,
) -> FetchPartitionReply<ByReference> {
    let mut reply = FetchPartitionReply {
        partition: candidate.partition,
        error_code: ErrorCode::None.code(),
        high_watermark: UNKNOWN.get(),
        last_stable_offset: UNKNOWN.get(),
        log_start_offset: UNKNOWN.get(),
        diverging_epoch: None,
        current_leader,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: None,
    };
    match look.0 {
        Ok(seen) => {
            reply.high_watermark = seen.pointers.high_watermark.get();
            reply.last_stable_offset = seen.pointers.last_stable_offset.get();
            reply.log_start_offset = seen.pointers.log_start_offset.get();
            reply.diverging_epoch =
                seen.diverging.map(|end| (end.leader_epoch.get(), end.end_offset.get()));
            // Without transactions none is aborted (behaviour 30).
            reply.aborted_transactions = (isolation == Isolation::ReadCommitted).then(Vec::new);
            reply.records = Some(ByReference(seen.records));
        }
        Err(Refused(error)) => reply.error_code = error.code(),
    }
    reply
}

fn frame(context: &RequestContext, reply: FetchReply<ByReference>) -> Reply {
    let parts = fetch_response::encode(context.correlation_id, context.api_version, reply);
    let mut frame = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Bytes(bytes) => frame.push(FramePart::Bytes(bytes)),
            Part::Records(ByReference(records)) => {
                frame.extend(records.pieces.into_iter().map(|piece| match piece {
                    RecordsPiece::Memory(bytes) => FramePart::Bytes(bytes),
                    RecordsPiece::File(slice) => FramePart::File(slice),
                }));
            }
        }
    }
    Reply::Frame(frame)
}
