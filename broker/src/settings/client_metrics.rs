//! The typed view of one subscription to metrics of clients (KIP-714).

use std::time::Duration;

use regex::Regex;

use super::lookup::Values;
use super::parse::{client_pattern, items};

/// Kafka's default of `interval.ms`: how often a client asks that nobody wants anything of.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
/// Asks for every metric.
pub(crate) const ALL_METRICS: &str = "*";

/// What clients are matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAttribute {
    InstanceId,
    Id,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

impl ClientAttribute {
    /// The attribute of Kafka's name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "client_instance_id" => Self::InstanceId,
            "client_id" => Self::Id,
            "client_software_name" => Self::SoftwareName,
            "client_software_version" => Self::SoftwareVersion,
            "client_source_address" => Self::SourceAddress,
            "client_source_port" => Self::SourcePort,
            _ => return None,
        })
    }
}

/// One subscription.
#[derive(Debug, Clone)]
pub(crate) struct ClientMetricsSettings {
    /// Beginnings of names.
    pub(crate) metrics: Vec<String>,
    /// How often they are wanted.
    pub(crate) interval: Duration,
    /// All of these must match.
    pub(crate) patterns: Vec<(ClientAttribute, Regex)>,
}

impl ClientMetricsSettings {
    /// Reads values that were checked when they were set; what a newer version accepted and this one
    /// does not know counts as not set.
    pub(crate) fn resolve(values: &Values) -> Self {
        let list = |name: &str| items(values.get(name).map_or("", String::as_str));
        let interval = values.get("interval.ms").and_then(|text| text.trim().parse().ok());
        Self {
            metrics: list("metrics").into_iter().map(str::to_owned).collect(),
            interval: interval.map_or(INTERVAL_DEFAULT, Duration::from_millis),
            patterns: list("match").into_iter().filter_map(client_pattern).collect(),
        }
    }
}
