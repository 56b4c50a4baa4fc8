//! What one client fetches, and what it has been told: the state of a fetch session (KIP-227).
//!
//! Pure: no clock, no partition, no socket. A fetch without a session uses the same state for the
//! time of one request.
//!
//! Invariant: each partition is *due* (the next fetch looks at it), *watched* (it becomes due when
//! it changes), or in the hands of a fetch that is looking at it. An incremental fetch therefore
//! costs what has changed, whatever the session holds.
//!
//! Partitions are looked at in the order of their turns. Serving records sends a partition to the
//! end of the line, so that one that always has records cannot starve the others.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::types::Offset;
use uuid::Uuid;

use crate::partition::read::ReadFrom;
use crate::partition::watch::{Slot, Watch};

/// Partitions of one session; a request that asks for more loses its session.
pub(crate) const SESSION_PARTITIONS_MAX: usize = 1 << 17;

/// The epoch of a request that wants a new session.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants none, and ends the one that it names.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// How the client names a topic; a copy, so that it pins no request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    /// Below version 13.
    Name(Arc<str>),
    /// From version 13.
    Id(Uuid),
}

/// What the client wants of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// From where.
    pub(crate) from: ReadFrom,
    /// At most this many bytes.
    pub(crate) bytes_max: usize,
}

/// A partition that a fetch is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) slot: Slot,
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
    pub(crate) wanted: Wanted,
}

/// What a fetch found in a partition, as far as a session cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// An error, or a history that diverges: reported at once, and looked at again next time.
    Trouble,
    /// These pointers, and nothing more to read than what is sent.
    Seen {
        /// As reported.
        high_watermark: Offset,
        /// As reported.
        log_start_offset: Offset,
        /// Whether records are sent.
        has_records: bool,
        /// Whether the client stands at the end, so that only a change can bring news.
        at_end: bool,
    },
}

/// Why a request cannot use the session that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    /// There is none of that id (any more).
    #[error("no such fetch session")]
    UnknownId,
    /// The request's epoch is not the next one.
    #[error("the fetch session's epoch does not follow")]
    InvalidEpoch,
    /// Topic ids in a session of names, or the other way around.
    #[error("the fetch session names topics in another way")]
    TopicIds,
    /// It would hold more than [`SESSION_PARTITIONS_MAX`] partitions.
    #[error("the fetch session is too large")]
    TooLarge,
}

/// One client's partitions.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the next incremental request must carry.
    next_epoch: i32,
    uses_topic_ids: bool,
    table: Vec<Option<Entry>>,
    free: Vec<Slot>,
    index: HashMap<(TopicKey, i32), Slot>,
    due: Vec<Slot>,
    next_turn: u64,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Entry {
    topic: TopicKey,
    partition: i32,
    wanted: Wanted,
    /// What the client was told last; [`Offset::NONE`] if nothing valid.
    sent_high_watermark: Offset,
    sent_log_start: Offset,
    turn: u64,
    is_due: bool,
    is_watched: bool,
}

impl Session {
    /// An empty session whose requests name topics by id, or by name.
    pub(crate) fn new(uses_topic_ids: bool) -> Self {
        Self {
            next_epoch: following(INITIAL_EPOCH),
            uses_topic_ids,
            table: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            due: Vec::new(),
            next_turn: 0,
            watch: Arc::default(),
        }
    }

    /// How many partitions.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Marked when a watched partition changes.
    pub(crate) const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Checks that a request continues this session, and moves the epoch on.
    pub(crate) fn advance(&mut self, epoch: i32, uses_topic_ids: bool) -> Result<(), SessionError> {
        if epoch != self.next_epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if uses_topic_ids != self.uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        self.next_epoch = following(epoch);
        Ok(())
    }

    /// Adds a partition, or takes what the client newly wants of it.
    pub(crate) fn want(
        &mut self,
        topic: TopicKey,
        partition: i32,
        wanted: Wanted,
    ) -> Result<(), SessionError> {
        let key = (topic, partition);
        if let Some(&slot) = self.index.get(&key) {
            if let Some(entry) = self.entry(slot) {
                entry.wanted = wanted;
            }
            self.make_due(slot);
            return Ok(());
        }
        if self.index.len() >= SESSION_PARTITIONS_MAX {
            return Err(SessionError::TooLarge);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => Slot::at(self.table.len()).ok_or(SessionError::TooLarge)?,
        };
        let entry = Entry {
            topic: key.0.clone(),
            partition,
            wanted,
            sent_high_watermark: Offset::NONE,
            sent_log_start: Offset::NONE,
            turn: self.take_turn(),
            is_due: false,
            is_watched: false,
        };
        if let Some(place) = self.table.get_mut(slot.index()) {
            *place = Some(entry);
        } else {
            self.table.push(Some(entry));
        }
        self.index.insert(key, slot);
        self.make_due(slot);
        Ok(())
    }

    /// Drops a partition; unknown ones are ignored.
    pub(crate) fn forget(&mut self, topic: TopicKey, partition: i32) {
        if let Some(slot) = self.index.remove(&(topic, partition)) {
            self.table[slot.index()] = None;
            self.free.push(slot);
        }
    }

