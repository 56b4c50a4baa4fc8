//! A topic's partitions as clients are shown them: who leads, since when, and what is wrong. One place
//! for Metadata and DescribeTopicPartitions, so that the two never disagree.

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, LeaderEpoch};

use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::partitions::{LookupError, Partitions};

/// Topics that belong to the broker: never created because a client asked for their metadata, since
/// their partition counts and settings are not those of a topic that just appears.
const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic of that name belongs to the broker.
pub(crate) fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// One partition, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionView<'a> {
    pub(crate) index: i32,
    pub(crate) error: ErrorCode,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicas: &'a [BrokerId],
    pub(crate) isr: &'a [BrokerId],
    pub(crate) offline: &'a [BrokerId],
}

/// What partitions are seen from: this broker, asked through one listener.
pub(crate) struct Viewer<'a> {
    pub(crate) image: &'a Image,
    pub(crate) partitions: &'a Partitions,
    pub(crate) broker_id: BrokerId,
    pub(crate) listener: &'a str,
}

impl Viewer<'_> {
    /// Shows one partition.
    pub(crate) fn partition<'a>(
        &self,
        topic: &TopicImage,
        partition: &'a PartitionImage,
    ) -> PartitionView<'a> {
        let leader = partition.leader();
        let mut view = PartitionView {
            index: partition.partition.get(),
            error: ErrorCode::None,
            leader,
            leader_epoch: LeaderEpoch::NONE,
            replicas: &partition.replicas,
            isr: partition.isr(),
            offline: &[],
        };
        if leader == Some(self.broker_id) {
            match self.partitions.get(topic.id, partition.partition) {
                Ok(local) => view.leader_epoch = local.replica.leadership().leader_epoch,
                // Just created. Kafka names the leader before its log is open, too: requests until
                // then are answered NOT_LEADER_OR_FOLLOWER, which all clients retry, while some
                // (kafka-go) take a partition without a leader for a failure.
                Err(LookupError::Unknown) => {}
                Err(LookupError::Offline(_)) => {
                    view.without_leader(ErrorCode::LeaderNotAvailable);
                    view.isr = &[];
                    view.offline = &partition.replicas;
                }
            }
        }
        if let Some(leader) = view.leader
            && self.endpoint_is_missing(leader)
        {
            view.without_leader(ErrorCode::ListenerNotFound);
        }
        view
    }

    /// Whether clients of this listener cannot reach `broker`.
    fn endpoint_is_missing(&self, broker: BrokerId) -> bool {
        let broker = self.image.brokers.get(&broker);
        broker.is_none_or(|broker| broker.endpoint(self.listener).is_none())
    }
}

impl PartitionView<'_> {
    const fn without_leader(&mut self, error: ErrorCode) {
        self.leader = None;
        self.error = error;
    }
}
