//! An ordinary Raft group that keeps a caller's state machine: bytes in, snapshot out.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use protocol::types::{BrokerId, LogIndex};
use storage::data_dir::DataDir;

/// The caller's deterministic state. Called from one task, in log order.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one committed command and returns the answer for its proposer. MUST be a pure function
    /// of the state and the command, and MUST NOT fail: an illegal command answers so and changes nothing.
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
    /// The command may or may not be applied.
    #[error("the outcome of the command is unknown: {0}")]
    Unknown(String),
    /// The group stopped for good.
    #[error("the metadata group has stopped: {0}")]
    Stopped(String),
}

/// Why the group did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::error::OpenError),
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

/// A running group. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReplicatedState {}

impl ReplicatedState {
    /// Opens or creates the group in `data_dir` with this node as its one voter, restores the state
    /// machine, elects, and returns when everything committed before is applied.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        _data_dir: Arc<DataDir>,
        _broker_id: BrokerId,
        _state_machine: impl StateMachine,
    ) -> Result<Self, StartError> {
        todo!()
    }

    /// Proposes a command; answers with what [`StateMachine::apply`] returned, after it is durable.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, _command: Bytes) -> Result<Bytes, ProposeError> {
        todo!()
    }

    /// Stops the group after what is in flight; its files are closed when this returns.
    pub async fn shutdown(&self) {
        todo!()
    }
}
