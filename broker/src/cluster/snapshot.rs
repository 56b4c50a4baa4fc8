//! The whole image as bytes, and back.
//!
//! ```text
//! u8 version │ u64 index │ brokers: list of (broker, endpoints, rack) │
//! topics: list of (name, id, list of replica lists, values) │ deleted topics: list of id │
//! broker settings: list of (option broker, values) │ features: list of (text, i16) │
//! i64 next producer id │ from version 2 on: list of (u8 0 group or 1 client metrics, name, values) │
//! from version 3 on: list of (broker, node), as `command.rs` writes a node │
//! from version 4 on: list of (id, i32 partition, list of wanted, list of other brokers)
//! ```
//! A version is written only where there is something to write at its end, so that older programs can
//! go on with what they know.
//! The file that carries these bytes has a checksum. A snapshot of a newer version is refused.

use std::sync::Arc;

use bytes::Bytes;
use protocol::topic::TopicId;
use protocol::types::{LogIndex, PartitionId};

use super::codec::{DecodeError, Reader, Writer};
use super::command::{
    newer, read_broker, read_node, read_replicas, read_resource, read_scope, write_broker,
    write_node, write_replicas, write_resource, write_scope,
};
use super::image::{Image, Moving, PartitionImage, TopicImage};

/// The newest version.
const VERSION: u8 = 4;
/// The first with settings of groups and subscriptions.
const RESOURCES_SINCE: u8 = 2;
/// The first that tells how nodes reach each other.
const NODES_SINCE: u8 = 3;
/// The first that tells whose replicas are being changed.
const MOVES_SINCE: u8 = 4;

/// Writes `image`.
pub(super) fn encode(image: &Image) -> Bytes {
    let mut to = Writer::default();
    let nodes = image.brokers.iter().filter_map(|(id, broker)| Some((id, broker.node.as_ref()?)));
    let nodes: Vec<_> = nodes.collect();
    let moves: Vec<_> = moves(image).collect();
    let version = if !moves.is_empty() {
        MOVES_SINCE
    } else if !nodes.is_empty() {
        NODES_SINCE
    } else if !image.resource_settings.is_empty() {
        RESOURCES_SINCE
    } else {
        RESOURCES_SINCE - 1
    };
    to.u8(version);
    to.u64(image.index.get());
    to.list(image.brokers.as_ref(), |to, (broker, image)| {
        to.broker(*broker);
        write_broker(to, image);
    });
    to.list(image.topics.values(), |to, topic| {
        to.text(topic.name.as_str());
        to.topic_id(topic.id);
        let replicas: Vec<_> = topic.partitions.iter().map(|p| p.replicas.clone()).collect();
        write_replicas(to, &replicas);
        to.values(&topic.overrides);
    });
    to.list(image.deleted_topics.as_ref(), |to, id| to.topic_id(*id));
    to.list(image.broker_settings.as_ref(), |to, (scope, values)| {
        write_scope(to, *scope);
        to.values(values);
    });
    to.list(image.features.as_ref(), |to, (name, level)| {
        to.text(name);
        to.i16(*level);
    });
    to.i64(image.next_producer_id);
    if version >= RESOURCES_SINCE {
        to.list(image.resource_settings.as_ref(), |to, (resource, values)| {
            write_resource(to, resource);
            to.values(values);
        });
    }
    if version >= NODES_SINCE {
        to.list(nodes, |to, (id, node)| {
            to.broker(*id);
            write_node(to, node);
        });
    }
    if version >= MOVES_SINCE {
        to.list(moves, |to, (topic, partition, moving)| {
            to.topic_id(topic);
            to.i32(partition.get());
            to.list(&moving.wanted, |to, broker| to.broker(*broker));
            to.list(&moving.others, |to, broker| to.broker(*broker));
        });
    }
    to.finish()
}

fn moves(image: &Image) -> impl Iterator<Item = (TopicId, PartitionId, &Moving)> {
    image.topics.values().flat_map(|topic| {
        topic.partitions.iter().filter_map(|partition| {
            Some((topic.id, partition.partition, partition.moving.as_deref()?))
        })
    })
}

