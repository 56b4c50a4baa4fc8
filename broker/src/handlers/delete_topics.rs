//! DeleteTopics (API key 20), by name or id, topic by topic (behaviour 57). Answered when the deletion
//! is durable; the files go in the background.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use protocol::response::Response;
use protocol::topic::TopicId;
use uuid::Uuid;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::controller::duplicates;
use crate::cluster::error::ChangeError;
use crate::cluster::image::Image;
use crate::cluster::outcome::Refusal;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::wire_text::{message, text};

/// From here on topics stand in a list of names or ids.
const BY_ID_SINCE: i16 = 6;
/// Before, there was no code for a broker that deletes nothing.
const DISABLED_CODE_SINCE: i16 = 3;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move {
        let wanted = wanted(context.api_version, &request);
        let responses = delete(&broker, &context, wanted).await;
        let response = DeleteTopicsResponse::default().with_responses(responses);
        Reply::Message(Response::DeleteTopics(response))
    })
}

/// One topic as the request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: Option<String>,
    id: Uuid,
}

fn wanted(api_version: i16, request: &DeleteTopicsRequest) -> Vec<Wanted> {
    if api_version >= BY_ID_SINCE {
        let topics = request.topics.iter();
        let by_either = topics.map(|topic| Wanted {
            name: topic.name.as_ref().map(|name| name.to_string()),
            id: topic.topic_id,
        });
        return by_either.collect();
    }
    let names = request.topic_names.iter();
    names.map(|name| Wanted { name: Some(name.to_string()), id: Uuid::nil() }).collect()
}

/// May be dropped: the topics are then deleted or not, as if the answer had been lost.
async fn delete(
    broker: &Broker,
    context: &RequestContext,
    wanted: Vec<Wanted>,
) -> Vec<DeletableTopicResult> {
    let image = broker.cluster.image();
    let enabled = broker.settings.delete_topic_enable;
    let names = duplicates(wanted.iter().filter_map(|topic| topic.name.clone()));
    let ids = duplicates(wanted.iter().map(|topic| topic.id).filter(|id| !id.is_nil()));
    let find = |topic: &Wanted| {
        if !enabled {
            let has_code = context.api_version >= DISABLED_CODE_SINCE;
            return Err(if has_code {
                ChangeError::DeletionDisabled
            } else {
                ChangeError::Contradiction("Topic deletion is disabled.".to_owned())
            });
        }
        find(context, &image, topic, (&names, &ids))
    };
    let found = wanted.iter().map(find).collect();
    let changed = broker.cluster.controller().delete_topics(found).await;
    let pairs = wanted.into_iter().zip(changed.items);
    pairs.map(|(topic, item)| result(&image, topic, item)).collect()
}

fn find(
    context: &RequestContext,
    image: &Image,
    wanted: &Wanted,
    (names, ids): (&BTreeSet<String>, &BTreeSet<Uuid>),
) -> Result<TopicId, ChangeError> {
    let contradiction = |text: &str| Err(ChangeError::Contradiction(text.to_owned()));
    let topic = match (&wanted.name, TopicId::new(wanted.id)) {
        (Some(_), Some(_)) => {
            return contradiction("You may not specify both topic name and topic id.");
        }
        (None, None) => return contradiction("Neither topic name nor id were specified."),
        (Some(name), None) if names.contains(name) => {
            return contradiction("Duplicate topic name.");
        }
        (None, Some(id)) if ids.contains(&id.get()) => return contradiction("Duplicate topic id."),
        (Some(name), None) => {
            // Whether a topic exists is told only to those who may see it.
            if !may(context, Operation::Delete, name) {
                return Err(ChangeError::NotAuthorized);
            }
            image.topics.get(name.as_str()).ok_or(Refusal::UnknownTopic)?
        }
        (None, Some(id)) => image.topic_by_id(id).ok_or(ChangeError::UnknownTopicId)?,
    };
    if !may(context, Operation::Delete, topic.name.as_str()) {
        return Err(ChangeError::NotAuthorized);
    }
    Ok(topic.id)
}

fn may(context: &RequestContext, operation: Operation, name: &str) -> bool {
    authorize(context, operation, Resource::Topic(name))
}

fn result(
    image: &Image,
    wanted: Wanted,
    item: Result<TopicId, ChangeError>,
) -> DeletableTopicResult {
    match item {
        Ok(id) => {
            // Both are told, whichever was asked for.
            let name = image.topic_by_id(id).map(|topic| topic.name.as_str().to_owned());
            wire(name.or(wanted.name), id.get())
        }
        Err(error) => wire(wanted.name, wanted.id)
            .with_error_code(error_map::change(&error).code())
            .with_error_message(message(&error)),
    }
}

fn wire(name: Option<String>, id: Uuid) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name.map(|name| m::TopicName(text(&name))))
        .with_topic_id(id)
}
