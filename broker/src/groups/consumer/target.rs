//! The target assignment: computed for the whole group when its epoch has risen, at most once in
//! `group.consumer.assignment.interval.ms`.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::group_record::{GroupRecord, TargetEpoch};

use super::member::to_topics;
use super::{ConsumerGroup, Surroundings};
use crate::groups::assignor::{PartitionCounts, Partitions, Subscriber};
use crate::groups::effects::Effects;

impl ConsumerGroup {
    /// Computes targets if the group epoch is ahead of them, and the last time is long enough ago. If
    /// it is not, the members go on towards the targets that there are.
    pub(super) fn update_target(&mut self, around: Surroundings<'_>, effects: &mut Effects) {
        let epoch = self.state.epoch();
        if self.state.target_epoch() >= epoch || !self.may_compute(around) {
            return;
        }
        for (member_id, target) in self.compute_targets(around) {
            let has_changed = self.state.targets.get(&member_id) != Some(&target);
            if has_changed {
                let value = Some(to_topics(&target));
                self.put(GroupRecord::Target(self.key(&member_id), value), effects);
            }
        }
        let value = TargetEpoch { epoch, computed_at: around.at.wall_ms.max(0) };
        self.put(GroupRecord::TargetEpoch(Arc::clone(&self.name), Some(value)), effects);
        tracing::debug!(group = %self.name, epoch, "computed a target assignment");
    }

    fn may_compute(&self, around: Surroundings<'_>) -> bool {
        let computed_at = self.state.target_computed_at();
        let interval = around.limits.assignment_interval.as_millis();
        let age = around.at.wall_ms.saturating_sub(computed_at);
        // A clock that was set back must not keep the group waiting.
        computed_at == 0 || age < 0 || u128::try_from(age).is_ok_and(|age| age >= interval)
    }

    fn compute_targets(&self, around: Surroundings<'_>) -> Vec<(Arc<str>, Partitions)> {
        let mut counts = PartitionCounts::new();
        for name in self.state.topics() {
            if let Some(topic) = around.image.topics.get(&**name) {
                let count = i32::try_from(topic.partitions.len()).expect("a count of the wire's");
                counts.insert(topic.id.get(), count);
            }
        }
        let members = || self.state.members.iter();
        let topics: BTreeMap<_, _> =
            members().map(|(id, it)| (id, self.topic_ids_of(it, around.image))).collect();
        let subscribers: Vec<_> = members()
            .map(|(member_id, member)| Subscriber {
                member_id,
                instance_id: member.told.instance_id.as_deref(),
                topics: &topics[member_id],
                before: self.state.target_of(member_id),
            })
            .collect();
        let shares = self.assignor(around.limits).assign(&subscribers, &counts);
        members().map(|(member_id, _)| Arc::clone(member_id)).zip(shares).collect()
    }
}
