//! The time in which this replica leads: what was produced and has no place in the log yet.
//!
//! A produce stages its batch in the log, which assigns its offsets, and queues it here. The
//! proposer hands the queue to Raft in order, and Raft's core calls back for each entry when it
//! appends it: then the batch leaves the queue for its place in the log. Until then nothing is
//! lost by a refusal (a leader whose lease ran out refuses for a while): the whole queue is proposed
//! again. A batch that Raft takes out of order, because one before it was refused, or takes twice, is
//! not appended: its entry is a void one.
//!
//! One lock orders staging, appending and the end of the tenure. It is held for memory's work only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use protocol::types::{LeaderEpoch, Offset, Timestamp};
use storage::error::AppendError;
use storage::log::entries::{EntryBatch, StageOutcome};
use storage::log::{AppendBatch, Log};
use tokio::sync::Notify;

use crate::replica::Produced;

/// Batches that wait for their place in the log; more are refused as if the disk were busy.
const STAGED_MAX: usize = 16_384;
/// The proposer takes so many at a time.
const PROPOSED_AT_ONCE_MAX: usize = 256;

pub(super) struct Tenure {
    state: Mutex<State>,
    /// The end of what is staged; below the log's own end outside of a tenure.
    staged_end: AtomicI64,
    /// The proposer has something to do.
    pub(super) wake: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    /// The epoch in which produces are taken.
    epoch: Option<LeaderEpoch>,
    /// Staged and not in the log, in order.
    queue: VecDeque<EntryBatch>,
    /// How many of them, from the front, were handed to Raft.
    proposed: usize,
    /// Set when Raft has refused one of them.
    is_refused: bool,
    /// The epoch whose tenure ended although Raft's leader is still this one.
    given_up: Option<LeaderEpoch>,
}

/// Why a produce is not taken.
pub(super) enum NotTaken {
    /// No tenure, or another than the caller's.
    NotLeading,
    /// The log refused.
    Append(AppendError),
}

/// What the proposer does next.
pub(super) enum Next {
    /// Nothing until it is woken.
    Wait,
    /// Raft has refused: wait a moment and begin with the front of the queue again.
    Retry,
    /// Hand these to Raft, in this order.
    Propose(LeaderEpoch, Vec<Offset>),
}

impl Tenure {
    pub(super) fn new() -> Self {
        let state = State {
            epoch: None,
            queue: VecDeque::new(),
            proposed: 0,
            is_refused: false,
            given_up: None,
        };
        Self { state: Mutex::new(state), staged_end: AtomicI64::new(-1), wake: Notify::new() }
    }

    /// Takes produces from now on, behind everything that is in the log.
    pub(super) fn begin(&self, epoch: LeaderEpoch) {
        let mut state = self.state.lock();
        debug_assert!(state.queue.is_empty(), "a tenure begins without what another staged");
        state.epoch = Some(epoch);
    }

    /// Takes none any more; what has no place in the log yet will never get one.
    pub(super) fn end(&self, log: &Log) {
        let mut state = self.state.lock();
        state.epoch = None;
        (state.proposed, state.is_refused) = (0, false);
        state.queue.clear();
        log.unstage();
        self.staged_end.store(-1, Ordering::Release);
    }

    /// Ends the tenure of an epoch for good, although Raft has not taken the leadership away.
    /// `false` if that tenure is over anyway.
    pub(super) fn give_up(&self, log: &Log) -> bool {
        let epoch = {
            let mut state = self.state.lock();
            let epoch = state.epoch.take();
            state.given_up = epoch.or(state.given_up);
            epoch
        };
        self.end(log);
        epoch.is_some()
    }

    /// Whether an epoch's tenure was given up.
    pub(super) fn was_given_up(&self, epoch: LeaderEpoch) -> bool {
        self.state.lock().given_up == Some(epoch)
    }

    /// The end of what is staged, if that is behind the log's.
    pub(super) fn staged_end(&self) -> Offset {
        Offset::new(self.staged_end.load(Ordering::Acquire))
    }

    /// Stages a batch, if `epoch` is the tenure's or none is asked for.
    pub(super) fn stage(
        &self,
        log: &Log,
        epoch: Option<LeaderEpoch>,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, NotTaken> {
        let mut state = self.state.lock();
        let leader_epoch = state.epoch.ok_or(NotTaken::NotLeading)?;
        if epoch.is_some_and(|epoch| epoch != leader_epoch) {
            return Err(NotTaken::NotLeading);
        }
        if state.queue.len() >= STAGED_MAX {
            let pending_bytes = state.queue.iter().map(|batch| batch.body.len()).sum();
            return Err(NotTaken::Append(AppendError::Busy { pending_bytes }));
        }
        let outcome = log.stage(batch, leader_epoch, now).map_err(NotTaken::Append)?;
        let appended = match outcome {
            StageOutcome::Duplicate(appended) => appended,
            StageOutcome::Staged(staged) => {
                state.queue.push_back(staged.batch);
                self.staged_end.store(staged.appended.next_offset.get(), Ordering::Release);
                self.wake.notify_one();
                staged.appended
            }
        };
        Ok(Produced { appended, leader_epoch })
    }

    /// What the proposer does next.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        let Some(epoch) = state.epoch else { return Next::Wait };
        if state.is_refused {
            return Next::Retry;
        }
        let from = state.proposed;
        let more = state.queue.iter().skip(from).take(PROPOSED_AT_ONCE_MAX);
        let offsets: Vec<_> = more.map(|batch| batch.header.base_offset).collect();
        if offsets.is_empty() {
            return Next::Wait;
        }
        state.proposed += offsets.len();
        Next::Propose(epoch, offsets)
    }

    /// Raft refused something of this epoch that it may take later.
    pub(super) fn refused(&self) {
        let mut state = self.state.lock();
        if state.epoch.is_some() {
            state.is_refused = true;
            self.wake.notify_one();
        }
    }

    /// Everything that has no place in the log is proposed again.
    pub(super) fn begin_again(&self) {
        let mut state = self.state.lock();
        (state.proposed, state.is_refused) = (0, false);
    }

    /// Holds the tenure as it is while Raft's core appends.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// The batch that is staged at `base_offset`, if it is the next that may be appended in `epoch`
    /// to a log that ends at `log_end`. It leaves the queue.
    pub(super) fn take(
        &mut self,
        epoch: LeaderEpoch,
        base_offset: Offset,
        log_end: Offset,
    ) -> Option<EntryBatch> {
        let front = self.queue.front()?.header.base_offset;
        if self.epoch != Some(epoch) || base_offset != front || base_offset != log_end {
            return None;
        }
        self.proposed = self.proposed.saturating_sub(1);
        self.queue.pop_front()
    }
}
