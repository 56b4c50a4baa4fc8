//! OffsetDelete (API key 47): forgets what a group has committed for topics that it no longer reads
//! (KIP-496, behaviour 48).

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::owner::PlanRefusal;
use crate::reply::Work;
use crate::resolve::wire_name;
use crate::wire_text::shared;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetDeleteRequest,
) -> Work {
    match delete(broker, context, &request) {
        Ok(work) => work,
        Err(error) => Work::message(refused(error)),
    }
}

fn refused(error: ErrorCode) -> Response {
    Response::OffsetDelete(OffsetDeleteResponse::default().with_error_code(error.code()))
}

fn delete(
    broker: &Broker,
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> Result<Work, ErrorCode> {
    if !authorize(context, Operation::Delete, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let owner = broker.groups.owner(&request.group_id).map_err(error_map::unavailable)?;
    let group = shared(&request.group_id);
    let mut response = checked(broker, context, request);
    let known = response.topics.iter().flat_map(|topic| {
        let name = shared(&topic.name);
        let sound = topic.partitions.iter().filter(|it| it.error_code == ErrorCode::None.code());
        sound.map(move |partition| (Arc::clone(&name), partition.partition_index))
    });
    let known: Vec<_> = known.collect();
    let stored = owner.store(|shard, _| shard.plan_offset_deletion(&group, &known));
    let (answers, upto) = stored.map_err(|refusal| match refusal {
        PlanRefusal::Unavailable(error) => error_map::unavailable(error),
        PlanRefusal::Group(error) => error_map::group(error),
        PlanRefusal::TooLarge => ErrorCode::UnknownServerError,
    })?;
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let sound = partitions.filter(|it| it.error_code == ErrorCode::None.code());
    for (partition, answer) in sound.zip(answers) {
        if let Err(error) = answer {
            partition.error_code = error_map::group(error).code();
        }
    }
    Ok(after_commit::respond(owner, upto, move |committed| match committed {
        Ok(()) => Response::OffsetDelete(response),
        Err(error) => refused(error_map::unavailable(error)),
    }))
}

/// The response with what can be said before the group is asked.
fn checked(
    broker: &Broker,
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = broker.cluster.image();
    let topics = request.topics.iter().map(|topic| {
        let known = image.topics.get(topic.name.as_str()).map_or(0, |topic| topic.partitions.len());
        let may = authorize(context, Operation::Read, Resource::Topic(&topic.name));
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let error = if !may {
                ErrorCode::TopicAuthorizationFailed
            } else if usize::try_from(index).map_or(true, |index| index >= known) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::None
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error.code())
        });
        OffsetDeleteResponseTopic::default()
            .with_name(wire_name(&topic.name))
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
