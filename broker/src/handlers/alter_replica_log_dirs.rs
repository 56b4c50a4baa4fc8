//! AlterReplicaLogDirs (API key 34, KIP-113): moves replicas between the directories of a broker.
//!
//! There is one directory. A replica that is to go there is there already, and there is no other
//! that it could go to.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::context::RequestContext;
use crate::partitions::Partitions;
use crate::reply::Work;
use crate::resolve::{self, TopicRef, wire_name};

/// What a request asks for: by topic and partition, the directory to go to.
type Destinations<'a> = BTreeMap<&'a str, BTreeMap<i32, &'a str>>;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> Work {
    let allowed = authorize(context, Operation::Alter, Resource::Cluster);
    let image = broker.cluster.image();
    let here = broker.partitions.log_dir();
    let judge = |topic: &str, index, log_dir: &str| {
        if !allowed {
            ErrorCode::ClusterAuthorizationFailed
        } else if log_dir != here {
            ErrorCode::LogDirNotFound
        } else {
            look_for(&broker.partitions, &image, topic, index)
        }
    };
    let results = destinations(&request).into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, log_dir)| {
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(index)
                .with_error_code(judge(topic, index, log_dir).code())
        });
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(wire_name(topic))
            .with_partitions(partitions.collect())
    });
    let response = AlterReplicaLogDirsResponse::default().with_results(results.collect());
    Work::message(Response::AlterReplicaLogDirs(response))
}

/// As in Kafka, of several directories for one partition the last counts.
fn destinations(request: &AlterReplicaLogDirsRequest) -> Destinations<'_> {
    let mut destinations = Destinations::new();
    for directory in &request.dirs {
        for topic in &directory.topics {
            let of_topic = destinations.entry(&topic.name.0).or_default();
            of_topic.extend(topic.partitions.iter().map(|index| (*index, &*directory.path)));
        }
    }
    destinations
}

fn look_for(partitions: &Partitions, image: &Image, topic: &str, index: i32) -> ErrorCode {
    let found = resolve::topic(image, TopicRef::Name(topic))
        .and_then(|topic| resolve::partition(partitions, topic, index));
    match found {
        Ok(_) => ErrorCode::None,
        // Kafka has kept the older of the two codes in this API.
        Err(ErrorCode::NotLeaderOrFollower) => ErrorCode::ReplicaNotAvailable,
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish, name};
    use crate::wire_text::text;

    /// Asks for these partitions to go to these directories; tells topics, partitions and codes.
    async fn go(node: &TestNode, wanted: &[(&str, &str, i32)]) -> Vec<(String, i32, i16)> {
        let dirs = wanted.iter().map(|(directory, topic, index)| {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(name(topic))
                .with_partitions(vec![*index]);
            AlterReplicaLogDir::default().with_path(text(directory)).with_topics(vec![topic])
        });
        let request = AlterReplicaLogDirsRequest::default().with_dirs(dirs.collect());
        let reply = finish(handle(&node.broker, &TestNode::context(2), request)).await;
        (1..=2).for_each(|version| assert_encodes(&reply, version));
        let Reply::Message(Response::AlterReplicaLogDirs(response)) = reply else {
            panic!("{reply:?}")
        };
        let results = response.results.into_iter().flat_map(|topic| {
            let name = topic.topic_name.to_string();
            let partitions = topic.partitions.into_iter();
            partitions.map(move |one| (name.clone(), one.partition_index, one.error_code))
        });
        results.collect()
    }

    #[tokio::test]
    async fn there_is_one_directory_to_go_to() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        let here = node.broker.partitions.log_dir();
        let told = |topic: &str, index, code| (topic.to_owned(), index, code);
        let wanted = [(&*here, "t", 0), (&here, "t", 1), (&here, "t", 2), (&here, "nope", 0)];
        let expected = [told("nope", 0, 3), told("t", 0, 0), told("t", 1, 0), told("t", 2, 3)];
        assert_eq!(go(&node, &wanted).await, expected);
        // Kafka looks for the directory first.
        let elsewhere = [("/elsewhere", "t", 0), ("", "nope", 0)];
        assert_eq!(go(&node, &elsewhere).await, [told("nope", 0, 57), told("t", 0, 57)]);
        let twice = [("/elsewhere", "t", 0), (&*here, "t", 0)];
        assert_eq!(go(&node, &twice).await, [told("t", 0, 0)]);
    }

    #[tokio::test]
    async fn a_partition_that_is_not_here_goes_nowhere() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let log = node.partition("t", 0).name.clone();
        node.broker.partitions.delete(&log);
        let here = node.broker.partitions.log_dir();
        assert_eq!(go(&node, &[(&here, "t", 0)]).await, [("t".to_owned(), 0, 9)]);
    }
}
