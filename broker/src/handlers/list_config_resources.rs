//! ListConfigResources (API key 74, KIP-1142): the names of everything that has settings. Version 0
//! is the older ListClientMetricsResources.

use std::sync::Arc;

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{Image, SettingsResource};
use crate::config_resource::ResourceType;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::text;

/// From here on the request says of which types.
const TYPES_SINCE: i16 = 1;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> Work {
    let response = if authorize(context, Operation::DescribeConfigs, Resource::Cluster) {
        list(&broker.cluster.image(), &wanted(context.api_version, &request))
    } else {
        Err(ErrorCode::ClusterAuthorizationFailed)
    };
    let response = match response {
        Ok(resources) => ListConfigResourcesResponse::default().with_config_resources(resources),
        Err(error) => ListConfigResourcesResponse::default().with_error_code(error.code()),
    };
    Work::message(Response::ListConfigResources(response))
}

/// The types asked for; none means all.
fn wanted(api_version: i16, request: &ListConfigResourcesRequest) -> Vec<i8> {
    if api_version < TYPES_SINCE {
        return vec![ResourceType::ClientMetrics.number()];
    }
    if request.resource_types.is_empty() {
        return ResourceType::ALL.iter().map(|known| known.number()).collect();
    }
    request.resource_types.clone()
}

fn list(image: &Image, types: &[i8]) -> Result<Vec<ConfigResource>, ErrorCode> {
    let mut resources = Vec::new();
    for number in types {
        let known = ResourceType::from_number(*number).ok_or(ErrorCode::UnsupportedVersion)?;
        let names: Vec<String> = match known {
            ResourceType::Topic => image.topics.keys().map(ToString::to_string).collect(),
            ResourceType::Broker | ResourceType::BrokerLogger => {
                image.brokers.keys().map(ToString::to_string).collect()
            }
            ResourceType::ClientMetrics | ResourceType::Group => {
                let with_settings = image.resource_settings.keys();
                let names = with_settings.filter_map(|resource| match (known, resource) {
                    (ResourceType::ClientMetrics, SettingsResource::ClientMetrics(name))
                    | (ResourceType::Group, SettingsResource::Group(name)) => Some(name.clone()),
                    _ => None,
                });
                names.collect()
            }
        };
        resources.extend(names.iter().map(|name| {
            ConfigResource::default().with_resource_name(text(name)).with_resource_type(*number)
        }));
    }
    Ok(resources)
}
