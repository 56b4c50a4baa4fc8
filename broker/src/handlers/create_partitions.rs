//! CreatePartitions (API key 37): topics grow, topic by topic. Answered when the partitions are open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use protocol::response::Response;
use protocol::topic::TopicName;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::controller::{Growth, PlannedGrowth, duplicates};
use crate::cluster::error::ChangeError;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::wire_text::{message, text};

/// How long the answer waits for leaders.
const LEADERS_WITHIN: Duration = Duration::from_secs(3);

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        let results = create(&broker, &context, request).await;
        let response = CreatePartitionsResponse::default().with_results(results);
        Reply::Message(Response::CreatePartitions(response))
    })
}

/// May be dropped: the partitions are then created or not, as if the answer had been lost.
async fn create(
    broker: &Broker,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> Vec<CreatePartitionsTopicResult> {
    let repeated = duplicates(request.topics.iter().map(|topic| topic.name.to_string()));
    let growths = request.topics.iter().map(|topic| growth(context, topic, &repeated)).collect();
    let controller = broker.cluster.controller();
    let planned = controller.plan_growth(growths);
    let items = if request.validate_only {
        planned
    } else {
        let changed = controller.grow_topics(planned).await;
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
    request.topics.iter().zip(items).map(|(topic, item)| result(&topic.name, &item)).collect()
}

fn growth(
    context: &RequestContext,
    topic: &CreatePartitionsTopic,
    repeated: &BTreeSet<String>,
) -> Result<Growth, ChangeError> {
    if repeated.contains(topic.name.as_str()) {
        return Err(ChangeError::Contradiction("Duplicate topic name.".to_owned()));
    }
    if !authorize(context, Operation::Alter, Resource::Topic(&topic.name)) {
        return Err(ChangeError::NotAuthorized);
    }
    let brokers = |ids: &[m::BrokerId]| ids.iter().map(|id| BrokerId::new(id.0)).collect();
    let assigned = topic.assignments.as_ref().map(|assignments| {
        assignments.iter().map(|assignment| brokers(&assignment.broker_ids)).collect()
    });
    Ok(Growth { name: TopicName::new(&topic.name)?, total: topic.count, assigned })
}

fn result(
    name: &m::TopicName,
    item: &Result<PlannedGrowth, ChangeError>,
) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(m::TopicName(text(name)));
    match item {
        Ok(_) => result.with_error_message(None),
        Err(error) => result
            .with_error_code(error_map::change(error).code())
            .with_error_message(message(error)),
    }
}
