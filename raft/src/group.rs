//! One replica of a partition's group: openraft over the partition's log.
//!
//! ```text
//! produce ─> Tenure (stages, queues) ─> proposer ─> Raft's core ─> LogStore ─> Log
//! listener <─ Teller <─ commits, leadership ──────────┘    └─> peers, through Network
//! ```
//! Every call into openraft runs to its end on a task that nobody cancels: a call that is dropped
//! while the core ends breaks later calls.

mod begin;
mod change;
pub(crate) mod codec;
mod fitness;
mod founding;
mod log_store;
mod network;
mod proposer;
mod raft_only;
mod recent;
mod serve;
mod state;
mod state_machine;
mod teller;
mod tenure;
#[cfg(test)]
mod tests;
pub(crate) mod types;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use protocol::types::{BrokerId, LeaderEpoch, LogIndex, Offset, Timestamp};
use storage::error::{AppendError, ReadError};
use storage::log::entries::EntryId;
use storage::log::{AppendBatch, Log};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fitness::Fitness;
use crate::peers::{Health, Peers};
use crate::replica::{
    DeleteRecordsError, Leadership, ProduceError, Produced, Replica, ReplicaListener,
    ReplicaPointers, SeamFuture,
};
use crate::types::{GroupId, ReplicaId};
use crate::votes::{Progress, Votes};
pub(crate) use begin::Beginning;
use begin::{adopt, config};
pub use change::ChangeError;
use change::Members;
use log_store::LogStore;
use network::Network;
pub(crate) use serve::decode as decode_request;
pub use state::Clock;
use state::{GroupState, Nobody};
use state_machine::StateMachine;
use tenure::NotTaken;
use types::{LogId, PartitionRaft, Proposal, StoredMembership};

type PartitionGroup = Raft<PartitionRaft, StateMachine>;

/// A follower that lacks no more entries than these is within reach of the end.
const IN_SYNC_LAG_MAX: u64 = 4096;
/// One that is to take over lacks no more than these.
const HAND_OVER_LAG_MAX: u64 = 64;
/// Deleting records and retention give up waiting after this.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Eviction gives up waiting for Raft after this.
const PURGE_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a group is opened with.
pub(crate) struct GroupParts {
    pub(crate) beginning: Beginning,
    pub(crate) id: GroupId,
    pub(crate) me: ReplicaId,
    pub(crate) log: Arc<Log>,
    pub(crate) voters: Vec<ReplicaId>,
    pub(crate) votes: Votes,
    pub(crate) peers: Peers,
    pub(crate) clock: Clock,
}

/// One replica.
pub(crate) struct Group {
    state: Arc<GroupState>,
    raft: PartitionGroup,
    /// In the order in which the metadata names them; the first is preferred as leader.
    preferred: Mutex<Vec<ReplicaId>>,
    /// What of another broker is not let in for a while.
    fence: Mutex<Option<Fence>>,
    /// Which brokers are there, as the detector says.
    health: watch::Receiver<Arc<BTreeMap<BrokerId, Health>>>,
    /// How the disks of brokers stand.
    fitness: watch::Receiver<Arc<BTreeMap<BrokerId, Fitness>>>,
    is_taken_over: AtomicBool,
    is_ticking: AtomicBool,
    closing: AtomicBool,
    runtime: Handle,
}

/// A leader that is thought to be gone.
#[derive(Debug, Clone, Copy)]
struct Fence {
    broker: BrokerId,
    until: Instant,
}

impl Group {
    /// Opens the replica and lets it take part. It runs until [`Group::close`].
    pub(crate) async fn open(parts: GroupParts) -> io::Result<Arc<Self>> {
        let GroupParts { beginning, id, me, log, voters, votes, peers, clock } = parts;
        let first = match beginning {
            Beginning::Found => founding::first_membership(&voters)?,
            Beginning::Join => StoredMembership::default(),
            Beginning::Adopt => adopt(id, me, &log, &votes).await?,
        };
        let opening = (Arc::clone(&log), votes, first);
        let state = tokio::task::spawn_blocking(move || {
            let (log, votes, first) = opening;
            if beginning == Beginning::Found {
                founding::begin(id, &log, &votes, &first, (clock)())?;
            }
            GroupState::open(id, me, log, votes, clock, first)
        });
        let state = state.await.map_err(io::Error::other)??;
        let opened = Self::run(Arc::clone(&state), voters, peers).await;
        if opened.is_err() {
            state.log.set_listener(Arc::new(Nobody));
        }
        opened
    }

