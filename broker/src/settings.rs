//! The table of Kafka-named settings: name, type, default, scope, documentation. It feeds the
//! configuration parser, DescribeConfigs and the documentation.

use std::collections::BTreeMap;
use storage::config::LogConfig;
use storage::validate::BatchRules;

/// Kafka's type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kafka's names of types")]
pub(crate) enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// Type.
    pub(crate) kind: Kind,
    /// Default in Kafka's text form; `None` where Kafka's default is null.
    pub(crate) default: Option<&'static str>,
    /// For a topic setting, the broker setting that is its default (`log.retention.ms`).
    pub(crate) broker_synonym: Option<&'static str>,
    /// Whether it may be changed while the broker runs.
    pub(crate) dynamic: bool,
    /// One or two sentences of our own.
    pub(crate) documentation: &'static str,
}

/// All settings of a broker.
pub(crate) const BROKER_SETTINGS: &[Setting] = &[];
/// All settings of a topic.
pub(crate) const TOPIC_SETTINGS: &[Setting] = &[];

/// A value that its setting does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value}: {reason}")]
pub(crate) struct SettingError {
    /// Which setting.
    pub(crate) name: String,
    /// The value given.
    pub(crate) value: String,
    /// What would be accepted.
    pub(crate) reason: String,
}

/// Typed view of a broker's static settings, checked once at start. Keeps the raw text for
/// DescribeConfigs.
#[derive(Debug, Clone)]
pub(crate) struct BrokerSettings {
    /// As given by file, environment or flags, by Kafka's name; only what was given.
    pub(crate) given: BTreeMap<String, String>,
    pub(crate) num_partitions: i32,
    pub(crate) default_replication_factor: i16,
    pub(crate) auto_create_topics_enable: bool,
    pub(crate) delete_topic_enable: bool,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) socket_request_max_bytes: i32,
    pub(crate) connections_max_idle: std::time::Duration,
    pub(crate) max_fetch_sessions: usize,
    pub(crate) retention_check_interval: std::time::Duration,
    pub(crate) producer_id_expiration: std::time::Duration,
}

impl BrokerSettings {
    /// Checks `given`. Unknown names are the caller's business (see `BROKER_SETTINGS`).
    pub(crate) fn new(_given: BTreeMap<String, String>) -> Result<Self, SettingError> {
        todo!()
    }
}

/// Typed view of one topic's effective settings: topic override, else dynamic broker default, else
/// static broker setting, else Kafka's default.
#[derive(Debug, Clone)]
pub(crate) struct TopicSettings {
    /// For the log.
    pub(crate) log: LogConfig,
    /// For validation.
    pub(crate) rules: BatchRules,
    /// `min.insync.replicas`.
    pub(crate) min_insync_replicas: i16,
}

impl TopicSettings {
    /// Resolves; `overrides` and `dynamic` are known to be legal (checked when they were set).
    pub(crate) fn resolve(
        _overrides: &BTreeMap<String, String>,
        _dynamic: &BTreeMap<String, String>,
        _static: &BrokerSettings,
    ) -> Result<Self, SettingError> {
        todo!()
    }
}
