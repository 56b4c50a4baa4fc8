//! What this process logs, by logger, while it runs (resource type BROKER_LOGGER, KIP-412).
//!
//! Loggers are the crates of this program, and `root` for everything that has no level of its own.
//! As in Kafka a change lasts until the process ends. It must never make logging fail: a filter that
//! cannot be put into force leaves the one that is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::error_code::ErrorCode;

use crate::cluster::controller::{SettingChange, SettingOperation};
use crate::config_resource::Refused;

/// The logger of everything that has no level of its own.
const ROOT: &str = "root";
/// The loggers that have levels of their own, sorted.
const LOGGERS: [&str; 6] = ["broker", "openraft", "protocol", "raft", ROOT, "storage"];
/// Kafka's words, and what they are here: there is no level above errors.
const LEVELS: [(&str, &str); 7] = [
    ("DEBUG", "debug"),
    ("ERROR", "error"),
    ("FATAL", "error"),
    ("INFO", "info"),
    ("OFF", "off"),
    ("TRACE", "trace"),
    ("WARN", "warn"),
];

/// Puts a filter into force.
///
/// # Errors
/// Why it is not.
pub(crate) type Reload = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The levels of all loggers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogLevels {
    /// The filter that the process was started with.
    base: Arc<str>,
    reload: Reload,
    /// What was changed since, by logger.
    changed: Arc<Mutex<BTreeMap<&'static str, &'static str>>>,
}

impl LogLevels {
    /// The levels of a process that was started with the filter `base`.
    pub(crate) fn new(base: &str, reload: Reload) -> Self {
        Self { base: base.into(), reload, changed: Arc::default() }
    }

    /// Each logger with its level in Kafka's words, sorted by name.
    pub(crate) fn in_force(&self) -> Vec<(&'static str, &'static str)> {
        let changed = self.changed.lock();
        LOGGERS.iter().map(|logger| (*logger, self.level(logger, &changed))).collect()
    }

    fn level(
        &self,
        logger: &'static str,
        changed: &BTreeMap<&'static str, &'static str>,
    ) -> &'static str {
        let given = |logger| {
            let directives = self.base.split(',').map(str::trim);
            let levels = directives.filter_map(|directive| match directive.split_once('=') {
                Some((target, level)) => (target == logger).then_some(level),
                None => (logger == ROOT).then_some(directive),
            });
            // Of directives for the same target the last one counts.
            levels.rev().find_map(in_kafkas_words)
        };
        let of = |logger| {
            changed.get(logger).copied().and_then(in_kafkas_words).or_else(|| given(logger))
        };
        of(logger).or_else(|| of(ROOT)).unwrap_or("ERROR")
    }

    /// Changes levels: all of them or none.
    ///
    /// # Errors
    /// Code and sentence for the wire.
    pub(crate) fn change(&self, change: &SettingChange, apply: bool) -> Result<(), Refused> {
        let SettingChange::Each(operations) = change else {
            let why =
                "AlterConfigs is deprecated and does not support the resource type BROKER_LOGGER";
            return Err((ErrorCode::InvalidRequest, why.to_owned()));
        };
        let mut changed = self.changed.lock();
        let mut next = changed.clone();
        for (name, operation) in operations {
            let unknown = || (ErrorCode::InvalidConfig, format!("Logger {name} does not exist!"));
            let logger = LOGGERS.iter().find(|logger| *logger == name).ok_or_else(unknown)?;
            match operation {
                SettingOperation::Set(level) => {
                    next.insert(logger, known_level(name, level)?);
                }
                SettingOperation::Delete if *logger == ROOT => {
                    let why = "Removing the log level of the root logger is not allowed";
                    return Err((ErrorCode::InvalidRequest, why.to_owned()));
                }
                SettingOperation::Delete => drop(next.remove(logger)),
                SettingOperation::Append(_) | SettingOperation::Subtract(_) => {
                    let why = "Log levels can only be set and deleted";
                    return Err((ErrorCode::InvalidRequest, why.to_owned()));
                }
            }
        }
        if apply && next != *changed {
            let failed = |why| (ErrorCode::InvalidRequest, format!("The levels stay: {why}"));
            (self.reload)(&self.filter(&next)).map_err(failed)?;
            *changed = next;
        }
        Ok(())
    }

    /// Later directives go before earlier ones for the same target.
    fn filter(&self, changed: &BTreeMap<&'static str, &'static str>) -> String {
        let mut filter = self.base.to_string();
        for (logger, level) in changed {
            filter.push(',');
            if *logger != ROOT {
                filter.push_str(logger);
                filter.push('=');
            }
            filter.push_str(level);
        }
        filter
    }
}

