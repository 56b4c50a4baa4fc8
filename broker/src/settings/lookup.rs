//! Effective values: which of several layers of settings decides, and its value as a number.

use std::collections::BTreeMap;
use std::time::Duration;

use super::SettingError;
use super::parse::boolean;
use super::row::Setting;

/// Values by Kafka's name, in Kafka's text form.
pub(crate) type Values = BTreeMap<String, String>;

/// Layers of values, strongest first.
pub(crate) struct Layers<'a> {
    pub(super) topic: Option<&'a Values>,
    pub(super) broker: &'a [&'a Values],
}

impl Layers<'_> {
    /// The deciding text of `setting` and the factor that turns it into the setting's unit. A topic
    /// setting that is not set takes its broker synonyms in the order of the table, each from the
    /// strongest layer that has it (`log.retention.ms` before `log.retention.hours`).
    pub(super) fn text(&self, setting: &Setting) -> Option<(&str, i64)> {
        if let Some(topic) = self.topic {
            if let Some(value) = topic.get(setting.name) {
                return Some((value.trim(), 1));
            }
            for synonym in setting.synonyms {
                if let Some(value) = self.broker.iter().find_map(|layer| layer.get(synonym.name)) {
                    return Some((value.trim(), synonym.factor));
                }
            }
        } else if let Some(value) = self.broker.iter().find_map(|layer| layer.get(setting.name)) {
            return Some((value.trim(), 1));
        }
        setting.default.map(|value| (value, 1))
    }

    pub(super) fn number(&self, setting: &Setting) -> Result<i64, SettingError> {
        let (text, factor) = self.text(setting).unwrap_or_default();
        let wrong = || setting.error(text, "must be a whole number".to_owned());
        let number: i64 = text.parse().ok().ok_or_else(wrong)?;
        // Kafka reads a negative time of any unit as "none"; minus one hour must not become a time.
        Ok(if number < 0 { number } else { number.saturating_mul(factor) })
    }

    /// A number that the rules of the table keep in the range of `T`.
    pub(super) fn sized<T: TryFrom<i64>>(&self, setting: &Setting) -> Result<T, SettingError> {
        let number = self.number(setting)?;
        let wrong = || setting.error(&number.to_string(), "is out of range".to_owned());
        T::try_from(number).ok().ok_or_else(wrong)
    }

    pub(super) fn boolean(&self, setting: &Setting) -> Result<bool, SettingError> {
        let (text, _) = self.text(setting).unwrap_or_default();
        boolean(text).ok_or_else(|| setting.error(text, "must be true or false".to_owned()))
    }

    /// A time; negative values become zero (where -1 means "none", use [`Layers::limit`]).
    pub(super) fn millis(&self, setting: &Setting) -> Result<Duration, SettingError> {
        Ok(self.limit(setting)?.map_or(Duration::ZERO, Duration::from_millis))
    }

    /// A limit; `None` where it is negative, which means "no limit".
    pub(super) fn limit(&self, setting: &Setting) -> Result<Option<u64>, SettingError> {
        Ok(u64::try_from(self.number(setting)?).ok())
    }
}
