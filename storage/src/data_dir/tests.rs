//! A data directory as its owner sees it, over real files and over a device that loses power.

mod hanging;
mod many;
mod stale;

use std::sync::mpsc;

use bytes::Bytes;
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES};
use protocol::topic::TopicName;
use protocol::types::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::*;
use crate::device::OpenMode;
use crate::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use crate::error::LogFailure;
use crate::log::entries::LogKind;
use crate::log::{AppendBatch, LogListener};

const SEEDS: u64 = 12;

fn config() -> DataDirConfig {
    DataDirConfig {
        open_files_max: 16,
        tail_cache_bytes_max: 1 << 20,
        page_cache_bytes_max: 64 << 20,
        pending_bytes_max: 1 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(3600),
    }
}

fn log_config() -> LogConfig {
    LogConfig { file_delete_delay: Duration::ZERO, ..LogConfig::default() }
}

fn identity() -> Identity {
    let directory_id = Uuid::from_u128(0x0123_4567_89ab_cdef);
    Identity { cluster_id: "a-cluster".to_owned(), broker_id: BrokerId::new(7), directory_id }
}

fn open(device: &Arc<FaultyDevice>, root: &Path) -> Result<DataDir, OpenError> {
    let device = Arc::clone(device) as Arc<dyn Device>;
    DataDir::open_with_device(device, &root.join("data"), config(), identity)
}

fn name(topic: &str, topic_id: u128) -> LogName {
    let topic = TopicName::new(topic).unwrap();
    let topic_id = TopicId::new(Uuid::from_u128(topic_id)).unwrap();
    LogName { partition: TopicPartition::new(topic, PartitionId::new(0)), topic_id }
}

/// Appends a record and waits until it is synced.
fn append(log: &Log) {
    struct Told(mpsc::Sender<Offset>);
    impl LogListener for Told {
        fn progressed(&self, finished: Offset) {
            self.0.send(finished).ok();
        }
        fn failed(&self, failure: &LogFailure) {
            panic!("{failure}");
        }
    }
    let appended = log.append(one_record(), LeaderEpoch::ZERO, Timestamp::new(0)).unwrap();
    let (sender, receiver) = mpsc::channel();
    log.set_listener(Arc::new(Told(sender)));
    receiver.iter().find(|finished| *finished >= appended.next_offset).expect("it is told");
}

fn one_record() -> AppendBatch {
    let record = NewRecord::of_value(Timestamp::new(0), b"value");
    let batch = BatchBuilder::new(Attributes::new(Codec::None)).with_record(&record);
    let bytes = Bytes::from(batch.build().unwrap());
    let header = BatchHeader::parse(&bytes).unwrap();
    AppendBatch { header, body: bytes.slice(HEADER_BYTES..) }
}

fn end(log: &Log) -> i64 {
    log.pointers().log_end_offset.get()
}

/// Does `work` on a directory that was prepared, cuts the power at each sync that it makes, and
/// shows `check` what the next start finds, with whether the work had returned without error.
fn with_power_cut_anywhere(
    prepare: impl Fn(&DataDir),
    work: impl Fn(&DataDir) -> Result<(), OpenError>,
    check: impl Fn(&DataDir, bool),
) {
    for seed in 0..SEEDS {
        let mut has_finished = false;
        let mut sync = 0;
        while !has_finished {
            sync += 1;
            let root = tempfile::tempdir().unwrap();
            let device = FaultyDevice::new(root.path()).unwrap();
            let directory = open(&device, root.path()).unwrap();
            prepare(&directory);
            device.inject(Fault {
                operation: Operation::Sync,
                nth: sync,
                effect: Effect::PowerOff,
            });
            has_finished = work(&directory).is_ok();
            let device = device.crash(seed).unwrap();
            drop(directory);
            show_seed(seed, sync);
            check(&open(&device, root.path()).unwrap(), has_finished);
        }
        assert!(sync > 1, "the work made no sync");
    }
}

/// Shown by the test harness if the test fails.
#[expect(clippy::print_stdout, reason = "a failed test tells its seed")]
fn show_seed(seed: u64, sync: u64) {
    println!("seed {seed}, power cut at sync {sync}");
}

