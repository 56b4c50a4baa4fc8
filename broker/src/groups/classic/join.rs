//! JoinGroup: who becomes a member, and when a rebalance begins and ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::offers::distinct;
use super::{ClassicGroup, Limits, Member, Phase};
use crate::groups::effects::{Answer, Effects, GroupError, Ticket, Timer};
use crate::groups::times::Times;

/// A new member whose first join is not answered for so long is given up, as in Kafka: its client may
/// have gone, which nobody else would notice.
const NEW_MEMBER_WAIT_MAX: Duration = Duration::from_secs(300);

/// A JoinGroup, checked and copied out of its frame.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    pub(crate) ticket: Ticket,
    /// Empty at first.
    pub(crate) member_id: Arc<str>,
    /// The id that the caller gets if it has none.
    pub(crate) new_member_id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: Arc<str>,
    /// In the order of preference; not empty.
    pub(crate) protocols: Vec<(Arc<str>, Bytes)>,
    /// Whether a first join only fetches a member id (version 4, KIP-394).
    pub(crate) needs_known_id: bool,
    /// Whether the caller understands that it need not compute the assignment (version 9, KIP-814).
    pub(crate) knows_skip: bool,
}

impl JoinRequest {
    fn to_member(&self, at: Times) -> Member {
        Member {
            instance_id: self.instance_id.clone(),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            rebalance_timeout: self.rebalance_timeout,
            session_timeout: self.session_timeout,
            protocols: self.protocols.clone(),
            assignment: Bytes::new(),
            session_until: at.now + self.session_timeout,
            session_look: None,
            new_until: Some(at.now + NEW_MEMBER_WAIT_MAX),
            joining: Some(self.ticket),
            syncing: None,
        }
    }
}

impl ClassicGroup {
    /// A JoinGroup. Its ticket is answered now or when the rebalance ends.
    pub(crate) fn join(
        &mut self,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.try_join(request, at, limits, effects) {
            let member_id = match error {
                GroupError::MemberIdRequired => &request.new_member_id,
                _ => &request.member_id,
            };
            effects.refuse_join(request.ticket, error, member_id);
        }
    }

    fn try_join(
        &mut self,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        let bounds = limits.session_timeout_min..=limits.session_timeout_max;
        if !bounds.contains(&request.session_timeout) {
            return Err(GroupError::SessionTimeout);
        }
        if !self.can_agree_with(request) {
            return Err(GroupError::InconsistentProtocol);
        }
        if request.member_id.is_empty() {
            return self.join_anew(request, at, limits, effects);
        }
        if self.pending.contains_key(&request.member_id) {
            self.check_room(limits)?;
            self.pending.remove(&request.member_id);
            if request.instance_id.is_some() {
                // A static member never gets an id ahead of its join.
                return Err(GroupError::UnknownMember);
            }
            self.add(Arc::clone(&request.member_id), request, at, limits, effects);
            return Ok(());
        }
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        self.join_again(request, at, limits, effects);
        Ok(())
    }

    fn join_anew(
        &mut self,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = &request.instance_id {
            if let Some(old) = self.instances.get(instance_id).cloned() {
                self.replace_static(&old, request, at, limits, effects);
                return Ok(());
            }
            self.check_room(limits)?;
            self.add(Arc::clone(&request.new_member_id), request, at, limits, effects);
            return Ok(());
        }
        self.check_room(limits)?;
        if request.needs_known_id {
            let until = at.now + request.session_timeout;
            self.pending.insert(Arc::clone(&request.new_member_id), until);
            effects.timers.push((until, Timer::Pending(Arc::clone(&request.new_member_id))));
            return Err(GroupError::MemberIdRequired);
        }
        self.add(Arc::clone(&request.new_member_id), request, at, limits, effects);
        Ok(())
    }

    /// A member that the group knows: it may only have missed an answer, or want a rebalance.
    fn join_again(
        &mut self,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        let member_id = &request.member_id;
        let is_leader = self.leader.as_ref() == Some(member_id);
        let is_same =
            self.members.get(member_id).is_some_and(|it| it.protocols == request.protocols);
        let answers_at_once = match self.phase {
            Phase::Completing => is_same,
            // A leader that joins again has seen its subscriptions change.
            Phase::Stable => is_same && !is_leader,
            Phase::Empty | Phase::Preparing { .. } => false,
        };
        if answers_at_once {
            self.touch(member_id, at.now);
            let joined = self.joined(member_id, false);
            effects.answers.push((request.ticket, Answer::Join(Ok(joined))));
            return;
        }
        self.update(member_id, request, effects);
        self.prepare_rebalance(at, limits, effects);
        self.complete_join_if_all_joined(at, effects);
    }

