//! The settings of one group: the check against the broker's bounds, and the typed view.

use std::time::Duration;

use super::lookup::{Layers, Values};
use super::table::{known_broker, known_group};
use super::{BrokerSettings, SettingError};

/// A group's setting with the broker settings that bound it, smallest and largest.
type Bound = (&'static str, Option<&'static str>, Option<&'static str>);

/// In the order in which Kafka checks them.
const BOUNDS: &[Bound] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit"),
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms"),
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
];

/// Session timeouts, each with the heartbeat interval that must be shorter.
const SESSIONS: &[(&str, &str)] = &[
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

/// Checks a group's values, each of which keeps its own rule, against the broker's bounds and each
/// other. `dynamic` are the broker's settings that were changed at run time.
///
/// # Errors
/// A sentence that names the first illegal one.
pub(crate) fn check(
    values: &Values,
    dynamic: &Values,
    given: &BrokerSettings,
) -> Result<(), String> {
    let broker = Layers { topic: None, broker: &[dynamic, &given.given] };
    let group = Layers { topic: Some(values), broker: &[dynamic, &given.given] };
    let bound = |name| broker.number(known_broker(name)).map_err(|error| error.to_string());
    for (name, least, most) in BOUNDS.iter().filter(|(name, ..)| values.contains_key(*name)) {
        let value = group.number(known_group(name)).map_err(|error| error.to_string())?;
        if let Some(least) = least
            && value < bound(least)?
        {
            return Err(format!("{name} must be greater than or equal to {least}"));
        }
        if let Some(most) = most
            && value > bound(most)?
        {
            return Err(format!("{name} must be less than or equal to {most}"));
        }
    }
    for (session, heartbeat) in SESSIONS {
        if values.contains_key(*session) || values.contains_key(*heartbeat) {
            let value = |name| group.number(known_group(name)).map_err(|error| error.to_string());
            if value(session)? <= value(heartbeat)? {
                return Err(format!("{session} must be greater than {heartbeat}"));
            }
        }
    }
    Ok(())
}

/// What the coordinator keeps to with one consumer group (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumerGroupSettings {
    /// A member without heartbeats for so long is removed.
    pub(crate) session_timeout: Duration,
    /// How often members send heartbeats.
    pub(crate) heartbeat_interval: Duration,
    /// Shortest time between two assignments.
    pub(crate) assignment_interval: Duration,
}

impl ConsumerGroupSettings {
    /// The group's own values, else the broker's. Values that have come to lie outside of the
    /// broker's bounds, which a restart may change, count as the nearest that lies within.
    ///
    /// # Errors
    /// [`SettingError`]: a value that only a newer version could have accepted.
    pub(crate) fn resolve(
        values: &Values,
        dynamic: &Values,
        given: &BrokerSettings,
    ) -> Result<Self, SettingError> {
        let broker = Layers { topic: None, broker: &[dynamic, &given.given] };
        let group = Layers { topic: Some(values), broker: &[dynamic, &given.given] };
        let within = |name: &str| {
            let mut value = group.millis(known_group(name))?;
            let bound = BOUNDS.iter().find(|(bounded, ..)| *bounded == name);
            if let Some((_, _, Some(most))) = bound {
                value = value.min(broker.millis(known_broker(most))?);
            }
            if let Some((_, Some(least), _)) = bound {
                value = value.max(broker.millis(known_broker(least))?);
            }
            Ok(value)
        };
        Ok(Self {
            session_timeout: within("consumer.session.timeout.ms")?,
            heartbeat_interval: within("consumer.heartbeat.interval.ms")?,
            assignment_interval: within("consumer.assignment.interval.ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn broker(pairs: &[(&str, &str)]) -> BrokerSettings {
        BrokerSettings::new(values(pairs)).unwrap()
    }

    #[test]
    fn every_bound_and_pair_names_rows() {
        for (name, least, most) in BOUNDS {
            known_group(name);
            for bound in least.iter().chain(most) {
                assert_eq!(known_broker(bound).name, *bound);
            }
        }
        for (session, heartbeat) in SESSIONS {
            known_group(session);
            known_group(heartbeat);
        }
    }

    #[test]
    fn values_are_checked_against_the_brokers_bounds() {
        let none = Values::new();
        let check = |name: &str, value: &str| check(&values(&[(name, value)]), &none, &broker(&[]));
        check("consumer.session.timeout.ms", "50000").unwrap();
        check("share.isolation.level", "read_committed").unwrap();
        for (name, value, bound) in [
            ("consumer.session.timeout.ms", "1000", "group.consumer.min.session.timeout.ms"),
            ("consumer.session.timeout.ms", "70000", "group.consumer.max.session.timeout.ms"),
            ("consumer.heartbeat.interval.ms", "1", "group.consumer.min.heartbeat.interval.ms"),
            ("consumer.assignment.interval.ms", "20000", "group.consumer.max.assignment.interval"),
            ("streams.num.standby.replicas", "9", "group.streams.max.standby.replicas"),
        ] {
            let why = check(name, value).unwrap_err();
            assert!(why.starts_with(name) && why.contains(bound), "{why}");
        }
        let lax = broker(&[
            ("group.consumer.min.session.timeout.ms", "10"),
            ("group.consumer.session.timeout.ms", "100"),
        ]);
        let longer = values(&[("consumer.session.timeout.ms", "5000")]);
        let why = super::check(&longer, &none, &lax).unwrap_err();
        assert!(why.contains("must be greater than consumer.heartbeat.interval.ms"), "{why}");
    }

    #[test]
    fn a_group_without_values_has_the_brokers() {
        let given = broker(&[("group.consumer.session.timeout.ms", "46000")]);
        let dynamic = values(&[("group.consumer.assignment.interval.ms", "7")]);
        let resolved = ConsumerGroupSettings::resolve(&Values::new(), &dynamic, &given).unwrap();
        assert_eq!(resolved.session_timeout, Duration::from_secs(46));
        assert_eq!(resolved.heartbeat_interval, Duration::from_secs(5));
        assert_eq!(resolved.assignment_interval, Duration::from_millis(7));
        let own = values(&[("consumer.session.timeout.ms", "50000")]);
        let resolved = ConsumerGroupSettings::resolve(&own, &dynamic, &given).unwrap();
        assert_eq!(resolved.session_timeout, Duration::from_secs(50));
        let stricter = broker(&[("group.consumer.max.session.timeout.ms", "48000")]);
        let resolved = ConsumerGroupSettings::resolve(&own, &dynamic, &stricter).unwrap();
        assert_eq!(resolved.session_timeout, Duration::from_secs(48));
    }
}
