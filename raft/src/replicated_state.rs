//! An ordinary Raft group that keeps a caller's state machine: bytes in, snapshot out.
//!
//! It knows nothing of what the commands mean, and nothing of openraft leaves this file: callers see
//! bytes, indexes and the errors below. Two files in the folder `metadata` of the data directory:
//! `journal` (entries and votes since the snapshot, see `record`) and `snapshot`.
//!
//! With one voter a start takes a few milliseconds: read both files, vote for oneself, commit a
//! blank entry, and apply what that commits. A restarted leader never goes on in its old term: what
//! it wrote there without a sync may be gone, and one (term, index) must not have two contents.

pub(crate) mod codec;
mod journal;
mod log_store;
mod network;
mod raft_log;
mod record;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{Config, Raft, RaftMetrics, SnapshotPolicy};
use protocol::types::{BrokerId, LogIndex};
use storage::data_dir::DataDir;
use storage::device::Device;
use storage::error::OpenError;
use uuid::Uuid;

use journal::Journal;
use log_store::LogStore;
use network::NoPeers;
use raft_log::RaftLog;
use snapshot::SnapshotFile;
use state_machine::AppliedState;
use types::{Command, MetadataRaft, Snapshot};

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
    raft: Raft<MetadataRaft, AppliedState>,
    journal: Journal,
    snapshot_file: Arc<SnapshotFile>,
    /// Set when a shutdown begins.
    closing: AtomicBool,
    /// Why Raft's core ended.
    ended: OnceLock<String>,
}

