//! Who waits for a partition: produce requests for their commit, fetches for news.
//!
//! No lost wake-up: a produce registers its task for the offset that it waits for and is refused if
//! that is committed already, under the same lock that a commit takes. A fetch notes the version, reads, and
//! registers with the version that it has seen; a registration of an old version is refused, so the
//! fetch reads again. The replica moves its pointers before it tells the listener, hence whoever saw
//! a version sees at least the pointers of that version.
//!
//! A commit wait belongs to the leader epoch in which its batch was produced. It ends with that epoch: an
//! offset that is committed later, under another leader, may be of another batch.
//!
//! A commit costs the waiters that it wakes and nothing for those it does not: commit waits stand in
//! the order of their offsets, watches are registered for one wake-up and taken away by it.
//!
//! Bounds: a commit wait belongs to the oldest request in flight of a connection and goes with it. A watch
//! is held weakly, one for each partition of a parked fetch or of a session; those that died are
//! swept as the list grows, so that at most [`DEAD_WATCHES_MAX`] or as many as live ones remain.
//!
//! It must never call into the replica, nor wake anybody while it holds its lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::Mutex;
use protocol::types::{LeaderEpoch, Offset};
use raft::replica::{Produced, ReplicaListener};

use super::watch::{Slot, Watch};
use crate::leaders::Key;
use crate::leaders::news::LeadershipNews;

/// Watches that may have died before the list is swept, if fewer live.
const DEAD_WATCHES_MAX: usize = 16;

/// A point in a partition's life; every change of what a fetch could see moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(u64);

/// What somebody waits for: the commit of what was produced in one leader epoch up to an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// The end of it (exclusive).
    pub(crate) next_offset: Offset,
    /// In which it was produced.
    pub(crate) leader_epoch: LeaderEpoch,
}

impl Target {
    /// Of a batch.
    pub(crate) const fn of(produced: &Produced) -> Self {
        let Produced { appended, leader_epoch } = produced;
        Self { next_offset: appended.next_offset, leader_epoch: *leader_epoch }
    }
}

/// What became of a target that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitState {
    /// Everything up to it is committed.
    Committed,
    /// Not yet.
    Pending,
    /// The epoch has ended before; whether it was committed after that is not known.
    Lost,
    /// The log has failed or was closed before; nobody will know.
    Ended,
}

/// Everybody who waits for one partition.
#[derive(Debug)]
pub(crate) struct Waiters {
    /// Written under `state`'s lock, read without it.
    version: AtomicU64,
    /// Who wants to know of changes of leadership, and under which name.
    news: Option<(Arc<LeadershipNews>, Key)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    high_watermark: Offset,
    /// The epoch in which this replica leads, if it does.
    leads: Option<LeaderEpoch>,
    /// The last epoch that it has led in and that has ended, with the high watermark of that moment.
    last_lost: Option<(LeaderEpoch, Offset)>,
    /// Nothing will be told any more.
    ended: bool,
    /// By rising offset.
    commits: VecDeque<CommitEntry>,
    next_registration: u64,
    watches: Vec<(Weak<Watch>, Slot)>,
    sweep_at: usize,
}

#[derive(Debug)]
struct CommitEntry {
    /// Done once the high watermark is at or above this.
    next_offset: Offset,
    registration: Registration,
    waker: Waker,
}

/// One wait that is registered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registration(u64);

impl Default for Waiters {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Waiters {
    /// Nobody waits yet. Changes of leadership are told to `news` under the name that comes with it.
    pub(crate) fn new(news: Option<(Arc<LeadershipNews>, Key)>) -> Self {
        Self {
            version: AtomicU64::new(0),
            news,
            state: Mutex::new(State {
                high_watermark: Offset::ZERO,
                leads: None,
                last_lost: None,
                ended: false,
                commits: VecDeque::new(),
                next_registration: 0,
                watches: Vec::new(),
                sweep_at: DEAD_WATCHES_MAX,
            }),
        }
    }
}

impl State {
    fn commit_state(&self, target: Target) -> CommitState {
        let Target { next_offset, leader_epoch } = target;
        if self.leads == Some(leader_epoch) {
            return if self.high_watermark >= next_offset {
                CommitState::Committed
            } else {
                CommitState::Pending
            };
        }
        match self.last_lost {
            Some((lost, end)) if lost == leader_epoch && end >= next_offset => {
                CommitState::Committed
            }
            _ if self.ended => CommitState::Ended,
            // The epoch is about to be told.
            _ if self.newest_epoch().is_none_or(|known| known < leader_epoch) => {
                CommitState::Pending
            }
            _ => CommitState::Lost,
        }
    }

