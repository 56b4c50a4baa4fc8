//! `uniform` for subscribers that want different topics. What is free goes to whoever has least; then
//! partitions move from those that have most to those that have least, topic by topic, until no move
//! brings two of them nearer to each other.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::size;
use crate::groups::assignor::{Partitions, Subscriber, subscribers_by_topic};

/// Rounds over all topics. Where subscriptions overlap without being equal, one topic's moves make room
/// for another's; what is uneven after so many rounds stays so.
const ROUNDS_MAX: usize = 16;

pub(super) fn level(
    shares: &mut [Partitions],
    free: BTreeSet<(Uuid, i32)>,
    subscribers: &[Subscriber<'_>],
) {
    let by_topic = subscribers_by_topic(subscribers);
    let mut sizes: Vec<usize> = shares.iter().map(size).collect();
    hand_out(shares, &mut sizes, free, &by_topic);
    for _ in 0..ROUNDS_MAX {
        let mut moves = 0;
        for (topic_id, indexes) in &by_topic {
            moves += level_topic(shares, &mut sizes, *topic_id, indexes);
        }
        if moves == 0 {
            break;
        }
    }
}

/// The topics that fewest want come first: of them there is least choice.
fn hand_out(
    shares: &mut [Partitions],
    sizes: &mut [usize],
    free: BTreeSet<(Uuid, i32)>,
    by_topic: &BTreeMap<Uuid, Vec<usize>>,
) {
    let mut free_by_topic: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic_id, partition) in free {
        free_by_topic.entry(topic_id).or_default().push(partition);
    }
    let mut topics: Vec<_> = free_by_topic.into_iter().collect();
    topics.sort_by_key(|(topic_id, _)| by_topic[topic_id].len());
    for (topic_id, partitions) in topics {
        let indexes = &by_topic[&topic_id];
        let mut by_size: BTreeSet<_> =
            indexes.iter().map(|index| (sizes[*index], *index)).collect();
        for partition in partitions {
            let (_, least) = by_size.pop_first().expect("a topic of which partitions are free has");
            shares[least].entry(topic_id).or_default().insert(partition);
            sizes[least] += 1;
            by_size.insert((sizes[least], least));
        }
    }
}

/// Moves one topic's partitions. Every move lowers the sum of the sizes' squares, so this ends.
fn level_topic(
    shares: &mut [Partitions],
    sizes: &mut [usize],
    topic_id: Uuid,
    indexes: &[usize],
) -> usize {
    let mut all: BTreeSet<_> = indexes.iter().map(|index| (sizes[*index], *index)).collect();
    let has_some = |shares: &[Partitions], index: usize| shares[index].contains_key(&topic_id);
    let mut owners: BTreeSet<_> =
        all.iter().filter(|(_, index)| has_some(shares, *index)).copied().collect();
    let mut moves = 0;
    while let (Some((least_size, least)), Some((most_size, most))) =
        (all.first().copied(), owners.last().copied())
    {
        if most_size < least_size + 2 {
            break;
        }
        let owned = shares[most].get_mut(&topic_id).expect("it is among the owners");
        let partition = owned.pop_last().expect("no topic stands without partitions");
        if owned.is_empty() {
            shares[most].remove(&topic_id);
        }
        shares[least].entry(topic_id).or_default().insert(partition);
        for (index, old_size) in [(least, least_size), (most, most_size)] {
            all.remove(&(old_size, index));
            owners.remove(&(old_size, index));
        }
        sizes[least] += 1;
        sizes[most] -= 1;
        for index in [least, most] {
            all.insert((sizes[index], index));
            if has_some(shares, index) {
                owners.insert((sizes[index], index));
            }
        }
        moves += 1;
    }
    moves
}
