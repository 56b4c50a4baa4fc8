//! The immutable picture of the cluster after some command.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, LeaderEpoch, PartitionId};

/// Everything that the metadata group knows. Cloned cheaply: inner parts are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    /// By name.
    pub(crate) topics: BTreeMap<TopicName, Arc<TopicImage>>,
    /// Name of each id.
    pub(crate) topic_names: BTreeMap<TopicId, TopicName>,
}

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicImage {
    /// Name.
    pub(crate) name: TopicName,
    /// Incarnation.
    pub(crate) id: TopicId,
    /// By partition id, which count from 0 without a gap.
    pub(crate) partitions: Vec<PartitionImage>,
    /// Settings that differ from the broker's, in Kafka's text form.
    pub(crate) overrides: BTreeMap<String, String>,
}

/// One partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionImage {
    /// Which.
    pub(crate) partition: PartitionId,
    /// Where its replicas are; the first is preferred as leader.
    pub(crate) replicas: Vec<BrokerId>,
}
