//! ElectLeaders (API key 43, KIP-183, KIP-460): makes replicas leaders.
//!
//! A preferred replica that is in sync is handed the leadership by whoever has it. A partition with one
//! replica has its preferred leader as long as that replica works, and none while it does not: there is
//! never anything to elect, only to tell which of the two it is. Nor is there while nobody leads: its
//! replicas elect one of them as soon as a majority of them is there, and never one that lacks records
//! that were acknowledged, whatever is asked for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;
use tokio::time::Instant;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::{PartitionImage, TopicImage};
use crate::context::RequestContext;
use crate::leaders::Key;
use crate::leaders::transfer::transfer;
use crate::reply::{Reply, Work};
use crate::resolve::wire_name;
use crate::wire_text::message;

/// From here on the response has an error of its own, and the request a type.
const TYPES_SINCE: i16 = 1;
/// Leaderships that one request has handed over at once.
const AT_ONCE: usize = 16;

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
    let (broker, context) = (broker.clone(), context.clone());
    // May be dropped: leaderships then go on to be handed over.
    Work::later(async move {
        let has_error = context.api_version >= TYPES_SINCE;
        let mut response = ElectLeadersResponse::default();
        match elect(&broker, &context, &request).await {
            Ok(results) => response.replica_election_results = results,
            Err(error) if has_error => response.error_code = error.code(),
            // The oldest version can only say it of each partition.
            Err(error) => response.replica_election_results = refused(&request, error),
        }
        Reply::Message(Response::ElectLeaders(response))
    })
}

/// A partition in question, by its topic's place in the answer.
struct Asked {
    topic: usize,
    index: i32,
    verdict: Verdict,
}

/// What is to be done for a partition.
enum Verdict {
    /// Nothing: this is the answer.
    Told(ErrorCode, String),
    /// The leader hands over to the preferred replica.
    Transfer { partition: Key, leader: BrokerId, to: BrokerId },
}

