//! How a command changes the image. Pure and deterministic: the same commands in the same order make
//! the same image on every broker, so nothing here reads a clock, a random number or a setting.
//!
//! A command that cannot be read halts the state machine: the image stays as it was and no snapshot
//! is made any more, since going on without the command would let this broker's image differ from
//! the others'. A broker that finds itself halted does not start.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::topic::TopicId;
use protocol::types::{LogIndex, PartitionId};
use raft::replicated_state::StateMachine;
use tokio::sync::watch;

use super::codec::DecodeError;
use super::command::{Command, NewPartitions, NewTopic};
use super::image::{Image, PartitionImage, TopicImage};
use super::moves::Move;
use super::outcome::{Effect, Outcome, Refusal};
use super::snapshot;
use crate::settings::Values;

/// How many deleted topics are remembered, so that logs that a stopped broker missed to delete are
/// recognised when it comes back. Beyond this they are set aside as strays instead.
const DELETED_TOPICS_MAX: usize = 10_000;

/// The state behind the metadata group.
#[derive(Debug)]
pub(super) struct Metadata {
    image: Image,
    halted: Option<DecodeError>,
    /// Where each new image goes. `None` while old commands are applied again at start: publishing
    /// costs a copy of what the next command changes.
    publish: Option<watch::Sender<Arc<Image>>>,
}

impl Metadata {
    pub(super) fn new() -> Self {
        Self { image: Image::default(), halted: None, publish: None }
    }

    /// Publishes this and every later image.
    ///
    /// # Errors
    /// Why the state machine has halted.
    pub(super) fn subscribe(&mut self) -> Result<watch::Receiver<Arc<Image>>, DecodeError> {
        if let Some(halted) = &self.halted {
            return Err(halted.clone());
        }
        let (sender, receiver) = watch::channel(Arc::new(self.image.clone()));
        self.publish = Some(sender);
        Ok(receiver)
    }

    fn apply(&mut self, index: LogIndex, command: &[u8]) -> Outcome {
        let effect = match (&self.halted, Command::decode(command)) {
            (None, Ok(command)) => {
                let effect = apply(&mut self.image, command);
                self.image.index = index;
                self.publish();
                effect
            }
            (Some(_), _) => Effect::Unreadable,
            (None, Err(error)) => {
                tracing::error!(%index, %error, "a metadata command cannot be read");
                self.halted = Some(error);
                Effect::Unreadable
            }
        };
        Outcome { index, effect }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.image = snapshot::decode(bytes)?;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        if let Some(publish) = &self.publish {
            publish.send_replace(Arc::new(self.image.clone()));
        }
    }
}

/// The state as the metadata group sees it. Shared with the [`super::Cluster`], which subscribes.
#[derive(Debug, Clone)]
pub(super) struct SharedMetadata(pub(super) Arc<Mutex<Metadata>>);

impl StateMachine for SharedMetadata {
    fn apply(&mut self, index: LogIndex, command: &[u8]) -> Bytes {
        self.0.lock().apply(index, command).encode()
    }

    fn snapshot(&self) -> Bytes {
        let metadata = self.0.lock();
        assert!(metadata.halted.is_none(), "a halted state machine has no state to keep");
        snapshot::encode(&metadata.image)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0.lock().restore(snapshot).map_err(|error| error.to_string())
    }
}

