//! DescribeTopicPartitions (API key 75, KIP-966): topics page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::topic::TopicName;

use crate::authorize::{Operation, Resource, authorize, authorized_operations};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::topic_view::{Viewer, is_internal};
use crate::wire_text::{broker as wire_broker, brokers, text};

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Work {
    if request.cursor.as_ref().is_some_and(|cursor| cursor.partition_index < 0) {
        return Work::Done(Reply::Close("a cursor with a negative partition".to_owned()));
    }
    let image = broker.cluster.image();
    let answer = Answer { broker, context, image: &image };
    Work::message(Response::DescribeTopicPartitions(answer.response(&request)))
}

struct Answer<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a Image,
}

/// Where a page begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    topic: String,
    partition: usize,
}

impl Answer<'_> {
    fn response(
        &self,
        request: &DescribeTopicPartitionsRequest,
    ) -> DescribeTopicPartitionsResponse {
        let cursor = request.cursor.as_ref().map(|cursor| Place {
            topic: cursor.topic_name.to_string(),
            partition: usize::try_from(cursor.partition_index).unwrap_or_default(),
        });
        let asked = usize::try_from(request.response_partition_limit).unwrap_or_default();
        let limit = asked.clamp(1, self.broker.settings.max_request_partitions);
        let counted = self.names(request).into_iter().map(|name| {
            let known = self.image.topics.get(name.as_str());
            let count = known.map_or(0, |topic| topic.partitions.len());
            (name, count)
        });
        let (pages, next) = pages(counted, cursor, limit);
        let topics = pages.into_iter().map(|(name, range)| self.topic(&name, range)).collect();
        let next = next.map(|place| {
            Cursor::default()
                .with_topic_name(m::TopicName(text(&place.topic)))
                .with_partition_index(i32::try_from(place.partition).unwrap_or(i32::MAX))
        });
        DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next)
    }

    /// The topics in the order of their names, which is that of the pages. Those that the client may
    /// not see are left out unless it asked for them.
    fn names(&self, request: &DescribeTopicPartitionsRequest) -> BTreeSet<String> {
        if !request.topics.is_empty() {
            return request.topics.iter().map(|topic| topic.name.to_string()).collect();
        }
        let all = self.image.topics.keys().map(|name| name.as_str().to_owned());
        all.filter(|name| self.may_describe(name)).collect()
    }

    fn may_describe(&self, name: &str) -> bool {
        authorize(self.context, Operation::Describe, Resource::Topic(name))
    }

    fn topic(
        &self,
        name: &str,
        range: std::ops::Range<usize>,
    ) -> DescribeTopicPartitionsResponseTopic {
        let found = match TopicName::new(name) {
            Err(error) => Err(error_map::topic_name(&error)),
            Ok(_) if !self.may_describe(name) => Err(ErrorCode::TopicAuthorizationFailed),
            Ok(name) => self.image.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition),
        };
        let response = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(m::TopicName(text(name))))
            .with_is_internal(is_internal(name));
        match found {
            Err(error) => response.with_error_code(error.code()),
            Ok(topic) => response
                .with_topic_id(topic.id.get())
                .with_topic_authorized_operations(authorized_operations(
                    self.context,
                    Resource::Topic(name),
                ))
                .with_partitions(self.partitions(topic, range)),
        }
    }

    fn partitions(
        &self,
        topic: &TopicImage,
        range: std::ops::Range<usize>,
    ) -> Vec<DescribeTopicPartitionsResponsePartition> {
        let viewer = Viewer {
            image: self.image,
            leaders: &self.broker.leaders,
            listener: &self.context.listener.name,
        };
        let wanted = topic.partitions.get(range).unwrap_or_default();
        let shown = wanted.iter().map(|partition| {
            let view = viewer.partition(topic, partition);
            // Eligible leaders beyond the in-sync replicas (KIP-966) do not exist here.
            DescribeTopicPartitionsResponsePartition::default()
                .with_error_code(view.error.code())
                .with_partition_index(view.index)
                .with_leader_id(wire_broker(view.leader))
                .with_leader_epoch(view.leader_epoch.get())
                .with_replica_nodes(brokers(view.replicas))
                .with_isr_nodes(brokers(&view.isr))
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
                .with_offline_replicas(brokers(&view.offline))
        });
        shown.collect()
    }
}

/// A topic's name and which of its partitions are on the page.
type Shown = (String, std::ops::Range<usize>);

/// Cuts one page out of `topics` (name and partition count, in order): what is on it, and where the
/// next one begins. A topic without partitions (an unknown one) takes a place too, so that a page of
/// them is bounded.
fn pages(
    topics: impl Iterator<Item = (String, usize)>,
    cursor: Option<Place>,
    limit: usize,
) -> (Vec<Shown>, Option<Place>) {
    let mut left = limit;
    let mut shown = Vec::new();
    for (name, count) in topics {
        let first = match &cursor {
            Some(cursor) if name < cursor.topic => continue,
            Some(cursor) if name == cursor.topic => cursor.partition.min(count),
            Some(_) | None => 0,
        };
        if left == 0 {
            return (shown, Some(Place { topic: name, partition: first }));
        }
        let end = count.min(first + left);
        left -= (end - first).max(1);
        shown.push((name.clone(), first..end));
        if end < count {
            return (shown, Some(Place { topic: name, partition: end }));
        }
    }
    (shown, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, partition: usize) -> Place {
        Place { topic: topic.to_owned(), partition }
    }

    fn cut(cursor: Option<Place>, limit: usize) -> (Vec<(String, usize, usize)>, Option<Place>) {
        let topics = [("a", 3), ("b", 2), ("unknown", 0), ("z", 1)];
        let topics = topics.into_iter().map(|(name, count)| (name.to_owned(), count));
        let (shown, next) = pages(topics, cursor, limit);
        (shown.into_iter().map(|(name, range)| (name, range.start, range.end)).collect(), next)
    }

    fn owned(shown: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
        shown.iter().map(|(name, from, to)| ((*name).to_owned(), *from, *to)).collect()
    }

    #[test]
    fn pages_end_inside_and_between_topics() {
        assert_eq!(cut(None, 2), (owned(&[("a", 0, 2)]), Some(place("a", 2))));
        assert_eq!(
            cut(Some(place("a", 2)), 2),
            (owned(&[("a", 2, 3), ("b", 0, 1)]), Some(place("b", 1)))
        );
        assert_eq!(cut(None, 3), (owned(&[("a", 0, 3)]), Some(place("b", 0))));
        let rest = owned(&[("b", 1, 2), ("unknown", 0, 0), ("z", 0, 1)]);
        assert_eq!(cut(Some(place("b", 1)), 9), (rest, None));
    }

    #[test]
    fn following_the_cursor_shows_every_partition_once() {
        for limit in 1..8 {
            let (mut cursor, mut seen) = (None, Vec::new());
            loop {
                let (shown, next) = cut(cursor, limit);
                for (name, from, to) in shown {
                    seen.extend((from..to).map(|partition| (name.clone(), partition)));
                }
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            assert_eq!(seen.len(), 6, "limit {limit}");
            assert!(seen.is_sorted());
        }
    }

    #[test]
    fn a_cursor_beyond_everything_ends_the_pages() {
        assert_eq!(cut(Some(place("zz", 0)), 5), (Vec::new(), None));
        assert_eq!(cut(Some(place("z", 100)), 5), (owned(&[("z", 1, 1)]), None));
    }
}