    /// Hands out the partitions that are due, by turn.
    pub(crate) fn take_due(&mut self) -> Vec<Candidate> {
        self.take_marks();
        let due = std::mem::take(&mut self.due);
        self.hand_out(due)
    }

    /// Hands out all partitions, by turn.
    pub(crate) fn take_all(&mut self) -> Vec<Candidate> {
        self.take_marks();
        self.due.clear();
        let all = self.index.values().copied().collect::<Vec<_>>();
        for slot in &all {
            if let Some(entry) = self.entry(*slot) {
                entry.is_due = true;
            }
        }
        self.hand_out(all)
    }

    /// Takes partitions back that were handed out and not looked at, or not answered for.
    pub(crate) fn give_back(&mut self, candidates: impl Iterator<Item = Slot>) {
        candidates.for_each(|slot| self.make_due(slot));
    }

    /// Takes a partition back that was looked at and is not reported yet: its fetch goes on
    /// waiting. `register` registers the watch; `false` if it could not, so that the fetch must look
    /// again.
    pub(crate) fn park(
        &mut self,
        candidate: &Candidate,
        finding: Finding,
        register: impl FnOnce(&Arc<Watch>) -> bool,
    ) -> bool {
        if !self.still_holds(candidate) {
            return true;
        }
        let watched = self.register(candidate.slot, register);
        let at_end = matches!(finding, Finding::Seen { at_end: true, .. });
        if !(watched && at_end && self.has_been_told(candidate.slot, finding)) {
            self.make_due(candidate.slot);
        }
        watched
    }

    /// Takes a partition back whose finding goes into a response; `true` if an incremental response
    /// must carry it.
    pub(crate) fn report(
        &mut self,
        candidate: &Candidate,
        finding: Finding,
        register: impl FnOnce(&Arc<Watch>) -> bool,
    ) -> bool {
        if !self.still_holds(candidate) {
            return false;
        }
        let must_send = !self.has_been_told(candidate.slot, finding);
        let turn = self.take_turn();
        let Some(entry) = self.entry(candidate.slot) else { return false };
        let quiet = match finding {
            Finding::Trouble => {
                // So that the partition is sent once more when it is well again (behaviour 34).
                entry.sent_high_watermark = Offset::NONE;
                false
            }
            Finding::Seen { high_watermark, log_start_offset, has_records, at_end } => {
                entry.sent_high_watermark = high_watermark;
                entry.sent_log_start = log_start_offset;
                if has_records {
                    entry.turn = turn;
                }
                at_end
            }
        };
        if !(quiet && self.register(candidate.slot, register)) {
            self.make_due(candidate.slot);
        }
        must_send
    }

    fn has_been_told(&self, slot: Slot, finding: Finding) -> bool {
        let Some(Some(entry)) = self.table.get(slot.index()) else { return true };
        match finding {
            Finding::Trouble => false,
            Finding::Seen { high_watermark, log_start_offset, has_records, .. } => {
                !has_records
                    && entry.sent_high_watermark == high_watermark
                    && entry.sent_log_start == log_start_offset
            }
        }
    }

    fn register(&mut self, slot: Slot, register: impl FnOnce(&Arc<Watch>) -> bool) -> bool {
        let watch = self.watch.clone();
        let Some(entry) = self.entry(slot) else { return true };
        entry.is_watched = entry.is_watched || register(&watch);
        entry.is_watched
    }

    /// Another request of the session may have dropped the partition meanwhile, and given its slot
    /// away.
    fn still_holds(&self, candidate: &Candidate) -> bool {
        matches!(self.table.get(candidate.slot.index()), Some(Some(entry))
            if entry.partition == candidate.partition && entry.topic == candidate.topic)
    }

    fn hand_out(&mut self, slots: Vec<Slot>) -> Vec<Candidate> {
        let mut chosen = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(entry) = self.entry(slot).filter(|entry| entry.is_due) {
                entry.is_due = false;
                let (topic, partition, wanted) =
                    (entry.topic.clone(), entry.partition, entry.wanted);
                chosen.push((entry.turn, Candidate { slot, topic, partition, wanted }));
            }
        }
        chosen.sort_unstable_by_key(|(turn, _)| *turn);
        chosen.into_iter().map(|(_, candidate)| candidate).collect()
    }

    fn take_marks(&mut self) {
        for slot in self.watch.take() {
            if let Some(entry) = self.entry(slot) {
                entry.is_watched = false;
                self.make_due(slot);
            }
        }
    }

    fn make_due(&mut self, slot: Slot) {
        if let Some(entry) = self.entry(slot)
            && !entry.is_due
        {
            entry.is_due = true;
            self.due.push(slot);
        }
    }

    fn take_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.table.get_mut(slot.index()).and_then(Option::as_mut)
    }
}

/// The epoch after `epoch`; 2147483647 is followed by 1 (KIP-227).
const fn following(epoch: i32) -> i32 {
    match epoch.checked_add(1) {
        Some(next) => next,
        None => 1,
    }
}

#[cfg(test)]
mod tests;
