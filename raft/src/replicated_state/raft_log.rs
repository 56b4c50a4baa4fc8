//! The log of the metadata group in memory: everything since the last snapshot, and the vote.
//!
//! Changed only by [`RaftLog::apply`], with the same records in the same order while the group runs
//! and when its journal is read back, so that both arrive at the same state. Bounded by the snapshot
//! policy: entries leave it once a snapshot holds what they did.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::record::Record;
use super::types::{Entry, LogId, Vote};

/// A record that cannot follow what came before it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("entry {index} follows entry {last}")]
pub(crate) struct Hole {
    last: u64,
    index: u64,
}

/// Invariant: `entries` have consecutive indexes, all above `purged`.
#[derive(Debug, Default)]
pub(crate) struct RaftLog {
    entries: VecDeque<Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

impl RaftLog {
    /// Makes one change.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), Hole> {
        match record {
            Record::Entry(entry) => {
                let (last, index) = (self.last_log_id(), entry.log_id.index());
                if let Some(last) = last.map(|last| last.index())
                    && last.checked_add(1) != Some(index)
                {
                    return Err(Hole { last, index });
                }
                self.entries.push_back(entry);
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(id) => self.committed = Some(id),
            Record::Truncated { from_index } => {
                let keep = self.entries.partition_point(|e| e.log_id.index() < from_index);
                self.entries.truncate(keep);
            }
            Record::Purged(id) => {
                let gone = self.entries.partition_point(|e| e.log_id.index() <= id.index());
                self.entries.drain(..gone);
                self.purged = self.purged.max(Some(id));
            }
        }
        Ok(())
    }

    /// The records that make this log from an empty one.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        let vote = self.vote.map(Record::Vote);
        let purged = self.purged.map(Record::Purged);
        let entries = self.entries.iter().cloned().map(Record::Entry);
        let committed = self.committed.map(Record::Committed);
        vote.into_iter().chain(purged).chain(entries).chain(committed)
    }

    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(crate) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub(crate) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The last entry, or the last one that was purged.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// The entries whose indexes lie in `range`, as far as there are any.
    pub(crate) fn range(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let before = |entry: &Entry| match range.start_bound() {
            Bound::Included(start) => entry.log_id.index() < *start,
            Bound::Excluded(start) => entry.log_id.index() <= *start,
            Bound::Unbounded => false,
        };
        let start = self.entries.partition_point(before);
        self.entries.range(start..).take_while(|entry| range.contains(&entry.log_id.index()))
    }
}
