//! What openraft asks of a state machine, over the caller's.
//!
//! The state lives in memory alone: a start restores the newest snapshot, and Raft applies what
//! follows it. A panic of the caller's `apply` leaves its state in doubt, so it stops the group as a
//! failed disk would, and does not leave a task that waits for ever.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use protocol::types::LogIndex;

use super::StateMachine;
use super::snapshot::SnapshotFile;
use super::types::{
    Command, Entry, EntryPayload, LogId, MetadataRaft, Snapshot, SnapshotMeta, StoredMembership,
};
use crate::metrics;

/// The caller's state machine and what Raft must know of it.
pub(crate) struct AppliedState {
    machine: Box<dyn StateMachine>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    file: Arc<SnapshotFile>,
}

impl AppliedState {
    /// A machine that has applied nothing, or all that the snapshot with this `meta` holds.
    pub(crate) fn new(
        machine: Box<dyn StateMachine>,
        meta: Option<SnapshotMeta>,
        file: Arc<SnapshotFile>,
    ) -> Self {
        let SnapshotMeta { last_log_id, last_membership } = meta.unwrap_or_default();
        Self { machine, last_applied: last_log_id, membership: last_membership, file }
    }

    fn apply_entry(&mut self, entry: Entry) -> io::Result<Bytes> {
        let Entry { log_id, payload } = entry;
        let answer = match payload {
            EntryPayload::Blank => Bytes::new(),
            EntryPayload::Normal(Command(command)) => {
                let index = LogIndex::new(log_id.index());
                let apply = AssertUnwindSafe(|| self.machine.apply(index, &command));
                std::panic::catch_unwind(apply).map_err(|_payload| {
                    io::Error::other(format!("applying the command at index {index} panicked"))
                })?
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                Bytes::new()
            }
        };
        self.last_applied = Some(log_id);
        metrics::applied(log_id.index());
        Ok(answer)
    }
}

impl RaftStateMachine<MetadataRaft> for AppliedState {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<MetadataRaft>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let answer = self.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            meta: SnapshotMeta {
                last_log_id: self.last_applied,
                last_membership: self.membership.clone(),
            },
            state: self.machine.snapshot(),
            file: Arc::clone(&self.file),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        self.machine.restore(&snapshot).map_err(io::Error::other)?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.file.write(meta, &snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        read.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}

/// The state at one point, on its way to the disk beside the group.
pub(crate) struct SnapshotBuilder {
    meta: SnapshotMeta,
    state: Bytes,
    file: Arc<SnapshotFile>,
}

impl RaftSnapshotBuilder<MetadataRaft> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.file.write(&self.meta, &self.state).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: self.state.clone() })
    }
}
