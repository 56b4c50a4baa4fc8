//! From the text of a value to a checked value of its type, as Kafka reads it.

use super::SettingError;
use super::client_metrics::ClientAttribute;
use super::row::{Kind, Rule, Setting};

/// Kafka's longest list values are a few kilobytes; this bounds what an operator may store.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Memory that one pattern of an operator's may take when it is made ready.
const PATTERN_BYTES_MAX: usize = 64 * 1024;

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
            | Rule::Replicas
            | Rule::OffsetReset
            | Rule::ClientPatterns => None,
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
            Rule::ClientPatterns => {
                let illegal = |item: &&&str| client_pattern(item).is_none();
                items.iter().find(illegal).map(|item| format!("illegal client pattern {item:?}"))
            }
            Rule::Any
            | Rule::AtLeast(_)
            | Rule::Within(..)
            | Rule::WithinOr(..)
            | Rule::Fraction(..)
            | Rule::OffsetReset
            | Rule::OneOf(_) => None,
        }
    }

    fn broken_word(&self, value: &str) -> Option<String> {
        if self.rule == Rule::OffsetReset {
            let duration = value.strip_prefix("by_duration:");
            let is_legal = ["earliest", "latest"].contains(&value)
                || duration.is_some_and(|duration| is_duration(duration).is_some());
            let wanted = "must be earliest, latest, or by_duration:PnDTnHnMn.nS";
            return (!is_legal).then(|| wanted.to_owned());
        }
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

/// One of the patterns by which clients are matched: the attribute, and what all of it must look
/// like. `None` if it is none.
pub(crate) fn client_pattern(item: &str) -> Option<(ClientAttribute, regex::Regex)> {
    let (attribute, pattern) = item.split_once('=').filter(|(_, rest)| !rest.contains('='))?;
    let attribute = ClientAttribute::from_name(attribute.trim())?;
    let pattern = pattern.trim();
    if pattern.is_empty() {
        return None;
    }
    let whole = regex::RegexBuilder::new(&format!("^(?:{pattern})$"));
    whole.clone().size_limit(PATTERN_BYTES_MAX).build().ok().map(|pattern| (attribute, pattern))
}

/// Whether this is a span of time as ISO 8601 writes it, in days and smaller units.
fn is_duration(text: &str) -> Option<()> {
    let text = text.strip_prefix(['P', 'p'])?;
    let (days, time) = match text.split_once(['T', 't']) {
        Some((days, time)) => (days, Some(time)),
        None => (text, None),
    };
    let take = |rest: &mut &str, unit: [char; 2], fraction: bool| {
        let Some((number, after)) = rest.split_once(unit) else { return Some(false) };
        let is_digit = |c: char| c.is_ascii_digit() || (fraction && c == '.');
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(is_digit)
            && number.matches('.').count() <= 1;
        *rest = after;
        is_number.then_some(true)
    };
    let (mut days, mut any) = (days, false);
    any |= take(&mut days, ['D', 'd'], false)?;
    let mut in_time = time.is_none();
    let mut rest = time.unwrap_or_default();
    for (unit, fraction) in [(['H', 'h'], false), (['M', 'm'], false), (['S', 's'], true)] {
        let found = take(&mut rest, unit, fraction)?;
        in_time |= found;
        any |= found;
    }
    (any && in_time && days.is_empty() && rest.is_empty()).then_some(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_iso_8601_writes_them() {
        for text in ["PT1H", "P2D", "P1DT2H3M4.5S", "pt0s", "PT10M"] {
            assert!(is_duration(text).is_some(), "{text}");
        }
        for text in ["", "P", "PT", "1H", "PT1", "P1H", "PT-1S", "PT1.5H", "PT.S", "P1DT", "PT1H "]
        {
            assert!(is_duration(text).is_none(), "{text}");
        }
    }

    #[test]
    fn patterns_must_match_all_of_an_attribute() {
        let (attribute, pattern) = client_pattern(" client_software_version = 11\\.1.* ").unwrap();
        assert_eq!(attribute, ClientAttribute::SoftwareVersion);
        assert!(pattern.is_match("11.1.2") && !pattern.is_match("x11.1.2"));
        for text in ["client_id", "nope=x", "client_id=[", "client_id=a=b", "client_id="] {
            assert!(client_pattern(text).is_none(), "{text}");
        }
    }
}
