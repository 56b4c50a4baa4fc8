//! Where the replicas of new partitions go. Pure.
//!
//! A partition's preferred leader is the broker that is preferred by the fewest; its other replicas go
//! to racks that it has none in yet, and there to the brokers with the fewest replicas. Ties are broken
//! in a ring that begins behind the leader and runs the other way round for every other partition of a
//! leader, so that what a broker leads has its second replicas on all the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use protocol::types::BrokerId;

use super::image::Image;

/// More replicas were asked for than there are brokers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} replicas were asked for, but only {brokers} broker(s) are registered")]
pub(crate) struct PlacementError {
    /// Asked for.
    pub(crate) wanted: usize,
    /// Registered.
    pub(crate) brokers: usize,
}

/// Places new partitions, each in the light of those before it.
#[derive(Debug)]
pub(super) struct Placer<'a> {
    brokers: Vec<Broker<'a>>,
}

/// One broker and what it has.
#[derive(Debug)]
struct Broker<'a> {
    id: BrokerId,
    rack: Option<&'a str>,
    /// Partitions that prefer it as leader.
    preferred: usize,
    /// Replicas in all.
    replicas: usize,
}

impl<'a> Placer<'a> {
    /// Knows what the brokers of `image` have.
    pub(super) fn new(image: &'a Image) -> Self {
        let mut counts: BTreeMap<BrokerId, (usize, usize)> = BTreeMap::new();
        // A single broker takes everything, however much it has.
        if image.brokers.len() > 1 {
            for partition in image.topics.values().flat_map(|topic| &topic.partitions) {
                if let Some(leader) = partition.preferred_leader() {
                    counts.entry(leader).or_default().0 += 1;
                }
                for replica in &partition.replicas {
                    counts.entry(*replica).or_default().1 += 1;
                }
            }
        }
        let broker = |(id, broker): (&BrokerId, &'a super::image::BrokerImage)| {
            let (preferred, replicas) = counts.get(id).copied().unwrap_or_default();
            Broker { id: *id, rack: broker.rack.as_deref(), preferred, replicas }
        };
        Self { brokers: image.brokers.iter().map(broker).collect() }
    }

