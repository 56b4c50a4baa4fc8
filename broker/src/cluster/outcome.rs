//! What became of a command, as the state machine tells its proposer.
//!
//! ```text
//! u64 index │ u8 kind: 0 done │ 1 each: list of (u8 0, or 1 + refusal) │ 2 refused: u8 refusal
//!                      3 producer ids: i64 first │ 4 unreadable
//! ```
//! Never stored: both ends run the same version or a rolling upgrade's two.

use bytes::Bytes;
use protocol::types::LogIndex;

use super::codec::{DecodeError, Reader, Writer};

/// Why a command, or one item of it, changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A topic of that name exists.
    #[error("Topic with this name already exists.")]
    TopicExists,
    /// A topic whose name differs only in `.` against `_` exists.
    #[error("The topic's name collides with that of an existing topic: '.' and '_' are alike.")]
    NameCollides,
    /// There is no such topic, any more.
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// Another change came first.
    #[error("another change came first")]
    Changed,
    /// All producer ids are used up.
    #[error("no producer id is left")]
    Exhausted,
}

const REFUSALS: [Refusal; 5] = [
    Refusal::TopicExists,
    Refusal::NameCollides,
    Refusal::UnknownTopic,
    Refusal::Changed,
    Refusal::Exhausted,
];

impl Refusal {
    fn write(self, to: &mut Writer) {
        let at = REFUSALS.iter().position(|refusal| *refusal == self);
        let at = at.and_then(|at| u8::try_from(at).ok()).expect("the table holds every refusal");
        to.u8(at);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = usize::from(from.u8()?);
        REFUSALS.get(at).copied().ok_or(DecodeError::Impossible("refusal"))
    }
}

/// The answer of the state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Where the command stands; an image of this index or above has its effect.
    pub(super) index: LogIndex,
    pub(super) effect: Effect,
}

/// What the command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// All of it.
    Done,
    /// Item by item.
    Each(Vec<Result<(), Refusal>>),
    /// Nothing.
    Refused(Refusal),
    /// The ids from this one on are the proposer's.
    ProducerIds { first: i64 },
    /// The state machine has halted at a command that it cannot read.
    Unreadable,
}

impl Outcome {
    pub(super) fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.u64(self.index.get());
        match &self.effect {
            Effect::Done => to.u8(0),
            Effect::Each(items) => {
                to.u8(1);
                to.list(items, |to, item| {
                    to.option(item.err(), |to, refusal| refusal.write(to));
                });
            }
            Effect::Refused(refusal) => {
                to.u8(2);
                refusal.write(&mut to);
            }
            Effect::ProducerIds { first } => {
                to.u8(3);
                to.i64(*first);
            }
            Effect::Unreadable => to.u8(4),
        }
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let index = LogIndex::new(from.u64()?);
        let effect = match from.u8()? {
            0 => Effect::Done,
            1 => {
                Effect::Each(from.list(|from| Ok(from.option(Refusal::read)?.map_or(Ok(()), Err)))?)
            }
            2 => Effect::Refused(Refusal::read(&mut from)?),
            3 => Effect::ProducerIds { first: from.i64()? },
            4 => Effect::Unreadable,
            _ => return Err(DecodeError::Impossible("outcome")),
        };
        from.finish()?;
        Ok(Self { index, effect })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_its_bytes() {
        let all: Vec<_> = REFUSALS.iter().map(|refusal| Err(*refusal)).chain([Ok(())]).collect();
        for effect in [
            Effect::Done,
            Effect::Each(all),
            Effect::Refused(Refusal::Changed),
            Effect::ProducerIds { first: i64::MAX },
            Effect::Unreadable,
        ] {
            let outcome = Outcome { index: LogIndex::new(3), effect };
            assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
        }
    }
}