    async fn run(
        state: Arc<GroupState>,
        voters: Vec<ReplicaId>,
        peers: Peers,
    ) -> io::Result<Arc<Self>> {
        // What Raft finds at its start it takes for durable.
        state.barrier().await?;
        let (health, fitness) = (peers.health(), peers.fitness());
        let network = Network { peers, group: state.id };
        let (store, machine) = (LogStore(Arc::clone(&state)), StateMachine(Arc::clone(&state)));
        let building = Box::pin(Raft::build(state.me, config()?, network, store, machine));
        let raft = building.await.map_err(io::Error::other)?;
        let group = Arc::new(Self {
            state,
            raft,
            preferred: Mutex::new(voters),
            fence: Mutex::new(None),
            health,
            fitness,
            is_taken_over: AtomicBool::new(false),
            is_ticking: AtomicBool::new(true),
            closing: AtomicBool::new(false),
            runtime: Handle::current(),
        });
        group.raft.run();
        tokio::spawn(proposer::run(Arc::clone(&group)));
        Ok(group)
    }

    pub(crate) fn me(&self) -> ReplicaId {
        self.state.me
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn leadership_now(&self) -> Leadership {
        self.state.teller.leadership()
    }

    pub(crate) fn id(&self) -> GroupId {
        self.state.id
    }

    /// Whose votes count, as this replica's log says, in the order of preference.
    pub(crate) fn voters(&self) -> Vec<ReplicaId> {
        let voters = self.members().voters;
        let preferred = self.preferred.lock();
        let place = |id: &ReplicaId| preferred.iter().position(|one| one == id);
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_by_key(|id| place(id).unwrap_or(usize::MAX));
        voters
    }

    fn is_voter(&self) -> bool {
        self.members().voters.contains(&self.state.me)
    }

    pub(crate) fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.state.teller.watch_leadership()
    }