fn known_level(name: &str, level: &str) -> Result<&'static str, Refused> {
    let level = level.trim().to_ascii_uppercase();
    let known = LEVELS.iter().find(|(word, _)| *word == level).map(|(_, ours)| *ours);
    known.ok_or_else(|| {
        let why = format!(
            "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid \
             log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
        );
        (ErrorCode::InvalidConfig, why)
    })
}

fn in_kafkas_words(level: &str) -> Option<&'static str> {
    LEVELS.iter().find(|(_, ours)| ours.eq_ignore_ascii_case(level)).map(|(word, _)| *word)
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevels").field("in_force", &self.in_force()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::SettingOperation::{Append, Delete, Set};
    use super::*;

    fn levels() -> (LogLevels, Arc<Mutex<Vec<String>>>) {
        let filters = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&filters);
        let reload: Reload = Arc::new(move |filter: &str| {
            seen.lock().push(filter.to_owned());
            Ok(())
        });
        (LogLevels::new("openraft=error,info,storage=warn", reload), filters)
    }

    fn each(operations: &[(&str, SettingOperation)]) -> SettingChange {
        let owned = operations.iter().map(|(name, op)| ((*name).to_owned(), op.clone()));
        SettingChange::Each(owned.collect())
    }

    fn level(levels: &LogLevels, logger: &str) -> &'static str {
        levels.in_force().into_iter().find(|(name, _)| *name == logger).unwrap().1
    }

    #[test]
    fn a_level_is_changed_and_goes_back() {
        let (levels, filters) = levels();
        assert_eq!((level(&levels, "storage"), level(&levels, "broker")), ("WARN", "INFO"));
        assert_eq!((level(&levels, ROOT), level(&levels, "openraft")), ("INFO", "ERROR"));
        let set = each(&[("broker", Set("debug".into())), (ROOT, Set("WARN".into()))]);
        levels.change(&set, false).unwrap();
        assert_eq!(level(&levels, "broker"), "INFO", "only tried");
        levels.change(&set, true).unwrap();
        assert_eq!((level(&levels, "broker"), level(&levels, "raft")), ("DEBUG", "WARN"));
        let expected = "openraft=error,info,storage=warn,broker=debug,warn";
        assert_eq!(filters.lock().as_slice(), [expected]);
        levels.change(&each(&[("broker", Delete)]), true).unwrap();
        assert_eq!(level(&levels, "broker"), "WARN");
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let (levels, filters) = levels();
        for (name, operation, code) in [
            ("no.such", Set("INFO".into()), ErrorCode::InvalidConfig),
            ("broker", Set("LOUD".into()), ErrorCode::InvalidConfig),
            (ROOT, Delete, ErrorCode::InvalidRequest),
            ("broker", Append("INFO".into()), ErrorCode::InvalidRequest),
        ] {
            let change = each(&[("raft", Set("DEBUG".into())), (name, operation)]);
            assert_eq!(levels.change(&change, true).unwrap_err().0, code, "{name}");
        }
        let replace = SettingChange::Replace(crate::settings::Values::new());
        assert_eq!(levels.change(&replace, true).unwrap_err().0, ErrorCode::InvalidRequest);
        assert!(filters.lock().is_empty() && level(&levels, "raft") == "INFO");
    }
}
