//! OffsetFetch (API key 9): how far groups have read (behaviour 46).
//!
//! Answered when all commits before it are durable, so that nobody sees an offset that a power loss
//! takes back. No transaction is ever open, so that every offset is stable.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::group_record::CommittedOffset;
use protocol::response::Response;
use protocol::types::Offset;
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::effects::GroupError;
use crate::groups::offsets::GroupOffsets;
use crate::groups::owner::Owner;
use crate::reply::{Reply, Work};
use crate::resolve::{self, TopicRef, wire_name};
use crate::wire_text::text;

/// From here on one request asks for several groups.
const GROUPS_SINCE: i16 = 8;
/// From here on topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 10;
/// From here on an error of the group has a place of its own.
const GROUP_ERROR_SINCE: i16 = 2;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> Work {
    let version = context.api_version;
    let wanted = if version >= GROUPS_SINCE { request.groups } else { vec![single(request)] };
    let found: Vec<Found> = wanted.iter().map(|wanted| find(broker, context, wanted)).collect();
    if found.iter().all(Found::is_committed) {
        return Work::message(respond(version, found.into_iter().map(|found| found.group)));
    }
    // May be dropped: it only reads.
    Work::later(async move {
        let mut groups = Vec::with_capacity(found.len());
        for (found, wanted) in found.into_iter().zip(wanted) {
            groups.push(found.committed(&wanted).await);
        }
        Reply::Message(respond(version, groups.into_iter()))
    })
}

/// What older versions ask.
fn single(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics)
}

/// What one group has, and up to where its log must be committed for that.
struct Found {
    group: OffsetFetchResponseGroup,
    upto: Option<(Arc<Owner>, Offset)>,
}

impl Found {
    fn is_committed(&self) -> bool {
        self.upto.as_ref().is_none_or(|(owner, upto)| owner.is_committed(*upto))
    }

    async fn committed(self, wanted: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        match self.upto {
            Some((owner, upto)) => match owner.committed(upto).await {
                Ok(()) => self.group,
                Err(error) => refused(wanted, error_map::unavailable(error)),
            },
            None => self.group,
        }
    }
}

fn find(broker: &Broker, context: &RequestContext, wanted: &OffsetFetchRequestGroup) -> Found {
    let refuse = |error| Found { group: refused(wanted, error), upto: None };
    if !authorize(context, Operation::Describe, Resource::Group(&wanted.group_id)) {
        return refuse(ErrorCode::GroupAuthorizationFailed);
    }
    let looked = broker.groups.owner(&wanted.group_id).and_then(|owner| {
        let nothing = GroupOffsets::default();
        let image = broker.cluster.image();
        let (topics, upto) = owner.look(|shard| {
            let group = shard.get(&wanted.group_id);
            let member_id = wanted.member_id.as_deref();
            group.map_or(Ok(()), |it| it.members.check_fetch(member_id, wanted.member_epoch))?;
            let offsets = group.map_or(&nothing, |group| &group.offsets);
            Ok::<_, GroupError>(match &wanted.topics {
                Some(topics) => {
                    topics.iter().map(|it| some(&image, context, it, offsets)).collect()
                }
                None => all(&image, context, offsets),
            })
        })?;
        Ok((topics, (owner, upto)))
    });
    match looked {
        Ok((Err(error), _)) => refuse(error_map::group(error)),
        Ok((Ok(topics), upto)) => {
            let group = OffsetFetchResponseGroup::default()
                .with_group_id(m::GroupId(text(&wanted.group_id)))
                .with_topics(topics);
            Found { group, upto: Some(upto) }
        }
        Err(error) => refuse(error_map::unavailable(error)),
    }
}

