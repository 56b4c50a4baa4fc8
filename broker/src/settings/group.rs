//! The typed view of the settings of groups.

use std::time::Duration;

use super::SettingError;
use super::lookup::Layers;
use super::table::known_broker;

/// Settings of the group coordinator, read at start.
#[derive(Debug, Clone)]
pub(crate) struct GroupSettings {
    /// How long the first rebalance of an empty group waits for more members.
    pub(crate) initial_rebalance_delay: Duration,
    /// Members of a classic group.
    pub(crate) members_max: usize,
    /// Shortest session of a classic member.
    pub(crate) session_timeout_min: Duration,
    /// Longest session of a classic member.
    pub(crate) session_timeout_max: Duration,
    /// Bytes of the text that stands with a committed offset.
    pub(crate) commit_metadata_bytes_max: usize,
    /// How long commits outlive their group's members.
    pub(crate) offsets_retention: Duration,
    /// How long a group that holds nothing is still shown.
    pub(crate) idle_group_kept: Duration,
    /// Partitions of the topic that holds the groups' state, when it is created.
    pub(crate) offsets_partitions: i32,
    /// Its replicas, if there are as many brokers.
    pub(crate) offsets_replication_factor: i16,
    /// Its `segment.bytes`.
    pub(crate) offsets_segment_bytes: i32,
}

impl GroupSettings {
    /// Reads them from the layers of a broker's settings.
    pub(super) fn new(layers: &Layers<'_>) -> Result<Self, SettingError> {
        const SECONDS_PER_MINUTE: u64 = 60;
        let key = known_broker;
        let retention_minutes: u64 = layers.sized(key("offsets.retention.minutes"))?;
        Ok(Self {
            initial_rebalance_delay: layers.millis(key("group.initial.rebalance.delay.ms"))?,
            members_max: layers.sized(key("group.max.size"))?,
            session_timeout_min: layers.millis(key("group.min.session.timeout.ms"))?,
            session_timeout_max: layers.millis(key("group.max.session.timeout.ms"))?,
            commit_metadata_bytes_max: layers.sized(key("offset.metadata.max.bytes"))?,
            offsets_retention: Duration::from_secs(retention_minutes * SECONDS_PER_MINUTE),
            idle_group_kept: layers.millis(key("offsets.retention.check.interval.ms"))?,
            offsets_partitions: layers.sized(key("offsets.topic.num.partitions"))?,
            offsets_replication_factor: layers.sized(key("offsets.topic.replication.factor"))?,
            offsets_segment_bytes: layers.sized(key("offsets.topic.segment.bytes"))?,
        })
    }
}
