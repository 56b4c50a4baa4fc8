//! Kafka-named settings: the tables of all names, the check of a value, and the typed views that the
//! rest of the broker reads. Nothing outside this module interprets the text of a setting.
//!
//! A topic setting is decided by the strongest layer that has it: the topic's own override, then the
//! broker setting that is its synonym as changed at run time for this broker, then as changed for all
//! brokers, then as given at start, then the default of the table.

mod broker;
pub(crate) mod client_metrics;
pub(crate) mod describe;
mod dynamic;
mod group;
pub(crate) mod group_overrides;
mod lookup;
mod parse;
mod row;
mod table;
mod topic;

pub(crate) use broker::BrokerSettings;
pub(crate) use dynamic::DynamicSettings;
pub(crate) use group::GroupSettings;
pub(crate) use lookup::Values;
pub(crate) use parse::items;
pub(crate) use row::{Kind, Setting, Update};
pub(crate) use table::{
    BROKER_SETTINGS, TOPIC_SETTINGS, broker_setting, client_metrics_setting, group_setting,
    topic_setting,
};
pub(crate) use topic::TopicSettings;

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

/// Names among `given` that change nothing here: Kafka's that are not honoured, and unknown ones.
pub(crate) fn without_effect(given: &Values) -> Vec<&str> {
    let idle = |name: &&str| broker_setting(name).is_none_or(|setting| !setting.honoured);
    given.keys().map(String::as_str).filter(idle).collect()
}

#[cfg(test)]
mod tests;
