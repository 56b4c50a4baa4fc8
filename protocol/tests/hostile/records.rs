//! Batches made to harm: the header, decompression and the walk over records.

use bytes::Bytes;
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES, check_crc};
use protocol::compression::{compress, decompress};
use protocol::record::walk;
use protocol::types::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{allocated_by, fuzz, measuring, mutate};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// What decompression may produce in these tests.
const LIMIT_BYTES: usize = 1 << 20;
/// What it may allocate: an output that doubles as it grows, and the libraries' tables and blocks,
/// the largest of them two of LZ4's of 8 MiB.
const DECOMPRESSION_BYTES: usize = 2 * LIMIT_BYTES + (20 << 20);
const ROUNDS: u32 = 2_000;

fn batch(codec: Codec) -> Vec<u8> {
    let value = b"value value value ".repeat(20);
    let headers: [(&str, Option<&[u8]>); 2] = [("a", Some(b"1")), ("b", None)];
    let record = |at: i64| NewRecord {
        timestamp: Timestamp::new(1_700_000_000_000 + at),
        key: Some(b"key"),
        value: Some(&value),
        headers: &headers,
    };
    (0..20)
        .fold(BatchBuilder::new(Attributes::new(codec)), |batch, at| batch.with_record(&record(at)))
        .build()
        .expect("a sound batch can be built")
}

/// What a broker does with a produced batch; the number of records if it is sound.
fn validate(batch: &[u8]) -> Option<usize> {
    let header = check_crc(batch).ok()?;
    let body = batch.get(HEADER_BYTES..header.batch_bytes())?;
    let payload = decompress(header.attributes.codec()?, body, LIMIT_BYTES).ok()?;
    walk(&payload, header.record_count)
        .ok()?
        .try_fold(0, |seen, record| record.ok().map(|_| seen + 1))
}

/// The batch with a length and a CRC that fit its changed bytes, so that validation goes deeper.
fn resealed(batch: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = batch.split_at_checked(HEADER_BYTES)?;
    let mut header = header.to_vec();
    header[8..12].copy_from_slice(&49_i32.to_be_bytes());
    header[16] = 2;
    let sealed = BatchHeader::parse(&header).ok()?.sealed(body);
    Some([sealed.encode().as_slice(), body].concat())
}

#[test]
fn mutated_batches_neither_panic_nor_allocate_beyond_their_bound() {
    let _alone = measuring();
    fuzz(|seed| CODECS.into_iter().for_each(|codec| mutate_one(codec, seed)));
}

fn mutate_one(codec: Codec, seed: u64) {
    let sound = Bytes::from(batch(codec));
    assert_eq!(validate(&sound), Some(20), "{codec:?}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut refused = 0;
    for round in 0..ROUNDS {
        let origin = (codec, seed, round);
        let mutated = mutate(&sound, &mut random);
        let mutated = resealed(&mutated).unwrap_or_else(|| mutated.to_vec());
        let (outcome, peak) = allocated_by(|| validate(&mutated));
        let outcome = outcome.unwrap_or_else(|_| panic!("{origin:?} panics on {mutated:?}"));
        assert!(peak <= DECOMPRESSION_BYTES, "{origin:?}: {peak} bytes for {mutated:?}");
        refused += u32::from(outcome.is_none());
    }
    assert!(refused > ROUNDS / 2, "{codec:?} {seed}: only {refused} mutations are refused");
}

#[test]
fn counts_are_not_believed() {
    let _alone = measuring();
    let sound = batch(Codec::None);
    for count in [-1, 0, 19, 21, i32::MAX, i32::MIN] {
        let mut header = BatchHeader::parse(&sound).expect("the batch is sound");
        header.record_count = count;
        let body = &sound[HEADER_BYTES..];
        let lying = [header.sealed(body).encode().as_slice(), body].concat();
        let (outcome, peak) = allocated_by(|| validate(&lying));
        assert_eq!(outcome.expect("no panic"), None, "{count}");
        assert!(peak < 1 << 16, "{count}: {peak} bytes");
    }
}

#[test]
fn bombs_allocate_little_more_than_the_limit() {
    let _alone = measuring();
    let zeros = vec![0; 32 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, None, &zeros).expect("zeros compress");
        let (outcome, peak) = allocated_by(|| decompress(codec, &bomb, LIMIT_BYTES).is_err());
        assert!(outcome.expect("no panic"), "{codec:?}");
        assert!(peak <= DECOMPRESSION_BYTES, "{codec:?}: {peak} bytes");
    }
}
