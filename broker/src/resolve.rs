//! From what a request names to a local partition, with the wire code for what is not there.
//!
//! Knows the metadata image and the local partitions, and nothing of any one API.

use std::sync::Arc;

use kafka_protocol::messages as m;
use protocol::error_code::ErrorCode;
use protocol::topic::TopicId;
use protocol::types::{BrokerId, PartitionId};
use uuid::Uuid;

use crate::broker::Broker;
use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::context::Listener;
use crate::error_map;
use crate::partition::Partition;
use crate::partitions::{LookupError, Partitions};

/// How a request names a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicRef<'a> {
    /// By name.
    Name(&'a str),
    /// By id, in newer versions.
    Id(Uuid),
}

/// Finds a topic.
pub(crate) fn topic<'a>(
    image: &'a Image,
    wanted: TopicRef<'_>,
) -> Result<&'a Arc<TopicImage>, ErrorCode> {
    match wanted {
        TopicRef::Name(name) => image.topics.get(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        TopicRef::Id(id) => TopicId::new(id)
            .and_then(|id| image.topic_names.get(&id))
            .and_then(|name| image.topics.get(name))
            .ok_or(ErrorCode::UnknownTopicId),
    }
}

/// Finds a topic's partition in the image and here.
pub(crate) fn partition<'a>(
    partitions: &Partitions,
    topic: &'a TopicImage,
    index: i32,
) -> Result<(&'a PartitionImage, Arc<Partition>), ErrorCode> {
    let known = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    let known = known.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match partitions.get(topic.id, PartitionId::new(index)) {
        Ok(open) => Ok((known, open)),
        // The cluster knows it, so that it is elsewhere or not open yet: clients ask for metadata
        // again and come back.
        Err(LookupError::Unknown) => Err(ErrorCode::NotLeaderOrFollower),
        Err(offline @ LookupError::Offline(_)) => Err(error_map::lookup(&offline)),
    }
}

/// A leader and its epoch, and where it listens if that is known, for the hints of KIP-951.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    /// The leader.
    pub(crate) leader: BrokerId,
    /// Its epoch.
    pub(crate) leader_epoch: i32,
    /// Host and port on the client's listener.
    pub(crate) endpoint: Option<(String, i32)>,
}

/// What to tell a client about who leads a partition; `None` if nobody is known to.
pub(crate) fn leader_hint(
    broker: &Broker,
    listener: &Listener,
    wanted: TopicRef<'_>,
    index: i32,
) -> Option<LeaderHint> {
    let image = broker.cluster.image();
    let topic = topic(&image, wanted).ok()?;
    let partition = topic.partitions.get(usize::try_from(index).ok()?)?;
    let standing = broker.leaders.standing(topic.id, partition);
    let leader = standing.leader?;
    let endpoint = endpoint(&image, leader, listener);
    Some(LeaderHint { leader, leader_epoch: standing.leader_epoch.get(), endpoint })
}

/// Host and port of `broker` for clients that came through `listener`, if they can reach it.
pub(crate) fn endpoint(
    image: &Image,
    broker: BrokerId,
    listener: &Listener,
) -> Option<(String, i32)> {
    let endpoint = image.brokers.get(&broker)?.endpoint(&listener.name)?;
    Some((endpoint.host.clone(), i32::from(endpoint.port)))
}

/// A name for the wire.
pub(crate) fn wire_name(name: &str) -> m::TopicName {
    m::TopicName(kafka_protocol::protocol::StrBytes::from_string(name.to_owned()))
}
