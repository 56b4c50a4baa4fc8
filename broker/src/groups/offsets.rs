//! What one group has committed. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::group_record::{CommittedOffset, GroupRecord, OffsetKey};

/// Committed offsets by topic and partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct GroupOffsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    /// Of all topics together.
    count: usize,
    /// What the log still holds of topics that were deleted. Nobody is shown it any more.
    orphaned: BTreeSet<(Arc<str>, i32)>,
}

impl GroupOffsets {
    /// Whether there are none, nor any that the log is to forget.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.orphaned.is_empty()
    }

    /// For how many partitions there are any.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The same, with what the log is to forget.
    pub(crate) fn len_in_log(&self) -> usize {
        self.count + self.orphaned.len()
    }

    /// Takes what a record of the log says; `None` forgets.
    pub(crate) fn apply(&mut self, key: &OffsetKey, value: Option<CommittedOffset>) {
        if !self.orphaned.is_empty() {
            self.orphaned.remove(&(Arc::clone(&key.topic), key.partition));
        }
        match value {
            Some(value) => {
                let topic = match self.topics.get_mut(&key.topic) {
                    Some(topic) => topic,
                    None => self.topics.entry(Arc::clone(&key.topic)).or_default(),
                };
                self.count += usize::from(topic.insert(key.partition, value).is_none());
            }
            None => {
                let Some(topic) = self.topics.get_mut(&key.topic) else { return };
                self.count -= usize::from(topic.remove(&key.partition).is_some());
                if topic.is_empty() {
                    self.topics.remove(&key.topic);
                }
            }
        }
    }

    /// The topics in which `is_gone` finds another than was committed to, or none, are read anew: what
    /// was committed is not told any more, and left to be forgotten.
    pub(crate) fn orphan(&mut self, is_gone: impl Fn(&str) -> bool) {
        for (topic, partitions) in self.topics.extract_if(.., |topic, _| is_gone(topic)) {
            self.count -= partitions.len();
            let partitions = partitions.into_keys();
            self.orphaned.extend(partitions.map(|partition| (Arc::clone(&topic), partition)));
        }
    }

    /// What is committed for a partition.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// All of them, by topic.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = (i32, &CommittedOffset)>)> {
        self.topics.iter().map(|(topic, partitions)| {
            (topic, partitions.iter().map(|(partition, value)| (*partition, value)))
        })
    }

    /// Tombstones for all that `is_meant` names, and for what is left of deleted topics.
    pub(crate) fn forget(
        &self,
        group: &Arc<str>,
        is_meant: impl Fn(&str, i32, &CommittedOffset) -> bool,
    ) -> Vec<GroupRecord> {
        let tombstone = |topic: &Arc<str>, partition| {
            let (group, topic) = (Arc::clone(group), Arc::clone(topic));
            GroupRecord::Offset(OffsetKey { group, topic, partition }, None)
        };
        let orphaned = self.orphaned.iter().map(|(topic, partition)| tombstone(topic, *partition));
        let mut records: Vec<_> = orphaned.collect();
        for (topic, partitions) in &self.topics {
            for (partition, value) in partitions {
                if is_meant(topic, *partition, value) {
                    records.push(tombstone(topic, *partition));
                }
            }
        }
        records
    }
}

/// When a commit of a group expires (KIP-211).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expiry {
    /// The wall clock; milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// `offsets.retention.minutes`, in milliseconds.
    pub(crate) retention_ms: i64,
    /// Whether the group has members.
    pub(crate) has_members: bool,
    /// Since when it is in its state; `None` if it never had members.
    pub(crate) empty_since_ms: Option<i64>,
}

impl Expiry {
    /// When `value` has had its time; milliseconds since 1970. Without members a commit counts from
    /// the moment that the last of them left, or from itself if that is later. With members, for the
    /// topics that they no longer read, from itself.
    pub(crate) fn over_at(&self, value: &CommittedOffset) -> i64 {
        value.expires_at.unwrap_or_else(|| {
            let empty_since = self.empty_since_ms.filter(|_| !self.has_members).unwrap_or(0);
            empty_since.max(value.committed_at).saturating_add(self.retention_ms)
        })
    }

    /// Whether `value` has had its time.
    pub(crate) fn is_over(&self, value: &CommittedOffset) -> bool {
        self.over_at(value) <= self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64, committed_at: i64) -> CommittedOffset {
        let metadata = Arc::from("");
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata,
            committed_at,
            expires_at: None,
            topic_id: None,
        }
    }

    fn key(topic: &str, partition: i32) -> OffsetKey {
        OffsetKey { group: Arc::from("g"), topic: Arc::from(topic), partition }
    }

    #[test]
    fn the_last_commit_counts_and_a_tombstone_forgets() {
        let mut offsets = GroupOffsets::default();
        offsets.apply(&key("t", 1), Some(committed(5, 0)));
        offsets.apply(&key("t", 1), Some(committed(9, 0)));
        offsets.apply(&key("t", 2), Some(committed(1, 0)));
        assert_eq!(offsets.get("t", 1).unwrap().offset, 9);
        offsets.apply(&key("t", 1), None);
        offsets.apply(&key("u", 1), None);
        assert_eq!(offsets.get("t", 1), None);
        let group = Arc::from("g");
        for record in offsets.forget(&group, |_, _, _| true) {
            let GroupRecord::Offset(key, value) = record else { panic!("{record:?}") };
            offsets.apply(&key, value);
        }
        assert!(offsets.is_empty());
    }

    #[test]
    fn what_was_committed_to_a_deleted_topic_is_not_told_and_is_forgotten() {
        let mut offsets = GroupOffsets::default();
        for (topic, partition) in [("t", 0), ("t", 1), ("u", 0)] {
            offsets.apply(&key(topic, partition), Some(committed(5, 0)));
        }
        offsets.orphan(|topic| topic == "t");
        assert_eq!((offsets.get("t", 1), offsets.len()), (None, 1));
        offsets.apply(&key("t", 0), Some(committed(7, 0)));
        let group = Arc::from("g");
        let tombstones = offsets.forget(&group, |_, _, _| false);
        assert_eq!(tombstones, [GroupRecord::Offset(key("t", 1), None)], "not the new one");
        offsets.apply(&key("t", 1), None);
        assert_eq!(offsets.len_in_log(), 2);
        assert_eq!(offsets.get("t", 0).unwrap().offset, 7);
    }

    #[test]
    fn commits_expire_from_the_moment_the_group_is_empty() {
        let at = |has_members, empty_since_ms| Expiry {
            now_ms: 1000,
            retention_ms: 100,
            has_members,
            empty_since_ms,
        };
        let expiry = |empty_since_ms| at(false, empty_since_ms);
        assert!(expiry(None).is_over(&committed(1, 900)));
        assert!(!expiry(None).is_over(&committed(1, 901)));
        assert!(!expiry(Some(950)).is_over(&committed(1, 10)));
        assert!(expiry(Some(900)).is_over(&committed(1, 10)));
        assert!(at(true, Some(990)).is_over(&committed(1, 10)), "a topic that is no longer read");
        let dated = CommittedOffset { expires_at: Some(2000), ..committed(1, 10) };
        assert!(!expiry(Some(0)).is_over(&dated));
    }
}
