//! DescribeLogDirs (API key 35): sizes of the partitions in the one data directory, and its space.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::topic::TopicName;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::partitions::Partitions;
use crate::reply::Work;
use crate::resolve::wire_name;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> Work {
    if !authorize(context, Operation::Describe, Resource::Cluster) {
        let error = ErrorCode::ClusterAuthorizationFailed.code();
        let refused = DescribeLogDirsResponse::default().with_error_code(error);
        return Work::message(Response::DescribeLogDirs(refused));
    }
    let wanted = Wanted::new(request.topics);
    let result = describe(&broker.partitions, &wanted);
    let response = DescribeLogDirsResponse::default().with_results(vec![result]);
    Work::message(Response::DescribeLogDirs(response))
}

/// Which partitions the client asks about.
enum Wanted {
    All,
    These(HashMap<String, HashSet<i32>>),
}

impl Wanted {
    fn new(topics: Option<Vec<DescribableLogDirTopic>>) -> Self {
        let Some(topics) = topics else { return Self::All };
        let mut these: HashMap<String, HashSet<i32>> = HashMap::new();
        for topic in topics {
            these.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
        }
        Self::These(these)
    }

    fn holds(&self, topic: &str, partition: i32) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => {
                these.get(topic).is_some_and(|partitions| partitions.contains(&partition))
            }
        }
    }
}

fn describe(partitions: &Partitions, wanted: &Wanted) -> DescribeLogDirsResult {
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for open in partitions.online() {
        let name = &open.name.partition;
        let index = name.partition.get();
        if wanted.holds(name.topic.as_str(), index) {
            let size = i64::try_from(open.replica.log().size_bytes()).unwrap_or(i64::MAX);
            let described = DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(size)
                .with_offset_lag(0)
                .with_is_future_key(false);
            topics.entry(name.topic.clone()).or_default().push(described);
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic::default()
            .with_name(wire_name(name.as_str()))
            .with_partitions(partitions)
    });
    let data_dir = partitions.data_dir();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(partitions.log_dir()))
        .with_topics(topics.collect())
        .with_total_bytes(bytes(data_dir.total_bytes()))
        .with_usable_bytes(bytes(data_dir.free_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, batch, finish, name};

    #[tokio::test]
    async fn sizes_are_those_of_the_logs_and_a_choice_is_heeded() {
        let node = TestNode::new(&[("t", 2, &[]), ("u", 1, &[])]).await;
        let records = batch(&["a"]);
        node.produce("t", 1, records.clone()).await;
        let ask = async |topics| {
            let request = DescribeLogDirsRequest::default().with_topics(topics);
            let reply = finish(handle(&node.broker, &TestNode::context(4), request)).await;
            (1..=5).for_each(|version| assert_encodes(&reply, version));
            let Reply::Message(Response::DescribeLogDirs(response)) = reply else {
                panic!("{reply:?}")
            };
            let [directory] = &response.results[..] else { panic!("one directory: {response:?}") };
            assert!(directory.usable_bytes > 0 && directory.total_bytes >= directory.usable_bytes);
            let sizes = directory.topics.iter().flat_map(|topic| {
                let name = topic.name.to_string();
                topic.partitions.iter().map(move |partition| {
                    (name.clone(), partition.partition_index, partition.partition_size)
                })
            });
            sizes.collect::<Vec<_>>()
        };
        let size = i64::try_from(records.len()).unwrap();
        let entry = |topic: &str, partition, size| (topic.to_owned(), partition, size);
        assert_eq!(ask(None).await, [entry("t", 0, 0), entry("t", 1, size), entry("u", 0, 0)]);
        let chosen =
            DescribableLogDirTopic::default().with_topic(name("t")).with_partitions(vec![1, 5]);
        assert_eq!(ask(Some(vec![chosen])).await, [entry("t", 1, size)]);
    }
}