    /// What is to be remembered of how far this replica has come, if its own disk has it.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.state.progress()
    }

    /// Waits until Raft's core ends, by itself or by [`Group::close`], and says so to the listener.
    /// Returns why, unless the group was closed.
    pub(crate) async fn ended(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let mut changes = self.raft.server_metrics();
        // A panic of the core tells no state; then the watch just closes.
        while metrics.borrow_watched().running_state.is_ok() && changes.changed().await.is_ok() {}
        let state = metrics.borrow_watched().running_state.clone();
        self.state.end();
        if self.closing.load(Ordering::Acquire) {
            return None;
        }
        Some(state.err().map_or_else(|| "Raft's core panicked".to_owned(), |e| e.to_string()))
    }

    /// Starts an election if a majority would vote for this replica.
    pub(crate) async fn campaign(&self) {
        let voters = self.members().voters;
        if voters.contains(&self.state.me) {
            // A core that has ended is told of elsewhere.
            drop(self.raft.trigger().elect(voters.len() > 1).await);
        }
    }

    /// Makes this replica free to vote although it heard of the leader a moment ago, and deaf to
    /// that leader, if that is on broker `gone`. Returns the last entry of its log.
    pub(crate) async fn lift_lease(&self, gone: BrokerId, until: Instant) -> Option<LogId> {
        let read =
            self.raft.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied()));
        let (vote, last) = read.await.ok()?;
        let leader = vote.leader_id.voted_for;
        // Another may lead by now. A lease that is lifted stays so for as long as its leader leads.
        if vote.committed && leader.broker_id == gone {
            *self.fence.lock() = Some(Fence { broker: gone, until });
            // With another node's id it lifts the lease of this very vote and does nothing else.
            let request = TransferLeaderRequest::new(vote, leader, None);
            self.raft.handle_transfer_leader(request).await.ok()?.ok()?;
        }
        last
    }

    /// Lets Raft's timers run or rest: elections and heartbeats.
    pub(crate) fn set_ticking(&self, is_ticking: bool) {
        if self.is_ticking.swap(is_ticking, Ordering::AcqRel) != is_ticking {
            self.raft.runtime_config().tick(is_ticking);
        }
    }

    pub(crate) fn is_ticking(&self) -> bool {
        self.is_ticking.load(Ordering::Acquire)
    }

    /// Marks that this broker drives a takeover; `false` if it does already.
    pub(crate) fn begin_takeover(&self) -> bool {
        !self.is_taken_over.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_takeover(&self) {
        self.is_taken_over.store(false, Ordering::Release);
    }

    pub(crate) fn is_taken_over(&self) -> bool {
        self.is_taken_over.load(Ordering::Acquire)
    }

    fn is_fenced(&self, broker: BrokerId) -> bool {
        let fence = *self.fence.lock();
        fence.is_some_and(|fence| fence.broker == broker && Instant::now() < fence.until)
    }

    /// Whether this replica led when it was last heard of: nobody else can know better that the
    /// group needs a leader.
    pub(crate) fn led_last(&self) -> bool {
        let vote = *self.state.vote.lock();
        vote.is_some_and(|vote| vote.committed && vote.leader_id.voted_for == self.state.me)
    }

    /// A broker is there again: a leader does not wait any longer before it calls it.
    pub(crate) async fn call_again(&self, broker: BrokerId) {
        if !self.led_last() {
            return;
        }
        let Members { voters, learners, .. } = self.members();
        let member = voters.into_iter().chain(learners).find(|one| one.broker_id == broker);
        if let Some(voter) = member {
            drop(self.raft.trigger().reset_backoff([voter]).await);
            // It need not lack anything to be told who leads.
            drop(self.raft.trigger().heartbeat().await);
        }
    }

    /// Whether nobody has ever been heard of as its leader, as in a group that was just made.
    pub(crate) fn was_never_led(&self) -> bool {
        self.state.vote.lock().is_none_or(|vote| !vote.committed)
    }

    /// Asks Raft to make another voter the leader, and to take no records until it is. Does not wait.
    pub(crate) async fn hand_over(self: Arc<Self>, to: ReplicaId) {
        drop(self.raft.trigger().transfer_leader(to).await);
    }

    /// Stops the replica. Its log has no listener and no writer when this returns.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.closing.store(true, Ordering::Release);
        self.state.end();
        self.state.tenure.wake.notify_one();
        let group = Arc::clone(self);
        // On a task of its own: see the file header.
        let stopped = tokio::spawn(async move { group.raft.shutdown().await }).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::error!(group = %self.id(), "Raft's core did not stop as it should");
        }
        self.state.log.set_listener(Arc::new(Nobody));
    }

    /// The last entry that is committed as far as this replica knows.
    fn committed_index(&self) -> u64 {
        self.state.committed().map_or(0, |id| id.index())
    }

    async fn trim(self: Arc<Self>, to: Offset) -> Result<Offset, DeleteRecordsError> {
        match self.raft.client_write(Proposal::Trim(to)).await {
            Ok(_applied) => Ok(self.state.log.pointers().log_start_offset),
            Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_),
            )) => Err(DeleteRecordsError::NotLeader(self.leadership_now())),
            Err(error) => match self.state.log.failure() {
                Some(failure) => Err(ReadError::Failed(failure).into()),
                None => {
                    tracing::debug!(group = %self.id(), %error, "a trim was not taken");
                    Err(DeleteRecordsError::NotLeader(self.leadership_now()))
                }
            },
        }
    }

    /// Lets Raft purge what retention does not keep, and deletes the files of what is purged.
    async fn evict(self: Arc<Self>, now: Timestamp) -> Result<u64, ReadError> {
        let applied = self.state.applied.lock().last;
        let Some(applied) = applied else { return Ok(0) };
        let upto = LogIndex::new(applied.index());
        if let Some(point) = self.on_log(move |log| log.eviction_point(upto, now)).await? {
            self.purge(point).await?;
        }
        self.on_log(move |log| log.apply_retention(now)).await
    }

    /// Waits until Raft has purged up to an entry. A leader waits with that for a follower that is
    /// just being sent what goes; then the next round of retention finds it.
    async fn purge(&self, point: EntryId) -> Result<(), ReadError> {
        let mut purged = self.state.purged.subscribe();
        *self.state.evict_to.lock() = Some(point);
        if self.raft.trigger().snapshot().await.is_err() {
            return Err(self.state.log.failure().map_or(ReadError::Closed, ReadError::Failed));
        }
        let is_gone =
            |purged: &Option<LogId>| purged.is_some_and(|id| id.index() >= point.index.get());
        drop(tokio::time::timeout(PURGE_WAIT_MAX, purged.wait_for(is_gone)).await);
        Ok(())
    }

    async fn on_log<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Log) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let log = Arc::clone(&self.state.log);
        let done = tokio::task::spawn_blocking(move || call(&log)).await;
        done.unwrap_or(Err(ReadError::Closed))
    }

    /// Runs a call to its end, whatever becomes of who waits for it.
    async fn to_its_end<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let running = self.runtime.spawn(call);
        tokio::time::timeout(WAIT_MAX, running).await.ok()?.ok()
    }

    fn take(
        &self,
        epoch: Option<LeaderEpoch>,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, ProduceError> {
        let state = &self.state;
        state.tenure.stage(&state.log, epoch, batch, now).map_err(|not_taken| match not_taken {
            NotTaken::Append(error) => ProduceError::Append(error),
            NotTaken::NotLeading => match state.log.failure() {
                Some(failure) => ProduceError::Append(AppendError::Failed(failure)),
                None => ProduceError::NotLeader(self.leadership_now()),
            },
        })
    }
}