#[test]
fn a_new_directory_is_made_with_its_parents_and_keeps_its_identity() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("var/lib/millpond");
    let directory = DataDir::open(&path, config(), identity).unwrap();
    assert!(directory.was_clean());
    assert_eq!((directory.identity(), directory.path()), (&identity(), &path));
    directory.close().unwrap();
    let again = DataDir::open(&path, config(), || panic!("it is there already")).unwrap();
    assert_eq!(again.identity(), &identity());
    let text = std::fs::read_to_string(path.join("meta.properties")).unwrap();
    let expected =
        "version=1\ncluster.id=a-cluster\nnode.id=7\ndirectory.id=AAAAAAAAAAABI0VniavN7w\n";
    assert_eq!(text, expected);
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let first = DataDir::open(root.path(), config(), identity).unwrap();
    match DataDir::open(root.path(), config(), identity) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(first);
    let second = DataDir::open(root.path(), config(), identity).unwrap();
    second.close().unwrap();
    // Closing releases the lock although the value lives on.
    DataDir::open(root.path(), config(), identity).unwrap();
    drop(second);
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let file = |root: &Path, name: &str, text: &[u8]| {
        let file = OsDevice.open(&root.join(name), OpenMode::CreateNew).unwrap();
        file.write_at(text, 0).unwrap();
    };
    for foreign in ["meta.properties", "orders-0", "notes.txt"] {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), foreign, b"version=1\nnode.id=1\n");
        match DataDir::open(root.path(), config(), identity) {
            Err(OpenError::NotOurs { found, .. }) => assert_eq!(found, foreign),
            other => panic!("{foreign}: {other:?}"),
        }
        assert_eq!(OsDevice.list(root.path()).unwrap().len(), 1, "{foreign}");
    }
    let mounted = tempfile::tempdir().unwrap();
    OsDevice.create_dir(&mounted.path().join("lost+found")).unwrap();
    DataDir::open(mounted.path(), config(), identity).unwrap();

    let not_a_directory = mounted.path().join("file");
    file(mounted.path(), "file", b"");
    match DataDir::open(&not_a_directory, config(), identity) {
        Err(OpenError::Io { path, operation, .. }) => {
            assert_eq!((path, operation), (not_a_directory, "list as a directory"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_or_damaged_directory_is_refused_by_file() {
    let refusal = |name: &str, text: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        DataDir::open(root.path(), config(), identity).unwrap().close().unwrap();
        crate::checkpoint::write_atomic(&OsDevice, &root.path().join(name), text).unwrap();
        match DataDir::open(root.path(), config(), identity).unwrap_err() {
            OpenError::NewerFormat { path, found, .. } => (path.ends_with(name), Some(found)),
            OpenError::Corrupt { path, .. } => (path.ends_with(name), None),
            other => panic!("{name}: {other}"),
        }
    };
    assert_eq!(refusal("millpond.format", b"format=3\n"), (true, Some(3)));
    assert_eq!(refusal("millpond.format", b"format=\n"), (true, None));
    assert_eq!(refusal("meta.properties", b"version=2\n"), (true, Some(2)));
    assert_eq!(refusal("meta.properties", b"version=1\ncluster.id=a\nnode.id=x\n"), (true, None));
    assert_eq!(refusal("recovery-point-offset-checkpoint", b"0\n1\norders 0\n"), (true, None));
}

#[test]
fn a_first_start_may_be_cut_short_anywhere() {
    for seed in 0..SEEDS {
        let mut sync = 0;
        let mut has_finished = false;
        while !has_finished {
            sync += 1;
            show_seed(seed, sync);
            let root = tempfile::tempdir().unwrap();
            let device = FaultyDevice::new(root.path()).unwrap();
            device.inject(Fault {
                operation: Operation::Sync,
                nth: sync,
                effect: Effect::PowerOff,
            });
            let opened = open(&device, root.path());
            has_finished = opened.is_ok();
            let device = device.crash(seed).unwrap();
            drop(opened);
            let was_asked = std::cell::Cell::new(false);
            let ask = || {
                was_asked.set(true);
                identity()
            };
            let path = root.path().join("data");
            let directory = DataDir::open_with_device(
                Arc::clone(&device) as Arc<dyn Device>,
                &path,
                config(),
                ask,
            );
            assert_eq!(directory.unwrap().identity(), &identity());
            assert!(!(has_finished && was_asked.get()), "the identity was lost");
        }
    }
}

#[test]
fn how_the_last_run_ended_is_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let first = open(&device, root.path()).unwrap();
    assert_eq!(first.stop, StopKind::Clean);
    first.close().unwrap();
    let second = open(&device, root.path()).unwrap();
    assert_eq!(second.stop, StopKind::Clean);
    let device = device.kill();
    drop(second);
    let third = open(&device, root.path()).unwrap();
    assert_eq!(third.stop, StopKind::Killed);
    let device = device.crash(1).unwrap();
    drop(third);
    let fourth = open(&device, root.path()).unwrap();
    assert_eq!(fourth.stop, StopKind::PowerLost);
    fourth.close().unwrap();
    let device = device.crash(2).unwrap();
    assert_eq!(open(&device, root.path()).unwrap().stop, StopKind::Clean);
}

#[test]
fn a_directory_that_fills_up_still_starts() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    open(&device, root.path()).unwrap().close().unwrap();
    device.set_capacity_bytes(Some(0));
    let shared = Arc::clone(&device) as Arc<dyn Device>;
    let config = DataDirConfig { free_bytes_min: 1 << 20, ..config() };
    let directory =
        DataDir::open_with_device(shared, &root.path().join("data"), config, identity).unwrap();
    assert!(directory.is_full() && directory.was_clean());
    assert_eq!(directory.list().unwrap(), []);
}

#[test]
fn a_log_that_was_made_is_there_after_lost_power() {
    let orders = name("orders", 1);
    with_power_cut_anywhere(
        |_| {},
        |directory| directory.open_log(&orders, log_config(), LogKind::Direct).map(drop),
        |directory, was_made| {
            let listed = directory.list().unwrap();
            assert!(listed.is_empty() || listed == [orders.clone()], "{listed:?}");
            assert!(!was_made || !listed.is_empty());
            // Whatever was left of it can be completed.
            assert_eq!(
                end(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap()),
                0
            );
        },
    );
}

#[test]
fn a_deleted_log_does_not_come_back_under_its_name() {
    let (old, new) = (name("orders", 1), name("orders", 2));
    with_power_cut_anywhere(
        |directory| append(&directory.open_log(&old, log_config(), LogKind::Direct).unwrap()),
        |directory| {
            directory.delete_log(&old)?;
            directory.delete_log(&old)
        },
        |directory, was_deleted| {
            let listed = directory.list().unwrap();
            if was_deleted {
                assert_eq!(listed, []);
            } else if listed == [old.clone()] {
                let refused = directory.open_log(&new, log_config(), LogKind::Direct);
                assert!(matches!(refused, Err(OpenError::Corrupt { .. })), "{refused:?}");
                assert_eq!(
                    end(&directory.open_log(&old, log_config(), LogKind::Direct).unwrap()),
                    1
                );
                directory.delete_log(&old).unwrap();
            }
            assert_eq!(end(&directory.open_log(&new, log_config(), LogKind::Direct).unwrap()), 0);
        },
    );
}

/// A process may be killed between making something and syncing it. The next one finds it in the
/// page cache, and must not build on it as if it were durable.
#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_it_is_used() {
    let orders = name("orders", 1);
    for seed in 0..SEEDS {
        let mut sync = 0;
        let mut has_finished = false;
        while !has_finished {
            sync += 1;
            show_seed(seed, sync);
            let root = tempfile::tempdir().unwrap();
            let device = FaultyDevice::new(root.path()).unwrap();
            device.inject(Fault {
                operation: Operation::Sync,
                nth: sync,
                effect: Effect::PowerOff,
            });
            let first = open(&device, root.path());
            has_finished = first
                .as_ref()
                .is_ok_and(|first| first.open_log(&orders, log_config(), LogKind::Direct).is_ok());
            let device = device.kill();
            drop(first);
            let second = open(&device, root.path()).unwrap();
            append(&second.open_log(&orders, log_config(), LogKind::Direct).unwrap());
            let device = device.crash(seed).unwrap();
            drop(second);
            let third = open(&device, root.path()).unwrap();
            assert_eq!(end(&third.open_log(&orders, log_config(), LogKind::Direct).unwrap()), 1);
        }
    }
}

