//! A log against a model that is a list of batches, under random operations and restarts.

use std::sync::Arc;

use protocol::batch::Codec;
use protocol::types::{LeaderEpoch, Offset, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use storage::config::{LogConfig, SyncPolicy};
use storage::device::Device;
use storage::device::os::OsDevice;
use storage::error::ReadError;
use storage::log::Log;
use storage::log::entries::LogKind;
use storage::read::{ReadRequest, ReadSource};

use crate::support::{
    NOW, batch, batches_of, bytes_of, listen, name, open_directory, read_all, small_segments,
};

/// Seeds of a usual run, the first of them random; `MILLPOND_SEEDS` asks for another number, and
/// `MILLPOND_SEED` names the first.
const SEEDS: u64 = 8;
const STEPS: u32 = 150;

/// One batch as it must be read back.
#[derive(Debug, Clone)]
struct Expected {
    base: i64,
    timestamps: Vec<i64>,
    body: Vec<u8>,
}

impl Expected {
    fn end(&self) -> i64 {
        self.base + i64::try_from(self.timestamps.len()).unwrap()
    }

    fn records(&self) -> impl Iterator<Item = (i64, i64)> {
        (self.base..).zip(self.timestamps.iter().copied())
    }
}

#[derive(Debug, Default)]
struct Model {
    leader_epoch: LeaderEpoch,
    start: i64,
    batches: Vec<Expected>,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, Expected::end)
    }

    fn append(&mut self, log: &Log, rng: &mut StdRng) {
        let codec = [Codec::None, Codec::Gzip, Codec::Lz4][rng.random_range(0..3)];
        let date = |rng: &mut StdRng| NOW.get() + rng.random_range(-5_000..5_000_i64);
        let timestamps: Vec<i64> = (0..rng.random_range(1..6)).map(|_| date(rng)).collect();
        let bytes = rng.random_range(0..400);
        let value: Vec<u8> = (0..bytes).map(|_| rng.random()).collect();
        let batch = batch(codec, &timestamps, &value);
        let body = batch.body.to_vec();
        let base = self.end();
        let appended = log.append(batch, self.leader_epoch, NOW).unwrap();
        let next_offset = appended.next_offset;
        self.batches.push(Expected { base, timestamps, body });
        assert_eq!(next_offset.get(), self.end());
    }

    /// A read from a random place with random limits.
    fn check_read(&self, log: &Log, rng: &mut StdRng) {
        let from = rng.random_range(self.start..=self.end());
        let end = rng.random_range(from..=self.end() + 3);
        let (bytes_max, at_least_one) = (rng.random_range(0..3000), rng.random());
        let request = ReadRequest {
            from: Offset::new(from),
            end: Offset::new(end),
            bytes_max,
            at_least_one,
            source: ReadSource::Any,
        };
        let records = match (rng.random_bool(0.5), log.read_nonblocking(request).unwrap()) {
            (true, Some(records)) => records,
            _ => log.read_blocking(request).unwrap(),
        };
        let found = batches_of(&bytes_of(&records));
        let mut expected =
            self.batches.iter().filter(|batch| batch.end() > from && batch.end() <= end);
        for (header, body) in &found {
            let expected = expected.next().expect("nothing beyond the end is returned");
            assert_eq!((header.base_offset.get(), body), (expected.base, &expected.body));
        }
        let first = self.batches.iter().find(|batch| batch.end() > from && batch.end() <= end);
        if let Some(first) = first {
            let fits = first.body.len() + 61 <= bytes_max || at_least_one;
            assert_eq!(found.is_empty(), !fits, "{request:?}");
            assert!(found.len() == 1 || records.bytes <= bytes_max, "{request:?}");
        }
    }

    fn check_timestamps(&self, log: &Log, rng: &mut StdRng) {
        let end = rng.random_range(self.start..=self.end());
        let target = NOW.get() + rng.random_range(-6_000..6_000_i64);
        let readable =
            || self.batches.iter().flat_map(Expected::records).filter(|r| r.0 >= self.start);
        let expected = readable().find(|r| r.1 >= target && r.0 < end);
        let found = log.offset_for_timestamp(Timestamp::new(target), Offset::new(end)).unwrap();
        assert_eq!(found.map(|(offset, at, _)| (offset.get(), at.get())), expected, "at {target}");
        // Only whole batches below the end: the end is one that readers are shown.
        let end = self.batches.iter().map(Expected::end).rfind(|e| *e <= end).unwrap_or(self.start);
        let newest = readable().filter(|r| r.0 < end).map(|r| r.1).max();
        let expected = readable().find(|r| Some(r.1) == newest && r.0 < end);
        let found = log.offset_of_max_timestamp(Offset::new(end)).unwrap();
        assert_eq!(found.map(|(offset, at, _)| (offset.get(), at.get())), expected, "below {end}");
    }

    /// Takes over where the log starts after something was deleted.
    fn deleted_up_to(&mut self, start: Offset) {
        assert!(start.get() >= self.start && start.get() <= self.end());
        let end = self.end();
        self.start = start.get();
        self.batches.retain(|batch| batch.end() > start.get());
        assert_eq!(self.end(), end.max(self.start));
    }

    fn check_all(&self, log: &Log) {
        let pointers = log.pointers();
        assert_eq!(
            (pointers.log_start_offset.get(), pointers.log_end_offset.get()),
            (self.start, self.end())
        );
        let found = read_all(log, pointers.log_start_offset, pointers.log_end_offset);
        let found: Vec<_> =
            found.iter().map(|(header, body)| (header.base_offset.get(), body)).collect();
        let expected: Vec<_> = self.batches.iter().map(|batch| (batch.base, &batch.body)).collect();
        assert_eq!(found, expected);
        let beyond = ReadRequest {
            from: Offset::new(self.end() + 1),
            end: Offset::new(i64::MAX),
            bytes_max: 1,
            at_least_one: true,
            source: ReadSource::Any,
        };
        assert!(matches!(log.read_blocking(beyond), Err(ReadError::OutOfRange { .. })));
    }
}

