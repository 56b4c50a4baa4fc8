//! Values by name, each with the place that it comes from. A later layer replaces an earlier one.
//!
//! A few of Kafka's names say what an option of ours says (`listeners`, `log.dirs`); they are read
//! as that option, so that the layers decide between the two.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::error::ConfigError;
use super::options::{OPTIONS, Opt, SET};
use crate::settings::{BROKER_SETTINGS, SettingError, Values, broker_setting};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nowhere.
    Default,
    /// In a file.
    File { path: PathBuf, line: usize },
    /// In this variable.
    Environment(String),
    /// With this flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// One, or several where the option repeats.
    pub(super) texts: Vec<String>,
    pub(super) source: Source,
}

/// Everything that was given.
#[derive(Debug, Default)]
pub(super) struct Layers {
    options: BTreeMap<&'static str, Given>,
    kafka: BTreeMap<String, Given>,
}

/// Kafka's names for options of ours.
pub(super) const KAFKA_ALIASES: &[(&str, &str)] = &[
    ("listeners", "listen"),
    ("advertised.listeners", "advertise"),
    ("log.dir", "data"),
    ("log.dirs", "data"),
    ("node.id", "node-id"),
];
/// A suggestion is at least this similar to what was typed.
const SIMILARITY_MIN: f64 = 0.7;

impl Layers {
    /// Puts an option, or what `--set` holds.
    pub(super) fn put_option(
        &mut self,
        option: &'static Opt,
        texts: &[String],
        source: &Source,
    ) -> Result<(), ConfigError> {
        if option.name != SET.name {
            if option.secret && matches!(source, Source::Flag(_)) {
                return Err(ConfigError::SecretInFlag { name: option.name });
            }
            self.options
                .insert(option.name, Given { texts: texts.to_vec(), source: source.clone() });
            return Ok(());
        }
        for text in texts {
            let Some((name, value)) = text.split_once('=') else {
                let reason = format!("{text:?} is not KEY=VALUE");
                return Err(ConfigError::Syntax { place: source.clone(), reason });
            };
            let (name, value) = (name.trim(), value.trim());
            match OPTIONS.iter().find(|option| option.name == name) {
                Some(option) => self.put_option(option, &[value.to_owned()], source)?,
                None => self.put_kafka(name, value, source)?,
            }
        }
        Ok(())
    }

    /// Puts a Kafka-named setting that must be one of the table.
    pub(super) fn put_kafka(
        &mut self,
        name: &str,
        value: &str,
        source: &Source,
    ) -> Result<(), ConfigError> {
        if broker_setting(name).is_none() {
            let names = BROKER_SETTINGS.iter().map(|setting| setting.name);
            return Err(unknown_name(name, names.chain(option_names()), source));
        }
        self.put_kafka_unchecked(name, value, source);
        Ok(())
    }

    /// Puts a Kafka-named setting from a file that was made for Kafka.
    pub(super) fn put_kafka_unchecked(&mut self, name: &str, value: &str, source: &Source) {
        let alias = KAFKA_ALIASES.iter().find(|(kafka, _)| *kafka == name);
        let option = alias
            .and_then(|(_, option)| OPTIONS.iter().find(|candidate| candidate.name == *option));
        if let Some(option) = option {
            let texts = value.split(',').map(|text| text.trim().to_owned()).collect();
            self.options.insert(option.name, Given { texts, source: source.clone() });
        }
        let given = Given { texts: vec![value.to_owned()], source: source.clone() };
        self.kafka.insert(name.to_owned(), given);
    }

    /// What was given for an option, or its default.
    pub(super) fn option(&self, name: &str) -> Given {
        if let Some(given) = self.options.get(name) {
            return given.clone();
        }
        let default =
            OPTIONS.iter().find(|option| option.name == name).map(|option| option.default);
        let texts =
            default.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect();
        Given { texts, source: Source::Default }
    }

    /// The one value of an option, empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.option(name).texts.into_iter().next().unwrap_or_default()
    }

    /// The value of a switch.
    pub(super) fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        match self.text(name).as_str() {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" | "" => Ok(false),
            _ => Err(self.invalid(name, "must be true or false")),
        }
    }

    /// What was given for a Kafka-named setting.
    pub(super) fn kafka(&self, name: &str) -> Option<&str> {
        self.kafka.get(name)?.texts.first().map(String::as_str)
    }

    /// All Kafka-named settings that were given.
    pub(super) fn kafka_values(&self) -> Values {
        let first = |given: &Given| given.texts.first().cloned().unwrap_or_default();
        self.kafka.iter().map(|(name, given)| (name.clone(), first(given))).collect()
    }

    /// Where a Kafka-named setting was given.
    pub(super) fn kafka_source(&self, name: &str) -> Source {
        self.kafka.get(name).map_or(Source::Default, |given| given.source.clone())
    }

    /// Remembers a default that depends on the machine.
    pub(super) fn note_default(&mut self, name: &'static str, text: &str) {
        let default = || Given { texts: vec![text.to_owned()], source: Source::Default };
        self.options.entry(name).or_insert_with(default);
    }

    /// An error about an option's or a Kafka-named setting's value.
    pub(super) fn invalid(&self, name: &str, reason: &str) -> ConfigError {
        let given = self.kafka.get(name).cloned().unwrap_or_else(|| self.option(name));
        ConfigError::Value {
            place: given.source,
            name: name.to_owned(),
            value: given.texts.join(","),
            reason: reason.to_owned(),
        }
    }

    /// The same from the table's own check.
    pub(super) fn invalid_setting(&self, error: SettingError) -> ConfigError {
        let SettingError { name, value, reason } = error;
        ConfigError::Value { place: self.kafka_source(&name), name, value, reason }
    }
}

/// Names of the options.
pub(super) fn option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name)
}

/// An error that suggests the known name which looks most like `name`.
pub(super) fn unknown_name<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
    place: &Source,
) -> ConfigError {
    let suggestion = known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known.to_owned());
    ConfigError::UnknownName { place: place.clone(), name: name.to_owned(), suggestion }
}
