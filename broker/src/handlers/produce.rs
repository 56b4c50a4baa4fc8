//! Produce (API key 0): acks, and results to the wire.
//!
//! The order-sensitive stage validates and appends every partition's batch in the order of the
//! request, so that batches of one connection stand in the log as they were sent. What is left is a
//! wait, which its connection answers when all of them are committed or the request's time is up.
//!
//! acks=1 waits like acks=-1: with one replica its own disk is all there is, and both promise it.
//! acks=0 gets no answer; an error closes its connection, which is all that such a client can see
//! (behaviour 20).

mod results;
pub(crate) mod uncommitted;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::error_code::ErrorCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::partition::append::AppendTerms;
use crate::partition::waiters::Target;
use crate::reply::{Reply, Work};
use crate::resolve::{self, TopicRef};
use crate::topic_view::is_internal;
use results::{Guide, Outcome, Results, Topic};
use uncommitted::Uncommitted;

/// From this version on a batch may be compressed with zstd (behaviour 13).
const ZSTD_SINCE: i16 = 7;
/// From this version on topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acks {
    /// Nothing.
    None,
    /// The leader's disk.
    Leader,
    /// All in-sync replicas.
    All,
}

impl Acks {
    const fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Work {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let acks = Acks::from_wire(request.acks);
    let results = match acks {
        None => Results::all(&request, ErrorCode::InvalidRequiredAcks, None),
        Some(_) if request.transactional_id.is_some() => {
            let why = "transactions are not supported by this broker yet";
            Results::all(&request, ErrorCode::InvalidTxnState, Some(why))
        }
        Some(acks) => Appending::new(broker, context, acks).append_all(request),
    };
    if acks == Some(Acks::None) {
        return Work::Done(results.first_error().map_or(Reply::Nothing, |(partition, error)| {
            Reply::Close(format!("produce with acks=0 to {partition} failed: {error:?}"))
        }));
    }
    if results.wait.is_empty() {
        return Work::message(results.into_response(context.api_version));
    }
    let deadline = Instant::now() + timeout;
    Work::Commit(Uncommitted::new(results, context.api_version, deadline))
}

/// The order-sensitive stage of one request.
struct Appending<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    acks: Acks,
    terms: AppendTerms,
    image: Arc<Image>,
    results: Results,
}

impl<'a> Appending<'a> {
    fn new(broker: &'a Arc<Broker>, context: &'a RequestContext, acks: Acks) -> Self {
        let (asked, listener) = (Arc::clone(broker), Arc::clone(&context.listener));
        let guide = Guide { broker: asked, listener };
        let terms = AppendTerms {
            zstd_allowed: context.api_version >= ZSTD_SINCE,
            now: broker.clock.now(),
            replicas_for_all: None,
        };
        Self {
            broker,
            context,
            acks,
            terms,
            image: broker.cluster.image(),
            results: Results::new(guide),
        }
    }

    fn append_all(mut self, request: ProduceRequest) -> Results {
        let repeated = Repeated::find(&request);
        let image = self.image.clone();
        for (place, topic) in request.topic_data.into_iter().enumerate() {
            let found = self.find_topic(&image, &topic);
            let named = Topic { place, name: topic.name, id: topic.topic_id };
            for (data_place, data) in topic.partition_data.into_iter().enumerate() {
                if repeated.is_overridden(place, data_place) {
                    continue;
                }
                let outcome = match found {
                    Ok(topic) => self.append(topic, &data),
                    Err(error) => Outcome::error(error),
                };
                self.results.push(&named, data.index, outcome);
            }
        }
        self.results
    }

    /// Kafka's way to let tools mend the broker's own topics: by the name that a client gives itself.
    fn is_administrator(&self) -> bool {
        self.context.client_id.as_deref() == Some("__admin_client")
    }

    fn find_topic<'i>(
        &self,
        image: &'i Image,
        topic: &TopicProduceData,
    ) -> Result<&'i Arc<TopicImage>, ErrorCode> {
        let wanted = if self.context.api_version >= TOPIC_IDS_SINCE {
            TopicRef::Id(topic.topic_id)
        } else {
            TopicRef::Name(&topic.name)
        };
        let found = resolve::topic(image, wanted)?;
        if !authorize(self.context, Operation::Write, Resource::Topic(found.name.as_str())) {
            Err(ErrorCode::TopicAuthorizationFailed)
        } else if is_internal(found.name.as_str()) && !self.is_administrator() {
            // What stands there is believed when the broker starts.
            Err(ErrorCode::InvalidTopic)
        } else {
            Ok(found)
        }
    }

    fn append(&mut self, topic: &TopicImage, data: &PartitionProduceData) -> Outcome {
        let found = resolve::partition(&self.broker.partitions, topic, data.index);
        let (image, partition) = match found {
            Ok(found) => found,
            Err(error) => return Outcome::error(error),
        };
        let Some(records) = &data.records else {
            return Outcome::refused(ErrorCode::InvalidRecord, "the partition has no record batch");
        };
        let replicas_for_all = (self.acks == Acks::All).then_some(image.replicas.len());
        let accepted = partition.append(records, AppendTerms { replicas_for_all, ..self.terms });
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return Outcome::from_refusal(&refusal),
        };
        let log_start_offset = partition.replica.pointers().log_start_offset;
        if self.acks != Acks::None {
            let target = Target::of(&accepted.produced);
            self.results.wait.add(partition.waiters().clone(), target);
        }
        Outcome::Accepted { accepted, log_start_offset }
    }
}

/// Partitions that a request names more than once: as in Kafka the last one counts, and the earlier
/// ones are neither appended nor answered.
struct Repeated {
    overridden: HashSet<(usize, usize)>,
}

impl Repeated {
    fn find(request: &ProduceRequest) -> Self {
        let partitions: usize =
            request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
        let mut overridden = HashSet::new();
        if partitions > 1 {
            let mut seen: HashSet<(&str, Uuid, i32)> = HashSet::with_capacity(partitions);
            for (topic_place, topic) in request.topic_data.iter().enumerate().rev() {
                for (place, data) in topic.partition_data.iter().enumerate().rev() {
                    if !seen.insert((&topic.name, topic.topic_id, data.index)) {
                        overridden.insert((topic_place, place));
                    }
                }
            }
        }
        Self { overridden }
    }

    fn is_overridden(&self, topic_place: usize, place: usize) -> bool {
        !self.overridden.is_empty() && self.overridden.contains(&(topic_place, place))
    }
}

#[cfg(test)]
mod tests;
