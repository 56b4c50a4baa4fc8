//! A group of the consumer protocol (KIP-848): the coordinator itself decides who has which partitions,
//! and each member is led there by its own heartbeats. Pure, like [`super::classic`].
//!
//! ```text
//!   members, subscriptions, topics change ──> group epoch rises          (`subscription`)
//!   target epoch < group epoch            ──> targets are computed       (`target`)
//!   member epoch < target epoch           ──> the member is led there    (`reconcile`)
//!
//!   member     Stable ──> Unrevoked: has been told what to give up
//!                ^            │ does not own it any more
//!                │            v
//!                └─────── Unreleased: others own something that is meant for it
//! ```
//! Invariants: a partition is held by one member at most, and given to the next only after the last one
//! has said that it owns it no more, or is gone; no epoch goes back; what is durable changes by records
//! alone ([`state::State`]).

mod classic_member;
mod commit;
mod heartbeat;
mod leave;
pub(crate) mod member;
pub(crate) mod pattern;
mod reconcile;
mod request;
pub(crate) mod state;
mod subscription;
mod target;
mod timers;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::group_record::{ConsumerGroup as GroupEpoch, GroupRecord, MemberKey, TargetEpoch};
use protocol::types::LogIndex;

pub(crate) use self::classic_member::{PROTOCOL_TYPE, encode_assignment, to_ids};
use self::member::{Current, Member};
pub(crate) use self::request::{HeartbeatAnswer, HeartbeatRequest, ID_BYTES_MAX};
use self::state::State;
use self::timers::Deadlines;
use super::assignor::Assignor;
use super::classic::Limits;
use super::effects::{Effects, GroupError};
use super::times::Times;
use crate::cluster::image::Image;

/// What a member sends, and is answered, that leaves for good.
pub(crate) const LEAVE_EPOCH: i32 = -1;
/// The same of a static member that means to come back.
pub(crate) const AWAY_EPOCH: i32 = -2;

/// Which way groups may change between the protocols: `group.consumer.migration.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Migration {
    /// A classic group becomes one of the consumer protocol when a member of that comes.
    pub(crate) upgrade: bool,
    /// The other way round, when the last such member has gone.
    pub(crate) downgrade: bool,
}

/// Bounds that the settings give.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConsumerLimits {
    /// `group.consumer.session.timeout.ms`.
    pub(crate) session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub(crate) heartbeat_interval: Duration,
    /// `group.consumer.max.size`.
    pub(crate) members_max: usize,
    /// `group.consumer.assignors`, the default first; never empty.
    pub(crate) assignors: &'static [Assignor],
    /// `group.consumer.assignment.interval.ms`.
    pub(crate) assignment_interval: Duration,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub(crate) regex_refresh_interval: Duration,
    /// `group.consumer.migration.policy`.
    pub(crate) migration: Migration,
}

/// What a group is decided by beside its own state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The topics.
    pub(crate) image: &'a Image,
    pub(crate) limits: &'a ConsumerLimits,
    /// Of classic groups: a group may become one.
    pub(crate) classic: &'a Limits,
    pub(crate) at: Times,
}

/// How a group is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerPhase {
    /// No members.
    Empty,
    /// Targets are to be computed.
    Assigning,
    /// Not every member has what is meant for it.
    Reconciling,
    /// Every member has.
    Stable,
}

impl ConsumerPhase {
    /// Kafka's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// The group.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) name: Arc<str>,
    pub(crate) state: State,
    deadlines: HashMap<Arc<str>, Deadlines>,
    /// The metadata that the group epoch is known to be right for.
    checked: Option<LogIndex>,
    /// The metadata that regular expressions were last searched in, and when.
    searched: Option<(LogIndex, i64)>,
    /// How it is described, while nothing has changed: heartbeats that change nothing ask too.
    phase: Cell<Option<ConsumerPhase>>,
    /// Members went while the others were to become a classic group, which has to rebalance then.
    pub(crate) has_lost_members: bool,
}

