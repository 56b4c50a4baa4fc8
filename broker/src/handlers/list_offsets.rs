//! ListOffsets (API key 2): offsets by time, and the ends of a partition (behaviours 36 to 38).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::{LeaderEpoch, Offset, Timestamp};
use storage::error::ReadError;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::partition::Partition;
use crate::partition::read::Isolation;
use crate::reply::{Reply, Work};
use crate::resolve::{self, TopicRef};

/// What a client asks for instead of a time, and from which version on it may.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const MAX_TIMESTAMP_SINCE: i16 = 7;
const EARLIEST_LOCAL: i64 = -4;
const EARLIEST_LOCAL_SINCE: i16 = 8;
const LATEST_TIERED: i64 = -5;
const LATEST_TIERED_SINCE: i16 = 9;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const EARLIEST_PENDING_UPLOAD_SINCE: i16 = 11;

/// From this version on the answer carries the leader epoch.
const LEADER_EPOCH_SINCE: i16 = 4;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> Work {
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else {
        let level = request.isolation_level;
        return Work::Done(Reply::Close(format!("ListOffsets asks for isolation level {level}")));
    };
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        let lookup = Lookup { broker, context, isolation };
        Reply::Message(Response::ListOffsets(lookup.answer(request).await))
    })
}

/// Where a partition's record for the wanted time stands.
struct Found {
    offset: Offset,
    timestamp: Timestamp,
    leader_epoch: LeaderEpoch,
}

impl Found {
    /// No record of that time: not an error (behaviour 37).
    const NOTHING: Self =
        Self { offset: Offset::NONE, timestamp: Timestamp::NONE, leader_epoch: LeaderEpoch::NONE };

    const fn end(offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        Self { offset, timestamp: Timestamp::NONE, leader_epoch }
    }
}

/// What the whole request asks for.
struct Lookup {
    broker: Arc<Broker>,
    context: RequestContext,
    isolation: Isolation,
}

impl Lookup {
    async fn answer(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let repeated = repeated(&request);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let is_repeated =
                    repeated.contains(&(topic.name.to_string(), wanted.partition_index));
                let found = if is_repeated {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    self.find(&topic.name, wanted).await
                };
                partitions.push(self.response(wanted.partition_index, found));
            }
            topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(topic.name)
                    .with_partitions(partitions),
            );
        }
        ListOffsetsResponse::default().with_topics(topics)
    }

    async fn find(&self, topic: &str, wanted: &ListOffsetsPartition) -> Result<Found, ErrorCode> {
        let partition = {
            let image = self.broker.cluster.image();
            let topic = resolve::topic(&image, TopicRef::Name(topic))?;
            if !authorize(&self.context, Operation::Describe, Resource::Topic(topic.name.as_str()))
            {
                return Err(ErrorCode::TopicAuthorizationFailed);
            }
            resolve::partition(&self.broker.partitions, topic, wanted.partition_index)?.1
        };
        check_version(wanted.timestamp, self.context.api_version)?;
        partition
            .check_leader_epoch(LeaderEpoch::new(wanted.current_leader_epoch))
            .map_err(error_map::leader_epoch)?;
        let pointers = partition.replica.pointers();
        let end = self.isolation.end(&pointers);
        match wanted.timestamp {
            LATEST => Ok(Found::end(end, partition.replica.leadership().leader_epoch)),
            // Nothing is tiered: the local log is the whole log.
            EARLIEST | EARLIEST_LOCAL => {
                // A log that never had a record starts in the epoch that will write the first.
                let current = partition.replica.leadership().leader_epoch;
                let leader_epoch = partition.replica.log().earliest_epoch().unwrap_or(current);
                Ok(Found::end(pointers.log_start_offset, leader_epoch))
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(Found::NOTHING),
            time => self.search(partition, time, end).await,
        }
    }

    /// Asks the log itself, which may have to wait for the disk.
    async fn search(
        &self,
        partition: Arc<Partition>,
        time: i64,
        end: Offset,
    ) -> Result<Found, ErrorCode> {
        let search = move || {
            let log = partition.replica.log();
            if time == MAX_TIMESTAMP {
                log.offset_of_max_timestamp(end)
            } else {
                log.offset_for_timestamp(Timestamp::new(time), end)
            }
        };
        let found: Result<_, ReadError> = match self.broker.read_pool.run(search).await {
            Ok(found) => found,
            Err(_) => return Err(ErrorCode::KafkaStorageError),
        };
        match found {
            Ok(Some((offset, timestamp, leader_epoch))) => {
                Ok(Found { offset, timestamp, leader_epoch })
            }
            Ok(None) => Ok(Found::NOTHING),
            Err(error) => Err(error_map::read(&error)),
        }
    }

    fn response(
        &self,
        index: i32,
        found: Result<Found, ErrorCode>,
    ) -> ListOffsetsPartitionResponse {
        let (found, error) = match found {
            Ok(found) => (found, ErrorCode::None),
            Err(error) => (Found::NOTHING, error),
        };
        let response = ListOffsetsPartitionResponse::default()
            .with_partition_index(index)
            .with_error_code(error.code())
            .with_offset(found.offset.get())
            .with_timestamp(found.timestamp.get());
        if self.context.api_version < LEADER_EPOCH_SINCE {
            return response;
        }
        response.with_leader_epoch(found.leader_epoch.get())
    }
}

