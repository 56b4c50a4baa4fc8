//! Members that go: by LeaveGroup, by an operator's hand, or because they were not heard of.

use std::sync::Arc;

use super::{ClassicGroup, Limits, Phase};
use crate::groups::effects::{Effects, GroupError};
use crate::groups::times::Times;

impl ClassicGroup {
    /// Takes out a member by its id, or by its static id where `member_id` is empty (version 3).
    ///
    /// # Errors
    /// [`GroupError::UnknownMember`], [`GroupError::FencedInstance`].
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        if instance_id.is_none() && self.pending.remove(member_id).is_some() {
            self.complete_join_if_all_joined(at, effects);
            return Ok(());
        }
        let member_id: Arc<str> = match instance_id {
            Some(instance_id) if member_id.is_empty() => {
                self.instances.get(instance_id).cloned().ok_or(GroupError::UnknownMember)?
            }
            _ => {
                self.check_member(member_id, instance_id)?;
                Arc::from(member_id)
            }
        };
        self.remove_and_rebalance(&member_id, at, limits, effects);
        Ok(())
    }

    pub(super) fn remove_and_rebalance(
        &mut self,
        member_id: &str,
        at: Times,
        limits: &Limits,
        effects: &mut Effects,
    ) {
        if self.take_out(member_id, effects).is_none() {
            return;
        }
        match self.phase {
            Phase::Empty => {}
            Phase::Stable | Phase::Completing => {
                self.prepare_rebalance(at, limits, effects);
                self.complete_join_if_all_joined(at, effects);
            }
            Phase::Preparing { .. } => self.complete_join_if_all_joined(at, effects),
        }
    }

    /// Members that never asked for their assignment are gone: the others begin again without them.
    pub(super) fn sync_time_is_up(&mut self, at: Times, limits: &Limits, effects: &mut Effects) {
        let silent = std::mem::take(&mut self.unsynced);
        for member_id in &silent {
            tracing::info!(group = %self.name, member = %member_id, "a member did not sync in time");
            self.take_out(member_id, effects);
        }
        if !silent.is_empty() {
            self.prepare_rebalance(at, limits, effects);
            self.complete_join_if_all_joined(at, effects);
        }
    }
}