fn random_config(rng: &mut StdRng) -> LogConfig {
    let sync = if rng.random() {
        SyncPolicy::EveryCommit
    } else {
        SyncPolicy::Relaxed { flush_records: Some(7), flush_interval: None }
    };
    LogConfig { segment_bytes_max: rng.random_range(2500..9000), sync, ..small_segments() }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let root = tempfile::tempdir().unwrap();
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let mut model = Model::default();
    let mut directory = open_directory(&device, root.path()).unwrap();
    let mut log =
        directory.open_log(&name("events"), random_config(&mut rng), LogKind::Direct).unwrap();
    let mut ear = listen(&log);
    for _ in 0..STEPS {
        match rng.random_range(0..20) {
            0..8 => model.append(&log, &mut rng),
            8..14 => model.check_read(&log, &mut rng),
            14 => ear.wait_for(Offset::new(model.end())).unwrap(),
            15 => {
                ear.wait_for(Offset::new(model.end())).unwrap();
                ear = listen(&log);
                model.check_timestamps(&log, &mut rng);
            }
            16 => {
                let to = Offset::new(rng.random_range(model.start..=model.end()));
                assert_eq!(log.raise_log_start(to).unwrap(), to);
                model.deleted_up_to(log.pointers().log_start_offset);
            }
            17 => {
                let config = LogConfig {
                    retention_bytes: Some(rng.random_range(2_000..20_000)),
                    ..random_config(&mut rng)
                };
                log.set_config(config);
                log.apply_retention(NOW).unwrap();
                model.deleted_up_to(log.pointers().log_start_offset);
            }
            18 => {
                let to = rng.random_range(model.start..=model.end());
                log.truncate(Offset::new(to)).unwrap();
                model.batches.retain(|batch| batch.end() <= to);
                model.start = model.start.min(log.pointers().log_start_offset.get());
                ear = listen(&log);
            }
            _ => {
                if rng.random() {
                    directory.close().unwrap();
                } else {
                    // What is not finished may be lost then.
                    ear.wait_for(Offset::new(model.end())).unwrap();
                    drop(directory);
                }
                directory = open_directory(&device, root.path()).unwrap();
                log = directory
                    .open_log(&name("events"), random_config(&mut rng), LogKind::Direct)
                    .unwrap();
                let newest = log.latest_epoch().unwrap_or(LeaderEpoch::ZERO);
                model.leader_epoch = if log.recovered_uncleanly() { newest.next() } else { newest };
                model.check_all(&log);
                ear = listen(&log);
            }
        }
    }
    model.check_all(&log);
    directory.close().unwrap();
}

#[test]
#[expect(clippy::print_stdout, reason = "a failed test tells its seed")]
fn random_operations_leave_what_the_model_says() {
    let from_environment = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first =
        from_environment("MILLPOND_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    for seed in first..first + from_environment("MILLPOND_SEEDS").unwrap_or(SEEDS) {
        println!("MILLPOND_SEED={seed}");
        run(seed);
    }
}
