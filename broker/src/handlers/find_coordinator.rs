//! FindCoordinator (API key 10). Neither groups nor transactions are served: every coordinator is
//! "not available", which clients take as a reason to ask again later.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::{message, text};

/// From here on a request asks for several coordinators.
const BATCHES_SINCE: i16 = 4;
/// Group, transaction, share group (KIP-932).
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=2;
const GROUP: i8 = 0;
const NOT_AVAILABLE: &str = "This broker does not serve groups and transactions yet.";

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> Work {
    Work::message(Response::FindCoordinator(answer(context, &request)))
}

fn answer(context: &RequestContext, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    if context.api_version >= BATCHES_SINCE {
        let keys = request.coordinator_keys.iter();
        let coordinators = keys.map(|key| coordinator(context, request.key_type, key)).collect();
        // The fields of older versions must stay at their defaults to be left out.
        return FindCoordinatorResponse::default()
            .with_error_message(None)
            .with_coordinators(coordinators);
    }
    let (error, why) = refusal(context, request.key_type, &request.key);
    FindCoordinatorResponse::default()
        .with_error_code(error.code())
        .with_error_message(message(&why))
        .with_node_id(m::BrokerId(-1))
        .with_host(StrBytes::from_static_str(""))
        .with_port(-1)
}

fn coordinator(context: &RequestContext, key_type: i8, key: &str) -> Coordinator {
    let (error, why) = refusal(context, key_type, key);
    Coordinator::default()
        .with_key(text(key))
        .with_node_id(m::BrokerId(-1))
        .with_host(StrBytes::from_static_str(""))
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(message(&why))
}

fn refusal(context: &RequestContext, key_type: i8, key: &str) -> (ErrorCode, &'static str) {
    if !KEY_TYPES.contains(&key_type) {
        return (ErrorCode::InvalidRequest, "There is no coordinator of this type.");
    }
    if key_type == GROUP && !authorize(context, Operation::Describe, Resource::Group(key)) {
        return (ErrorCode::GroupAuthorizationFailed, "Not authorized to see this group.");
    }
    (ErrorCode::CoordinatorNotAvailable, NOT_AVAILABLE)
}
