//! DescribeProducers (API key 61, KIP-664): which idempotent producers a partition remembers.
//!
//! Of a producer's time it tells when its last batch came here, not the time in that batch: the two
//! differ where clients stamp records with times of their own. Until transactions exist no producer
//! has one open.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId,
};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::{Sequence, Timestamp};
use storage::log::producers::ActiveProducer;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::resolve::{self, TopicRef};

/// What stands for "no transaction" and for "no coordinator".
const NONE: i64 = -1;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeProducersRequest,
) -> Work {
    // What is asked twice is answered once: an answer may be much longer than its question.
    let mut asked = HashSet::new();
    let topics = request.topics.into_iter().map(|topic| {
        let is_new = |index: &&i32| asked.insert((topic.name.clone(), **index));
        let partitions = topic.partition_indexes.iter().filter(is_new).map(|index| {
            let response = PartitionResponse::default().with_partition_index(*index);
            match active(broker, context, &topic.name, *index) {
                Ok(producers) => response.with_error_message(None).with_active_producers(producers),
                Err(error) => response.with_error_message(None).with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let response = DescribeProducersResponse::default().with_topics(topics.collect());
    Work::message(Response::DescribeProducers(response))
}

fn active(
    broker: &Broker,
    context: &RequestContext,
    topic: &str,
    index: i32,
) -> Result<Vec<ProducerState>, ErrorCode> {
    if !authorize(context, Operation::Read, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let image = broker.cluster.image();
    let topic = resolve::topic(&image, TopicRef::Name(topic))?;
    let (_, partition) = resolve::partition(&broker.partitions, topic, index)?;
    if !partition.replica.leadership().is_local {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    let now = broker.clock.now();
    let producers = partition.replica.log().active_producers(now);
    Ok(producers.iter().map(state).collect())
}

fn state(producer: &ActiveProducer) -> ProducerState {
    let last_timestamp = Some(producer.last_seen).filter(|seen| *seen != Timestamp::NONE);
    ProducerState::default()
        .with_producer_id(WireProducerId(producer.producer_id.get()))
        .with_producer_epoch(i32::from(producer.producer_epoch.get()))
        .with_last_sequence(producer.last_sequence.map_or(-1, Sequence::get))
        .with_last_timestamp(last_timestamp.map_or(NONE, Timestamp::get))
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(NONE)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_producers_request::TopicRequest;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{START, TestNode, assert_encodes, batch_of_producer, finish, name};

    async fn describe(node: &TestNode, topic: &str, partition: i32) -> PartitionResponse {
        let topic =
            TopicRequest::default().with_name(name(topic)).with_partition_indexes(vec![partition]);
        let request = DescribeProducersRequest::default().with_topics(vec![topic]);
        let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
        assert_encodes(&reply, 0);
        let Reply::Message(Response::DescribeProducers(mut response)) = reply else {
            panic!("{reply:?}")
        };
        response.topics.remove(0).partitions.remove(0)
    }

    #[tokio::test]
    async fn producers_are_told_with_their_last_sequence() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        node.produce("t", 0, batch_of_producer(900, 0, &["a", "b"])).await;
        node.produce("t", 0, batch_of_producer(7, 0, &["a"])).await;
        node.produce("t", 0, batch_of_producer(900, 2, &["c"])).await;
        let told = describe(&node, "t", 0).await;
        assert_eq!(told.error_code, 0);
        let told = told.active_producers.iter().map(|producer| {
            assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
            assert_eq!((producer.producer_epoch, producer.last_timestamp), (0, START));
            (producer.producer_id.0, producer.last_sequence)
        });
        assert_eq!(told.collect::<Vec<_>>(), [(7, 0), (900, 2)]);
    }

    #[tokio::test]
    async fn a_partition_that_is_not_there_has_an_error() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        assert_eq!(describe(&node, "t", 0).await.active_producers, []);
        assert_eq!(describe(&node, "t", 1).await.error_code, 3);
        assert_eq!(describe(&node, "nope", 0).await.error_code, 3);
    }
}
