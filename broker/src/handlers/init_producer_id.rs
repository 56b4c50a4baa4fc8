//! InitProducerId (API key 22): an identity for an idempotent producer.
//!
//! Transactions are not served. A request with a transactional id is answered "coordinator not
//! available", as FindCoordinator answers it: that is retriable, so that the client gives up after
//! its own timeout with a word that is true, instead of taking the refusal for a fenced or forbidden
//! producer.

use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::ProducerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};

/// Epoch of a new producer id. A producer that asks again gets a new id instead of a higher epoch, as
/// in Kafka without a transactional id (KIP-360).
const FIRST_EPOCH: i16 = 0;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> Work {
    if let Some(error) = refusal(context, &request) {
        return Work::message(Response::InitProducerId(failed(error)));
    }
    let broker = broker.clone();
    Work::later(async move {
        // May be dropped: the id is then lost, and there are enough.
        let response = match broker.cluster.next_producer_id().await {
            Ok(id) => assigned(id),
            Err(error) => failed(error_map::change(&error)),
        };
        Reply::Message(Response::InitProducerId(response))
    })
}

fn refusal(context: &RequestContext, request: &InitProducerIdRequest) -> Option<ErrorCode> {
    match &request.transactional_id {
        Some(id) if id.is_empty() => Some(ErrorCode::InvalidRequest),
        Some(_) => Some(ErrorCode::CoordinatorNotAvailable),
        None => (!authorize(context, Operation::IdempotentWrite, Resource::Cluster))
            .then_some(ErrorCode::ClusterAuthorizationFailed),
    }
}

fn assigned(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(m::ProducerId(id.get()))
        .with_producer_epoch(FIRST_EPOCH)
}

fn failed(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(m::ProducerId(-1))
        .with_producer_epoch(-1)
}
