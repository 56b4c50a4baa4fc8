//! A replica that leads, loses and leads again when a test tells it to, over a real log.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::types::{BrokerId, LeaderEpoch, Offset, Timestamp};
use raft::replica::{
    DeleteRecordsError, Leadership, ProduceError, Produced, Replica, ReplicaListener,
    ReplicaPointers, SeamFuture,
};
use raft::types::{GroupId, ReplicaId};
use storage::error::{LogFailure, ReadError};
use storage::log::entries::StageOutcome;
use storage::log::{AppendBatch, Log, LogListener};

use crate::replication::Replication;

/// The broker that it is on.
const HERE: BrokerId = BrokerId::new(1);

/// The replica.
pub(crate) struct TestReplica {
    log: Arc<Log>,
    state: Mutex<State>,
    listener: Mutex<Option<Arc<dyn ReplicaListener>>>,
    appending: Mutex<()>,
}

struct State {
    leadership: Leadership,
    high_watermark: Offset,
    in_sync: Vec<BrokerId>,
    /// Nothing is committed until it is let go.
    is_held: bool,
    ended: bool,
}

impl TestReplica {
    fn new(log: Arc<Log>) -> Arc<Self> {
        let leader_epoch = log.latest_epoch().unwrap_or(LeaderEpoch::ZERO);
        let state = State {
            leadership: Leadership { leader: None, leader_epoch, is_local: false },
            high_watermark: log.finished_end(),
            in_sync: Vec::new(),
            is_held: false,
            ended: false,
        };
        let (state, listener) = (Mutex::new(state), Mutex::default());
        let replica = Arc::new(Self { log, state, listener, appending: Mutex::default() });
        replica.log.set_listener(replica.clone());
        replica
    }

    /// Leads from now on.
    pub(crate) fn lead(&self, leader_epoch: i32) {
        let leader_epoch = LeaderEpoch::new(leader_epoch);
        {
            let mut state = self.state.lock();
            state.leadership = Leadership { leader: Some(HERE), leader_epoch, is_local: true };
            state.in_sync = vec![HERE];
        }
        self.tell(|listener| listener.leads(leader_epoch));
    }

    /// Another leads from now on, or nobody is known to.
    pub(crate) fn lose(&self, leader: Option<i32>, leader_epoch: i32) {
        {
            let mut state = self.state.lock();
            let leader_epoch = LeaderEpoch::new(leader_epoch);
            let leader = leader.map(BrokerId::new);
            state.leadership = Leadership { leader, leader_epoch, is_local: false };
            state.in_sync.clear();
        }
        self.tell(|listener| listener.lost());
    }

    /// Is closed.
    pub(crate) fn end(&self) {
        {
            let mut state = self.state.lock();
            state.leadership.is_local = false;
            state.ended = true;
        }
        self.tell(|listener| listener.ended());
    }

    /// Commits nothing from now on, or again what the disk has.
    pub(crate) fn hold(&self, is_held: bool) {
        self.state.lock().is_held = is_held;
        self.progressed(self.log.finished_end());
    }

    /// The replicas that are in sync from now on.
    pub(crate) fn set_in_sync(&self, brokers: &[i32]) {
        self.state.lock().in_sync = brokers.iter().map(|id| BrokerId::new(*id)).collect();
    }

    fn tell(&self, tell: impl FnOnce(&dyn ReplicaListener)) {
        if let Some(listener) = &*self.listener.lock() {
            tell(&**listener);
        }
    }
}

impl LogListener for TestReplica {
    fn progressed(&self, finished: Offset) {
        let listener = self.listener.lock();
        let moved = {
            let mut state = self.state.lock();
            let moves = !state.is_held && !state.ended && finished > state.high_watermark;
            if moves {
                state.high_watermark = finished;
            }
            moves
        };
        if let Some(listener) = listener.as_ref().filter(|_| moved) {
            listener.committed(finished);
        }
    }

    fn failed(&self, _failure: &LogFailure) {
        self.end();
    }
}

impl Replica for TestReplica {
    fn produce(&self, batch: AppendBatch, now: Timestamp) -> Result<Produced, ProduceError> {
        let leadership = self.leadership();
        if !leadership.is_local {
            return Err(ProduceError::NotLeader(leadership));
        }
        let leader_epoch = leadership.leader_epoch;
        let _in_order = self.appending.lock();
        let appended = match self.log.stage(batch, leader_epoch, now)? {
            StageOutcome::Staged(staged) => {
                self.log.append_entries(vec![staged.batch], true, now)?;
                staged.appended
            }
            StageOutcome::Duplicate(appended) => appended,
        };
        Ok(Produced { appended, leader_epoch })
    }