impl Replica for Arc<Group> {
    fn produce(&self, batch: AppendBatch, now: Timestamp) -> Result<Produced, ProduceError> {
        self.take(None, batch, now)
    }

    fn produce_in(
        &self,
        leader_epoch: LeaderEpoch,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, ProduceError> {
        self.take(Some(leader_epoch), batch, now)
    }

    fn pointers(&self) -> ReplicaPointers {
        // Before the log: what is staged now is in the log then, or still staged.
        let staged_end = self.state.tenure.staged_end();
        let log = self.state.log.pointers();
        // As in the direct replica: the watermark is read last, and may be newer than the end.
        let high_watermark = self.state.teller.high_watermark().min(log.log_end_offset);
        let pointers = ReplicaPointers {
            log_start_offset: log.log_start_offset,
            last_stable_offset: high_watermark,
            high_watermark,
            log_end_offset: log.log_end_offset.max(staged_end),
        };
        pointers.validate();
        pointers
    }

    fn leadership(&self) -> Leadership {
        self.leadership_now()
    }

    fn in_sync(&self) -> Vec<BrokerId> {
        if self.leadership().is_local { self.reached() } else { Vec::new() }
    }

    fn log(&self) -> &Arc<Log> {
        &self.state.log
    }

    fn set_listener(&self, listener: Arc<dyn ReplicaListener>) {
        self.state.teller.set_listener(listener);
    }

    fn delete_records(&self, before: Offset) -> SeamFuture<'_, Result<Offset, DeleteRecordsError>> {
        Box::pin(async move {
            let ReplicaPointers { log_start_offset, high_watermark, log_end_offset, .. } =
                self.pointers();
            if !self.leadership().is_local {
                return Err(DeleteRecordsError::NotLeader(self.leadership_now()));
            }
            let to = if before == Offset::NONE { high_watermark } else { before };
            if to < Offset::ZERO {
                let wanted = before;
                return Err(
                    ReadError::OutOfRange { wanted, log_start_offset, log_end_offset }.into()
                );
            }
            if to > high_watermark {
                return Err(DeleteRecordsError::BeyondHighWatermark { wanted: to, high_watermark });
            }
            if to <= log_start_offset {
                return Ok(log_start_offset);
            }
            let trimmed = self.to_its_end(Self::clone(self).trim(to)).await;
            trimmed.unwrap_or_else(|| Err(DeleteRecordsError::NotLeader(self.leadership_now())))
        })
    }

    fn apply_retention(&self, now: Timestamp) -> SeamFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move {
            let evicted = self.to_its_end(Self::clone(self).evict(now)).await;
            evicted.unwrap_or(Ok(0))
        })
    }
}
