//! Changes of the metadata, as handlers ask for them: checked against the newest image, proposed to
//! the metadata group, answered with what the state machine decided.
//!
//! A check here is for a good answer; the state machine decides, since another change may come first.

mod alter;
mod resources;
mod topics;

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, LogIndex, PartitionId};
use raft::replicated_state::ReplicatedState;
use tokio::sync::watch;
use uuid::Uuid;

use super::command::{Command, NewPartitions, NewTopic};
use super::error::ChangeError;
use super::image::{BrokerImage, Image, SettingsResource, SettingsScope};
use super::moves::Move;
use super::outcome::{Effect, Outcome, Refusal};
use crate::settings::{BrokerSettings, Values};

pub(crate) use alter::{SettingChange, SettingOperation};
pub(crate) use topics::{Growth, Layout, TopicSpec};

/// A change of settings that others keep overtaking is given up after so many tries.
const TRIES_MAX: usize = 16;

/// Makes changes. One per broker.
#[derive(Debug)]
pub(crate) struct Controller {
    group: ReplicatedState,
    images: watch::Receiver<Arc<Image>>,
    settings: Arc<BrokerSettings>,
}

/// A change that was made, item by item.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    /// An image of this index or above has it.
    pub(crate) index: LogIndex,
    /// In the order of the request.
    pub(crate) items: Vec<Result<T, ChangeError>>,
}

impl Controller {
    pub(super) const fn new(
        group: ReplicatedState,
        images: watch::Receiver<Arc<Image>>,
        settings: Arc<BrokerSettings>,
    ) -> Self {
        Self { group, images, settings }
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.images.borrow().clone()
    }

    pub(super) async fn propose(&self, command: Command) -> Result<Outcome, ChangeError> {
        let answer = self.group.propose(command.encode()).await?;
        let outcome = Outcome::decode(&answer).map_err(ChangeError::Unclear)?;
        match outcome.effect {
            Effect::Unreadable => Err(ChangeError::Halted),
            Effect::Refused(refusal) => Err(refusal.into()),
            Effect::Done | Effect::Each(_) | Effect::ProducerIds { .. } => Ok(outcome),
        }
    }

    /// Proposes a command of many items and pairs the answers with `items`. Items that are errors
    /// already stay so; without a good one nothing is proposed.
    async fn propose_each<T>(
        &self,
        items: Vec<Result<T, ChangeError>>,
        command: impl FnOnce(&[&T]) -> Command,
    ) -> Changed<T> {
        let good: Vec<&T> = items.iter().flatten().collect();
        if good.is_empty() {
            return Changed { index: LogIndex::default(), items };
        }
        let command = command(&good);
        let outcome = self.propose(command).await;
        let (index, mut answers) = match outcome {
            Ok(Outcome { index, effect: Effect::Each(answers) }) => {
                (index, Ok(answers.into_iter()))
            }
            // No other effect belongs to a command of many items.
            Ok(Outcome { index, effect: _ }) => (index, Err(ChangeError::Halted)),
            Err(error) => (LogIndex::default(), Err(error)),
        };
        let mut answer = |item| match &mut answers {
            Ok(answers) => match answers.next() {
                Some(Ok(())) => Ok(item),
                Some(Err(refusal)) => Err(refusal.into()),
                None => Err(ChangeError::Halted),
            },
            Err(error) => Err(error.clone()),
        };
        Changed { index, items: items.into_iter().map(|item| item.and_then(&mut answer)).collect() }
    }

    /// What each of `specs` would become; the check behind `validate_only`.
    pub(crate) fn plan_topics(
        &self,
        specs: Vec<Result<TopicSpec, ChangeError>>,
    ) -> Vec<Result<PlannedTopic, ChangeError>> {
        topics::plan(&self.image(), &self.settings, specs, random_topic_id)
    }

    /// Creates topics.
    pub(crate) async fn create_topics(
        &self,
        planned: Vec<Result<PlannedTopic, ChangeError>>,
    ) -> Changed<PlannedTopic> {
        for two in planned.iter().flatten().filter(|topic| topic.replica_count() == 2) {
            tracing::warn!(topic = %two.0.name,
                "a topic with two replicas takes records only while both of them work");
        }
        let command = |good: &[&PlannedTopic]| {
            Command::CreateTopics(good.iter().map(|topic| topic.0.clone()).collect())
        };
        self.propose_each(planned, command).await
    }

    /// Deletes topics.
    pub(crate) async fn delete_topics(
        &self,
        topics: Vec<Result<TopicId, ChangeError>>,
    ) -> Changed<TopicId> {
        let command =
            |good: &[&TopicId]| Command::DeleteTopics(good.iter().map(|id| **id).collect());
        self.propose_each(topics, command).await
    }

    /// What growing each topic would do; the check behind `validate_only`.
    pub(crate) fn plan_growth(
        &self,
        growths: Vec<Result<Growth, ChangeError>>,
    ) -> Vec<Result<PlannedGrowth, ChangeError>> {
        topics::plan_growth(&self.image(), growths)
    }

    /// Adds partitions to topics.
    pub(crate) async fn grow_topics(
        &self,
        planned: Vec<Result<PlannedGrowth, ChangeError>>,
    ) -> Changed<PlannedGrowth> {
        let command = |good: &[&PlannedGrowth]| {
            Command::CreatePartitions(good.iter().map(|growth| growth.0.clone()).collect())
        };
        self.propose_each(planned, command).await
    }

