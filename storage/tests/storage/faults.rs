//! Failing disks, full disks and damage, seen through a data directory.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use protocol::batch::Codec;
use protocol::types::{LeaderEpoch, Offset};
use storage::config::{LogConfig, SyncPolicy};
use storage::device::Device;
use storage::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use storage::device::os::OsDevice;
use storage::error::{AppendError, OpenError, ReadError};
use storage::log::Log;
use storage::log::entries::LogKind;
use storage::read::{ReadRequest, ReadSource};

use crate::support::{NOW, append, batch, listen, name, open_directory, read_all, small_segments};

fn one(number: usize) -> storage::log::AppendBatch {
    batch(Codec::None, &[NOW.get()], &[u8::try_from(number % 251).unwrap(); 200])
}

fn whole(log: &Log) -> usize {
    read_all(log, log.pointers().log_start_offset, log.finished_end()).len()
}

#[test]
fn a_failed_write_or_sync_takes_one_log_offline_and_a_restart_brings_it_back() {
    for operation in [Operation::Write, Operation::Sync] {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        let seam = Arc::clone(&device) as Arc<dyn Device>;
        let directory = open_directory(&seam, root.path()).unwrap();
        let failing =
            directory.open_log(&name("failing"), small_segments(), LogKind::Direct).unwrap();
        let other = directory.open_log(&name("other"), small_segments(), LogKind::Direct).unwrap();
        let (failing_ear, other_ear) = (listen(&failing), listen(&other));
        for number in 0..5 {
            let end = append(&failing, one(number));
            failing_ear.wait_for(end).unwrap();
        }
        let failure = loop {
            // A checkpoint may be written meanwhile, and fail instead.
            device.inject(Fault { operation, nth: 1, effect: Effect::Fail });
            let end = append(&failing, one(5));
            if let Err(failure) = failing_ear.wait_for(end) {
                break failure;
            }
        };
        assert!(failure.path.starts_with(root.path()), "{failure}");
        let refused = failing.append(one(6), LeaderEpoch::ZERO, NOW);
        assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
        let request = ReadRequest {
            from: Offset::ZERO,
            end: Offset::new(5),
            bytes_max: 100,
            at_least_one: true,
            source: ReadSource::Any,
        };
        assert!(matches!(failing.read_blocking(request), Err(ReadError::Failed(_))));
        let end = append(&other, one(0));
        other_ear.wait_for(end).expect("the other log goes on");
        assert!(directory.close().is_err(), "a failed log is no clean stop");
        let directory = open_directory(&seam, root.path()).unwrap();
        let failing =
            directory.open_log(&name("failing"), small_segments(), LogKind::Direct).unwrap();
        assert!(whole(&failing) >= 5, "what was acknowledged is there");
        let ear = listen(&failing);
        let end = append(&failing, one(7));
        ear.wait_for(end).unwrap();
        directory.close().unwrap();
    }
}

#[test]
fn a_failed_sync_of_the_whole_disk_concerns_logs_that_did_not_ask_for_it() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let seam = Arc::clone(&device) as Arc<dyn Device>;
    let directory = open_directory(&seam, root.path()).unwrap();
    let relaxed = LogConfig {
        sync: SyncPolicy::Relaxed { flush_records: None, flush_interval: None },
        segment_bytes_max: 1 << 20,
        ..small_segments()
    };
    let bystander =
        directory.open_log(&name("bystander"), relaxed.clone(), LogKind::Direct).unwrap();
    let end = append(&bystander, one(0));
    listen(&bystander).wait_for(end).unwrap();
    // More than are synced one by one.
    let logs: Vec<_> = (0..12)
        .map(|number| {
            let log = directory
                .open_log(&name(&format!("log{number}")), small_segments(), LogKind::Direct)
                .unwrap();
            let ear = listen(&log);
            ear.wait_for(append(&log, one(0))).unwrap();
            (log, ear)
        })
        .collect();
    let all_went_well = || {
        let ends: Vec<_> =
            directory.gather(|| logs.iter().map(|(log, _)| append(log, one(1))).collect());
        logs.iter().zip(ends).all(|((_, ear), end)| ear.wait_for(end).is_ok())
    };
    loop {
        device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
        if !all_went_well() {
            break;
        }
    }
    drop((logs, bystander, directory));
    // What the page cache shows of the bystander is on its way to nowhere.
    let device = device.kill();
    let seam = Arc::clone(&device) as Arc<dyn Device>;
    let directory = open_directory(&seam, root.path()).unwrap();
    let bystander =
        directory.open_log(&name("bystander"), relaxed.clone(), LogKind::Direct).unwrap();
    assert_eq!(whole(&bystander), 1);
    drop((bystander, directory));
    let device = device.crash(1).unwrap();
    let seam = Arc::clone(&device) as Arc<dyn Device>;
    let directory = open_directory(&seam, root.path()).unwrap();
    let bystander = directory.open_log(&name("bystander"), relaxed, LogKind::Direct).unwrap();
    assert_eq!(whole(&bystander), 1, "what a start has shown is durable");
    directory.close().unwrap();
}

