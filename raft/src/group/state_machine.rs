//! What openraft asks of a state machine, where the log is the data.
//!
//! Applying a batch does nothing: it is in the log, and the log has noted its producer. A membership
//! is kept with its history, and a trim raises the log's start. A snapshot is no copy of the data: it
//! says what the log has evicted, and how a log starts behind that. So whoever installs one lacks
//! only what everyone lacks.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use protocol::types::{LeaderEpoch, LogIndex, Offset};
use storage::log::entries::{EntryId, EvictionState};

use super::state::{GroupState, on_blocking_pool};
use super::types::{
    Entry, LogId, PartitionRaft, Payload, Snapshot, SnapshotMeta, StoredMembership, epoch_of,
    log_id,
};

/// The state machine of a group.
pub(super) struct StateMachine(pub(super) Arc<GroupState>);

impl StateMachine {
    async fn apply_entry(&self, entry: Entry) -> io::Result<()> {
        let id = entry.log_id();
        match entry.payload {
            Payload::Blank | Payload::Void | Payload::Batch(_) | Payload::Records => {}
            Payload::Staged(_) => {
                return Err(io::Error::other(format!("entry {id} was staged and not appended")));
            }
            Payload::Trim(to) => self.trim(to).await?,
            Payload::Membership(membership) => {
                let stored = StoredMembership::new(Some(id), membership);
                self.0.applied.lock().memberships.push(stored);
            }
        }
        self.0.applied.lock().last = Some(id);
        Ok(())
    }

    async fn trim(&self, to: Offset) -> io::Result<()> {
        let log = Arc::clone(&self.0.log);
        on_blocking_pool(move || log.raise_log_start(to)).await.map(drop)
    }
}

impl RaftStateMachine<PartitionRaft> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.0.applied.lock();
        let membership =
            if applied.last.is_some() { applied.membership() } else { StoredMembership::default() };
        Ok((applied.last, membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<PartitionRaft>>> + Unpin + OptionalSend,
    {
        let mut last = None;
        while let Some((entry, responder)) = entries.try_next().await? {
            last = Some(entry.log_id().index());
            self.apply_entry(entry).await?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        if let Some(last) = last {
            self.0.recent.lock().applied(last);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        // Without a wish of retention there is nothing to say that is not said yet.
        let evict_to = self.0.evict_to.lock().take();
        let at = evict_to.or_else(|| self.0.purged().and_then(entry_id))?;
        Some(SnapshotBuilder { state: Arc::clone(&self.0), at })
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let at = self.0.bounds().purged;
        let at = at.unwrap_or(EntryId { index: LogIndex::new(0), leader_epoch: LeaderEpoch::ZERO });
        SnapshotBuilder { state: Arc::clone(&self.0), at }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> io::Result<()> {
        let evicted = decode(&snapshot)?;
        let state = &self.0;
        if id_at(&evicted)? != meta.last_log_id {
            let what = format!("a snapshot of another point than it says: {meta}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        // What was evicted was committed. Before the log: its start must not pass the watermark.
        state.teller.committed(evicted.next_offset);
        let log = Arc::clone(&state.log);
        on_blocking_pool(move || log.reset_entries(&evicted)).await?;
        state.recent.lock().truncate(0);
        state.truncated();
        {
            let mut applied = state.applied.lock();
            applied.last = meta.last_log_id;
            applied.memberships = vec![meta.last_membership.clone()];
        }
        state.purged.send_replace(meta.last_log_id);
        *state.snapshot.lock() = Some(Snapshot { meta: meta.clone(), snapshot });
        match state.progress() {
            Some(progress) => state.votes.save_progress(vec![(state.id, progress)]).await,
            None => Ok(()),
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if let Some(snapshot) = self.0.current_snapshot() {
            return Ok(Some(snapshot));
        }
        let Some(at) = self.0.bounds().purged else { return Ok(None) };
        SnapshotBuilder { state: Arc::clone(&self.0), at }.build().await.map(Some)
    }
}

/// Says how a log starts behind one of its entries.
pub(super) struct SnapshotBuilder {
    state: Arc<GroupState>,
    at: EntryId,
}

impl SnapshotBuilder {
    async fn build(&self) -> io::Result<Snapshot> {
        let (log, index) = (Arc::clone(&self.state.log), self.at.index);
        let evicted = on_blocking_pool(move || log.eviction_state(index)).await?;
        let last_log_id = id_at(&evicted)?;
        let last_membership = match &last_log_id {
            Some(id) => self.state.applied.lock().membership_at(id),
            None => StoredMembership::default(),
        };
        let meta = SnapshotMeta { last_log_id, last_membership };
        let snapshot = Snapshot { meta, snapshot: evicted.encode().into() };
        *self.state.snapshot.lock() = Some(snapshot.clone());
        if let Some(id) = &last_log_id {
            self.state.applied.lock().forget_before(id);
        }
        Ok(snapshot)
    }
}

impl RaftSnapshotBuilder<PartitionRaft> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        // What is applied is not read from what will be purged after this: it is remembered first.
        self.state.barrier().await?;
        if let Some(progress) = self.state.progress() {
            self.state.votes.save_progress(vec![(self.state.id, progress)]).await?;
        }
        self.build().await
    }
}

fn decode(snapshot: &[u8]) -> io::Result<EvictionState> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a snapshot fails its checksum");
    EvictionState::decode(snapshot).ok_or_else(damaged)
}

fn entry_id(id: LogId) -> Option<EntryId> {
    let leader_epoch = epoch_of(id.committed_leader_id().term).ok()?;
    Some(EntryId { index: LogIndex::new(id.index()), leader_epoch })
}

fn id_at(evicted: &EvictionState) -> io::Result<Option<LogId>> {
    log_id(evicted.at.leader_epoch, evicted.at.index.get()).map(Some)
}
