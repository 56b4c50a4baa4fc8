//! What became of each partition of a produce request, and how that stands on the wire.
//!
//! An outcome that nobody knows gets a code that producers retry (style: never
//! UNKNOWN_SERVER_ERROR); with idempotence the retry cannot double a record.
//!
//! A request for one partition, which most are, is kept here without an allocation.

use std::sync::Arc;

use bytes::BytesMut;
use kafka_protocol::messages as m;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::produce_response::{self, CommittedPartition, CommittedTopic};
use protocol::response::Response;
use protocol::types::{Offset, Timestamp};
use smallvec::SmallVec;
use storage::validate::BatchRejection;
use uuid::Uuid;

use crate::broker::Broker;
use crate::context::Listener;
use crate::error_map;
use crate::partition::append::{Accepted, AppendRefusal};
use crate::partition::commit_wait::CommitWait;
use crate::partition::waiters::CommitState;
use crate::resolve::{self, LeaderHint, TopicRef};

/// From this version on an error says more than its code.
const RECORD_ERRORS_SINCE: i16 = 8;
/// From this version on clients are told who leads and where (KIP-951).
const LEADER_HINTS_SINCE: i16 = 10;
/// Records named in one partition's error; the first ones tell enough.
const RECORD_ERRORS_MAX: usize = 100;

/// All partitions of a request, in its order.
#[derive(Default)]
pub(super) struct Results {
    partitions: SmallVec<[PartitionResult; 1]>,
    /// The accepted ones, in order; empty if nobody waits.
    pub(super) wait: CommitWait,
    /// Whom to ask for leaders, for a client that came in error or whose leader is one no longer.
    pub(super) guide: Option<Guide>,
}

/// Knows who leads, and where clients of one listener find it.
pub(super) struct Guide {
    pub(super) broker: Arc<Broker>,
    pub(super) listener: Arc<Listener>,
}

/// A topic, named as in the request.
#[derive(Clone)]
pub(super) struct Topic {
    /// Its place in the request: one that is named twice is answered twice.
    pub(super) place: usize,
    pub(super) name: m::TopicName,
    pub(super) id: Uuid,
}

struct PartitionResult {
    topic: Topic,
    index: i32,
    outcome: Outcome,
}

/// What became of a batch so far.
pub(super) enum Outcome {
    /// Appended; whether it is committed is asked when the response is made.
    Accepted { accepted: Accepted, log_start_offset: Offset },
    /// Not appended.
    Refused(Box<Refused>),
}

/// Why a batch was not appended.
pub(super) struct Refused {
    error: ErrorCode,
    message: Option<String>,
    /// (index of the record in the batch, what is wrong with it).
    records: Vec<(i32, String)>,
}

impl Outcome {
    pub(super) fn error(error: ErrorCode) -> Self {
        Self::Refused(Box::new(Refused { error, message: None, records: Vec::new() }))
    }

    pub(super) fn refused(error: ErrorCode, message: &str) -> Self {
        let message = Some(message.to_owned());
        Self::Refused(Box::new(Refused { error, message, records: Vec::new() }))
    }

    pub(super) fn from_refusal(refusal: &AppendRefusal) -> Self {
        let (error, records) = match refusal {
            AppendRefusal::Rejected(rejection) => {
                (error_map::batch(rejection), record_errors(rejection))
            }
            AppendRefusal::Transactional => (ErrorCode::InvalidTxnState, Vec::new()),
            AppendRefusal::TooFewInSync { .. } => (ErrorCode::NotEnoughReplicas, Vec::new()),
            AppendRefusal::Produce(error) => (error_map::produce(error), Vec::new()),
        };
        let message = Some(refusal.to_string());
        Self::Refused(Box::new(Refused { error, message, records }))
    }
}