#[test]
fn a_full_disk_keeps_what_waits_and_goes_on_by_itself() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let seam = Arc::clone(&device) as Arc<dyn Device>;
    let directory = open_directory(&seam, root.path()).unwrap();
    let log = directory.open_log(&name("events"), small_segments(), LogKind::Direct).unwrap();
    let ear = listen(&log);
    for number in 0..20 {
        let end = append(&log, one(number));
        ear.wait_for(end).unwrap();
    }
    device.set_capacity_bytes(Some(7_000));
    let mut refused = 0;
    let mut end = Offset::ZERO;
    while refused == 0 {
        match log.append(one(20), LeaderEpoch::ZERO, NOW) {
            Ok(appended) => end = appended.next_offset,
            Err(AppendError::DiskFull) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(whole(&log) >= 20, "reads go on");
    assert!(!ear.has_heard(end), "nothing is acknowledged that is not on the disk");
    assert!(log.failure().is_none());
    device.set_capacity_bytes(None);
    ear.wait_for(end).expect("what waited is written once there is room");
    let count = usize::try_from(end.get()).unwrap();
    assert_eq!(whole(&log), count);
    directory.close().unwrap();
    let directory = open_directory(&seam, root.path()).unwrap();
    let log = directory.open_log(&name("events"), small_segments(), LogKind::Direct).unwrap();
    assert_eq!(whole(&log), count);
}

#[test]
fn damage_is_reported_with_its_place_while_other_logs_open() {
    let root = tempfile::tempdir().unwrap();
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let directory = open_directory(&device, root.path()).unwrap();
    for topic in ["damaged", "sound"] {
        let log = directory.open_log(&name(topic), small_segments(), LogKind::Direct).unwrap();
        for number in 0..10 {
            append(&log, one(number));
        }
    }
    directory.close().unwrap();
    // Opened and dropped: the next start recovers, and everything counts as synced.
    let directory = open_directory(&device, root.path()).unwrap();
    for topic in ["damaged", "sound"] {
        directory.open_log(&name(topic), small_segments(), LogKind::Direct).unwrap();
    }
    drop(directory);
    let path = root.path().join("data/damaged-0/00000000000000000000.log");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let batch_bytes = file.metadata().unwrap().len() / 10;
    file.write_all_at(&[9], 9 * batch_bytes + 16).unwrap();
    let directory = open_directory(&device, root.path()).unwrap();
    match directory.open_log(&name("damaged"), small_segments(), LogKind::Direct).unwrap_err() {
        OpenError::Corrupt { path: at, position, .. } => {
            assert_eq!((at, position), (path, 9 * batch_bytes));
        }
        other => panic!("{other}"),
    }
    let sound = directory.open_log(&name("sound"), small_segments(), LogKind::Direct).unwrap();
    assert_eq!(whole(&sound), 10);
}

/// The point of a cut counts as synced at the next start, so what lies below it must be.
#[test]
fn a_cut_that_loses_its_power_does_not_vouch_for_what_was_never_synced() {
    let relaxed = LogConfig {
        sync: SyncPolicy::Relaxed { flush_records: None, flush_interval: None },
        segment_bytes_max: 1 << 20,
        ..small_segments()
    };
    for (nth, seed) in (1..=3).flat_map(|nth| (0..10).map(move |seed| (nth, seed))) {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        let seam = Arc::clone(&device) as Arc<dyn Device>;
        let open = |seam: &Arc<dyn Device>| {
            let directory = open_directory(seam, root.path()).unwrap();
            let log =
                directory.open_log(&name("events"), relaxed.clone(), LogKind::Direct).unwrap();
            (directory, log)
        };
        // A high recovery point is noted.
        let (directory, log) = open(&seam);
        for number in 0..20 {
            append(&log, one(number));
        }
        drop(log);
        directory.close().unwrap();
        let (directory, log) = open(&seam);
        log.truncate(Offset::new(2)).unwrap();
        let ear = listen(&log);
        let ends: Vec<_> = (2..15).map(|number| append(&log, one(number))).collect();
        ear.wait_for(ends[ends.len() - 1]).unwrap();
        device.inject(Fault { operation: Operation::Rename, nth, effect: Effect::PowerOff });
        drop(log.truncate(Offset::new(10)));
        drop((log, directory));
        let device = device.crash(seed).unwrap();
        let seam = Arc::clone(&device) as Arc<dyn Device>;
        let (_directory, log) = open(&seam);
        let found = read_all(&log, Offset::ZERO, log.pointers().log_end_offset);
        assert!(found.len() >= 2, "what lay below the first cut is there");
    }
}
