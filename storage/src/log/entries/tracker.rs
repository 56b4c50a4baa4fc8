//! What a replicated log holds in memory beside what every log does, under its short lock: the bounds
//! of its entries, what is staged, and how the producers' state was before what is not written yet.
//!
//! Nothing here waits or does I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::BatchHeader;
use protocol::types::{LeaderEpoch, LogIndex, Offset, Timestamp};

use super::{EntryBatch, EntryBounds, EntryId};
use crate::entry_index::EntryStart;
use crate::error::AppendError;
use crate::log::state::{PendingBatch, State};
use crate::producer_state::{Producers, Undo};
use crate::segment::Segment;
use crate::tail_cache::tail::Chunk;

/// A batch that the replication protocol has not taken yet.
#[derive(Debug)]
struct StagedBatch {
    header: BatchHeader,
    seen: Timestamp,
    undo: Undo,
}

/// What was purged of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purged {
    /// The last entry that was.
    pub(crate) id: EntryId,
    /// The offset behind it.
    pub(crate) next_offset: Offset,
}

/// The entries of one log.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) bounds: EntryBounds,
    /// The same as in the bounds.
    purged: Option<Purged>,
    /// Entries below are in the files (exclusive).
    pub(crate) written_end: LogIndex,
    /// The epoch of the last of them.
    written_epoch: LeaderEpoch,
    staged: VecDeque<StagedBatch>,
    /// For each pending batch, in the same order.
    pending_undo: VecDeque<Undo>,
    /// Segments of which every entry was purged, and whose files are still there.
    pub(crate) leaving: Vec<Arc<Segment>>,
}

impl Entries {
    /// Entries that are all written and finished, and nothing staged. `last` is not a purged one.
    pub(crate) fn new(purged: Option<Purged>, last: Option<EntryId>, end: LogIndex) -> Self {
        let purged_id = purged.map(|purged| purged.id);
        let last = last.or(purged_id);
        Self {
            bounds: EntryBounds { purged: purged_id, last, end, finished_end: end },
            purged,
            written_end: end,
            written_epoch: epoch_of(last),
            staged: VecDeque::new(),
            pending_undo: VecDeque::new(),
            leaving: Vec::new(),
        }
    }

    /// What was purged.
    pub(crate) const fn purged(&self) -> Option<Purged> {
        self.purged
    }

    /// Entries up to this one are purged.
    pub(crate) fn set_purged(&mut self, purged: Purged) {
        self.purged = Some(purged);
        self.bounds.purged = Some(purged.id);
    }

    /// The first `count` pending entries are in the file, the last of them has this epoch.
    pub(crate) fn written(&mut self, count: usize, leader_epoch: LeaderEpoch) {
        self.pending_undo.drain(..count);
        self.written_end = behind(self.written_end, count);
        self.written_epoch = leader_epoch;
    }

    /// Where the entries of a segment start that is made now.
    pub(crate) const fn written_start(&self) -> EntryStart {
        EntryStart { first_index: self.written_end, epoch_before: self.written_epoch }
    }

    /// Entries below `end` are finished.
    pub(crate) fn finished(&mut self, end: LogIndex) {
        let bounds = &mut self.bounds;
        bounds.finished_end = bounds.finished_end.max(end);
        assert!(bounds.finished_end <= self.written_end && self.written_end <= bounds.end);
    }

    /// What is pending is given up.
    pub(crate) fn drop_pending(&mut self) {
        self.pending_undo = VecDeque::new();
    }

    /// How to undo the newest pending entry, which is given up.
    pub(super) fn pop_pending_undo(&mut self) -> Undo {
        self.pending_undo.pop_back().unwrap_or_default()
    }

    /// The log ends behind `last` now, or is empty.
    pub(super) fn cut(&mut self, last: Option<EntryId>, end: LogIndex) {
        self.bounds.last = last;
        self.bounds.end = end;
        self.bounds.finished_end = self.bounds.finished_end.min(end);
        if self.written_end > end {
            self.written_end = end;
            self.written_epoch = epoch_of(last);
        }
    }
}

/// The epoch of an entry, if there is one.
pub(super) fn epoch_of(entry: Option<EntryId>) -> LeaderEpoch {
    entry.map_or(LeaderEpoch::NONE, |entry| entry.leader_epoch)
}

/// The index `count` entries behind another.
pub(crate) fn behind(index: LogIndex, count: usize) -> LogIndex {
    LogIndex::new(index.get() + crate::scan::as_u64(count))
}

