//! ConsumerGroupDescribe (API key 69): who is in consumer groups, what they own, and what is meant for
//! them (behaviour 49).

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::topic::TopicId;

use crate::authorize::{Operation, Resource, authorize, authorized_operations};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::assignor::Partitions;
use crate::groups::consumer::member::Member;
use crate::groups::consumer::{ConsumerGroup, ConsumerLimits};
use crate::groups::effects::GroupError;
use crate::reply::Work;
use crate::resolve::wire_name;
use crate::wire_text::{message, text};

/// From here on the answer tells which protocol a member speaks (KIP-1099).
const MEMBER_TYPES_SINCE: i16 = 1;
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Work {
    // What is asked twice is answered once: an answer may be much longer than its question.
    let mut asked = HashSet::new();
    let groups =
        request.group_ids.iter().filter(|group| asked.insert(group.to_string())).map(|group| {
            let described = describe(broker, context, group).unwrap_or_else(|(error, why)| {
                DescribedGroup::default().with_error_code(error.code()).with_error_message(why)
            });
            let described = described.with_group_id(m::GroupId(text(group)));
            if request.include_authorized_operations
                && described.error_code == ErrorCode::None.code()
            {
                let operations = authorized_operations(context, Resource::Group(group));
                return described.with_authorized_operations(operations);
            }
            described
        });
    let response = ConsumerGroupDescribeResponse::default().with_groups(groups.collect());
    Work::message(Response::ConsumerGroupDescribe(response))
}

fn describe(
    broker: &Broker,
    context: &RequestContext,
    group: &str,
) -> Result<DescribedGroup, (ErrorCode, Option<StrBytes>)> {
    if !authorize(context, Operation::Describe, Resource::Group(group)) {
        return Err((ErrorCode::GroupAuthorizationFailed, None));
    }
    let describing = Describing {
        image: &broker.cluster.image(),
        limits: &broker.groups.settings().consumer,
        version: context.api_version,
    };
    let unavailable = |error| (error_map::unavailable(error), message(&error));
    let owner = broker.groups.owner(group).map_err(unavailable)?;
    let described = owner.look(|shard| match shard.get(group) {
        None => Err(format!("Group {group} not found.")),
        Some(found) => match found.members.consumer() {
            None => Err(format!("Group {group} is not a consumer group.")),
            Some(found) => Ok(describing.group(found)),
        },
    });
    let (described, _) = described.map_err(unavailable)?;
    described.map_err(|why| (error_map::group(GroupError::UnknownGroup), message(&why)))
}

struct Describing<'a> {
    image: &'a Image,
    limits: &'a ConsumerLimits,
    version: i16,
}

impl Describing<'_> {
    fn group(&self, group: &ConsumerGroup) -> DescribedGroup {
        let members = group.state.members.iter();
        let members = members.map(|(member_id, member)| {
            let target = group.state.target_of(member_id);
            self.member(member, target).with_member_id(text(member_id))
        });
        DescribedGroup::default()
            .with_group_state(StrBytes::from_static_str(group.phase().name()))
            .with_group_epoch(group.state.epoch())
            .with_assignment_epoch(group.state.target_epoch())
            .with_assignor_name(StrBytes::from_static_str(group.assignor(self.limits).name()))
            .with_members(members.collect())
    }

    fn member(&self, member: &Member, target: &Partitions) -> DescribedMember {
        let told = &member.told;
        let mut held = Partitions::new();
        for (topic_id, partition) in member.holds() {
            held.entry(topic_id).or_default().insert(partition);
        }
        let described = DescribedMember::default()
            .with_instance_id(told.instance_id.as_deref().map(text))
            .with_rack_id(told.rack_id.as_deref().map(text))
            .with_member_epoch(member.current.epoch)
            .with_client_id(text(&told.client_id))
            .with_client_host(text(&told.client_host))
            .with_subscribed_topic_names(told.topics.iter().map(|name| wire_name(name)).collect())
            .with_subscribed_topic_regex(told.topics_regex.as_deref().map(text))
            .with_assignment(self.assignment(&held))
            .with_target_assignment(self.assignment(target));
        if self.version < MEMBER_TYPES_SINCE {
            return described;
        }
        let member_type = if member.is_classic() { CLASSIC_MEMBER } else { CONSUMER_MEMBER };
        described.with_member_type(member_type)
    }

    /// Topics that do not exist any more are left out.
    fn assignment(&self, partitions: &Partitions) -> Assignment {
        let topics = partitions.iter().filter_map(|(topic_id, partitions)| {
            let name = self.image.topic_names.get(&TopicId::new(*topic_id)?)?;
            Some(
                TopicPartitions::default()
                    .with_topic_id(*topic_id)
                    .with_topic_name(wire_name(name.as_str()))
                    .with_partitions(partitions.iter().copied().collect()),
            )
        });
        Assignment::default().with_topic_partitions(topics.collect())
    }
}
