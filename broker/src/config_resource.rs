//! What has settings, as the config APIs name it: a type number and a name.

use protocol::error_code::ErrorCode;
use protocol::topic::TopicName;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::cluster::image::{SettingsResource, SettingsScope};
use crate::context::RequestContext;
use crate::error_map;

/// Kafka's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A broker by its id, or all brokers by the empty name.
    Broker = 4,
    /// Levels of a broker's log.
    BrokerLogger = 8,
    /// Subscriptions to metrics of clients (KIP-714).
    ClientMetrics = 16,
    /// Groups (KIP-848).
    Group = 32,
}

impl ResourceType {
    /// Every type.
    pub(crate) const ALL: [Self; 5] =
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];

    /// The number for the wire.
    pub(crate) const fn number(self) -> i8 {
        self as i8
    }

    /// The type of a number.
    pub(crate) fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }
}

/// Something whose settings can be described and changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigResource {
    /// A topic, which may not exist.
    Topic(TopicName),
    /// One broker or all of them.
    Broker(SettingsScope),
    /// A group or a subscription to metrics of clients.
    Other(SettingsResource),
    /// The log levels of this process.
    Logger,
}

/// An error code with the sentence that goes with it.
pub(crate) type Refused = (ErrorCode, String);

impl ConfigResource {
    /// Reads type and name, as far as this broker, `here`, serves them.
    ///
    /// # Errors
    /// Code and sentence for the wire.
    pub(crate) fn parse(number: i8, name: &str, here: BrokerId) -> Result<Self, Refused> {
        let invalid = |why: String| (ErrorCode::InvalidRequest, why);
        let is_here = || match name.parse::<i32>() {
            Ok(id) if id == here.get() => Ok(()),
            Ok(_) | Err(_) => Err(invalid(format!(
                "Unexpected broker id, expected {here} or empty string, but received {name}"
            ))),
        };
        let unknown = || invalid(format!("Unexpected resource type {number}"));
        let known = ResourceType::from_number(number).ok_or_else(unknown)?;
        match known {
            ResourceType::Topic => TopicName::new(name)
                .map(Self::Topic)
                .map_err(|error| (error_map::topic_name(&error), error.to_string())),
            ResourceType::Broker if name.is_empty() => Ok(Self::Broker(SettingsScope::AllBrokers)),
            ResourceType::Broker => is_here().map(|()| Self::Broker(SettingsScope::Broker(here))),
            ResourceType::BrokerLogger => is_here().map(|()| Self::Logger),
            ResourceType::ClientMetrics if name.is_empty() => {
                Err(invalid("Subscription name can't be empty".to_owned()))
            }
            ResourceType::ClientMetrics => {
                Ok(Self::Other(SettingsResource::ClientMetrics(name.to_owned())))
            }
            ResourceType::Group if name.is_empty() => {
                Err(invalid("Group name must not be empty".to_owned()))
            }
            ResourceType::Group => Ok(Self::Other(SettingsResource::Group(name.to_owned()))),
        }
    }

    /// Asks whether the client may do `operation` to it.
    ///
    /// # Errors
    /// Code and sentence for the wire.
    pub(crate) fn authorize(
        &self,
        context: &RequestContext,
        operation: Operation,
    ) -> Result<(), Refused> {
        let (resource, error) = match self {
            Self::Topic(name) => {
                (Resource::Topic(name.as_str()), ErrorCode::TopicAuthorizationFailed)
            }
            Self::Other(SettingsResource::Group(group)) => {
                (Resource::Group(group), ErrorCode::GroupAuthorizationFailed)
            }
            Self::Broker(_) | Self::Logger | Self::Other(SettingsResource::ClientMetrics(_)) => {
                (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed)
            }
        };
        if authorize(context, operation, resource) {
            return Ok(());
        }
        Err((error, "Not authorized.".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_names_are_read_as_kafka_reads_them() {
        let here = BrokerId::new(3);
        let parse = |number, name| ConfigResource::parse(number, name, here);
        let topic = TopicName::new("t").unwrap();
        assert_eq!(parse(2, "t"), Ok(ConfigResource::Topic(topic)));
        assert_eq!(parse(2, "a/b").unwrap_err().0, ErrorCode::InvalidTopic);
        assert_eq!(parse(4, ""), Ok(ConfigResource::Broker(SettingsScope::AllBrokers)));
        assert_eq!(parse(4, "3"), Ok(ConfigResource::Broker(SettingsScope::Broker(here))));
        assert_eq!(parse(8, "3"), Ok(ConfigResource::Logger));
        let subscription = SettingsResource::ClientMetrics("3".to_owned());
        assert_eq!(parse(16, "3"), Ok(ConfigResource::Other(subscription)));
        let group = SettingsResource::Group("3".to_owned());
        assert_eq!(parse(32, "3"), Ok(ConfigResource::Other(group)));
        for (number, name) in [(4, "4"), (4, "x"), (8, "4"), (8, ""), (16, ""), (32, ""), (99, "x")]
        {
            assert_eq!(parse(number, name).unwrap_err().0, ErrorCode::InvalidRequest, "{number}");
        }
    }
}
