//! SyncGroup (API key 14): the leader brings the assignment of a generation, the others ask for their
//! part and wait for it (behaviour 44: what it says is no business of ours).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use tokio::sync::oneshot;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::after_commit;
use crate::groups::classic::SyncRequest;
use crate::groups::effects::{Answer, Synced, Ticket};
use crate::groups::owner::{Owner, Told};
use crate::reply::{Reply, Work};
use crate::wire_text::{shared, text};

/// From here on the protocol and its type are told and must be named.
const PROTOCOL_SINCE: i16 = 5;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: SyncGroupRequest,
) -> Work {
    let version = context.api_version;
    match begin(broker, context, &request) {
        // May be dropped: the assignment stays, and the member asks again.
        Ok((owner, told)) => Work::later(async move {
            let response = match after_commit::answer(&owner, told).await {
                Ok(Answer::Sync(Ok(synced))) => accepted(version, synced),
                Ok(Answer::Sync(Err(error))) => refused(error_map::group(error)),
                Ok(Answer::Join(_)) => unreachable!("a SyncGroup is answered as one"),
                Err(error) => refused(error_map::unavailable(error)),
            };
            Reply::Message(Response::SyncGroup(response))
        }),
        Err(error) => Work::message(Response::SyncGroup(refused(error))),
    }
}

fn begin(
    broker: &Broker,
    context: &RequestContext,
    request: &SyncGroupRequest,
) -> Result<(Arc<Owner>, oneshot::Receiver<Told>), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.api_version >= PROTOCOL_SINCE && !names_protocol {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let owner = broker.groups.owner(&request.group_id).map_err(error_map::unavailable)?;
    let group = shared(&request.group_id);
    let bytes_max = owner.batch_bytes_max();
    let told =
        owner.ask(|shard, ticket, at| shard.sync(&group, copied(request, ticket), bytes_max, at));
    // A coordinator that is loading has no rebalance under way: members begin again with a JoinGroup.
    let told = told.map_err(|error| match error_map::unavailable(error) {
        ErrorCode::CoordinatorLoadInProgress => ErrorCode::RebalanceInProgress,
        code => code,
    })?;
    Ok((owner, told))
}

/// Copies what outlives the request out of its frame.
fn copied(request: &SyncGroupRequest, ticket: Ticket) -> SyncRequest {
    let assignments = request.assignments.iter();
    SyncRequest {
        ticket,
        member_id: shared(&request.member_id),
        instance_id: request.group_instance_id.as_deref().map(shared),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_deref().map(shared),
        protocol: request.protocol_name.as_deref().map(shared),
        assignments: assignments
            .map(|it| (shared(&it.member_id), Bytes::copy_from_slice(&it.assignment)))
            .collect(),
    }
}

fn accepted(version: i16, synced: Synced) -> SyncGroupResponse {
    let told =
        |name: Option<Arc<str>>| name.filter(|_| version >= PROTOCOL_SINCE).map(|it| text(&it));
    SyncGroupResponse::default()
        .with_protocol_type(told(synced.protocol_type))
        .with_protocol_name(told(synced.protocol))
        .with_assignment(synced.assignment)
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}
