//! What is to be forgotten: records that are appended first, and applied when the log has them.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use protocol::group_record::{GroupRecord, OffsetKey};

use super::{Shard, Verdict};
use crate::groups::effects::GroupError;
use crate::groups::times::Times;

impl Shard {
    /// What deletes a group with all that it has committed.
    ///
    /// # Errors
    /// [`GroupError::UnknownGroup`], [`GroupError::NotEmpty`].
    pub(crate) fn plan_deletion(&self, name: &Arc<str>) -> Result<Vec<GroupRecord>, GroupError> {
        let group = self.groups.get(name).ok_or(GroupError::UnknownGroup)?;
        if !group.members.is_empty() {
            return Err(GroupError::NotEmpty);
        }
        let mut records = group.offsets.forget(name, |_, _, _| true);
        records.extend(group.members.tombstones(name));
        Ok(records)
    }

    /// What forgets the commits for some partitions.
    ///
    /// # Errors
    /// [`GroupError::UnknownGroup`]; [`GroupError::NotEmpty`] if the group has members that are no
    /// consumers. For each partition [`GroupError::Subscribed`] if its members read the topic.
    pub(crate) fn plan_offset_deletion(
        &self,
        name: &Arc<str>,
        partitions: &[(Arc<str>, i32)],
    ) -> Result<(Vec<Verdict>, Vec<GroupRecord>), GroupError> {
        let group = self.groups.get(name).ok_or(GroupError::UnknownGroup)?;
        if !group.members.is_empty() && !group.members.is_of_consumers() {
            return Err(GroupError::NotEmpty);
        }
        let mut records = Vec::new();
        let (reads, mut seen) = (group.members.reads(), HashSet::new());
        let answers = partitions.iter().map(|(topic, partition)| {
            if reads.contain(topic) {
                return Err(GroupError::Subscribed);
            }
            if group.offsets.get(topic, *partition).is_some() && seen.insert((topic, partition)) {
                let (group, topic) = (Arc::clone(name), Arc::clone(topic));
                let key = OffsetKey { group, topic, partition: *partition };
                records.push(GroupRecord::Offset(key, None));
            }
            Ok(())
        });
        let answers = answers.collect();
        Ok((answers, records))
    }

    /// What forgets the commits for topics that are not there, at most so many of them (and those of
    /// one group more).
    pub(crate) fn plan_forgetting(&self, records_max: usize) -> Vec<GroupRecord> {
        let is_gone = |topic: &str| !self.image.topics.contains_key(topic);
        let mut records = Vec::new();
        for (name, group) in &self.groups {
            if records.len() >= records_max {
                break;
            }
            records.extend(group.offsets.forget(name, |topic, _, _| is_gone(topic)));
        }
        records
    }

    /// What forgets the commits of a group that are too old, and the group with the last of them.
    pub(crate) fn plan_expiry(&self, name: &Arc<str>, at: Times) -> Vec<GroupRecord> {
        let Some(group) = self.groups.get(name) else { return Vec::new() };
        if group.members.is_rebalancing() {
            // Whoever reads a topic may be on its way.
            return Vec::new();
        }
        let expiry = group.expiry(at.wall_ms, self.terms.retention_ms);
        let reads = OnceCell::new();
        let is_read = |topic: &str| reads.get_or_init(|| group.members.reads()).contain(topic);
        let is_meant = |topic: &str, _, value: &_| expiry.is_over(value) && !is_read(topic);
        let mut records = group.offsets.forget(name, is_meant);
        if group.members.is_idle() && records.len() == group.offsets.len_in_log() {
            records.extend(group.members.tombstones(name));
        }
        records
    }
}