impl ConsumerGroup {
    /// A group without members.
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            state: State::default(),
            deadlines: HashMap::new(),
            checked: None,
            searched: None,
            phase: Cell::new(None),
            has_lost_members: false,
        }
    }

    /// The group that a replay has found. Its members' sessions begin anew.
    pub(crate) fn from_state(
        name: Arc<str>,
        state: State,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Self {
        let mut group = Self { state, ..Self::new(name) };
        group.begin_all(around, effects);
        group
    }

    /// How it is described.
    pub(crate) fn phase(&self) -> ConsumerPhase {
        if let Some(phase) = self.phase.get() {
            return phase;
        }
        let phase = self.find_phase();
        self.phase.set(Some(phase));
        phase
    }

    fn find_phase(&self) -> ConsumerPhase {
        let target_epoch = self.state.target_epoch();
        if self.state.members.is_empty() {
            ConsumerPhase::Empty
        } else if self.state.epoch() > target_epoch {
            ConsumerPhase::Assigning
        } else if self.state.members.values().all(|it| it.is_reconciled_to(target_epoch)) {
            ConsumerPhase::Stable
        } else {
            ConsumerPhase::Reconciling
        }
    }

    /// The assignor that most members ask for.
    pub(crate) fn assignor(&self, limits: &ConsumerLimits) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.state.members.values() {
            let wanted = member.told.assignor.as_deref().and_then(Assignor::from_name);
            if let Some(wanted) = wanted.filter(|it| limits.assignors.contains(it)) {
                *votes.entry(wanted).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(assignor, count)| (*count, *assignor));
        most.map_or(limits.assignors[0], |(assignor, _)| assignor)
    }

    /// Takes in the members of a classic group that goes on as this one, at the epoch of its generation.
    pub(super) fn admit(
        &mut self,
        members: BTreeMap<Arc<str>, Member>,
        generation: i32,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if members.is_empty() {
            return;
        }
        let name = Arc::clone(&self.name);
        for (member_id, member) in &members {
            let told = member.told.clone();
            self.put(GroupRecord::Member(self.key(member_id), Some(told)), effects);
        }
        let metadata_hash = self.hash_of_topics(around.image);
        let epoch = GroupEpoch { epoch: generation, metadata_hash };
        self.put(GroupRecord::ConsumerGroup(Arc::clone(&name), Some(epoch)), effects);
        for (member_id, member) in &members {
            let target = member::to_topics(&member.shares());
            self.put(GroupRecord::Target(self.key(member_id), Some(target)), effects);
        }
        let target_epoch = TargetEpoch { epoch: generation, computed_at: 0 };
        self.put(GroupRecord::TargetEpoch(name, Some(target_epoch)), effects);
        for (member_id, member) in &members {
            self.put_current(member_id, &member.current, effects);
        }
        self.begin_all(around, effects);
    }

    /// Forgets the group with all its members.
    pub(crate) fn all_tombstones(&self) -> Vec<GroupRecord> {
        let members = self.state.members.keys().flat_map(|member_id| {
            let key = || self.key(member_id);
            [
                GroupRecord::Current(key(), None),
                GroupRecord::Target(key(), None),
                GroupRecord::Member(key(), None),
            ]
        });
        let mut records: Vec<_> = members.collect();
        records.extend(self.state.regexes.keys().map(|regex| self.regex_tombstone(regex)));
        records.push(GroupRecord::TargetEpoch(Arc::clone(&self.name), None));
        records.push(GroupRecord::ConsumerGroup(Arc::clone(&self.name), None));
        records
    }

    fn key(&self, member_id: &Arc<str>) -> MemberKey {
        MemberKey { group: Arc::clone(&self.name), member_id: Arc::clone(member_id) }
    }

    fn member(&self, member_id: &str) -> Result<&Member, GroupError> {
        self.state.members.get(member_id).ok_or(GroupError::UnknownMember)
    }

    /// Changes what is durable.
    fn put(&mut self, record: GroupRecord, effects: &mut Effects) {
        self.state.apply(&record);
        self.phase.set(None);
        effects.records.push(record);
    }

    fn put_current(&mut self, member_id: &Arc<str>, current: &Current, effects: &mut Effects) {
        for (topic_id, partition) in
            member::each(&current.owned).chain(member::each(&current.revoking))
        {
            let owner = self.state.owner(topic_id, partition);
            assert!(
                owner.is_none_or(|owner| owner == member_id),
                "{topic_id}-{partition} of group {} is given to {member_id} while {owner:?} has it",
                self.name,
            );
        }
        self.put(GroupRecord::Current(self.key(member_id), Some(current.into())), effects);
    }
}

#[cfg(test)]
pub(super) mod tests;
