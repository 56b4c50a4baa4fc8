//! What consumer groups are held to: the broker's settings as given, those that were changed while it
//! runs (KIP-226), and a group's own (KIP-848).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::types::BrokerId;

use super::consumer::ConsumerLimits;
use crate::cluster::image::{Image, SettingsResource, SettingsScope};
use crate::settings::group_overrides::ConsumerGroupSettings;
use crate::settings::{BrokerSettings, Values};

/// The limits of every group, as one broker sees them.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerTerms {
    here: BrokerId,
    given: Arc<BrokerSettings>,
    /// Of groups that have no settings of their own.
    all: ConsumerLimits,
    own: HashMap<String, ConsumerLimits>,
    /// What they were made from.
    broker_settings: Arc<BTreeMap<SettingsScope, Values>>,
    resource_settings: Arc<BTreeMap<SettingsResource, Values>>,
}

impl ConsumerTerms {
    /// As `given`; nothing was changed yet.
    pub(crate) fn new(here: BrokerId, given: Arc<BrokerSettings>) -> Self {
        let (all, own) = (given.groups.consumer, HashMap::new());
        let (broker_settings, resource_settings) = Default::default();
        Self { here, given, all, own, broker_settings, resource_settings }
    }

    /// Takes what was changed into force. Costs nothing if that is nothing.
    pub(crate) fn see(&mut self, image: &Image) {
        if Arc::ptr_eq(&self.broker_settings, &image.broker_settings)
            && Arc::ptr_eq(&self.resource_settings, &image.resource_settings)
        {
            return;
        }
        self.broker_settings = Arc::clone(&image.broker_settings);
        self.resource_settings = Arc::clone(&image.resource_settings);
        let dynamic = image.dynamic_settings(self.here);
        let limits = |group: &str, values: &Values, otherwise: ConsumerLimits| {
            match ConsumerGroupSettings::resolve(values, &dynamic, &self.given) {
                Ok(settings) => ConsumerLimits {
                    session_timeout: settings.session_timeout,
                    heartbeat_interval: settings.heartbeat_interval,
                    assignment_interval: settings.assignment_interval,
                    ..otherwise
                },
                // A newer version may have accepted it.
                Err(error) => {
                    tracing::warn!(group, %error, "a changed setting is ignored");
                    otherwise
                }
            }
        };
        self.all = limits("", &Values::new(), self.given.groups.consumer);
        self.own.clear();
        for (resource, values) in &*image.resource_settings {
            if let SettingsResource::Group(group) = resource {
                self.own.insert(group.clone(), limits(group, values, self.all));
            }
        }
    }

    /// What one group is held to.
    pub(crate) fn of(&self, group: &str) -> &ConsumerLimits {
        self.own.get(group).unwrap_or(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_changed_is_seen_and_what_is_taken_back_too() {
        let here = BrokerId::new(1);
        let given = values(&[("group.consumer.heartbeat.interval.ms", "7000")]);
        let mut terms = ConsumerTerms::new(here, Arc::new(BrokerSettings::new(given).unwrap()));
        let mut image = Image::default();
        terms.see(&image);
        let as_given = *terms.of("g");
        assert_eq!(as_given.heartbeat_interval, Duration::from_secs(7));

        let own = values(&[("consumer.session.timeout.ms", "50000")]);
        let changed = values(&[("group.consumer.assignment.interval.ms", "9")]);
        image.resource_settings =
            Arc::new(BTreeMap::from([(SettingsResource::Group("g".to_owned()), own)]));
        image.broker_settings = Arc::new(BTreeMap::from([(SettingsScope::AllBrokers, changed)]));
        terms.see(&image);
        let (own, other) = (*terms.of("g"), *terms.of("other"));
        assert_eq!(own.session_timeout, Duration::from_secs(50));
        assert_eq!(other.session_timeout, as_given.session_timeout);
        for limits in [own, other] {
            assert_eq!(limits.assignment_interval, Duration::from_millis(9));
            assert_eq!(limits.heartbeat_interval, as_given.heartbeat_interval);
        }

        terms.see(&Image::default());
        assert_eq!(terms.of("g").session_timeout, as_given.session_timeout);
        assert_eq!(terms.of("g").assignment_interval, as_given.assignment_interval);
    }
}