    fn newest_epoch(&self) -> Option<LeaderEpoch> {
        self.leads.or_else(|| self.last_lost.map(|(lost, _)| lost))
    }

    fn lose(&mut self) {
        if let Some(lost) = self.leads.take() {
            self.last_lost = Some((lost, self.high_watermark));
        }
    }

    fn place_of(&self, next_offset: Offset, registration: Registration) -> Option<usize> {
        let first = self.commits.partition_point(|entry| entry.next_offset < next_offset);
        let mut same =
            self.commits.range(first..).take_while(|entry| entry.next_offset == next_offset);
        same.position(|entry| entry.registration == registration).map(|at| first + at)
    }

    /// Takes the commit waits that are done away; all of them if the leadership is another one, since
    /// then each has to look what that means for it.
    fn take_finished(&mut self, leadership_changed: bool) -> Vec<CommitEntry> {
        let finished = if leadership_changed {
            self.commits.len()
        } else {
            self.commits.partition_point(|entry| entry.next_offset <= self.high_watermark)
        };
        self.commits.drain(..finished).collect()
    }

    fn take_watches(&mut self) -> Vec<(Weak<Watch>, Slot)> {
        self.sweep_at = DEAD_WATCHES_MAX;
        std::mem::take(&mut self.watches)
    }
}

impl Waiters {
    /// The present version: note it before looking at the partition's pointers.
    pub(crate) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Acquire))
    }

    /// The epoch in which this replica leads, if it does.
    pub(crate) fn leads_in(&self) -> Option<LeaderEpoch> {
        self.state.lock().leads
    }

    /// The last epoch in which this replica leads or has led since it was opened, and whether it does.
    pub(crate) fn tenure(&self) -> Option<(LeaderEpoch, bool)> {
        let state = self.state.lock();
        let present = state.leads.map(|leads| (leads, true));
        present.or_else(|| state.last_lost.map(|(lost, _)| (lost, false)))
    }

    /// What became of `target`.
    pub(crate) fn commit_state(&self, target: Target) -> CommitState {
        self.state.lock().commit_state(target)
    }

    /// What became of `target`. If it is pending, `waker` is registered to be woken when that
    /// changes, in place of the one that was under `registration`; otherwise none is, any more.
    pub(super) fn poll_commit(
        &self,
        target: Target,
        registration: &mut Option<Registration>,
        waker: &Waker,
    ) -> CommitState {
        let mut state = self.state.lock();
        let now = state.commit_state(target);
        if now != CommitState::Pending {
            // Whatever finished it has taken the entry away.
            *registration = None;
            return now;
        }
        if let Some(at) = registration.and_then(|known| state.place_of(target.next_offset, known)) {
            state.commits[at].waker.clone_from(waker);
        } else {
            let new = Registration(state.next_registration);
            state.next_registration += 1;
            *registration = Some(new);
            // Several connections register almost in order: the place is near the end.
            let next_offset = target.next_offset;
            let at = state.commits.partition_point(|entry| entry.next_offset <= next_offset);
            let entry = CommitEntry { next_offset, registration: new, waker: waker.clone() };
            state.commits.insert(at, entry);
        }
        now
    }

    /// Takes a wait back whose request is gone.
    pub(super) fn forget_commit(&self, target: Target, registration: Registration) {
        let mut state = self.state.lock();
        if let Some(at) = state.place_of(target.next_offset, registration) {
            state.commits.remove(at);
        }
    }

    /// Registers `watch` to be marked at the next change, once. `false` if the partition has changed
    /// since `seen`, or has ended so that nothing more will be told: nothing was registered, look again.
    #[must_use]
    pub(crate) fn watch(&self, watch: &Arc<Watch>, slot: Slot, seen: Version) -> bool {
        let mut state = self.state.lock();
        // Under the lock no change can be under way, so that relaxed order is enough.
        if state.ended || self.version.load(Ordering::Relaxed) != seen.0 {
            return false;
        }
        if state.watches.len() >= state.sweep_at {
            state.watches.retain(|(watch, _)| watch.strong_count() > 0);
            state.sweep_at = DEAD_WATCHES_MAX.max(2 * state.watches.len());
        }
        state.watches.push((Arc::downgrade(watch), slot));
        true
    }

    /// Something other than the high watermark has changed that a fetch reports: the log start.
    pub(crate) fn changed(&self) {
        self.change(false, |_| {});
    }

    /// Commit waits registered at present.
    #[cfg(test)]
    pub(super) fn commit_waits(&self) -> usize {
        self.state.lock().commits.len()
    }

    fn change(&self, leadership_changed: bool, apply: impl FnOnce(&mut State)) {
        let (finished, watches) = {
            let mut state = self.state.lock();
            apply(&mut state);
            self.version.fetch_add(1, Ordering::Release);
            (state.take_finished(leadership_changed), state.take_watches())
        };
        // Watches first: a client whose produce was acknowledged may look at once, without waiting,
        // and its fetch session must have the mark by then.
        for (watch, slot) in watches {
            if let Some(watch) = watch.upgrade() {
                watch.mark(slot);
            }
        }
        for entry in finished {
            entry.waker.wake();
        }
        if let Some((news, key)) = self.news.as_ref().filter(|_| leadership_changed) {
            news.tell(*key);
        }
    }
}

