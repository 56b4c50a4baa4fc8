//! One partition of `__consumer_offsets`, with its groups in memory: the only place that changes them.
//!
//! Requests come on their connections' tasks, times on a task of the owner's own; each takes the lock,
//! lets the [`Shard`] decide, appends what is to be durable, and hands out answers with the offset up
//! to which the log must be committed before they may leave ([`Told`]). Nothing waits under the lock.
//!
//! When the log refuses for now (a full disk, a busy flusher), what members have changed already is
//! kept, written later, and answered then; until that is done only heartbeats are taken. When the log
//! is lost, so are the groups here: whoever waits is told to look for the coordinator again. After a
//! while another owner loads them anew.
//!
//! An owner belongs to one leader epoch of its partition. What it holds was read from the log after that
//! epoch began, and every append of it is taken in that epoch or not at all, so that no change is
//! decided upon by what another leader has changed meanwhile.

mod background;
mod writing;

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use protocol::group_record::GroupRecord;
use protocol::types::{LeaderEpoch, Offset};
use tokio::sync::{Notify, Semaphore, oneshot};

use self::writing::AppendOutcome;
use super::effects::{Answer, Effects, GroupError, Ticket};
use super::shard::{Shard, Terms};
use super::snapshot::SnapshotFile;
use super::tally::Tally;
use super::times::Times;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::partition::Partition;
use crate::partition::commit_wait::CommitWait;
use crate::partition::waiters::{CommitState, Target};

/// When an append that the log has refused for now is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When groups that were given up are loaded anew.
const RELOAD_AFTER: Duration = Duration::from_secs(30);

/// Bytes of the log that no snapshot covers, beyond which one is made; more if the last one was larger.
const UNCOVERED_BYTES_MAX: usize = 16 << 20;

/// Why groups cannot be served here at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Their partition is not here, or its log is lost.
    #[error("this broker does not coordinate the group")]
    NotHere,
    /// Their state is being read.
    #[error("the groups are being loaded")]
    Loading,
    /// Changes cannot be stored for now.
    #[error("the coordinator cannot store anything at the moment")]
    Blocked,
}

impl Unavailable {
    /// Whether the same owner may serve a little later.
    pub(crate) const fn is_passing(self) -> bool {
        matches!(self, Self::Loading | Self::Blocked)
    }
}

/// An answer, and the end of what must be committed before it may leave (exclusive).
#[derive(Debug)]
pub(crate) struct Told {
    /// The answer.
    pub(crate) answer: Answer,
    /// Where the log ended when it was given.
    pub(crate) upto: Offset,
}

/// Why records were not appended.
#[derive(Debug)]
pub(crate) enum PlanRefusal {
    /// The groups cannot be served.
    Unavailable(Unavailable),
    /// The group refuses.
    Group(GroupError),
    /// More than one batch can hold.
    TooLarge,
}

/// The groups of one partition.
pub(crate) struct Owner {
    partition: Arc<Partition>,
    /// The epoch in which the partition is led here as long as this serves.
    leader_epoch: LeaderEpoch,
    clock: Arc<dyn Clock>,
    /// Where the topics are seen.
    cluster: Arc<Cluster>,
    terms: Terms,
    snapshot: SnapshotFile,
    /// Whose turn it is to make a snapshot; closed when the broker stops.
    covering: Arc<Semaphore>,
    /// Set once the groups are loaded, and kept when they are lost.
    tally: OnceLock<Arc<Tally>>,
    state: Mutex<State>,
    /// Whether the groups are given up, for those who do not hold the lock.
    is_lost: AtomicBool,
    /// The task of the times looks again.
    look_again: Arc<Notify>,
}

#[derive(Debug)]
enum State {
    Loading,
    Serving(Box<Serving>),
    /// Given up then.
    Lost(Instant),
}

#[derive(Debug)]
struct Serving {
    shard: Shard,
    /// Up to where the log holds what is in memory, exclusive.
    end: Offset,
    waiting: HashMap<Ticket, oneshot::Sender<Told>>,
    next_ticket: u64,
    /// What the log has refused for now.
    held_back: Option<HeldBack>,
    /// When the task of the times looks by itself.
    armed: Option<Instant>,
    uncovered: Uncovered,
}

#[derive(Debug)]
struct HeldBack {
    records: Vec<GroupRecord>,
    answers: Vec<(Ticket, Answer)>,
    retry_at: Instant,
}

/// What of the log is not in a snapshot.
#[derive(Debug, Default)]
struct Uncovered {
    bytes: usize,
    bytes_max: usize,
    is_being_covered: bool,
}

