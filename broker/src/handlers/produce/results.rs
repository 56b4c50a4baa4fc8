//! What became of each partition of a produce request, and how that stands on the wire.
//!
//! An outcome that nobody knows gets a code that producers retry (style: never
//! UNKNOWN_SERVER_ERROR); with idempotence the retry cannot double a record.
//!
//! A request for one partition, which most are, is kept here without an allocation.

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
use raft::replica::ProduceError;
use smallvec::SmallVec;
use storage::validate::BatchRejection;
use uuid::Uuid;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::partition::append::{Accepted, AppendRefusal};
use crate::partition::commit_wait::CommitWait;
use crate::partition::waiters::CommitState;
use crate::resolve::{self, LeaderHint};

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
    leader: Option<LeaderHint>,
}

impl Outcome {
    pub(super) fn error(error: ErrorCode) -> Self {
        Self::Refused(Box::new(Refused { error, message: None, records: Vec::new(), leader: None }))
    }

    pub(super) fn refused(error: ErrorCode, message: &str) -> Self {
        let message = Some(message.to_owned());
        Self::Refused(Box::new(Refused { error, message, records: Vec::new(), leader: None }))
    }

    pub(super) fn from_refusal(
        broker: &Broker,
        context: &RequestContext,
        refusal: &AppendRefusal,
    ) -> Self {
        let (error, records, leadership) = match refusal {
            AppendRefusal::Rejected(rejection) => {
                (error_map::batch(rejection), record_errors(rejection), None)
            }
            AppendRefusal::Transactional => (ErrorCode::InvalidTxnState, Vec::new(), None),
            AppendRefusal::TooFewInSync { .. } => (ErrorCode::NotEnoughReplicas, Vec::new(), None),
            AppendRefusal::Produce(error) => {
                let leadership = match error {
                    ProduceError::NotLeader(leadership) => Some(*leadership),
                    ProduceError::Append(_) => None,
                };
                (error_map::produce(error), Vec::new(), leadership)
            }
        };
        let leader =
            leadership.and_then(|leadership| resolve::leader_hint(broker, context, leadership));
        let message = Some(refusal.to_string());
        Self::Refused(Box::new(Refused { error, message, records, leader }))
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
        let mut writer =
            Writer { api_version, wait: self.wait, next_wait: 0, node_endpoints: Vec::new() };
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
                    return none.with_error_code(error.code());
                }
                none.with_base_offset(accepted.produced.appended.base_offset.get())
                    .with_log_append_time_ms(accepted.log_append_time.get())
                    .with_log_start_offset(log_start_offset.get())
            }
            Outcome::Refused(refused) => {
                let Refused { error, message, records, leader } = *refused;
                let refused = none.with_error_code(error.code());
                let refused = self.with_reasons(refused, message, records);
                self.with_leader(refused, leader)
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

    fn with_leader(
        &mut self,
        refused: PartitionProduceResponse,
        leader: Option<LeaderHint>,
    ) -> PartitionProduceResponse {
        let Some(hint) = leader.filter(|_| self.api_version >= LEADER_HINTS_SINCE) else {
            return refused;
        };
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
