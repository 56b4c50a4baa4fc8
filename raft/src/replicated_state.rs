//! An ordinary Raft group that keeps a caller's state machine: bytes in, snapshot out.
//!
//! It knows nothing of what the commands mean, and nothing of openraft leaves this file: callers see
//! bytes, indexes and the errors below. Two files in the folder `metadata` of the data directory:
//! `journal` (entries and votes since the snapshot, see `record`) and `snapshot`.
//!
//! With one voter a start takes a few milliseconds: read both files, vote for oneself, commit a
//! blank entry, and apply what that commits; Raft's timers do not run. With several they do, and a
//! start returns before it is known who leads. A restarted leader never goes on in its old term: what
//! it wrote there without a sync may be gone, and one (term, index) must not have two contents.
//!
//! The other nodes of the group are reached through `peers`: Raft's own messages (`network` sends,
//! `service` answers), proposals on their way to the leader (`proposal`), and what finds the next
//! leader when one is gone (`takeover`).

pub(crate) mod codec;
mod journal;
mod log_store;
mod membership;
mod message;
mod network;
mod opening;
mod proposal;
mod raft_log;
mod record;
mod service;
mod snapshot;
mod state_machine;
mod takeover;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{Raft, RaftMetrics};
use parking_lot::Mutex;
use protocol::types::{BrokerId, LogIndex};
use storage::data_dir::DataDir;
use storage::device::Device;
use storage::error::OpenError;
use tokio::sync::watch;
use uuid::Uuid;

use journal::Journal;
use log_store::LogStore;
pub use membership::{ChangeMembersError, Members};
use network::Network;
use opening::{Files, config, open_files};
use service::Answers;
use snapshot::SnapshotFile;
use state_machine::AppliedState;
use types::{MetadataRaft, Snapshot};

use crate::peers::{Peers, ServiceId};
use crate::types::ReplicaId;

/// The largest command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;

/// The folder in the data directory.
const DIRECTORY: &str = "metadata";
const JOURNAL: &str = "journal";
const SNAPSHOT: &str = "snapshot";

/// A snapshot is due after this many entries…
const ENTRIES_PER_SNAPSHOT: u64 = 10_000;
/// …or when the journal has grown to this, so that neither memory nor a start depends on how large
/// commands are.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// A start that has not elected and applied by then never will.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often somebody who waits for its end looks.
const FAILURE_LOOK_EVERY: Duration = Duration::from_millis(500);

/// The caller's deterministic state. Called from one task, in log order.
///
/// # Contract
/// After a crash commands are applied again, to the state of the last snapshot: `apply` MUST be a
/// pure function of the state and the command, without clock, randomness or input of its own, and
/// MUST NOT fail or panic: an illegal command answers so and changes nothing.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one committed command and returns the answer for its proposer.
    fn apply(&mut self, index: LogIndex, command: &[u8]) -> Bytes;
    /// The whole state as bytes.
    fn snapshot(&self) -> Bytes;
    /// Replaces the state by what `snapshot` made.
    ///
    /// # Errors
    /// A sentence, if the bytes cannot be read: the group does not start.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;
}

/// Why a command has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the group; nothing was proposed.
    #[error("this node does not lead the metadata group")]
    NotLeader(Option<BrokerId>),
    /// The command has too many bytes; nothing was proposed.
    #[error("a command of {command_bytes} bytes exceeds the limit of {COMMAND_BYTES_MAX}")]
    TooLarge {
        /// The command.
        command_bytes: usize,
    },
    /// The command may or may not be applied.
    #[error("the outcome of the command is unknown: {0}")]
    Unknown(String),
    /// The group stopped for good; nothing was proposed.
    #[error("the metadata group has stopped: {0}")]
    Stopped(String),
}

/// Why the group did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The snapshot cannot be read.
    #[error("{path}: the snapshot cannot be read: {reason}", path = path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// openraft refused.
    #[error("the metadata group did not start: {0}")]
    Raft(String),
}

/// A running group. Cheap to clone. It runs until [`ReplicatedState::shutdown`], also when all
/// handles are gone.
#[derive(Clone)]
pub struct ReplicatedState {
    inner: Arc<Inner>,
}

struct Inner {
    me: ReplicaId,
    raft: Raft<MetadataRaft, AppliedState>,
    peers: Option<Peers>,
    journal: Journal,
    snapshot_file: Arc<SnapshotFile>,
    leader: watch::Sender<LeaderView>,
    /// The leader, with its term, from whom nothing is taken while it seems to be gone.
    fence: Mutex<Option<takeover::Fence>>,
    /// Set when a shutdown begins.
    closing: watch::Sender<bool>,
    /// Why Raft's core ended.
    ended: OnceLock<String>,
}

impl fmt::Debug for ReplicatedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicatedState").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// What a node has to do with a group that it does not belong to yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the first: it makes the group, with itself as the one voter.
    Found,
    /// The group exists: it waits for a leader to send it entries.
    Join,
}