    fn produce_in(
        &self,
        leader_epoch: LeaderEpoch,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, ProduceError> {
        let leadership = self.leadership();
        if leadership.leader_epoch != leader_epoch {
            return Err(ProduceError::NotLeader(leadership));
        }
        self.produce(batch, now)
    }

    fn pointers(&self) -> ReplicaPointers {
        let high_watermark = self.state.lock().high_watermark;
        let log = self.log.pointers();
        ReplicaPointers {
            log_start_offset: log.log_start_offset,
            last_stable_offset: high_watermark,
            high_watermark,
            log_end_offset: log.log_end_offset,
        }
    }

    fn leadership(&self) -> Leadership {
        self.state.lock().leadership
    }

    fn in_sync(&self) -> Vec<BrokerId> {
        self.state.lock().in_sync.clone()
    }

    fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn set_listener(&self, listener: Arc<dyn ReplicaListener>) {
        let mut slot = self.listener.lock();
        let (leadership, high_watermark, ended) = {
            let state = self.state.lock();
            (state.leadership, state.high_watermark, state.ended)
        };
        listener.committed(high_watermark);
        if ended {
            listener.ended();
        } else if leadership.is_local {
            listener.leads(leadership.leader_epoch);
        } else {
            listener.lost();
        }
        *slot = Some(listener);
    }

    fn delete_records(&self, _: Offset) -> SeamFuture<'_, Result<Offset, DeleteRecordsError>> {
        let leadership = self.leadership();
        Box::pin(async move { Err(DeleteRecordsError::NotLeader(leadership)) })
    }

    fn apply_retention(&self, _: Timestamp) -> SeamFuture<'_, Result<u64, ReadError>> {
        Box::pin(async { Ok(0) })
    }
}

/// Replicas that do what the test says; it finds them here.
#[derive(Default)]
pub(crate) struct TestReplication {
    open: Mutex<HashMap<GroupId, Arc<TestReplica>>>,
    /// What it was asked for, in order.
    pub(crate) asked: Mutex<Vec<Asked>>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Open(GroupId, Vec<BrokerId>),
    Close(GroupId),
    Forget(GroupId),
    BrokerDown(BrokerId),
    Transfer(GroupId, BrokerId),
}

impl TestReplication {
    /// The replica of a group that is open.
    pub(crate) fn replica(&self, group: GroupId) -> Arc<TestReplica> {
        self.open.lock()[&group].clone()
    }
}

impl Replication for TestReplication {
    fn open(
        &self,
        group: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        let voters = voters.iter().map(|voter| voter.broker_id).collect();
        self.asked.lock().push(Asked::Open(group, voters));
        let replica = TestReplica::new(log);
        self.open.lock().insert(group, replica.clone());
        Box::pin(async { Ok(replica as Arc<dyn Replica>) })
    }

    fn join(
        &self,
        group: GroupId,
        log: Arc<Log>,
        replicas: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        self.open(group, log, replicas)
    }

    fn adopt(
        &self,
        group: GroupId,
        log: Arc<Log>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        self.open(group, log, Vec::new())
    }

    fn change_replicas(&self, _: GroupId, _: Vec<ReplicaId>) -> SeamFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self, group: GroupId) -> SeamFuture<'_, ()> {
        self.asked.lock().push(Asked::Close(group));
        let closed = self.open.lock().remove(&group);
        Box::pin(async {
            if let Some(closed) = closed {
                closed.end();
            }
        })
    }

    fn forget(&self, group: GroupId) -> SeamFuture<'_, ()> {
        self.asked.lock().push(Asked::Forget(group));
        Box::pin(async {})
    }

    fn broker_down(&self, broker: BrokerId) -> SeamFuture<'_, ()> {
        self.asked.lock().push(Asked::BrokerDown(broker));
        Box::pin(async {})
    }

    fn hand_over_all(&self) -> SeamFuture<'_, ()> {
        Box::pin(async {})
    }

    fn resting(&self) -> usize {
        0
    }

    fn shutdown(&self) -> SeamFuture<'_, ()> {
        Box::pin(async {})
    }

    fn transfer(&self, group: GroupId, to: BrokerId) -> SeamFuture<'_, Result<(), String>> {
        self.asked.lock().push(Asked::Transfer(group, to));
        Box::pin(async { Ok(()) })
    }
}
