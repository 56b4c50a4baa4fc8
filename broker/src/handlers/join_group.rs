//! JoinGroup (API key 11): a member comes into a group, or takes part in a rebalance. Answered when
//! the rebalance has everybody (behaviours 40, 41 and 43).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::classic::JoinRequest;
use crate::groups::effects::{Answer, GroupError, Joined, Ticket};
use crate::groups::owner::{Owner, Told};
use crate::groups::times::from_millis;
use crate::reply::{Reply, Work};
use crate::wire_text::{shared, text};

/// How much of a member's name begins its id. An id as long as the longest string that a record can
/// hold could not be stored.
const NAME_BYTES_MAX: usize = 1024;
/// From here on the rebalance has a timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// From here on a first join only fetches a member id (KIP-394).
const KNOWN_ID_SINCE: i16 = 4;
/// From here on the protocol may be null, and its type is told.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// From here on a leader can be told that it need not compute the assignment (KIP-814).
const SKIP_SINCE: i16 = 9;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> Work {
    let version = context.api_version;
    let member_id = text(&request.member_id);
    match begin(broker, context, &request) {
        // May be dropped: the member is then in the group until its session ends.
        Ok((owner, told)) => Work::later(async move {
            let response = match after_commit::answer(&owner, told).await {
                Ok(Answer::Join(Ok(joined))) => accepted(version, joined),
                Ok(Answer::Join(Err((error, member_id)))) => {
                    refused(version, error_map::group(error), text(&member_id))
                }
                Ok(Answer::Sync(_)) => unreachable!("a JoinGroup is answered as one"),
                Err(error) => refused(version, error_map::unavailable(error), member_id),
            };
            Reply::Message(Response::JoinGroup(response))
        }),
        Err(error) => Work::message(Response::JoinGroup(refused(version, error, member_id))),
    }
}

fn begin(
    broker: &Broker,
    context: &RequestContext,
    request: &JoinGroupRequest,
) -> Result<(Arc<Owner>, oneshot::Receiver<Told>), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let owner = broker.groups.owner(&request.group_id).map_err(error_map::unavailable)?;
    let told_bytes: usize = request.protocols.iter().map(|it| it.metadata.len()).sum();
    if told_bytes > owner.member_bytes_max() {
        return Err(error_map::group(GroupError::TooLarge));
    }
    let group = shared(&request.group_id);
    let told =
        owner.ask(|shard, ticket, at| shard.join(&group, &copied(context, request, ticket), at));
    Ok((owner, told.map_err(error_map::unavailable)?))
}

/// Copies what outlives the request out of its frame.
fn copied(context: &RequestContext, request: &JoinGroupRequest, ticket: Ticket) -> JoinRequest {
    let version = context.api_version;
    let client_id = context.client_id.as_deref().unwrap_or_default();
    let session_timeout = from_millis(request.session_timeout_ms);
    let has_own_timeout = version >= REBALANCE_TIMEOUT_SINCE;
    let named_by = request.group_instance_id.as_deref().unwrap_or(client_id);
    let named_by = &named_by[..named_by.floor_char_boundary(NAME_BYTES_MAX)];
    let protocols = request.protocols.iter();
    JoinRequest {
        ticket,
        member_id: shared(&request.member_id),
        new_member_id: Arc::from(format!("{named_by}-{}", Uuid::new_v4())),
        instance_id: request.group_instance_id.as_deref().map(shared),
        client_id: shared(client_id),
        client_host: Arc::from(format!("/{}", context.client_address)),
        session_timeout,
        rebalance_timeout: if has_own_timeout {
            from_millis(request.rebalance_timeout_ms)
        } else {
            session_timeout
        },
        protocol_type: shared(&request.protocol_type),
        protocols: protocols
            .map(|it| (shared(&it.name), Bytes::copy_from_slice(&it.metadata)))
            .collect(),
        needs_known_id: version >= KNOWN_ID_SINCE,
        knows_skip: version >= SKIP_SINCE,
    }
}

fn accepted(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        let instance_id = member.instance_id.as_deref().filter(|_| version >= INSTANCES_SINCE);
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(instance_id.map(text))
            .with_metadata(member.subscription)
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(protocol_name(version, joined.protocol.as_deref()))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect());
    let protocol_type = joined.protocol_type.as_deref().filter(|_| version >= NULL_PROTOCOL_SINCE);
    let response = response.with_protocol_type(protocol_type.map(text));
    if version >= SKIP_SINCE {
        response.with_skip_assignment(joined.skip_assignment)
    } else {
        response
    }
}

/// From here on members have static ids (KIP-345).
const INSTANCES_SINCE: i16 = 5;

fn refused(version: i16, error: ErrorCode, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(protocol_name(version, None))
        .with_member_id(member_id)
}

fn protocol_name(version: i16, name: Option<&str>) -> Option<StrBytes> {
    match name {
        None if version < NULL_PROTOCOL_SINCE => Some(StrBytes::from_static_str("")),
        name => name.map(text),
    }
}