/// What a group is started with.
#[derive(Debug)]
pub struct GroupStart {
    /// Where its files are; not held beyond the start.
    pub data_dir: Arc<DataDir>,
    /// This broker.
    pub broker_id: BrokerId,
    /// How the others are reached; without it the group cannot have others.
    pub peers: Option<Peers>,
    /// Asked for only if this node does not belong to the group yet.
    pub role: Role,
}

/// Who leads the group, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaderView {
    /// The leader, if one is known.
    pub leader: Option<ReplicaId>,
    /// The newest term.
    pub term: u64,
    /// Whether that is this node, and everything committed before its term is applied here.
    pub is_local: bool,
}

impl ReplicatedState {
    /// Opens or creates the group in `data_dir` and restores the state machine.
    ///
    /// With this node as its one voter, it elects and returns when everything committed before is
    /// applied. With several, or if this node has still to join, it returns at once: what is applied
    /// by then is what this node's own files prove.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        parts: GroupStart,
        state_machine: impl StateMachine,
    ) -> Result<Self, StartError> {
        let GroupStart { data_dir, broker_id, peers, role } = parts;
        let replica = ReplicaId { broker_id, directory_id: data_dir.identity().directory_id };
        let directory = data_dir.path().join(DIRECTORY);
        let device = Arc::clone(data_dir.device());
        drop(data_dir);
        let parts = Parts { device, directory, replica, peers, role };
        Self::start_on(parts, Box::new(state_machine)).await
    }

    async fn start_on(
        parts: Parts,
        mut state_machine: Box<dyn StateMachine>,
    ) -> Result<Self, StartError> {
        let Parts { device, directory, replica, peers, role } = parts;
        let opened = tokio::task::spawn_blocking(move || open_files(&device, &directory)).await;
        let Files { snapshot_file, snapshot, journal, log } =
            opened.map_err(|error| StartError::Raft(error.to_string()))??;
        let meta = match snapshot {
            Some(Snapshot { meta, snapshot }) => {
                state_machine.restore(&snapshot).map_err(|reason| StartError::Snapshot {
                    path: snapshot_file.path().clone(),
                    reason,
                })?;
                Some(meta)
            }
            None => None,
        };
        let applied = AppliedState::new(state_machine, meta, Arc::clone(&snapshot_file));
        let store = LogStore::new(log, journal.clone());
        let network = Network(peers.clone());
        let built = Box::pin(Raft::build(replica, config()?, network, store, applied)).await;
        let raft = match built {
            Ok(raft) => raft,
            Err(error) => {
                journal.close().await;
                return Err(StartError::Raft(error.to_string()));
            }
        };
        let inner = Arc::new(Inner {
            me: replica,
            raft,
            peers,
            journal,
            snapshot_file,
            leader: watch::Sender::default(),
            fence: Mutex::default(),
            closing: watch::Sender::new(false),
            ended: OnceLock::new(),
        });
        let group = Self { inner };
        if let Err(reason) = group.begin(role).await {
            let cause = group.health().err().unwrap_or(reason);
            group.shutdown().await;
            return Err(StartError::Raft(cause));
        }
        // A start on a full disk fails and says so; from here on the group waits for space.
        group.inner.journal.set_patient(true);
        Ok(group)
    }

    /// Runs Raft, and what belongs to it.
    async fn begin(&self, role: Role) -> Result<(), String> {
        let inner = &self.inner;
        let (raft, me) = (&inner.raft, inner.me);
        raft.run();
        tokio::spawn(note_end(Arc::clone(inner)));
        tokio::spawn(follow(Arc::clone(inner)));
        if let Some(peers) = &inner.peers {
            peers.serve(ServiceId::METADATA, Arc::new(Answers(Arc::downgrade(inner))));
            tokio::spawn(takeover::watch(Arc::clone(inner), peers.clone()));
        }
        let voters = raft.with_raft_state(|state| {
            state.membership_state.effective().voter_ids().collect::<BTreeSet<_>>()
        });
        let voters = voters.await.map_err(|error| error.to_string())?;
        if voters.iter().eq([&me]) {
            raft.trigger().elect(false).await.map_err(|error| error.to_string())?;
            return self.lead().await;
        }
        match role {
            Role::Found if voters.is_empty() => {
                let members = BTreeSet::from([me]);
                raft.initialize(members).await.map_err(|error| error.to_string())?;
                self.lead().await
            }
            Role::Found if !voters.contains(&me) || inner.peers.is_none() => {
                Err(format!("its voters are {voters:?}, and this is {me}"))
            }
            Role::Found | Role::Join => Ok(()),
        }
    }

    /// Waits until this node leads and has applied everything committed before.
    async fn lead(&self) -> Result<(), String> {
        let wait = self.inner.raft.wait(Some(START_TIMEOUT));
        let led = wait.metrics(leads, "this node leads and has applied an entry of its term").await;
        led.map_err(|error| error.to_string())?;
        self.inner.note_leader();
        Ok(())
    }

    /// Whether the group takes commands.
    ///
    /// # Errors
    /// Why it has stopped for good.
    pub fn health(&self) -> Result<(), String> {
        self.inner.health()
    }

    /// Whether this node leads, and has applied everything committed before its term.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.inner.leader.borrow().is_local
    }

    /// Who leads, and every change of it.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<LeaderView> {
        self.inner.leader.subscribe()
    }

    /// Who votes, who leads, and how far the log has come, as this node sees it.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let end = |last: Option<u64>| LogIndex::new(last.map_or(0, |index| index + 1));
        // While they change, those who decided before: they still do, beside the new ones.
        let membership = metrics.membership_config.membership().clone();
        let voters = membership.get_joint_config().first().into_iter().flatten();
        let voters = voters.map(|id| (id.broker_id, id.directory_id));
        Quorum {
            leader: metrics.current_leader.map(|id| id.broker_id),
            term: metrics.current_term,
            log_end: end(metrics.last_log_index),
            committed_end: end(metrics.last_applied.map(|id| id.index)),
            voters: voters.collect(),
        }
    }

    /// Why the group has stopped for good, once it has; not if it was shut down.
    pub async fn failed(&self) -> String {
        loop {
            let is_closing = *self.inner.closing.borrow();
            if let Err(cause) = self.inner.health()
                && !is_closing
            {
                return cause;
            }
            tokio::time::sleep(FAILURE_LOOK_EVERY).await;
        }
    }

    /// Stops the group after what is in flight; its files are closed when this returns. A leader
    /// hands over first.
    pub async fn shutdown(&self) {
        if let Err(error) = membership::hand_over(&self.inner, |_| true).await {
            tracing::debug!(%error, "leadership of the metadata group was not handed over");
        }
        let Inner { raft, journal, snapshot_file, closing, peers, .. } = &*self.inner;
        closing.send_replace(true);
        if let Some(peers) = peers {
            peers.withdraw(ServiceId::METADATA);
        }
        journal.set_patient(false);
        if let Err(error) = raft.shutdown().await {
            tracing::error!(%error, "Raft's core did not stop as it should");
        }
        journal.close().await;
        let snapshot_file = Arc::clone(snapshot_file);
        let closed = tokio::task::spawn_blocking(move || snapshot_file.close()).await;
        closed.expect("closing the snapshot file only takes its lock");
    }
}

