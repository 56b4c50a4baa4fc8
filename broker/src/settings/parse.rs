//! From the text of a value to a checked value of its type, as Kafka reads it.

use super::SettingError;
use super::row::{Kind, Rule, Setting};

/// Kafka's longest list values are a few kilobytes; this bounds what an operator may store.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

impl Setting {
    /// Checks a value against type and rule.
    ///
    /// # Errors
    /// [`SettingError`] with what would be accepted.
    pub(crate) fn check(&self, value: &str) -> Result<(), SettingError> {
        self.broken_rule(value).map_or(Ok(()), |reason| Err(self.error(value, reason)))
    }

    fn broken_rule(&self, value: &str) -> Option<String> {
        if value.len() > VALUE_BYTES_MAX {
            return Some(format!("a value has at most {VALUE_BYTES_MAX} bytes"));
        }
        let value = value.trim();
        match self.kind {
            Kind::Boolean => boolean(value).is_none().then(|| "must be true or false".to_owned()),
            Kind::Short => self.broken_integer(value, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Int => self.broken_integer(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Long => self.broken_integer(value, i64::MIN, i64::MAX),
            Kind::Double => self.broken_fraction(value),
            Kind::List => self.broken_list(value),
            Kind::String | Kind::Class | Kind::Password => self.broken_word(value),
        }
    }

    fn broken_integer(&self, value: &str, min: i64, max: i64) -> Option<String> {
        let Some(number) = value.parse::<i64>().ok().filter(|n| (min..=max).contains(n)) else {
            return Some(format!("must be a whole number from {min} to {max}"));
        };
        match self.rule {
            Rule::AtLeast(least) if number < least => Some(format!("must be at least {least}")),
            Rule::Within(least, most) if !(least..=most).contains(&number) => {
                Some(format!("must be from {least} to {most}"))
            }
            Rule::WithinOr(least, most, or)
                if number != or && !(least..=most).contains(&number) =>
            {
                Some(format!("must be from {least} to {most}, or {or}"))
            }
            Rule::Any
            | Rule::AtLeast(_)
            | Rule::Within(..)
            | Rule::WithinOr(..)
            | Rule::Fraction(..)
            | Rule::OneOf(_)
            | Rule::EachOf(_)
            | Rule::Replicas => None,
        }
    }

    fn broken_fraction(&self, value: &str) -> Option<String> {
        let Some(number) = value.parse::<f64>().ok().filter(|n| n.is_finite()) else {
            return Some("must be a number".to_owned());
        };
        let Rule::Fraction(least, most) = self.rule else { return None };
        (!(least..=most).contains(&number)).then(|| format!("must be from {least} to {most}"))
    }

    fn broken_list(&self, value: &str) -> Option<String> {
        let items = items(value);
        match self.rule {
            Rule::EachOf(words) => {
                if let Some(wrong) = items.iter().find(|item| !words.contains(item)) {
                    return Some(format!("{wrong:?} is none of {}", words.join(", ")));
                }
                let twice = items.iter().enumerate().find(|(at, item)| items[..*at].contains(item));
                twice.map(|(_, item)| format!("{item:?} stands there twice"))
            }
            Rule::Replicas => {
                let pair = |item: &&str| {
                    item.split_once(':').is_some_and(|(partition, broker)| {
                        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
                    })
                };
                (value != "*" && !items.iter().all(pair))
                    .then(|| "must be * or a list of partition:broker".to_owned())
            }
            Rule::Any
            | Rule::AtLeast(_)
            | Rule::Within(..)
            | Rule::WithinOr(..)
            | Rule::Fraction(..)
            | Rule::OneOf(_) => None,
        }
    }

    fn broken_word(&self, value: &str) -> Option<String> {
        let Rule::OneOf(words) = self.rule else { return None };
        (!words.contains(&value)).then(|| format!("must be one of {}", words.join(", ")))
    }

    pub(super) fn error(&self, value: &str, reason: String) -> SettingError {
        let value = if self.is_sensitive() { "[hidden]" } else { value };
        SettingError { name: self.name.to_owned(), value: value.to_owned(), reason }
    }
}

/// The items of a list value; the empty text is the empty list.
pub(crate) fn items(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// A boolean as Kafka reads it.
pub(crate) fn boolean(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}
