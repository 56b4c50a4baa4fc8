//! The assignor `uniform`: subscribers get equally many partitions, give or take one, and keep what they
//! had as far as that allows.

mod mixed;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{PartitionCounts, Partitions, Subscriber};

pub(super) fn assign(subscribers: &[Subscriber<'_>], counts: &PartitionCounts) -> Vec<Partitions> {
    let Some(first) = subscribers.first() else { return Vec::new() };
    let (mut shares, free) = keep(subscribers, counts);
    if subscribers.iter().all(|subscriber| subscriber.topics == first.topics) {
        level(&mut shares, free);
    } else {
        mixed::level(&mut shares, free, subscribers);
    }
    shares
}

/// What each subscriber had and still may have, and the partitions that nobody had.
fn keep(
    subscribers: &[Subscriber<'_>],
    counts: &PartitionCounts,
) -> (Vec<Partitions>, BTreeSet<(Uuid, i32)>) {
    let subscribed: BTreeMap<Uuid, i32> = subscribers
        .iter()
        .flat_map(|subscriber| subscriber.topics)
        .map(|topic_id| (*topic_id, counts[topic_id]))
        .collect();
    let each =
        subscribed.iter().flat_map(|(topic_id, count)| (0..*count).map(|it| (*topic_id, it)));
    let mut free: BTreeSet<(Uuid, i32)> = each.collect();
    let shares = subscribers.iter().map(|subscriber| {
        let mut share = Partitions::new();
        let may_stay = |topic_id: &&Uuid| subscriber.topics.contains(topic_id);
        for topic_id in subscriber.before.keys().filter(may_stay) {
            for partition in &subscriber.before[topic_id] {
                if free.remove(&(*topic_id, *partition)) {
                    share.entry(*topic_id).or_default().insert(*partition);
                }
            }
        }
        share
    });
    (shares.collect(), free)
}

/// All want the same topics: the sizes alone decide. Those that have more than their part give up what
/// is above it; a part with the one partition more stays where it is already.
fn level(shares: &mut [Partitions], mut free: BTreeSet<(Uuid, i32)>) {
    let total = free.len() + shares.iter().map(size).sum::<usize>();
    let (part, mut larger) = (total / shares.len(), total % shares.len());
    let mut quotas = vec![part; shares.len()];
    for (share, quota) in shares.iter_mut().zip(&mut quotas) {
        if larger > 0 && size(share) > part {
            *quota += 1;
            larger -= 1;
        }
        while size(share) > *quota {
            free.insert(take_last(share));
        }
    }
    for (share, mut quota) in shares.iter_mut().zip(quotas) {
        if larger > 0 && quota == part {
            quota += 1;
            larger -= 1;
        }
        for _ in size(share)..quota {
            let (topic_id, partition) = free.pop_first().expect("the quotas add up to the total");
            share.entry(topic_id).or_default().insert(partition);
        }
    }
    assert!(free.is_empty(), "the quotas add up to the total");
}

fn size(share: &Partitions) -> usize {
    share.values().map(BTreeSet::len).sum()
}

fn take_last(share: &mut Partitions) -> (Uuid, i32) {
    let mut entry = share.last_entry().expect("it has more than its quota");
    let topic_id = *entry.key();
    let partition = entry.get_mut().pop_last().expect("no topic stands without partitions");
    if entry.get().is_empty() {
        entry.remove();
    }
    (topic_id, partition)
}