    /// A member offers other protocols from now on; the only way to change them, since they are counted.
    pub(in crate::groups) fn set_protocols(
        &mut self,
        member_id: &str,
        protocols: Vec<(Arc<str>, Bytes)>,
    ) {
        if let Some(member) = self.members.get_mut(member_id) {
            self.offers.remove(&member.protocols);
            self.offers.add(&protocols);
            member.protocols = protocols;
        }
    }

    fn update(&mut self, member_id: &Arc<str>, request: &JoinRequest, effects: &mut Effects) {
        let member = self.members.get_mut(member_id).expect("the caller has found it");
        self.offers.remove(&member.protocols);
        self.offers.add(&request.protocols);
        member.protocols.clone_from(&request.protocols);
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.client_id = Arc::clone(&request.client_id);
        member.client_host = Arc::clone(&request.client_host);
        if let Some(earlier) = member.joining.replace(request.ticket) {
            // The same member asks twice: its connection has broken in between.
            effects.refuse_join(earlier, GroupError::UnknownMember, member_id);
        }
    }

    fn add(
        &mut self,
        member_id: Arc<str>,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&member_id));
        }
        self.insert(Arc::clone(&member_id), request.to_member(at));
        self.begin_session(&member_id, at.now, effects);
        self.put_off_first_rebalance(at, limits, effects);
        self.prepare_rebalance(at, limits, effects);
        self.complete_join_if_all_joined(at, effects);
    }

    /// Every member that comes while a first rebalance waits makes it wait for more (KIP-134).
    fn put_off_first_rebalance(&mut self, at: Times, limits: &Limits, effects: &mut Effects) {
        if let Phase::Preparing { initial_until: Some(initial_until), .. } = self.phase {
            let until = (at.now + limits.initial_delay).min(initial_until);
            self.phase = Phase::Preparing { until, initial_until: Some(initial_until) };
            effects.timers.push((until, Timer::Join));
        }
    }

    /// A consumer with a static id has come back under a new member id.
    fn replace_static(
        &mut self,
        old: &Arc<str>,
        request: &JoinRequest,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        let new = &request.new_member_id;
        let was_leader = self.leader.as_ref() == Some(old);
        let protocol = self.protocol.clone();
        let (_, mut member) = self.members.remove_entry(old).expect("a static id has its member");
        self.offers.remove(&member.protocols);
        if let Some(ticket) = member.joining.take() {
            effects.refuse_join(ticket, GroupError::FencedInstance, old);
        }
        if let Some(ticket) = member.syncing.take() {
            effects.refuse_sync(ticket, GroupError::FencedInstance);
        }
        let before = member.subscription(protocol.as_deref());
        let mut successor = request.to_member(at);
        (successor.assignment, successor.new_until) = (member.assignment, member.new_until);
        let is_same = protocol.is_some() && before == successor.subscription(protocol.as_deref());
        if self.unsynced.remove(old) {
            self.unsynced.insert(Arc::clone(new));
        }
        self.insert(Arc::clone(new), successor);
        if was_leader {
            self.leader = Some(Arc::clone(new));
        }
        self.begin_session(new, at.now, effects);
        if self.phase == Phase::Stable && is_same && self.selected() == protocol {
            // Nobody else notices. The log must know the new id before the member uses it.
            self.store(effects);
            self.answer_returning_static((old, new), request, was_leader, effects);
            return;
        }
        self.prepare_rebalance(at, limits, effects);
        self.complete_join_if_all_joined(at, effects);
    }

    fn answer_returning_static(
        &mut self,
        (old, new): (&Arc<str>, &Arc<str>),
        request: &JoinRequest,
        was_leader: bool,
        effects: &mut Effects,
    ) {
        if let Some(member) = self.members.get_mut(new) {
            member.joining = None;
        }
        let mut joined = self.joined(new, was_leader && request.knows_skip);
        if was_leader && !request.knows_skip {
            // It would compute an assignment that nobody waits for: it is told that another leads,
            // who is its former self.
            joined.leader = Arc::clone(old);
            joined.members.clear();
        }
        effects.answers.push((request.ticket, Answer::Join(Ok(joined))));
    }

    /// Begins a rebalance, or goes on with the one that is under way.
    pub(in crate::groups) fn prepare_rebalance(
        &mut self,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        let until = match self.phase {
            Phase::Preparing { .. } => return,
            Phase::Completing => {
                self.give_up_syncs(effects);
                at.now + self.rebalance_timeout()
            }
            Phase::Stable => at.now + self.rebalance_timeout(),
            Phase::Empty => at.now + limits.initial_delay.min(self.rebalance_timeout()),
        };
        let initial_until = (self.phase == Phase::Empty).then(|| at.now + self.rebalance_timeout());
        self.enter(Phase::Preparing { until, initial_until }, at);
        effects.timers.push((until, Timer::Join));
    }

    /// What was assigned in a generation that does not come about is void.
    fn give_up_syncs(&mut self, effects: &mut Effects) {
        self.unsynced.clear();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                effects.refuse_sync(ticket, GroupError::RebalanceInProgress);
            }
        }
    }

    /// A first rebalance waits for its time even so: others may be on their way.
    pub(super) fn complete_join_if_all_joined(&mut self, at: Times, effects: &mut Effects) {
        let Phase::Preparing { initial_until: None, .. } = self.phase else { return };
        let have_all_joined = self.members.values().all(|member| member.joining.is_some());
        if have_all_joined && self.pending.is_empty() {
            self.complete_join(at, effects);
        }
    }

    pub(super) fn join_time_is_up(&mut self, at: Times, limits: &Limits, effects: &mut Effects) {
        let is_absent = |member: &Member| member.joining.is_none();
        let gone: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|(_, member)| is_absent(member) && member.instance_id.is_none())
            .map(|(member_id, _)| Arc::clone(member_id))
            .collect();
        for member_id in gone {
            tracing::info!(group = %self.name, member = %member_id, "a member did not join in time");
            self.take_out(&member_id, effects);
        }
        let nobody_joined = self.members.values().all(is_absent);
        if !self.members.is_empty() && nobody_joined {
            // Static members alone, all of them away: until one comes or their sessions end.
            let until = at.now + self.rebalance_timeout().max(limits.session_timeout_min);
            self.phase = Phase::Preparing { until, initial_until: None };
            effects.timers.push((until, Timer::Join));
            return;
        }
        self.complete_join(at, effects);
    }

    /// A new generation of those who are there.
    fn complete_join(&mut self, at: Times, effects: &mut Effects) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.become_empty(at, effects);
            return;
        }
        self.protocol = self.selected();
        self.elect();
        let until = at.now + self.rebalance_timeout();
        self.enter(Phase::Completing, at);
        self.sync_until = Some(until);
        effects.timers.push((until, Timer::Sync));
        self.unsynced = self.members.keys().cloned().collect();
        let member_ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let joined = self.joined(&member_id, false);
            let member = self.members.get_mut(&member_id).expect("just listed");
            member.new_until = None;
            if let Some(ticket) = member.joining.take() {
                effects.answers.push((ticket, Answer::Join(Ok(joined))));
            }
            self.begin_session(&member_id, at.now, effects);
        }
    }

    pub(super) fn become_empty(&mut self, at: Times, effects: &mut Effects) {
        (self.protocol, self.leader) = (None, None);
        self.enter(Phase::Empty, at);
        self.store(effects);
    }

    /// The leader stays if it has joined; otherwise it is one who has.
    fn elect(&mut self) {
        let has_joined = |member_id: &Arc<str>| {
            self.members.get(member_id).is_some_and(|it| it.joining.is_some())
        };
        if !self.leader.as_ref().is_some_and(has_joined) {
            self.leader = self.members.keys().find(|member_id| has_joined(member_id)).cloned();
        }
    }

    /// Whether the caller has the group's type and a protocol that all members have.
    fn can_agree_with(&self, request: &JoinRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        // The caller's own earlier list does not count.
        let own = self.members.get(&request.member_id);
        let predecessor = request.instance_id.as_ref().and_then(|id| self.instances.get(id));
        let predecessor = predecessor.filter(|id| **id != request.member_id);
        let predecessor = predecessor.and_then(|id| self.members.get(id));
        let own = || own.into_iter().chain(predecessor);
        let others = self.members.len() - own().count();
        if others == 0 {
            return true;
        }
        let own: Vec<_> = own().map(|member| distinct(&member.protocols)).collect();
        let offered = |name: &Arc<str>| {
            self.offers.count(name) - own.iter().filter(|names| names.contains(name)).count()
        };
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|(name, _)| offered(name) == others)
    }

    /// The protocol with the most votes among those that all members have; each votes for the first
    /// of them in its list.
    fn selected(&self) -> Option<Arc<str>> {
        let is_common = |name: &Arc<str>| self.offers.count(name) == self.members.len();
        let mut votes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| is_common(name));
            *votes.entry(Arc::clone(vote?)).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    /// Whether one more may come. As in Kafka an empty group takes anybody, and one that rebalances
    /// counts those who have joined: the others may be gone.
    fn check_room(&self, limits: &Limits) -> Result<(), GroupError> {
        let is_full = self.members.len() >= limits.members_max
            && match self.phase {
                Phase::Empty => false,
                Phase::Preparing { .. } => {
                    let joined = self.members.values().filter(|member| member.joining.is_some());
                    joined.count() >= limits.members_max
                }
                Phase::Completing | Phase::Stable => true,
            };
        if is_full { Err(GroupError::Full) } else { Ok(()) }
    }
}
