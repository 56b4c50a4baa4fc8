//! OffsetForLeaderEpoch (API key 23): where an epoch's records end (behaviour 39).

use std::sync::Arc;

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::{LeaderEpoch, Offset};

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::context::RequestContext;
use crate::error_map;
use crate::partition::epochs::EpochEnd;
use crate::reply::Work;
use crate::resolve::{self, TopicRef};

/// What stands in the response where an epoch is not known.
const UNKNOWN: EpochEnd = EpochEnd { leader_epoch: LeaderEpoch::NONE, end_offset: Offset::NONE };

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Work {
    let image = broker.cluster.image();
    let answer = |topic: &str, wanted: &OffsetForLeaderPartition| {
        let found = find(broker, context, &image, (topic, wanted));
        let (end, error) = match found {
            Ok(end) => (end.unwrap_or(UNKNOWN), ErrorCode::None),
            Err(error) => (UNKNOWN, error),
        };
        EpochEndOffset::default()
            .with_partition(wanted.partition)
            .with_error_code(error.code())
            .with_leader_epoch(end.leader_epoch.get())
            .with_end_offset(end.end_offset.get())
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| answer(&topic.topic, wanted));
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    Work::message(Response::OffsetForLeaderEpoch(
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect()),
    ))
}

fn find(
    broker: &Broker,
    context: &RequestContext,
    image: &Image,
    (topic, wanted): (&str, &OffsetForLeaderPartition),
) -> Result<Option<EpochEnd>, ErrorCode> {
    let topic = resolve::topic(image, TopicRef::Name(topic))?;
    if !authorize(context, Operation::Describe, Resource::Topic(topic.name.as_str())) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let (_, partition) = resolve::partition(&broker.partitions, topic, wanted.partition)?;
    let known = LeaderEpoch::new(wanted.current_leader_epoch);
    partition.check_leader_epoch(known).map_err(error_map::leader_epoch)?;
    Ok(partition.epoch_end(LeaderEpoch::new(wanted.leader_epoch)))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, batch, finish, name};

    #[tokio::test]
    async fn the_current_epoch_ends_at_the_log_end_and_a_later_one_is_unknown() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        node.produce("t", 0, batch(&["a", "b"])).await;
        let current = node.partition("t", 0).replica.leadership().leader_epoch.get();
        let ask = async |partition: i32, known: i32, epoch: i32| {
            let wanted = OffsetForLeaderPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(known)
                .with_leader_epoch(epoch);
            let topic =
                OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![wanted]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            let reply = finish(handle(&node.broker, &TestNode::context(4), request)).await;
            (2..=4).for_each(|version| assert_encodes(&reply, version));
            let Reply::Message(Response::OffsetForLeaderEpoch(response)) = reply else {
                panic!("{reply:?}")
            };
            let end = &response.topics[0].partitions[0];
            (end.error_code, end.leader_epoch, end.end_offset)
        };
        assert_eq!(ask(0, -1, current).await, (0, current, 2));
        assert_eq!(ask(0, current, current + 1).await, (0, -1, -1));
        assert_eq!(ask(0, current + 1, current).await, (75, -1, -1));
        assert_eq!(ask(5, -1, current).await, (3, -1, -1));
    }
}
