//! The typed view of the settings of groups.

use std::time::Duration;

use super::SettingError;
use super::lookup::Layers;
use super::parse::items;
use super::row::Setting;
use super::table::known_broker;
use crate::groups::assignor::Assignor;
use crate::groups::consumer::{ConsumerLimits, Migration};

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
    /// Of consumer groups.
    pub(crate) consumer: ConsumerLimits,
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
            consumer: consumer_limits(layers)?,
        })
    }
}

fn consumer_limits(layers: &Layers<'_>) -> Result<ConsumerLimits, SettingError> {
    let key = known_broker;
    Ok(ConsumerLimits {
        session_timeout: layers.millis(key("group.consumer.session.timeout.ms"))?,
        heartbeat_interval: layers.millis(key("group.consumer.heartbeat.interval.ms"))?,
        members_max: layers.sized(key("group.consumer.max.size"))?,
        assignors: assignors(layers, key("group.consumer.assignors"))?,
        assignment_interval: layers.millis(key("group.consumer.assignment.interval.ms"))?,
        regex_refresh_interval: layers.millis(key("group.consumer.regex.refresh.interval.ms"))?,
        migration: migration(layers, key("group.consumer.migration.policy"))?,
    })
}

/// The assignors that a list names, in its order. Kafka also takes the names of its own classes.
fn assignors(layers: &Layers<'_>, setting: &Setting) -> Result<&'static [Assignor], SettingError> {
    const CLASSES: &str = "org.apache.kafka.coordinator.group.assignor.";
    let (text, _) = layers.text(setting).unwrap_or_default();
    let find = |item: &str| {
        let class = |it: &Assignor| match it {
            Assignor::Uniform => "UniformAssignor",
            Assignor::Range => "RangeAssignor",
        };
        let is_class = |it: &Assignor| item.strip_prefix(CLASSES) == Some(class(it));
        Assignor::from_name(item).or_else(|| Assignor::ALL.into_iter().find(is_class))
    };
    let found: Option<Vec<_>> = items(text).into_iter().map(find).collect();
    match found.as_deref() {
        Some([Assignor::Uniform]) => Ok(&[Assignor::Uniform]),
        Some([Assignor::Range]) => Ok(&[Assignor::Range]),
        Some([Assignor::Uniform, Assignor::Range]) => Ok(&[Assignor::Uniform, Assignor::Range]),
        Some([Assignor::Range, Assignor::Uniform]) => Ok(&[Assignor::Range, Assignor::Uniform]),
        _ => Err(setting.error(text, "must be uniform, range, or both".to_owned())),
    }
}

fn migration(layers: &Layers<'_>, setting: &Setting) -> Result<Migration, SettingError> {
    let (text, _) = layers.text(setting).unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "bidirectional" => Ok(Migration { upgrade: true, downgrade: true }),
        "upgrade" => Ok(Migration { upgrade: true, downgrade: false }),
        "downgrade" => Ok(Migration { upgrade: false, downgrade: true }),
        "disabled" => Ok(Migration { upgrade: false, downgrade: false }),
        _ => {
            let words = "must be bidirectional, upgrade, downgrade or disabled";
            Err(setting.error(text, words.to_owned()))
        }
    }
}