impl Owner {
    /// Begins to load the groups of `partition`, and then serves them as long as that is led here in
    /// `leader_epoch`.
    pub(super) fn start(
        (partition, leader_epoch): (Arc<Partition>, LeaderEpoch),
        clock: Arc<dyn Clock>,
        cluster: Arc<Cluster>,
        terms: Terms,
        snapshot: SnapshotFile,
        covering: Arc<Semaphore>,
    ) -> Arc<Self> {
        let owner = Arc::new(Self {
            partition,
            leader_epoch,
            clock,
            cluster,
            terms,
            snapshot,
            covering,
            tally: OnceLock::new(),
            state: Mutex::new(State::Loading),
            is_lost: AtomicBool::new(false),
            look_again: Arc::new(Notify::new()),
        });
        tokio::spawn(background::run(Arc::downgrade(&owner), Arc::clone(&owner.look_again)));
        owner
    }

    /// What the groups amount to; `None` until they are loaded.
    pub(crate) fn tally(&self) -> Option<&Tally> {
        self.tally.get().map(AsRef::as_ref)
    }

    /// The two clocks.
    pub(crate) fn times(&self) -> Times {
        Times { now: self.clock.monotonic(), wall_ms: self.clock.now().get() }
    }

    /// Whether the partition is led here in the epoch of this owner.
    pub(crate) fn is_in_office(&self) -> bool {
        self.partition.waiters().leads_in() == Some(self.leader_epoch)
    }

