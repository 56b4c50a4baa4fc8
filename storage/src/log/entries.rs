//! A replicated log: one whose batches are the entries of a replication protocol, counted from 0.
//!
//! ```text
//!  purged │ in files                      │ in memory          │ staged
//!  ───────┼───────────────┬───────────────┼────────────────────┼ ─ ─ ─ ─ ┤
//!         │ finished      │ written       │                    │ has offsets, no index
//!                         finished_end                         end
//! ```
//! The leader *stages* a batch first: its producer is judged, it gets its offsets and room in memory.
//! Its index it gets when the replication protocol has taken it ([`Log::append_entries`]). What the
//! protocol refuses is given up with everything staged behind it ([`Log::unstage`]).
//!
//! What the protocol has taken is never refused for lack of memory or space: a leader is held up when
//! it stages, a follower before it takes anything from the leader ([`Log::admit_entries`]).

use bytes::Bytes;
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES};
use protocol::types::{
    LeaderEpoch, LogIndex, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
};

pub use evict::EvictionState;

use super::state::{Phase, State};
use super::{AppendBatch, Appended, Log};
use crate::config::{LogConfig, SyncPolicy};
use crate::error::AppendError;
use crate::producer_state::Judgement;
use crate::scan::as_u64;

mod adopt;
mod evict;
pub(crate) mod open;
mod read;
pub(crate) mod reset;
pub(super) mod tracker;
mod truncate;

/// Whether the batches of a log are entries of a replication protocol. Kept in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// They are not: [`Log::append`] gives each its place at once.
    Direct,
    /// They are, and have indexes.
    Replicated,
}

impl LogKind {
    /// The settings that a log of this kind goes by. An entry that counts as finished is one that the
    /// replication protocol relies on for ever: to lose it with the power would let a majority forget
    /// what it has agreed on. So it is synced first, whatever the settings say.
    pub(super) fn settings(self, asked: LogConfig) -> LogConfig {
        match self {
            Self::Direct => asked,
            Self::Replicated => LogConfig { sync: SyncPolicy::EveryCommit, ..asked },
        }
    }
}

/// Names one entry of a partition's log: no two that differ have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Its place.
    pub index: LogIndex,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// Which entries a log holds, and how far they are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryBounds {
    /// The last entry that was purged.
    pub purged: Option<EntryId>,
    /// The last entry; if none is left, the last that was purged.
    pub last: Option<EntryId>,
    /// The index that the next entry gets (exclusive end).
    pub end: LogIndex,
    /// Entries below are finished: durable, whatever the log's settings say (exclusive). The listener
    /// is told each time that this moves. Only a truncation or a reset makes it fall.
    pub finished_end: LogIndex,
}

impl EntryBounds {
    /// The first index that was not purged.
    #[must_use]
    pub fn first(&self) -> LogIndex {
        self.purged.map_or(LogIndex::new(0), |purged| LogIndex::new(purged.index.get() + 1))
    }
}

/// One entry: a batch with its final offset and epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryBatch {
    /// Its header.
    pub header: BatchHeader,
    /// Everything after the 61 header bytes.
    pub body: Bytes,
}

impl EntryBatch {
    /// An entry of the replication protocol's own: it takes no offset, and no client is sent it.
    /// `base_offset` is the end of the log.
    #[must_use]
    pub fn raft_only(base_offset: Offset, leader_epoch: LeaderEpoch, payload: Bytes) -> Self {
        let header = BatchHeader {
            base_offset,
            length: 0,
            leader_epoch,
            crc: 0,
            attributes: Attributes::new(Codec::None).with_control(),
            last_offset_delta: -1,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            record_count: 0,
        };
        Self { header: header.sealed(&payload), body: payload }
    }

    /// Bytes of the whole.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// A batch that was given offsets and is to be offered to the replication protocol.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Where it lands if all that was staged before it is taken too.
    pub appended: Appended,
    /// Stamped.
    pub batch: EntryBatch,
}

/// What became of a batch that a client sent to the leader.
#[derive(Debug, Clone)]
pub enum StageOutcome {
    /// It is to be replicated.
    Staged(Staged),
    /// An idempotent retry: the batch is in the log, or staged, already.
    Duplicate(Appended),
}

impl Log {
    /// Whether its batches are entries.
    #[must_use]
    pub fn kind(&self) -> LogKind {
        match self.state.lock().entries {
            Some(_) => LogKind::Replicated,
            None => LogKind::Direct,
        }
    }

    /// Which entries there are.
    ///
    /// # Panics
    /// If the log is not replicated, as all that deals with entries.
    #[must_use]
    pub fn entry_bounds(&self) -> EntryBounds {
        self.state.lock().entries().bounds
    }

