//! What a log knows of its idempotent producers: their last batches, to recognise a retry (KIP-98).
//!
//! Pure: no file, no clock. Must give the same answer after a restart as before it, so everything
//! here is a function of the batches in the log (and of the expiry of producers long silent).
//!
//! Kafka's rules (`ProducerAppendInfo`, `ProducerStateEntry`):
//! - equal to one of the last five batches in epoch, first and last sequence: a retry;
//! - no state for the producer: any sequence is accepted;
//! - an older epoch is fenced; a newer one starts at sequence 0;
//! - else the first sequence follows the last one; 2147483647 is followed by 0.

use std::collections::HashMap;
use std::time::Duration;

use protocol::batch::BatchHeader;
use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::error::AppendError;

/// How many batches of a producer are remembered, as many as a client may have in flight.
pub(crate) const BATCHES_MAX: usize = 5;

/// Producers remembered by one log. Above it the ones longest silent are forgotten, an eighth at a
/// time: their next batch is accepted whatever its sequence, as after expiry.
pub(crate) const PRODUCERS_MAX: usize = 100_000;

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducedBatch {
    pub(crate) base_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) producer_epoch: ProducerEpoch,
    /// When its last batch came; [`Timestamp::NONE`] for one that was found in the log at recovery,
    /// which does not tell when: the next expiry dates it.
    pub(crate) last_seen: Timestamp,
    /// Oldest first, at most [`BATCHES_MAX`].
    pub(crate) batches: Vec<ProducedBatch>,
}

/// What a batch is, judged by its producer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// To be appended.
    New,
    /// Already in the log.
    Duplicate(ProducedBatch),
}

/// What [`Producers::note_undoably`] changed.
#[derive(Debug, Default)]
pub(crate) enum Undo {
    /// Nothing.
    #[default]
    Nothing,
    /// The producer was not known.
    Forget(ProducerId),
    /// A batch was added, and perhaps pushed another one out.
    Pop {
        /// Of whom.
        producer_id: ProducerId,
        /// What was pushed out.
        dropped: Option<ProducedBatch>,
        /// When its batch before came.
        last_seen: Timestamp,
    },
    /// Everything known of the producer was replaced.
    Restore(ProducerId, ProducerState),
}

/// The producers of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<ProducerId, ProducerState>,
}

