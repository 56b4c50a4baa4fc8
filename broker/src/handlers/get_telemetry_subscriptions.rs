//! GetTelemetrySubscriptions (API key 71, KIP-714): which of its metrics a client shall push.
//!
//! Kafka offers this only where an operator has installed a Java class that takes the metrics. Here
//! they are shown with the broker's own, so that it is always offered: a client asks every five
//! minutes, and one that runs already is reached by a new subscription without being started again.

use std::sync::Arc;

use kafka_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
};
use protocol::response::Response;
use uuid::Uuid;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::Work;
use crate::telemetry::{Asker, CODECS};
use crate::wire_text::text;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: GetTelemetrySubscriptionsRequest,
) -> Work {
    let asked = Some(request.client_instance_id).filter(|id| !id.is_nil());
    let asker = asker(context, asked.unwrap_or_else(Uuid::new_v4));
    let now = broker.clock.monotonic();
    let response = match broker.telemetry.ask(&broker.cluster.image(), &asker, now) {
        Ok(subscription) => {
            let interval_ms = i32::try_from(subscription.interval.as_millis()).unwrap_or(i32::MAX);
            let bytes_max = i32::try_from(broker.telemetry.bytes_max()).unwrap_or(i32::MAX);
            GetTelemetrySubscriptionsResponse::default()
                .with_client_instance_id(asker.instance)
                .with_subscription_id(subscription.id)
                .with_accepted_compression_types(CODECS.to_vec())
                .with_push_interval_ms(interval_ms)
                .with_telemetry_max_bytes(bytes_max)
                .with_delta_temporality(true)
                .with_requested_metrics(
                    subscription.metrics.iter().map(|name| text(name)).collect(),
                )
        }
        Err(error) => GetTelemetrySubscriptionsResponse::default()
            .with_error_code(error_map::telemetry(error).code()),
    };
    Work::message(Response::GetTelemetrySubscriptions(response))
}

/// Who sent a request.
pub(super) fn asker(context: &RequestContext, instance: Uuid) -> Asker<'_> {
    Asker {
        instance,
        client_id: context.client_id.as_deref(),
        software: context.software.get(),
        address: context.client_address,
        port: context.client_port,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

    use super::*;
    use crate::cluster::controller::{SettingChange, SettingOperation};
    use crate::cluster::image::SettingsResource;
    use crate::handlers::push_telemetry;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish};

    async fn ask(node: &TestNode, instance: Uuid) -> GetTelemetrySubscriptionsResponse {
        let request = GetTelemetrySubscriptionsRequest::default().with_client_instance_id(instance);
        let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
        assert_encodes(&reply, 0);
        let Reply::Message(Response::GetTelemetrySubscriptions(told)) = reply else { panic!() };
        told
    }

    async fn push(node: &TestNode, request: PushTelemetryRequest) -> PushTelemetryResponse {
        let context = TestNode::context(0);
        let reply = finish(push_telemetry::handle(&node.broker, &context, request)).await;
        assert_encodes(&reply, 0);
        let Reply::Message(Response::PushTelemetry(told)) = reply else { panic!() };
        told
    }

    #[tokio::test]
    async fn what_an_operator_sets_is_what_clients_are_told() {
        let node = TestNode::new(&[]).await;
        let nothing = ask(&node, Uuid::nil()).await;
        assert!(!nothing.client_instance_id.is_nil() && nothing.requested_metrics.is_empty());
        assert_eq!((nothing.error_code, nothing.push_interval_ms), (0, 300_000));

        let resource = SettingsResource::ClientMetrics("s".to_owned());
        let set = |name: &str, value: &str| (name.to_owned(), SettingOperation::Set(value.into()));
        let change = SettingChange::Each(vec![set("metrics", "a,b"), set("interval.ms", "1000")]);
        let (controller, here) = (node.broker.cluster.controller(), node.broker.broker_id);
        controller.alter_resource(&resource, here, &change, true).await.unwrap();

        let told = ask(&node, nothing.client_instance_id).await;
        assert_eq!(told.client_instance_id, nothing.client_instance_id);
        assert_eq!((told.error_code, told.push_interval_ms), (0, 1000));
        let metrics: Vec<&str> = told.requested_metrics.iter().map(|name| &**name).collect();
        assert_eq!(metrics, ["a", "b"]);
        assert_eq!(told.accepted_compression_types, CODECS);
        let again = ask(&node, told.client_instance_id).await;
        assert_eq!(again.error_code, 89, "too early");

        let request = PushTelemetryRequest::default()
            .with_client_instance_id(told.client_instance_id)
            .with_subscription_id(told.subscription_id);
        assert_eq!(push(&node, request.clone()).await.error_code, 0);
        let unknown = request.clone().with_client_instance_id(Uuid::from_u128(77));
        assert_eq!(push(&node, unknown).await.error_code, 117);
        let reserved = request.with_client_instance_id(Uuid::nil());
        assert_eq!(push(&node, reserved).await.error_code, 42);
    }
}
