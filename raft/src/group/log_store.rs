//! What openraft asks of a log, over a partition's.
//!
//! Called by Raft's core alone, one call at a time; readers read beside it. The contract: entries
//! are readable when `append` returns and finished when its callback is told; a vote is saved behind
//! everything appended before it, because Raft takes a newer vote that is on the disk for a proof
//! that older entries are; what is committed moves the high watermark before it is applied.
//!
//! Start-up and application need no records, so their reads stop at the headers. Only replication
//! reads whole entries.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use protocol::types::{LeaderEpoch, LogIndex, Offset};
use storage::log::entries::EntryBatch;

use super::raft_only;
use super::state::{GroupState, id_of, io_error, on_blocking_pool};
use super::tenure::State as TenureState;
use super::types::{Entry, LogId, PartitionRaft, Payload, Vote, epoch_of, log_id};

/// A follower gets at most this many bytes at once, or one entry; openraft bounds the count alone.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of a group, for its core and its readers.
#[derive(Clone)]
pub(super) struct LogStore(pub(super) Arc<GroupState>);

impl RaftLogStorage<PartitionRaft> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<PartitionRaft>> {
        let last_purged_log_id = self.0.purged();
        let last_log_id = id_of(self.0.bounds().last)?.max(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let state = &self.0;
        let is_mine = vote.leader_id.voted_for == state.me;
        let leader = vote.committed.then_some(vote.leader_id.voted_for.broker_id);
        if !is_mine || !vote.committed {
            // First of all, so that nothing more is staged behind what another leader may cut off.
            state.tenure.end(&state.log);
            // And told at once: what follows waits for the disk, which may hang.
            let now = state.teller.leadership();
            if now.is_local {
                state.teller.follows(None, now.leader_epoch);
            }
        }
        state.barrier().await?;
        let before = *state.vote.lock();
        if before.is_some_and(|before| before.leader_id == vote.leader_id) {
            // That a majority voted for it too: the promise to vote for nobody else in the term is
            // durable already, and an election is over the sooner.
            state.votes.note_vote(state.id, *vote).await?;
        } else {
            state.votes.save_vote(state.id, *vote).await?;
        }
        *state.vote.lock() = Some(*vote);
        state.teller.follows(leader, epoch_of(vote.leader_id.term)?);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        let state = &self.0;
        let known = state.recent.lock().offset_after(committed.index());
        let next_offset = match known {
            Some(next_offset) => next_offset,
            None => {
                let (log, index) = (Arc::clone(&state.log), LogIndex::new(committed.index()));
                on_blocking_pool(move || log.offset_after(index)).await?
            }
        };
        state.set_committed(committed);
        state.teller.committed(next_offset);
        self.lead_if_elected(committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.0.committed())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<PartitionRaft>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let state = &self.0;
        let now = (state.clock)();
        let mut tenure = state.tenure.lock();
        let bounds = state.bounds();
        let mut place =
            Place { index: bounds.end.get(), offset: state.log.pointers().log_end_offset };
        let mut batches = Vec::new();
        let mut recent = state.recent.lock();
        let mut has_staged = false;
        for entry in entries {
            let log_id = entry.log_id();
            if log_id.index() != place.index {
                let what = format!("entry {log_id} follows {} entries", place.index);
                return Err(io::Error::other(what));
            }
            has_staged |= matches!(entry.payload, Payload::Staged(_));
            let epoch = epoch_of(log_id.committed_leader_id().term)?;
            let (batch, payload) = place.resolve(entry.payload, epoch, &mut tenure)?;
            place = Place { index: place.index + 1, offset: batch.header.next_offset() };
            recent.push(log_id, place.offset, payload);
            batches.push(batch);
        }
        drop(recent);
        // Before the append: the flusher may be done with it before it returns.
        state.note_append(LogIndex::new(place.index), done);
        let appended = state.log.append_entries(batches, has_staged, now);
        drop(tenure);
        appended.map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let end = last.map_or(0, |last| last.index() + 1);
        let state = &self.0;
        state.recent.lock().truncate(end);
        if end < state.bounds().end.get() {
            let log = Arc::clone(&state.log);
            on_blocking_pool(move || log.truncate_entries(LogIndex::new(end))).await?;
        }
        state.truncated();
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let state = &self.0;
        if upto.index() >= state.bounds().end.get() {
            let what = format!("entries up to {upto} are to be purged, and there are fewer");
            return Err(io::Error::other(what));
        }
        // A few renames at most; the files are deleted beside it.
        state.log.purge_entries(LogIndex::new(upto.index())).map_err(io_error)?;
        state.purged.send_modify(|purged| *purged = (*purged).max(Some(upto)));
        Ok(())
    }
}

