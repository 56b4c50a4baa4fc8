//! What was remembered of a log before its last use is not believed after it.

use super::*;

/// A clean stop had noted the end; a run that was killed went on from there; in the next one the log
/// could not be closed, and the stop of all others was clean. The old end was still in the file.
#[test]
fn a_log_that_was_not_closed_is_not_taken_for_closed_where_an_earlier_run_closed_it() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let directory = open(&device, root.path()).unwrap();
    let log = directory.open_log(&name("events", 1), log_config(), LogKind::Direct).unwrap();
    (0..3).for_each(|_| append(&log));
    directory.close().unwrap();
    let directory = open(&device, root.path()).unwrap();
    let log = directory.open_log(&name("events", 1), log_config(), LogKind::Direct).unwrap();
    append(&log);
    append(&log);
    let device = device.kill();
    drop((log, directory));
    let directory = open(&device, root.path()).unwrap();
    let log = directory.open_log(&name("events", 1), log_config(), LogKind::Direct).unwrap();
    assert_eq!(end(&log), 5);
    directory.logs.checkpoint().unwrap();
    // Of its index, which is finished first of all.
    device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
    directory.close().unwrap_err();
    drop((log, directory));
    let directory = open(&device.kill(), root.path()).unwrap();
    let log = directory.open_log(&name("events", 1), log_config(), LogKind::Direct).unwrap();
    assert!(end(&log) >= 5, "{} of 5 synced records are left", end(&log));
}

#[test]
fn a_closed_directory_refuses() {
    let root = tempfile::tempdir().unwrap();
    let directory = DataDir::open(root.path(), config(), identity).unwrap();
    let orders = name("orders", 1);
    let log = directory.open_log(&orders, log_config(), LogKind::Direct).unwrap();
    assert!(Arc::ptr_eq(
        &log,
        &directory.open_log(&orders, log_config(), LogKind::Direct).unwrap()
    ));
    directory.close().unwrap();
    directory.close().unwrap();
    assert!(matches!(
        directory.open_log(&orders, log_config(), LogKind::Direct),
        Err(OpenError::Io { .. })
    ));
    assert!(matches!(directory.delete_log(&orders), Err(OpenError::Io { .. })));
}
