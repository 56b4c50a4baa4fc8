//! CreateTopics (API key 19), topic by topic (behaviour 54). Answered when the partitions are open,
//! so that a client can produce at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::topic::TopicName;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::controller::{Layout, PlannedTopic, TopicSpec, duplicates};
use crate::cluster::error::ChangeError;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::settings::Values;
use crate::wire_text::{message, text};

/// From here on the response tells the new topic's partitions and settings.
const DETAILS_SINCE: i16 = 5;
/// From here on the response tells the new topic's id.
const ID_SINCE: i16 = 7;

/// How long the answer waits for leaders.
const LEADERS_WITHIN: Duration = Duration::from_secs(3);

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        let topics = create(&broker, &context, request).await;
        let response = CreateTopicsResponse::default().with_topics(topics);
        Reply::Message(Response::CreateTopics(response))
    })
}

/// May be dropped: the topics are then created or not, as if the answer had been lost.
async fn create(
    broker: &Broker,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> Vec<CreatableTopicResult> {
    let repeated = duplicates(request.topics.iter().map(|topic| topic.name.to_string()));
    let specs = request.topics.iter().map(|topic| spec(context, topic, &repeated)).collect();
    let controller = broker.cluster.controller();
    let planned = controller.plan_topics(specs);
    let items = if request.validate_only {
        planned
    } else {
        let changed = controller.create_topics(planned).await;
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let open = tokio::time::timeout(timeout, broker.cluster.reconciled(changed.index)).await;
        let in_time = matches!(open, Ok(Ok(())));
        let names: Vec<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
        let led = broker.leaders.all_led(&broker.cluster, &names);
        // They are there in any case; this only spares clients a round of asking for leaders.
        tokio::time::timeout(timeout.min(LEADERS_WITHIN), led).await.ok();
        let late = |item| if in_time { Ok(item) } else { Err(ChangeError::NotOpenInTime) };
        changed.items.into_iter().map(|item| item.and_then(late)).collect()
    };
    let answer = Answer { broker, context };
    let pairs = request.topics.iter().zip(items);
    pairs.map(|(topic, item)| answer.result(&topic.name, item)).collect()
}

/// What the request asks for, checked as far as that needs no image.
fn spec(
    context: &RequestContext,
    topic: &CreatableTopic,
    repeated: &BTreeSet<String>,
) -> Result<TopicSpec, ChangeError> {
    if repeated.contains(topic.name.as_str()) {
        return Err(ChangeError::Contradiction("Duplicate topic name.".to_owned()));
    }
    let may = authorize(context, Operation::Create, Resource::Cluster)
        || authorize(context, Operation::Create, Resource::Topic(&topic.name));
    if !may {
        return Err(ChangeError::NotAuthorized);
    }
    let name = TopicName::new(&topic.name)?;
    let mut overrides = Values::new();
    for config in &topic.configs {
        let value = config.value.as_ref().ok_or_else(|| ChangeError::FixedSetting {
            name: config.name.to_string(),
            why: "must have a value",
        })?;
        if overrides.insert(config.name.to_string(), value.to_string()).is_some() {
            let text = format!("{} stands there twice", config.name);
            return Err(ChangeError::Contradiction(text));
        }
    }
    Ok(TopicSpec { name, layout: layout(topic)?, overrides })
}

fn layout(topic: &CreatableTopic) -> Result<Layout, ChangeError> {
    let default = -1;
    if topic.assignments.is_empty() {
        let partitions = Some(topic.num_partitions).filter(|count| *count != default);
        let replicas = Some(topic.replication_factor).filter(|count| i32::from(*count) != default);
        return Ok(Layout::Counts { partitions, replicas });
    }
    for (count, what) in [
        (topic.num_partitions, "numPartitions"),
        (i32::from(topic.replication_factor), "replication factor"),
    ] {
        if count != default {
            return Err(ChangeError::Contradiction(format!(
                "A manual partition assignment was specified, but {what} was not set to -1."
            )));
        }
    }
    assigned(&topic.assignments)
}

/// Partitions may come in any order, but must count from 0 without a gap.
fn assigned(assignments: &[CreatableReplicaAssignment]) -> Result<Layout, ChangeError> {
    let mut partitions: Vec<Option<Vec<BrokerId>>> = vec![None; assignments.len()];
    for assignment in assignments {
        let index = assignment.partition_index;
        let place = usize::try_from(index).ok().and_then(|at| partitions.get_mut(at));
        let place = place.ok_or_else(|| {
            let text = "partitions should be a consecutive 0-based integer sequence";
            ChangeError::InvalidAssignment(text.to_owned())
        })?;
        let brokers = assignment.broker_ids.iter().map(|id| BrokerId::new(id.0)).collect();
        if place.replace(brokers).is_some() {
            return Err(ChangeError::InvalidAssignment(format!(
                "Found multiple manual partition assignments for partition {index}"
            )));
        }
    }
    Ok(Layout::Assigned(partitions.into_iter().flatten().collect()))
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
}

impl Answer<'_> {
    fn result(
        &self,
        name: &m::TopicName,
        item: Result<PlannedTopic, ChangeError>,
    ) -> CreatableTopicResult {
        let result = CreatableTopicResult::default().with_name(m::TopicName(text(name)));
        let planned = match item {
            Ok(planned) => planned,
            Err(error) => {
                return result
                    .with_error_code(error_map::change(&error).code())
                    .with_error_message(message(&error))
                    .with_configs(Some(Vec::new()));
            }
        };
        let mut result = result.with_error_message(None);
        if self.context.api_version >= ID_SINCE {
            result = result.with_topic_id(planned.id().get());
        }
        if self.context.api_version >= DETAILS_SINCE {
            result = self.details(result, name, &planned);
        }
        result
    }

    fn details(
        &self,
        result: CreatableTopicResult,
        name: &str,
        planned: &PlannedTopic,
    ) -> CreatableTopicResult {
        if !authorize(self.context, Operation::DescribeConfigs, Resource::Topic(name)) {
            return result
                .with_topic_config_error_code(ErrorCode::TopicAuthorizationFailed.code())
                .with_configs(None);
        }
        let image = self.broker.cluster.image();
        let layers = image.setting_layers(self.broker.broker_id, &self.broker.settings.given);
        let configs = layers.topic(planned.overrides()).into_iter().map(|described| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(described.setting.name))
                .with_config_source(described.source().number())
                .with_is_sensitive(described.setting.is_sensitive())
                .with_value(described.value.map(StrBytes::from_string))
        });
        result
            .with_num_partitions(i32::try_from(planned.partition_count()).unwrap_or(i32::MAX))
            .with_replication_factor(i16::try_from(planned.replica_count()).unwrap_or(i16::MAX))
            .with_configs(Some(configs.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(index: i32, brokers: &[i32]) -> CreatableReplicaAssignment {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().map(|id| m::BrokerId(*id)).collect())
    }

    fn topic(
        partitions: i32,
        replicas: i16,
        assignments: &[CreatableReplicaAssignment],
    ) -> CreatableTopic {
        CreatableTopic::default()
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
            .with_assignments(assignments.to_vec())
    }

    #[test]
    fn minus_one_takes_the_default() {
        let layout = layout(&topic(-1, -1, &[])).unwrap();
        assert!(matches!(layout, Layout::Counts { partitions: None, replicas: None }));
    }

    #[test]
    fn an_assignment_stands_alone_and_counts_from_zero() {
        let two = [assignment(1, &[8]), assignment(0, &[7])];
        let Ok(Layout::Assigned(partitions)) = layout(&topic(-1, -1, &two)) else {
            panic!("refused");
        };
        assert_eq!(partitions, [vec![BrokerId::new(7)], vec![BrokerId::new(8)]]);
        for (partitions, replicas) in [(1, -1), (-1, 1)] {
            let error = layout(&topic(partitions, replicas, &two)).unwrap_err();
            assert!(matches!(error, ChangeError::Contradiction(_)));
        }
        for wrong in
            [[assignment(0, &[7]), assignment(2, &[7])], [assignment(0, &[7]), assignment(0, &[7])]]
        {
            let error = layout(&topic(-1, -1, &wrong)).unwrap_err();
            assert!(matches!(error, ChangeError::InvalidAssignment(_)));
        }
    }
}
