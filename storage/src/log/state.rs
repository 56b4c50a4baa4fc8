//! What a log holds in memory, under its short lock: pointers, producers, epochs, pending batches.
//!
//! Nothing here waits or does I/O. `phase` changes only while the writer's lock is held too.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::types::{LeaderEpoch, LogIndex, Offset, Timestamp};

use super::entries::tracker::Entries;
use super::{Appended, LogPointers};
use crate::config::{LogConfig, SyncPolicy};
use crate::error::LogFailure;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::Producers;
use crate::segment::Segment;
use crate::tail_cache::tail::{Chunk, Tail};

/// Headers that share one allocation.
const HEADERS_PER_BLOCK: usize = 32;

/// Whether a log takes part in life.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Open,
    Failed(LogFailure),
    Closed,
}

/// A batch that waits for the flusher.
#[derive(Debug, Clone)]
pub(super) struct PendingBatch {
    pub(super) header: BatchHeader,
    pub(super) chunk: Chunk,
    pub(super) appended_at: Timestamp,
}

/// Up to where a log is written (exclusive): an entry may end it that takes no offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    end: Offset,
    /// In a replicated log.
    entries: Option<LogIndex>,
}

/// What the last append left behind.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) config: Arc<LogConfig>,
    pub(super) pointers: LogPointers,
    /// What the listener may be told (exclusive). Never goes back while the log is open.
    pub(super) finished_end: Offset,
    /// The byte of the active segment that `written_end` stands for.
    pub(super) written_position: u32,
    /// Sorted; never empty; the last one is active.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) producers: Producers,
    pub(super) leader_epochs: LeaderEpochs,
    /// Whether `leader_epochs` must be saved before anything else is written.
    pub(super) epochs_changed: bool,
    pub(super) pending: VecDeque<PendingBatch>,
    pub(super) tail: Tail,
    /// Whether the flusher knows that there is something to do.
    pub(super) is_queued: bool,
    /// Counts truncations: what was in flight before one says nothing about what came after.
    pub(super) generation: u64,
    /// Syncs that the flusher has begun and not finished.
    pub(super) syncs_in_flight: u32,
    /// Who waits for a moment without such a sync; the flusher begins no other meanwhile.
    pub(super) quiet_wanted: u32,
    pub(super) bytes_since_snapshot: u64,
    /// The newest epoch that may have named what a crash took away; nothing new may carry it.
    pub(super) spent_epoch: Option<LeaderEpoch>,
    /// In a replicated log.
    pub(super) entries: Option<Box<Entries>>,
    /// Whether it is just becoming one.
    pub(super) is_switching: bool,
    headers: BytesMut,
}

impl State {
    /// The state of a log whose files are all written and synced up to `log_end_offset`.
    pub(super) fn new(
        config: LogConfig,
        log_start_offset: Offset,
        log_end_offset: Offset,
        segments: Vec<Arc<Segment>>,
        producers: Producers,
        leader_epochs: LeaderEpochs,
    ) -> Self {
        let written_position = segments.last().expect("a log has an active segment").bytes();
        let state = Self {
            phase: Phase::Open,
            config: Arc::new(config),
            pointers: LogPointers {
                log_start_offset,
                recovery_point: log_end_offset,
                written_end: log_end_offset,
                log_end_offset,
            },
            finished_end: log_end_offset,
            written_position,
            segments,
            producers,
            leader_epochs,
            epochs_changed: false,
            pending: VecDeque::new(),
            tail: Tail::default(),
            is_queued: false,
            generation: 0,
            syncs_in_flight: 0,
            quiet_wanted: 0,
            bytes_since_snapshot: 0,
            spent_epoch: None,
            entries: None,
            is_switching: false,
            headers: BytesMut::new(),
        };
        state.validate();
        state
    }

    /// Asserts the order of the pointers.
    pub(super) fn validate(&self) {
        let LogPointers { log_start_offset, recovery_point, written_end, log_end_offset } =
            self.pointers;
        assert!(
            log_start_offset <= recovery_point
                && recovery_point <= written_end
                && written_end <= log_end_offset
                && self.finished_end <= written_end,
            "{:?}, finished {}",
            self.pointers,
            self.finished_end
        );
    }

    /// Whether the page cache is good enough for an acknowledgement.
    pub(super) fn is_relaxed(&self) -> bool {
        matches!(self.config.sync, SyncPolicy::Relaxed { .. })
    }

