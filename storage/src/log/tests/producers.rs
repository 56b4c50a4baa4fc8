//! What a replicated log knows of producers when its snapshots of them are lost, fail or stay.

use super::entries::{end_offset, index, known, producers_of, wait_until_finished};
use super::*;
use crate::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use crate::log::entries::EntryBatch;

/// Each has a producer of its own.
fn entries(first: i64, count: i64) -> Vec<EntryBatch> {
    let entry = |number| {
        let AppendBatch { mut header, body } = batch(number, 1, 39);
        header.base_offset = Offset::new(number);
        header.leader_epoch = LeaderEpoch::new(1);
        header.producer_id = ProducerId::new(number);
        (header.producer_epoch, header.base_sequence) = (ProducerEpoch::new(0), Sequence::new(0));
        EntryBatch { header: header.sealed(&body), body }
    };
    (first..first + count).map(entry).collect()
}

/// As others have them at the same offsets: without a producer.
fn strangers(first: i64, count: i64) -> Vec<EntryBatch> {
    let stranger = |entry: EntryBatch| {
        let EntryBatch { mut header, body } = entry;
        (header.producer_id, header.leader_epoch) = (ProducerId::NONE, LeaderEpoch::new(2));
        (header.producer_epoch, header.base_sequence) = (ProducerEpoch::NONE, Sequence::NONE);
        EntryBatch { header: header.sealed(&body), body }
    };
    entries(first, count).into_iter().map(stranger).collect()
}

/// Two entries in each segment.
fn config() -> LogConfig {
    LogConfig { segment_bytes_max: 200, ..LogConfig::default() }
}

fn append(log: &Log, entries: &[EntryBatch]) {
    let told = listen(log);
    log.append_entries(entries.to_vec(), false, NOW).unwrap();
    wait_until_finished(log, &told);
}

#[test]
fn producers_of_purged_segments_are_known_also_without_their_snapshots() {
    let room = Room::new();
    let open = |stop| room.open_kind(LogKind::Replicated, config(), None, stop).unwrap();
    let log = open(StopKind::Clean);
    let all = entries(0, 7);
    append(&log, &all);
    log.close().unwrap();
    // Nobody syncs them: they may go with the power.
    for name in room.names(".producers") {
        std::fs::remove_file(room.path.join(name)).unwrap();
    }
    let log = open(StopKind::PowerLost);
    log.purge_entries(index(1)).unwrap();
    // The files of what was purged are still there.
    for at in [1, 3, 5] {
        let state = log.eviction_state(index(at)).unwrap();
        let before = &all[..=usize::try_from(at).unwrap()];
        assert_eq!(state.next_offset, end_offset(before));
        assert_eq!(known(state.producers()), producers_of(before), "at entry {at}");
    }
    log.close().unwrap();
}

/// What is left of a replicated log that took a snapshot, with `faults` from then on, was cut, and got
/// other entries before its process was killed.
fn killed_after(faults: &[Fault], entries_before: i64, snapshots: i64) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("log")).unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let room = |device: Arc<FaultyDevice>| Room::at(device, &root.path().join("log"), 1 << 20);
    let kind = LogKind::Replicated;
    let first = room(Arc::clone(&device));
    let log = first.open_kind(kind, LogConfig::default(), None, StopKind::Clean).unwrap();
    append(&log, &entries(0, entries_before));
    faults.iter().for_each(|fault| device.inject(*fault));
    for number in 0..snapshots {
        append(&log, &entries(entries_before + number, 1));
        log.snapshot_producers_now();
    }
    log.truncate_entries(LogIndex::new(1)).unwrap();
    let others = strangers(1, 20);
    append(&log, &others);
    let next = room(device.kill());
    let log = next.open_kind(kind, LogConfig::default(), None, StopKind::Killed).unwrap();
    let all = [entries(0, 1), others].concat();
    assert_eq!(log.entry_bounds().end, index(all.len() as u64));
    assert_eq!(known(&log.state.lock().producers), producers_of(&all));
    log.close().unwrap();
}

#[test]
fn a_snapshot_whose_write_failed_at_its_end_is_not_taken_for_one_of_another_history() {
    // The first change of the new file is its length.
    let fault = Fault { operation: Operation::Write, nth: 3, effect: Effect::FailAfter(10_000) };
    killed_after(&[fault], 2, 1);
}

#[test]
fn a_snapshot_that_was_not_removed_is_not_taken_for_one_of_another_history() {
    let fault = Fault { operation: Operation::Remove, nth: 1, effect: Effect::Fail };
    killed_after(&[fault], 2, 3);
}
