//! What the parts of one replica of a group share: the log, the vote, how far it has come, and who
//! is told.
//!
//! Who changes what: Raft's core (through the log store) the vote, the entries and the tenure; its
//! state machine worker what is applied; the flusher what is finished. Order of locks: the log's
//! listener, then `Teller`, then `Tenure`, then the log's state and the small ones of this file, of
//! which nobody holds two.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use protocol::types::{LogIndex, Offset, Timestamp};
use storage::error::{LogFailure, ReadError};
use storage::log::entries::{EntryBounds, EntryId};
use storage::log::{Log, LogListener};
use tokio::sync::watch;

use super::recent::Recent;
use super::teller::Teller;
use super::tenure::Tenure;
use super::types::{LogId, PartitionRaft, Snapshot, StoredMembership, Vote, epoch_of, log_id};
use crate::types::{GroupId, ReplicaId};
use crate::votes::{Progress, Votes};

/// The wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(super) struct GroupState {
    pub(super) id: GroupId,
    pub(super) me: ReplicaId,
    pub(super) log: Arc<Log>,
    pub(super) votes: Votes,
    pub(super) clock: Clock,
    pub(super) teller: Teller,
    pub(super) tenure: Tenure,
    /// Durable.
    pub(super) vote: Mutex<Option<Vote>>,
    pub(super) recent: Mutex<Recent>,
    pub(super) applied: Mutex<Applied>,
    /// Where the next snapshot is to be, which retention asks for.
    pub(super) evict_to: Mutex<Option<EntryId>>,
    pub(super) snapshot: Mutex<Option<Snapshot>>,
    /// What Raft has purged; the log itself purges whole segments.
    pub(super) purged: watch::Sender<Option<LogId>>,
    committed: Mutex<Option<LogId>>,
    appends: Mutex<VecDeque<Append>>,
    finished: watch::Sender<Finished>,
}

/// What the state machine is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Applied {
    pub(super) last: Option<LogId>,
    /// The memberships that hold from the eviction point on, rising.
    pub(super) memberships: Vec<StoredMembership>,
}

/// Entries on their way to the disk.
struct Append {
    end: LogIndex,
    done: IOFlushed<PartitionRaft>,
}

/// How far the disk has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finished {
    /// Exclusive.
    End(LogIndex),
    Failed(String),
}

impl Finished {
    /// Notes an end; tells whether it is another.
    fn is_at(&mut self, end: LogIndex) -> bool {
        match self {
            Self::End(at) => std::mem::replace(at, end) != end,
            Self::Failed(_) => false,
        }
    }
}

impl Applied {
    /// The membership that holds at an entry.
    pub(super) fn membership_at(&self, at: &LogId) -> StoredMembership {
        let holds = |one: &&StoredMembership| one.log_id().as_ref() <= Some(at);
        let found = self.memberships.iter().rev().find(holds);
        found.or_else(|| self.memberships.first()).cloned().unwrap_or_default()
    }

    pub(super) fn membership(&self) -> StoredMembership {
        self.memberships.last().cloned().unwrap_or_default()
    }

    /// Memberships that end before an eviction point are not asked for any more.
    pub(super) fn forget_before(&mut self, at: &LogId) {
        let rises_to = |one: &StoredMembership| one.log_id().as_ref() <= Some(at);
        let upto = self.memberships.partition_point(rises_to);
        self.memberships.drain(..upto.saturating_sub(1));
    }
}

