//! A group of the classic protocol: who is in it, and how far a rebalance is. Pure: it decides, and
//! leaves to its owner what is to be done ([`Effects`]). Time comes in as an argument.
//!
//! ```text
//!            a member joins              all have joined, or the time is up
//!   Empty ───────────────> Preparing ─────────────────────────> Completing
//!     ^                     ^  ^  │ nobody is left                   │ the leader's assignment
//!     └─────────────────────┼──┼──┘                                  v
//!                           │  └──── a member joins, leaves, ──── Stable
//!                           │        or its session ends
//!                           └──────────────────────────────────── Completing
//! ```
//! Invariants: `generation` never goes back; in `Stable` every member has an assignment, and the log
//! holds exactly them; a ticket stands with at most one member, and leaves it answered.

mod join;
mod leave;
mod offers;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::consumer_protocol::Subscription;
use protocol::group_record::{ClassicGeneration, ClassicMember, GroupRecord};

pub(crate) use self::join::JoinRequest;
use self::offers::Offers;
pub(crate) use self::sync::SyncRequest;
use super::effects::{Effects, GroupError, Joined, JoinedMember, Ticket, Timer};
use super::reads::Reads;
use super::times::{Times, from_millis, to_millis};

/// How far a group is. `Dead` is no state here: a group that is gone is not in its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members; perhaps offsets.
    Empty,
    /// Members are joining.
    Preparing {
        /// When those who have not joined are given up.
        until: Instant,
        /// Up to when a first rebalance may be put off by further members.
        initial_until: Option<Instant>,
    },
    /// All have joined; the leader is computing.
    Completing,
    /// Everybody has an assignment.
    Stable,
}

/// Bounds that the broker's settings give.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// `group.initial.rebalance.delay.ms`.
    pub(crate) initial_delay: Duration,
    /// `group.max.size`.
    pub(crate) members_max: usize,
    /// `group.min.session.timeout.ms`.
    pub(crate) session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub(crate) session_timeout_max: Duration,
}

/// The protocol type of consumers (KIP-62), whose metadata have a format that Kafka defines.
const CONSUMERS: &str = "consumer";

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// In the order of the member's preference.
    pub(crate) protocols: Vec<(Arc<str>, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Its session ends then, unless it is heard of before.
    session_until: Instant,
    /// When the timer of its session that counts goes off; it may be set for an earlier end.
    session_look: Option<Instant>,
    /// Until when it waits for its first generation; `None` once it has been in one.
    new_until: Option<Instant>,
    /// Its JoinGroup that waits for the others.
    joining: Option<Ticket>,
    /// Its SyncGroup that waits for the leader.
    syncing: Option<Ticket>,
}

impl Member {
    /// Its metadata for a protocol.
    pub(crate) fn subscription(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// The group.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    name: Arc<str>,
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    /// When it came into its phase, milliseconds since 1970.
    pub(crate) phase_since: i64,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// What they offer together.
    offers: Offers,
    /// Member ids by static ids.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and have not come back, with when they are given up.
    pending: BTreeMap<Arc<str>, Instant>,
    /// Members that have not asked for their assignment of this generation yet.
    unsynced: BTreeSet<Arc<str>>,
    /// Until when they have time to.
    sync_until: Option<Instant>,
}

impl ClassicGroup {
    /// A group without members.
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            phase_since: -1,
            members: BTreeMap::new(),
            offers: Offers::default(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_until: None,
        }
    }

    /// The group that a record of the log describes. Its members' sessions begin anew.
    pub(crate) fn from_record(
        name: Arc<str>,
        record: &ClassicGeneration,
        now: Instant,
        effects: &mut Effects,
    ) -> Self {
        let mut group = Self::new(name);
        group.generation = record.generation;
        group.protocol_type = Some(Arc::clone(&record.protocol_type)).filter(|it| !it.is_empty());
        group.protocol = record.protocol.clone();
        group.leader = record.leader.clone();
        group.phase_since = record.state_since;
        for stored in &record.members {
            let session_timeout = from_millis(stored.session_timeout_ms);
            let protocol = group.protocol.clone().unwrap_or_default();
            let member = Member {
                instance_id: stored.instance_id.clone(),
                client_id: Arc::clone(&stored.client_id),
                client_host: Arc::clone(&stored.client_host),
                rebalance_timeout: from_millis(stored.rebalance_timeout_ms),
                session_timeout,
                protocols: vec![(protocol, stored.subscription.clone())],
                assignment: stored.assignment.clone(),
                session_until: now + session_timeout,
                session_look: None,
                new_until: None,
                joining: None,
                syncing: None,
            };
            group.insert(Arc::clone(&stored.member_id), member);
            group.begin_session(&stored.member_id, now, effects);
        }
        if !group.members.is_empty() {
            group.phase = Phase::Stable;
            // Nobody writes a generation without them; a reader must not fall over one that is.
            group.protocol.get_or_insert_default();
            let first = group.members.keys().next().cloned();
            group.leader = group.leader.take().or(first);
        }
        group
    }