    /// How many brokers there are.
    pub(super) const fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// The replicas of `partitions` new partitions, the preferred leader first.
    ///
    /// # Errors
    /// [`PlacementError`].
    pub(super) fn place(
        &mut self,
        partitions: usize,
        replicas: usize,
    ) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
        let brokers = self.brokers.len();
        if replicas > brokers || replicas == 0 {
            return Err(PlacementError { wanted: replicas, brokers });
        }
        Ok((0..partitions).map(|_| self.place_one(replicas)).collect())
    }

    fn place_one(&mut self, replicas: usize) -> Vec<BrokerId> {
        let by_load = |at: &usize| (self.brokers[*at].preferred, self.brokers[*at].replicas);
        let leader = (0..self.brokers.len()).min_by_key(by_load).unwrap_or_default();
        let backwards = self.brokers[leader].preferred % 2 == 1;
        let mut chosen = vec![leader];
        while chosen.len() < replicas {
            let Some(next) = self.next_follower(&chosen, backwards) else { break };
            chosen.push(next);
        }
        self.brokers[leader].preferred += 1;
        for at in &chosen {
            self.brokers[*at].replicas += 1;
        }
        chosen.into_iter().map(|at| self.brokers[at].id).collect()
    }

    fn next_follower(&self, chosen: &[usize], backwards: bool) -> Option<usize> {
        let (count, leader) = (self.brokers.len(), *chosen.first()?);
        let is_new_rack = |broker: &Broker<'_>| {
            // Brokers that do not say where they stand stand apart.
            broker.rack.is_none() || chosen.iter().all(|at| self.brokers[*at].rack != broker.rack)
        };
        let candidates = (0..count).filter(|at| !chosen.contains(at));
        candidates.min_by_key(|at| {
            let broker = &self.brokers[*at];
            let ahead = (count + at - leader) % count;
            let distance = if backwards { count - ahead } else { ahead };
            (Reverse(is_new_rack(broker)), broker.replicas, distance)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::super::image::BrokerImage;
    use super::*;

    /// Brokers in these racks; an empty name is none.
    fn image(racks: &[&str]) -> Image {
        let broker = |(id, rack): (i32, &&str)| {
            let rack = (!rack.is_empty()).then(|| (*rack).to_owned());
            (BrokerId::new(id), BrokerImage { endpoints: Vec::new(), rack, node: None })
        };
        Image { brokers: Arc::new((0..).zip(racks).map(broker).collect()), ..Image::default() }
    }

    fn place(image: &Image, partitions: usize, replicas: usize) -> Vec<Vec<i32>> {
        let placed = Placer::new(image).place(partitions, replicas).unwrap();
        let ids = |replicas: Vec<BrokerId>| replicas.into_iter().map(BrokerId::get).collect();
        placed.into_iter().map(ids).collect()
    }

    fn tally(ids: impl Iterator<Item = i32>) -> Vec<usize> {
        let mut tally = BTreeMap::<i32, usize>::new();
        ids.for_each(|id| *tally.entry(id).or_default() += 1);
        tally.into_values().collect()
    }

    #[test]
    fn one_broker_takes_everything() {
        assert_eq!(place(&image(&[""]), 2, 1), [[0], [0]]);
    }

    #[test]
    fn leaders_and_replicas_are_spread() {
        for (brokers, replicas) in [(3, 1), (3, 2), (3, 3), (5, 2), (5, 3), (6, 3)] {
            let partitions = brokers * 4;
            let placed = place(&image(&vec![""; brokers]), partitions, replicas);
            let leaders = tally(placed.iter().map(|replicas| replicas[0]));
            assert_eq!(leaders, vec![4; brokers], "{brokers} brokers, {replicas} replicas");
            let all = tally(placed.iter().flatten().copied());
            assert!(all.iter().max().unwrap() - all.iter().min().unwrap() <= 1, "{all:?}");
            for replicas in &placed {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                assert_eq!(distinct.len(), replicas.len(), "two on one broker");
            }
        }
    }

    #[test]
    fn what_a_broker_leads_has_its_second_replicas_on_all_others() {
        let placed = place(&image(&["", "", ""]), 12, 3);
        for leader in 0..3 {
            let of_leader = placed.iter().filter(|replicas| replicas[0] == leader);
            assert_eq!(tally(of_leader.map(|replicas| replicas[1])), [2, 2]);
        }
    }

    #[test]
    fn replicas_go_to_as_many_racks_as_there_are() {
        let placed = place(&image(&["a", "a", "b", "b", "c", "c"]), 24, 3);
        for replicas in &placed {
            let racks: BTreeSet<_> = replicas.iter().map(|id| id / 2).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
        }
        assert_eq!(tally(placed.iter().map(|replicas| replicas[0])), [4; 6]);
        for replicas in place(&image(&["a", "a", "b"]), 6, 2) {
            assert!(replicas.contains(&2), "{replicas:?} are in one rack");
        }
        // More replicas than racks.
        assert!(place(&image(&["a", "a", "b"]), 6, 3).iter().all(|replicas| replicas.len() == 3));
    }

    #[test]
    fn what_is_there_counts() {
        let image = image(&["", "", ""]);
        let mut placer = Placer::new(&image);
        let first: Vec<_> = (0..6).flat_map(|_| placer.place(1, 1).unwrap().remove(0)).collect();
        assert_eq!(tally(first.iter().map(|id| id.get())), [2, 2, 2], "of one request");
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        let refused =
            |racks: &[&str], replicas| Placer::new(&image(racks)).place(1, replicas).unwrap_err();
        assert_eq!(refused(&["", ""], 3), PlacementError { wanted: 3, brokers: 2 });
        assert_eq!(refused(&[], 1), PlacementError { wanted: 1, brokers: 0 });
    }
}
