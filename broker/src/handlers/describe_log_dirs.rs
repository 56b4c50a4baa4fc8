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
use storage::data_dir::DataDir;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::partitions::Partitions;
use crate::reply::{Reply, Work};
use crate::resolve::wire_name;

/// Kafka's word for "not known".
const UNKNOWN_BYTES: i64 = -1;

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
    let broker = broker.clone();
    Work::later(async move {
        let partitions = broker.partitions.clone();
        let wanted = Wanted::new(request.topics);
        // Asking a file system for its space may wait for the disk.
        let described = broker.read_pool.run(move || describe(&partitions, &wanted)).await;
        let result = described.unwrap_or_else(|_| {
            DescribeLogDirsResult::default().with_error_code(ErrorCode::KafkaStorageError.code())
        });
        let response = DescribeLogDirsResponse::default().with_results(vec![result]);
        Reply::Message(Response::DescribeLogDirs(response))
    })
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
    let (total_bytes, usable_bytes) = space(partitions.data_dir());
    let log_dir = partitions.data_dir().path().to_string_lossy().into_owned();
    DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(log_dir))
        .with_topics(topics.collect())
        .with_total_bytes(total_bytes)
        .with_usable_bytes(usable_bytes)
}

/// The file system's size and what of it is free, in bytes.
fn space(data_dir: &DataDir) -> (i64, i64) {
    let Ok(file_system) = rustix::fs::statvfs(data_dir.path().as_path()) else {
        return (UNKNOWN_BYTES, UNKNOWN_BYTES);
    };
    let bytes = |blocks: u64| {
        i64::try_from(blocks.saturating_mul(file_system.f_frsize)).unwrap_or(i64::MAX)
    };
    (bytes(file_system.f_blocks), bytes(file_system.f_bavail))
}
