//! Lives of a data directory with a journal that end by lost power, a killed process or a failed
//! call, chosen by a seed: what was acknowledged is there, whatever it was that made it durable.

use std::path::Path;
use std::sync::Arc;

use protocol::batch::Codec;
use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{LeaderEpoch, Offset, PartitionId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use storage::config::{LogConfig, SyncPolicy};
use storage::data_dir::{DataDir, JournalConfig, LogName};
use storage::device::Device;
use storage::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use storage::error::OpenError;
use storage::log::Log;
use storage::log::entries::LogKind;
use uuid::Uuid;

use crate::support::{Ear, NOW, batch, listen, open_directory_with, read_all, small_segments};

/// Seeds of a usual run, the first of them random; `MILLPOND_SEEDS` asks for another number, and
/// `MILLPOND_SEED` names the first.
const SEEDS: u64 = 25;
const LIVES: u32 = 4;
const TOPICS: [&str; 3] = ["first", "second", "third"];
/// Small, so that its halves are used again and again.
const JOURNAL: JournalConfig = JournalConfig { bytes: 64 << 10, begins_after: 3, logs_min: 1 };

/// What one partition must hold: record `n` has the value `values[n]`.
#[derive(Debug, Default)]
struct Model {
    /// Counts how often the topic was deleted.
    incarnation: u128,
    values: Vec<Vec<u8>>,
    /// How many of them must survive anything.
    acknowledged: usize,
    /// Whether a directory must be there.
    exists: bool,
}

struct Open {
    log: Arc<Log>,
    ear: Ear,
    leader_epoch: LeaderEpoch,
}

fn name(topic: &str, incarnation: u128) -> LogName {
    LogName {
        partition: TopicPartition::new(TopicName::new(topic).unwrap(), PartitionId::new(0)),
        topic_id: TopicId::new(Uuid::from_u128(100 + incarnation)).unwrap(),
    }
}

impl Model {
    /// Opens the log and holds it against what must be there.
    fn open(
        &mut self,
        directory: &DataDir,
        topic: &str,
        rng: &mut StdRng,
    ) -> Result<Open, OpenError> {
        let sync = match rng.random_range(0..8) {
            0 => SyncPolicy::Relaxed { flush_records: Some(5), flush_interval: None },
            _ => SyncPolicy::EveryCommit,
        };
        let config = LogConfig {
            segment_bytes_max: rng.random_range(3_000..20_000),
            sync,
            ..small_segments()
        };
        if matches!(sync, SyncPolicy::Relaxed { .. }) {
            // It promises less, and this test wants to know exactly.
            self.acknowledged = 0;
        }
        let names = directory.list()?;
        let partition = name(topic, 0).partition;
        match names.iter().find(|found| found.partition == partition) {
            Some(found) => assert_eq!(found.topic_id, name(topic, self.incarnation).topic_id),
            None => {
                // Also left out are logs that could not be read, since the power went meanwhile.
                let path = directory.path().clone();
                let listed = directory.device().list(&path);
                listed.map_err(|cause| OpenError::Io { path, operation: "list", cause })?;
                assert!(!self.exists, "{topic} is gone");
                self.values.clear();
            }
        }
        let log = directory.open_log(&name(topic, self.incarnation), config, LogKind::Direct)?;
        self.exists = true;
        self.check(&log, topic);
        let newest = log.latest_epoch().unwrap_or(LeaderEpoch::ZERO);
        let leader_epoch = if log.recovered_uncleanly() { newest.next() } else { newest };
        let ear = listen(&log);
        Ok(Open { log, ear, leader_epoch })
    }

    fn check(&mut self, log: &Log, topic: &str) {
        let end = log.pointers().log_end_offset;
        let count = usize::try_from(end.get()).unwrap();
        assert!(count >= self.acknowledged, "{topic}: {count} of {}", self.acknowledged);
        assert!(count <= self.values.len(), "{topic}: {count} of {}", self.values.len());
        self.values.truncate(count);
        let found = read_all(log, Offset::ZERO, end);
        assert_eq!(found.len(), count);
        for (number, (header, body)) in found.iter().enumerate() {
            assert_eq!(header.base_offset.get(), i64::try_from(number).unwrap());
            assert_eq!(*body, self.values[number], "{topic}: record {number}");
        }
    }

    /// One batch of one record; whether the log took it.
    fn append(&mut self, open: &Open, rng: &mut StdRng) -> Option<Offset> {
        let bytes = if rng.random_bool(0.03) { 2_500 } else { rng.random_range(0..500) };
        let value: Vec<u8> = (0..bytes).map(|_| rng.random()).collect();
        let batch = batch(Codec::None, &[NOW.get()], &value);
        self.values.push(batch.body.to_vec());
        let appended = open.log.append(batch, open.leader_epoch, NOW).ok()?;
        Some(appended.next_offset)
    }

    fn is_heard(&mut self, open: &Open, end: Offset) -> bool {
        let is_heard = open.ear.wait_for(end).is_ok();
        // A relaxed log is told before it is synced.
        let synced = open.log.pointers().recovery_point.min(end);
        if is_heard {
            self.acknowledged = self.acknowledged.max(usize::try_from(synced.get()).unwrap());
        }
        is_heard
    }

    /// Cuts the end; whether it succeeded.
    fn truncate(&mut self, open: &Open, rng: &mut StdRng) -> bool {
        let to = rng.random_range(0..=self.values.len());
        self.acknowledged = self.acknowledged.min(to);
        let is_cut = open.log.truncate(Offset::new(i64::try_from(to).unwrap())).is_ok();
        if is_cut {
            self.values.truncate(to);
        }
        is_cut
    }

    /// Deletes the topic and makes it anew under the same name.
    fn recreate(
        &mut self,
        directory: &DataDir,
        topic: &str,
        rng: &mut StdRng,
    ) -> Result<Open, OpenError> {
        (self.exists, self.acknowledged) = (false, 0);
        directory.delete_log(&name(topic, self.incarnation))?;
        self.incarnation += 1;
        self.values.clear();
        self.open(directory, topic, rng)
    }
}

/// One life; whether it ended by a clean close.
fn live(directory: &DataDir, models: &mut [Model; 3], rng: &mut StdRng) -> bool {
    let mut logs = Vec::new();
    for (model, topic) in models.iter_mut().zip(TOPICS) {
        match model.open(directory, topic, rng) {
            Ok(open) => logs.push(open),
            Err(OpenError::Io { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
    }
    for _ in 0..rng.random_range(5..80) {
        let mut ends = [None; 3];
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..TOPICS.len());
            match models[at].append(&logs[at], rng) {
                Some(end) => ends[at] = Some(end),
                None => return false,
            }
        }
        for (at, end) in ends.into_iter().enumerate() {
            let Some(end) = end.filter(|_| rng.random_bool(0.8)) else { continue };
            if !models[at].is_heard(&logs[at], end) {
                return false;
            }
        }
        let at = rng.random_range(0..TOPICS.len());
        if rng.random_bool(0.05) && !models[at].truncate(&logs[at], rng) {
            return false;
        }
        if rng.random_bool(0.03) {
            match models[at].recreate(directory, TOPICS[at], rng) {
                Ok(open) => logs[at] = open,
                Err(_) => return false,
            }
        }
    }
    let ends: Vec<_> = logs.iter().map(|open| open.log.pointers().log_end_offset).collect();
    drop(logs);
    let is_closed = rng.random() && directory.close().is_ok();
    if is_closed {
        for (model, end) in models.iter_mut().zip(ends) {
            model.acknowledged = usize::try_from(end.get()).unwrap();
        }
    }
    is_closed
}

fn random_fault(rng: &mut StdRng) -> Fault {
    let operation = [Operation::Sync, Operation::Write, Operation::Rename][rng.random_range(0..3)];
    let effect = match rng.random_range(0..4) {
        0 => Effect::Fail,
        1 => Effect::FailAfter(rng.random_range(0..5_000)),
        _ => Effect::PowerOff,
    };
    Fault { operation, nth: rng.random_range(1..200), effect }
}

#[expect(clippy::print_stdout, reason = "a failed test tells what happened")]
fn lives(seed: u64, root: &Path) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut models: [Model; 3] = Default::default();
    let mut device = FaultyDevice::new(root).unwrap();
    for life in 0..LIVES {
        let is_last = life + 1 == LIVES;
        if !is_last {
            let fault = random_fault(&mut rng);
            println!("life {life}: {fault:?}");
            device.inject(fault);
        }
        let seam = Arc::clone(&device) as Arc<dyn Device>;
        match open_directory_with(&seam, root, JOURNAL) {
            Ok(directory) => {
                let is_closed = live(&directory, &mut models, &mut rng);
                println!("life {life}: closed: {is_closed}");
            }
            Err(OpenError::Io { .. }) if !is_last => {}
            Err(error) => panic!("{error}"),
        }
        let is_crash = rng.random_bool(0.7);
        println!("life {life} ends, by {}", if is_crash { "lost power" } else { "a kill" });
        device = if is_crash { device.crash(rng.random()).unwrap() } else { device.kill() };
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a failed test tells its seed")]
fn what_was_acknowledged_survives_any_end() {
    let from_environment = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let first =
        from_environment("MILLPOND_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    for seed in first..first + from_environment("MILLPOND_SEEDS").unwrap_or(SEEDS) {
        println!("MILLPOND_SEED={seed}");
        let root = tempfile::tempdir().unwrap();
        lives(seed, root.path());
    }
}

#[test]
fn small_commits_begin_a_journal_and_a_clean_stop_leaves_none() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let seam = Arc::clone(&device) as Arc<dyn Device>;
    let format = || std::fs::read_to_string(root.path().join("data/millpond.format")).unwrap();
    let journal = root.path().join("data/millpond.journal");
    let directory = open_directory_with(&seam, root.path(), JOURNAL).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut models: [Model; 3] = Default::default();
    let logs: Vec<_> = TOPICS
        .iter()
        .zip(&mut models)
        .map(|(topic, model)| model.open(&directory, topic, &mut rng).unwrap())
        .collect();
    assert_eq!(format(), "format=1\n");
    while format() != "format=2\n" {
        for (open, model) in logs.iter().zip(&mut models) {
            let end = model.append(open, &mut rng).unwrap();
            open.ear.wait_for(end).unwrap();
        }
    }
    assert!(journal.exists());
    directory.close().unwrap();
    assert_eq!(format(), "format=1\n");
    assert!(!journal.exists());
}

/// What a start has shown to readers is durable, also if a sync of the start before it has failed.
#[test]
fn a_start_after_one_whose_sync_failed_shows_nothing_that_may_be_lost() {
    let config = LogConfig { segment_bytes_max: 1 << 20, ..small_segments() };
    for nth in 1..=12 {
        let root = tempfile::tempdir().unwrap();
        let mut device = FaultyDevice::new(root.path()).unwrap();
        let open = |device: &Arc<FaultyDevice>| {
            let seam = Arc::clone(device) as Arc<dyn Device>;
            let directory = open_directory_with(&seam, root.path(), JOURNAL)?;
            let log = directory.open_log(&name("first", 0), config.clone(), LogKind::Direct)?;
            Ok::<_, OpenError>((directory, log))
        };
        let (directory, log) = open(&device).unwrap();
        let ear = listen(&log);
        let append = |bytes| {
            let batch = batch(Codec::None, &[NOW.get()], &vec![7; bytes]);
            log.append(batch, LeaderEpoch::ZERO, NOW).unwrap().next_offset
        };
        let format = root.path().join("data/millpond.format");
        while std::fs::read_to_string(&format).unwrap() != "format=2\n" {
            ear.wait_for(append(100)).unwrap();
        }
        ear.wait_for(append(100)).unwrap();
        // Too much for the journal: it is in the page cache alone when the process dies.
        device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::PowerOff });
        assert!(ear.wait_for(append(200 << 10)).is_err());
        drop((log, directory));
        device = device.kill();
        device.inject(Fault { operation: Operation::Sync, nth, effect: Effect::Fail });
        drop(open(&device));
        device = device.kill();
        let (directory, log) = open(&device).unwrap();
        let end = log.pointers().log_end_offset;
        let shown = read_all(&log, Offset::ZERO, end);
        drop(log);
        directory.close().unwrap();
        device = device.crash(nth).unwrap();
        let (_directory, log) = open(&device).unwrap();
        assert_eq!(log.pointers().log_end_offset, end);
        assert!(read_all(&log, Offset::ZERO, end) == shown, "sync {nth}");
    }
}
