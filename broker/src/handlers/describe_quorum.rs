//! DescribeQuorum (API key 55, KIP-595): who votes on the metadata, who leads, how far the log is.
//!
//! Clients ask by the name of Kafka's metadata topic. It is no topic here; what is told of it is the
//! metadata group: its term as leader epoch, its indexes as offsets.

use std::sync::Arc;

use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::{LogIndex, Timestamp};
use raft::replicated_state::Quorum;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::{broker as wire_broker, text};

/// What Kafka calls the metadata's log.
const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_PARTITION: i32 = 0;
/// From here on the response tells where each voter is, and its directory.
const NODES_SINCE: i16 = 2;
/// From here on the response tells when each voter was heard last.
const TIMES_SINCE: i16 = 1;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> Work {
    let version = context.api_version;
    if !authorize(context, Operation::Describe, Resource::Cluster) {
        let response = DescribeQuorumResponse::default()
            .with_error_message(None)
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
        return Work::message(Response::DescribeQuorum(response));
    }
    let view = View { quorum: broker.cluster.quorum(), now: broker.clock.now(), version };
    let topics = request.topics.into_iter().map(|topic| {
        let is_metadata = *topic.topic_name.0 == *METADATA_TOPIC;
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            if is_metadata && index == METADATA_PARTITION { view.told() } else { unknown(index) }
        });
        let partitions = partitions.collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions)
    });
    let mut response =
        DescribeQuorumResponse::default().with_error_message(None).with_topics(topics.collect());
    if version >= NODES_SINCE {
        response.nodes = nodes(&view.quorum, &broker.cluster.image());
    }
    Work::message(Response::DescribeQuorum(response))
}

fn unknown(index: i32) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_message(None)
        .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
}

struct View {
    quorum: Quorum,
    now: Timestamp,
    version: i16,
}

impl View {
    fn told(&self) -> PartitionData {
        let Quorum { leader, term, log_end, committed_end, voters } = &self.quorum;
        let voters = voters.iter().map(|(broker, directory)| {
            let mut voter = ReplicaState::default()
                .with_replica_id(wire_broker(Some(*broker)))
                .with_log_end_offset(offset(*log_end));
            if self.version >= NODES_SINCE {
                voter.replica_directory_id = *directory;
            }
            // The leader is never behind itself. While it is the only voter there is nobody else.
            if self.version >= TIMES_SINCE && Some(*broker) == *leader {
                voter.last_fetch_timestamp = self.now.get();
                voter.last_caught_up_timestamp = self.now.get();
            }
            voter
        });
        PartitionData::default()
            .with_partition_index(METADATA_PARTITION)
            .with_error_message(None)
            .with_leader_id(wire_broker(*leader))
            .with_leader_epoch(i32::try_from(*term).unwrap_or(i32::MAX))
            .with_high_watermark(offset(*committed_end))
            .with_current_voters(voters.collect())
    }
}

fn offset(index: LogIndex) -> i64 {
    i64::try_from(index.get()).unwrap_or(i64::MAX)
}

fn nodes(quorum: &Quorum, image: &Image) -> Vec<Node> {
    let nodes = quorum.voters.iter().map(|(id, _)| {
        let endpoints = image.brokers.get(id).map(|broker| broker.endpoints.as_slice());
        let listeners = endpoints.unwrap_or_default().iter().map(|endpoint| {
            Listener::default()
                .with_name(text(&endpoint.listener))
                .with_host(text(&endpoint.host))
                .with_port(endpoint.port)
        });
        Node::default().with_node_id(wire_broker(Some(*id))).with_listeners(listeners.collect())
    });
    nodes.collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_quorum_request as asked;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{START, TestNode, assert_encodes, finish, name};

    async fn describe(node: &TestNode, version: i16, topic: &str, index: i32) -> TopicData {
        let partition = asked::PartitionData::default().with_partition_index(index);
        let topic = asked::TopicData::default()
            .with_topic_name(name(topic))
            .with_partitions(vec![partition]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let reply = finish(handle(&node.broker, &TestNode::context(version), request)).await;
        assert_encodes(&reply, version);
        let Reply::Message(Response::DescribeQuorum(mut response)) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(response.error_code, 0);
        assert_eq!(response.nodes.len(), usize::from(version >= 2));
        response.topics.remove(0)
    }

    #[tokio::test]
    async fn one_voter_leads_and_its_log_grows_with_each_change() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        for version in 0..=2 {
            let told = describe(&node, version, METADATA_TOPIC, 0).await.partitions.remove(0);
            assert_eq!(told.error_code, 0);
            assert_eq!(told.leader_id.0, node.broker.broker_id.get());
            assert!(told.leader_epoch >= 1 && told.observers.is_empty());
            let index = i64::try_from(node.broker.cluster.image().index.get()).unwrap();
            assert!(told.high_watermark > index, "{} {index}", told.high_watermark);
            let [voter] = &told.current_voters[..] else { panic!("{told:?}") };
            assert_eq!(voter.replica_id, told.leader_id);
            assert!(voter.log_end_offset >= told.high_watermark);
            let heard = if version >= 1 { START } else { -1 };
            assert_eq!(voter.last_fetch_timestamp, heard);
        }
    }

    #[tokio::test]
    async fn no_other_partition_has_a_quorum() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        for (topic, index) in [("t", 0), (METADATA_TOPIC, 1)] {
            let told = describe(&node, 2, topic, index).await.partitions.remove(0);
            assert_eq!((told.error_code, told.partition_index), (3, index));
        }
    }
}