fn record_errors(rejection: &BatchRejection) -> Vec<(i32, String)> {
    match rejection {
        BatchRejection::InvalidRecord { records, .. }
        | BatchRejection::InvalidTimestamp { records, .. } => {
            records.iter().take(RECORD_ERRORS_MAX).cloned().collect()
        }
        BatchRejection::Corrupt(_)
        | BatchRejection::TooLarge { .. }
        | BatchRejection::UnsupportedCodec => Vec::new(),
    }
}

impl Results {
    /// Nothing yet.
    pub(super) fn new(guide: Guide) -> Self {
        Self { guide: Some(guide), ..Self::default() }
    }

    /// The same refusal for every partition.
    pub(super) fn all(request: &ProduceRequest, error: ErrorCode, message: Option<&str>) -> Self {
        let mut results = Self::default();
        for (place, topic) in request.topic_data.iter().enumerate() {
            let named = Topic { place, name: topic.name.clone(), id: topic.topic_id };
            for data in &topic.partition_data {
                let outcome = message.map_or_else(
                    || Outcome::error(error),
                    |message| Outcome::refused(error, message),
                );
                results.push(&named, data.index, outcome);
            }
        }
        results
    }

    /// Adds a partition.
    pub(super) fn push(&mut self, topic: &Topic, index: i32, outcome: Outcome) {
        self.partitions.push(PartitionResult { topic: topic.clone(), index, outcome });
    }

    /// The first partition that was refused, for the log.
    pub(super) fn first_error(&self) -> Option<(String, ErrorCode)> {
        self.partitions.iter().find_map(|PartitionResult { topic, index, outcome }| match outcome {
            Outcome::Accepted { .. } => None,
            Outcome::Refused(refused) => {
                let named = if topic.id.is_nil() {
                    format!("{}-{index}", &*topic.name)
                } else {
                    format!("{}-{index}", topic.id)
                };
                Some((named, refused.error))
            }
        })
    }

    /// Appends the response's frame to `out` if every batch is committed; otherwise `false`.
    pub(super) fn encode_committed(
        &self,
        correlation_id: i32,
        api_version: i16,
        out: &mut BytesMut,
    ) -> bool {
        let is_accepted =
            |partition: &PartitionResult| matches!(partition.outcome, Outcome::Accepted { .. });
        if !self.partitions.iter().all(is_accepted) || !self.wait.is_all_committed() {
            return false;
        }
        let topics = by_topic(&self.partitions).map(|partitions| CommittedTopic {
            name: &partitions[0].topic.name,
            id: partitions[0].topic.id,
            partitions: partitions.iter().filter_map(PartitionResult::committed),
        });
        produce_response::encode(out, correlation_id, api_version, topics);
        true
    }

    /// The response to what is known by now: what is not committed yet has timed out.
    pub(super) fn into_response(self, api_version: i16) -> Response {
        let mut writer = Writer {
            api_version,
            wait: self.wait,
            guide: self.guide,
            next_wait: 0,
            node_endpoints: Vec::new(),
        };
        let mut responses: Vec<TopicProduceResponse> = Vec::new();
        let mut place = None;
        for result in self.partitions {
            let Topic { name, id, .. } = &result.topic;
            if place.replace(result.topic.place) != Some(result.topic.place) {
                let topic = TopicProduceResponse::default();
                responses.push(topic.with_name(name.clone()).with_topic_id(*id));
            }
            let partition = writer.partition(result);
            let topic = responses.last_mut().expect("one was pushed for the first partition");
            topic.partition_responses.push(partition);
        }
        let response = ProduceResponse::default()
            .with_responses(responses)
            .with_node_endpoints(writer.node_endpoints);
        Response::Produce(response)
    }
}

impl PartitionResult {
    fn committed(&self) -> Option<CommittedPartition> {
        match &self.outcome {
            Outcome::Accepted { accepted, log_start_offset } => Some(CommittedPartition {
                index: self.index,
                base_offset: accepted.produced.appended.base_offset,
                log_append_time: accepted.log_append_time,
                log_start_offset: *log_start_offset,
            }),
            Outcome::Refused(_) => None,
        }
    }
}

