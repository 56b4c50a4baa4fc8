//! The groups whose state one partition of `__consumer_offsets` holds. Pure: what is to be written,
//! answered and waited for comes back as [`Effects`].
//!
//! What is durable changes in memory only as a record says that goes to the log with it, so that a
//! replay of the log gives the same. Groups that hold nothing any more are dropped, with a tombstone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use protocol::group_record::{ClassicGeneration, CommittedOffset, GroupRecord, OffsetKey};

use super::classic::{ClassicGroup, JoinRequest, Limits, Phase, SyncRequest, Times};
use super::effects::{Effects, GroupError, Timer};
use super::offsets::{Expiry, GroupOffsets};

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its members.
    pub(crate) classic: ClassicGroup,
    /// What it has committed.
    pub(crate) offsets: GroupOffsets,
}

/// What a replay has found of one group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    pub(crate) generation: Option<ClassicGeneration>,
    pub(crate) offsets: GroupOffsets,
}

/// Collects what the log says, record by record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) groups: HashMap<Arc<str>, StoredGroup>,
}

impl Replay {
    /// Takes the next record.
    pub(crate) fn apply(&mut self, record: GroupRecord) {
        let name = Arc::clone(record.group());
        let group = self.groups.entry(Arc::clone(&name)).or_default();
        match record {
            GroupRecord::Offset(key, value) => group.offsets.apply(&key, value),
            GroupRecord::ClassicGroup(_, value) => group.generation = value,
            // Of the consumer protocol, which has no members here yet.
            GroupRecord::ConsumerGroup(..)
            | GroupRecord::Member(..)
            | GroupRecord::TargetEpoch(..)
            | GroupRecord::Target(..)
            | GroupRecord::Current(..)
            | GroupRecord::Regex(..) => {}
        }
        if *group == StoredGroup::default() {
            self.groups.remove(&name);
        }
    }
}

/// The groups of one partition.
#[derive(Debug)]
pub(crate) struct Shard {
    groups: HashMap<Arc<str>, Group>,
    /// The earliest first. A time that is no longer meant is found out when it comes.
    wakes: BTreeSet<(Instant, Arc<str>, Timer)>,
    limits: Limits,
}

impl Shard {
    /// The groups that a replay has found; their members' sessions begin at `now`.
    pub(crate) fn new(replay: Replay, limits: Limits, now: Instant) -> Self {
        let mut shard = Self { groups: HashMap::new(), wakes: BTreeSet::new(), limits };
        for (name, stored) in replay.groups {
            let mut effects = Effects::default();
            let classic = match &stored.generation {
                Some(generation) => {
                    ClassicGroup::from_record(Arc::clone(&name), generation, now, &mut effects)
                }
                None => ClassicGroup::new(Arc::clone(&name)),
            };
            shard.note_timers(&name, &mut effects);
            shard.groups.insert(name, Group { classic, offsets: stored.offsets });
        }
        shard
    }

