//! The groups whose state one partition of `__consumer_offsets` holds. Pure: what is to be written,
//! answered and waited for comes back as [`Effects`], or as records that the caller appends first.
//!
//! Two ways to change what is durable, so that memory is never behind the log and nothing is told
//! that the log does not have:
//! - members change in memory, and the records that say so come back with the answers that must wait
//!   for them;
//! - commits and deletions come back as records, and change memory once the log has taken them
//!   ([`Shard::apply`]). A full disk refuses them without a trace.
//!
//! Either way a replay of the log gives the same. No timer looks at more than one group.

mod plans;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::group_record::{CommittedOffset, GroupRecord, OffsetKey};

use super::classic::{ClassicGroup, JoinRequest, Limits, SyncRequest};
use super::consumer::{HeartbeatAnswer, HeartbeatRequest, Surroundings};
use super::consumer_terms::ConsumerTerms;
use super::effects::{Effects, GroupError, Timer};
use super::members::{Committer, Members};
use super::offsets::{Expiry, GroupOffsets};
use super::replay::Replay;
use super::tally::{Share, Standing, Tally};
use super::times::Times;
use super::wakes::Wakes;
use crate::cluster::image::Image;

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its members.
    pub(crate) members: Members,
    /// What it has committed.
    pub(crate) offsets: GroupOffsets,
    /// What it adds to the tally of all groups.
    share: Share,
}

impl Group {
    fn new(name: &Arc<str>, tally: &Arc<Tally>) -> Self {
        Self {
            members: Members::new(name),
            offsets: GroupOffsets::default(),
            share: Share::new(Arc::clone(tally)),
        }
    }

    /// Counts it as it stands now.
    fn count(&mut self) {
        self.share.update(Standing {
            protocol: self.members.type_name(),
            state: self.members.state_name(),
            generation: self.members.generation(),
            offsets: self.offsets.len(),
        });
    }

    /// Whether it holds nothing, and no record of it is in the log.
    fn is_void(&self) -> bool {
        self.members.is_void() && self.offsets.is_empty()
    }

    fn expiry(&self, wall_ms: i64, retention_ms: i64) -> Expiry {
        let has_members = !self.members.is_empty();
        let empty_since_ms = self.members.empty_since_ms();
        Expiry { now_ms: wall_ms, retention_ms, has_members, empty_since_ms }
    }
}

/// What the settings say of all groups.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Bounds for members of classic groups.
    pub(crate) limits: Limits,
    /// Bounds for members of consumer groups.
    pub(crate) consumer: ConsumerTerms,
    /// How long commits outlive their group's members, in milliseconds.
    pub(crate) retention_ms: i64,
    /// How long a group that holds nothing is still shown.
    pub(crate) idle_kept: Duration,
}

/// What becomes of one part of a request.
pub(crate) type Verdict = Result<(), GroupError>;

impl Terms {
    fn around<'a>(&'a self, group: &str, image: &'a Image, at: Times) -> Surroundings<'a> {
        Surroundings { image, limits: self.consumer.of(group), classic: &self.limits, at }
    }
}

/// A time that has come.
#[derive(Debug)]
pub(crate) enum Due {
    /// For a group's members.
    Members(Arc<str>, Timer),
    /// To forget what is too old.
    Expiry(Arc<str>),
}

/// The groups of one partition.
#[derive(Debug)]
pub(crate) struct Shard {
    groups: HashMap<Arc<str>, Group>,
    /// A time that is no longer meant is found out when it comes.
    wakes: Wakes,
    terms: Terms,
    /// The topics, as they were seen last.
    image: Arc<Image>,
    tally: Arc<Tally>,
}

impl Shard {
    /// The groups that a replay has found; their members' sessions begin now.
    pub(crate) fn new(replay: Replay, terms: Terms, image: Arc<Image>, at: Times) -> Self {
        let (groups, wakes, tally) = (HashMap::new(), Wakes::default(), Arc::default());
        let mut shard = Self { groups, wakes, terms, image: Arc::clone(&image), tally };
        shard.see(image);
        for (name, stored) in replay.groups {
            let mut effects = Effects::default();
            let mut group = Group::new(&name, &shard.tally);
            group.offsets = stored.offsets;
            let mut state = stored.consumer;
            if !state.is_absent() {
                state.settle();
                group.members = Members::from_state(
                    &name,
                    state,
                    shard.terms.around(&name, &shard.image, at),
                    &mut effects,
                );
            } else if let Some(generation) = &stored.generation {
                let name = Arc::clone(&name);
                let classic = ClassicGroup::from_record(name, generation, at.now, &mut effects);
                group.members = Members::Classic(classic);
            }
            group.count();
            shard.groups.insert(Arc::clone(&name), group);
            shard.note_timers(&name, &mut effects);
            shard.note_expiry(&name, at);
        }
        shard
    }

    /// The topics or the settings may have changed.
    pub(crate) fn see(&mut self, image: Arc<Image>) {
        self.terms.consumer.see(&image);
        if !Arc::ptr_eq(&self.image.deleted_topics, &image.deleted_topics) {
            self.orphan_commits(&image);
        }
        self.image = image;
    }

