//! The typed view of a broker's static settings.

use std::time::Duration;

use super::SettingError;
use super::group::GroupSettings;
use super::lookup::{Layers, Values};
use super::table::{broker_setting, known_broker};
use super::topic::TopicSettings;

/// Typed view of a broker's static settings, checked once at start. Keeps the raw text for
/// DescribeConfigs.
#[derive(Debug, Clone)]
pub(crate) struct BrokerSettings {
    /// As given by file, environment or flags, by Kafka's name; only what was given.
    pub(crate) given: Values,
    /// Partitions of a topic that is created without a count.
    pub(crate) num_partitions: i32,
    /// Replicas of a topic that is created without a count, if there are as many brokers.
    pub(crate) default_replication_factor: i16,
    /// Whether preferred replicas that have come back lead again by themselves.
    pub(crate) auto_leader_rebalance: bool,
    /// Whether a Metadata request for an unknown topic may create it.
    pub(crate) auto_create_topics_enable: bool,
    /// Whether clients may delete topics.
    pub(crate) delete_topic_enable: bool,
    /// Most bytes of records in one Fetch response.
    pub(crate) fetch_max_bytes: i32,
    /// Largest request frame.
    pub(crate) socket_request_max_bytes: i32,
    /// A connection without a request for so long is closed.
    pub(crate) connections_max_idle: Duration,
    /// Fetch sessions kept at once.
    pub(crate) max_fetch_sessions: usize,
    /// Most partitions in one DescribeTopicPartitions response.
    pub(crate) max_request_partitions: usize,
    /// How often retention looks at each log.
    pub(crate) retention_check_interval: Duration,
    /// A producer's state expires after so long without a batch.
    pub(crate) producer_id_expiration: Duration,
    /// Largest push of metrics of a client, as sent and decompressed.
    pub(crate) telemetry_max_bytes: usize,
    /// Where this broker stands, as clients see it.
    pub(crate) broker_rack: Option<String>,
    /// Of the group coordinator.
    pub(crate) groups: GroupSettings,
}

/// Copies of a record without which a cluster of three would lose it with one disk. Kafka's own default
/// is one, which DescribeConfigs shows where nothing was given.
const REPLICATION_FACTOR_NOT_GIVEN: i16 = 3;

fn default_replication_factor(layers: &Layers<'_>) -> Result<i16, SettingError> {
    const NAME: &str = "default.replication.factor";
    let is_given = layers.broker.iter().any(|layer| layer.contains_key(NAME));
    if is_given { layers.sized(known_broker(NAME)) } else { Ok(REPLICATION_FACTOR_NOT_GIVEN) }
}

impl BrokerSettings {
    /// Checks `given`. Names that no table has are kept and change nothing: whether they deserve a
    /// warning is the caller's business (see [`super::without_effect`]).
    ///
    /// # Errors
    /// [`SettingError`] names the first value that breaks its rule.
    pub(crate) fn new(given: Values) -> Result<Self, SettingError> {
        for (name, value) in &given {
            if let Some(setting) = broker_setting(name) {
                setting.check(value)?;
            }
        }
        let layers = Layers { topic: None, broker: &[&given] };
        let key = known_broker;
        let settings = Self {
            num_partitions: layers.sized(key("num.partitions"))?,
            default_replication_factor: default_replication_factor(&layers)?,
            auto_leader_rebalance: layers.boolean(key("auto.leader.rebalance.enable"))?,
            auto_create_topics_enable: layers.boolean(key("auto.create.topics.enable"))?,
            delete_topic_enable: layers.boolean(key("delete.topic.enable"))?,
            fetch_max_bytes: layers.sized(key("fetch.max.bytes"))?,
            socket_request_max_bytes: layers.sized(key("socket.request.max.bytes"))?,
            connections_max_idle: layers.millis(key("connections.max.idle.ms"))?,
            max_fetch_sessions: layers.sized(key("max.incremental.fetch.session.cache.slots"))?,
            max_request_partitions: layers.sized(key("max.request.partition.size.limit"))?,
            retention_check_interval: layers.millis(key("log.retention.check.interval.ms"))?,
            producer_id_expiration: layers.millis(key("producer.id.expiration.ms"))?,
            telemetry_max_bytes: layers.sized(key("telemetry.max.bytes"))?,
            broker_rack: layers.text(key("broker.rack")).map(|(rack, _)| rack.to_owned()),
            groups: GroupSettings::new(&layers)?,
            given: given.clone(),
        };
        // What a topic inherits must resolve now, not when the first topic is created.
        TopicSettings::resolve(&Values::new(), &Values::new(), &settings)?;
        Ok(settings)
    }
}