impl Producers {
    /// Judges a batch that a client sent.
    ///
    /// # Errors
    /// [`AppendError::OutOfOrderSequence`] or [`AppendError::FencedProducer`].
    pub(crate) fn judge(
        &self,
        header: &BatchHeader,
        now: Timestamp,
        expiration: Duration,
    ) -> Result<Judgement, AppendError> {
        if header.producer_id == ProducerId::NONE || header.attributes.is_control() {
            return Ok(Judgement::New);
        }
        let Some(state) = self.by_id.get(&header.producer_id) else { return Ok(Judgement::New) };
        if is_expired(state, now, expiration) {
            return Ok(Judgement::New);
        }
        let (current, got) = (state.producer_epoch, header.producer_epoch);
        if got < current {
            return Err(AppendError::FencedProducer {
                producer_id: header.producer_id,
                current,
                got,
            });
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let mut expected = Sequence::new(0);
        if got == current {
            let same = |b: &&ProducedBatch| b.base_sequence == first && b.last_sequence == last;
            if let Some(found) = state.batches.iter().find(same) {
                return Ok(Judgement::Duplicate(*found));
            }
            if let Some(newest) = state.batches.last() {
                expected = newest.last_sequence.advance(1);
            }
        }
        if first == expected {
            return Ok(Judgement::New);
        }
        Err(AppendError::OutOfOrderSequence {
            producer_id: header.producer_id,
            expected,
            got: first,
        })
    }

    /// Notes a batch that is in the log now, with its final offset. `seen` is
    /// [`Timestamp::NONE`] at recovery.
    pub(crate) fn note(&mut self, header: &BatchHeader, seen: Timestamp) {
        if header.producer_id == ProducerId::NONE {
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&header.producer_id) {
            self.forget_silent();
        }
        let state = self.by_id.entry(header.producer_id).or_insert_with(|| ProducerState {
            producer_epoch: header.producer_epoch,
            last_seen: seen,
            batches: Vec::new(),
        });
        state.last_seen = seen;
        if state.producer_epoch != header.producer_epoch {
            state.producer_epoch = header.producer_epoch;
            state.batches.clear();
        }
        // A marker that ends a transaction carries the epoch, but no sequence.
        if header.attributes.is_control() {
            return;
        }
        if state.batches.len() == BATCHES_MAX {
            state.batches.remove(0);
        }
        state.batches.push(ProducedBatch {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            next_offset: header.next_offset(),
        });
    }

    /// As [`Producers::note`]; returns what takes it back, as long as nothing was noted since that is
    /// not taken back before.
    pub(crate) fn note_undoably(&mut self, header: &BatchHeader, seen: Timestamp) -> Undo {
        let producer_id = header.producer_id;
        if producer_id == ProducerId::NONE {
            return Undo::Nothing;
        }
        let undo = match self.by_id.get(&producer_id) {
            None => Undo::Forget(producer_id),
            Some(state)
                if state.producer_epoch != header.producer_epoch
                    || header.attributes.is_control() =>
            {
                Undo::Restore(producer_id, state.clone())
            }
            Some(state) => {
                let is_full = state.batches.len() == BATCHES_MAX;
                let dropped = state.batches.first().filter(|_| is_full).copied();
                Undo::Pop { producer_id, dropped, last_seen: state.last_seen }
            }
        };
        self.note(header, seen);
        undo
    }

    /// Takes back what was noted. A producer that was forgotten since stays so.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Forget(producer_id) => {
                self.by_id.remove(&producer_id);
            }
            Undo::Pop { producer_id, dropped, last_seen } => {
                if let Some(state) = self.by_id.get_mut(&producer_id) {
                    state.batches.pop();
                    if let Some(dropped) = dropped {
                        state.batches.insert(0, dropped);
                    }
                    state.last_seen = last_seen;
                }
            }
            Undo::Restore(producer_id, earlier) => {
                if let Some(state) = self.by_id.get_mut(&producer_id) {
                    *state = earlier;
                }
            }
        }
    }

    /// Forgets producers that were silent for `expiration`; dates those found at recovery.
    pub(crate) fn expire(&mut self, now: Timestamp, expiration: Duration) {
        self.by_id.retain(|_, state| {
            if state.last_seen == Timestamp::NONE {
                state.last_seen = now;
            }
            !is_expired(state, now, expiration)
        });
    }

    /// Those that were not silent for `expiration`, in no order.
    pub(crate) fn active(
        &self,
        now: Timestamp,
        expiration: Duration,
    ) -> impl Iterator<Item = (&ProducerId, &ProducerState)> {
        self.by_id.iter().filter(move |(_, state)| !is_expired(state, now, expiration))
    }

    /// All producers, in no order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&ProducerId, &ProducerState)> {
        self.by_id.iter()
    }

    /// Puts back what a snapshot held.
    pub(crate) fn restore(&mut self, producer_id: ProducerId, state: ProducerState) {
        self.by_id.insert(producer_id, state);
    }

    fn forget_silent(&mut self) {
        let mut seen: Vec<_> = self.by_id.iter().map(|(id, s)| (s.last_seen, *id)).collect();
        let eighth = (PRODUCERS_MAX / 8).min(seen.len().saturating_sub(1));
        seen.select_nth_unstable(eighth);
        for (_, producer_id) in &seen[..eighth] {
            self.by_id.remove(producer_id);
        }
    }
}

fn is_expired(state: &ProducerState, now: Timestamp, expiration: Duration) -> bool {
    let silent_ms = now.get().saturating_sub(state.last_seen.get());
    state.last_seen != Timestamp::NONE
        && u128::try_from(silent_ms).is_ok_and(|ms| ms >= expiration.as_millis())
}

#[cfg(test)]
mod tests {
    use protocol::batch::{Attributes, Codec};
    use protocol::types::LeaderEpoch;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp::new(1_000_000);

