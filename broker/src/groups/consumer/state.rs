//! What the log holds of one consumer group. It changes by records alone, whether they are read from the
//! log or about to be written, so that a replay gives what is in memory.
//!
//! Invariant: a partition is held by one member at most. `owners` says by whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::group_record::{
    ConsumerGroup as GroupEpoch, CurrentAssignment, GroupRecord, Member as Told, MemberKey,
    RegexKey, ResolvedRegex, TargetEpoch, TopicPartitions,
};
use uuid::Uuid;

use super::member::{Current, Member, each, from_topics};
use crate::groups::assignor::Partitions;

/// Epochs of a group begin here, as in Kafka: nothing is to be computed before the first change.
const FIRST_EPOCH: i32 = 1;

/// Topics that a regular expression matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matches {
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// Of the metadata that was searched.
    pub(crate) version: i64,
    /// Milliseconds since 1970.
    pub(crate) resolved_at: i64,
}

/// A group, as its records tell of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct State {
    group: Option<GroupEpoch>,
    target: Option<TargetEpoch>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    pub(crate) targets: BTreeMap<Arc<str>, Partitions>,
    pub(crate) regexes: BTreeMap<Arc<str>, Matches>,
    /// Member ids by static ids.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// By topic, how many members name it, and how many regular expressions match it.
    readers: BTreeMap<Arc<str>, usize>,
    /// Who holds a partition.
    owners: HashMap<(Uuid, i32), Arc<str>>,
    classic_count: usize,
}

impl State {
    /// Whether the log says nothing of such a group.
    pub(crate) fn is_absent(&self) -> bool {
        self.group.is_none()
            && self.target.is_none()
            && self.members.is_empty()
            && self.targets.is_empty()
            && self.regexes.is_empty()
    }

    /// The group epoch.
    pub(crate) fn epoch(&self) -> i32 {
        self.group.map_or(FIRST_EPOCH, |group| group.epoch)
    }

    /// Of the metadata that the epoch is for.
    pub(crate) fn metadata_hash(&self) -> i64 {
        self.group.map_or(0, |group| group.metadata_hash)
    }

    /// The epoch that the targets were computed for.
    pub(crate) fn target_epoch(&self) -> i32 {
        self.target.map_or(FIRST_EPOCH, |target| target.epoch)
    }

    /// When; milliseconds since 1970, 0 if it is not known.
    pub(crate) fn target_computed_at(&self) -> i64 {
        self.target.map_or(0, |target| target.computed_at)
    }

    /// The member that has a static id.
    pub(crate) fn holder(&self, instance_id: &str) -> Option<&Arc<str>> {
        self.instances.get(instance_id)
    }

    /// Who holds a partition.
    pub(crate) fn owner(&self, topic_id: Uuid, partition: i32) -> Option<&Arc<str>> {
        self.owners.get(&(topic_id, partition))
    }

    /// How many members speak the classic protocol.
    pub(crate) const fn classic_count(&self) -> usize {
        self.classic_count
    }

    /// How many members subscribe with `regex`.
    pub(crate) fn count_with_regex(&self, regex: &str) -> usize {
        self.members.values().filter(|it| it.regex().is_some_and(|own| **own == *regex)).count()
    }

    /// What is meant for a member.
    pub(crate) fn target_of(&self, member_id: &str) -> &Partitions {
        static NONE: Partitions = Partitions::new();
        self.targets.get(member_id).unwrap_or(&NONE)
    }