    /// What was committed before a topic was deleted is no commit to the next one of its name.
    fn orphan_commits(&mut self, image: &Image) {
        let id = |image: &Image, topic: &str| image.topics.get(topic).map(|topic| topic.id);
        let is_gone = |topic: &str| {
            let now = id(image, topic);
            now.is_none() || now != id(&self.image, topic)
        };
        for group in self.groups.values_mut() {
            group.offsets.orphan(is_gone);
            group.count();
        }
    }

    /// What its groups amount to.
    pub(crate) const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// A group, if it is known.
    pub(crate) fn get(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// A JoinGroup; it makes a group that is not there.
    pub(crate) fn join(&mut self, name: &Arc<str>, request: &JoinRequest, at: Times) -> Effects {
        if !self.groups.contains_key(name) && !request.member_id.is_empty() {
            let mut effects = Effects::default();
            effects.refuse_join(request.ticket, GroupError::UnknownMember, &request.member_id);
            return effects;
        }
        self.change(name, at, |group, around, effects| group.members.join(request, around, effects))
    }

    /// A SyncGroup; `record_bytes_max` bounds what the log can take of one group.
    pub(crate) fn sync(
        &mut self,
        name: &Arc<str>,
        request: SyncRequest,
        record_bytes_max: usize,
        at: Times,
    ) -> Effects {
        if !self.groups.contains_key(name) {
            let mut effects = Effects::default();
            effects.refuse_sync(request.ticket, GroupError::UnknownMember);
            return effects;
        }
        self.change(name, at, |group, around, effects| {
            group.members.sync(request, record_bytes_max, around, effects);
        })
    }

    /// A Heartbeat: nothing of it has to be durable.
    ///
    /// # Errors
    /// See [`Members::heartbeat`].
    pub(crate) fn heartbeat(
        &mut self,
        name: &Arc<str>,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        at: Times,
    ) -> Result<(), GroupError> {
        let Self { groups, terms, image, .. } = self;
        let around = terms.around(name, image, at);
        let group = groups.get_mut(name).ok_or(GroupError::UnknownMember)?;
        let mut effects = Effects::default();
        let beat =
            group.members.heartbeat(member_id, instance_id, generation, around, &mut effects);
        debug_assert!(effects.records.is_empty() && effects.answers.is_empty());
        self.note_timers(name, &mut effects);
        beat
    }

    /// A ConsumerGroupHeartbeat; one that joins makes a group that is not there.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        name: &Arc<str>,
        request: &HeartbeatRequest,
        at: Times,
    ) -> (Result<HeartbeatAnswer, GroupError>, Effects) {
        let mut answer = Err(GroupError::UnknownGroup);
        if !self.groups.contains_key(name) && request.member_epoch != 0 {
            return (answer, Effects::default());
        }
        let effects = self.change(name, at, |group, around, effects| {
            answer = group.members.consumer_heartbeat(name, request, around, effects);
        });
        (answer, effects)
    }

    /// Takes a ConsumerGroupHeartbeat for a sign of life and no more: nothing can be stored for now.
    pub(crate) fn keep_alive(&mut self, name: &Arc<str>, request: &HeartbeatRequest, at: Times) {
        let Self { groups, terms, image, .. } = self;
        let around = terms.around(name, image, at);
        let Some(group) = groups.get_mut(name) else { return };
        let mut effects = Effects::default();
        group.members.keep_alive(request, around, &mut effects);
        self.note_timers(name, &mut effects);
    }

    /// The members of one LeaveGroup, by member id and static id; what became of each.
    pub(crate) fn leave(
        &mut self,
        name: &Arc<str>,
        members: &[(Arc<str>, Option<Arc<str>>)],
        at: Times,
    ) -> (Vec<Verdict>, Effects) {
        if !self.groups.contains_key(name) {
            return (vec![Err(GroupError::UnknownMember); members.len()], Effects::default());
        }
        let mut left = Vec::new();
        let effects = self.change(name, at, |group, around, effects| {
            left = group.members.leave(members, around, effects);
        });
        (left, effects)
    }

    /// Whether a member may commit what `records` say; a group that is not there takes commits without
    /// a generation.
    ///
    /// # Errors
    /// See [`Members::check_commit`]; [`GroupError::UnknownGroup`].
    pub(crate) fn check_commit(
        &mut self,
        name: &str,
        committer: Committer<'_>,
        records: &[GroupRecord],
        at: Times,
    ) -> Result<(), GroupError> {
        let Self { groups, terms, image, .. } = self;
        let around = terms.around(name, image, at);
        match groups.get_mut(name) {
            Some(group) => group.members.check_commit(committer, records, around),
            None if committer.generation < 0 => Ok(()),
            None => Err(GroupError::UnknownGroup),
        }
    }

