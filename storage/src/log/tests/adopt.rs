//! A log that becomes a replicated one: what it holds afterwards, and after each failure on the way.

use super::*;
use crate::config::SyncPolicy;
use crate::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use crate::log::entries::{EntryBatch, open::START_FILE};

fn config() -> LogConfig {
    LogConfig { retention: None, file_delete_delay: Duration::ZERO, ..small_segments() }
}

/// Appends `count` batches in epochs that rise, and waits until they are finished.
fn fill(log: &Log, numbers: std::ops::Range<i64>) {
    let told = listen(log);
    let mut end = log.pointers().log_end_offset;
    for number in numbers {
        let mut batch = batch(number, 3, 100);
        batch.header.producer_id = ProducerId::new(7);
        batch.header.producer_epoch = ProducerEpoch::new(0);
        batch.header.base_sequence = Sequence::new(i32::try_from(number * 3).unwrap());
        batch.header = batch.header.sealed(&batch.body);
        let epoch = LeaderEpoch::new(i32::try_from(number / 40).unwrap());
        end = log.append(batch, epoch, NOW).unwrap().next_offset;
    }
    wait_for(&told, end);
}

fn entries_of(log: &Log) -> Vec<EntryBatch> {
    let bounds = log.entry_bounds();
    let mut entries = Vec::new();
    let mut at = bounds.first();
    while at < bounds.end {
        let read = log.read_entries_blocking(at, bounds.end, 2_000).unwrap();
        at = LogIndex::new(at.get() + read.len() as u64);
        entries.extend(read);
    }
    entries
}

/// Base offsets of the entries, which follow each other.
fn offsets_of(log: &Log) -> Vec<i64> {
    let entries = entries_of(log);
    let follow = |two: &[EntryBatch]| two[0].header.next_offset() == two[1].header.base_offset;
    assert!(entries.windows(2).all(follow));
    entries.iter().map(|entry| entry.header.base_offset.get()).collect()
}

fn append_entry(log: &Log, number: i64, epoch: i32) {
    let AppendBatch { mut header, body } = batch(number, 3, 100);
    header.base_offset = log.pointers().log_end_offset;
    header.leader_epoch = LeaderEpoch::new(epoch);
    let told = listen(log);
    log.append_entries(vec![EntryBatch { header, body }], false, NOW).unwrap();
    wait_for(&told, header.next_offset());
}

#[test]
fn every_batch_becomes_an_entry_and_the_log_goes_on_as_a_replicated_one() {
    for (stop, purges, reopens) in [
        (StopKind::Clean, false, false),
        (StopKind::Clean, true, true),
        (StopKind::Killed, true, false),
        (StopKind::PowerLost, false, true),
    ] {
        let room = Room::new();
        let mut log = room.open(config(), None, StopKind::Clean).unwrap();
        fill(&log, 0..100);
        if purges {
            log.raise_log_start(Offset::new(150)).unwrap();
            log.apply_retention(NOW).unwrap();
        }
        if reopens {
            let checkpoint = log.close().unwrap();
            drop(log);
            log = room.open(config(), Some(checkpoint), StopKind::Clean).unwrap();
        }
        let first = log.state.lock().segments[0].base_offset().get();
        assert_eq!(first > 0, purges);
        log.make_replicated().unwrap();
        log.make_replicated().expect("that changes nothing");
        let expected: Vec<i64> = (first / 3..100).map(|number| number * 3).collect();
        assert_eq!(offsets_of(&log), expected);
        let bounds = log.entry_bounds();
        assert_eq!(bounds.first().get(), 1);
        assert_eq!(bounds.end.get(), 1 + expected.len() as u64);
        assert_eq!(bounds.finished_end, bounds.end);
        assert_eq!(log.epoch_of(bounds.last.unwrap().index).unwrap(), LeaderEpoch::new(2));

        append_entry(&log, 100, 3);
        append_entry(&log, 101, 3);
        let expected: Vec<i64> = (first / 3..102).map(|number| number * 3).collect();
        assert_eq!(offsets_of(&log), expected);
        // A replica elsewhere begins behind what is purged.
        let other = Room::new();
        let copy = other.open_kind(LogKind::Replicated, config(), None, StopKind::Clean).unwrap();
        copy.reset_entries(&log.eviction_state(LogIndex::new(0)).unwrap()).unwrap();
        copy.append_entries(entries_of(&log), false, NOW).unwrap();
        assert_eq!(entries_of(&copy), entries_of(&log));
        assert_eq!(copy.entry_bounds().last, log.entry_bounds().last);

        let checkpoint = match stop {
            StopKind::Clean => log.close().unwrap(),
            StopKind::Killed | StopKind::PowerLost => {
                let checkpoint = log.checkpoint();
                log.delete();
                LogCheckpoint { recovery_point: Offset::new(240), ..checkpoint }
            }
        };
        drop(log);
        assert!(room.open(config(), Some(checkpoint), stop).is_err(), "of another kind now");
        let log = room.open_kind(LogKind::Replicated, config(), Some(checkpoint), stop).unwrap();
        assert_eq!(offsets_of(&log), expected);
        append_entry(&log, 102, 4);
        let last = log.entry_bounds().last.unwrap();
        assert_eq!(last.index.get(), 1 + expected.len() as u64);
    }
}

