//! No frame and no batch, however made, may panic what reads it or make it allocate far more than
//! it is long. And every sound frame passes, in every API and version.
//!
//! `MILLPOND_FUZZ_SECONDS` lengthens each mutation run, `MILLPOND_FUZZ_SEED` repeats one.

mod records;
mod samples;

use std::fmt::Debug;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use protocol::api::{ApiSpec, SERVED};
use protocol::guard::{Flaw, decoded_bytes_max};
use protocol::request::{Decoded, RequestError, RequestFlaw, decode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process, so that one test at a time may measure.
static MEASURING: Mutex<()> = Mutex::new(());

/// For the client id, the text of an error, and what the test harness allocates meanwhile.
const SLACK_BYTES: usize = 64 << 10;
/// Mutations of each sample in a run that no variable lengthens.
const ROUNDS: u32 = 2_000;

fn measuring() -> MutexGuard<'static, ()> {
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn versions() -> impl Iterator<Item = (&'static ApiSpec, i16)> {
    let of = |spec: &'static ApiSpec| {
        (spec.version_decoded_min..=spec.version_max).map(move |version| (spec, version))
    };
    SERVED.iter().flat_map(of)
}

/// Runs `action`; how it ended, and the most bytes that it held at once.
fn allocated_by<T>(action: impl FnOnce() -> T) -> (std::thread::Result<T>, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(action));
    (outcome, ALLOCATOR.peak_usage().saturating_sub(before))
}

/// Decodes and asserts that it neither panicked nor allocated beyond its bound.
#[track_caller]
fn decode_within_bounds(frame: &Bytes, origin: &dyn Debug) -> Result<Decoded, RequestError> {
    let (outcome, peak) = allocated_by(|| decode(frame.clone()));
    let Ok(outcome) = outcome else { panic!("{origin:?} panics on {frame:?}") };
    let bound = decoded_bytes_max(frame.len()) + SLACK_BYTES;
    assert!(peak <= bound, "{origin:?}: {peak} bytes allocated for {} in {frame:?}", frame.len());
    outcome
}

fn frame(key: i16, version: i16, body: &[u8]) -> Bytes {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend([0, 0, 0, 1, 0xff, 0xff]);
    frame.extend(body);
    frame.into()
}

#[test]
fn every_sound_request_passes_and_no_part_of_it_does() {
    let _alone = measuring();
    for (spec, version) in versions() {
        for sample in samples::samples(spec, version) {
            let origin = (spec.name, version);
            let decoded = decode_within_bounds(&sample, &origin);
            let header = match decoded {
                Ok(Decoded::Request(header, _)) => header,
                other => panic!("{origin:?} {sample:?}: {other:?}"),
            };
            assert_eq!((header.api_key, header.api_version), (spec.key, version));
            for bytes in 0..sample.len() {
                let outcome = decode_within_bounds(&sample.slice(..bytes), &origin);
                assert!(outcome.is_err(), "{origin:?} passes cut to {bytes}: {sample:?}");
            }
            let longer = [sample.as_ref(), b"\0"].concat();
            // What follows the last field is ignored, as Kafka does: librdkafka sends such requests.
            assert!(decode_within_bounds(&longer.into(), &origin).is_ok(), "{origin:?}");
        }
    }
}

#[test]
fn bodies_that_abort_the_codec_are_refused() {
    let _alone = measuring();
    let cases: [(i16, i16, &[u8]); 6] = [
        // Metadata: the number of topics, in both encodings.
        (3, 1, b"\x7f\xff\xff\xff"),
        (3, 12, b"\0\xff\xff\xff\xff\x0f"),
        // Produce: no transactional id, acks, timeout, then the number of topics.
        (0, 3, b"\xff\xff\0\x01\0\0\0\0\x7f\xff\xff\xff"),
        // A varint that goes on beyond its fifth byte.
        (3, 12, b"\0\xff\xff\xff\xff\xff\xff\xff"),
        // More header tags than anything could hold.
        (3, 12, b"\xff\xff\xff\xff\x0f"),
        // ListConfigResources: two billion bytes of types.
        (74, 1, b"\0\xff\xff\xff\xff\x07"),
    ];
    for (key, version, body) in cases {
        let outcome = decode_within_bounds(&frame(key, version, body), &(key, version));
        assert!(matches!(outcome, Err(RequestError::Malformed { .. })), "{key} {version} {body:?}");
    }
}

