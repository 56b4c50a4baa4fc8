//! Changes of the metadata, as they stand in the metadata group's log.
//!
//! ```text
//! u8 version (1) │ u8 kind │ fields of the kind, as `codec.rs` writes them
//! kind  0 register broker   broker, list of (listener, host, u16 port), option rack
//!       1 set feature       text name, i16 level
//!       2 create topics     list of (name, id, list of replica lists, values)
//!       3 delete topics     list of id
//!       4 create partitions list of (id, i32 old count, list of replica lists)
//!       5 set topic settings  id, values before, values after
//!       6 set broker settings option broker, values before, values after
//!       7 take producer ids i64 count
//!       8 set resource settings  u8 0 group or 1 client metrics, name, values before, values after
//!       9 register node     as kind 0, then 16 bytes directory id, inter-node host, u16 port
//!      10 move replicas     list of (id, i32 partition, list of broker; none: as they are)
//!      11 settle replicas   id, i32 partition, list of broker
//! ```
//! These bytes live for ever: a field is never changed, a kind never reused. A new kind or version
//! makes older programs stop with a clear word instead of guessing. A broker that no other node can
//! reach is registered with kind 0, which they understand.

use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, PartitionId};

use super::codec::{DecodeError, Reader, Writer};
use super::image::{BrokerImage, Endpoint, NodeImage, SettingsResource, SettingsScope};
use super::moves::Move;
use crate::settings::Values;

const VERSION: u8 = 1;
const KIND_MAX: u8 = 11;

/// One change. What it wants may have become impossible when its turn comes: see
/// [`super::outcome::Refusal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// A broker says where it is.
    RegisterBroker { broker: BrokerId, image: BrokerImage },
    /// A feature's level becomes this.
    SetFeature { name: String, level: i16 },
    /// New topics; each is created or refused on its own.
    CreateTopics(Vec<NewTopic>),
    /// Topics go away; each is deleted or refused on its own.
    DeleteTopics(Vec<TopicId>),
    /// Topics grow; each grows or is refused on its own.
    CreatePartitions(Vec<NewPartitions>),
    /// A topic's overrides become `after`, unless they are no longer `before`.
    SetTopicSettings { topic: TopicId, before: Values, after: Values },
    /// Changed broker settings become `after`, unless they are no longer `before`.
    SetBrokerSettings { scope: SettingsScope, before: Values, after: Values },
    /// The next producer ids are given away.
    TakeProducerIds { count: i64 },
    /// Partitions are to have other replicas; each is noted or refused on its own.
    MoveReplicas(Vec<Move>),
    /// The replicas of a partition are these now, unless others are wanted by now.
    SettleReplicas(Move),
    /// The settings of a group or a subscription become `after`, unless they are no longer `before`.
    SetResourceSettings { resource: SettingsResource, before: Values, after: Values },
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewTopic {
    pub(super) name: TopicName,
    pub(super) id: TopicId,
    /// Replicas of each partition.
    pub(super) partitions: Vec<Vec<BrokerId>>,
    pub(super) overrides: Values,
}

/// Partitions to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewPartitions {
    pub(super) topic: TopicId,
    /// How many the topic has; the command is refused if that has changed.
    pub(super) before: i32,
    /// Replicas of each added partition.
    pub(super) added: Vec<Vec<BrokerId>>,
}