    /// Ends it with its epoch: whoever waits is told to look for the coordinator again.
    pub(crate) fn resign(&self) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Lost(_)) {
            self.give_up(&mut state);
            self.look_again.notify_one();
        }
    }

    /// The groups, if they are served.
    fn serving<'a>(
        &self,
        state: &'a mut MutexGuard<'_, State>,
    ) -> Result<&'a mut Serving, Unavailable> {
        if self.is_in_office() { state.serving() } else { Err(Unavailable::NotHere) }
    }

    /// Whether another owner may load the groups: this one has given them up some time ago.
    pub(crate) fn is_spent(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
            && matches!(*self.state.lock(), State::Lost(since) if self.clock.monotonic() >= since + RELOAD_AFTER)
    }

    /// Gives the groups up: nobody knows what the log holds of them. Whoever waits is told that they
    /// are not here.
    fn give_up(&self, state: &mut State) {
        *state = State::Lost(self.clock.monotonic());
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// Changes the groups. A panic in between leaves memory and log apart, so that they are given up.
    fn guarded<T>(
        &self,
        state: &mut MutexGuard<'_, State>,
        change: impl FnOnce(&mut MutexGuard<'_, State>) -> T,
    ) -> T {
        match catch_unwind(AssertUnwindSafe(|| change(state))) {
            Ok(changed) => changed,
            Err(panic) => {
                let partition = &self.partition.name.partition;
                tracing::error!(%partition, "a change of groups has panicked: they are loaded anew");
                self.give_up(state);
                resume_unwind(panic)
            }
        }
    }

    /// Looks at the groups. What is seen may be told once the log is committed up to the offset.
    pub(crate) fn look<T>(
        &self,
        look: impl FnOnce(&Shard) -> T,
    ) -> Result<(T, Offset), Unavailable> {
        let mut state = self.state.lock();
        let serving = self.serving(&mut state)?;
        // What was committed to a topic that is deleted by now is not to be seen.
        serving.shard.see(self.cluster.image());
        Ok((look(&serving.shard), serving.end))
    }

    /// A sign of life: it changes nothing that is stored.
    pub(crate) fn touch<T>(
        &self,
        touch: impl FnOnce(&mut Shard, Times) -> T,
    ) -> Result<T, Unavailable> {
        let at = self.times();
        let mut state = self.state.lock();
        let serving = self.serving(&mut state)?;
        let touched = touch(&mut serving.shard, at);
        self.arm(serving);
        Ok(touched)
    }

    /// Begins a request that may wait for others; its answer comes through the receiver, which ends
    /// without one if the groups are lost.
    pub(crate) fn ask(
        &self,
        begin: impl FnOnce(&mut Shard, Ticket, Times) -> Effects,
    ) -> Result<oneshot::Receiver<Told>, Unavailable> {
        let at = self.times();
        let mut state = self.state.lock();
        let serving = self.serving(&mut state)?;
        serving.check_not_held_back()?;
        let ticket = Ticket(serving.next_ticket);
        serving.next_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        serving.waiting.insert(ticket, sender);
        self.guarded(&mut state, |state| {
            if let Ok(serving) = state.serving() {
                serving.shard.see(self.cluster.image());
                let effects = begin(&mut serving.shard, ticket, at);
                self.carry_out(state, effects, at);
            }
        });
        Ok(receiver)
    }

    /// Changes members at once. What came of it may be told once the log is committed up to the offset.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Shard, Times) -> (T, Effects),
    ) -> Result<(T, Offset), Unavailable> {
        let at = self.times();
        let mut state = self.state.lock();
        self.serving(&mut state)?.check_not_held_back()?;
        let changed = self.guarded(&mut state, |state| {
            let serving = state.serving()?;
            serving.shard.see(self.cluster.image());
            let (changed, effects) = change(&mut serving.shard, at);
            self.carry_out(state, effects, at);
            Ok(changed)
        })?;
        let serving = state.serving()?;
        // The change is made, but it is not known when it will be durable.
        serving.check_not_held_back()?;
        Ok((changed, serving.end))
    }

    /// Appends what `plan` says and then makes it so. It may be told once the log is committed up to
    /// the offset. Nothing has changed if this is refused.
    pub(crate) fn store<T>(
        &self,
        plan: impl FnOnce(&mut Shard, Times) -> Result<(T, Vec<GroupRecord>), GroupError>,
    ) -> Result<(T, Offset), PlanRefusal> {
        let at = self.times();
        let mut state = self.state.lock();
        let serving = self.serving(&mut state).map_err(PlanRefusal::Unavailable)?;
        serving.check_not_held_back().map_err(PlanRefusal::Unavailable)?;
        serving.shard.see(self.cluster.image());
        let (planned, records) = plan(&mut serving.shard, at).map_err(PlanRefusal::Group)?;
        if records.is_empty() {
            return Ok((planned, serving.end));
        }
        match self.append(&mut serving.uncovered, &records, at) {
            Ok(end) => {
                serving.end = end;
                serving.shard.apply(records, at);
                self.arm(serving);
                Ok((planned, end))
            }
            Err(AppendOutcome::Refused) => Err(PlanRefusal::Unavailable(Unavailable::Blocked)),
            Err(AppendOutcome::TooLarge) => Err(PlanRefusal::TooLarge),
            Err(AppendOutcome::Lost) => {
                self.give_up(&mut state);
                Err(PlanRefusal::Unavailable(Unavailable::NotHere))
            }
        }
    }

    /// Bytes that one batch may have.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.partition.settings().log.segment_bytes_max).unwrap_or(usize::MAX)
    }

    /// Bytes that a member may tell of itself. The log may keep them twice, as they were sent and as they
    /// were understood, and those of its predecessor with them.
    pub(crate) fn member_bytes_max(&self) -> usize {
        self.batch_bytes_max() / 8
    }

    /// Whether everything below `upto` is committed already.
    pub(crate) fn is_committed(&self, upto: Offset) -> bool {
        self.partition.waiters().commit_state(self.target(upto)) == CommitState::Committed
    }

    const fn target(&self, upto: Offset) -> Target {
        Target { next_offset: upto, leader_epoch: self.leader_epoch }
    }

    /// Waits until everything below `upto` is committed.
    ///
    /// # Errors
    /// [`Unavailable::NotHere`] if nobody will know any more.
    pub(crate) async fn committed(&self, upto: Offset) -> Result<(), Unavailable> {
        let mut wait = CommitWait::default();
        wait.add(Arc::clone(self.partition.waiters()), self.target(upto));
        poll_fn(|cx| wait.poll_finished(cx)).await;
        if wait.is_all_committed() { Ok(()) } else { Err(Unavailable::NotHere) }
    }

    /// Writes what came of one event, and tells who waits.
    fn carry_out(&self, state: &mut MutexGuard<'_, State>, effects: Effects, at: Times) {
        let State::Serving(serving) = &mut **state else { return };
        let Effects { records, answers, timers } = effects;
        debug_assert!(timers.is_empty(), "the shard keeps the times");
        if let Some(held_back) = &mut serving.held_back {
            held_back.records.extend(records);
            held_back.answers.extend(answers);
        } else if records.is_empty() {
            serving.tell(answers);
        } else {
            serving.held_back = Some(HeldBack { records, answers, retry_at: at.now });
            self.write_held_back(state, at);
        }
        if let State::Serving(serving) = &mut **state {
            self.arm(serving);
        }
    }

    /// Lets the task of the times know of an earlier time than the one it waits for.
    fn arm(&self, serving: &mut Serving) {
        let next = serving.next_look();
        if next.is_some_and(|next| serving.armed.is_none_or(|armed| next < armed)) {
            serving.armed = next;
            self.look_again.notify_one();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The task of the times finds that nobody is there.
        self.look_again.notify_one();
    }
}

impl State {
    fn serving(&mut self) -> Result<&mut Serving, Unavailable> {
        match self {
            Self::Loading => Err(Unavailable::Loading),
            Self::Serving(serving) => Ok(serving),
            Self::Lost(_) => Err(Unavailable::NotHere),
        }
    }
}

impl Serving {
    fn check_not_held_back(&self) -> Result<(), Unavailable> {
        if self.held_back.is_some() { Err(Unavailable::Blocked) } else { Ok(()) }
    }

    fn tell(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            let waiting = self.waiting.remove(&ticket);
            debug_assert!(waiting.is_some(), "a ticket is answered once");
            if let Some(waiting) = waiting {
                // The client may have gone.
                waiting.send(Told { answer, upto: self.end }).ok();
            }
        }
    }

    fn next_look(&self) -> Option<Instant> {
        match &self.held_back {
            // Until then nothing is decided: members could not tell that they are alive.
            Some(held_back) => Some(held_back.retry_at),
            None => self.shard.next_wake(),
        }
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("partition", &self.partition.name).finish_non_exhaustive()
    }
}