#[test]
fn small_elements_in_large_frames_are_bounded() {
    let _alone = measuring();
    // Metadata: strings of one byte, each of which decodes to a structure.
    let strings = [1_000_000_u32.to_be_bytes().as_slice(), &b"\0\x01t".repeat(1_000_000)].concat();
    // DescribeCluster: 100,000 empty tagged fields, each of which may decode to a node of a tree.
    let tags = [b"\0\0\xa0\x8d\x06".as_slice(), &b"\x09\0".repeat(100_000)].concat();
    for (key, version, body) in [(3, 1, strings), (60, 0, tags)] {
        let outcome = decode_within_bounds(&frame(key, version, &body), &(key, version));
        let Err(RequestError::Malformed { flaw: RequestFlaw::Shape(error), .. }) = outcome else {
            panic!("{key} {version}: {outcome:?}");
        };
        assert_eq!(error.flaw, Flaw::Amplification, "{key} {version}");
    }
}

/// Values that lengths and counts overflow at.
const EDGES: [&[u8]; 10] = [
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x10\x00\x00",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x00",
    b"\xff\xff\x03",
    b"\x7f\xff",
    b"\x00",
];

/// Applies one to four changes to what follows the version.
fn mutate(sample: &Bytes, random: &mut StdRng) -> Bytes {
    const KEY_AND_VERSION_BYTES: usize = 4;
    let mut bytes = sample.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(KEY_AND_VERSION_BYTES..=bytes.len());
        let edge = EDGES[random.random_range(0..EDGES.len())];
        let end = bytes.len().min(at + edge.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 => drop(bytes.splice(at..end, edge.iter().copied())),
            3 => drop(bytes.splice(at..at, edge.iter().copied())),
            4 => bytes.truncate(at),
            _ => {
                let copied = bytes[at..].to_vec();
                bytes.extend(copied.iter().take(64));
            }
        }
    }
    bytes.into()
}

/// Runs `round` for one seed, or for seed after seed until the time that was asked for is over.
#[expect(clippy::disallowed_methods, reason = "wall time bounds the run that a variable lengthens")]
fn fuzz(round: impl Fn(u64)) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seed = variable("MILLPOND_FUZZ_SEED").unwrap_or(1);
    let seconds = Duration::from_secs(variable("MILLPOND_FUZZ_SECONDS").unwrap_or(0));
    let begin = Instant::now();
    for seed in seed.. {
        // Not through the harness, which would lose it in an abort.
        writeln!(std::io::stderr(), "MILLPOND_FUZZ_SEED={seed}").expect("stderr is open");
        round(seed);
        if begin.elapsed() >= seconds {
            break;
        }
    }
}

#[test]
fn mutated_requests_neither_panic_nor_allocate_beyond_their_bound() {
    let _alone = measuring();
    fuzz(|seed| versions().for_each(|(spec, version)| mutate_one(spec, version, seed)));
}

fn mutate_one(spec: &ApiSpec, version: i16, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut passed, mut refused) = (0, 0);
    for sample in samples::samples(spec, version) {
        for round in 0..ROUNDS {
            let mutated = mutate(&sample, &mut random);
            let origin = (spec.name, version, seed, round);
            match decode_within_bounds(&mutated, &origin) {
                Ok(_) => passed += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        passed > 0 && refused > 0,
        "{} {version} is not reached: {passed}, {refused}",
        spec.name
    );
}
