//! Lives of one replicated log that end by lost power, a killed process or a failed call, chosen by a
//! seed.
//!
//! After each life must hold: what the listener was told of is there, under the same index and with
//! the same content; what is there is the beginning of what was appended, without a hole; what was cut
//! off before the end does not come back; and what is known of epochs and producers is what the
//! entries say.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::entries::{
    Model, end_offset, entry, epochs_of, index, known, place, producers_of, wait_until_finished,
    with_seeds,
};
use super::*;
use crate::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use crate::error::OpenError;
use crate::log::entries::EntryBatch;

const SEEDS: u64 = 40;
const LIVES: u32 = 5;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    PowerLost,
    Killed,
    Clean,
}

/// What is known of a log over all its lives.
#[derive(Default)]
struct History {
    /// The most that the log may hold.
    model: Model,
    /// So many of these entries it must hold.
    finished: usize,
    /// The log may have been reset behind this many of them.
    reset_behind: Option<usize>,
    checkpoint: Option<LogCheckpoint>,
    was_opened: bool,
}

impl History {
    /// Holds the log against what may be there, which is then the truth.
    fn check(&mut self, log: &Log) {
        let bounds = log.entry_bounds();
        let (first, end) = (place(bounds.first()), place(bounds.end));
        let was_reset = self.reset_behind.take() == Some(end) && first == end;
        if !was_reset {
            assert!(end >= self.finished, "{} entries were finished: {bounds:?}", self.finished);
            assert!(first <= self.model.first.max(self.finished), "{bounds:?}");
        }
        assert!(end <= self.model.entries.len(), "{bounds:?} of {}", self.model.entries.len());
        self.model.entries.truncate(end);
        self.model.first = first;
        self.finished = end;
        let mut at = bounds.first();
        while at < bounds.end {
            let read = log.read_entries_blocking(at, bounds.end, 3_000).unwrap();
            let next = place(at) + read.len();
            assert_eq!(read, self.model.entries[place(at)..next], "from entry {at}");
            at = LogIndex::new(next as u64);
        }
        let next_offset = end_offset(&self.model.entries);
        assert_eq!(log.pointers().log_end_offset, next_offset);
        let state = log.state.lock();
        assert_eq!(known(&state.producers), producers_of(&self.model.entries));
        if bounds.purged.is_none() {
            assert_eq!(state.leader_epochs, epochs_of(&self.model.entries));
        }
        let last = self.model.entries.last().map(|last| last.header.leader_epoch);
        assert_eq!(state.leader_epochs.latest(), last);
        drop(state);
        let start = log.pointers().log_start_offset.get();
        // No reader is shown an entry without an offset.
        read_all(log, start);
    }

    fn append(&mut self, log: &Log, rng: &mut StdRng) -> bool {
        let mut entries = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let entry: EntryBatch = self.model.next_entry(rng);
            entries.push(entry.clone());
            self.model.entries.push(entry);
        }
        log.append_entries(entries, false, NOW).is_ok()
    }

    /// Waits until all is finished; returns whether the log still lives.
    fn wait(&mut self, log: &Log, told: &Receiver<Result<Offset, LogFailure>>) -> bool {
        loop {
            let bounds = log.entry_bounds();
            self.finished = self.finished.max(place(bounds.finished_end));
            if bounds.finished_end == bounds.end {
                return true;
            }
            if told.recv_timeout(Duration::from_secs(30)).expect("the flusher tells").is_err() {
                return false;
            }
        }
    }

    /// Cuts off some of the last entries.
    fn truncate(&mut self, log: &Log, rng: &mut StdRng) -> bool {
        let count = self.model.entries.len();
        let end = rng.random_range(self.model.first.max(count.saturating_sub(30))..=count);
        // A failed one may have cut off something.
        self.finished = self.finished.min(end);
        if log.truncate_entries(LogIndex::new(end as u64)).is_err() {
            return false;
        }
        self.model.entries.truncate(end);
        let last = self.model.entries.last();
        self.model.epoch = last.map_or(0, |last| last.header.leader_epoch.get());
        self.model.epoch += rng.random_range(0..3);
        true
    }

    /// Retention, and perhaps a replica that begins anew behind it.
    fn evict(&mut self, log: &Log, config: &LogConfig, rng: &mut StdRng) -> Result<(), ReadError> {
        let Some(upto) = self.finished.checked_sub(1) else { return Ok(()) };
        let retention_bytes = Some(rng.random_range(0..10_000));
        log.set_config(LogConfig { retention_bytes, ..config.clone() });
        let point = log.eviction_point(LogIndex::new(upto as u64), NOW)?;
        log.set_config(config.clone());
        let Some(point) = point else { return Ok(()) };
        let at = place(point.index);
        let state = log.eviction_state(point.index)?;
        assert_eq!(known(state.producers()), producers_of(&self.model.entries[..=at]));
        if rng.random_bool(0.3) {
            self.reset_behind = Some(at + 1);
            // The log on the disk goes when that has begun.
            log.reset_entries(&state)?;
            self.reset_behind = None;
            self.model.entries.truncate(at + 1);
            (self.model.first, self.finished) = (at + 1, at + 1);
            return Ok(());
        }
        log.purge_entries(point.index)?;
        self.model.first = at + 1;
        if rng.random_bool(0.8) {
            log.apply_retention(NOW)?;
        }
        Ok(())
    }
}