impl GroupState {
    /// The state of a group whose log and vote were just opened, and told of what the log finishes
    /// from now on. Blocks.
    pub(super) fn open(
        id: GroupId,
        me: ReplicaId,
        log: Arc<Log>,
        votes: Votes,
        clock: Clock,
        first: StoredMembership,
    ) -> io::Result<Arc<Self>> {
        let remembered = votes.remembered(id);
        let bounds = log.entry_bounds();
        let (last, purged) = (id_of(bounds.last)?, id_of(bounds.purged)?);
        let term = remembered.vote.map_or(0, |vote| vote.leader_id.term);
        if last.is_some_and(|last| last.committed_leader_id().term > term) {
            let what = format!("{id}: the log has entries of a term above its vote's, {term}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let applied = start_of(remembered.progress, last, purged, first);
        let high_watermark = match applied.last {
            Some(applied) if Some(applied) > purged => {
                log.offset_after(LogIndex::new(applied.index())).map_err(io_error)?
            }
            _ => Offset::ZERO,
        };
        // Deleted is only what was committed.
        let high_watermark = high_watermark.max(log.pointers().log_start_offset);
        // Its leader may lead on: then nothing of the vote changes, and nobody says so. Unless it was
        // this replica: a restarted leader does not.
        let elected = remembered.vote.filter(|vote| vote.committed).map(|v| v.leader_id.voted_for);
        let leader = elected.filter(|leader| *leader != me).map(|leader| leader.broker_id);
        let state = Arc::new(Self {
            id,
            me,
            votes,
            clock,
            teller: Teller::new(high_watermark, leader, epoch_of(term)?),
            tenure: Tenure::new(),
            vote: Mutex::new(remembered.vote),
            recent: Mutex::default(),
            committed: Mutex::new(applied.last),
            applied: Mutex::new(applied),
            evict_to: Mutex::new(None),
            snapshot: Mutex::new(None),
            purged: watch::Sender::new(purged),
            appends: Mutex::default(),
            finished: watch::Sender::new(Finished::End(bounds.finished_end)),
            log,
        });
        state.log.set_listener(Arc::clone(&state) as Arc<dyn LogListener>);
        Ok(state)
    }

    pub(super) fn bounds(&self) -> EntryBounds {
        self.log.entry_bounds()
    }

    /// The last entry that Raft knows to be purged.
    pub(super) fn purged(&self) -> Option<LogId> {
        *self.purged.borrow()
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        *self.committed.lock()
    }

    pub(super) fn set_committed(&self, id: LogId) {
        *self.committed.lock() = Some(id);
    }

    /// Asks to be told once entries below `end` are finished. Of several that are finished together
    /// only the newest is told, which stands for all: Raft's core is slow at telling them apart.
    pub(super) fn note_append(&self, end: LogIndex, done: IOFlushed<PartitionRaft>) {
        self.appends.lock().push_back(Append { end, done });
    }

    /// The log was cut: what was cut off will never be finished, and Raft does not wait for it.
    pub(super) fn truncated(&self) {
        let mut appends = self.appends.lock();
        let bounds = self.bounds();
        appends.retain(|append| append.end <= bounds.end);
        self.finished.send_if_modified(|state| state.is_at(bounds.finished_end));
    }

    /// Waits until everything appended so far is finished.
    pub(super) async fn barrier(&self) -> io::Result<()> {
        let end = self.bounds().end;
        let mut finished = self.finished.subscribe();
        let reached = |state: &Finished| match state {
            Finished::End(at) => *at >= end,
            Finished::Failed(_) => true,
        };
        // Raft's core waits here for the flusher, which always goes on or fails.
        let reached = finished.wait_for(reached).await.map_err(io::Error::other)?;
        match &*reached {
            Finished::End(_) => Ok(()),
            Finished::Failed(cause) => Err(io::Error::other(cause.clone())),
        }
    }

    /// What is to be remembered of how far this replica has come; `None` while the log has not
    /// finished that itself.
    pub(super) fn progress(&self) -> Option<Progress> {
        let Applied { last, memberships } = self.applied.lock().clone();
        let applied = last?;
        let is_finished = applied.index() < self.bounds().finished_end.get()
            || self.purged().is_some_and(|purged| purged >= applied);
        is_finished.then_some(Progress { applied, memberships })
    }

    /// The bytes of the snapshot at the eviction point, for whoever lacks what is before it.
    pub(super) fn current_snapshot(&self) -> Option<Snapshot> {
        self.snapshot.lock().clone()
    }

    /// The log failed, or the replica is closed: nothing will be taken or told any more.
    pub(super) fn end(&self) {
        self.teller.end();
        self.tenure.end(&self.log);
    }

    fn fail_appends(&self, cause: &str) {
        let newest = self.appends.lock().drain(..).next_back();
        if let Some(append) = newest {
            append.done.io_completed(Err(io::Error::other(cause.to_owned())));
        }
        self.finished.send_replace(Finished::Failed(cause.to_owned()));
    }
}

impl LogListener for GroupState {
    fn progressed(&self, _finished: Offset) {
        let newest = {
            // The end is read under the lock: what is appended behind a cut cannot be taken for what
            // was finished before it.
            let mut appends = self.appends.lock();
            let end = self.bounds().finished_end;
            self.finished.send_if_modified(|state| state.is_at(end));
            let count = appends.partition_point(|append| append.end <= end);
            appends.drain(..count).next_back()
        };
        if let Some(append) = newest {
            append.done.io_completed(Ok(()));
        }
    }

    fn failed(&self, failure: &LogFailure) {
        self.end();
        self.fail_appends(&failure.to_string());
    }
}

/// A listener of a log whose group is closed.
pub(super) struct Nobody;

impl LogListener for Nobody {
    fn progressed(&self, _finished: Offset) {}
    fn failed(&self, _failure: &LogFailure) {}
}

/// Where a replica starts: what it remembers, as far as its log still has it.
fn start_of(
    progress: Option<Progress>,
    last: Option<LogId>,
    purged: Option<LogId>,
    first: StoredMembership,
) -> Applied {
    let (noted, memberships) = match progress {
        Some(Progress { applied, memberships }) => (Some(applied), memberships),
        None => (None, Vec::new()),
    };
    // A crash may have taken entries that were applied because others had them; what is left of them
    // was applied too.
    let noted =
        noted.map(
            |noted| {
                if noted.index() > last.map_or(0, |id| id.index()) { last } else { Some(noted) }
            },
        );
    let memberships = if memberships.is_empty() { vec![first] } else { memberships };
    Applied { last: noted.flatten().max(purged), memberships }
}

pub(super) fn id_of(entry: Option<EntryId>) -> io::Result<Option<LogId>> {
    entry.map(|entry| log_id(entry.leader_epoch, entry.index.get())).transpose()
}

pub(super) fn io_error(error: ReadError) -> io::Error {
    io::Error::other(error)
}

/// Runs a call that waits for the disk where it stops no other task. Dropping the future does not
/// stop the call.
pub(super) async fn on_blocking_pool<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result.map_err(io_error),
        Err(stopped) => Err(io::Error::other(stopped)),
    }
}
