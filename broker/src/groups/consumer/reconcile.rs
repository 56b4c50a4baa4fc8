//! Leads one member from what it owns to what is meant for it. First it gives up, then it gets: of what
//! is meant for it, a member is given what nobody holds, and waits for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::member::{Current, Member, MemberState, Owned};
use super::{ConsumerGroup, Surroundings};
use crate::groups::assignor::Partitions;
use crate::groups::effects::Effects;

impl ConsumerGroup {
    /// Takes a member one step further. `reported` is what it says that it owns; nothing is given up
    /// before it says so. `has_changed` its subscription: it must then not keep what it wants no more.
    /// Returns whether what it may consume is another than before.
    pub(super) fn reconcile(
        &mut self,
        member_id: &Arc<str>,
        reported: Option<&Partitions>,
        has_changed: bool,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> bool {
        let target_epoch = self.state.target_epoch();
        let member = &self.state.members[member_id];
        if !has_changed && member.is_reconciled_to(target_epoch) {
            return false;
        }
        let next = self.next_current(member_id, member, reported, has_changed, around);
        if next == member.current {
            return false;
        }
        let is_news = next.owned != member.current.owned;
        self.put_current(member_id, &next, effects);
        self.expect_revocation(member_id, around, effects);
        is_news
    }

    fn next_current(
        &self,
        member_id: &Arc<str>,
        member: &Member,
        reported: Option<&Partitions>,
        has_changed: bool,
        around: Surroundings<'_>,
    ) -> Current {
        let current = &member.current;
        let topics = self.topic_ids_of(member, around.image);
        let stays = match current.state {
            MemberState::Stable => current.epoch == self.state.target_epoch(),
            MemberState::Unrevoked => still_owns(reported, &current.revoking),
            MemberState::Unreleased | MemberState::Unknown(_) => false,
        };
        if stays && !has_changed {
            current.clone()
        } else if stays {
            drop_unsubscribed(current, &topics, reported)
        } else {
            self.advance(member_id, member, &topics, reported)
        }
    }

    /// Towards the target, as far as the others let it.
    fn advance(
        &self,
        member_id: &Arc<str>,
        member: &Member,
        topics: &BTreeSet<Uuid>,
        reported: Option<&Partitions>,
    ) -> Current {
        let current = &member.current;
        let mut target = self.state.target_of(member_id).clone();
        target.retain(|topic_id, _| topics.contains(topic_id));
        let is_meant = |topic_id: Uuid, partition: i32| {
            target.get(&topic_id).is_some_and(|partitions| partitions.contains(&partition))
        };
        let (mut owned, revoking) = split(&current.owned, is_meant);
        if !revoking.is_empty() && still_owns(reported, &revoking) {
            return Current {
                epoch: current.epoch,
                previous_epoch: current.epoch,
                state: MemberState::Unrevoked,
                owned,
                revoking,
            };
        }
        let target_epoch = self.state.target_epoch();
        let mut state = MemberState::Stable;
        for (topic_id, partition) in
            target.iter().flat_map(|(id, all)| all.iter().map(|it| (*id, *it)))
        {
            let is_owned = owned.get(&topic_id).is_some_and(|it| it.contains_key(&partition));
            if is_owned {
                continue;
            }
            let owner = self.state.owner(topic_id, partition);
            if owner.is_none_or(|owner| owner == member_id) {
                owned.entry(topic_id).or_default().insert(partition, target_epoch);
            } else {
                state = MemberState::Unreleased;
            }
        }
        Current {
            epoch: target_epoch,
            previous_epoch: current.epoch,
            state,
            owned,
            revoking: Owned::new(),
        }
    }

    /// Whether a member waits for a partition that another one holds.
    pub(super) fn waits_for_others(&self, member_id: &Arc<str>, member: &Member) -> bool {
        let target = self.state.target_of(member_id);
        let mut meant = target.iter().flat_map(|(id, all)| all.iter().map(|it| (*id, *it)));
        meant.any(|(topic_id, partition)| {
            let is_owned =
                member.current.owned.get(&topic_id).is_some_and(|it| it.contains_key(&partition));
            !is_owned && self.state.owner(topic_id, partition).is_some()
        })
    }
}

/// The subscription has changed, the target has not yet: topics that the member wants no more go at
/// once, all else stays as it is.
fn drop_unsubscribed(
    current: &Current,
    topics: &BTreeSet<Uuid>,
    reported: Option<&Partitions>,
) -> Current {
    let (owned, gone) = split(&current.owned, |topic_id, _| topics.contains(&topic_id));
    if gone.is_empty() {
        return current.clone();
    }
    let mut revoking = current.revoking.clone();
    for (topic_id, partitions) in gone {
        revoking.entry(topic_id).or_default().extend(partitions);
    }
    let kept = Current { previous_epoch: current.epoch, owned, ..current.clone() };
    if still_owns(reported, &revoking) {
        Current { state: MemberState::Unrevoked, revoking, ..kept }
    } else {
        kept
    }
}

fn split(owned: &Owned, stays: impl Fn(Uuid, i32) -> bool) -> (Owned, Owned) {
    let (mut staying, mut going) = (BTreeMap::new(), BTreeMap::new());
    for (topic_id, partitions) in owned {
        for (partition, since) in partitions {
            let side: &mut Owned =
                if stays(*topic_id, *partition) { &mut staying } else { &mut going };
            side.entry(*topic_id).or_default().insert(*partition, *since);
        }
    }
    (staying, going)
}

/// A member that does not say what it owns may own everything still.
fn still_owns(reported: Option<&Partitions>, revoking: &Owned) -> bool {
    let Some(reported) = reported else { return true };
    reported.iter().any(|(topic_id, partitions)| {
        let revoking = revoking.get(topic_id);
        revoking.is_some_and(|revoking| partitions.iter().any(|it| revoking.contains_key(it)))
    })
}
