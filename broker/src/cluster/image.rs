//! The immutable picture of the cluster after some command: what every handler reads.
//!
//! Invariants: `topics` and `topic_names` hold the same topics; a topic's partitions count from 0
//! without a gap; no two topic names collide; a producer id below `next_producer_id` may be in use.
//! Parts are shared between one image and the next, so that a change costs what it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, LogIndex, PartitionId};
use uuid::Uuid;

use crate::settings::Values;
use crate::settings::describe::BrokerLayers;

/// Everything that the metadata group knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// Of the last command that is in it.
    pub(crate) index: LogIndex,
    /// Registered brokers.
    pub(crate) brokers: Arc<BTreeMap<BrokerId, BrokerImage>>,
    /// By name.
    pub(crate) topics: Arc<BTreeMap<TopicName, Arc<TopicImage>>>,
    /// Name of each id.
    pub(crate) topic_names: Arc<BTreeMap<TopicId, TopicName>>,
    /// The topics deleted last, oldest first: their logs may be deleted where they are still found.
    pub(crate) deleted_topics: Arc<Vec<TopicId>>,
    /// Broker settings that were changed at run time.
    pub(crate) broker_settings: Arc<BTreeMap<SettingsScope, Values>>,
    /// Settings of groups and of subscriptions to metrics of clients; none is empty.
    pub(crate) resource_settings: Arc<BTreeMap<SettingsResource, Values>>,
    /// Levels of the cluster's features.
    pub(crate) features: Arc<BTreeMap<String, i16>>,
    /// The first producer id that was never handed to a broker.
    pub(crate) next_producer_id: i64,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerImage {
    /// Where clients reach it, by listener.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Where it stands, as its operator calls it.
    pub(crate) rack: Option<String>,
    /// How other nodes reach it. `None` for a broker that no other node can reach.
    pub(crate) node: Option<NodeImage>,
}

/// One broker as other nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeImage {
    /// Its data directory: a broker that comes back with another one has lost what it had promised.
    pub(crate) directory_id: Uuid,
    /// Host that other nodes connect to.
    pub(crate) host: String,
    /// Port that other nodes connect to.
    pub(crate) port: u16,
}

/// An advertised address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Name of the listener.
    pub(crate) listener: String,
    /// Host that clients connect to.
    pub(crate) host: String,
    /// Port that clients connect to.
    pub(crate) port: u16,
}

/// Whom changed broker settings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SettingsScope {
    /// All brokers that have no setting of their own; the empty name on the wire.
    AllBrokers,
    /// One broker.
    Broker(BrokerId),
}

/// What has settings without being otherwise known here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SettingsResource {
    /// A group, which need not exist.
    Group(String),
    /// A subscription to metrics of clients (KIP-714).
    ClientMetrics(String),
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicImage {
    /// Name.
    pub(crate) name: TopicName,
    /// Incarnation.
    pub(crate) id: TopicId,
    /// By partition id, which count from 0 without a gap.
    pub(crate) partitions: Vec<PartitionImage>,
    /// Settings that differ from the broker's, in Kafka's text form.
    pub(crate) overrides: Values,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionImage {
    /// Which.
    pub(crate) partition: PartitionId,
    /// Where its replicas are; the first is preferred as leader.
    pub(crate) replicas: Vec<BrokerId>,
    /// While they are changed.
    pub(crate) moving: Option<Box<Moving>>,
}

/// A change of a partition's replicas that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moving {
    /// What they are to be.
    pub(crate) wanted: Vec<BrokerId>,
    /// Those that may have one although they are neither replicas nor wanted: an earlier change began.
    pub(crate) others: Vec<BrokerId>,
}

impl Image {
    /// Finds a topic by its id.
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_names.get(&id)?)
    }

    /// The existing topic whose name differs from `name` only in `.` against `_`, if there is one.
    pub(crate) fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        // Names that collide have the same text up to the first of the two characters, so that only
        // the names with that beginning need a look.
        let text = name.as_str();
        let begin = &text[..text.find(['.', '_'])?];
        let from = (std::ops::Bound::Included(begin), std::ops::Bound::Unbounded);
        let near = self.topics.range::<str, _>(from).map(|(other, _)| other);
        near.take_while(|other| other.as_str().starts_with(begin))
            .find(|other| *other != name && other.collides_with(name))
    }

    /// How many partitions all topics have together.
    pub(crate) fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }

    /// The layers of `broker`'s settings, of which `given` were given at start.
    pub(crate) fn setting_layers<'a>(
        &'a self,
        broker: BrokerId,
        given: &'a Values,
    ) -> BrokerLayers<'a> {
        static NONE: Values = Values::new();
        let scope = |scope| self.broker_settings.get(&scope).unwrap_or(&NONE);
        let own = scope(SettingsScope::Broker(broker));
        BrokerLayers { own, all: scope(SettingsScope::AllBrokers), given }
    }

    /// Settings of `broker` that were changed at run time: its own before those for all.
    pub(crate) fn dynamic_settings(&self, broker: BrokerId) -> Values {
        let scope = |scope| self.broker_settings.get(&scope).cloned().unwrap_or_default();
        let mut settings = scope(SettingsScope::AllBrokers);
        settings.extend(scope(SettingsScope::Broker(broker)));
        settings
    }

    /// The settings of a group or a subscription; none if it has none.
    pub(crate) fn settings_of(&self, resource: &SettingsResource) -> &Values {
        static NONE: Values = Values::new();
        self.resource_settings.get(resource).unwrap_or(&NONE)
    }
}

impl BrokerImage {
    /// Its address for clients that came through `listener`.
    pub(crate) fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

impl PartitionImage {
    /// The broker that should lead it while all is well.
    pub(crate) fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_is_found_wherever_the_dots_stand() {
        let mut image = Image::default();
        let topics = Arc::make_mut(&mut image.topics);
        for (at, name) in ["a.b_c", "a-b", "a.b.d", "plain"].into_iter().enumerate() {
            let name = TopicName::new(name).unwrap();
            let id = TopicId::new(Uuid::from_u128(at as u128 + 1)).unwrap();
            let overrides = Values::new();
            let topic = TopicImage { name: name.clone(), id, partitions: Vec::new(), overrides };
            topics.insert(name, Arc::new(topic));
        }
        let colliding =
            |name| image.colliding(&TopicName::new(name).unwrap()).map(TopicName::as_str);
        assert_eq!(colliding("a_b.c"), Some("a.b_c"));
        assert_eq!(colliding("a_b_d"), Some("a.b.d"));
        for name in ["a.b_c", "a_b", "plain", "plain_", "a.b.e"] {
            assert_eq!(colliding(name), None, "{name}");
        }
    }
}
