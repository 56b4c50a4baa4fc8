//! How far groups are behind, for whoever looks.
//!
//! A look takes no more than two times its limit of partitions: those of the first groups one by one,
//! those of the next as sums, and nothing of the rest. Which groups are the first is remembered from
//! look to look, so that what is shown does not come and go.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::types::{Offset, PartitionId};

use super::Groups;
use super::offsets::GroupOffsets;
use crate::broker::Broker;
use crate::cluster::image::Image;
use crate::partitions::Partitions;

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The partition's index.
    pub(crate) partition: i32,
    /// The next offset to be consumed.
    pub(crate) offset: i64,
    /// Records from there to the high watermark; `None` if the partition is not here.
    pub(crate) lag: Option<u64>,
}

/// A group that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLag {
    /// Its id.
    pub(crate) group: Arc<str>,
    /// Over all of its partitions.
    pub(crate) sum: u64,
    /// Its partitions one by one; empty where there was room for the sum only.
    pub(crate) partitions: Vec<Committed>,
}

/// The groups of the last look, in their order.
#[derive(Debug, Default)]
pub(crate) struct Order(Vec<Arc<str>>);

/// Looks at groups, at up to `limit` partitions one by one and at up to as many more for sums.
pub(crate) fn look(broker: &Broker, limit: usize, order: &mut Order) -> Vec<GroupLag> {
    let mut taken = take(&broker.groups, limit, order);
    let image = broker.cluster.image();
    for Taken { found, is_detailed } in &mut taken {
        for committed in &mut found.partitions {
            committed.lag = lag(&image, &broker.partitions, committed);
        }
        found.sum = found.partitions.iter().filter_map(|committed| committed.lag).sum();
        if !*is_detailed {
            found.partitions.clear();
        }
    }
    taken.into_iter().map(|taken| taken.found).collect()
}

fn lag(image: &Image, partitions: &Partitions, committed: &Committed) -> Option<u64> {
    let topic = image.topics.get(&*committed.topic)?;
    let open = partitions.get(topic.id, PartitionId::new(committed.partition)).ok()?;
    let end: Offset = open.replica.pointers().high_watermark;
    // Who has committed what is not there is not behind.
    Some(u64::try_from(end.get().saturating_sub(committed.offset)).unwrap_or(0))
}

/// A group with all that it has committed, before the lag is known.
struct Taken {
    found: GroupLag,
    is_detailed: bool,
}

fn take(groups: &Groups, limit: usize, order: &mut Order) -> Vec<Taken> {
    let mut room = Room { detailed: limit, summed: limit, taken: Vec::new() };
    for name in std::mem::take(&mut order.0) {
        let Ok(owner) = groups.owner(&name) else { continue };
        // A group that is gone, or is being loaded, loses its place.
        owner.look(|shard| shard.get(&name).map(|group| room.take(&name, &group.offsets))).ok();
    }
    let known: HashSet<_> = room.taken.iter().map(|taken| Arc::clone(&taken.found.group)).collect();
    for owner in groups.owners() {
        let look = owner.look(|shard| {
            let mut others = shard.iter().filter(|(name, _)| !known.contains(*name));
            others.all(|(name, group)| room.take(name, &group.offsets))
        });
        if look.is_ok_and(|(fits, _)| !fits) {
            break;
        }
    }
    order.0 = room.taken.iter().map(|taken| Arc::clone(&taken.found.group)).collect();
    room.taken
}

/// What may still be looked at.
struct Room {
    detailed: usize,
    summed: usize,
    taken: Vec<Taken>,
}

impl Room {
    /// Copies what a group has committed; false once there is no room.
    fn take(&mut self, name: &Arc<str>, offsets: &GroupOffsets) -> bool {
        // One without commits takes time too.
        let cost = offsets.len().max(1);
        let is_detailed = cost <= self.detailed;
        if is_detailed {
            self.detailed -= cost;
        } else {
            // Whoever comes after a group that does not fit has no better place.
            self.detailed = 0;
            let Some(summed) = self.summed.checked_sub(cost) else {
                self.summed = 0;
                return false;
            };
            self.summed = summed;
        }
        let partitions = offsets.iter().flat_map(|(topic, partitions)| {
            partitions.map(|(partition, committed)| Committed {
                topic: Arc::clone(topic),
                partition,
                offset: committed.offset,
                lag: None,
            })
        });
        let group = Arc::clone(name);
        let found = GroupLag { group, sum: 0, partitions: partitions.collect() };
        self.taken.push(Taken { found, is_detailed });
        true
    }
}

#[cfg(test)]
mod tests {
    use protocol::group_record::{CommittedOffset, OffsetKey};

    use super::*;

    fn offsets(partitions: i32) -> GroupOffsets {
        let mut offsets = GroupOffsets::default();
        for partition in 0..partitions {
            let key = OffsetKey { group: Arc::from("g"), topic: Arc::from("t"), partition };
            let value = CommittedOffset {
                offset: 7,
                leader_epoch: -1,
                metadata: Arc::from(""),
                committed_at: 1,
                expires_at: None,
                topic_id: None,
            };
            offsets.apply(&key, Some(value));
        }
        offsets
    }

    /// Whether each of the groups, with so many partitions, was taken one by one, as a sum or not.
    fn taken(limit: usize, groups: &[i32]) -> Vec<Option<bool>> {
        let mut room = Room { detailed: limit, summed: limit, taken: Vec::new() };
        let fits = |partitions: &i32| {
            let fits = room.take(&Arc::from("g"), &offsets(*partitions));
            fits.then(|| room.taken.last().unwrap().is_detailed)
        };
        groups.iter().map(fits).collect()
    }

    #[test]
    fn first_one_by_one_then_as_sums_then_not_at_all() {
        let (one_by_one, sum, not_at_all) = (Some(true), Some(false), None);
        assert_eq!(taken(10, &[3, 7]), [one_by_one, one_by_one]);
        assert_eq!(taken(10, &[3, 8, 1, 1]), [one_by_one, sum, sum, sum]);
        assert_eq!(taken(10, &[3, 8, 3, 1]), [one_by_one, sum, not_at_all, not_at_all]);
        assert_eq!(taken(2, &[0, 0, 0, 0, 0]), [one_by_one, one_by_one, sum, sum, not_at_all]);
        assert_eq!(taken(0, &[0, 1]), [not_at_all, not_at_all]);
    }
}
