//! Whether a member may commit offsets, or fetch them, at the epoch that it sends.

use uuid::Uuid;

use super::ConsumerGroup;
use super::member::Member;
use crate::groups::effects::GroupError;

/// The first version of OffsetCommit whose members understand the errors of this protocol.
const COMMIT_SINCE: i16 = 9;

impl ConsumerGroup {
    /// Whether `member_id` may commit for `partitions`. At an earlier epoch than its own it may for
    /// those that it has had since then: the commit was under way when the epoch rose (KIP-1251).
    /// A topic that does not exist has no id.
    ///
    /// # Errors
    /// [`GroupError::UnknownMember`], [`GroupError::StaleEpoch`], [`GroupError::IllegalGeneration`] of
    /// a classic member, [`GroupError::UnsupportedVersion`].
    pub(crate) fn check_commit(
        &self,
        member_id: &str,
        member_epoch: i32,
        version: i16,
        partitions: impl IntoIterator<Item = (Option<Uuid>, i32)>,
    ) -> Result<(), GroupError> {
        if member_epoch < 0 && self.state.members.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id)?;
        if !member.is_classic() && version < COMMIT_SINCE {
            return Err(GroupError::UnsupportedVersion);
        }
        if member_epoch == member.current.epoch {
            return Ok(());
        }
        let has_had = |(topic_id, partition): (Option<Uuid>, i32)| {
            let since = topic_id.and_then(|topic_id| member.holds_since(topic_id, partition));
            since.is_some_and(|since| since <= member_epoch)
        };
        let is_late = member_epoch < member.current.epoch;
        if is_late && partitions.into_iter().all(has_had) { Ok(()) } else { Err(stale(member)) }
    }

    /// Whether a member may fetch offsets; one that does not say who it is may always.
    ///
    /// # Errors
    /// [`GroupError::UnknownMember`], [`GroupError::StaleEpoch`], [`GroupError::IllegalGeneration`] of
    /// a classic member.
    pub(crate) fn check_fetch(
        &self,
        member_id: Option<&str>,
        member_epoch: i32,
    ) -> Result<(), GroupError> {
        let member_id = match member_id {
            None if member_epoch < 0 => return Ok(()),
            None => return Err(GroupError::UnknownMember),
            Some(member_id) => member_id,
        };
        let member = self.member(member_id)?;
        if member_epoch == member.current.epoch { Ok(()) } else { Err(stale(member)) }
    }
}

fn stale(member: &Member) -> GroupError {
    if member.is_classic() { GroupError::IllegalGeneration } else { GroupError::StaleEpoch }
}
