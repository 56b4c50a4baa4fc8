//! ListPartitionReassignments (API key 46, KIP-455): which partitions are on their way.
//!
//! As in Kafka, a partition that is not on its way is left out of the
//! answer whether it exists or not.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::{message, text};

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> Work {
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    let response = if authorize(context, Operation::Describe, Resource::Cluster) {
        response.with_topics(under_way(&broker.cluster.image(), &request))
    } else {
        response
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code())
            .with_error_message(message(&"Not authorized."))
    };
    Work::message(Response::ListPartitionReassignments(response))
}

fn under_way(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> Vec<OngoingTopicReassignment> {
    let is_asked = |topic: &TopicImage, index: i32| {
        let asked = request.topics.as_ref();
        asked.is_none_or(|topics| {
            topics.iter().any(|one| {
                one.name.as_str() == topic.name.as_str() && one.partition_indexes.contains(&index)
            })
        })
    };
    let ids = |brokers: &mut dyn Iterator<Item = BrokerId>| -> Vec<m::BrokerId> {
        brokers.map(|broker| m::BrokerId(broker.get())).collect()
    };
    let topics = image.topics.values().filter_map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|partition| {
            let index = partition.partition.get();
            let moving = partition.moving.as_ref().filter(|_| is_asked(topic, index))?;
            let (all, now) = (partition.holders(), &partition.replicas);
            let new = |broker: &BrokerId| moving.wanted.contains(broker) && !now.contains(broker);
            let leaves = |broker: &BrokerId| !moving.wanted.contains(broker);
            let one = OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_adding_replicas(ids(&mut all.iter().copied().filter(new)))
                .with_removing_replicas(ids(&mut all.iter().copied().filter(leaves)));
            Some(one.with_replicas(ids(&mut all.iter().copied())))
        });
        let partitions: Vec<_> = partitions.collect();
        let name = m::TopicName(text(topic.name.as_str()));
        let topic = OngoingTopicReassignment::default().with_name(name);
        (!partitions.is_empty()).then(|| topic.with_partitions(partitions))
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish, name};

    #[tokio::test]
    async fn no_partition_is_on_its_way() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let one = |topic| {
            ListPartitionReassignmentsTopics::default()
                .with_name(name(topic))
                .with_partition_indexes(vec![0, 7])
        };
        for topics in [None, Some(vec![]), Some(vec![one("t"), one("nope")])] {
            let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
            let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
            assert_encodes(&reply, 0);
            let Reply::Message(Response::ListPartitionReassignments(response)) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!((response.error_code, response.error_message), (0, None));
            assert_eq!(response.topics, []);
        }
    }
}