/// Applies one command.
fn apply(image: &mut Image, command: Command) -> Effect {
    match command {
        Command::RegisterBroker { broker, image: registered } => {
            Arc::make_mut(&mut image.brokers).insert(broker, registered);
            Effect::Done
        }
        Command::SetFeature { name, level } => {
            Arc::make_mut(&mut image.features).insert(name, level);
            Effect::Done
        }
        Command::CreateTopics(topics) => {
            Effect::Each(topics.into_iter().map(|topic| create_topic(image, topic)).collect())
        }
        Command::DeleteTopics(topics) => {
            Effect::Each(topics.into_iter().map(|topic| delete_topic(image, topic)).collect())
        }
        Command::CreatePartitions(topics) => {
            Effect::Each(topics.into_iter().map(|topic| grow_topic(image, topic)).collect())
        }
        Command::MoveReplicas(moves) => {
            let moved = moves.into_iter().map(|one| {
                with_partition(image, one.topic, one.partition, |partition| {
                    partition.want(one.wanted);
                    Ok(())
                })
            });
            Effect::Each(moved.collect())
        }
        Command::SettleReplicas(Move { topic, partition, wanted }) => {
            effect(with_partition(image, topic, partition, |partition| {
                partition.settle(wanted).then_some(()).ok_or(Refusal::Changed)
            }))
        }
        Command::SetTopicSettings { topic, before, after } => {
            effect(with_topic(image, topic, |topic| {
                if topic.overrides != before {
                    return Err(Refusal::Changed);
                }
                topic.overrides = after;
                Ok(())
            }))
        }
        Command::SetBrokerSettings { scope, before, after } => {
            let all = Arc::make_mut(&mut image.broker_settings);
            effect(replace(all, scope, &before, after))
        }
        Command::SetResourceSettings { resource, before, after } => {
            let all = Arc::make_mut(&mut image.resource_settings);
            effect(replace(all, resource, &before, after))
        }
        Command::TakeProducerIds { count } => {
            let first = image.next_producer_id;
            match first.checked_add(count) {
                Some(next) if count > 0 => {
                    image.next_producer_id = next;
                    Effect::ProducerIds { first }
                }
                Some(_) | None => Effect::Refused(Refusal::Exhausted),
            }
        }
    }
}

/// Values that become empty leave the map.
fn replace<K: Ord>(
    all: &mut BTreeMap<K, Values>,
    key: K,
    before: &Values,
    after: Values,
) -> Result<(), Refusal> {
    if all.get(&key).unwrap_or(&Values::new()) != before {
        return Err(Refusal::Changed);
    }
    if after.is_empty() {
        all.remove(&key);
    } else {
        all.insert(key, after);
    }
    Ok(())
}

fn effect(result: Result<(), Refusal>) -> Effect {
    result.map_or_else(Effect::Refused, |()| Effect::Done)
}

fn create_topic(image: &mut Image, new: NewTopic) -> Result<(), Refusal> {
    // The same id twice would be the same command twice.
    if image.topics.contains_key(&new.name) || image.topic_names.contains_key(&new.id) {
        return Err(Refusal::TopicExists);
    }
    if image.colliding(&new.name).is_some() {
        return Err(Refusal::NameCollides);
    }
    let topic = TopicImage {
        name: new.name.clone(),
        id: new.id,
        partitions: snapshot::partitions(0, new.partitions),
        overrides: new.overrides,
    };
    Arc::make_mut(&mut image.topic_names).insert(new.id, new.name.clone());
    Arc::make_mut(&mut image.topics).insert(new.name, Arc::new(topic));
    Ok(())
}

fn delete_topic(image: &mut Image, id: TopicId) -> Result<(), Refusal> {
    let name = Arc::make_mut(&mut image.topic_names).remove(&id).ok_or(Refusal::UnknownTopic)?;
    let removed = Arc::make_mut(&mut image.topics).remove(&name);
    assert!(removed.is_some(), "both maps of the image hold the same topics");
    let deleted = Arc::make_mut(&mut image.deleted_topics);
    if deleted.len() >= DELETED_TOPICS_MAX {
        // A tenth at once, so that the vector is seldom moved.
        deleted.drain(..DELETED_TOPICS_MAX / 10);
    }
    deleted.push(id);
    Ok(())
}

fn grow_topic(image: &mut Image, new: NewPartitions) -> Result<(), Refusal> {
    with_topic(image, new.topic, |topic| {
        if i32::try_from(topic.partitions.len()) != Ok(new.before) {
            return Err(Refusal::Changed);
        }
        topic.partitions.extend(snapshot::partitions(new.before, new.added));
        Ok(())
    })
}

fn with_partition(
    image: &mut Image,
    topic: TopicId,
    partition: PartitionId,
    change: impl FnOnce(&mut PartitionImage) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    with_topic(image, topic, |topic| {
        let index = usize::try_from(partition.get()).ok();
        let found = index.and_then(|index| topic.partitions.get_mut(index));
        change(found.ok_or(Refusal::UnknownTopic)?)
    })
}

fn with_topic(
    image: &mut Image,
    id: TopicId,
    change: impl FnOnce(&mut TopicImage) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let name = image.topic_names.get(&id).ok_or(Refusal::UnknownTopic)?;
    let topic = Arc::make_mut(&mut image.topics).get_mut(name);
    change(Arc::make_mut(topic.expect("both maps of the image hold the same topics")))
}

#[cfg(test)]
mod tests;
