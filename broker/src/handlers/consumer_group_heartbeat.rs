//! ConsumerGroupHeartbeat (API key 68): a member of a consumer group comes, stays or goes, and learns
//! what it has (behaviour 49). Answered when what has changed is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use protocol::error_code::ErrorCode;
use protocol::group_record::TopicPartitions as Owned;
use protocol::response::Response;
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::consumer::member::from_topics;
use crate::groups::consumer::{HeartbeatAnswer, HeartbeatRequest, ID_BYTES_MAX};
use crate::groups::effects::GroupError;
use crate::groups::owner::Unavailable;
use crate::reply::Work;
use crate::wire_text::{message, shared, text};

/// What stands for a rebalance timeout that is as it was.
const UNCHANGED: i32 = -1;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Work {
    if request.group_id.trim().is_empty() {
        return Work::message(refused(GroupError::InvalidRequest("GroupId can't be empty.")));
    }
    if request.group_id.len() > ID_BYTES_MAX {
        return Work::message(refused(GroupError::InvalidRequest("GroupId is too long.")));
    }
    if let Err(error) = authorized(context, &request) {
        return Work::message(failed(error));
    }
    let group = shared(&request.group_id);
    let owner = match broker.groups.owner(&group) {
        Ok(owner) => owner,
        Err(error) => return Work::message(failed(error_map::unavailable(error))),
    };
    let copied = copied(context, request);
    let limits = &broker.groups.settings().consumer;
    if let Err(error) = copied.check(context.api_version, limits) {
        return Work::message(refused(error));
    }
    if copied.names_bytes() > owner.member_bytes_max() {
        let error = GroupError::InvalidRequest("SubscribedTopicNames are too long.");
        return Work::message(refused(error));
    }
    match owner.change(|shard, at| shard.consumer_heartbeat(&group, &copied, at)) {
        Ok((answer, upto)) => {
            after_commit::respond(owner, upto, move |committed| match (committed, answer) {
                (Ok(()), Ok(answer)) => accepted(answer),
                (Ok(()), Err(error)) => refused(error),
                (Err(error), _) => failed(error_map::unavailable(error)),
            })
        }
        Err(error) => {
            if error == Unavailable::Blocked {
                // It must not be taken for dead because a disk is full. If this fails too, it is
                // answered alike.
                owner.touch(|shard, at| shard.keep_alive(&group, &copied, at)).ok();
            }
            Work::message(failed(error_map::unavailable(error)))
        }
    }
}

fn authorized(
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), ErrorCode> {
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let mut topics = request.subscribed_topic_names.iter().flatten();
    if topics.all(|topic| authorize(context, Operation::Describe, Resource::Topic(topic))) {
        Ok(())
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    }
}

/// Copies what outlives the request out of its frame.
fn copied(context: &RequestContext, request: ConsumerGroupHeartbeatRequest) -> HeartbeatRequest {
    let owned = |topic: TopicPartitionsOfRequest| Owned {
        topic_id: topic.topic_id,
        partitions: topic.partitions,
    };
    let topics = request.subscribed_topic_names.map(|names| {
        let names: BTreeSet<&str> = names.iter().map(|name| name.as_str()).collect();
        names.into_iter().map(shared).collect()
    });
    HeartbeatRequest {
        member_id: shared(&request.member_id),
        new_member_id: if request.member_id.is_empty() {
            Arc::from(Uuid::new_v4().to_string())
        } else {
            Arc::default()
        },
        member_epoch: request.member_epoch,
        instance_id: request.instance_id.as_deref().map(shared),
        rack_id: request.rack_id.as_deref().map(shared),
        client_id: shared(context.client_id.as_deref().unwrap_or_default()),
        client_host: Arc::from(format!("/{}", context.client_address)),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|it| *it != UNCHANGED),
        topics,
        regex: request.subscribed_topic_regex.as_deref().map(shared),
        assignor: request.server_assignor.as_deref().map(shared),
        owned: request.topic_partitions.map(|topics| from_topics(topics.into_iter().map(owned))),
    }
}

type TopicPartitionsOfRequest =
    kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

fn accepted(answer: HeartbeatAnswer) -> Response {
    let assignment = answer.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(topic_id, partitions)| {
            TopicPartitions::default().with_topic_id(topic_id).with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    let interval = i32::try_from(answer.heartbeat_interval.as_millis()).unwrap_or(i32::MAX);
    Response::ConsumerGroupHeartbeat(
        ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text(&answer.member_id)))
            .with_member_epoch(answer.member_epoch)
            .with_heartbeat_interval_ms(interval)
            .with_assignment(assignment),
    )
}

fn refused(error: GroupError) -> Response {
    Response::ConsumerGroupHeartbeat(
        ConsumerGroupHeartbeatResponse::default()
            .with_error_code(error_map::group(error).code())
            .with_error_message(message(&error)),
    )
}

fn failed(error: ErrorCode) -> Response {
    let response = ConsumerGroupHeartbeatResponse::default().with_error_code(error.code());
    Response::ConsumerGroupHeartbeat(response)
}