impl Command {
    /// The bytes for the log.
    pub(super) fn encode(&self) -> bytes::Bytes {
        let mut to = Writer::default();
        to.u8(VERSION);
        match self {
            Self::RegisterBroker { broker, image } => {
                to.u8(if image.node.is_some() { 9 } else { 0 });
                write_registration(&mut to, *broker, image);
            }
            Self::SetFeature { name, level } => {
                to.u8(1);
                to.text(name);
                to.i16(*level);
            }
            Self::CreateTopics(topics) => {
                to.u8(2);
                to.list(topics, write_new_topic);
            }
            Self::DeleteTopics(topics) => {
                to.u8(3);
                to.list(topics, |to, topic| to.topic_id(*topic));
            }
            Self::CreatePartitions(topics) => {
                to.u8(4);
                to.list(topics, |to, topic| {
                    to.topic_id(topic.topic);
                    to.i32(topic.before);
                    write_replicas(to, &topic.added);
                });
            }
            Self::SetTopicSettings { topic, before, after } => {
                to.u8(5);
                to.topic_id(*topic);
                [before, after].into_iter().for_each(|values| to.values(values));
            }
            Self::SetBrokerSettings { scope, before, after } => {
                to.u8(6);
                write_scope(&mut to, *scope);
                to.values(before);
                to.values(after);
            }
            Self::TakeProducerIds { count } => {
                to.u8(7);
                to.i64(*count);
            }
            Self::MoveReplicas(moves) => {
                to.u8(10);
                to.list(moves, write_move);
            }
            Self::SettleReplicas(settled) => {
                to.u8(11);
                write_move(&mut to, settled);
            }
            Self::SetResourceSettings { resource, before, after } => {
                to.u8(8);
                write_resource(&mut to, resource);
                [before, after].into_iter().for_each(|values| to.values(values));
            }
        }
        to.finish()
    }

    /// Reads the bytes of a command.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] for a command of a newer version, the others for damage.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if version != VERSION {
            return Err(newer("command version", version, VERSION));
        }
        let kind = from.u8()?;
        let command = Self::decode_kind(kind, &mut from)?;
        from.finish()?;
        Ok(command)
    }

    fn decode_kind(kind: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            0 => Self::RegisterBroker { broker: from.broker()?, image: read_broker(from)? },
            1 => Self::SetFeature { name: from.text()?.to_owned(), level: from.i16()? },
            2 => Self::CreateTopics(from.list(read_new_topic)?),
            3 => Self::DeleteTopics(from.list(Reader::topic_id)?),
            4 => Self::CreatePartitions(from.list(|from| {
                Ok(NewPartitions {
                    topic: from.topic_id()?,
                    before: from.i32()?,
                    added: read_replicas(from)?,
                })
            })?),
            5 => Self::SetTopicSettings {
                topic: from.topic_id()?,
                before: from.values()?,
                after: from.values()?,
            },
            6 => Self::SetBrokerSettings {
                scope: read_scope(from)?,
                before: from.values()?,
                after: from.values()?,
            },
            7 => Self::TakeProducerIds { count: from.i64()? },
            8 => Self::SetResourceSettings {
                resource: read_resource(from)?,
                before: from.values()?,
                after: from.values()?,
            },
            9 => {
                let (broker, image) = (from.broker()?, read_broker(from)?);
                let node = Some(read_node(from)?);
                Self::RegisterBroker { broker, image: BrokerImage { node, ..image } }
            }
            10 => Self::MoveReplicas(from.list(read_move)?),
            11 => Self::SettleReplicas(read_move(from)?),
            kind => return Err(newer("command kind", kind, KIND_MAX)),
        })
    }
}

/// A version or kind above ours, or zero bytes where there should be one.
pub(super) const fn newer(what: &'static str, found: u8, known: u8) -> DecodeError {
    if found > known {
        DecodeError::Newer { what, found, known }
    } else {
        DecodeError::Impossible(what)
    }
}

fn read_new_topic(from: &mut Reader<'_>) -> Result<NewTopic, DecodeError> {
    Ok(NewTopic {
        name: from.topic_name()?,
        id: from.topic_id()?,
        partitions: read_replicas(from)?,
        overrides: from.values()?,
    })
}

fn write_new_topic(to: &mut Writer, topic: &NewTopic) {
    to.text(topic.name.as_str());
    to.topic_id(topic.id);
    write_replicas(to, &topic.partitions);
    to.values(&topic.overrides);
}

fn write_move(to: &mut Writer, one: &Move) {
    to.topic_id(one.topic);
    to.i32(one.partition.get());
    to.list(&one.wanted, |to, broker| to.broker(*broker));
}

fn read_move(from: &mut Reader<'_>) -> Result<Move, DecodeError> {
    Ok(Move {
        topic: from.topic_id()?,
        partition: PartitionId::new(from.i32()?),
        wanted: from.list(Reader::broker)?,
    })
}