    /// Why the log is offline, if it is.
    pub(super) fn failure(&self) -> Option<LogFailure> {
        match &self.phase {
            Phase::Failed(failure) => Some(failure.clone()),
            Phase::Open | Phase::Closed => None,
        }
    }

    /// The writable segment.
    pub(super) fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has an active segment")
    }

    /// Gives a batch its place and keeps it for the flusher and for readers.
    pub(super) fn append(
        &mut self,
        mut header: BatchHeader,
        body: Bytes,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Appended {
        assert!(self.entries.is_none(), "a replicated log takes entries");
        let base_offset = self.pointers.log_end_offset;
        header.base_offset = base_offset;
        header.leader_epoch = leader_epoch;
        let next_offset = header.next_offset();
        let newest = self.leader_epochs.latest();
        assert!(newest.is_none_or(|newest| newest <= leader_epoch), "epoch {leader_epoch} is old");
        self.epochs_changed |= self.leader_epochs.begin(leader_epoch, base_offset);
        self.producers.note(&header, now);
        let index = LogIndex::new(0);
        let chunk = Chunk { base_offset, next_offset, index, header: self.encode(&header), body };
        self.tail.push(chunk.clone());
        self.pending.push_back(PendingBatch { header, chunk, appended_at: now });
        self.pointers.log_end_offset = next_offset;
        self.validate();
        Appended { base_offset, next_offset, duplicate: false }
    }

    pub(super) fn encode(&mut self, header: &BatchHeader) -> Bytes {
        if self.headers.capacity() < HEADER_BYTES {
            self.headers = BytesMut::with_capacity(HEADER_BYTES * HEADERS_PER_BLOCK);
        }
        self.headers.extend_from_slice(&header.encode());
        self.headers.split().freeze()
    }

    /// The first `count` pending batches are in the file now, `bytes` of them, and are kept for
    /// readers as `chunks`. Returns the tail's number behind them.
    pub(super) fn note_written(&mut self, count: usize, bytes: u32, chunks: Vec<Chunk>) -> u64 {
        let last = self.pending.drain(..count).next_back();
        let last = last.expect("only runs that are not empty are written");
        self.pointers.written_end = last.chunk.next_offset;
        self.written_position += bytes;
        self.bytes_since_snapshot += u64::from(bytes);
        if let Some(entries) = &mut self.entries {
            entries.written(count, last.header.leader_epoch);
        }
        if self.is_relaxed() {
            self.finish_written();
        }
        if self.pending.is_empty() {
            self.headers = BytesMut::new();
            self.pending.shrink_to(HEADERS_PER_BLOCK);
        }
        self.validate();
        self.tail.written(count, chunks)
    }

    /// What is written is as good as finished.
    pub(super) fn finish_written(&mut self) {
        self.finished_end = self.finished_end.max(self.pointers.written_end);
        if let Some(entries) = &mut self.entries {
            entries.finished(entries.written_end);
        }
    }

    /// Where the files end.
    pub(super) fn written(&self) -> Written {
        let entries = self.entries.as_ref().map(|entries| entries.written_end);
        Written { end: self.pointers.written_end, entries }
    }

    /// Everything that was written up to there is durable now.
    pub(super) fn synced(&mut self, written: Written) {
        let end = written.end;
        self.pointers.recovery_point = self.pointers.recovery_point.max(end);
        self.finished_end = self.finished_end.max(end);
        if let (Some(entries), Some(end)) = (&mut self.entries, written.entries) {
            entries.finished(end);
        }
        self.validate();
    }

    /// Gives up what waits for the disk; returns how many bytes that were.
    pub(super) fn drop_pending(&mut self) -> usize {
        let bytes: usize = self.pending.iter().map(|batch| batch.chunk.bytes()).sum();
        self.pending = VecDeque::new();
        self.headers = BytesMut::new();
        self.tail.clear();
        if let Some(entries) = &mut self.entries {
            entries.drop_pending();
        }
        bytes + self.unstage()
    }

    /// Where the segment that holds `offset` stands in `segments`.
    pub(super) fn segment_index(&self, offset: Offset) -> usize {
        let after = self.segments.partition_point(|segment| segment.base_offset() <= offset);
        after.saturating_sub(1)
    }
}
