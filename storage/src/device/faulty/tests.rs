//! The faulty device itself: what it must keep, what it must be able to lose, and its faults.

use std::collections::BTreeSet;

use super::*;
use crate::checkpoint;

const SEEDS: u64 = 200;

/// Runs `work` on a fresh device in a directory of its own and returns what `look` finds after
/// losing power, for every seed.
fn after_crashes<T: Ord>(
    work: impl Fn(&FaultyDevice, &Path),
    look: impl Fn(&FaultyDevice, &Path) -> T,
) -> BTreeSet<T> {
    let outcome = |seed| {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        work(&device, root.path());
        let device = device.crash(seed).unwrap();
        look(&device, root.path())
    };
    (0..SEEDS).map(outcome).collect()
}

fn read(device: &FaultyDevice, path: &Path) -> Option<Vec<u8>> {
    checkpoint::read_whole(device, path).unwrap()
}

fn names(device: &FaultyDevice, root: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        device.list(root).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn synced_bytes_stay_and_later_ones_are_kept_dropped_or_torn() {
    let found = after_crashes(
        |device, root| {
            let file = device.open(&root.join("log"), OpenMode::CreateNew).unwrap();
            file.write_at(&[1; 700], 0).unwrap();
            file.sync_data().unwrap();
            device.sync_dir(root).unwrap();
            file.write_at(&[2; 1500], 700).unwrap();
        },
        |device, root| read(device, &root.join("log")).expect("its name was synced"),
    );
    assert!(found.iter().all(|bytes| bytes[..700] == [1; 700]));
    assert!(found.iter().any(|bytes| bytes.len() == 700), "never dropped");
    let all = [&[1; 700][..], &[2; 1500]].concat();
    assert!(found.contains(&all), "never kept");
    let is_torn =
        |bytes: &Vec<u8>| bytes.len() == 2200 && *bytes != all && bytes[700..].contains(&2);
    assert!(found.iter().any(is_torn), "never torn");
    // Torn at sectors and nowhere else.
    assert!(found.iter().all(|bytes| bytes[700..].chunk_by(|a, b| a == b).count() <= 4));
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let work = |syncs_names: bool| {
        move |device: &FaultyDevice, root: &Path| {
            let directory = root.join("orders-0");
            device.create_dir(&directory).unwrap();
            let file = device.open(&directory.join("a"), OpenMode::CreateNew).unwrap();
            file.sync_all().unwrap();
            if syncs_names {
                device.sync_dir(&directory).unwrap();
                device.sync_dir(root).unwrap();
            }
        }
    };
    let look = |device: &FaultyDevice, root: &Path| {
        let directories = names(device, root);
        let inside = directories.first().map(|name| names(device, &root.join(name)));
        (directories, inside.unwrap_or_default())
    };
    let everything = (vec!["orders-0".to_owned()], vec!["a".to_owned()]);
    assert_eq!(after_crashes(work(true), look), BTreeSet::from([everything.clone()]));
    let without_file = (everything.0.clone(), vec![]);
    let expected = BTreeSet::from([everything, without_file, (vec![], vec![])]);
    assert_eq!(after_crashes(work(false), look), expected);
}

#[test]
fn a_cut_needs_a_full_sync() {
    let work = |sync: fn(&dyn DeviceFile) -> io::Result<()>| {
        move |device: &FaultyDevice, root: &Path| {
            let file = device.open(&root.join("log"), OpenMode::CreateNew).unwrap();
            file.write_at(&[1; 100], 0).unwrap();
            device.sync_filesystem(root).unwrap();
            file.set_len(40).unwrap();
            sync(&*file).unwrap();
        }
    };
    let look = |device: &FaultyDevice, root: &Path| read(device, &root.join("log")).unwrap().len();
    assert_eq!(after_crashes(work(|file| file.sync_data()), look), BTreeSet::from([40, 100]));
    assert_eq!(after_crashes(work(|file| file.sync_all()), look), BTreeSet::from([40]));
}

#[test]
fn what_a_failed_sync_covered_is_never_certain() {
    let found = after_crashes(
        |device, root| {
            let file = device.open(&root.join("log"), OpenMode::CreateNew).unwrap();
            device.sync_filesystem(root).unwrap();
            file.write_at(&[1; 100], 0).unwrap();
            device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
            file.sync_data().unwrap_err();
            file.sync_data().unwrap();
        },
        |device, root| read(device, &root.join("log")).unwrap(),
    );
    assert!(found.contains(&vec![0; 100]), "the retry made it durable");
}

/// The procedure that all small files rely on, cut at each of its syncs.
#[test]
fn a_file_written_whole_is_old_or_new_at_every_moment() {
    for sync in 1..=3 {
        let outcome = after_crashes(
            |device, root| {
                let path = root.join("checkpoint");
                checkpoint::write_atomic(device, &path, b"old").unwrap();
                let fault =
                    Fault { operation: Operation::Sync, nth: sync, effect: Effect::PowerOff };
                device.inject(fault);
                let written = checkpoint::write_atomic(device, &path, b"newer");
                assert_eq!(written.is_ok(), sync > 2);
            },
            |device, root| read(device, &root.join("checkpoint")),
        );
        let (old, new) = (Some(b"old".to_vec()), Some(b"newer".to_vec()));
        let expected = match sync {
            1 => vec![old],
            2 => vec![old, new],
            _ => vec![new],
        };
        assert_eq!(outcome, expected.into_iter().collect(), "cut at sync {sync}");
    }
}

#[test]
fn a_killed_process_loses_nothing_and_power_may_still_be_lost_after_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("log");
    let device = FaultyDevice::new(root.path()).unwrap();
    let file = device.open(&path, OpenMode::CreateNew).unwrap();
    device.sync_dir(root.path()).unwrap();
    file.write_at(b"unsynced", 0).unwrap();
    let after_kill = device.kill();
    file.write_at(b"from the grave", 0).unwrap_err();
    device.list(root.path()).unwrap_err();
    assert_eq!(read(&after_kill, &path).unwrap(), b"unsynced");
    assert_eq!(after_kill.boot_id().unwrap(), device.boot_id().unwrap());
    let sizes: BTreeSet<_> = (0..SEEDS)
        .map(|seed| read(&after_kill.crash(seed).unwrap(), &path).unwrap().len())
        .collect();
    assert_eq!(sizes, BTreeSet::from([0, 8]));
    assert_ne!(after_kill.crash(0).unwrap().boot_id().unwrap(), after_kill.boot_id().unwrap());
}