impl fmt::Debug for ReplicatedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicatedState").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl ReplicatedState {
    /// Opens or creates the group in `data_dir` with this node as its one voter, restores the state
    /// machine, elects, and returns when everything committed before is applied.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        data_dir: Arc<DataDir>,
        broker_id: BrokerId,
        state_machine: impl StateMachine,
    ) -> Result<Self, StartError> {
        let replica = ReplicaId { broker_id, directory_id: data_dir.identity().directory_id };
        let directory = data_dir.path().join(DIRECTORY);
        let device = Arc::clone(data_dir.device());
        drop(data_dir);
        Self::start_on(device, directory, replica, Box::new(state_machine)).await
    }

    async fn start_on(
        device: Arc<dyn Device>,
        directory: PathBuf,
        replica: ReplicaId,
        mut state_machine: Box<dyn StateMachine>,
    ) -> Result<Self, StartError> {
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
        let built = Box::pin(Raft::build(replica, config()?, NoPeers, store, applied)).await;
        let raft = match built {
            Ok(raft) => raft,
            Err(error) => {
                journal.close().await;
                return Err(StartError::Raft(error.to_string()));
            }
        };
        let (closing, ended) = (AtomicBool::new(false), OnceLock::new());
        let inner = Arc::new(Inner { raft, journal, snapshot_file, closing, ended });
        let group = Self { inner };
        if let Err(reason) = group.lead(replica).await {
            let cause = group.health().err().unwrap_or(reason);
            group.shutdown().await;
            return Err(StartError::Raft(cause));
        }
        // A start on a full disk fails and says so; from here on the group waits for space.
        group.inner.journal.set_patient(true);
        Ok(group)
    }

    /// Runs Raft until this node leads and has applied everything committed before.
    async fn lead(&self, replica: ReplicaId) -> Result<(), String> {
        let raft = &self.inner.raft;
        raft.run();
        tokio::spawn(note_end(Arc::clone(&self.inner)));
        if raft.is_initialized().await.map_err(|error| error.to_string())? {
            let voters = raft.with_raft_state(|state| {
                state.membership_state.effective().voter_ids().collect::<BTreeSet<_>>()
            });
            let voters = voters.await.map_err(|error| error.to_string())?;
            if !voters.contains(&replica) {
                return Err(format!("its voters are {voters:?}, and this is {replica}"));
            }
            raft.trigger().elect(false).await.map_err(|error| error.to_string())?;
        } else {
            let members = BTreeSet::from([replica]);
            raft.initialize(members).await.map_err(|error| error.to_string())?;
        }
        // The blank entry that begins the term commits everything before it.
        let leads = |metrics: &RaftMetrics<MetadataRaft>| {
            let applied_term = metrics.last_applied.map(|id| id.committed_leader_id().term);
            metrics.state.is_leader() && applied_term == Some(metrics.current_term)
        };
        let wait = raft.wait(Some(START_TIMEOUT));
        let led = wait.metrics(leads, "this node leads and has applied an entry of its term").await;
        led.map_err(|error| error.to_string())?;
        // Ticks start elections and heartbeats. A leader that is the only voter needs neither, nobody
        // can depose it, and its lease does not end: an idle node should sleep.
        raft.runtime_config().tick(false);
        Ok(())
    }

    /// Proposes a command; answers with what [`StateMachine::apply`] returned, after it is durable
    /// and applied. Any number of proposals may wait at once: they share their syncs.
    ///
    /// A dropped future leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { command_bytes: command.len() });
        }
        self.health().map_err(ProposeError::Stopped)?;
        let answer = match self.inner.raft.client_write(Command(command)).await {
            Ok(applied) => applied.data,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                return Err(ProposeError::NotLeader(to.leader_id.map(|id| id.broker_id)));
            }
            Err(RaftError::APIError(error)) => {
                return Err(ProposeError::Unknown(error.to_string()));
            }
            Err(RaftError::Fatal(error)) => {
                // The core has ended; whoever proposes next shall know, even before its end is noted.
                let cause = self.inner.ended.get_or_init(|| error.to_string()).clone();
                return Err(ProposeError::Unknown(self.health().err().unwrap_or(cause)));
            }
        };
        if self.inner.journal.bytes() > JOURNAL_BYTES_MAX {
            // Does nothing while one is being built. If the core has ended, the next proposal says so.
            drop(self.inner.raft.trigger().snapshot().await);
        }
        Ok(answer)
    }

    /// Whether the group takes commands.
    ///
    /// # Errors
    /// Why it has stopped for good.
    pub fn health(&self) -> Result<(), String> {
        let Inner { journal, ended, closing, .. } = &*self.inner;
        if let Some(cause) = journal.failure().or_else(|| ended.get()) {
            return Err(cause.clone());
        }
        if closing.load(Ordering::Acquire) {
            return Err("it was shut down".to_owned());
        }
        Ok(())
    }

    /// Who votes, who leads, and how far the log has come, as this node sees it.
    #[must_use]
    pub fn quorum(&self) -> Quorum {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let end = |last: Option<u64>| LogIndex::new(last.map_or(0, |index| index + 1));
        let membership = metrics.membership_config.membership().clone();
        let voters = membership.voter_ids().map(|id| (id.broker_id, id.directory_id));
        Quorum {
            leader: metrics.current_leader.map(|id| id.broker_id),
            term: metrics.current_term,
            log_end: end(metrics.last_log_index),
            committed_end: end(metrics.last_applied.map(|id| id.index)),
            voters: voters.collect(),
        }
    }

    /// Stops the group after what is in flight; its files are closed when this returns.
    pub async fn shutdown(&self) {
        let Inner { raft, journal, snapshot_file, closing, .. } = &*self.inner;
        closing.store(true, Ordering::Release);
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

/// Notes why Raft's core ended. A panic of the core tells no state; then the watch just closes.
async fn note_end(inner: Arc<Inner>) {
    let metrics = inner.raft.metrics();
    let mut changes = inner.raft.server_metrics();
    while metrics.borrow_watched().running_state.is_ok() && changes.changed().await.is_ok() {}
    let state = metrics.borrow_watched().running_state.clone();
    let cause = state.err().map_or_else(|| "Raft's core panicked".to_owned(), |e| e.to_string());
    if !inner.closing.load(Ordering::Acquire) {
        tracing::error!(cause, "the metadata group has stopped");
    }
    // A proposal may have noted it before.
    drop(inner.ended.set(cause));
}

/// What a start finds on disk.
struct Files {
    snapshot_file: Arc<SnapshotFile>,
    snapshot: Option<Snapshot>,
    journal: Journal,
    log: RaftLog,
}

fn open_files(device: &Arc<dyn Device>, directory: &Path) -> Result<Files, StartError> {
    make_directory(&**device, directory)?;
    let snapshot_path = directory.join(SNAPSHOT);
    let snapshot_file = Arc::new(SnapshotFile::new(Arc::clone(device), snapshot_path));
    let snapshot = snapshot_file.read()?;
    let (journal, log) = Journal::open(Arc::clone(device), &directory.join(JOURNAL))?;
    let held = snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
    if log.purged() > held {
        let reason = "the journal begins behind its end: it is older than the journal, or missing";
        return Err(StartError::Snapshot {
            path: snapshot_file.path().clone(),
            reason: reason.to_owned(),
        });
    }
    Ok(Files { snapshot_file, snapshot, journal, log })
}

fn make_directory(device: &dyn Device, directory: &Path) -> Result<(), OpenError> {
    let failed =
        |operation| move |cause| OpenError::Io { path: directory.to_owned(), operation, cause };
    match device.create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => created.map_err(failed("create"))?,
    }
    // Also where it exists: a start that crashed here may have made it without this sync.
    let parent = directory.parent().expect("the folder stands in the data directory");
    device.sync_dir(parent).map_err(failed("sync"))
}

fn config() -> Result<Arc<Config>, StartError> {
    let config = Config {
        cluster_name: "metadata".to_owned(),
        heartbeat_interval: 200,
        election_timeout_min: 800,
        election_timeout_max: 1600,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(ENTRIES_PER_SNAPSHOT),
        max_in_snapshot_log_to_keep: 0,
        // Each of them is a ring of buffers, allocated ahead.
        log_stage_capacity: Some(1),
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(64),
        enable_pre_vote: Some(true),
        // See the file header: a restarted leader takes a new term.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let config = config.validate().map_err(|error| StartError::Raft(error.to_string()))?;
    Ok(Arc::new(config))
}
