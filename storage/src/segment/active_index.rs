//! The index of an active segment, in memory: what its index files hold or will hold.

use protocol::batch::BatchHeader;
use protocol::types::{Offset, Timestamp};

use super::{ENTRIES_SUFFIX, OFFSET_INDEX_SUFFIX, RAFT_ONLY_SUFFIX, Segment, TIME_INDEX_SUFFIX};
use crate::checkpoint;
use crate::entry_index::{self, EntryRows};
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::offset_index::{self, OffsetRow, OffsetRows, relative};
use crate::raft_only::{RaftOnlyRow, RaftOnlyRows};
use crate::scan::as_u64;
use crate::time_index::{self, TimeRow, TimeRows};

/// The largest timestamp of a segment and the last offset of the batch that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewestRecord {
    pub(crate) timestamp: Timestamp,
    pub(crate) last_offset: Offset,
}

/// Numbers of rows.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RowCounts {
    pub(super) offsets: usize,
    pub(super) times: usize,
    pub(super) raft_only: usize,
    /// `None` if the log is not replicated.
    pub(super) entries: Option<usize>,
}

impl RowCounts {
    /// The files that are written lazily and how long they are with so many rows.
    pub(super) fn file_bytes(self) -> impl Iterator<Item = (&'static str, u64)> {
        let entries = self.entries.map(|rows| (ENTRIES_SUFFIX, entry_index::file_bytes(rows)));
        [
            (OFFSET_INDEX_SUFFIX, as_u64(self.offsets * offset_index::ROW_BYTES)),
            (TIME_INDEX_SUFFIX, as_u64(self.times * time_index::ROW_BYTES)),
        ]
        .into_iter()
        .chain(entries)
    }
}

/// The index of an active segment.
#[derive(Debug, Default)]
pub(crate) struct ActiveIndex {
    pub(crate) offsets: OffsetRows,
    pub(crate) times: TimeRows,
    pub(crate) raft_only: RaftOnlyRows,
    /// In a replicated log.
    pub(crate) entries: Option<EntryRows>,
    /// How many rows of each are in their files.
    pub(super) saved: RowCounts,
    bytes_since_row: u32,
}

impl ActiveIndex {
    /// What the index files hold of the first `bytes` of the segment.
    pub(super) fn read(
        env: &LogEnvironment,
        segment: &Segment,
        bytes: u32,
    ) -> Result<Self, OpenError> {
        let read = |suffix| checkpoint::read_whole(&*env.device, &segment.sibling(suffix));
        let mut offsets = OffsetRows::decode(&read(OFFSET_INDEX_SUFFIX)?.unwrap_or_default());
        offsets.truncate(bytes);
        let times = TimeRows::decode(&read(TIME_INDEX_SUFFIX)?.unwrap_or_default());
        let bytes_since_row = bytes - offsets.last().map_or(0, |row| row.position);
        let mut raft_only = RaftOnlyRows::decode(&read(RAFT_ONLY_SUFFIX)?.unwrap_or_default());
        raft_only.truncate(bytes);
        let entries = match segment.entries() {
            Some(_) => Some(EntryRows::decode(&read(ENTRIES_SUFFIX)?.unwrap_or_default(), bytes)),
            None => None,
        };
        let saved = RowCounts::default();
        let mut index = Self { offsets, times, raft_only, entries, saved, bytes_since_row };
        index.saved = index.rows();
        Ok(index)
    }

    /// The log is a replicated one.
    pub(super) fn set_replicated(&mut self) {
        self.entries.get_or_insert_default();
        self.saved = self.rows();
    }

    /// The log has become one, and these rows are in their file.
    pub(super) fn become_replicated(&mut self, rows: EntryRows) {
        self.saved.entries = Some(rows.len());
        self.entries = Some(rows);
    }

    /// The index of a segment without a batch.
    pub(crate) fn empty(is_replicated: bool) -> Self {
        let mut index = Self { entries: is_replicated.then(EntryRows::default), ..Self::default() };
        index.saved = index.rows();
        index
    }

    /// What the index files say of batches wholly below `end` (exclusive, above the segment's base),
    /// up to one of the last of them, and where that one starts: a recovery walks on from there. Not
    /// from a batch at `end`: a Raft-only entry without an offset of its own may stand before it,
    /// whose place was never saved.
    pub(crate) fn read_below(
        env: &LogEnvironment,
        segment: &Segment,
        end: Offset,
        bytes: u32,
    ) -> Result<(Self, u32), OpenError> {
        let mut index = Self::read(env, segment, bytes)?;
        let wanted = relative(end, segment.base_offset()).unwrap_or(0).saturating_sub(1);
        let Some(row) = index.offsets.floor(wanted) else {
            return Ok((Self::empty(index.entries.is_some()), 0));
        };
        index.offsets.truncate(row.position + 1);
        index.times.truncate(row.relative_offset + 1);
        index.raft_only.truncate(row.position);
        if let Some(entries) = &mut index.entries {
            entries.truncate(row.position);
        }
        // The file of Raft-only entries may hold more: it is written anew.
        index.saved = RowCounts { raft_only: 0, ..index.rows() };
        index.bytes_since_row = 0;
        Ok((index, row.position))
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> RowCounts {
        RowCounts {
            offsets: self.offsets.len(),
            times: self.times.len(),
            raft_only: self.raft_only.len(),
            entries: self.entries.as_ref().map(EntryRows::len),
        }
    }

    /// Takes one more batch into account.
    pub(crate) fn note(
        &mut self,
        base_offset: Offset,
        position: u32,
        header: &BatchHeader,
        interval_bytes: u32,
        newest: &mut NewestRecord,
    ) {
        let batch_bytes = u32::try_from(header.batch_bytes()).unwrap_or(u32::MAX);
        let last_offset = header.last_offset();
        if header.is_raft_only() {
            // It has no offset that a lookup could ask for.
            self.raft_only.push(RaftOnlyRow { position, bytes: batch_bytes });
        } else {
            if header.max_timestamp > newest.timestamp {
                *newest = NewestRecord { timestamp: header.max_timestamp, last_offset };
            }
            if self.bytes_since_row > interval_bytes
                && let Some(relative_offset) = relative(last_offset, base_offset)
                && self.offsets.push(OffsetRow { relative_offset, position })
            {
                self.push_time(*newest, base_offset);
                self.bytes_since_row = 0;
            }
        }
        self.bytes_since_row = self.bytes_since_row.saturating_add(batch_bytes);
    }

    /// What the time index says about the newest record.
    pub(crate) fn newest(&self, base_offset: Offset) -> NewestRecord {
        newest_of(self.times.last(), base_offset)
    }

    pub(super) fn push_time(&mut self, newest: NewestRecord, base_offset: Offset) {
        if let Some(relative_offset) = relative(newest.last_offset, base_offset) {
            self.times.push(TimeRow { timestamp: newest.timestamp, relative_offset });
        }
    }
}

pub(super) fn newest_of(last: Option<TimeRow>, base_offset: Offset) -> NewestRecord {
    last.map_or(NewestRecord { timestamp: Timestamp::NONE, last_offset: base_offset }, |row| {
        NewestRecord { timestamp: row.timestamp, last_offset: row.offset(base_offset) }
    })
}
