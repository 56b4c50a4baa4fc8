//! A topic's partitions as clients are shown them: who leads, since when, and what is wrong. One place
//! for Metadata and DescribeTopicPartitions, so that the two never disagree.

use protocol::error_code::ErrorCode;
use protocol::types::{BrokerId, LeaderEpoch};

use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::leaders::{Brokers, Leaders, Standing};

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
    pub(crate) isr: Brokers,
    pub(crate) offline: Brokers,
}

/// What partitions are seen from: this broker, asked through one listener.
pub(crate) struct Viewer<'a> {
    pub(crate) image: &'a Image,
    pub(crate) leaders: &'a Leaders,
    pub(crate) listener: &'a str,
}

impl Viewer<'_> {
    /// Shows one partition.
    pub(crate) fn partition<'a>(
        &self,
        topic: &TopicImage,
        partition: &'a PartitionImage,
    ) -> PartitionView<'a> {
        let Standing { leader, leader_epoch, in_sync, offline } =
            self.leaders.standing(topic.id, partition);
        let error = match leader {
            None => ErrorCode::LeaderNotAvailable,
            Some(leader) if self.endpoint_is_missing(leader) => ErrorCode::ListenerNotFound,
            Some(_) => ErrorCode::None,
        };
        PartitionView {
            index: partition.partition.get(),
            error,
            leader: leader.filter(|_| error == ErrorCode::None),
            leader_epoch,
            replicas: &partition.replicas,
            isr: in_sync,
            offline,
        }
    }

    /// Whether clients of this listener cannot reach `broker`.
    fn endpoint_is_missing(&self, broker: BrokerId) -> bool {
        let broker = self.image.brokers.get(&broker);
        broker.is_none_or(|broker| broker.endpoint(self.listener).is_none())
    }
}
