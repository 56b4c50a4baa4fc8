//! Members that go: by a heartbeat, by LeaveGroup, or because they were not heard of.

use std::sync::Arc;

use protocol::group_record::GroupRecord;

use super::member::{Current, Owned};
use super::{AWAY_EPOCH, ConsumerGroup, HeartbeatAnswer, HeartbeatRequest, Surroundings};
use crate::groups::effects::{Effects, GroupError};

impl ConsumerGroup {
    pub(super) fn leave_by_epoch(
        &mut self,
        request: &HeartbeatRequest,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let member_id = &request.member_id;
        let holder = self.identify(member_id, request.instance_id.as_deref())?;
        if request.member_epoch == AWAY_EPOCH {
            self.put_away(&holder, effects);
        } else {
            tracing::info!(group = %self.name, member = %holder, "a member left");
            self.dismiss(&[holder], around, effects);
        }
        Ok(HeartbeatAnswer {
            member_id: Arc::clone(member_id),
            member_epoch: request.member_epoch,
            heartbeat_interval: std::time::Duration::ZERO,
            assignment: None,
        })
    }

    /// The very member that a request names.
    pub(super) fn identify(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<Arc<str>, GroupError> {
        let Some(instance_id) = instance_id else {
            let found = self.state.members.get_key_value(member_id);
            return found.map(|(id, _)| Arc::clone(id)).ok_or(GroupError::UnknownMember);
        };
        match self.state.holder(instance_id) {
            None => Err(GroupError::UnknownMember),
            Some(holder) if **holder != *member_id => Err(GroupError::FencedInstance),
            Some(holder) => Ok(Arc::clone(holder)),
        }
    }

    /// A static member is away: what it has stays its own until its session ends. Commits of its
    /// successor are not held against the epochs of its own.
    fn put_away(&mut self, member_id: &Arc<str>, effects: &mut Effects) {
        let current = self.state.members[member_id].current.clone();
        let mut owned = current.owned;
        owned.values_mut().flat_map(|partitions| partitions.values_mut()).for_each(|it| *it = 0);
        tracing::info!(group = %self.name, member = %member_id, "a static member is away");
        let away = Current { epoch: AWAY_EPOCH, owned, revoking: Owned::new(), ..current };
        self.put_current(member_id, &away, effects);
    }

    /// Takes members out; the others get what was theirs.
    pub(super) fn dismiss(
        &mut self,
        member_ids: &[Arc<str>],
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if member_ids.is_empty() {
            return;
        }
        let regexes: Vec<Arc<str>> = member_ids
            .iter()
            .filter_map(|id| self.state.members.get(id)?.regex().cloned())
            .collect();
        for member_id in member_ids {
            self.remove(member_id, effects);
        }
        if self.can_become_classic(around) {
            // It goes on as a classic group, from the epoch that its members know.
            self.has_lost_members = true;
            return;
        }
        for regex in regexes {
            self.forget_regex_if_unused(&regex, effects);
        }
        self.refresh_epoch(true, around, effects);
    }

    pub(super) fn remove(&mut self, member_id: &Arc<str>, effects: &mut Effects) {
        self.put(GroupRecord::Current(self.key(member_id), None), effects);
        self.put(GroupRecord::Target(self.key(member_id), None), effects);
        self.put(GroupRecord::Member(self.key(member_id), None), effects);
        self.deadlines.remove(member_id);
    }

    /// Whether only classic members are left, and may be a classic group.
    pub(crate) fn can_become_classic(&self, around: Surroundings<'_>) -> bool {
        let count = self.state.members.len();
        let limits = around.limits;
        let is_classic = count > 0 && self.state.classic_count() == count;
        is_classic && limits.migration.downgrade && count <= around.classic.members_max
    }
}