/// The partitions of each topic; none is empty.
fn by_topic(partitions: &[PartitionResult]) -> impl Iterator<Item = &[PartitionResult]> + Clone {
    partitions.chunk_by(|left, right| left.topic.place == right.topic.place)
}

struct Writer {
    api_version: i16,
    wait: CommitWait,
    guide: Option<Guide>,
    /// Which addition to `wait` the next accepted partition is.
    next_wait: usize,
    node_endpoints: Vec<NodeEndpoint>,
}

impl Writer {
    fn partition(&mut self, result: PartitionResult) -> PartitionProduceResponse {
        let none = PartitionProduceResponse::default()
            .with_index(result.index)
            .with_base_offset(Offset::NONE.get())
            .with_log_append_time_ms(Timestamp::NONE.get())
            .with_log_start_offset(Offset::NONE.get());
        match result.outcome {
            Outcome::Accepted { accepted, log_start_offset } => {
                let error = self.commit_error();
                if error.is_error() {
                    let hint = self.leader_of(error, &result.topic, result.index);
                    return self.with_leader(none.with_error_code(error.code()), hint);
                }
                none.with_base_offset(accepted.produced.appended.base_offset.get())
                    .with_log_append_time_ms(accepted.log_append_time.get())
                    .with_log_start_offset(log_start_offset.get())
            }
            Outcome::Refused(refused) => {
                let Refused { error, message, records } = *refused;
                let refused = none.with_error_code(error.code());
                let refused = self.with_reasons(refused, message, records);
                let hint = self.leader_of(error, &result.topic, result.index);
                self.with_leader(refused, hint)
            }
        }
    }

    fn commit_error(&mut self) -> ErrorCode {
        let index = self.next_wait;
        self.next_wait += 1;
        match self.wait.state(index) {
            CommitState::Committed => ErrorCode::None,
            CommitState::Pending => ErrorCode::RequestTimedOut,
            // The outcome is unknown: the producer asks for metadata and tries again.
            CommitState::Lost => ErrorCode::NotLeaderOrFollower,
            CommitState::Ended => ErrorCode::KafkaStorageError,
        }
    }

    fn with_reasons(
        &self,
        refused: PartitionProduceResponse,
        message: Option<String>,
        records: Vec<(i32, String)>,
    ) -> PartitionProduceResponse {
        if self.api_version < RECORD_ERRORS_SINCE {
            return refused;
        }
        let records = records.into_iter().map(|(index, reason)| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(index)
                .with_batch_index_error_message(Some(StrBytes::from_string(reason)))
        });
        refused
            .with_record_errors(records.collect())
            .with_error_message(message.map(StrBytes::from_string))
    }

    /// Who leads a partition, if that is what its error is about and the client can be told.
    fn leader_of(&self, error: ErrorCode, topic: &Topic, index: i32) -> Option<LeaderHint> {
        if error != ErrorCode::NotLeaderOrFollower || self.api_version < LEADER_HINTS_SINCE {
            return None;
        }
        let Guide { broker, listener } = self.guide.as_ref()?;
        let wanted =
            if topic.id.is_nil() { TopicRef::Name(&topic.name) } else { TopicRef::Id(topic.id) };
        resolve::leader_hint(broker, listener, wanted, index)
    }

    fn with_leader(
        &mut self,
        refused: PartitionProduceResponse,
        leader: Option<LeaderHint>,
    ) -> PartitionProduceResponse {
        let Some(hint) = leader else { return refused };
        let node_id = m::BrokerId(hint.leader.get());
        if let Some((host, port)) = hint.endpoint
            && !self.node_endpoints.iter().any(|node| node.node_id == node_id)
        {
            self.node_endpoints.push(
                NodeEndpoint::default()
                    .with_node_id(node_id)
                    .with_host(StrBytes::from_string(host))
                    .with_port(port),
            );
        }
        refused.with_current_leader(
            LeaderIdAndEpoch::default()
                .with_leader_id(node_id)
                .with_leader_epoch(hint.leader_epoch),
        )
    }
}
