//! LeaveGroup (API key 13): members go, by themselves or by an operator's hand.

use std::sync::Arc;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::effects::GroupError;
use crate::reply::Work;
use crate::wire_text::{shared, text};

/// From here on several members leave with one request, by member id or static id.
const SEVERAL_SINCE: i16 = 3;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> Work {
    let failed = |error: ErrorCode| {
        let response = LeaveGroupResponse::default().with_error_code(error.code());
        Work::message(Response::LeaveGroup(response))
    };
    if request.group_id.is_empty() {
        return failed(ErrorCode::InvalidGroupId);
    }
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return failed(ErrorCode::GroupAuthorizationFailed);
    }
    let version = context.api_version;
    let members = if version >= SEVERAL_SINCE {
        request.members
    } else {
        vec![MemberIdentity::default().with_member_id(request.member_id)]
    };
    let copied: Vec<_> = members
        .iter()
        .map(|it| (shared(&it.member_id), it.group_instance_id.as_deref().map(shared)))
        .collect();
    let group = shared(&request.group_id);
    let left = broker.groups.owner(&group).and_then(|owner| {
        let (left, upto) = owner.change(|shard, at| shard.leave(&group, &copied, at))?;
        Ok((owner, left, upto))
    });
    match left {
        Ok((owner, left, upto)) => after_commit::respond(owner, upto, move |committed| {
            Response::LeaveGroup(match committed {
                Ok(()) => answer(version, &copied, &left),
                Err(error) => LeaveGroupResponse::default()
                    .with_error_code(error_map::unavailable(error).code()),
            })
        }),
        Err(error) => failed(error_map::unavailable(error)),
    }
}

fn answer(
    version: i16,
    members: &[(Arc<str>, Option<Arc<str>>)],
    left: &[Result<(), GroupError>],
) -> LeaveGroupResponse {
    let code = |left: &Result<(), GroupError>| {
        left.map_err(error_map::group).err().unwrap_or(ErrorCode::None).code()
    };
    if version < SEVERAL_SINCE {
        return LeaveGroupResponse::default().with_error_code(left.iter().map(code).sum());
    }
    let members = members.iter().zip(left).map(|((member_id, instance_id), left)| {
        MemberResponse::default()
            .with_member_id(text(member_id))
            .with_group_instance_id(instance_id.as_deref().map(text))
            .with_error_code(code(left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}