fn some(
    image: &Image,
    context: &RequestContext,
    wanted: &OffsetFetchRequestTopics,
    offsets: &GroupOffsets,
) -> OffsetFetchResponseTopics {
    let named = name_of(image, context, wanted);
    let partitions = wanted.partition_indexes.iter().map(|index| match named {
        Ok(name) => partition(*index, known(image, name, offsets.get(name, *index))),
        Err(error) => partition(*index, None).with_error_code(error.code()),
    });
    OffsetFetchResponseTopics::default()
        .with_name(wire_name(&wanted.name))
        .with_topic_id(wanted.topic_id)
        .with_partitions(partitions.collect())
}

/// The name of a topic that may be told of.
fn name_of<'a>(
    image: &'a Image,
    context: &RequestContext,
    wanted: &'a OffsetFetchRequestTopics,
) -> Result<&'a str, ErrorCode> {
    let name = if context.api_version >= TOPIC_IDS_SINCE {
        resolve::topic(image, TopicRef::Id(wanted.topic_id))?.name.as_str()
    } else {
        wanted.name.as_str()
    };
    if !authorize(context, Operation::Describe, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    Ok(name)
}

/// What is committed for the present topic of that name, not for one that was deleted.
fn known<'a>(
    image: &Image,
    name: &str,
    committed: Option<&'a CommittedOffset>,
) -> Option<&'a CommittedOffset> {
    let now = image.topics.get(name).map(|topic| topic.id.get());
    committed.filter(|committed| match (committed.topic_id, now) {
        (Some(then), Some(now)) => then == now,
        (None, _) | (_, None) => true,
    })
}

fn all(
    image: &Image,
    context: &RequestContext,
    offsets: &GroupOffsets,
) -> Vec<OffsetFetchResponseTopics> {
    let by_id = context.api_version >= TOPIC_IDS_SINCE;
    let mut topics = Vec::new();
    for (topic, partitions) in offsets.iter() {
        let id = image.topics.get(&**topic).map(|topic| topic.id.get());
        // What has no id any more cannot be told by it.
        if !authorize(context, Operation::Describe, Resource::Topic(topic))
            || (by_id && id.is_none())
        {
            continue;
        }
        let told = partitions
            .filter_map(|(index, value)| Some((index, known(image, topic, Some(value))?)))
            .map(|(index, value)| partition(index, Some(value)));
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            topics.push(
                OffsetFetchResponseTopics::default()
                    .with_name(wire_name(topic))
                    .with_topic_id(if by_id { id.unwrap_or_default() } else { Uuid::nil() })
                    .with_partitions(told),
            );
        }
    }
    topics
}

fn partition(index: i32, committed: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    let response = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match committed {
        Some(committed) => response
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(&committed.metadata))),
        None => response
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::from_static_str(""))),
    }
}

/// An error of the whole group. Older versions have a place for it in each partition only.
fn refused(wanted: &OffsetFetchRequestGroup, error: ErrorCode) -> OffsetFetchResponseGroup {
    let topics = wanted.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        OffsetFetchResponseTopics::default()
            .with_name(wire_name(&topic.name))
            .with_topic_id(topic.topic_id)
            .with_partitions(
                partitions
                    .map(|index| partition(*index, None).with_error_code(error.code()))
                    .collect(),
            )
    });
    OffsetFetchResponseGroup::default()
        .with_group_id(m::GroupId(text(&wanted.group_id)))
        .with_error_code(error.code())
        .with_topics(topics.collect())
}

fn respond(version: i16, groups: impl Iterator<Item = OffsetFetchResponseGroup>) -> Response {
    let mut groups = groups.map(|mut group| {
        // Where the group has an error of its own, Kafka names no topics.
        if group.error_code != ErrorCode::None.code() && version >= GROUP_ERROR_SINCE {
            group.topics.clear();
        }
        group
    });
    if version >= GROUPS_SINCE {
        return Response::OffsetFetch(OffsetFetchResponse::default().with_groups(groups.collect()));
    }
    let group = groups.next().unwrap_or_default();
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    let error = if version >= GROUP_ERROR_SINCE { group.error_code } else { 0 };
    Response::OffsetFetch(
        OffsetFetchResponse::default().with_topics(topics.collect()).with_error_code(error),
    )
}
