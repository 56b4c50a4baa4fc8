//! A member of a consumer group: what it has told, and what it owns. Each half is one record of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::group_record::{
    CurrentAssignment, Member as Told, OwnedPartition, OwnedPartitions, TopicPartitions,
};
use uuid::Uuid;

use crate::groups::assignor::Partitions;

/// Partitions that a member owns, with the member epoch that they were given with. No topic stands
/// without partitions.
pub(crate) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How far a member is on its way to what it is meant to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It owns that.
    Stable,
    /// It must give partitions up first.
    Unrevoked,
    /// It waits for partitions that others have not given up.
    Unreleased,
    /// What a later version of Kafka wrote.
    Unknown(i8),
}

/// What a member has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Current {
    /// The epoch that it must send; -1 before its first, -2 of a static member that is away.
    pub(crate) epoch: i32,
    /// The one before.
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) owned: Owned,
    /// What it still owns and must give up.
    pub(crate) revoking: Owned,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) told: Told,
    pub(crate) current: Current,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            owned: Owned::new(),
            revoking: Owned::new(),
        }
    }
}

impl Default for Member {
    fn default() -> Self {
        let told = Told {
            instance_id: None,
            rack_id: None,
            client_id: Arc::from(""),
            client_host: Arc::from(""),
            topics: Vec::new(),
            topics_regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        };
        Self { told, current: Current::default() }
    }
}

impl Member {
    /// Whether it speaks the classic protocol.
    pub(crate) const fn is_classic(&self) -> bool {
        self.told.classic.is_some()
    }

    /// The regular expression that it subscribes with, if any.
    pub(crate) fn regex(&self) -> Option<&Arc<str>> {
        self.told.topics_regex.as_ref().filter(|regex| !regex.is_empty())
    }

    /// Whether it has what was meant for it in `target_epoch`.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == target_epoch
    }

    /// Everything that nobody else may have: what it owns, and what it has not given up yet.
    pub(crate) fn holds(&self) -> impl Iterator<Item = (Uuid, i32)> {
        [&self.current.owned, &self.current.revoking].into_iter().flat_map(each)
    }

    /// What it owns, without epochs.
    pub(crate) fn shares(&self) -> Partitions {
        let topics = self.current.owned.iter();
        topics.map(|(id, partitions)| (*id, partitions.keys().copied().collect())).collect()
    }

    /// Since which epoch it has a partition.
    pub(crate) fn holds_since(&self, topic_id: Uuid, partition: i32) -> Option<i32> {
        let find = |owned: &Owned| owned.get(&topic_id)?.get(&partition).copied();
        find(&self.current.owned).or_else(|| find(&self.current.revoking))
    }
}

/// The partitions one by one.
pub(crate) fn each(owned: &Owned) -> impl Iterator<Item = (Uuid, i32)> {
    owned.iter().flat_map(|(topic_id, partitions)| {
        partitions.keys().map(|partition| (*topic_id, *partition))
    })
}

impl From<CurrentAssignment> for Current {
    fn from(record: CurrentAssignment) -> Self {
        Self {
            epoch: record.member_epoch,
            previous_epoch: record.previous_epoch,
            state: match record.state {
                0 => MemberState::Stable,
                1 => MemberState::Unrevoked,
                2 => MemberState::Unreleased,
                other => MemberState::Unknown(other),
            },
            owned: from_owned(record.assigned),
            revoking: from_owned(record.pending_revocation),
        }
    }
}

impl From<&Current> for CurrentAssignment {
    fn from(current: &Current) -> Self {
        Self {
            member_epoch: current.epoch,
            previous_epoch: current.previous_epoch,
            state: match current.state {
                MemberState::Stable => 0,
                MemberState::Unrevoked => 1,
                MemberState::Unreleased => 2,
                MemberState::Unknown(other) => other,
            },
            assigned: to_owned(&current.owned),
            pending_revocation: to_owned(&current.revoking),
        }
    }
}

fn from_owned(topics: Vec<OwnedPartitions>) -> Owned {
    let mut owned = Owned::new();
    for topic in topics {
        let partitions = topic.partitions.iter().map(|it| (it.partition, it.since_epoch));
        owned.entry(topic.topic_id).or_default().extend(partitions);
    }
    owned.retain(|_, partitions| !partitions.is_empty());
    owned
}

fn to_owned(owned: &Owned) -> Vec<OwnedPartitions> {
    let partition = |(partition, since_epoch): (&i32, &i32)| OwnedPartition {
        partition: *partition,
        since_epoch: *since_epoch,
    };
    let topics = owned.iter().map(|(topic_id, partitions)| OwnedPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().map(partition).collect(),
    });
    topics.collect()
}

/// A target as the log has it.
pub(crate) fn to_topics(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topics = partitions.iter().map(|(topic_id, partitions)| TopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    });
    topics.collect()
}

/// Partitions that a record or a request lists.
pub(crate) fn from_topics(topics: impl IntoIterator<Item = TopicPartitions>) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in topics {
        partitions.entry(topic.topic_id).or_default().extend(topic.partitions);
    }
    partitions.retain(|_, partitions: &mut BTreeSet<i32>| !partitions.is_empty());
    partitions
}
