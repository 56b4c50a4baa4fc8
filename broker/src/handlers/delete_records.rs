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
    let deadline = Instant::now() + timeout;
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