    /// Gives a client's batch its offsets behind everything appended and staged, and notes its
    /// producer. The caller offers staged batches to the replication protocol in this order.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was staged.
    ///
    /// # Panics
    /// If the header does not describe the body.
    pub fn stage(
        &self,
        batch: AppendBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<StageOutcome, AppendError> {
        let AppendBatch { mut header, body } = batch;
        let batch_bytes = HEADER_BYTES + body.len();
        assert_eq!(batch_bytes, header.batch_bytes(), "a header describes its own body");
        let mut state = self.state.lock();
        state.check_appendable()?;
        let segment_bytes_max = state.config.segment_bytes_max;
        if as_u64(batch_bytes) > u64::from(segment_bytes_max) {
            return Err(AppendError::LargerThanSegment { batch_bytes, segment_bytes_max });
        }
        let judgement = state.producers.judge(&header, now, self.env.producer_expiration.get())?;
        if let Judgement::Duplicate(earlier) = judgement {
            let (base_offset, next_offset) = (earlier.base_offset, earlier.next_offset);
            return Ok(StageOutcome::Duplicate(Appended {
                base_offset,
                next_offset,
                duplicate: true,
            }));
        }
        self.reserve(batch_bytes)?;
        header.base_offset = state.staged_end();
        header.leader_epoch = epoch;
        state.stage(header, now);
        drop(state);
        let (base_offset, next_offset) = (header.base_offset, header.next_offset());
        let appended = Appended { base_offset, next_offset, duplicate: false };
        Ok(StageOutcome::Staged(Staged { appended, batch: EntryBatch { header, body } }))
    }

    /// Gives up all that is staged and not appended: as if it had never come.
    pub fn unstage(&self) {
        let bytes = self.state.lock().unstage();
        self.give_back(bytes);
    }

    /// Appends entries at the end, in memory, and hands them to the flusher. Never blocks, and never
    /// refuses for lack of memory or space. `staged` says that the batches of clients among them were
    /// staged here; one that was not, after all, is noted and counted now, and what is staged behind
    /// another end is given up.
    ///
    /// # Errors
    /// [`AppendError::OutOfSequence`] if an entry's offset is not the log's end (that of a Raft-only
    /// entry too) or its epoch is older than that of the one before; [`AppendError::Failed`],
    /// [`AppendError::Closed`]. Nothing was appended.
    ///
    /// # Panics
    /// If a header does not describe its body.
    pub fn append_entries(
        &self,
        entries: Vec<EntryBatch>,
        staged: bool,
        now: Timestamp,
    ) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        state.check_appendable()?;
        state.check_sequence(&entries)?;
        if entries.is_empty() {
            return Ok(());
        }
        let (mut unreserved, mut given_up) = (0, 0);
        for EntryBatch { header, body } in entries {
            let batch_bytes = HEADER_BYTES + body.len();
            assert_eq!(batch_bytes, header.batch_bytes(), "a header describes its own body");
            match state.take_staged(&header).filter(|_| staged) {
                Some(undo) => state.append_entry(header, body, undo, now),
                None => {
                    if !header.is_raft_only() {
                        given_up += state.unstage();
                    }
                    unreserved += batch_bytes;
                    let undo = state.producers.note_undoably(&header, now);
                    state.append_entry(header, body, undo, now);
                }
            }
        }
        // Under the lock: what is pending was counted before it can be written.
        self.env.flusher.reserve_anyway(unreserved);
        self.env.space.admit_anyway(as_u64(unreserved));
        let must_queue = !std::mem::replace(&mut state.is_queued, true);
        drop(state);
        self.give_back(given_up);
        if must_queue {
            self.queue();
        }
        Ok(())
    }

    /// Whether a follower should take so many bytes from its leader now. Reserves nothing.
    ///
    /// # Errors
    /// [`AppendError::Busy`], [`AppendError::DiskFull`], [`AppendError::Failed`] or
    /// [`AppendError::Closed`].
    pub fn admit_entries(&self, bytes: usize) -> Result<(), AppendError> {
        self.state.lock().check_appendable()?;
        if let Some(pending_bytes) = self.env.flusher.busy_with(bytes) {
            return Err(AppendError::Busy { pending_bytes });
        }
        if self.env.space.is_full() { Err(AppendError::DiskFull) } else { Ok(()) }
    }

    /// Room for a batch in memory and on the disk, given back when it is written or given up.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), AppendError> {
        let reserved = self.env.flusher.reserve(bytes);
        reserved.map_err(|pending_bytes| AppendError::Busy { pending_bytes })?;
        if self.env.space.admit(as_u64(bytes)) {
            return Ok(());
        }
        self.env.flusher.release(bytes);
        Err(AppendError::DiskFull)
    }

    /// Gives back what will not be written.
    pub(super) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.env.flusher.release(bytes);
        self.env.space.settle(as_u64(bytes));
    }
}

impl State {
    /// Whether anything may be appended.
    pub(super) fn check_appendable(&self) -> Result<(), AppendError> {
        match &self.phase {
            // It becomes a replicated log, in a moment.
            Phase::Open if self.is_switching => Err(AppendError::Busy { pending_bytes: 0 }),
            Phase::Open => Ok(()),
            Phase::Failed(failure) => Err(AppendError::Failed(failure.clone())),
            Phase::Closed => Err(AppendError::Closed),
        }
    }
}