    /// A group, if it is known.
    pub(crate) fn get(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    /// A JoinGroup; it makes a group that is not there.
    pub(crate) fn join(&mut self, name: &Arc<str>, request: &JoinRequest, at: Times) -> Effects {
        let limits = self.limits;
        let is_known = self.groups.contains_key(name);
        if !is_known && !request.member_id.is_empty() {
            let mut effects = Effects::default();
            effects.refuse_join(request.ticket, GroupError::UnknownMember, &request.member_id);
            return effects;
        }
        self.change(name, |group, effects| group.classic.join(request, at, &limits, effects))
    }

    /// A SyncGroup.
    pub(crate) fn sync(&mut self, name: &Arc<str>, request: SyncRequest, at: Times) -> Effects {
        if !self.groups.contains_key(name) {
            let mut effects = Effects::default();
            effects.refuse_sync(request.ticket, GroupError::UnknownMember);
            return effects;
        }
        self.change(name, |group, effects| group.classic.sync(request, at, effects))
    }

    /// A Heartbeat.
    ///
    /// # Errors
    /// See [`ClassicGroup::heartbeat`].
    pub(crate) fn heartbeat(
        &mut self,
        name: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        let group = self.groups.get_mut(name).ok_or(GroupError::UnknownMember)?;
        group.classic.heartbeat(member_id, instance_id, generation, now)
    }

    /// One member of a LeaveGroup.
    ///
    /// # Errors
    /// See [`ClassicGroup::leave`].
    pub(crate) fn leave(
        &mut self,
        name: &Arc<str>,
        member_id: &str,
        instance_id: Option<&str>,
        at: Times,
    ) -> (Result<(), GroupError>, Effects) {
        let limits = self.limits;
        if !self.groups.contains_key(name) {
            return (Err(GroupError::UnknownMember), Effects::default());
        }
        let mut left = Ok(());
        let effects = self.change(name, |group, effects| {
            left = group.classic.leave(member_id, instance_id, at, &limits, effects);
        });
        (left, effects)
    }

    /// Takes commits of one request, whose member was checked.
    pub(crate) fn commit(
        &mut self,
        name: &Arc<str>,
        commits: Vec<(Arc<str>, i32, CommittedOffset)>,
    ) -> Effects {
        self.change(name, |group, effects| {
            for (topic, partition, value) in commits {
                let key = OffsetKey { group: Arc::clone(name), topic, partition };
                group.offsets.apply(&key, Some(value.clone()));
                effects.records.push(GroupRecord::Offset(key, Some(value)));
            }
        })
    }

    /// Whether a member may commit; a group that is not there takes commits without a generation.
    ///
    /// # Errors
    /// See [`ClassicGroup::check_commit`].
    pub(crate) fn check_commit(
        &mut self,
        name: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        match self.groups.get_mut(name) {
            Some(group) => group.classic.check_commit(member_id, instance_id, generation, now),
            None if generation < 0 => Ok(()),
            None => Err(GroupError::IllegalGeneration),
        }
    }

    /// Deletes a group with all that it has committed.
    ///
    /// # Errors
    /// [`GroupError::UnknownGroup`], [`GroupError::NotEmpty`].
    pub(crate) fn delete(&mut self, name: &Arc<str>) -> Result<Effects, GroupError> {
        let group = self.groups.get(name).ok_or(GroupError::UnknownGroup)?;
        if group.classic.phase != Phase::Empty {
            return Err(GroupError::NotEmpty);
        }
        Ok(self.forget(name, |_, _, _| true))
    }

    /// Forgets what groups without members committed too long ago.
    pub(crate) fn expire(&mut self, now_ms: i64, retention_ms: i64) -> Effects {
        let idle = self.groups.iter().filter(|(_, group)| group.classic.phase == Phase::Empty);
        let names: Vec<Arc<str>> = idle.map(|(name, _)| Arc::clone(name)).collect();
        let mut all = Effects::default();
        for name in names {
            let since = self.groups[&name].classic.phase_since;
            let empty_since_ms = Some(since).filter(|since| *since >= 0);
            let expiry = Expiry { now_ms, retention_ms, empty_since_ms };
            all.records.extend(self.forget(&name, |_, _, value| expiry.is_over(value)).records);
        }
        all
    }

    /// Forgets some of what a group without members has committed, and the group with the last of it.
    fn forget(
        &mut self,
        name: &Arc<str>,
        is_meant: impl Fn(&str, i32, &CommittedOffset) -> bool,
    ) -> Effects {
        let mut effects = Effects::default();
        let Some(group) = self.groups.get_mut(name) else { return effects };
        for record in group.offsets.forget(name, is_meant) {
            if let GroupRecord::Offset(key, value) = &record {
                group.offsets.apply(key, value.clone());
            }
            effects.records.push(record);
        }
        if group.offsets.is_empty() {
            self.groups.remove(name);
            effects.records.push(GroupRecord::ClassicGroup(Arc::clone(name), None));
        }
        effects
    }

    /// When to call [`Shard::wake`] next.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _, _)| *at)
    }

    /// Does what is due.
    pub(crate) fn wake(&mut self, at: Times) -> Effects {
        let mut all = Effects::default();
        while let Some(due) = self.wakes.pop_first() {
            if due.0 > at.now {
                self.wakes.insert(due);
                break;
            }
            let (_, name, timer) = due;
            let limits = self.limits;
            if self.groups.contains_key(&name) {
                let effects = self.change(&name, |group, effects| {
                    group.classic.wake(&timer, at, &limits, effects);
                });
                all.records.extend(effects.records);
                all.answers.extend(effects.answers);
            }
        }
        all
    }

    fn change(
        &mut self,
        name: &Arc<str>,
        change: impl FnOnce(&mut Group, &mut Effects),
    ) -> Effects {
        let mut effects = Effects::default();
        let group = self.groups.entry(Arc::clone(name)).or_insert_with(|| Group {
            classic: ClassicGroup::new(Arc::clone(name)),
            offsets: GroupOffsets::default(),
        });
        change(group, &mut effects);
        group.classic.validate();
        self.note_timers(name, &mut effects);
        effects
    }

    fn note_timers(&mut self, name: &Arc<str>, effects: &mut Effects) {
        for (at, timer) in effects.timers.drain(..) {
            self.wakes.insert((at, Arc::clone(name), timer));
        }
    }
}
