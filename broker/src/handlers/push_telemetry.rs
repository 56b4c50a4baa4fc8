//! PushTelemetry (API key 72, KIP-714): takes the metrics that a client was asked for.

use std::sync::Arc;

use kafka_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use super::get_telemetry_subscriptions::asker;
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::Work;
use crate::telemetry::Push;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: PushTelemetryRequest,
) -> Work {
    let asker = asker(context, request.client_instance_id);
    let push = Push {
        subscription_id: request.subscription_id,
        is_last: request.terminating,
        compression: request.compression_type,
        metrics: &request.metrics,
    };
    let now = broker.clock.monotonic();
    let error = match broker.telemetry.push(&broker.cluster.image(), &asker, push, now) {
        Ok(()) => ErrorCode::None,
        Err(error) => {
            tracing::debug!(connection = context.connection_id, %error, "metrics were refused");
            error_map::telemetry(error)
        }
    };
    let response = PushTelemetryResponse::default().with_error_code(error.code());
    Work::message(Response::PushTelemetry(response))
}