    /// Notes which replicas partitions are to have.
    pub(crate) async fn move_replicas(
        &self,
        moves: Vec<Result<Move, ChangeError>>,
    ) -> Changed<Move> {
        let command =
            |good: &[&Move]| Command::MoveReplicas(good.iter().map(|one| (*one).clone()).collect());
        self.propose_each(moves, command).await
    }

    /// Notes that a partition has the replicas that were wanted.
    ///
    /// # Errors
    /// [`Refusal::Changed`] if others are wanted by now.
    pub(super) async fn settle_replicas(
        &self,
        topic: TopicId,
        partition: PartitionId,
        wanted: Vec<BrokerId>,
    ) -> Result<(), ChangeError> {
        let settled = Move { topic, partition, wanted };
        self.propose(Command::SettleReplicas(settled)).await.map(drop)
    }

    /// Changes a topic's overrides: all of `changes` or nothing. Returns the new index.
    ///
    /// # Errors
    /// [`ChangeError`] says which change is illegal, or that the topic is unknown.
    pub(crate) async fn alter_topic(
        &self,
        name: &TopicName,
        changes: &SettingChange,
        apply: bool,
    ) -> Result<(), ChangeError> {
        for _ in 0..TRIES_MAX {
            let image = self.image();
            let topic = image.topics.get(name).ok_or(Refusal::UnknownTopic)?;
            let before = topic.overrides.clone();
            let after = alter::topic(&before, changes)?;
            if !apply || before == after {
                return Ok(());
            }
            let command = Command::SetTopicSettings { topic: topic.id, before, after };
            if let Some(answer) = settled(self.propose(command).await) {
                return answer;
            }
        }
        Err(Refusal::Changed.into())
    }

    /// Changes broker settings that may change at run time: all of `changes` or nothing.
    ///
    /// # Errors
    /// [`ChangeError`] says which change is illegal.
    pub(crate) async fn alter_broker(
        &self,
        scope: SettingsScope,
        changes: &SettingChange,
        apply: bool,
    ) -> Result<(), ChangeError> {
        for _ in 0..TRIES_MAX {
            let before = self.image().broker_settings.get(&scope).cloned().unwrap_or_default();
            let after = alter::broker(scope, &before, changes, &self.settings)?;
            if !apply || before == after {
                return Ok(());
            }
            let command = Command::SetBrokerSettings { scope, before, after };
            if let Some(answer) = settled(self.propose(command).await) {
                return answer;
            }
        }
        Err(Refusal::Changed.into())
    }

    /// Changes the settings of a group or a subscription: all of `changes` or nothing. `here` is the
    /// broker whose bounds a group must keep to.
    ///
    /// # Errors
    /// [`ChangeError`] says which change is illegal.
    pub(crate) async fn alter_resource(
        &self,
        resource: &SettingsResource,
        here: BrokerId,
        changes: &SettingChange,
        apply: bool,
    ) -> Result<(), ChangeError> {
        for _ in 0..TRIES_MAX {
            let image = self.image();
            let before = image.settings_of(resource).clone();
            let broker =
                resources::Bounds { dynamic: image.dynamic_settings(here), given: &self.settings };
            let after = resources::next(resource, &before, changes, &broker)?;
            resources::check_room(&image, resource, &after)?;
            if !apply || before == after {
                return Ok(());
            }
            let resource = resource.clone();
            let command = Command::SetResourceSettings { resource, before, after };
            if let Some(answer) = settled(self.propose(command).await) {
                return answer;
            }
        }
        Err(Refusal::Changed.into())
    }

    /// Tells the cluster where `broker` is, unless it knows.
    pub(crate) async fn register(
        &self,
        broker: BrokerId,
        image: BrokerImage,
    ) -> Result<(), ChangeError> {
        if self.image().brokers.get(&broker) == Some(&image) {
            return Ok(());
        }
        self.propose(Command::RegisterBroker { broker, image }).await.map(drop)
    }
}

/// The end of a change of settings, or `None` if another came first and it must be tried again.
fn settled(answer: Result<Outcome, ChangeError>) -> Option<Result<(), ChangeError>> {
    match answer {
        Err(ChangeError::Refused(Refusal::Changed)) => None,
        other => Some(other.map(drop)),
    }
}

/// A topic that may be created: checked, placed, with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedTopic(NewTopic);

impl PlannedTopic {
    /// Its id, if it is created.
    pub(crate) const fn id(&self) -> TopicId {
        self.0.id
    }

    /// How many partitions it has.
    pub(crate) const fn partition_count(&self) -> usize {
        self.0.partitions.len()
    }

    /// How many replicas each partition has.
    pub(crate) fn replica_count(&self) -> usize {
        self.0.partitions.first().map_or(0, Vec::len)
    }

    /// Its overrides.
    pub(crate) const fn overrides(&self) -> &Values {
        &self.0.overrides
    }
}

/// A topic that may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedGrowth(NewPartitions);

/// An id for a new topic. Kafka's tools take a leading '-' in its text for an option, so that none
/// has one; ids 0 and 1 are reserved.
fn random_topic_id() -> TopicId {
    const DASH: u8 = 62;
    loop {
        let id = Uuid::new_v4();
        let first_digit = id.as_bytes()[0] >> 2;
        if first_digit != DASH
            && let Some(id) = TopicId::new(id)
        {
            return id;
        }
    }
}

/// Names that stand more than once in `names`.
pub(crate) fn duplicates<T: Ord + Clone>(names: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(name.clone())).collect()
}