    /// The topics that a member subscribes to, as far as they are known by name.
    pub(crate) fn topics_of<'a>(
        &'a self,
        member: &'a Member,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let matches = member.regex().and_then(|regex| self.regexes.get(regex));
        member.told.topics.iter().chain(matches.into_iter().flat_map(|matches| &matches.topics))
    }

    /// The topics that anybody subscribes to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.readers.keys()
    }

    /// The same, each with the number of those who do.
    pub(crate) const fn readers(&self) -> &BTreeMap<Arc<str>, usize> {
        &self.readers
    }

    /// Takes what a record says; records of other kinds of groups are no concern of this one.
    pub(crate) fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::ConsumerGroup(_, value) => self.group = *value,
            GroupRecord::TargetEpoch(_, value) => self.target = *value,
            GroupRecord::Member(key, value) => self.apply_member(key, value.as_ref()),
            GroupRecord::Current(key, value) => self.apply_current(key, value.as_ref()),
            GroupRecord::Target(key, value) => self.apply_target(key, value.as_deref()),
            GroupRecord::Regex(key, value) => self.apply_regex(key, value.as_ref()),
            GroupRecord::Offset(..) | GroupRecord::ClassicGroup(..) => {}
        }
    }

    fn apply_member(&mut self, key: &MemberKey, told: Option<&Told>) {
        let member_id = &key.member_id;
        if let Some(member) = self.members.get(member_id) {
            self.classic_count -= usize::from(member.is_classic());
            discount(&mut self.readers, &member.told.topics);
            if let Some(instance_id) = &member.told.instance_id
                && self.instances.get(instance_id) == Some(member_id)
            {
                self.instances.remove(instance_id);
            }
        }
        let Some(told) = told else {
            self.release(member_id);
            self.members.remove(member_id);
            return;
        };
        if let Some(instance_id) = &told.instance_id {
            self.instances.insert(Arc::clone(instance_id), Arc::clone(member_id));
        }
        let member = self.members.entry(Arc::clone(member_id)).or_default();
        member.told = told.clone();
        count(&mut self.readers, &member.told.topics);
        self.classic_count += usize::from(member.is_classic());
    }

    fn apply_current(&mut self, key: &MemberKey, value: Option<&CurrentAssignment>) {
        let member_id = &key.member_id;
        self.release(member_id);
        match value {
            Some(value) => {
                let current = Current::from(value.clone());
                for partition in each(&current.owned).chain(each(&current.revoking)) {
                    self.owners.insert(partition, Arc::clone(member_id));
                }
                self.members.entry(Arc::clone(member_id)).or_default().current = current;
            }
            None => {
                if let Some(member) = self.members.get_mut(member_id) {
                    member.current = Current { epoch: -1, ..Current::default() };
                }
            }
        }
    }

    fn release(&mut self, member_id: &Arc<str>) {
        let Some(member) = self.members.get(member_id) else { return };
        for partition in member.holds() {
            if self.owners.get(&partition) == Some(member_id) {
                self.owners.remove(&partition);
            }
        }
    }

    fn apply_target(&mut self, key: &MemberKey, value: Option<&[TopicPartitions]>) {
        match value {
            Some(topics) => {
                let target = from_topics(topics.iter().cloned());
                self.targets.insert(Arc::clone(&key.member_id), target);
            }
            None => {
                self.targets.remove(&key.member_id);
            }
        }
    }

    fn apply_regex(&mut self, key: &RegexKey, value: Option<&ResolvedRegex>) {
        if let Some(before) = self.regexes.remove(&key.expression) {
            discount(&mut self.readers, &before.topics);
        }
        if let Some(value) = value {
            let matches = Matches {
                topics: value.topics.iter().cloned().collect(),
                version: value.version,
                resolved_at: value.resolved_at,
            };
            count(&mut self.readers, &matches.topics);
            self.regexes.insert(Arc::clone(&key.expression), matches);
        }
    }

    /// Ends a replay. A log that is being compacted may still give a partition to two members; then the
    /// later one has it.
    pub(crate) fn settle(&mut self) {
        let owners = &self.owners;
        for (member_id, member) in &mut self.members {
            let Current { owned, revoking, .. } = &mut member.current;
            for held in [owned, revoking] {
                held.retain(|topic_id, partitions| {
                    partitions.retain(|it, _| owners.get(&(*topic_id, *it)) == Some(member_id));
                    !partitions.is_empty()
                });
            }
        }
    }

    /// The invariants, in full.
    #[cfg(test)]
    pub(crate) fn validate(&self) {
        let mut held = HashMap::new();
        for (member_id, member) in &self.members {
            for partition in member.holds() {
                let other = held.insert(partition, Arc::clone(member_id));
                assert_eq!(other, None, "{partition:?} of {member_id} has two owners");
            }
            if let Some(instance_id) = &member.told.instance_id {
                assert_eq!(self.instances.get(instance_id), Some(member_id));
            }
        }
        assert_eq!(held, self.owners);
        let classic = self.members.values().filter(|member| member.is_classic()).count();
        assert_eq!(classic, self.classic_count);
        let mut readers = BTreeMap::new();
        count(&mut readers, self.members.values().flat_map(|member| &member.told.topics));
        count(&mut readers, self.regexes.values().flat_map(|matches| &matches.topics));
        assert_eq!(readers, self.readers);
        assert!(self.target_epoch() <= self.epoch());
        let mut meant = HashMap::new();
        for (member_id, target) in &self.targets {
            for partition in target.iter().flat_map(|(id, all)| all.iter().map(|it| (*id, *it))) {
                assert_eq!(meant.insert(partition, member_id), None, "{partition:?} meant for two");
            }
        }
    }
}

fn count<'a>(
    readers: &mut BTreeMap<Arc<str>, usize>,
    names: impl IntoIterator<Item = &'a Arc<str>>,
) {
    for name in names {
        match readers.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(readers.insert(Arc::clone(name), 1)),
        }
    }
}

fn discount<'a>(
    readers: &mut BTreeMap<Arc<str>, usize>,
    names: impl IntoIterator<Item = &'a Arc<str>>,
) {
    for name in names {
        let count = readers.get_mut(name).expect("it was counted when its reader came");
        *count -= 1;
        if *count == 0 {
            readers.remove(name);
        }
    }
}