async fn elect(
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
    let mut asked = Vec::new();
    let names: Vec<TopicName> = if let Some(topics) = &request.topic_partitions {
        for (place, wanted) in topics.iter().enumerate() {
            let topic = image.topics.get(&*wanted.topic.0);
            asked.extend(wanted.partitions.iter().map(|index| {
                let verdict = match topic {
                    Some(topic) => judge(broker, topic, *index, election),
                    None => {
                        let why = format!("No such topic as {}", &*wanted.topic.0);
                        Verdict::Told(ErrorCode::UnknownTopicOrPartition, why)
                    }
                };
                Asked { topic: place, index: *index, verdict }
            }));
        }
        topics.iter().map(|wanted| wanted.topic.clone()).collect()
    } else {
        for (place, topic) in image.topics.values().enumerate() {
            asked.extend(topic.partitions.iter().map(|partition| {
                let index = partition.partition.get();
                Asked { topic: place, index, verdict: judge(broker, topic, index, election) }
            }));
        }
        image.topics.keys().map(|name| wire_name(name.as_str())).collect()
    };
    let mut results: Vec<_> =
        names.into_iter().map(|name| ReplicaElectionResult::default().with_topic(name)).collect();
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + timeout;
    let carried_out = asked.into_iter().map(|asked| carry_out(broker, asked, deadline));
    let mut carried_out = stream::iter(carried_out.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some((topic, index, (error, why))) = carried_out.next().await {
        // As in Kafka, who asks for all partitions is not told of those where nothing had to be done.
        if request.topic_partitions.is_some() || error != ErrorCode::ElectionNotNeeded {
            results[topic].partition_result.push(result(index, error, &why));
        }
    }
    if request.topic_partitions.is_none() {
        results.retain(|topic| !topic.partition_result.is_empty());
    }
    Ok(results)
}

async fn carry_out(
    broker: &Broker,
    asked: Asked,
    deadline: Instant,
) -> (usize, i32, (ErrorCode, String)) {
    let answer = match asked.verdict {
        Verdict::Told(error, why) => (error, why),
        Verdict::Transfer { partition, leader, to } => {
            let transfer = transfer(broker, partition, leader, to);
            match tokio::time::timeout_at(deadline, transfer).await {
                Ok(Ok(())) => (ErrorCode::None, String::new()),
                Ok(Err(why)) => (ErrorCode::PreferredLeaderNotAvailable, why),
                Err(_late) => {
                    let why = "The leadership was not handed over in time; it may be yet.";
                    (ErrorCode::RequestTimedOut, why.to_owned())
                }
            }
        }
    };
    (asked.topic, asked.index, answer)
}

fn judge(broker: &Broker, topic: &TopicImage, index: i32, election: Election) -> Verdict {
    let known = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    let Some(partition) = known else {
        let why = format!("No such partition as {}-{index}", topic.name);
        return Verdict::Told(ErrorCode::UnknownTopicOrPartition, why);
    };
    let key = (topic.id, partition.partition);
    let is_missing =
        partition.replicas == [broker.broker_id] && broker.partitions.get(key.0, key.1).is_err();
    let standing = broker.leaders.standing(topic.id, partition);
    let leader = standing.leader.filter(|_| !is_missing);
    let preferred = partition.preferred_leader();
    match (election, leader, preferred) {
        (Election::Unclean, Some(_), _) => not_needed(),
        (Election::Preferred, Some(leader), Some(preferred)) if leader == preferred => not_needed(),
        (Election::Preferred, Some(leader), Some(to)) if standing.in_sync.contains(&to) => {
            Verdict::Transfer { partition: key, leader, to }
        }
        (Election::Preferred, Some(_), _) => Verdict::Told(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred replica is not in sync.".to_owned(),
        ),
        (Election::Preferred, None, _) => {
            Verdict::Told(ErrorCode::PreferredLeaderNotAvailable, nobody(partition))
        }
        (Election::Unclean, None, _) => {
            Verdict::Told(ErrorCode::EligibleLeadersNotAvailable, nobody(partition))
        }
    }
}

fn not_needed() -> Verdict {
    let why = "Leader election not needed for topic partition.";
    Verdict::Told(ErrorCode::ElectionNotNeeded, why.to_owned())
}

fn nobody(partition: &PartitionImage) -> String {
    let why = if partition.replicas.len() == 1 {
        "The only replica of the partition cannot be used."
    } else {
        "Too few replicas of the partition can be used to elect a leader."
    };
    why.to_owned()
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
    use crate::test_node::{TestNode, assert_encodes, finish, name};
    use crate::test_replica;

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
            .with_timeout_ms(60_000)
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
    async fn a_preferred_replica_that_is_in_sync_is_handed_the_leadership() {
        let node = TestNode::among_three().await;
        node.assign("t", &[&[2, 1, 3], &[3, 1, 2], &[1, 2, 3], &[2, 1, 3]], &[]).await;
        for partition in 0..3 {
            node.replica("t", partition).lead(1);
            node.replica("t", partition).set_in_sync(&[1, 2]);
        }
        // In its own time the request is answered, whatever has happened by then.
        let all = [("t", 0), ("t", 1), ("t", 2), ("t", 3)];
        assert_eq!(codes(&ask(&node, 0, Some(&all)).await), [0, 80, 84, 80]);
        assert_eq!(codes(&ask(&node, 0, None).await), [0, 80, 80]);
        assert_eq!(codes(&ask(&node, 1, Some(&all)).await), [84, 84, 84, 83]);
        let asked = node.replication.asked.lock();
        let transfers = asked.iter().filter_map(|asked| match asked {
            test_replica::Asked::Transfer(group, to) => Some((group.partition.get(), to.get())),
            _ => None,
        });
        assert_eq!(transfers.collect::<Vec<_>>(), [(0, 2), (0, 2)]);
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
