//! The whole image as bytes, and back.
//!
//! ```text
//! u8 version (1) │ u64 index │ brokers: list of (broker, endpoints, rack) │
//! topics: list of (name, id, list of replica lists, values) │ deleted topics: list of id │
//! broker settings: list of (option broker, values) │ features: list of (text, i16) │
//! i64 next producer id
//! ```
//! The file that carries these bytes has a checksum. A snapshot of a newer version is refused.

use std::sync::Arc;

use bytes::Bytes;
use protocol::types::{LogIndex, PartitionId};

use super::codec::{DecodeError, Reader, Writer};
use super::command::{
    newer, read_broker, read_replicas, read_scope, write_broker, write_replicas, write_scope,
};
use super::image::{Image, PartitionImage, TopicImage};

const VERSION: u8 = 1;

/// Writes `image`.
pub(super) fn encode(image: &Image) -> Bytes {
    let mut to = Writer::default();
    to.u8(VERSION);
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
    to.finish()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`DecodeError::Newer`] for a snapshot of a newer version, the others for damage.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, DecodeError> {
    let mut from = Reader::new(bytes);
    let version = from.u8()?;
    if version != VERSION {
        return Err(newer("snapshot version", version, VERSION));
    }
    let index = LogIndex::new(from.u64()?);
    let brokers = from.list(|from| Ok((from.broker()?, read_broker(from)?)))?;
    let topics = from.list(read_topic)?;
    let image = Image {
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
    };
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
    numbered.map(|(partition, replicas)| PartitionImage { partition, replicas }).collect()
}
