//! The configuration of one start: from files, environment and flags to checked values.
//!
//! Later sources win: defaults, `--kafka-config`, `--config`, environment, flags. Everything is
//! checked here, once, before anything is opened; each error names its place and the remedy. Must
//! never guess: an unknown name in our own file is an error, only in a file that was made for Kafka
//! it is a warning.

mod data_dir;
mod error;
mod inter_node;
mod layers;
mod listeners;
mod options;
mod properties;
mod render;
mod toml_file;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use protocol::types::BrokerId;

use crate::settings::{BrokerSettings, without_effect};
pub(crate) use error::ConfigError;
pub(crate) use inter_node::{HostPort, InterNodeConfig};
use layers::{Layers, Source};
pub(crate) use listeners::ListenerConfig;
pub(crate) use options::{FILES, OPTIONS, Opt, SET, environment_name};
pub(crate) use render::{example, show};

/// The name under which a file holds Kafka's settings.
const KAFKA_TABLE: &str = "kafka";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What was given, before it is read. Nothing here has been checked.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// `--config`.
    pub(crate) config_file: Option<PathBuf>,
    /// `--kafka-config`.
    pub(crate) kafka_config_file: Option<PathBuf>,
    /// Values of options, by their name, from the environment.
    pub(crate) environment: Vec<(&'static Opt, Vec<String>)>,
    /// The same from flags.
    pub(crate) flags: Vec<(&'static Opt, Vec<String>)>,
}

/// A checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// At least one.
    pub(crate) listeners: Vec<ListenerConfig>,
    /// How it meets other nodes.
    pub(crate) inter_node: InterNodeConfig,
    /// Where health and metrics are served.
    pub(crate) http: SocketAddr,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log_filter: String,
    /// For how many partitions `/metrics` shows by group how far it is.
    pub(crate) group_metrics_max: usize,
    /// The broker id that was asked for.
    pub(crate) broker_id: Option<BrokerId>,
    /// Kafka-named settings.
    pub(crate) settings: BrokerSettings,
    /// Names that were given and change nothing.
    pub(crate) names_without_effect: Vec<String>,
    /// Where each value comes from, for `config show`.
    layers: Layers,
}

impl Config {
    /// Reads the files and checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong, its place, and the remedy.
    pub(crate) fn load(
        inputs: &Inputs,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = &inputs.kafka_config_file {
            properties::read(&read_file(path)?, path, &mut layers)?;
        }
        if let Some(path) = &inputs.config_file {
            toml_file::read(&read_file(path)?, path, &mut layers)?;
        }
        for (option, values) in &inputs.environment {
            layers.put_option(option, values, &Source::Environment(environment_name(option)))?;
        }
        for (option, values) in &inputs.flags {
            layers.put_option(option, values, &Source::Flag(format!("--{}", option.name)))?;
        }
        Self::check(layers, variable)
    }

    fn check(
        mut layers: Layers,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let data_dir = data_dir::resolve(&layers, variable)?;
        let insecure = layers.boolean("insecure")?;
        let listeners = listeners::resolve(&layers, insecure)?;
        let http = listeners::resolve_http(&layers, insecure)?;
        let inter_node = inter_node::resolve(&layers)?;
        let log_format = match layers.text("log-format").as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err(layers.invalid("log-format", "must be text or json")),
        };
        let group_metrics_max = (layers.text("group-metrics-max").parse())
            .map_err(|_text| layers.invalid("group-metrics-max", "must be a number"))?;
        let given = layers.kafka_values();
        let mut settings =
            BrokerSettings::new(given).map_err(|error| layers.invalid_setting(error))?;
        let names_without_effect =
            without_effect(&settings.given).into_iter().map(str::to_owned).collect();
        let broker_id = broker_id(&layers)?;
        // DescribeConfigs shows these under Kafka's names, wherever they were given.
        let shown = listeners::kafka_texts(&listeners);
        settings.given.extend(shown.map(|(name, text)| (name.to_owned(), text)));
        settings.given.insert("log.dirs".to_owned(), data_dir.display().to_string());
        layers.note_default("data", &data_dir.display().to_string());
        Ok(Self {
            data_dir,
            listeners,
            inter_node,
            http,
            log_format,
            log_filter: layers.text("log"),
            group_metrics_max,
            broker_id,
            settings,
            names_without_effect,
            layers,
        })
    }
}

/// `node.id`, or `broker.id` as it was called before; -1 means that the broker chooses.
fn broker_id(layers: &Layers) -> Result<Option<BrokerId>, ConfigError> {
    let node_id = Some(layers.text("node-id")).filter(|text| !text.is_empty());
    let broker_id = layers.kafka("broker.id").map(str::to_owned);
    for (name, text) in [("node-id", node_id), ("broker.id", broker_id)] {
        if let Some(text) = text {
            let id: i32 = text.trim().parse().map_err(|_not_a_number| {
                layers.invalid(name, "must be a whole number from 0 to 2147483647")
            })?;
            if id >= 0 {
                return Ok(Some(BrokerId::new(id)));
            }
        }
    }
    Ok(None)
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::ReadFile { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests;