fn random_fault(rng: &mut StdRng, end: End) -> Fault {
    let operation = match rng.random_range(0..10) {
        0..6 => Operation::Sync,
        6..8 => Operation::Write,
        8 => Operation::Create,
        _ => Operation::Rename,
    };
    let effect = match end {
        End::PowerLost => Effect::PowerOff,
        End::Killed | End::Clean => match rng.random_range(0..3) {
            0 => Effect::Fail,
            1 => Effect::FailAfter(rng.random_range(0..200)),
            _ => Effect::PowerOff,
        },
    };
    Fault { operation, nth: rng.random_range(1..60), effect }
}

/// One life on `device`; returns whether it ended by a clean close.
fn live(
    room: &Room,
    history: &mut History,
    rng: &mut StdRng,
    config: &LogConfig,
    opened_after: End,
    has_fault: bool,
) -> bool {
    let stop = match opened_after {
        End::PowerLost => StopKind::PowerLost,
        End::Killed => StopKind::Killed,
        End::Clean => StopKind::Clean,
    };
    history.was_opened = false;
    let opened = room.open_kind(LogKind::Replicated, config.clone(), history.checkpoint, stop);
    let log = match opened {
        Ok(log) => log,
        // A fault may strike while the log is opened.
        Err(OpenError::Io { .. }) if has_fault => return false,
        Err(error) => panic!("after {opened_after:?}: {error}"),
    };
    history.was_opened = true;
    history.check(&log);
    let told = listen(&log);
    for _ in 0..rng.random_range(0..25) {
        for _ in 0..rng.random_range(1..5) {
            if !history.append(&log, rng) {
                return false;
            }
        }
        if rng.random_bool(0.6) && !history.wait(&log, &told) {
            return false;
        }
        if rng.random_bool(0.2) {
            log.snapshot_producers_now();
            history.checkpoint = Some(log.checkpoint());
        }
        if rng.random_bool(0.2) && !history.truncate(&log, rng) {
            return false;
        }
        if rng.random_bool(0.1) && history.evict(&log, config, rng).is_err() {
            return false;
        }
        assert_eq!(place(log.entry_bounds().end), history.model.entries.len());
    }
    if has_fault && rng.random_bool(0.5) {
        return false;
    }
    match log.close() {
        Ok(checkpoint) => {
            history.checkpoint = Some(checkpoint);
            history.finished = history.model.entries.len();
            true
        }
        Err(_) => false,
    }
}

fn lives(seed: u64, root: &Path) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut history = History::default();
    std::fs::create_dir(root.join("log")).unwrap();
    let mut device = FaultyDevice::new(root).unwrap();
    let mut opened_after = End::Clean;
    for life in 0..LIVES {
        let config = LogConfig {
            segment_bytes_max: rng.random_range(1_000..8_000),
            index_interval_bytes: rng.random_range(64..1_000),
            retention: None,
            file_delete_delay: Duration::ZERO,
            // Whatever it says.
            sync: SyncPolicy::Relaxed { flush_records: None, flush_interval: None },
            ..LogConfig::default()
        };
        let planned = if rng.random_bool(0.7) { End::PowerLost } else { End::Killed };
        let is_last = life + 1 == LIVES;
        if !is_last {
            device.inject(random_fault(&mut rng, planned));
        }
        let room = Room::at(Arc::clone(&device) as Arc<dyn Device>, &root.join("log"), 2_000);
        let was_clean = live(&room, &mut history, &mut rng, &config, opened_after, !is_last);
        assert!(!is_last || was_clean, "without a fault a log can be closed");
        opened_after = match planned {
            // After a clean stop everything is durable, also if the power goes.
            End::PowerLost if was_clean => {
                device = device.crash(rng.random()).unwrap();
                End::Clean
            }
            _ if was_clean => {
                device = device.kill();
                End::Clean
            }
            End::PowerLost => {
                device = device.crash(rng.random()).unwrap();
                End::PowerLost
            }
            End::Killed | End::Clean => {
                // Killed between a failed sync and its note, it would be believed.
                drop(room);
                device = device.kill();
                // Who could not recover from lost power leaves that to the next.
                let is_done = history.was_opened || opened_after != End::PowerLost;
                if is_done { End::Killed } else { End::PowerLost }
            }
        };
    }
}

#[test]
fn a_replicated_log_keeps_what_it_finished_through_any_end() {
    with_seeds(SEEDS, |seed| {
        let root = tempfile::tempdir().unwrap();
        lives(seed, root.path());
    });
}

#[test]
fn an_entry_without_an_offset_that_is_lost_takes_what_follows_with_it() {
    let room = Room::new();
    let config = LogConfig { segment_bytes_max: 200, ..LogConfig::default() };
    let open = |stop| room.open_kind(LogKind::Replicated, config.clone(), None, stop).unwrap();
    let log = open(StopKind::Clean);
    let told = listen(&log);
    let blank = EntryBatch::raft_only(Offset::new(1), LeaderEpoch::new(1), Bytes::new());
    log.append_entries(vec![entry(1, 0, 1), blank], false, NOW).unwrap();
    wait_until_finished(&log, &told);
    log.append_entries(vec![entry(2, 1, 1)], false, NOW).unwrap();
    log.close().unwrap();
    assert_eq!(room.names(".log").len(), 2);
    // As if the power had gone before the first file was synced to its end.
    let path = room.path.join("00000000000000000000.log");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    let log = open(StopKind::PowerLost);
    assert_eq!((log.entry_bounds().end, room.names(".log").len()), (index(1), 1));
    log.close().unwrap();
}
