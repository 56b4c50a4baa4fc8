//! How many groups there are in each state, how many commits they hold, and what has happened: kept
//! as it changes, so that nobody has to look at every group to tell it.
//!
//! Each group has its share ([`Share`]), which it brings up to date after each change and takes back
//! when it is gone. Must never be what a group decides by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Kafka's names of the protocols, each with its states.
pub(crate) const STATES: [(&str, &str); 8] = [
    ("classic", "Empty"),
    ("classic", "PreparingRebalance"),
    ("classic", "CompletingRebalance"),
    ("classic", "Stable"),
    ("consumer", "Empty"),
    ("consumer", "Assigning"),
    ("consumer", "Reconciling"),
    ("consumer", "Stable"),
];

/// What all groups of this broker amount to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    groups: [AtomicUsize; STATES.len()],
    offsets: AtomicUsize,
    rebalances: AtomicU64,
    commits: AtomicU64,
}

impl Tally {
    /// How many groups are in each of [`STATES`].
    pub(crate) fn groups(&self) -> [usize; STATES.len()] {
        self.groups.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// For how many partitions groups have committed.
    pub(crate) fn offsets(&self) -> usize {
        self.offsets.load(Ordering::Relaxed)
    }

    /// How often a group has got a new generation or epoch.
    pub(crate) fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    /// How many offsets were committed.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// An offset was committed.
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Kafka's name of its protocol.
    pub(crate) protocol: &'static str,
    /// Kafka's name of its state.
    pub(crate) state: &'static str,
    /// Its generation or epoch.
    pub(crate) generation: i32,
    /// For how many partitions it has committed.
    pub(crate) offsets: usize,
}

/// What one group adds to the tally.
#[derive(Debug)]
pub(crate) struct Share {
    tally: Arc<Tally>,
    /// `None` while it has not been counted.
    standing: Option<Standing>,
}

impl Share {
    /// Nothing yet.
    pub(crate) const fn new(tally: Arc<Tally>) -> Self {
        Self { tally, standing: None }
    }

    /// Counts the group as it stands now. A generation that rises between two calls counts as a
    /// rebalance; the first call tells where it begins.
    pub(crate) fn update(&mut self, now: Standing) {
        let before = self.standing.replace(now);
        if before.is_some_and(|before| now.generation > before.generation) {
            self.tally.rebalances.fetch_add(1, Ordering::Relaxed);
        }
        self.add(now);
        self.subtract(before);
    }

    fn add(&self, standing: Standing) {
        if let Some(count) = self.count_of(standing) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.offsets.fetch_add(standing.offsets, Ordering::Relaxed);
    }

    fn subtract(&self, standing: Option<Standing>) {
        let Some(standing) = standing else { return };
        if let Some(count) = self.count_of(standing) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.tally.offsets.fetch_sub(standing.offsets, Ordering::Relaxed);
    }

    fn count_of(&self, standing: Standing) -> Option<&AtomicUsize> {
        let state = (standing.protocol, standing.state);
        let place = STATES.iter().position(|known| *known == state);
        debug_assert!(place.is_some(), "{state:?} is no state of a group");
        place.map(|place| &self.tally.groups[place])
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.subtract(self.standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(state: &'static str, generation: i32, offsets: usize) -> Standing {
        Standing { protocol: "classic", state, generation, offsets }
    }

    #[test]
    fn a_group_counts_where_it_stands_and_no_more_when_it_is_gone() {
        let tally = Arc::new(Tally::default());
        let mut share = Share::new(Arc::clone(&tally));
        assert_eq!((tally.groups(), tally.offsets()), ([0; STATES.len()], 0));
        share.update(stands("Empty", 3, 2));
        assert_eq!((tally.groups()[0], tally.offsets(), tally.rebalances()), (1, 2, 0));
        share.update(stands("CompletingRebalance", 4, 1));
        assert_eq!(tally.groups(), [0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!((tally.offsets(), tally.rebalances()), (1, 1));
        share.update(stands("Stable", 4, 1));
        let other = Share::new(Arc::clone(&tally));
        drop(other);
        drop(share);
        assert_eq!((tally.groups(), tally.offsets()), ([0; STATES.len()], 0));
        assert_eq!(tally.rebalances(), 1, "what has happened stays");
    }
}
