//! The times that groups wait for, the earliest first. Each group has one time for each purpose: a new
//! one takes the place of the old, so that what is kept grows with what is waited for and with nothing
//! that clients do again and again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::effects::Timer;

/// Invariant: both sides hold the same times.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    in_order: BTreeSet<(Instant, Arc<str>, Timer)>,
    by_group: HashMap<Arc<str>, HashMap<Timer, Instant>>,
}

impl Wakes {
    /// Sets a time instead of the one that was set for the same.
    pub(super) fn set(&mut self, group: &Arc<str>, timer: Timer, at: Instant) {
        let own = match self.by_group.get_mut(group) {
            Some(own) => own,
            None => self.by_group.entry(Arc::clone(group)).or_default(),
        };
        if let Some(earlier) = own.insert(timer.clone(), at) {
            self.in_order.remove(&(earlier, Arc::clone(group), timer.clone()));
        }
        self.in_order.insert((at, Arc::clone(group), timer));
    }

    /// Whether a time is set.
    pub(super) fn is_set(&self, group: &str, timer: &Timer) -> bool {
        self.by_group.get(group).is_some_and(|own| own.contains_key(timer))
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Instant> {
        self.in_order.first().map(|(at, _, _)| *at)
    }

    /// Takes the earliest, if it has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Arc<str>, Timer)> {
        if self.first()? > now {
            return None;
        }
        let (_, group, timer) = self.in_order.pop_first()?;
        if let Some(own) = self.by_group.get_mut(&group) {
            own.remove(&timer);
            if own.is_empty() {
                self.by_group.remove(&group);
            }
        }
        Some((group, timer))
    }

    /// Forgets all times of a group.
    pub(super) fn forget(&mut self, group: &Arc<str>) {
        for (timer, at) in self.by_group.remove(group).into_iter().flatten() {
            self.in_order.remove(&(at, Arc::clone(group), timer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn a_group_has_one_time_for_each_purpose() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (one, other): (Arc<str>, Arc<str>) = (Arc::from("one"), Arc::from("other"));
        let mut wakes = Wakes::default();
        for turn in 0..100 {
            wakes.set(&one, Timer::Join, start + second * turn);
        }
        wakes.set(&one, Timer::Sync, start);
        wakes.set(&other, Timer::Join, start);
        assert_eq!(wakes.in_order.len(), 3);
        wakes.forget(&other);
        assert_eq!(wakes.take_due(start), Some((Arc::clone(&one), Timer::Sync)));
        assert_eq!(wakes.take_due(start + second * 98), None);
        assert!(wakes.is_set("one", &Timer::Join) && !wakes.is_set("one", &Timer::Sync));
        assert_eq!(wakes.take_due(start + second * 99), Some((one, Timer::Join)));
        assert!(wakes.by_group.is_empty() && wakes.first().is_none());
    }
}
