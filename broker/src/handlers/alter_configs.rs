//! AlterConfigs (API key 33): replaces all settings of a resource by those of the request. Its
//! successor changes them one by one.

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::Operation;
use crate::broker::Broker;
use crate::cluster::controller::{SettingChange, duplicates};
use crate::config_resource::{ConfigResource, Refused};
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::settings::Values;
use crate::wire_text::{message, text};

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        let names = request.resources.iter();
        let names = names.map(|resource| (resource.resource_type, resource.resource_name.clone()));
        let repeated = duplicates(names);
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in &request.resources {
            let name = (resource.resource_type, resource.resource_name.clone());
            // May be dropped between two resources: each is changed as a whole or not at all.
            let altered = if repeated.contains(&name) {
                Err(repeated_resource())
            } else {
                alter(&broker, &context, resource, !request.validate_only).await
            };
            responses.push(result(resource, altered));
        }
        let response = AlterConfigsResponse::default().with_responses(responses);
        Reply::Message(Response::AlterConfigs(response))
    })
}

async fn alter(
    broker: &Broker,
    context: &RequestContext,
    resource: &AlterConfigsResource,
    apply: bool,
) -> Result<(), Refused> {
    let mut values = Values::new();
    for config in &resource.configs {
        let name = config.name.to_string();
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for : {name}");
            return Err((ErrorCode::InvalidRequest, why));
        };
        if values.insert(name, value.to_string()).is_some() {
            let why = "Error due to duplicate config keys".to_owned();
            return Err((ErrorCode::InvalidRequest, why));
        }
    }
    let here = broker.broker_id;
    let target = ConfigResource::parse(resource.resource_type, &resource.resource_name, here)?;
    target.authorize(context, Operation::AlterConfigs)?;
    apply_change(broker, &target, &SettingChange::Replace(values), apply).await
}

/// Changes the settings of `target`, or only checks whether that would be legal.
pub(super) async fn apply_change(
    broker: &Broker,
    target: &ConfigResource,
    change: &SettingChange,
    apply: bool,
) -> Result<(), Refused> {
    let controller = broker.cluster.controller();
    let altered = match target {
        ConfigResource::Topic(name) => controller.alter_topic(name, change, apply).await,
        ConfigResource::Broker(scope) => controller.alter_broker(*scope, change, apply).await,
        ConfigResource::Other(resource) => {
            controller.alter_resource(resource, broker.broker_id, change, apply).await
        }
        ConfigResource::Logger => return broker.log_levels.change(change, apply),
    };
    altered.map_err(|error| (error_map::change(&error), error.to_string()))
}

/// The answer to a resource that stands in a request more than once.
pub(super) fn repeated_resource() -> Refused {
    (ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned())
}

fn result(
    resource: &AlterConfigsResource,
    altered: Result<(), Refused>,
) -> AlterConfigsResourceResponse {
    let response = AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(text(&resource.resource_name));
    match altered {
        Ok(()) => response.with_error_message(None),
        Err((error, why)) => {
            response.with_error_code(error.code()).with_error_message(message(&why))
        }
    }
}