fn restore_moves(image: &mut Image, from: &mut Reader<'_>) -> Result<(), DecodeError> {
    let read = |from: &mut Reader<'_>| {
        let (topic, partition) = (from.topic_id()?, from.i32()?);
        let (wanted, others) = (from.list(Reader::broker)?, from.list(Reader::broker)?);
        Ok((topic, partition, Moving { wanted, others }))
    };
    for (topic, partition, moving) in from.list(read)? {
        let impossible = || DecodeError::Impossible("a move of replicas");
        let name = image.topic_names.get(&topic).ok_or_else(impossible)?;
        let topics = Arc::make_mut(&mut image.topics);
        let topic = Arc::make_mut(topics.get_mut(name).ok_or_else(impossible)?);
        let index = usize::try_from(partition).ok();
        let found = index.and_then(|index| topic.partitions.get_mut(index));
        found.ok_or_else(impossible)?.moving = Some(Box::new(moving));
    }
    Ok(())
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`DecodeError::Newer`] for a snapshot of a newer version, the others for damage.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let mut from = Reader::new(bytes);
    let version = from.u8()?;
    if version == 0 || version > VERSION {
        return Err(newer("snapshot version", version, VERSION));
    }
    let index = LogIndex::new(from.u64()?);
    let brokers = from.list(|from| Ok((from.broker()?, read_broker(from)?)))?;
    let topics = from.list(read_topic)?;
    let mut image = Image {
        index,
        brokers: Arc::new(brokers.into_iter().collect()),
        topic_names: Arc::new(topics.iter().map(|topic| (topic.id, topic.name.clone())).collect()),
        topics: Arc::new(topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect()),
        deleted_topics: Arc::new(from.list(Reader::topic_id)?),
        broker_settings: Arc::new(
            from.list(|from| Ok((read_scope(from)?, from.values()?)))?.into_iter().collect(),
        ),
        features: Arc::new(
            from.list(|from| Ok((from.text()?.to_owned(), from.i16()?)))?.into_iter().collect(),
        ),
        next_producer_id: from.i64()?,
        resource_settings: Arc::default(),
    };
    if version >= RESOURCES_SINCE {
        let resources = from.list(|from| Ok((read_resource(from)?, from.values()?)))?;
        image.resource_settings = Arc::new(resources.into_iter().collect());
    }
    if version >= NODES_SINCE {
        let brokers = Arc::make_mut(&mut image.brokers);
        for (id, node) in from.list(|from| Ok((from.broker()?, read_node(from)?)))? {
            let broker = brokers.get_mut(&id).ok_or(DecodeError::Impossible("node"))?;
            broker.node = Some(node);
        }
    }
    if version >= MOVES_SINCE {
        restore_moves(&mut image, &mut from)?;
    }
    from.finish()?;
    Ok(image)
}

fn read_topic(from: &mut Reader<'_>) -> Result<Arc<TopicImage>, DecodeError> {
    Ok(Arc::new(TopicImage {
        name: from.topic_name()?,
        id: from.topic_id()?,
        partitions: partitions(0, read_replicas(from)?),
        overrides: from.values()?,
    }))
}

/// Partitions with these replicas, counted from `first`.
pub(super) fn partitions(
    first: i32,
    replicas: Vec<Vec<protocol::types::BrokerId>>,
) -> Vec<PartitionImage> {
    let numbered = (first..).map(PartitionId::new).zip(replicas);
    numbered
        .map(|(partition, replicas)| PartitionImage { partition, replicas, moving: None })
        .collect()
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;
    use uuid::Uuid;

    use super::*;
    use crate::cluster::image::{BrokerImage, NodeImage, SettingsResource};
    use crate::settings::Values;

    #[test]
    fn what_older_programs_do_not_know_raises_the_version_and_survives() {
        let mut image = Image { index: LogIndex::new(7), ..Image::default() };
        let bytes = encode(&image);
        assert_eq!((bytes[0], decode(&bytes)), (1, Ok(image.clone())), "older programs read this");
        let values = Values::from([("consumer.session.timeout.ms".to_owned(), "50000".to_owned())]);
        let all = Arc::make_mut(&mut image.resource_settings);
        all.insert(SettingsResource::Group("g".to_owned()), values.clone());
        all.insert(SettingsResource::ClientMetrics("g".to_owned()), values);
        let bytes = encode(&image);
        assert_eq!((bytes[0], decode(&bytes)), (2, Ok(image.clone())));
        let node = NodeImage { directory_id: Uuid::from_u128(7), host: "h".to_owned(), port: 9 };
        let broker = |node| BrokerImage { endpoints: Vec::new(), rack: None, node };
        let brokers = Arc::make_mut(&mut image.brokers);
        brokers.insert(BrokerId::new(1), broker(None));
        brokers.insert(BrokerId::new(2), broker(Some(node)));
        let bytes = encode(&image);
        assert_eq!((bytes[0], decode(&bytes)), (3, Ok(image)));
        for end in 0..bytes.len() {
            decode(&bytes[..end]).expect_err("a cut snapshot must not decode");
        }
        assert!(matches!(decode(&[VERSION + 1]), Err(DecodeError::Newer { .. })));
    }
}
