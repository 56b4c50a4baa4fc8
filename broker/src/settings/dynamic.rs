//! The typed view of the broker settings that can be changed while the broker runs and do not belong
//! to a topic or a group (KIP-226).

use std::time::Duration;

use super::lookup::{Layers, Values};
use super::table::known_broker;
use super::{BrokerSettings, SettingError};

/// What is in force now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DynamicSettings {
    /// Connections in all.
    pub(crate) max_connections: usize,
    /// Connections from one address.
    pub(crate) max_connections_per_ip: usize,
    /// A producer's state expires after so long without a batch.
    pub(crate) producer_id_expiration: Duration,
}

impl DynamicSettings {
    /// Resolves. `dynamic` was checked when it was set.
    ///
    /// # Errors
    /// [`SettingError`] names the first value that breaks its rule.
    pub(crate) fn resolve(dynamic: &Values, given: &BrokerSettings) -> Result<Self, SettingError> {
        let layers = Layers { topic: None, broker: &[dynamic, &given.given] };
        let key = known_broker;
        Ok(Self {
            max_connections: layers.sized(key("max.connections"))?,
            max_connections_per_ip: layers.sized(key("max.connections.per.ip"))?,
            producer_id_expiration: layers.millis(key("producer.id.expiration.ms"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_goes_before_what_was_given() {
        let given = Values::from([
            ("max.connections".to_owned(), "7".to_owned()),
            ("max.connections.per.ip".to_owned(), "8".to_owned()),
        ]);
        let given = BrokerSettings::new(given).unwrap();
        let dynamic = Values::from([("max.connections".to_owned(), "9".to_owned())]);
        let resolved = DynamicSettings::resolve(&dynamic, &given).unwrap();
        assert_eq!((resolved.max_connections, resolved.max_connections_per_ip), (9, 8));
        assert_eq!(resolved.producer_id_expiration, Duration::from_secs(86_400));
    }
}
