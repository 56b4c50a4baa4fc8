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