impl LogStore {
    /// Takes produces once an entry of the own term is committed: everything that earlier leaders
    /// committed is known then.
    fn lead_if_elected(&self, committed: LogId) -> io::Result<()> {
        let state = &self.0;
        let vote = *state.vote.lock();
        let Some(vote) = vote else { return Ok(()) };
        let term = vote.leader_id.term;
        let is_elected = vote.committed
            && vote.leader_id.voted_for == state.me
            && committed.committed_leader_id().term == term;
        let epoch = epoch_of(term)?;
        let leadership = state.teller.leadership();
        let led_before = leadership.is_local || state.tenure.was_given_up(epoch);
        if is_elected && !led_before {
            state.teller.leads(state.me.broker_id, epoch, || state.tenure.begin(epoch));
        }
        Ok(())
    }

    /// The part of a range that the log holds.
    fn held(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let bounds = self.0.bounds();
        let purged = self.0.purged().map_or(0, |id| id.index() + 1);
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        start.max(bounds.first().get()).max(purged)..end.min(bounds.end.get())
    }
}

/// Where the next entry goes.
struct Place {
    index: u64,
    offset: Offset,
}

impl Place {
    /// The bytes of the next entry, and what it holds without them.
    fn resolve(
        &self,
        payload: Payload,
        epoch: LeaderEpoch,
        tenure: &mut TenureState,
    ) -> io::Result<(EntryBatch, Payload)> {
        let payload = match payload {
            Payload::Staged(at) => match tenure.take(epoch, at, self.offset) {
                Some(batch) => return Ok((batch, Payload::Records)),
                None => Payload::Void,
            },
            Payload::Batch(batch) => return Ok((batch, Payload::Records)),
            other => other,
        };
        let batch = raft_only::encode(&payload, self.offset, epoch);
        let batch = batch.ok_or_else(|| {
            io::Error::other(format!("an entry without its bytes was to be appended: {payload}"))
        })?;
        Ok((batch, payload))
    }
}

impl RaftLogReader<PartitionRaft> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = self.held(&range);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.0.recent.lock().range(&range) {
            return Ok(entries);
        }
        let log = Arc::clone(&self.0.log);
        let (from, end) = (LogIndex::new(range.start), LogIndex::new(range.end));
        let headers = on_blocking_pool(move || log.entry_headers(from, end)).await?;
        entries_of(range.start, headers, raft_only::payload_of_header)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(*self.0.vote.lock())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let range = self.held(&(start..end));
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if range.start != start {
            let what = format!("entry {start} was to be replicated, and is purged");
            return Err(io::Error::other(what));
        }
        let (from, end) = (LogIndex::new(range.start), LogIndex::new(range.end));
        let log = Arc::clone(&self.0.log);
        let at_hand = log.read_entries(from, end, READ_BYTES_MAX).map_err(io_error)?;
        let batches = match at_hand {
            Some(batches) => batches,
            None => {
                on_blocking_pool(move || log.read_entries_blocking(from, end, READ_BYTES_MAX))
                    .await?
            }
        };
        entries_of(range.start, batches, raft_only::payload_of)
    }
}

fn entries_of(
    first: u64,
    batches: Vec<EntryBatch>,
    payload_of: impl Fn(EntryBatch) -> io::Result<Payload>,
) -> io::Result<Vec<Entry>> {
    let entry = |(index, batch): (u64, EntryBatch)| {
        let id = log_id(batch.header.leader_epoch, index)?;
        Ok(Entry::new(id, payload_of(batch)?))
    };
    (first..).zip(batches).map(entry).collect()
}