/// The files in which the directory remembers its logs know them by name. A topic that was deleted
/// and made anew must not inherit where its predecessor was synced and began.
#[test]
fn a_log_made_anew_inherits_nothing() {
    let (old, new) = (name("orders", 1), name("orders", 2));
    for seed in 0..SEEDS {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        let directory = open(&device, root.path()).unwrap();
        let log = directory.open_log(&old, log_config(), LogKind::Direct).unwrap();
        append(&log);
        directory.logs.checkpoint().unwrap();
        directory.delete_log(&old).unwrap();
        directory.open_log(&new, log_config(), LogKind::Direct).unwrap();
        let device = device.crash(seed).unwrap();
        drop(directory);
        show_seed(seed, 0);
        let directory = open(&device, root.path()).unwrap();
        assert_eq!(directory.list().unwrap(), std::slice::from_ref(&new));
        let (checkpoint, stop) = directory.logs.states().left_by_last_user(&new.partition);
        assert!(
            checkpoint.is_none_or(|found| found.recovery_point == Offset::ZERO),
            "{checkpoint:?}"
        );
        assert_eq!(stop, StopKind::PowerLost);
    }
}

/// A log that was open when the power failed and stays closed in the next run was never recovered,
/// although that next run may end cleanly. It must not be taken for clean then.
#[test]
fn each_log_remembers_how_it_was_left_itself() {
    let (orders, idle) = (name("orders", 1), name("idle", 2));
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let directory = open(&device, root.path()).unwrap();
    append(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
    directory.open_log(&idle, log_config(), LogKind::Direct).unwrap();
    directory.close().unwrap();

    // The idle log stays closed, and clean, through a run that is killed.
    let directory = open(&device, root.path()).unwrap();
    append(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
    directory.logs.checkpoint().unwrap();
    let device = device.crash(3).unwrap();
    drop(directory);

    // Neither is opened in a run that ends cleanly.
    let directory = open(&device, root.path()).unwrap();
    let left = |directory: &DataDir| {
        let states = directory.logs.states();
        let (checkpoint, stop) = states.left_by_last_user(&orders.partition);
        (checkpoint.map(|found| found.recovery_point.get()), stop)
    };
    assert_eq!(left(&directory), (Some(2), StopKind::PowerLost));
    directory.close().unwrap();

    let directory = open(&device, root.path()).unwrap();
    assert!(directory.was_clean());
    assert_eq!(left(&directory), (Some(2), StopKind::PowerLost));
    assert_eq!(end(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap()), 2);
    directory.close().unwrap();
    assert_eq!(left(&open(&device, root.path()).unwrap()), (Some(2), StopKind::Clean));
}

/// What was written down when the log was closed is out of date from the moment it is opened again,
/// which may be a second before that is written down.
#[test]
fn a_log_that_was_opened_since_is_not_clean() {
    let orders = name("orders", 1);
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let directory = open(&device, root.path()).unwrap();
    append(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
    directory.close().unwrap();
    let directory = open(&device, root.path()).unwrap();
    append(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
    let device = device.crash(4).unwrap();
    drop(directory);
    let directory = open(&device, root.path()).unwrap();
    let (_, stop) = directory.logs.states().left_by_last_user(&orders.partition);
    assert_eq!(stop, StopKind::PowerLost);
    assert_eq!(end(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap()), 2);
}

#[test]
fn a_log_that_is_set_aside_is_kept_under_another_name() {
    let root = tempfile::tempdir().unwrap();
    let orders = name("orders", 1);
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    append(&directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
    directory.close().unwrap();
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    let aside = directory.set_aside_log(&orders).unwrap();
    directory.close().unwrap();
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    assert_eq!(directory.list().unwrap(), []);
    assert!(aside.join("00000000000000000000.log").exists());
}

#[test]
fn threads_that_open_one_log_get_the_same() {
    let root = tempfile::tempdir().unwrap();
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    let orders = name("orders", 1);
    let logs: Vec<_> = std::thread::scope(|scope| {
        let open =
            || scope.spawn(|| directory.open_log(&orders, log_config(), LogKind::Direct).unwrap());
        let threads: Vec<_> = std::iter::repeat_with(open).take(4).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(logs.iter().all(|log| Arc::ptr_eq(log, &logs[0])));
}

#[test]
fn leftovers_of_deleted_logs_are_removed_at_start() {
    let root = tempfile::tempdir().unwrap();
    let orders = name("orders", 1);
    let slow = LogConfig { file_delete_delay: Duration::from_secs(3600), ..LogConfig::default() };
    let deleted_count = || {
        let entries = OsDevice.list(root.path()).unwrap();
        entries.iter().filter(|entry| log_directory::is_deleted(&entry.name)).count()
    };
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    directory.open_log(&orders, slow, LogKind::Direct).unwrap();
    directory.delete_log(&orders).unwrap();
    assert_eq!((directory.list().unwrap(), deleted_count()), (vec![], 1));
    directory.close().unwrap();
    assert_eq!(deleted_count(), 1);
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    // Nothing tells when the thread is done.
    while deleted_count() > 0 {
        std::thread::yield_now();
    }
    drop(directory);
}
