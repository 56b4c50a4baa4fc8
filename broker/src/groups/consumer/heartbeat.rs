//! ConsumerGroupHeartbeat: joins, tells what has changed, and is told what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::group_record::{GroupRecord, Member as Told};

use super::member::{Current, Member, Owned, to_topics};
use super::{
    AWAY_EPOCH, ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, LEAVE_EPOCH, Surroundings,
};
use crate::groups::assignor::Partitions;
use crate::groups::effects::{Effects, GroupError};

/// Who somebody is that wants to be in the group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entrant {
    /// A member.
    Member,
    /// Nobody yet.
    Newcomer,
    /// The one that takes the place of a static member.
    Successor(Arc<str>),
}

impl ConsumerGroup {
    /// A heartbeat that passed [`HeartbeatRequest::check`]. Nothing has changed if it is refused.
    ///
    /// # Errors
    /// As behaviour 49 says.
    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<HeartbeatAnswer, GroupError> {
        if matches!(request.member_epoch, LEAVE_EPOCH | AWAY_EPOCH) {
            return self.leave_by_epoch(request, around, effects);
        }
        let member_id = Arc::clone(request.id());
        let instance_id = request.instance_id.as_deref();
        self.check_room(&member_id, instance_id, around)?;
        let entrant = self.entrant(&member_id, instance_id, request.member_epoch == 0, false)?;
        if entrant == Entrant::Member {
            check_epoch(self.member(&member_id)?, request)?;
        }
        let known = match &entrant {
            Entrant::Member => Some(self.member(&member_id)?),
            Entrant::Newcomer => None,
            Entrant::Successor(old) => Some(self.member(old)?),
        };
        let nobody = Member::default();
        let news = request.news(&known.unwrap_or(&nobody).told);
        if let Some(regex) = news.as_ref().and_then(|told| told.topics_regex.as_deref()) {
            self.check_regex(regex)?;
        }
        if let Entrant::Successor(old) = &entrant {
            self.replace(old, &member_id, effects);
        }
        let has_changed = self.listen(&member_id, news, around, effects);
        self.begin_session(&member_id, around, effects);
        self.update_target(around, effects);
        let owned = request.owned.as_ref();
        let is_news = self.reconcile(&member_id, owned, has_changed, around, effects);
        let member = self.member(&member_id)?;
        let is_told = is_news || request.member_epoch == 0 || request.is_full();
        Ok(HeartbeatAnswer {
            member_id: Arc::clone(&member_id),
            member_epoch: member.current.epoch,
            heartbeat_interval: around.limits.heartbeat_interval,
            assignment: is_told.then(|| to_assignment(&member.current.owned)),
        })
    }

    /// The session of a member that is known begins anew; it is not told anything.
    pub(crate) fn keep_alive(
        &mut self,
        request: &HeartbeatRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let is_its = |member: &Member| member.current.epoch == request.member_epoch;
        if self.state.members.get(&request.member_id).is_some_and(is_its) {
            self.begin_session(&request.member_id, around, effects);
        }
    }

    /// Notes what a member tells, and lets the group epoch rise if that or the topics call for it.
    /// Returns whether its subscription has changed.
    pub(super) fn listen(
        &mut self,
        member_id: &Arc<str>,
        news: Option<Told>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> bool {
        let mut has_changed = false;
        let mut old_regex = None;
        if let Some(told) = news {
            let nobody = Member::default();
            let member = self.state.members.get(member_id).unwrap_or(&nobody);
            has_changed = !is_same_set(&member.told.topics, &told.topics);
            old_regex = member.regex().cloned();
            self.put(GroupRecord::Member(self.key(member_id), Some(told)), effects);
            has_changed |= self.state.members[member_id].regex() != old_regex.as_ref();
        }
        let new_regex = self.state.members[member_id].regex().cloned();
        let has_found_others = self.refresh_regexes(old_regex, new_regex, around, effects);
        self.refresh_epoch(has_changed || has_found_others, around, effects);
        has_changed
    }

    pub(super) fn check_room(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        around: Surroundings<'_>,
    ) -> Result<(), GroupError> {
        let has_place = self.state.members.contains_key(member_id)
            || instance_id.is_some_and(|it| self.state.holder(it).is_some());
        if !has_place && self.state.members.len() >= around.limits.members_max {
            return Err(GroupError::Full);
        }
        Ok(())
    }

    pub(super) fn entrant(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        joins: bool,
        is_classic: bool,
    ) -> Result<Entrant, GroupError> {
        let holder = instance_id.map(|instance_id| self.state.holder(instance_id));
        match holder {
            None | Some(None) if joins => Ok(match self.member(member_id) {
                Ok(_) => Entrant::Member,
                Err(_) => Entrant::Newcomer,
            }),
            None => self.member(member_id).map(|_| Entrant::Member),
            Some(None) => Err(GroupError::UnknownMember),
            Some(Some(holder)) if joins => {
                let old = self.member(holder)?;
                let is_away = old.current.epoch == AWAY_EPOCH;
                // The answer to its first heartbeat was lost. Kafka refuses this until its session
                // ends, and clients give up; the id is the process's own, nobody else has it.
                if !is_classic && !is_away && **holder == *member_id {
                    return Ok(Entrant::Member);
                }
                if !is_classic && !old.is_classic() && !is_away {
                    return Err(GroupError::UnreleasedInstance);
                }
                Ok(Entrant::Successor(Arc::clone(holder)))
            }
            Some(Some(holder)) if **holder == *member_id => Ok(Entrant::Member),
            Some(Some(_)) => Err(GroupError::FencedInstance),
        }
    }

    /// A static member comes back under another member id, with all that the old one had.
    pub(super) fn replace(&mut self, old: &Arc<str>, new: &Arc<str>, effects: &mut Effects) {
        let Member { told, current } = self.state.members[old].clone();
        let target = to_topics(self.state.target_of(old));
        self.remove(old, effects);
        tracing::info!(group = %self.name, member = %new, of = %old, "a static member is replaced");
        self.put(GroupRecord::Member(self.key(new), Some(told)), effects);
        self.put(GroupRecord::Target(self.key(new), Some(target)), effects);
        let current = Current { epoch: 0, previous_epoch: 0, ..current };
        self.put_current(new, &current, effects);
    }
}

/// Whether a member may go on from the epoch that it sends. One that missed its last answer sends the
/// one before: it may own nothing by then that it was not given.
fn check_epoch(member: &Member, request: &HeartbeatRequest) -> Result<(), GroupError> {
    let current = &member.current;
    if request.member_epoch == 0 || request.member_epoch == current.epoch {
        return Ok(());
    }
    let has_missed_one = request.member_epoch < current.epoch
        && request.member_epoch == current.previous_epoch
        && request.owned.as_ref().is_some_and(|owned| is_within(owned, &current.owned));
    if has_missed_one { Ok(()) } else { Err(GroupError::FencedEpoch) }
}

fn is_within(some: &Partitions, owned: &Owned) -> bool {
    some.iter().all(|(topic_id, partitions)| {
        let owned = owned.get(topic_id);
        owned.is_some_and(|owned| partitions.iter().all(|it| owned.contains_key(it)))
    })
}

fn is_same_set(one: &[Arc<str>], other: &[Arc<str>]) -> bool {
    use std::collections::BTreeSet;
    one == other || one.iter().collect::<BTreeSet<_>>() == other.iter().collect()
}

fn to_assignment(owned: &Owned) -> BTreeMap<uuid::Uuid, Vec<i32>> {
    let topics = owned.iter().map(|(id, partitions)| (*id, partitions.keys().copied().collect()));
    topics.collect()
}