    /// Kafka's name of its state.
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    /// Whether it has no members, and nobody is on the way.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// Whether it is as if it had never been.
    pub(crate) fn is_void(&self) -> bool {
        self.is_idle() && self.generation == 0
    }

    /// Whether its members are consumers, whose subscriptions can be read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMERS)
    }

    /// What its members read. It cannot be known before consumers have agreed on a protocol, if one of
    /// them cannot be understood, and of members that are no consumers.
    pub(crate) fn reads(&self) -> Reads<'_> {
        let protocol = self.protocol.as_deref().filter(|_| self.is_of_consumers());
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let Some(protocol) = protocol else { return Reads::Anything };
            match Subscription::decode(&member.subscription(Some(protocol))) {
                Ok(wanted) => topics.extend(wanted.topics.iter().map(|name| Arc::from(&**name))),
                Err(_not_understood) => return Reads::Anything,
            }
        }
        Reads::Named(topics)
    }

    /// What the log must hold for this generation.
    pub(crate) fn to_record(&self) -> ClassicGeneration {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(member_id, member)| ClassicMember {
            member_id: Arc::clone(member_id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: to_millis(member.rebalance_timeout),
            session_timeout_ms: to_millis(member.session_timeout),
            subscription: member.subscription(protocol),
            assignment: member.assignment.clone(),
        });
        ClassicGeneration {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: self.phase_since,
            members: members.collect(),
        }
    }

    fn store(&self, effects: &mut Effects) {
        let record = GroupRecord::ClassicGroup(Arc::clone(&self.name), Some(self.to_record()));
        effects.records.push(record);
    }

    /// A sign of life.
    ///
    /// # Errors
    /// As behaviour 42 says.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        self.check_member(member_id, instance_id)?;
        if self.phase == Phase::Empty {
            return Err(GroupError::UnknownMember);
        }
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.touch(member_id, now);
        match self.phase {
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Empty | Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// Whether `member_id` may commit offsets of `generation` (behaviour 45). A negative generation
    /// comes from a consumer that assigns partitions itself.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.check_member(member_id, instance_id)?;
            if generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else {
            return Err(GroupError::UnknownMember);
        }
        match self.phase {
            Phase::Completing => Err(GroupError::RebalanceInProgress),
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Preparing { .. } | Phase::Stable => {
                self.touch(member_id, now);
                Ok(())
            }
        }
    }

    /// A time has come that was asked for.
    pub(crate) fn wake(
        &mut self,
        timer: &Timer,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        match (timer, self.phase) {
            (Timer::Session(member_id), _) => self.end_session(member_id, at, limits, effects),
            (Timer::Pending(member_id), _) => {
                if self.pending.get(member_id).is_some_and(|until| *until <= at.now) {
                    self.pending.remove(member_id);
                    self.complete_join_if_all_joined(at, effects);
                }
            }
            (Timer::Join, Phase::Preparing { until, .. }) if until <= at.now => {
                self.join_time_is_up(at, limits, effects);
            }
            // Also when the leader has assigned: what is a silent member's nobody would read.
            (Timer::Sync, Phase::Completing | Phase::Stable)
                if self.sync_until.is_some_and(|until| until <= at.now) =>
            {
                self.sync_time_is_up(at, limits, effects);
            }
            (Timer::Join | Timer::Sync | Timer::Expiry, _) => {}
            // Of the time when this was a group of the other protocol.
            (Timer::Revocation(_) | Timer::Rejoin(_) | Timer::Resync(_), _) => {}
        }
    }

    fn end_session(
        &mut self,
        member_id: &Arc<str>,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        if member.session_look.is_some_and(|look| look > at.now) {
            // Another timer has taken the place of this one.
            return;
        }
        member.session_look = None;
        // Whoever waits for an answer of ours need not be heard of, but a new member not for ever.
        let is_given_up = member.new_until.is_some_and(|until| until <= at.now);
        let is_waiting = !is_given_up && (member.joining.is_some() || member.syncing.is_some());
        if is_waiting {
            self.begin_session(member_id, at.now, effects);
        } else if member.session_until > at.now {
            member.session_look = Some(member.session_until);
            effects.timers.push((member.session_until, Timer::Session(Arc::clone(member_id))));
        } else {
            tracing::info!(group = %self.name, member = %member_id, "a member's session ended");
            self.remove_and_rebalance(member_id, at, limits, effects);
        }
    }

    fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            // The timer that is set looks at this when it goes off.
            member.session_until = now + member.session_timeout;
        }
    }

    fn begin_session(&mut self, member_id: &Arc<str>, now: Instant, effects: &mut Effects) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.session_until = now + member.session_timeout;
            // A timer that is set for an earlier time looks again: one is enough for a member, however
            // many rebalances there are.
            if member.session_look.is_none_or(|look| look > member.session_until) {
                member.session_look = Some(member.session_until);
                effects.timers.push((member.session_until, Timer::Session(Arc::clone(member_id))));
            }
        }
    }

    /// Whether the group has this very member.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            return match self.instances.get(instance_id) {
                None => Err(GroupError::UnknownMember),
                Some(holder) if **holder != *member_id => Err(GroupError::FencedInstance),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    fn insert(&mut self, member_id: Arc<str>, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(Arc::clone(instance_id), Arc::clone(&member_id));
        }
        self.offers.add(&member.protocols);
        self.members.insert(member_id, member);
    }

    /// The group goes on with another protocol: whoever waits is told to join again.
    pub(super) fn dissolve(&mut self, effects: &mut Effects) {
        for (member_id, member) in &mut self.members {
            if let Some(ticket) = member.joining.take() {
                effects.refuse_join(ticket, GroupError::RebalanceInProgress, member_id);
            }
            if let Some(ticket) = member.syncing.take() {
                effects.refuse_sync(ticket, GroupError::RebalanceInProgress);
            }
        }
    }

    /// Takes a member out; whoever waits in its name is told that it is gone.
    fn take_out(&mut self, member_id: &str, effects: &mut Effects) -> Option<Member> {
        let (member_id, member) = self.members.remove_entry(member_id)?;
        self.offers.remove(&member.protocols);
        if let Some(instance_id) = &member.instance_id
            && self.instances.get(instance_id) == Some(&member_id)
        {
            self.instances.remove(instance_id);
        }
        self.unsynced.remove(&member_id);
        if self.leader.as_ref() == Some(&member_id) {
            self.leader = None;
        }
        if let Some(ticket) = member.joining {
            effects.refuse_join(ticket, GroupError::UnknownMember, &member_id);
        }
        if let Some(ticket) = member.syncing {
            effects.refuse_sync(ticket, GroupError::UnknownMember);
        }
        Some(member)
    }

    fn enter(&mut self, phase: Phase, at: Times) {
        self.phase = phase;
        self.phase_since = at.wall_ms;
    }

    /// What a JoinGroup of this generation is answered with.
    fn joined(&self, member_id: &Arc<str>, skip_assignment: bool) -> Joined {
        let is_leader = self.leader.as_ref() == Some(member_id);
        let members = if is_leader { self.all_joined() } else { Vec::new() };
        Joined {
            member_id: Arc::clone(member_id),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            members,
        }
    }

    fn all_joined(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(member_id, member)| JoinedMember {
            member_id: Arc::clone(member_id),
            instance_id: member.instance_id.clone(),
            subscription: member.subscription(protocol),
        });
        members.collect()
    }

    /// How long the slowest member may take.
    fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    /// Asserts what must hold between two events.
    pub(crate) fn validate(&self) {
        assert!(
            self.phase != Phase::Empty || self.members.is_empty(),
            "an empty group has members"
        );
        assert!(self.instances.len() <= self.members.len(), "a static id without its member");
        if self.phase == Phase::Stable {
            assert!(self.leader.is_some() && self.protocol.is_some(), "a generation has both");
        }
    }
}

#[cfg(test)]
mod tests;
