//! The wait of one produce request until everything that it appended is committed.
//!
//! One allocation for the request and an entry in each partition; the request's task is woken once,
//! when the last partition is done. Dropping the wait takes its entries back, so that a request that
//! is gone or has timed out leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::types::Offset;
use tokio::sync::Notify;

use super::Partition;
use super::waiters::CommitState;

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
    targets: Vec<(Arc<Partition>, Offset)>,
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

    /// Waits also for `partition`'s high watermark to reach `next_offset`. Call this right after the
    /// append.
    pub(crate) fn add(&mut self, partition: Arc<Partition>, next_offset: Offset) {
        // What is committed or lost already needs no entry; `state` will find that out by itself.
        partition.waiters().wait_for_commit(next_offset, &self.countdown);
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
            partition.waiters().commit_state(*next_offset)
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
            partition.waiters().forget_commit(*next_offset, &self.countdown);
        }
    }
}