impl State {
    /// The entries of a log that is known to be replicated.
    pub(crate) fn entries(&self) -> &Entries {
        self.entries.as_deref().expect("only a replicated log has entries")
    }

    /// As [`State::entries`].
    pub(crate) fn entries_mut(&mut self) -> &mut Entries {
        self.entries.as_deref_mut().expect("only a replicated log has entries")
    }

    /// All segments whose files are there: also those of which every entry was purged.
    pub(in crate::log) fn all_segments(&self) -> Vec<Arc<Segment>> {
        self.entries().leaving.iter().chain(&self.segments).cloned().collect()
    }

    /// The offset that the next staged batch gets.
    pub(super) fn staged_end(&self) -> Offset {
        let last = self.entries().staged.back();
        last.map_or(self.pointers.log_end_offset, |batch| batch.header.next_offset())
    }

    /// Keeps a batch in mind that is offered to the replication protocol.
    pub(super) fn stage(&mut self, header: BatchHeader, now: Timestamp) {
        let undo = self.producers.note_undoably(&header, now);
        self.entries_mut().staged.push_back(StagedBatch { header, seen: now, undo });
    }

    /// Forgets what is staged, and what was noted of its producers; returns how many bytes it has.
    pub(in crate::log) fn unstage(&mut self) -> usize {
        let Some(entries) = &mut self.entries else { return 0 };
        let mut bytes = 0;
        for batch in std::mem::take(&mut entries.staged).into_iter().rev() {
            bytes += batch.header.batch_bytes();
            self.producers.undo(batch.undo);
        }
        bytes
    }

    /// Takes the oldest staged batch if it is this one.
    pub(super) fn take_staged(&mut self, header: &BatchHeader) -> Option<Undo> {
        let staged = &mut self.entries_mut().staged;
        staged.pop_front_if(|oldest| oldest.header == *header).map(|batch| batch.undo)
    }

    /// Whether all `entries` follow the log's end and each other.
    pub(super) fn check_sequence(&self, entries: &[EntryBatch]) -> Result<(), AppendError> {
        let last = self.entries().bounds.last;
        let mut newest = epoch_of(last);
        let mut log_end_offset = self.pointers.log_end_offset;
        for EntryBatch { header, .. } in entries {
            let (offset, leader_epoch) = (header.base_offset, header.leader_epoch);
            if offset != log_end_offset || leader_epoch < newest {
                return Err(AppendError::OutOfSequence {
                    offset,
                    leader_epoch,
                    log_end_offset,
                    newest,
                });
            }
            (log_end_offset, newest) = (header.next_offset(), leader_epoch);
        }
        Ok(())
    }

    /// Gives an entry that continues the log its place, and keeps it for the flusher and for readers.
    pub(super) fn append_entry(
        &mut self,
        header: BatchHeader,
        body: Bytes,
        undo: Undo,
        now: Timestamp,
    ) {
        let (base_offset, next_offset) = (header.base_offset, header.next_offset());
        self.epochs_changed |= self.leader_epochs.begin(header.leader_epoch, base_offset);
        let entries = self.entries_mut();
        let index = entries.bounds.end;
        entries.pending_undo.push_back(undo);
        entries.bounds.end = behind(index, 1);
        entries.bounds.last = Some(EntryId { index, leader_epoch: header.leader_epoch });
        let chunk = Chunk { base_offset, next_offset, index, header: self.encode(&header), body };
        self.tail.push(chunk.clone());
        self.pending.push_back(PendingBatch { header, chunk, appended_at: now });
        self.pointers.log_end_offset = next_offset;
        self.validate();
    }

    /// Shows the producers as the batches below `offset` left them, which lies at or behind the end of
    /// what is written.
    pub(in crate::log) fn with_producers_at<T>(
        &mut self,
        offset: Offset,
        look: impl FnOnce(&Producers) -> T,
    ) -> T {
        let Self { producers, pending, entries, .. } = self;
        let Some(entries) = entries else { return look(producers) };
        for batch in entries.staged.iter_mut().rev() {
            producers.undo(std::mem::take(&mut batch.undo));
        }
        let first = pending.partition_point(|batch| batch.header.next_offset() <= offset);
        for undo in entries.pending_undo.range_mut(first..).rev() {
            producers.undo(std::mem::take(undo));
        }
        let seen = look(producers);
        for (batch, undo) in pending.iter().zip(&mut entries.pending_undo).skip(first) {
            *undo = producers.note_undoably(&batch.header, batch.appended_at);
        }
        for batch in &mut entries.staged {
            batch.undo = producers.note_undoably(&batch.header, batch.seen);
        }
        seen
    }
}
