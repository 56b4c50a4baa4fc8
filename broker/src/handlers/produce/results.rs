//! What became of each partition of a produce request, and how that stands on the wire.
//!
//! An outcome that nobody knows gets a code that producers retry (style: never
//! UNKNOWN_SERVER_ERROR); with idempotence the retry cannot double a record.

use kafka_protocol::messages as m;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::{Offset, Timestamp};
use raft::replica::{Leadership, ProduceError};
use storage::validate::BatchRejection;
use uuid::Uuid;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::partition::append::{Accepted, AppendRefusal};
use crate::partition::commit_wait::CommitWait;
use crate::partition::waiters::CommitState;
use crate::resolve;

/// From this version on an error says more than its code.
const RECORD_ERRORS_SINCE: i16 = 8;
/// From this version on clients are told who leads and where (KIP-951).
const LEADER_HINTS_SINCE: i16 = 10;
/// Records named in one partition's error; the first ones tell enough.
const RECORD_ERRORS_MAX: usize = 100;

/// All partitions of a request, in its order.
pub(super) struct Results {
    pub(super) topics: Vec<TopicResult>,
    /// The accepted ones, in order; `None` if nobody waits.
    pub(super) wait: Option<CommitWait>,
}

/// One topic, named as in the request.
pub(super) struct TopicResult {
    name: m::TopicName,
    id: Uuid,
    partitions: Vec<PartitionResult>,
}

/// One partition.
pub(super) struct PartitionResult {
    pub(super) index: i32,
    pub(super) outcome: Outcome,
}

/// What became of a batch so far.
pub(super) enum Outcome {
    /// Appended; whether it is committed is asked when the response is made.
    Accepted { accepted: Accepted, log_start_offset: Offset },
    /// Not appended.
    Refused {
        error: ErrorCode,
        message: Option<String>,
        /// (index of the record in the batch, what is wrong with it).
        records: Vec<(i32, String)>,
        leadership: Option<Leadership>,
    },
}

impl Outcome {
    pub(super) const fn error(error: ErrorCode) -> Self {
        Self::Refused { error, message: None, records: Vec::new(), leadership: None }
    }

    pub(super) fn refused(error: ErrorCode, message: &str) -> Self {
        let message = Some(message.to_owned());
        Self::Refused { error, message, records: Vec::new(), leadership: None }
    }

    pub(super) fn from_refusal(refusal: &AppendRefusal) -> Self {
        let message = Some(refusal.to_string());
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
        Self::Refused { error, message, records, leadership }
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
    pub(super) fn with_capacity(request: &ProduceRequest) -> Self {
        Self { topics: Vec::with_capacity(request.topic_data.len()), wait: None }
    }

    /// The same refusal for every partition.
    pub(super) fn all(request: &ProduceRequest, error: ErrorCode, message: Option<&str>) -> Self {
        let mut results = Self::with_capacity(request);
        for topic in &request.topic_data {
            let refuse = |index: i32| PartitionResult {
                index,
                outcome: message.map_or_else(
                    || Outcome::error(error),
                    |message| Outcome::refused(error, message),
                ),
            };
            let answers = topic.partition_data.iter().map(|data| refuse(data.index)).collect();
            results.push((topic.name.clone(), topic.topic_id), answers);
        }
        results
    }

    /// Adds a topic.
    pub(super) fn push(&mut self, topic: (m::TopicName, Uuid), partitions: Vec<PartitionResult>) {
        let (name, id) = topic;
        self.topics.push(TopicResult { name, id, partitions });
    }

    /// The first partition that was refused, for the log.
    pub(super) fn first_error(&self) -> Option<(String, ErrorCode)> {
        self.topics.iter().find_map(|topic| {
            topic.partitions.iter().find_map(|partition| match &partition.outcome {
                Outcome::Accepted { .. } => None,
                Outcome::Refused { error, .. } => {
                    let named = if topic.id.is_nil() {
                        format!("{}-{}", &*topic.name, partition.index)
                    } else {
                        format!("{}-{}", topic.id, partition.index)
                    };
                    Some((named, *error))
                }
            })
        })
    }

    /// The response to what is known by now: what is not committed yet has timed out.
    pub(super) fn into_response(self, broker: &Broker, context: &RequestContext) -> Response {
        let mut writer =
            Writer { broker, context, wait: self.wait, next_wait: 0, node_endpoints: Vec::new() };
        let mut responses = Vec::with_capacity(self.topics.len());
        for topic in self.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            let partitions =
                topic.partitions.into_iter().map(|partition| writer.partition(partition)).collect();
            responses.push(
                TopicProduceResponse::default()
                    .with_name(topic.name)
                    .with_topic_id(topic.id)
                    .with_partition_responses(partitions),
            );
        }
        let response = ProduceResponse::default()
            .with_responses(responses)
            .with_node_endpoints(writer.node_endpoints);
        Response::Produce(response)
    }
}

struct Writer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    wait: Option<CommitWait>,
    /// Which addition to `wait` the next accepted partition is.
    next_wait: usize,
    node_endpoints: Vec<NodeEndpoint>,
}

impl Writer<'_> {
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
                none.with_base_offset(accepted.appended.base_offset.get())
                    .with_log_append_time_ms(accepted.log_append_time.get())
                    .with_log_start_offset(log_start_offset.get())
            }
            Outcome::Refused { error, message, records, leadership } => {
                let refused = none.with_error_code(error.code());
                let refused = self.with_reasons(refused, message, records);
                self.with_leader(refused, leadership)
            }
        }
    }

    fn commit_error(&mut self) -> ErrorCode {
        let index = self.next_wait;
        self.next_wait += 1;
        match self.wait.as_ref().map(|wait| wait.state(index)) {
            Some(CommitState::Committed) => ErrorCode::None,
            Some(CommitState::Pending) => ErrorCode::RequestTimedOut,
            // The outcome is unknown: the producer asks for metadata and tries again.
            Some(CommitState::Lost) | None => ErrorCode::KafkaStorageError,
        }
    }

    fn with_reasons(
        &self,
        refused: PartitionProduceResponse,
        message: Option<String>,
        records: Vec<(i32, String)>,
    ) -> PartitionProduceResponse {
        if self.context.api_version < RECORD_ERRORS_SINCE {
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
        leadership: Option<Leadership>,
    ) -> PartitionProduceResponse {
        let hint = leadership
            .filter(|_| self.context.api_version >= LEADER_HINTS_SINCE)
            .and_then(|leadership| resolve::leader_hint(self.broker, self.context, leadership));
        let Some(hint) = hint else { return refused };
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
