//! DescribeConfigs (API key 32): settings in force, where they come from, and what they mean
//! (behaviour 56).

use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::Operation;
use crate::broker::Broker;
use crate::cluster::image::{Endpoint, Image, SettingsResource, SettingsScope};
use crate::config_resource::{ConfigResource, Refused};
use crate::context::RequestContext;
use crate::reply::Work;
use crate::settings::describe::{Described, Origin, Source};
use crate::settings::{Kind, Values};
use crate::wire_text::{message, text};

/// From here on the response tells type and documentation.
const TYPES_SINCE: i16 = 3;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> Work {
    let image = broker.cluster.image();
    let answer = Answer { broker, context, image: &image, request: &request };
    let results = request.resources.iter().map(|resource| answer.result(resource)).collect();
    let response = DescribeConfigsResponse::default().with_results(results);
    Work::message(Response::DescribeConfigs(response))
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a Image,
    request: &'a DescribeConfigsRequest,
}

impl Answer<'_> {
    fn result(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(text(&resource.resource_name));
        match self.describe(resource) {
            Ok(configs) => result.with_error_message(None).with_configs(configs),
            Err((error, why)) => {
                result.with_error_code(error.code()).with_error_message(message(&why))
            }
        }
    }

    fn describe(
        &self,
        wanted: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        let here = self.broker.broker_id;
        let resource = ConfigResource::parse(wanted.resource_type, &wanted.resource_name, here)?;
        resource.authorize(self.context, Operation::DescribeConfigs)?;
        let given = self.given();
        let layers = self.image.setting_layers(here, &given);
        let (described, is_dynamic) = match resource {
            ConfigResource::Topic(name) => {
                let topic = self.image.topics.get(&name).ok_or_else(|| {
                    let why = "This server does not host this topic.".to_owned();
                    (ErrorCode::UnknownTopicOrPartition, why)
                })?;
                (layers.topic(&topic.overrides), true)
            }
            ConfigResource::Broker(SettingsScope::AllBrokers) => (layers.all_brokers(), false),
            ConfigResource::Broker(SettingsScope::Broker(_)) => (layers.broker(), false),
            ConfigResource::Other(resource) => {
                let values = self.image.settings_of(&resource);
                let described = match resource {
                    SettingsResource::Group(_) => layers.group(values),
                    SettingsResource::ClientMetrics(_) => layers.client_metrics(values),
                };
                (described, true)
            }
            ConfigResource::Logger => return Ok(self.loggers(wanted)),
        };
        let keys = wanted.configuration_keys.as_ref();
        let is_wanted = |described: &Described| {
            keys.is_none_or(|keys| keys.iter().any(|key| **key == *described.setting.name))
        };
        let shown = described.into_iter().filter(is_wanted);
        Ok(shown.map(|described| self.config(described, is_dynamic)).collect())
    }

    /// Kafka tells neither type nor documentation of a logger.
    fn loggers(&self, wanted: &DescribeConfigsResource) -> Vec<DescribeConfigsResourceResult> {
        let keys = wanted.configuration_keys.as_ref();
        let levels = self.broker.log_levels.in_force().into_iter();
        let shown = levels
            .filter(|(name, _)| keys.is_none_or(|keys| keys.iter().any(|key| **key == **name)));
        let configs = shown.map(|(name, level)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(level)))
                .with_config_source(Source::Logger.number())
                .with_documentation(None)
        });
        configs.collect()
    }

    /// What was given at start, and what this process found out by itself.
    fn given(&self) -> Values {
        let id = self.broker.broker_id;
        let mut given = Values::from([
            ("node.id".to_owned(), id.to_string()),
            ("broker.id".to_owned(), id.to_string()),
        ]);
        if let Some(broker) = self.image.brokers.get(&id) {
            let url = |at: &Endpoint| {
                // An IPv6 address has colons of its own.
                let is_v6 = at.host.contains(':');
                let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
                format!("{}://{open}{}{close}:{}", at.listener, at.host, at.port)
            };
            let urls: Vec<_> = broker.endpoints.iter().map(url).collect();
            given.insert("advertised.listeners".to_owned(), urls.join(","));
        }
        given.extend(self.broker.settings.given.clone());
        given
    }

    fn config(&self, described: Described, is_dynamic: bool) -> DescribeConfigsResourceResult {
        let setting = described.setting;
        let source = described.source().number();
        let mut config = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(setting.name))
            .with_value(described.value.map(StrBytes::from_string))
            .with_read_only(!is_dynamic && !setting.is_dynamic())
            .with_config_source(source)
            .with_is_sensitive(setting.is_sensitive())
            .with_documentation(None);
        if self.request.include_synonyms {
            config = config.with_synonyms(described.origins.into_iter().map(synonym).collect());
        }
        if self.context.api_version >= TYPES_SINCE {
            config = config.with_config_type(type_number(setting.kind));
            if self.request.include_documentation {
                let documentation = StrBytes::from_static_str(setting.documentation);
                config = config.with_documentation(Some(documentation));
            }
        }
        config
    }
}

fn synonym(origin: Origin) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(origin.name))
        .with_value(origin.value.map(StrBytes::from_string))
        .with_source(origin.source.number())
}

/// Kafka's number of a type.
const fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
