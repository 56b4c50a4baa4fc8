//! The wait of one produce request until everything that it appended is committed.
//!
//! One allocation for the request and an entry in each partition; the request's task is woken once,
//! when the last partition is done. Dropping the wait takes its entries back, so that a request that
//! is gone or has timed out leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::types::Offset;
use tokio::sync::Notify;

use super::waiters::{CommitState, Waiters};

/// How many partitions of a request are not done, and the task to wake when none is left.
#[derive(Debug)]
pub(super) struct Countdown {
    /// Holds one more until everything is registered, so that nobody is woken before.
    left: AtomicUsize,
    none_left: Notify,
}

impl Countdown {
    pub(super) fn add(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none_left.notify_one();
        }
    }
}

/// The wait of one produce request.
#[derive(Debug)]
pub(crate) struct CommitWait {
    countdown: Arc<Countdown>,
    targets: Vec<(Arc<Waiters>, Offset)>,
    all_registered: bool,
}

impl CommitWait {
    /// A wait for nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            countdown: Arc::new(Countdown { left: AtomicUsize::new(1), none_left: Notify::new() }),
            targets: Vec::new(),
            all_registered: false,
        }
    }

    /// Waits also for the high watermark of a partition to reach `next_offset`. Call this right after the
    /// append.
    pub(crate) fn add(&mut self, partition: Arc<Waiters>, next_offset: Offset) {
        // What is committed or lost already needs no entry; `state` will find that out by itself.
        partition.wait_for_commit(next_offset, &self.countdown);
        self.targets.push((partition, next_offset));
    }

    /// Completes when every partition is committed or lost. May be dropped at any await and called
    /// again.
    pub(crate) async fn finished(&mut self) {
        if !self.all_registered {
            self.all_registered = true;
            self.countdown.count_down();
        }
        while self.countdown.left.load(Ordering::Acquire) > 0 {
            // A wake-up before this call is kept, so that it cannot be lost in between.
            self.countdown.none_left.notified().await;
        }
    }

    /// What became of the `index`-th addition.
    pub(crate) fn state(&self, index: usize) -> CommitState {
        self.targets.get(index).map_or(CommitState::Lost, |(partition, next_offset)| {
            partition.commit_state(*next_offset)
        })
    }
}

impl Drop for CommitWait {
    fn drop(&mut self) {
        let registered = self.countdown.left.load(Ordering::Acquire);
        if registered == 0 || (registered == 1 && !self.all_registered) {
            return;
        }
        for (partition, next_offset) in &self.targets {
            partition.forget_commit(*next_offset, &self.countdown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll};

    use raft::replica::ReplicaListener;

    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::new(raw)
    }

    /// Whether the wait is over, asked once as an executor would.
    fn is_finished(wait: &mut CommitWait) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        matches!(pin!(wait.finished()).poll(&mut context), Poll::Ready(()))
    }

    #[test]
    fn a_request_is_done_when_its_last_partition_is() {
        let (first, second) = (Arc::<Waiters>::default(), Arc::<Waiters>::default());
        let mut wait = CommitWait::new();
        wait.add(first.clone(), offset(5));
        wait.add(second.clone(), offset(9));
        assert!(!is_finished(&mut wait));
        first.committed(offset(4));
        second.committed(offset(20));
        assert!(!is_finished(&mut wait), "the first is at 4 of 5");
        assert_eq!([wait.state(0), wait.state(1)], [CommitState::Pending, CommitState::Committed]);
        first.committed(offset(5));
        assert!(is_finished(&mut wait));
        assert_eq!(wait.state(0), CommitState::Committed);
    }

    #[test]
    fn a_commit_between_the_append_and_the_registration_is_not_missed() {
        let partition = Arc::<Waiters>::default();
        partition.committed(offset(5));
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), offset(5));
        assert!(is_finished(&mut wait));
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), offset(6));
        partition.committed(offset(6));
        assert!(is_finished(&mut wait), "committed between the registration and the first await");
    }

    #[test]
    fn a_lost_partition_ends_the_wait_and_keeps_what_was_committed() {
        let partition = Arc::<Waiters>::default();
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), offset(2));
        wait.add(partition.clone(), offset(4));
        partition.committed(offset(2));
        partition.lost();
        assert!(is_finished(&mut wait));
        assert_eq!([wait.state(0), wait.state(1)], [CommitState::Committed, CommitState::Lost]);
        let mut late = CommitWait::new();
        late.add(partition, offset(9));
        assert!(is_finished(&mut late) && late.state(0) == CommitState::Lost);
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind_and_the_others_alone() {
        let partition = Arc::<Waiters>::default();
        let waits = [3, 5, 5, 7].map(|target| {
            let mut wait = CommitWait::new();
            wait.add(partition.clone(), offset(target));
            wait
        });
        let [first, mut second, third, fourth] = waits;
        drop(third);
        assert_eq!(partition.commit_waits(), 3);
        drop((first, fourth));
        assert_eq!(partition.commit_waits(), 1);
        assert!(!is_finished(&mut second));
        partition.committed(offset(5));
        assert!(is_finished(&mut second));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn commits_that_race_with_registrations_end_every_wait() {
        const REQUESTS: i64 = 2_000;
        let partition = Arc::<Waiters>::default();
        let committer = {
            let partition = partition.clone();
            std::thread::spawn(move || {
                (1..=REQUESTS).for_each(|target| partition.committed(offset(target)));
            })
        };
        for target in 1..=REQUESTS {
            let mut wait = CommitWait::new();
            wait.add(partition.clone(), offset(target));
            // A lost wake-up would hang here for ever.
            wait.finished().await;
            assert_eq!(wait.state(0), CommitState::Committed);
        }
        committer.join().unwrap();
        assert_eq!(partition.commit_waits(), 0);
    }
}
