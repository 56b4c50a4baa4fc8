//! ElectLeaders (API key 43, KIP-183, KIP-460): makes replicas leaders.
//!
//! A partition with one replica has its preferred leader as long as that replica works, and none
//! while it does not: there is never anything to elect, only to tell which of the two it is.

use std::sync::Arc;

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::PartitionId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{Image, TopicImage};
use crate::context::RequestContext;
use crate::reply::Work;
use crate::resolve::wire_name;
use crate::wire_text::message;

/// From here on the response has an error of its own, and the request a type.
const TYPES_SINCE: i16 = 1;

/// Which replica may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Election {
    Preferred,
    Unclean,
}

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> Work {
    let has_error = context.api_version >= TYPES_SINCE;
    let mut response = ElectLeadersResponse::default();
    match elect(broker, context, &request) {
        Ok(results) => response.replica_election_results = results,
        Err(error) if has_error => response.error_code = error.code(),
        // The oldest version can only say it of each partition.
        Err(error) => response.replica_election_results = refused(&request, error),
    }
    Work::message(Response::ElectLeaders(response))
}

fn elect(
    broker: &Broker,
    context: &RequestContext,
    request: &ElectLeadersRequest,
) -> Result<Vec<ReplicaElectionResult>, ErrorCode> {
    if !authorize(context, Operation::Alter, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let image = broker.cluster.image();
    let Some(topics) = &request.topic_partitions else {
        return Ok(every_partition_without_leader(broker, &image, election));
    };
    let results = topics.iter().map(|asked| {
        let topic = image.topics.get(&*asked.topic.0);
        let partitions = asked.partitions.iter().map(|index| {
            let (error, why) = match topic {
                Some(topic) => judge(broker, topic, *index, election),
                None => {
                    let why = format!("No such topic as {}", &*asked.topic.0);
                    (ErrorCode::UnknownTopicOrPartition, why)
                }
            };
            result(*index, error, &why)
        });
        let partitions = partitions.collect();
        ReplicaElectionResult::default()
            .with_topic(asked.topic.clone())
            .with_partition_result(partitions)
    });
    Ok(results.collect())
}

/// As in Kafka, who asks for all partitions is not told of those where nothing had to be done.
fn every_partition_without_leader(
    broker: &Broker,
    image: &Image,
    election: Election,
) -> Vec<ReplicaElectionResult> {
    let without = image.topics.values().filter_map(|topic| {
        let judged = topic.partitions.iter().map(|partition| {
            let index = partition.partition.get();
            (index, judge(broker, topic, index, election))
        });
        let without = judged.filter(|(_, (error, _))| *error != ErrorCode::ElectionNotNeeded);
        let results: Vec<_> =
            without.map(|(index, (error, why))| result(index, error, &why)).collect();
        let told = ReplicaElectionResult::default()
            .with_topic(wire_name(topic.name.as_str()))
            .with_partition_result(results);
        (!told.partition_result.is_empty()).then_some(told)
    });
    without.collect()
}

fn judge(
    broker: &Broker,
    topic: &TopicImage,
    index: i32,
    election: Election,
) -> (ErrorCode, String) {
    let known = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    if known.is_none() {
        let why = format!("No such partition as {}-{index}", topic.name);
        return (ErrorCode::UnknownTopicOrPartition, why);
    }
    let local = broker.partitions.get(topic.id, PartitionId::new(index));
    if local.is_ok_and(|partition| partition.replica.leadership().is_local) {
        let why = "Leader election not needed for topic partition.".to_owned();
        return (ErrorCode::ElectionNotNeeded, why);
    }
    let error = match election {
        Election::Preferred => ErrorCode::PreferredLeaderNotAvailable,
        Election::Unclean => ErrorCode::EligibleLeadersNotAvailable,
    };
    (error, "The only replica of the partition cannot be used.".to_owned())
}

fn refused(request: &ElectLeadersRequest, error: ErrorCode) -> Vec<ReplicaElectionResult> {
    let topics = request.topic_partitions.iter().flatten().map(|asked| {
        let results = asked.partitions.iter().map(|index| result(*index, error, ""));
        ReplicaElectionResult::default()
            .with_topic(asked.topic.clone())
            .with_partition_result(results.collect())
    });
    topics.collect()
}

fn result(index: i32, error: ErrorCode, why: &str) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(error.code())
        .with_error_message(Some(why).filter(|why| !why.is_empty()).and_then(|why| message(&why)))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::elect_leaders_request::TopicPartitions;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish, name};

    /// The response to a request for these partitions, or for all.
    async fn ask(
        node: &TestNode,
        election_type: i8,
        wanted: Option<&[(&str, i32)]>,
    ) -> ElectLeadersResponse {
        let topics = wanted.map(|wanted| {
            let topic = |(topic, index): &(&str, i32)| {
                TopicPartitions::default().with_topic(name(topic)).with_partitions(vec![*index])
            };
            wanted.iter().map(topic).collect()
        });
        let request = ElectLeadersRequest::default()
            .with_election_type(election_type)
            .with_topic_partitions(topics);
        let reply = finish(handle(&node.broker, &TestNode::context(2), request)).await;
        assert_encodes(&reply, 2);
        let Reply::Message(Response::ElectLeaders(response)) = reply else { panic!("{reply:?}") };
        response
    }

    fn codes(response: &ElectLeadersResponse) -> Vec<i16> {
        let results = response.replica_election_results.iter();
        results.flat_map(|topic| &topic.partition_result).map(|result| result.error_code).collect()
    }

    #[tokio::test]
    async fn nothing_has_to_be_elected_while_all_is_well() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        for election_type in [0, 1] {
            let wanted = [("t", 0), ("t", 1), ("t", 2), ("nope", 0)];
            assert_eq!(codes(&ask(&node, election_type, Some(&wanted)).await), [84, 84, 3, 3]);
            assert_eq!(codes(&ask(&node, election_type, None).await), [0_i16; 0]);
        }
        assert_eq!(ask(&node, 2, None).await.error_code, 42);
    }

    #[tokio::test]
    async fn a_partition_that_is_offline_has_nobody_to_elect() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        let log = node.partition("t", 1).name.clone();
        node.broker.partitions.delete(&log);
        for (election_type, code) in [(0, 80), (1, 83)] {
            let wanted = [("t", 0), ("t", 1)];
            assert_eq!(codes(&ask(&node, election_type, Some(&wanted)).await), [84, code]);
            assert_eq!(codes(&ask(&node, election_type, None).await), [code]);
        }
    }

    #[tokio::test]
    async fn the_oldest_version_asks_for_preferred_leaders() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let one = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![one]));
        let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
        assert_encodes(&reply, 0);
    }
}