fn write_registration(to: &mut Writer, broker: BrokerId, image: &BrokerImage) {
    to.broker(broker);
    write_broker(to, image);
    if let Some(node) = &image.node {
        write_node(to, node);
    }
}

/// Without its node, which older formats do not have.
pub(super) fn write_broker(to: &mut Writer, image: &BrokerImage) {
    to.list(&image.endpoints, |to, endpoint| {
        to.text(&endpoint.listener);
        to.text(&endpoint.host);
        to.u16(endpoint.port);
    });
    to.option(image.rack.as_deref(), Writer::text);
}

pub(super) fn read_broker(from: &mut Reader<'_>) -> Result<BrokerImage, DecodeError> {
    let endpoints = from.list(|from| {
        Ok(Endpoint {
            listener: from.text()?.to_owned(),
            host: from.text()?.to_owned(),
            port: from.u16()?,
        })
    })?;
    let rack = from.option(Reader::text)?.map(str::to_owned);
    Ok(BrokerImage { endpoints, rack, node: None })
}

pub(super) fn write_node(to: &mut Writer, node: &NodeImage) {
    to.uuid(node.directory_id);
    to.text(&node.host);
    to.u16(node.port);
}

pub(super) fn read_node(from: &mut Reader<'_>) -> Result<NodeImage, DecodeError> {
    Ok(NodeImage { directory_id: from.uuid()?, host: from.text()?.to_owned(), port: from.u16()? })
}

pub(super) fn write_replicas(to: &mut Writer, partitions: &[Vec<BrokerId>]) {
    to.list(partitions, |to, replicas| to.list(replicas, |to, broker| to.broker(*broker)));
}

pub(super) fn read_replicas(from: &mut Reader<'_>) -> Result<Vec<Vec<BrokerId>>, DecodeError> {
    from.list(|from| from.list(Reader::broker))
}

pub(super) fn write_scope(to: &mut Writer, scope: SettingsScope) {
    let broker = match scope {
        SettingsScope::AllBrokers => None,
        SettingsScope::Broker(broker) => Some(broker),
    };
    to.option(broker, Writer::broker);
}

pub(super) fn read_scope(from: &mut Reader<'_>) -> Result<SettingsScope, DecodeError> {
    let broker = from.option(Reader::broker)?;
    Ok(broker.map_or(SettingsScope::AllBrokers, SettingsScope::Broker))
}

pub(super) fn write_resource(to: &mut Writer, resource: &SettingsResource) {
    let (kind, name) = match resource {
        SettingsResource::Group(name) => (0, name),
        SettingsResource::ClientMetrics(name) => (1, name),
    };
    to.u8(kind);
    to.text(name);
}

