//! Server-side assignors (KIP-848): who of a group's members shall have which partitions. Pure, and the
//! same for the same input.
//!
//! Whatever the assignor, each partition of each topic that somebody subscribes to goes to exactly one
//! of its subscribers.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// Partitions by topic. No topic stands without partitions.
pub(crate) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// How many partitions each topic has.
pub(crate) type PartitionCounts = BTreeMap<Uuid, i32>;

/// One of `group.consumer.assignors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    /// As even as can be, and moves as little as can be.
    Uniform,
    /// Ranges of partitions, the same ones of each topic to the same member.
    Range,
}

/// A member as an assignor sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    /// Only topics that exist: all of them have their count.
    pub(crate) topics: &'a BTreeSet<Uuid>,
    /// What it was meant to have before.
    pub(crate) before: &'a Partitions,
}

impl Assignor {
    /// All of them, the default first.
    pub(crate) const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// The name in requests, settings and descriptions.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each subscriber shall have, in the subscribers' order.
    pub(crate) fn assign(
        self,
        subscribers: &[Subscriber<'_>],
        counts: &PartitionCounts,
    ) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(subscribers, counts),
            Self::Range => range::assign(subscribers, counts),
        }
    }
}

/// Indexes of the subscribers of each topic, in their order.
fn subscribers_by_topic(subscribers: &[Subscriber<'_>]) -> BTreeMap<Uuid, Vec<usize>> {
    let mut by_topic: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (index, subscriber) in subscribers.iter().enumerate() {
        for topic_id in subscriber.topics {
            by_topic.entry(*topic_id).or_default().push(index);
        }
    }
    by_topic
}

#[cfg(test)]
mod tests;