/// What a group needs of the system it runs in.
struct Parts {
    device: Arc<dyn Device>,
    directory: PathBuf,
    replica: ReplicaId,
    peers: Option<Peers>,
    role: Role,
}

/// Whether the node leads and has applied the blank entry that begins its term, and so everything
/// that was committed before.
fn leads(metrics: &RaftMetrics<MetadataRaft>) -> bool {
    let applied_term = metrics.last_applied.map(|id| id.committed_leader_id().term);
    metrics.state.is_leader() && applied_term == Some(metrics.current_term)
}

impl Inner {
    fn health(&self) -> Result<(), String> {
        if let Some(cause) = self.journal.failure().or_else(|| self.ended.get()) {
            return Err(cause.clone());
        }
        if *self.closing.borrow() {
            return Err("it was shut down".to_owned());
        }
        Ok(())
    }

    /// Tells who leads by now, and lets Raft's timers run or not.
    fn note_leader(&self) {
        let view = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let (leader, term) = (metrics.current_leader, metrics.current_term);
            LeaderView { leader, term, is_local: leads(&metrics) }
        };
        // Ticks start elections and heartbeats. A leader that is the whole group needs neither, nobody
        // can depose it, and its lease does not end: an idle node should sleep.
        self.raft.runtime_config().tick(!(view.is_local && self.is_alone()));
        self.leader.send_if_modified(|known| {
            let changes = *known != view;
            *known = view;
            changes
        });
    }
}

/// A group as one of its nodes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Who leads, if that is known.
    pub leader: Option<BrokerId>,
    /// The newest term.
    pub term: u64,
    /// Behind the last entry of this node's log, exclusive.
    pub log_end: LogIndex,
    /// Behind the last entry that is committed and applied here, exclusive.
    pub committed_end: LogIndex,
    /// Brokers with the directory by which each votes.
    pub voters: Vec<(BrokerId, Uuid)>,
}

/// Follows what Raft's core tells of itself, until it ends.
async fn follow(inner: Arc<Inner>) {
    let mut changes = inner.raft.metrics();
    while changes.changed().await.is_ok() {
        inner.note_leader();
    }
    inner.leader.send_modify(|view| {
        *view = LeaderView { term: view.term, ..LeaderView::default() };
    });
}

/// Notes why Raft's core ended. A panic of the core tells no state; then the watch just closes.
async fn note_end(inner: Arc<Inner>) {
    let metrics = inner.raft.metrics();
    let mut changes = inner.raft.server_metrics();
    while metrics.borrow_watched().running_state.is_ok() && changes.changed().await.is_ok() {}
    let state = metrics.borrow_watched().running_state.clone();
    let cause = state.err().map_or_else(|| "Raft's core panicked".to_owned(), |e| e.to_string());
    if !*inner.closing.borrow() {
        tracing::error!(cause, "the metadata group has stopped");
    }
    // A proposal may have noted it before.
    drop(inner.ended.set(cause));
}
