//! The producers of a log at one offset, as a file: bounds what recovery must replay.
//!
//! Kafka's own `.snapshot` keeps one batch for each producer; ours keeps five, so that a retry is
//! recognised after a restart too, and has a suffix of its own. `<20-digit offset>.producers`:
//!
//! ```text
//! all fields big-endian
//! ├ u32 ──────────────┼ u16 ────────┼ u32 ───────────────┤ entries …
//! │ crc32c of all that│ version = 1 │ number of producers│
//! │ follows           │             │                    │
//!
//! entry: ├ i64 ───────┼ i16 ──────────┼ i64 ─────┼ u8 ────────────┤ 0 to 5 batches …
//!        │ producerId │ producerEpoch │ lastSeen │ number of those│
//! batch: ├ i32 ─────────┼ i32 ─────────┼ i64 ───────┼ i64 ───────┤
//!        │ baseSequence │ lastSequence │ baseOffset │ nextOffset │
//! ```
//! It holds every batch below the offset of its name and none above. Nobody syncs it: one that does
//! not pass its CRC is as good as none, and an older one is used.

use bytes::{Buf, BufMut};
use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::producer_state::{BATCHES_MAX, PRODUCERS_MAX, ProducedBatch, ProducerState, Producers};

/// What a snapshot's name ends with.
pub(crate) const SUFFIX: &str = ".producers";
const VERSION: u16 = 1;
const CRC_BYTES: usize = 4;
const ENTRY_BYTES_MIN: usize = 19;
const BATCH_BYTES: usize = 24;

/// The file's content.
pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let entries = producers.iter();
    let count = u32::try_from(entries.len()).expect("PRODUCERS_MAX is far below 2^32");
    let mut out = Vec::with_capacity(10 + entries.len() * (ENTRY_BYTES_MIN + BATCH_BYTES));
    out.put_u32(0);
    out.put_u16(VERSION);
    out.put_u32(count);
    for (producer_id, state) in entries {
        out.put_i64(producer_id.get());
        out.put_i16(state.producer_epoch.get());
        out.put_i64(state.last_seen.get());
        out.put_u8(u8::try_from(state.batches.len()).expect("at most BATCHES_MAX"));
        for batch in &state.batches {
            out.put_i32(batch.base_sequence.get());
            out.put_i32(batch.last_sequence.get());
            out.put_i64(batch.base_offset.get());
            out.put_i64(batch.next_offset.get());
        }
    }
    let crc = crc32c::crc32c(&out[CRC_BYTES..]);
    out[..CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads the file's content; `None` unless every byte is as it was written.
pub(crate) fn decode(bytes: &[u8]) -> Option<Producers> {
    let mut rest = bytes;
    let crc = rest.try_get_u32().ok()?;
    if crc32c::crc32c(rest) != crc || rest.try_get_u16().ok()? != VERSION {
        return None;
    }
    let count = rest.try_get_u32().ok()?;
    if usize::try_from(count).ok()? > PRODUCERS_MAX {
        return None;
    }
    let mut producers = Producers::default();
    for _ in 0..count {
        let (producer_id, state) = decode_entry(&mut rest)?;
        producers.restore(producer_id, state);
    }
    rest.is_empty().then_some(producers)
}

fn decode_entry(rest: &mut &[u8]) -> Option<(ProducerId, ProducerState)> {
    if rest.len() < ENTRY_BYTES_MIN {
        return None;
    }
    let producer_id = ProducerId::new(rest.get_i64());
    let producer_epoch = ProducerEpoch::new(rest.get_i16());
    let last_seen = Timestamp::new(rest.get_i64());
    let count = usize::from(rest.get_u8());
    if count > BATCHES_MAX || rest.len() < count * BATCH_BYTES {
        return None;
    }
    let decode_batch = |_| ProducedBatch {
        base_sequence: Sequence::new(rest.get_i32()),
        last_sequence: Sequence::new(rest.get_i32()),
        base_offset: Offset::new(rest.get_i64()),
        next_offset: Offset::new(rest.get_i64()),
    };
    let batches = (0..count).map(decode_batch).collect();
    Some((producer_id, ProducerState { producer_epoch, last_seen, batches }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Producers {
        let batch = ProducedBatch {
            base_sequence: Sequence::new(i32::MAX),
            last_sequence: Sequence::new(3),
            base_offset: Offset::new(100),
            next_offset: Offset::new(105),
        };
        let mut producers = Producers::default();
        for (id, count) in [(1, 0), (1 << 40, 5)] {
            let state = ProducerState {
                producer_epoch: ProducerEpoch::new(7),
                last_seen: Timestamp::new(123_456),
                batches: vec![batch; count],
            };
            producers.restore(ProducerId::new(id), state);
        }
        producers
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for producers in [Producers::default(), sample()] {
            assert_eq!(decode(&encode(&producers)), Some(producers));
        }
    }

    #[test]
    fn a_snapshot_with_any_byte_changed_or_missing_is_none() {
        let good = encode(&sample());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "byte {at}");
            assert_eq!(decode(&good[..at]), None, "cut at {at}");
        }
    }
}