pub(super) fn read_resource(from: &mut Reader<'_>) -> Result<SettingsResource, DecodeError> {
    let kind = from.u8()?;
    let name = from.text()?.to_owned();
    match kind {
        0 => Ok(SettingsResource::Group(name)),
        1 => Ok(SettingsResource::ClientMetrics(name)),
        kind => Err(newer("kind of resource", kind, 1)),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> TopicId {
        TopicId::new(Uuid::from_u128(number)).unwrap()
    }

    fn values(name: &str) -> Values {
        Values::from([(name.to_owned(), "1".to_owned()), ("empty".to_owned(), String::new())])
    }

    fn samples() -> Vec<Command> {
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "::1".into(), port: 65_535 };
        let image = BrokerImage { endpoints: vec![endpoint], rack: Some("r".into()), node: None };
        let node = NodeImage { directory_id: Uuid::from_u128(5), host: "h".into(), port: 65_535 };
        let reachable = BrokerImage { node: Some(node), ..image.clone() };
        let scope = SettingsScope::Broker(BrokerId::new(7));
        let (topic, partition) = (id(4), PartitionId::new(2));
        let moved = Move { topic, partition, wanted: vec![BrokerId::new(3), BrokerId::new(1)] };
        let partitions = vec![vec![BrokerId::new(1)], vec![BrokerId::new(1), BrokerId::new(2)]];
        vec![
            Command::RegisterBroker { broker: BrokerId::new(1), image },
            Command::RegisterBroker { broker: BrokerId::new(2), image: reachable },
            Command::SetFeature { name: "metadata".into(), level: 1 },
            Command::CreateTopics(vec![NewTopic {
                name: TopicName::new("t").unwrap(),
                id: id(1),
                partitions: partitions.clone(),
                overrides: values("retention.ms"),
            }]),
            Command::DeleteTopics(vec![id(1), id(u128::MAX)]),
            Command::CreatePartitions(vec![NewPartitions {
                topic: id(9),
                before: 3,
                added: partitions,
            }]),
            Command::SetTopicSettings { topic: id(3), before: Values::new(), after: values("a") },
            Command::SetBrokerSettings { scope, before: values("b"), after: Values::new() },
            Command::TakeProducerIds { count: 1000 },
            Command::MoveReplicas(vec![
                moved.clone(),
                Move { wanted: Vec::new(), ..moved.clone() },
            ]),
            Command::SettleReplicas(moved),
            Command::SetResourceSettings {
                resource: SettingsResource::Group("g".into()),
                before: Values::new(),
                after: values("c"),
            },
            Command::SetResourceSettings {
                resource: SettingsResource::ClientMetrics("m".into()),
                before: values("d"),
                after: Values::new(),
            },
        ]
    }

    #[test]
    fn every_command_survives_its_bytes_and_no_prefix_of_them_is_taken_for_one() {
        for command in samples() {
            let bytes = command.encode();
            assert_eq!(Command::decode(&bytes).unwrap(), command);
            for end in 0..bytes.len() {
                Command::decode(&bytes[..end]).expect_err("a cut command must not decode");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Command::decode(&longer), Err(DecodeError::Leftover(1)));
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_told_from_damage() {
        let newer = |bytes: &[u8]| matches!(Command::decode(bytes), Err(DecodeError::Newer { .. }));
        assert!(newer(&[2, 0]));
        assert!(newer(&[VERSION, KIND_MAX + 1]));
        assert!(!newer(&[0, 0]));
    }

    #[test]
    fn a_huge_count_is_refused_before_anything_is_allocated() {
        let bytes = [VERSION, 3, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Command::decode(&bytes), Err(DecodeError::Short));
    }

    /// These bytes stand in data directories: if this test fails, the format has changed.
    #[test]
    fn the_bytes_of_a_command_never_change() {
        let command = Command::CreateTopics(vec![NewTopic {
            name: TopicName::new("t").unwrap(),
            id: id(1),
            partitions: vec![vec![BrokerId::new(5)]],
            overrides: Values::new(),
        }]);
        let expected = [
            &[1, 2, 0, 0, 0, 1, 0, 0, 0, 1, b't'][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0],
        ];
        assert_eq!(command.encode(), expected.concat());
        let registered = [
            &[1, 0, 0, 0, 0, 2, 0, 0, 0, 1][..],
            &[0, 0, 0, 1, b'L', 0, 0, 0, 1, b'h', 0x23, 0x84, 0],
        ]
        .concat();
        let endpoint = Endpoint { listener: "L".into(), host: "h".into(), port: 0x2384 };
        let image = BrokerImage { endpoints: vec![endpoint], rack: None, node: None };
        let command = Command::RegisterBroker { broker: BrokerId::new(2), image: image.clone() };
        assert_eq!(Command::decode(&registered).unwrap(), command);
        assert_eq!(command.encode(), registered, "older programs read this");
        let node = NodeImage { directory_id: Uuid::from_u128(3), host: "n".into(), port: 0x23e8 };
        let image = BrokerImage { node: Some(node), ..image };
        let mut reachable = registered;
        reachable[1] = 9;
        reachable.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        reachable.extend([0, 0, 0, 1, b'n', 0x23, 0xe8]);
        let command = Command::RegisterBroker { broker: BrokerId::new(2), image };
        assert_eq!(command.encode(), reachable);
    }
}
