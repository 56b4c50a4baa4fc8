//! The wait of one produce request until everything that it appended is committed.
//!
//! It registers with one partition at a time, and only once it is asked: of a connection's requests
//! that is the oldest, so that a commit which finishes many of them costs one wake-up. Dropping the
//! wait takes its registration back, so that a request that is gone or has timed out leaves nothing
//! behind.

use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use super::waiters::{CommitState, Registration, Target, Waiters};

/// The wait of one produce request.
#[derive(Debug, Default)]
pub(crate) struct CommitWait {
    places: SmallVec<[Place; 1]>,
    /// How many places, from the first on, were found committed or lost.
    finished: usize,
    /// With the partition of the first place that is not finished.
    registration: Option<Registration>,
}

#[derive(Debug)]
struct Place {
    partition: Arc<Waiters>,
    target: Target,
}

impl Place {
    fn state(&self) -> CommitState {
        self.partition.commit_state(self.target)
    }
}

impl CommitWait {
    /// A wait for nothing yet.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Waits also for `target` in a partition.
    pub(crate) fn add(&mut self, partition: Arc<Waiters>, target: Target) {
        self.places.push(Place { partition, target });
    }

    /// Whether there is nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Ready when every partition is committed or lost. Otherwise the task is woken when it should
    /// ask again; that may be once for each partition, though one commit mostly finishes them all.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Place { partition, target }) = self.places.get(self.finished) {
            match partition.poll_commit(*target, &mut self.registration, cx.waker()) {
                CommitState::Pending => return Poll::Pending,
                CommitState::Committed | CommitState::Lost | CommitState::Ended => {
                    self.finished += 1;
                }
            }
        }
        Poll::Ready(())
    }

    /// Whether every partition is committed.
    pub(crate) fn is_all_committed(&self) -> bool {
        self.places.iter().all(|place| place.state() == CommitState::Committed)
    }

    /// What became of the `index`-th addition.
    pub(crate) fn state(&self, index: usize) -> CommitState {
        self.places.get(index).map_or(CommitState::Lost, Place::state)
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
            && let Some(Place { partition, target }) = self.places.get(self.finished)
        {
            partition.forget_commit(*target, registration);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll};

    use protocol::types::{LeaderEpoch, Offset};
    use raft::replica::ReplicaListener;

    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::new(raw)
    }

    fn target(next_offset: i64, leader_epoch: i32) -> Target {
        let leader_epoch = LeaderEpoch::new(leader_epoch);
        Target { next_offset: offset(next_offset), leader_epoch }
    }

    /// Those of a partition that leads in epoch 0.
    fn leading() -> Arc<Waiters> {
        let waiters = Arc::<Waiters>::default();
        waiters.leads(LeaderEpoch::ZERO);
        waiters
    }

    /// Whether the wait is over, asked once as an executor would.
    fn is_finished(wait: &mut CommitWait) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        matches!(pin!(wait.finished()).poll(&mut context), Poll::Ready(()))
    }

    #[test]
    fn a_request_is_done_when_its_last_partition_is() {
        let (first, second) = (leading(), leading());
        let mut wait = CommitWait::new();
        wait.add(first.clone(), target(5, 0));
        wait.add(second.clone(), target(9, 0));
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
        let partition = leading();
        partition.committed(offset(5));
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), target(5, 0));
        assert!(is_finished(&mut wait));
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), target(6, 0));
        partition.committed(offset(6));
        assert!(is_finished(&mut wait), "committed between the registration and the first await");
    }

    #[test]
    fn a_lost_partition_ends_the_wait_and_keeps_what_was_committed() {
        let partition = leading();
        let mut wait = CommitWait::new();
        wait.add(partition.clone(), target(2, 0));
        wait.add(partition.clone(), target(4, 0));
        partition.committed(offset(2));
        partition.lost();
        assert!(is_finished(&mut wait));
        assert_eq!([wait.state(0), wait.state(1)], [CommitState::Committed, CommitState::Lost]);
        let mut late = CommitWait::new();
        late.add(partition, target(9, 0));
        assert!(is_finished(&mut late) && late.state(0) == CommitState::Lost);
    }

    #[test]
    fn a_commit_counts_only_in_the_epoch_of_its_batch() {
        let partition = leading();
        let wait = |next_offset, leader_epoch| {
            let mut wait = CommitWait::new();
            wait.add(partition.clone(), target(next_offset, leader_epoch));
            wait
        };
        let mut waits = [wait(3, 0), wait(5, 0)];
        assert!(waits.iter_mut().all(|wait| !is_finished(wait)));
        partition.committed(offset(3));
        partition.lost();
        // What another leader commits is another batch, or this one: nobody knows.
        partition.committed(offset(9));
        assert!(waits.iter_mut().all(is_finished));
        let states = |waits: &[CommitWait; 2]| [waits[0].state(0), waits[1].state(0)];
        assert_eq!(states(&waits), [CommitState::Committed, CommitState::Lost]);
        assert_eq!(wait(9, 0).state(0), CommitState::Lost, "added late");

        partition.leads(LeaderEpoch::new(2));
        assert_eq!(states(&waits), [CommitState::Committed, CommitState::Lost]);
        let mut again = wait(10, 2);
        assert!(!is_finished(&mut again));
        partition.committed(offset(10));
        assert!(is_finished(&mut again) && again.is_all_committed());
        assert_eq!(states(&waits), [CommitState::Committed, CommitState::Lost]);

        let mut early = wait(11, 4);
        assert!(!is_finished(&mut early), "its epoch is still to be told");
        partition.ended();
        assert!(is_finished(&mut early));
        assert_eq!([early.state(0), wait(12, 2).state(0)], [CommitState::Ended; 2]);
        partition.leads(LeaderEpoch::new(5));
        assert_eq!(wait(11, 5).state(0), CommitState::Ended, "it is final");
        assert_eq!(again.state(0), CommitState::Committed);
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind_and_the_others_alone() {
        let partition = leading();
        let waits = [3, 5, 5, 7].map(|end| {
            let mut wait = CommitWait::new();
            wait.add(partition.clone(), target(end, 0));
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
        let partition = leading();
        let committer = {
            let partition = partition.clone();
            std::thread::spawn(move || {
                (1..=REQUESTS).for_each(|target| partition.committed(offset(target)));
            })
        };
        for end in 1..=REQUESTS {
            let mut wait = CommitWait::new();
            wait.add(partition.clone(), target(end, 0));
            // A lost wake-up would hang here for ever.
            wait.finished().await;
            assert_eq!(wait.state(0), CommitState::Committed);
        }
        committer.join().unwrap();
        assert_eq!(partition.commit_waits(), 0);
    }
}