#[test]
fn chosen_calls_fail_and_others_do_not() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let file = device.open(&root.path().join("log"), OpenMode::CreateNew).unwrap();
    device.inject(Fault { operation: Operation::Write, nth: 2, effect: Effect::FailAfter(3) });
    file.write_at(b"first", 0).unwrap();
    let error = file.write_at(b"second", 5).unwrap_err();
    assert_eq!((error.written, error.cause.raw_os_error()), (3, Some(Errno::IO.raw_os_error())));
    file.write_at(b"third", 8).unwrap();
    assert_eq!(read(&device, &root.path().join("log")).unwrap(), b"firstsecthird");
    device.inject(Fault { operation: Operation::Rename, nth: 1, effect: Effect::Fail });
    device.rename(&root.path().join("log"), &root.path().join("other")).unwrap_err();
    assert_eq!(names(&device, root.path()), ["log"]);
    assert_eq!(device.count(Operation::Write), 3);
}

#[test]
fn a_full_disk_takes_a_part_and_has_room_after_a_removal() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    device.set_capacity_bytes(Some(1000));
    let first = root.path().join("first");
    device.open(&first, OpenMode::CreateNew).unwrap().write_at(&[1; 900], 0).unwrap();
    let second = device.open(&root.path().join("second"), OpenMode::CreateNew).unwrap();
    let error = second.write_at(&[2; 400], 0).unwrap_err();
    assert_eq!((error.written, error.cause.kind()), (100, io::ErrorKind::StorageFull));
    assert_eq!(device.space(root.path()).unwrap().free_bytes, 0);
    device.remove_file(&first).unwrap();
    // What is there already needs no room again.
    second.write_at(&[2; 1000], 0).unwrap();
}

#[test]
fn a_seed_determines_the_crash() {
    let image = |seed| {
        let work = |device: &FaultyDevice, root: &Path| {
            for name in ["a", "b", "c"] {
                let file = device.open(&root.join(name), OpenMode::CreateNew).unwrap();
                file.write_at(&[7; 5000], 0).unwrap();
                file.write_at(&[8; 900], 300).unwrap();
            }
            device.rename(&root.join("a"), &root.join("d")).unwrap();
        };
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        work(&device, root.path());
        device.crash(seed).unwrap();
        read_tree(root.path()).unwrap()
    };
    assert_eq!(image(7), image(7));
    assert!((0..20).any(|seed| image(seed) != image(7)));
}