impl ReplicaListener for Waiters {
    fn committed(&self, high_watermark: Offset) {
        let raise = |state: &mut State| {
            state.high_watermark = state.high_watermark.max(high_watermark);
        };
        self.change(false, raise);
    }

    fn leads(&self, leader_epoch: LeaderEpoch) {
        self.change(true, |state| {
            state.lose();
            // A partition that was closed stays so, whatever its replica goes on to tell.
            state.leads = (!state.ended).then_some(leader_epoch);
        });
    }

    fn lost(&self) {
        self.change(true, State::lose);
    }

    fn ended(&self) {
        self.change(true, |state| {
            state.lose();
            state.ended = true;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(waiters: &Waiters, watch: &Arc<Watch>, slot: u32) -> bool {
        waiters.watch(watch, Slot(slot), waiters.version())
    }

    #[test]
    fn a_change_after_the_look_refuses_the_registration() {
        let (waiters, watch) = (Waiters::default(), Arc::<Watch>::default());
        let seen = waiters.version();
        waiters.committed(Offset::new(1));
        assert!(!waiters.watch(&watch, Slot(0), seen), "it must look again");
        assert!(watched(&waiters, &watch, 0));
        assert!(watch.take().is_empty());
    }

    #[test]
    fn a_registration_is_good_for_one_mark() {
        let (waiters, watch) = (Waiters::default(), Arc::<Watch>::default());
        assert!(watched(&waiters, &watch, 7));
        waiters.committed(Offset::new(1));
        waiters.committed(Offset::new(2));
        assert_eq!(watch.take(), [Slot(7)]);
        assert!(watched(&waiters, &watch, 7));
        waiters.changed();
        assert_eq!(watch.take(), [Slot(7)]);
        assert!(watched(&waiters, &watch, 7));
        waiters.leads(LeaderEpoch::ZERO);
        assert_eq!(watch.take(), [Slot(7)]);
        assert!(watched(&waiters, &watch, 7));
        waiters.lost();
        assert_eq!(watch.take(), [Slot(7)]);
        assert!(watched(&waiters, &watch, 7), "it may lead again");
        waiters.ended();
        assert_eq!(watch.take(), [Slot(7)]);
        assert!(!watched(&waiters, &watch, 7), "nobody would ever mark it");
    }

    #[test]
    fn watches_that_died_are_swept() {
        let (waiters, live) = (Waiters::default(), Arc::<Watch>::default());
        assert!(watched(&waiters, &live, 0));
        for _ in 0..10 * DEAD_WATCHES_MAX {
            assert!(watched(&waiters, &Arc::default(), 0));
            assert!(waiters.state.lock().watches.len() <= DEAD_WATCHES_MAX + 1);
        }
        waiters.committed(Offset::new(1));
        assert_eq!(live.take(), [Slot(0)], "the living one was not swept");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_commit_is_missed_by_a_reader_that_parks() {
        const COMMITS: i64 = 5_000;
        let (waiters, watch) = (Arc::<Waiters>::default(), Arc::<Watch>::default());
        let high_watermark = Arc::new(AtomicU64::new(0));
        let committer = {
            let (waiters, high_watermark) = (waiters.clone(), high_watermark.clone());
            std::thread::spawn(move || {
                for offset in 1..=COMMITS {
                    // As a replica does: the pointer first, then the listener.
                    high_watermark.fetch_add(1, Ordering::Release);
                    waiters.committed(Offset::new(offset));
                }
            })
        };
        let mut is_watched = false;
        loop {
            let seen = waiters.version();
            if high_watermark.load(Ordering::Acquire) == COMMITS.unsigned_abs() {
                break;
            }
            is_watched = is_watched || waiters.watch(&watch, Slot(0), seen);
            if is_watched {
                // A lost wake-up would hang here for ever.
                watch.marked().await;
                is_watched = watch.take().is_empty();
            }
        }
        committer.join().unwrap();
    }
}
