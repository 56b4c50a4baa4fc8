//! DescribeCluster (API key 60): the brokers as clients of this listener reach them.

use std::sync::Arc;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Resource, authorized_operations};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::{broker as wire_broker, message, text};

/// Kinds of nodes that a client may ask for (KIP-919).
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> Work {
    let response = match request.endpoint_type {
        BROKERS => describe(broker, context, &request),
        CONTROLLERS => failed(
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted one of CONTROLLER.",
        ),
        _ => failed(ErrorCode::UnsupportedEndpointType, "There is no such endpoint type."),
    };
    Work::message(Response::DescribeCluster(response))
}

fn describe(
    broker: &Broker,
    context: &RequestContext,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (image, alive) = (broker.cluster.image(), broker.cluster.alive());
    let brokers = image.brokers.iter().filter_map(|(id, image)| {
        let is_fenced = !alive.contains(id);
        if is_fenced && !request.include_fenced_brokers {
            return None;
        }
        let endpoint = image.endpoint(&context.listener.name)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(wire_broker(Some(*id)))
                .with_host(text(&endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(image.rack.as_deref().map(text))
                .with_is_fenced(is_fenced),
        )
    });
    let response = DescribeClusterResponse::default()
        .with_cluster_id(text(broker.cluster.cluster_id()))
        .with_controller_id(wire_broker(broker.cluster.controller_id()))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        let operations = authorized_operations(context, Resource::Cluster);
        return response.with_cluster_authorized_operations(operations);
    }
    response
}

fn failed(error: ErrorCode, why: &str) -> DescribeClusterResponse {
    DescribeClusterResponse::default()
        .with_error_code(error.code())
        .with_error_message(message(&why))
}
