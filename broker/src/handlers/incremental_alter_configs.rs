//! IncrementalAlterConfigs (API key 44, KIP-339): changes single settings, all or nothing for each
//! resource (behaviour 55).

use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use super::alter_configs::{apply_change, repeated_resource};
use crate::authorize::Operation;
use crate::broker::Broker;
use crate::cluster::controller::{SettingChange, SettingOperation, duplicates};
use crate::config_resource::{ConfigResource, Refused};
use crate::context::RequestContext;
use crate::reply::{Reply, Work};
use crate::wire_text::{message, text};

/// Numbers of the operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
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
        let response = IncrementalAlterConfigsResponse::default().with_responses(responses);
        Reply::Message(Response::IncrementalAlterConfigs(response))
    })
}

async fn alter(
    broker: &Broker,
    context: &RequestContext,
    resource: &AlterConfigsResource,
    apply: bool,
) -> Result<(), Refused> {
    let change = change(&resource.configs)?;
    let here = broker.broker_id;
    let target = ConfigResource::parse(resource.resource_type, &resource.resource_name, here)?;
    target.authorize(context, Operation::AlterConfigs)?;
    apply_change(broker, &target, &change, apply).await
}

fn change(configs: &[AlterableConfig]) -> Result<SettingChange, Refused> {
    let invalid = |why: String| (ErrorCode::InvalidRequest, why);
    if !duplicates(configs.iter().map(|config| config.name.clone())).is_empty() {
        return Err(invalid("Error due to duplicate config keys".to_owned()));
    }
    let operation = |config: &AlterableConfig| {
        let value = || {
            let missing = || invalid(format!("Null value not supported for : {}", &*config.name));
            config.value.as_ref().map(ToString::to_string).ok_or_else(missing)
        };
        let operation = match config.config_operation {
            SET => SettingOperation::Set(value()?),
            DELETE => SettingOperation::Delete,
            APPEND => SettingOperation::Append(value()?),
            SUBTRACT => SettingOperation::Subtract(value()?),
            unknown => return Err(invalid(format!("Unknown operation type {unknown}"))),
        };
        Ok((config.name.to_string(), operation))
    };
    Ok(SettingChange::Each(configs.iter().map(operation).collect::<Result<_, _>>()?))
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

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn config(name: &'static str, operation: i8, value: Option<&'static str>) -> AlterableConfig {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str))
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_changes() {
        for configs in [
            vec![config("a", SET, None)],
            vec![config("a", APPEND, None)],
            vec![config("a", 4, Some("1"))],
            vec![config("a", SET, Some("1")), config("a", DELETE, None)],
        ] {
            assert_eq!(change(&configs).unwrap_err().0, ErrorCode::InvalidRequest);
        }
        assert!(change(&[config("a", SET, Some("1")), config("b", DELETE, None)]).is_ok());
    }
}
