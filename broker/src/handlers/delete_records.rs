//! DeleteRecords (API key 21): makes the beginning of a partition unreadable (behaviour 57).

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::Offset;
use tokio::time::Instant;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::partition::Partition;
use crate::reply::{Reply, Work};
use crate::resolve::{self, TopicRef};

/// Time that a request has at least, whatever it asks for: in Kafka its limit is for the followers, and
/// a leader's own deletion is never given up for it. librdkafka's tests ask for none at all.
const TIME_MIN: Duration = Duration::from_secs(30);

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move { Reply::Message(answer(&broker, &context, request).await) })
}

/// One partition after the other: each waits for the disk, and the request's time is one for all.
async fn answer(
    broker: &Broker,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> Response {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + timeout.max(TIME_MIN);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let deleted = match find(broker, context, &topic.name, index) {
                Ok(partition) => {
                    let delete = delete(&partition, Offset::new(wanted.offset));
                    let in_time = tokio::time::timeout_at(deadline, delete).await;
                    in_time.unwrap_or(Err(ErrorCode::RequestTimedOut))
                }
                Err(error) => Err(error),
            };
            let (low_watermark, error) = match deleted {
                Ok(log_start_offset) => (log_start_offset, ErrorCode::None),
                Err(error) => (Offset::NONE, error),
            };
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(index)
                    .with_low_watermark(low_watermark.get())
                    .with_error_code(error.code()),
            );
        }
        topics.push(
            DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions),
        );
    }
    Response::DeleteRecords(DeleteRecordsResponse::default().with_topics(topics))
}

fn find(
    broker: &Broker,
    context: &RequestContext,
    topic: &str,
    index: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    let image = broker.cluster.image();
    let topic = resolve::topic(&image, TopicRef::Name(topic))?;
    if !authorize(context, Operation::Delete, Resource::Topic(topic.name.as_str())) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let (_, partition) = resolve::partition(&broker.partitions, topic, index)?;
    // As in Kafka: a topic that is only compacted keeps its records until others replace them.
    if !partition.settings().log.delete_old_segments {
        return Err(ErrorCode::PolicyViolation);
    }
    Ok(partition)
}

/// May be dropped: the deletion then ends by itself or does not begin.
async fn delete(partition: &Partition, before: Offset) -> Result<Offset, ErrorCode> {
    let deleted = partition.replica.delete_records(before).await;
    partition.waiters().changed();
    deleted.map_err(|error| error_map::delete_records(&error))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::delete_records_request::{
        DeleteRecordsPartition, DeleteRecordsTopic,
    };

    use super::*;
    use crate::test_node::{TestNode, assert_encodes, batch, fetch_request, finish, name};

    /// Asks for each (topic, partition, offset); tells (error, low watermark) of each.
    async fn delete_records(node: &TestNode, wanted: &[(&str, i32, i64)]) -> Vec<(i16, i64)> {
        let topics = wanted.iter().map(|(topic, partition, offset)| {
            let partition = DeleteRecordsPartition::default()
                .with_partition_index(*partition)
                .with_offset(*offset);
            DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition])
        });
        // No time at all: what one node does by itself is not bound by it.
        let request =
            DeleteRecordsRequest::default().with_topics(topics.collect()).with_timeout_ms(0);
        let reply = finish(handle(&node.broker, &TestNode::context(2), request)).await;
        (0..=2).for_each(|version| assert_encodes(&reply, version));
        let Reply::Message(Response::DeleteRecords(response)) = reply else { panic!("{reply:?}") };
        let told = response.topics.iter().flat_map(|topic| &topic.partitions);
        told.map(|partition| (partition.error_code, partition.low_watermark)).collect()
    }

    #[tokio::test]
    async fn the_log_starts_where_the_client_says() {
        let node =
            TestNode::new(&[("t", 1, &[]), ("c", 1, &[("cleanup.policy", "compact")])]).await;
        node.produce("t", 0, batch(&["a", "b", "c"])).await;
        assert_eq!(delete_records(&node, &[("t", 0, 2)]).await, [(0, 2)]);
        assert_eq!(delete_records(&node, &[("t", 0, 1)]).await, [(0, 2)], "it never goes back");
        assert_eq!(delete_records(&node, &[("t", 0, 4)]).await, [(1, -1)], "beyond the end");
        assert_eq!(delete_records(&node, &[("t", 0, -2)]).await, [(1, -1)]);
        assert_eq!(delete_records(&node, &[("t", 0, -1)]).await, [(0, 3)], "everything");
        let others = [("t", 5, 0), ("nope", 0, 0), ("c", 0, 0)];
        assert_eq!(delete_records(&node, &others).await, [(3, -1), (3, -1), (44, -1)]);
        let below = node.fetch(11, fetch_request(&[("t", 0, 1)])).await;
        assert_eq!(below.responses[0].partitions[0].error_code, 1);
    }
}