    /// Takes commits and deletions that the log has taken.
    pub(crate) fn apply(&mut self, records: Vec<GroupRecord>, at: Times) {
        for record in records {
            match record {
                GroupRecord::Offset(key, value) => self.apply_offset(key, value, at),
                GroupRecord::ClassicGroup(name, None) | GroupRecord::ConsumerGroup(name, None) => {
                    self.groups.remove(&name);
                    self.wakes.forget(&name);
                }
                // Of a group without members, which goes with the last of its records.
                GroupRecord::TargetEpoch(_, None) | GroupRecord::Regex(_, None) => {}
                GroupRecord::ClassicGroup(_, Some(_))
                | GroupRecord::ConsumerGroup(_, Some(_))
                | GroupRecord::TargetEpoch(_, Some(_))
                | GroupRecord::Regex(_, Some(_))
                | GroupRecord::Member(..)
                | GroupRecord::Target(..)
                | GroupRecord::Current(..) => {
                    unreachable!("members change in memory before they are written");
                }
            }
        }
    }

    fn apply_offset(&mut self, key: OffsetKey, value: Option<CommittedOffset>, at: Times) {
        let name = Arc::clone(&key.group);
        // The name is looked up without being cloned into the map: most commits repeat.
        if !self.groups.contains_key(&name) {
            self.groups.insert(Arc::clone(&name), Group::new(&name, &self.tally));
        }
        let group = self.groups.get_mut(&name).expect("it was just put there");
        if value.is_some() {
            self.tally.committed();
        }
        group.offsets.apply(&key, value);
        group.count();
        if !self.wakes.is_set(&name, &Timer::Expiry) {
            self.note_expiry(&name, at);
        }
    }

    /// When to ask for [`Shard::due`] next.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.wakes.first()
    }

    /// The next time that has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        Some(match self.wakes.take_due(now)? {
            (name, Timer::Expiry) => Due::Expiry(name),
            (name, timer) => Due::Members(name, timer),
        })
    }

    /// A time of a group's members has come.
    pub(crate) fn wake(&mut self, name: &Arc<str>, timer: &Timer, at: Times) -> Effects {
        self.change(name, at, |group, around, effects| group.members.wake(timer, around, effects))
    }

    /// Sets the time at which a group is looked at next, if it is not set.
    pub(crate) fn note_expiry(&mut self, name: &Arc<str>, at: Times) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(expires_at) = group.next_expiry(at.wall_ms, &self.terms) else { return };
        // The wall clock says when; waiting goes by the other, so that a jump delays and no more.
        let wait = u64::try_from(expires_at.saturating_sub(at.wall_ms)).unwrap_or(0);
        let least = Duration::from_millis(1);
        self.set_expiry(name, at.now + Duration::from_millis(wait).max(least));
    }

    /// Sets the time at which a group is looked at next.
    pub(crate) fn set_expiry(&mut self, name: &Arc<str>, until: Instant) {
        if self.groups.contains_key(name) {
            self.wakes.set(name, Timer::Expiry, until);
        }
    }

    fn change(
        &mut self,
        name: &Arc<str>,
        at: Times,
        change: impl FnOnce(&mut Group, Surroundings<'_>, &mut Effects),
    ) -> Effects {
        let mut effects = Effects::default();
        if !self.groups.contains_key(name) {
            self.groups.insert(Arc::clone(name), Group::new(name, &self.tally));
        }
        let Self { groups, terms, image, .. } = self;
        let around = terms.around(name, image, at);
        let group = groups.get_mut(name).expect("it was just put there");
        change(group, around, &mut effects);
        group.members.settle(around, &mut effects);
        let is_kept = self.wakes.is_set(name, &Timer::Expiry);
        if group.is_void() && !is_kept {
            self.groups.remove(name);
            self.wakes.forget(name);
            effects.timers.clear();
            return effects;
        }
        group.count();
        if !is_kept {
            self.note_expiry(name, at);
        }
        self.note_timers(name, &mut effects);
        effects
    }

    fn note_timers(&mut self, name: &Arc<str>, effects: &mut Effects) {
        for (at, timer) in effects.timers.drain(..) {
            self.wakes.set(name, timer, at);
        }
    }
}

impl Group {
    /// When the first of what it holds may be too old, by the wall clock; `None` while there is
    /// nothing to forget.
    fn next_expiry(&self, wall_ms: i64, terms: &Terms) -> Option<i64> {
        let expiry = self.expiry(wall_ms, terms.retention_ms);
        let idle_kept = i64::try_from(terms.idle_kept.as_millis()).unwrap_or(i64::MAX);
        match self
            .offsets
            .iter()
            .flat_map(|(_, partitions)| partitions)
            .map(|(_, value)| {
                // Of a live group what is not over now may become so only by a change of its members.
                let over_at = expiry.over_at(value);
                if over_at <= wall_ms { wall_ms.saturating_add(idle_kept) } else { over_at }
            })
            .min()
        {
            Some(first) => Some(first),
            None => self.members.is_idle().then(|| wall_ms.saturating_add(idle_kept)),
        }
    }
}

#[cfg(test)]
mod tests;