/// Behaviour 38: a question that is younger than the request's version, or that nobody knows.
const fn check_version(timestamp: i64, api_version: i16) -> Result<(), ErrorCode> {
    let since = match timestamp {
        LATEST | EARLIEST => return Ok(()),
        // Version 0 means something else by a time, which nobody asks for.
        0.. => 1,
        MAX_TIMESTAMP => MAX_TIMESTAMP_SINCE,
        EARLIEST_LOCAL => EARLIEST_LOCAL_SINCE,
        LATEST_TIERED => LATEST_TIERED_SINCE,
        EARLIEST_PENDING_UPLOAD => EARLIEST_PENDING_UPLOAD_SINCE,
        _ => i16::MAX,
    };
    if api_version < since { Err(ErrorCode::UnsupportedVersion) } else { Ok(()) }
}

/// Partitions that the request names more than once: each of them is refused every time.
fn repeated(request: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (&*topic.name, partition.partition_index))
    });
    named
        .filter(|named| !seen.insert((named.0.as_str(), named.1)))
        .map(|(topic, partition)| (topic.to_string(), partition))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_node::{START, TestNode, assert_encodes, batch, finish, name};

    /// Asks for each (topic, partition, timestamp); tells (error, timestamp, offset) of each.
    async fn list(
        node: &TestNode,
        api_version: i16,
        wanted: &[(&str, i32, i64)],
    ) -> Vec<(i16, i64, i64)> {
        let told = list_all(node, api_version, wanted).await;
        told.iter().map(|told| (told.error_code, told.timestamp, told.offset)).collect()
    }

    async fn list_all(
        node: &TestNode,
        api_version: i16,
        wanted: &[(&str, i32, i64)],
    ) -> Vec<ListOffsetsPartitionResponse> {
        use kafka_protocol::messages::list_offsets_request::ListOffsetsTopic;
        let topics = wanted.iter().map(|(topic, partition, timestamp)| {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(*partition)
                .with_timestamp(*timestamp);
            ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition])
        });
        let request = ListOffsetsRequest::default().with_topics(topics.collect());
        let work = handle(&node.broker, &TestNode::context(api_version), request);
        let reply = finish(work).await;
        assert_encodes(&reply, api_version);
        let Reply::Message(Response::ListOffsets(response)) = reply else { panic!("{reply:?}") };
        response.topics.into_iter().flat_map(|topic| topic.partitions).collect()
    }

    /// The start of a log came without its leader epoch, by which consumers tell that a log was cut.
    #[tokio::test]
    async fn both_ends_tell_their_leader_epoch() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        node.produce("t", 0, batch(&["a"])).await;
        for (partition, timestamp) in [(0, EARLIEST), (0, LATEST), (1, EARLIEST), (1, LATEST)] {
            let told = list_all(&node, 9, &[("t", partition, timestamp)]).await;
            assert_eq!(told[0].leader_epoch, 0, "partition {partition}, {timestamp}");
        }
    }

    #[tokio::test]
    async fn times_are_exact_within_a_batch_and_ends_are_the_pointers() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        // The records of a batch are a millisecond apart.
        node.produce("t", 0, batch(&["a", "b", "c"])).await;
        for version in 1..=11 {
            let ends = list(&node, version, &[("t", 0, LATEST), ("t", 9, LATEST)]).await;
            assert_eq!(ends, [(0, -1, 3), (3, -1, -1)], "version {version}");
        }
        let ask = async |timestamp| list(&node, 9, &[("t", 0, timestamp)]).await[0];
        assert_eq!(ask(START - 7).await, (0, START, 0));
        assert_eq!(ask(START + 1).await, (0, START + 1, 1));
        assert_eq!(ask(START + 3).await, (0, -1, -1), "nothing is as young");
        assert_eq!(ask(LATEST).await, (0, -1, 3));
        assert_eq!(ask(EARLIEST).await, (0, -1, 0));
        assert_eq!(ask(EARLIEST_LOCAL).await, (0, -1, 0));
        assert_eq!(ask(LATEST_TIERED).await, (0, -1, -1));
        assert_eq!(ask(MAX_TIMESTAMP).await, (0, START + 2, 2));
        assert_eq!(ask(EARLIEST_PENDING_UPLOAD).await.0, 35);
        let pending = list(&node, 11, &[("t", 0, EARLIEST_PENDING_UPLOAD)]).await;
        assert_eq!(pending, [(0, -1, -1)], "nothing is ever uploaded");
        assert_eq!(list(&node, 9, &[("t", 1, MAX_TIMESTAMP)]).await, [(0, -1, -1)], "empty");
        node.partition("t", 0).replica.delete_records(Offset::new(2)).await.unwrap();
        assert_eq!(ask(EARLIEST).await, (0, -1, 2));
        assert_eq!(ask(START).await, (0, START + 2, 2), "deleted records are not found");
    }

    #[tokio::test]
    async fn each_partition_has_its_own_error() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        let wanted = [("t", 0, -1), ("t", 1, -1), ("t", 0, -2), ("t", 7, -1), ("nope", 0, -1)];
        let errors: Vec<_> = list(&node, 9, &wanted).await.iter().map(|told| told.0).collect();
        assert_eq!(errors, [42, 0, 42, 3, 3]);
    }

    #[test]
    fn questions_need_the_version_that_brought_them() {
        for (timestamp, since) in [(-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, i16::MAX)] {
            assert_eq!(
                check_version(timestamp, since - 1),
                Err(ErrorCode::UnsupportedVersion),
                "{timestamp}"
            );
            assert_eq!(check_version(timestamp, since), Ok(()), "{timestamp}");
        }
        assert_eq!(check_version(-1, 1), Ok(()));
        assert_eq!(check_version(-2, 1), Ok(()));
        assert_eq!(check_version(0, 1), Ok(()));
    }
}
