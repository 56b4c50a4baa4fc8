//! Heartbeat (API key 12): a member of a classic group is alive, and learns of a rebalance
//! (behaviour 42). Answered at once: nothing that it tells has to be durable.

use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::groups::owner::Unavailable;
use crate::reply::Work;
use crate::wire_text::shared;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: HeartbeatRequest,
) -> Work {
    let error = beat(broker, context, &request).err().unwrap_or(ErrorCode::None);
    let response = HeartbeatResponse::default().with_error_code(error.code());
    Work::message(Response::Heartbeat(response))
}

fn beat(
    broker: &Broker,
    context: &RequestContext,
    request: &HeartbeatRequest,
) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if !authorize(context, Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let owner = broker.groups.owner(&request.group_id).map_err(error_map::unavailable)?;
    let HeartbeatRequest { member_id, generation_id, .. } = request;
    let group = shared(&request.group_id);
    let instance_id = request.group_instance_id.as_deref();
    let beat = owner
        .touch(|shard, at| shard.heartbeat(&group, member_id, instance_id, *generation_id, at));
    match beat {
        Ok(beat) => beat.map_err(error_map::group),
        // As in Kafka: sessions begin anew when the groups are loaded, so that all is well.
        Err(Unavailable::Loading) => Ok(()),
        Err(error @ (Unavailable::NotHere | Unavailable::Blocked)) => {
            Err(error_map::unavailable(error))
        }
    }
}