#[test]
fn an_empty_log_becomes_replicated_too() {
    let room = Room::new();
    let log = room.open(config(), None, StopKind::Clean).unwrap();
    log.make_replicated().unwrap();
    assert_eq!((log.entry_bounds().first().get(), log.entry_bounds().end.get()), (1, 1));
    append_entry(&log, 0, 1);
    let checkpoint = log.close().unwrap();
    drop(log);
    let kind = LogKind::Replicated;
    let log = room.open_kind(kind, config(), Some(checkpoint), StopKind::Clean).unwrap();
    assert_eq!(offsets_of(&log), [0]);
}

#[test]
fn a_log_is_busy_while_it_becomes_replicated_and_loses_nothing_of_what_it_took() {
    let room = Room::new();
    let config = LogConfig { segment_bytes_max: 64 << 10, ..config() };
    let log = room.open(config, None, StopKind::Clean).unwrap();
    let (sender, appended) = channel();
    let appender = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for number in 0..50_000 {
                match log.append(batch(number, 1, 50), LeaderEpoch::ZERO, NOW) {
                    Ok(appended) => sender.send(appended.base_offset.get()).unwrap(),
                    Err(AppendError::Busy { .. }) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let told = listen(&log);
    wait_for(&told, Offset::new(300));
    log.make_replicated().unwrap();
    appender.join().unwrap();
    assert_eq!(offsets_of(&log), appended.iter().collect::<Vec<_>>());
}

/// Adopts with the `nth` call of a kind failing; `false` once there is no such call.
fn adopt_with_fault(fault: Fault, purges: bool, seed: u64) -> bool {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("log");
    std::fs::create_dir(&path).unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let room = Room::at(Arc::clone(&device) as Arc<dyn Device>, &path, 2_000);
    let config = LogConfig { sync: SyncPolicy::EveryCommit, ..config() };
    let log = room.open(config.clone(), None, StopKind::Clean).unwrap();
    fill(&log, 0..100);
    if purges {
        log.raise_log_start(Offset::new(150)).unwrap();
        log.apply_retention(NOW).unwrap();
    }
    let first = log.state.lock().segments[0].base_offset().get();
    let expected: Vec<i64> = (first / 3..100).map(|number| number * 3).collect();
    device.inject(fault);
    let outcome = log.make_replicated();
    if outcome.is_err() && fault.effect == Effect::Fail && log.failure().is_none() {
        // It goes on as it was, and may try again.
        fill(&log, 100..101);
        log.make_replicated().unwrap();
        assert_eq!(offsets_of(&log).len(), expected.len() + 1);
        return true;
    }
    let checkpoint = log.checkpoint();
    drop((log, room));
    let device = device.crash(seed).unwrap();
    let room = Room::at(device, &path, 2_000);
    let is_replicated = path.join(START_FILE).exists();
    assert!(is_replicated || outcome.is_err());
    let kind = if is_replicated { LogKind::Replicated } else { LogKind::Direct };
    let checkpoint = Some(checkpoint);
    let log = room.open_kind(kind, config, checkpoint, StopKind::PowerLost).unwrap();
    assert_eq!(read_all(&log, expected[0]), expected);
    log.make_replicated().unwrap();
    assert_eq!(offsets_of(&log), expected);
    append_entry(&log, 100, 9);
    assert_eq!(log.entry_bounds().end.get(), 2 + expected.len() as u64);
    outcome.is_err()
}

#[test]
fn whatever_fails_on_the_way_the_log_is_of_one_kind_or_the_other_and_whole() {
    let operations = [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename];
    for operation in operations {
        for effect in [Effect::PowerOff, Effect::Fail] {
            let mut struck = 0;
            for nth in 1.. {
                let fault = Fault { operation, nth, effect };
                if !adopt_with_fault(fault, nth % 2 == 0, 1000 + nth) {
                    break;
                }
                struck += 1;
            }
            assert!(struck > 0, "{operation:?} {effect:?}");
        }
    }
}
