//! The wait of one produce request until everything that it appended is committed.
//!
//! It registers with one partition at a time, and only once it is asked: of a connection's requests
//! that is the oldest, so that a commit which finishes many of them costs one wake-up. Dropping the
//! wait takes its registration back, so that a request that is gone or has timed out leaves nothing
//! behind.

use std::sync::Arc;
use std::task::{Context, Poll};

use protocol::types::Offset;
use smallvec::SmallVec;

use super::waiters::{CommitState, Registration, Waiters};

/// The wait of one produce request.
#[derive(Debug, Default)]
pub(crate) struct CommitWait {
    targets: SmallVec<[Target; 1]>,
    /// How many targets, from the first on, were found committed or lost.
    finished: usize,
    /// With the partition of the first target that is not finished.
    registration: Option<Registration>,
}

#[derive(Debug)]
struct Target {
    partition: Arc<Waiters>,
    next_offset: Offset,
}

impl Target {
    fn state(&self) -> CommitState {
        self.partition.commit_state(self.next_offset)
    }
}

impl CommitWait {
    /// A wait for nothing yet.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Waits also for the high watermark of a partition to reach `next_offset`.
    pub(crate) fn add(&mut self, partition: Arc<Waiters>, next_offset: Offset) {
        self.targets.push(Target { partition, next_offset });
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Ready when every partition is committed or lost. Otherwise the task is woken when it should
    /// ask again; that may be once for each partition, though one commit mostly finishes them all.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Target { partition, next_offset }) = self.targets.get(self.finished) {
            match partition.poll_commit(*next_offset, &mut self.registration, cx.waker()) {
                CommitState::Pending => return Poll::Pending,
                CommitState::Committed | CommitState::Lost => self.finished += 1,
            }
        }
        Poll::Ready(())
    }

    /// Whether every partition is committed.
    pub(crate) fn is_all_committed(&self) -> bool {
        self.targets.iter().all(|target| target.state() == CommitState::Committed)
    }

    /// What became of the `index`-th addition.
    pub(crate) fn state(&self, index: usize) -> CommitState {
        self.targets.get(index).map_or(CommitState::Lost, Target::state)
    }

    /// Completes when every partition is committed or lost.
    #[cfg(test)]
    pub(crate) async fn finished(&mut self) {
        std::future::poll_fn(|cx| self.poll_finished(cx)).await;
    }
}

impl Drop for CommitWait {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take()
            && let Some(Target { partition, next_offset }) = self.targets.get(self.finished)
        {
            partition.forget_commit(*next_offset, registration);
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
            assert!(!is_finished(&mut wait), "it registers when it is asked");
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