    fn batch(epoch: i16, first: i32, count: i32, offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset::new(offset),
            length: 49,
            leader_epoch: LeaderEpoch::ZERO,
            crc: 0,
            attributes: Attributes::new(Codec::None),
            last_offset_delta: count - 1,
            base_timestamp: NOW,
            max_timestamp: NOW,
            producer_id: ProducerId::new(7),
            producer_epoch: ProducerEpoch::new(epoch),
            base_sequence: Sequence::new(first),
            record_count: count,
        }
    }

    /// Offers batches in turn; `note`s those that are new. Returns the last judgement.
    fn offer(producers: &mut Producers, batches: &[BatchHeader]) -> Result<Judgement, AppendError> {
        let mut last = Ok(Judgement::New);
        for header in batches {
            last = producers.judge(header, NOW, DAY);
            if matches!(last, Ok(Judgement::New)) {
                producers.note(header, NOW);
            }
        }
        last
    }

    #[test]
    fn any_of_the_last_five_batches_is_a_retry_and_the_sixth_is_not() {
        let mut p = Producers::default();
        let sent: Vec<_> = (0..6).map(|i| batch(0, i * 10, 10, i64::from(i) * 10)).collect();
        offer(&mut p, &sent).unwrap();
        for retry in &sent[1..] {
            let found = p.judge(retry, NOW, DAY).unwrap();
            assert!(
                matches!(found, Judgement::Duplicate(b) if b.base_offset == retry.base_offset),
                "{retry:?}"
            );
        }
        let too_old = p.judge(&sent[0], NOW, DAY);
        assert!(matches!(too_old, Err(AppendError::OutOfOrderSequence { .. })), "{too_old:?}");
        let longer = p.judge(&batch(0, 50, 11, 0), NOW, DAY);
        assert!(matches!(longer, Err(AppendError::OutOfOrderSequence { .. })), "same first only");
    }

    #[test]
    fn sequences_follow_each_other_and_wrap_to_zero() {
        let mut p = Producers::default();
        offer(&mut p, &[batch(0, i32::MAX - 1, 2, 0)]).unwrap();
        let gap = p.judge(&batch(0, 1, 1, 2), NOW, DAY);
        assert!(
            matches!(gap, Err(AppendError::OutOfOrderSequence { expected, .. }) if expected == Sequence::new(0))
        );
        assert_eq!(offer(&mut p, &[batch(0, 0, 1, 2)]).unwrap(), Judgement::New);
        let mut p = Producers::default();
        offer(&mut p, &[batch(0, i32::MAX, 3, 0)]).unwrap();
        assert_eq!(offer(&mut p, &[batch(0, 2, 1, 3)]).unwrap(), Judgement::New, "wrapped inside");
    }

    #[test]
    fn epochs_fence_and_start_at_zero() {
        let mut p = Producers::default();
        offer(&mut p, &[batch(3, 0, 1, 0)]).unwrap();
        let old = p.judge(&batch(2, 1, 1, 1), NOW, DAY);
        assert!(matches!(old, Err(AppendError::FencedProducer { .. })), "{old:?}");
        let skips = p.judge(&batch(4, 1, 1, 1), NOW, DAY);
        assert!(matches!(skips, Err(AppendError::OutOfOrderSequence { .. })), "{skips:?}");
        assert_eq!(offer(&mut p, &[batch(4, 0, 1, 1)]).unwrap(), Judgement::New);
        let stale_retry = p.judge(&batch(3, 0, 1, 0), NOW, DAY);
        assert!(matches!(stale_retry, Err(AppendError::FencedProducer { .. })));
    }

    #[test]
    fn an_unknown_or_expired_producer_may_send_any_sequence() {
        let mut p = Producers::default();
        assert_eq!(p.judge(&batch(0, 77, 1, 0), NOW, DAY).unwrap(), Judgement::New);
        offer(&mut p, &[batch(0, 77, 1, 0)]).unwrap();
        let later = Timestamp::new(NOW.get() + 86_400_000);
        assert_eq!(p.judge(&batch(0, 5, 1, 1), later, DAY).unwrap(), Judgement::New);
        p.expire(later, DAY);
        assert_eq!(p.iter().len(), 0);
    }

    #[test]
    fn a_producer_found_at_recovery_lives_a_whole_expiration_more() {
        let mut p = Producers::default();
        p.note(&batch(0, 0, 1, 0), Timestamp::NONE);
        p.expire(NOW, DAY);
        let almost = Timestamp::new(NOW.get() + 86_399_999);
        assert!(matches!(p.judge(&batch(0, 0, 1, 0), almost, DAY), Ok(Judgement::Duplicate(_))));
    }

    #[test]
    fn what_is_undone_was_never_there() {
        let marker = BatchHeader {
            attributes: Attributes::new(Codec::None).with_control(),
            ..batch(1, -1, 1, 70)
        };
        let mut sent: Vec<_> = (0..7).map(|i| batch(0, i * 10, 10, i64::from(i) * 10)).collect();
        sent.extend([marker, batch(1, 0, 5, 71), batch(3, 0, 5, 76), batch(3, 5, 1, 81)]);
        sent.push(BatchHeader { producer_id: ProducerId::NONE, ..batch(0, -1, 1, 82) });
        let mut p = Producers::default();
        let mut steps = Vec::new();
        for (seen, header) in (1..).map(Timestamp::new).zip(&sent) {
            let before = p.clone();
            steps.push((p.note_undoably(header, seen), before));
            let mut noted = steps.last().unwrap().1.clone();
            noted.note(header, seen);
            assert_eq!(p, noted);
        }
        for (undo, before) in steps.into_iter().rev() {
            p.undo(undo);
            assert_eq!(p, before);
        }
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut p = Producers::default();
        let limit = i64::try_from(PRODUCERS_MAX).unwrap();
        for id in 0..=limit {
            let header = BatchHeader { producer_id: ProducerId::new(id), ..batch(0, 0, 1, id) };
            p.note(&header, Timestamp::new(id));
        }
        assert!(p.iter().len() <= PRODUCERS_MAX);
        let oldest = BatchHeader { producer_id: ProducerId::new(0), ..batch(0, 9, 1, 0) };
        assert_eq!(p.judge(&oldest, NOW, DAY).unwrap(), Judgement::New, "the oldest went");
        let newest = BatchHeader { producer_id: ProducerId::new(limit), ..batch(0, 9, 1, 0) };
        p.judge(&newest, NOW, DAY).unwrap_err();
    }
}
