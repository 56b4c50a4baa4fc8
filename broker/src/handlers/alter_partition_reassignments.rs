//! AlterPartitionReassignments (API key 45, KIP-455, KIP-860): moves partitions between brokers.
//!
//! What is asked for is noted in the metadata and answered at once; the leaders of the partitions do
//! it (`cluster::moves`). To cancel is to ask for the replicas that there were before.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages as m;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::cluster::moves::Move;
use crate::context::RequestContext;
use crate::error_map;
use crate::reply::{Reply, Work};
use crate::wire_text::message;

/// Why a partition stays as it is; no sentence where the code says it all.
type Refusal = (ErrorCode, Option<String>);

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> Work {
    let (broker, context) = (broker.clone(), context.clone());
    Work::later(async move { alter(&broker, &context, request).await })
}

/// May be dropped: the changes are then noted or not, as if the answer had been lost.
async fn alter(
    broker: &Broker,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> Reply {
    let image = broker.cluster.image();
    let judge = Judge {
        image: &image,
        is_authorized: authorize(context, Operation::Alter, Resource::Cluster),
        may_change_factor: request.allow_replication_factor_change,
    };
    let (error, why) = wire(&judge.authorized());
    let mut verdicts: Vec<Vec<_>> = Vec::new();
    for topic in &request.topics {
        let partitions = topic.partitions.iter();
        verdicts.push(partitions.map(|one| judge.partition(&topic.name, one)).collect());
    }
    let good = verdicts.iter().flatten().filter_map(|verdict| verdict.as_ref().ok()).flatten();
    let moves = good.cloned().map(Ok).collect();
    let mut noted = broker.cluster.controller().move_replicas(moves).await.items.into_iter();
    let responses = request.topics.iter().zip(verdicts).map(|(topic, verdicts)| {
        let partitions = topic.partitions.iter().zip(verdicts).map(|(partition, verdict)| {
            let verdict = match verdict {
                Ok(Some(_)) => noted.next().map_or(Ok(()), |noted| {
                    noted.map(drop).map_err(|e| (error_map::change(&e), Some(e.to_string())))
                }),
                other => other.map(drop),
            };
            let (error, why) = wire(&verdict);
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error)
                .with_error_message(why)
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    let response = AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_error_code(error)
        .with_error_message(why)
        .with_responses(responses.collect());
    Reply::Message(Response::AlterPartitionReassignments(response))
}

fn wire(verdict: &Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match verdict {
        Ok(()) => (ErrorCode::None.code(), None),
        Err((error, why)) => (error.code(), why.as_ref().and_then(message)),
    }
}

/// What is asked for is judged by this.
struct Judge<'a> {
    image: &'a Image,
    is_authorized: bool,
    /// Whether a partition may come to have more replicas, or fewer.
    may_change_factor: bool,
}

impl Judge<'_> {
    fn authorized(&self) -> Result<(), Refusal> {
        if self.is_authorized {
            return Ok(());
        }
        Err((ErrorCode::ClusterAuthorizationFailed, Some("Not authorized.".to_owned())))
    }

    /// What is to be noted, if anything. As in Kafka, who may not is told so of each partition too.
    fn partition(
        &self,
        topic: &str,
        asked: &ReassignablePartition,
    ) -> Result<Option<Move>, Refusal> {
        self.authorized()?;
        // No names in the sentences: a small request has room for many partitions of a long one.
        let unknown = |why: &str| (ErrorCode::UnknownTopicOrPartition, Some(why.to_owned()));
        let known = self.image.topics.get(topic).ok_or_else(|| unknown("No such topic."))?;
        let index = usize::try_from(asked.partition_index).ok();
        let partition = index.and_then(|index| known.partitions.get(index));
        let partition = partition.ok_or_else(|| unknown("No such partition."))?;
        let wanted = match &asked.replicas {
            Some(target) => {
                self.target(target, &partition.replicas)?;
                target.iter().map(|id| BrokerId::new(id.0)).collect()
            }
            None if partition.moving.is_none() => {
                return Err((ErrorCode::NoReassignmentInProgress, None));
            }
            None => Vec::new(),
        };
        if partition.moving.is_none() && wanted == partition.replicas {
            return Ok(None);
        }
        Ok(Some(Move { topic: known.id, partition: partition.partition, wanted }))
    }

    fn target(&self, target: &[m::BrokerId], current: &[BrokerId]) -> Result<(), Refusal> {
        let invalid = |why| Err((ErrorCode::InvalidReplicaAssignment, Some(why)));
        if target.is_empty() {
            return invalid("A partition needs a replica.".to_owned());
        }
        let mut distinct = HashSet::new();
        for replica in target.iter().map(|id| BrokerId::new(id.0)) {
            let Some(broker) = self.image.brokers.get(&replica) else {
                return invalid(format!("No broker {replica} is registered."));
            };
            if broker.node.is_none() && !current.contains(&replica) {
                return invalid(format!("Other brokers do not reach broker {replica}."));
            }
            if !distinct.insert(replica) {
                return invalid(format!("Broker {replica} stands there more than once."));
            }
        }
        if !self.may_change_factor && target.len() != current.len() {
            let (before, after) = (current.len(), target.len());
            let why = format!("The replication factor would change from {before} to {after}");
            return Err((ErrorCode::InvalidReplicationFactor, Some(why)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kafka_protocol::messages::alter_partition_reassignments_request::ReassignableTopic;
    use uuid::Uuid;

    use super::*;
    use crate::cluster::image::{BrokerImage, NodeImage};
    use crate::test_node::{TestNode, assert_encodes, finish, name};

    fn target(ids: &[i32]) -> Option<Vec<m::BrokerId>> {
        Some(ids.iter().map(|id| m::BrokerId(*id)).collect())
    }

    async fn ask(
        node: &TestNode,
        topic: &str,
        index: i32,
        replicas: Option<Vec<m::BrokerId>>,
    ) -> i16 {
        let partition =
            ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let topic =
            ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_allow_replication_factor_change(false)
            .with_topics(vec![topic]);
        let reply = finish(handle(&node.broker, &TestNode::context(1), request)).await;
        (0..=1).for_each(|version| assert_encodes(&reply, version));
        let Reply::Message(Response::AlterPartitionReassignments(response)) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!((response.error_code, response.error_message), (0, None));
        assert!(!response.allow_replication_factor_change, "as asked");
        let told = &response.responses[0].partitions[0];
        assert_eq!(told.error_message.is_none(), [0, 85].contains(&told.error_code));
        told.error_code
    }

    #[tokio::test]
    async fn a_partition_can_only_go_where_it_is() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let here = node.broker.broker_id.get();
        assert_eq!(ask(&node, "t", 0, target(&[here])).await, 0);
        assert_eq!(ask(&node, "t", 0, None).await, 85);
        for wrong in [&[][..], &[here + 1], &[-1], &[here, here], &[here, here + 1]] {
            assert_eq!(ask(&node, "t", 0, target(wrong)).await, 39, "{wrong:?}");
        }
        for replicas in [None, target(&[here]), target(&[])] {
            for (topic, index) in [("t", 1), ("t", -1), ("nope", 0)] {
                assert_eq!(ask(&node, topic, index, replicas.clone()).await, 3, "{topic} {index}");
            }
        }
    }

    #[test]
    fn how_many_replicas_there_are_may_be_held_fast() {
        let node = NodeImage { directory_id: Uuid::nil(), host: String::new(), port: 1 };
        let broker = BrokerImage { endpoints: Vec::new(), rack: None, node: Some(node) };
        let brokers = [1, 2].map(|id| (BrokerId::new(id), broker.clone()));
        let image = Image { brokers: Arc::new(BTreeMap::from(brokers)), ..Image::default() };
        let code = |may_change_factor, ids: &[i32]| {
            let judge = Judge { image: &image, is_authorized: true, may_change_factor };
            wire(&judge.target(&target(ids).unwrap(), &[BrokerId::new(1)])).0
        };
        assert_eq!((code(true, &[1]), code(false, &[1])), (0, 0));
        assert_eq!((code(true, &[1, 2]), code(false, &[1, 2])), (0, 38));
        assert_eq!((code(true, &[2]), code(false, &[1, 1])), (0, 39));
    }

    #[test]
    fn who_may_not_is_told_so_of_each_partition() {
        let judge =
            Judge { image: &Image::default(), is_authorized: false, may_change_factor: true };
        let asked = ReassignablePartition::default();
        let refused = judge.partition("t", &asked).unwrap_err();
        assert_eq!(refused.0.code(), 31);
    }
}
