//! DeleteGroups (API key 42): groups without members, with all that they have committed.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::Offset;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::owner::{Owner, PlanRefusal};
use crate::reply::{Reply, Work};
use crate::wire_text::{shared, text};

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteGroupsRequest,
) -> Work {
    let deleted: Vec<_> =
        request.groups_names.iter().map(|group| delete(broker, context, group)).collect();
    // May be dropped: what was deleted stays so.
    Work::later(async move {
        let mut results = Vec::with_capacity(deleted.len());
        for (group, deleted) in request.groups_names.iter().zip(deleted) {
            let error = match deleted {
                Ok((owner, upto)) => owner.committed(upto).await.map_err(error_map::unavailable),
                Err(error) => Err(error),
            };
            let error = error.err().unwrap_or(ErrorCode::None);
            results.push(
                DeletableGroupResult::default()
                    .with_group_id(m::GroupId(text(group)))
                    .with_error_code(error.code()),
            );
        }
        let response = DeleteGroupsResponse::default().with_results(results);
        Reply::Message(Response::DeleteGroups(response))
    })
}

fn delete(
    broker: &Broker,
    context: &RequestContext,
    group: &str,
) -> Result<(Arc<Owner>, Offset), ErrorCode> {
    if !authorize(context, Operation::Delete, Resource::Group(group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let owner = broker.groups.owner(group).map_err(error_map::unavailable)?;
    let group = shared(group);
    let stored = owner.store(|shard, _| Ok(((), shard.plan_deletion(&group)?)));
    match stored {
        Ok(((), upto)) => Ok((owner, upto)),
        Err(PlanRefusal::Unavailable(error)) => Err(error_map::unavailable(error)),
        Err(PlanRefusal::Group(error)) => Err(error_map::group(error)),
        // Kafka has no better word; an operator can delete the offsets first, by topic.
        Err(PlanRefusal::TooLarge) => Err(ErrorCode::UnknownServerError),
    }
}
