//! The assignor `range`: of each topic, a run of neighbouring partitions for each subscriber.
//!
//! Subscribers stand in one order for all topics, those with a static id first. So topics with equally
//! many partitions and the same subscribers are divided alike, and a static member that comes back
//! under another member id finds its old range.

use std::collections::BTreeSet;

use super::{PartitionCounts, Partitions, Subscriber, subscribers_by_topic};

pub(super) fn assign(subscribers: &[Subscriber<'_>], counts: &PartitionCounts) -> Vec<Partitions> {
    let mut shares = vec![Partitions::new(); subscribers.len()];
    for (topic_id, mut indexes) in subscribers_by_topic(subscribers) {
        indexes.sort_by_key(|index| {
            let subscriber = &subscribers[*index];
            // Members with a static id go by it, ahead of the others.
            let own_id = subscriber.instance_id.is_none().then_some(subscriber.member_id);
            (own_id, subscriber.instance_id)
        });
        let members = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
        let count = counts[&topic_id];
        let mut begin = 0;
        for (position, index) in (0..).zip(indexes) {
            let is_larger = position < count % members;
            let end = begin + count / members + i32::from(is_larger);
            if begin < end {
                shares[index].insert(topic_id, BTreeSet::from_iter(begin..end));
            }
            begin = end;
        }
    }
    shares
}
