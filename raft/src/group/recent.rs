//! What Raft's core has appended and the state machine has not applied yet, without the bytes.
//!
//! Each commit asks where its entry ends, and each application what its entries are; both are
//! answered from here without touching the log. Bounded by what a leader may have uncommitted: it
//! takes nothing without a quorum for longer than its lease.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::entry::RaftEntry;
use protocol::types::Offset;

use super::types::{Entry, LogId, Payload};

/// Consecutive entries.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<RecentEntry>,
}

#[derive(Debug)]
struct RecentEntry {
    log_id: LogId,
    next_offset: Offset,
    /// [`Payload::Records`] for a batch.
    payload: Payload,
}

impl Recent {
    /// Adds an entry behind the others. `payload` is what it holds, or that it holds records.
    pub(super) fn push(&mut self, log_id: LogId, next_offset: Offset, payload: Payload) {
        let follows =
            self.entries.back().is_none_or(|last| last.log_id.index() + 1 == log_id.index());
        if !follows {
            // What is not here is read from the log.
            self.entries.clear();
        }
        self.entries.push_back(RecentEntry { log_id, next_offset, payload });
    }

    /// The offset behind the entry.
    pub(super) fn offset_after(&self, index: u64) -> Option<Offset> {
        let place = self.place(index)?;
        Some(self.entries.get(place)?.next_offset)
    }

    /// The entries of a range that is not empty, if all of them are here.
    pub(super) fn range(&self, range: &Range<u64>) -> Option<Vec<Entry>> {
        let from = self.place(range.start)?;
        let to = self.place(range.end.checked_sub(1)?)?;
        (from <= to && to < self.entries.len()).then(|| {
            let entry = |one: &RecentEntry| Entry::new(one.log_id, one.payload.clone());
            self.entries.range(from..=to).map(entry).collect()
        })
    }

    /// Forgets the entries up to this one.
    pub(super) fn applied(&mut self, index: u64) {
        while self.entries.front().is_some_and(|first| first.log_id.index() <= index) {
            self.entries.pop_front();
        }
    }

    /// Forgets the entries from this one on.
    pub(super) fn truncate(&mut self, end: u64) {
        while self.entries.back().is_some_and(|last| last.log_id.index() >= end) {
            self.entries.pop_back();
        }
    }

    fn place(&self, index: u64) -> Option<usize> {
        let first = self.entries.front()?.log_id.index();
        usize::try_from(index.checked_sub(first)?).ok()
    }
}
