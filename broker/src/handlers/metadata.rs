//! Metadata (API key 3): brokers, topics and who leads their partitions (behaviours 8 to 12).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::topic::{TopicId, TopicName};
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize, authorized_operations};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::Work;
use crate::topic_view::{Viewer, is_internal};
use crate::wire_text::{broker, brokers, text};

/// From here on an empty list asks for no topic; before, for all.
const EMPTY_IS_NONE_SINCE: i16 = 1;
/// Before, a leader without this listener counted as no leader.
const LISTENER_NOT_FOUND_SINCE: i16 = 6;
/// Versions that can carry the cluster's authorized operations.
const CLUSTER_OPERATIONS: std::ops::RangeInclusive<i16> = 8..=10;
/// Topics are asked for by id from here on; versions 10 and 11 have the field and must not use it.
const BY_ID_SINCE: i16 = 12;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> Work {
    let image = broker.cluster.image();
    let answer = Answer { broker, context, image: &image, request: &request };
    Work::message(Response::Metadata(answer.response()))
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a Image,
    request: &'a MetadataRequest,
}

impl Answer<'_> {
    fn response(&self) -> MetadataResponse {
        let response = MetadataResponse::default()
            .with_brokers(self.brokers())
            .with_cluster_id(Some(text(self.broker.cluster.cluster_id())))
            .with_controller_id(broker(self.broker.cluster.controller_id()))
            .with_topics(self.topics());
        let wants = self.request.include_cluster_authorized_operations;
        if wants && CLUSTER_OPERATIONS.contains(&self.context.api_version) {
            let operations = authorized_operations(self.context, Resource::Cluster);
            return response.with_cluster_authorized_operations(operations);
        }
        response
    }

    /// The brokers that live and that clients of this listener can reach (behaviour 12).
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let alive = self.broker.cluster.alive();
        let live = self.image.brokers.iter().filter(|(id, _)| alive.contains(id));
        let reachable = live.filter_map(|(id, image)| {
            let endpoint = image.endpoint(&self.context.listener.name)?;
            Some(
                MetadataResponseBroker::default()
                    .with_node_id(broker(Some(*id)))
                    .with_host(text(&endpoint.host))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(image.rack.as_deref().map(text)),
            )
        });
        reachable.collect()
    }

    fn topics(&self) -> Vec<MetadataResponseTopic> {
        match &self.request.topics {
            None => self.all_topics(),
            Some(wanted) if wanted.is_empty() => {
                let none = self.context.api_version >= EMPTY_IS_NONE_SINCE;
                if none { Vec::new() } else { self.all_topics() }
            }
            Some(wanted) if self.breaks_version(wanted) => {
                wanted.iter().map(invalid_request).collect()
            }
            Some(wanted) => self.some_topics(wanted),
        }
    }

    /// Versions without ids must not leave out a name or carry an id (behaviour 10).
    fn breaks_version(&self, wanted: &[MetadataRequestTopic]) -> bool {
        self.context.api_version < BY_ID_SINCE
            && wanted.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
    }

    fn all_topics(&self) -> Vec<MetadataResponseTopic> {
        let visible = self.image.topics.values().filter(|topic| self.may_describe(&topic.name));
        visible.map(|topic| self.known(topic)).collect()
    }

    /// Each wanted topic once.
    fn some_topics(&self, wanted: &[MetadataRequestTopic]) -> Vec<MetadataResponseTopic> {
        let mut seen = BTreeSet::new();
        let once = wanted.iter().filter(|topic| seen.insert((topic.topic_id, topic.name.clone())));
        once.map(|topic| {
            let by_name = topic.name.as_ref().filter(|_| topic.topic_id.is_nil());
            by_name.map_or_else(|| self.by_id(topic.topic_id), |name| self.by_name(name))
        })
        .collect()
    }

    fn by_id(&self, id: Uuid) -> MetadataResponseTopic {
        let unknown = || failed(ErrorCode::UnknownTopicId).with_name(None).with_topic_id(id);
        let topic = TopicId::new(id).and_then(|id| self.image.topic_by_id(id));
        match topic {
            None => unknown(),
            // The name of a topic that the client may not see is not told.
            Some(topic) if !self.may_describe(&topic.name) => {
                unknown().with_error_code(ErrorCode::TopicAuthorizationFailed.code())
            }
            Some(topic) => self.known(topic),
        }
    }

    fn by_name(&self, wanted: &m::TopicName) -> MetadataResponseTopic {
        let named = |error| failed(error).with_name(Some(m::TopicName(text(wanted))));
        let name = match TopicName::new(wanted) {
            Ok(name) => name,
            Err(error) => return named(error_map::topic_name(&error)),
        };
        if !self.may_describe(&name) {
            return named(ErrorCode::TopicAuthorizationFailed);
        }
        if let Some(topic) = self.image.topics.get(&name) {
            return self.known(topic);
        }
        named(self.create_if_wanted(name))
    }

    /// Has an unknown topic created if client and settings agree; answers as if it did not matter,
    /// since the client asks again (behaviour 9).
    fn create_if_wanted(&self, name: TopicName) -> ErrorCode {
        let wanted = self.request.allow_auto_topic_creation
            && self.broker.settings.auto_create_topics_enable
            && !is_internal(name.as_str());
        if wanted {
            if self.image.colliding(&name).is_some() {
                return ErrorCode::InvalidTopic;
            }
            let topic = Resource::Topic(name.as_str());
            let may = authorize(self.context, Operation::Create, Resource::Cluster)
                || authorize(self.context, Operation::Create, topic);
            if !may {
                return ErrorCode::TopicAuthorizationFailed;
            }
            self.broker.cluster.create_in_background(name);
        }
        ErrorCode::UnknownTopicOrPartition
    }

    fn known(&self, topic: &TopicImage) -> MetadataResponseTopic {
        let viewer = Viewer {
            image: self.image,
            leaders: &self.broker.leaders,
            listener: &self.context.listener.name,
        };
        let partitions = topic.partitions.iter().map(|partition| {
            let view = viewer.partition(topic, partition);
            let error = match view.error {
                ErrorCode::ListenerNotFound
                    if self.context.api_version < LISTENER_NOT_FOUND_SINCE =>
                {
                    ErrorCode::LeaderNotAvailable
                }
                error => error,
            };
            MetadataResponsePartition::default()
                .with_error_code(error.code())
                .with_partition_index(view.index)
                .with_leader_id(broker(view.leader))
                .with_leader_epoch(view.leader_epoch.get())
                .with_replica_nodes(brokers(view.replicas))
                .with_isr_nodes(brokers(&view.isr))
                .with_offline_replicas(brokers(&view.offline))
        });
        let response = MetadataResponseTopic::default()
            .with_name(Some(m::TopicName(text(topic.name.as_str()))))
            .with_topic_id(topic.id.get())
            .with_is_internal(is_internal(topic.name.as_str()))
            .with_partitions(partitions.collect());
        if self.request.include_topic_authorized_operations {
            let topic = Resource::Topic(topic.name.as_str());
            return response
                .with_topic_authorized_operations(authorized_operations(self.context, topic));
        }
        response
    }

    fn may_describe(&self, name: &TopicName) -> bool {
        authorize(self.context, Operation::Describe, Resource::Topic(name.as_str()))
    }
}

fn failed(error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(error.code())
}

fn invalid_request(topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    let name = topic.name.as_ref().map(|name| text(name)).unwrap_or_default();
    failed(ErrorCode::InvalidRequest)
        .with_name(Some(m::TopicName(name)))
        .with_topic_id(topic.topic_id)
}

#[cfg(test)]
mod tests;
