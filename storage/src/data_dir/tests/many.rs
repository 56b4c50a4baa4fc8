//! Many logs at a time: what one sync for all of them must and must not promise.

use super::*;
use crate::config::SyncPolicy;

/// More logs than sync for themselves, each with a record that was acknowledged unsynced, and noted in
/// the checkpoints; then the process is killed.
fn killed_with_many_logs(root: &Path) -> (Arc<FaultyDevice>, Vec<LogName>) {
    let names: Vec<_> = (0..12).map(|n| name(&format!("t{n}"), n + 1)).collect();
    let relaxed = SyncPolicy::Relaxed { flush_records: None, flush_interval: None };
    let device = FaultyDevice::new(root).unwrap();
    let directory = open(&device, root).unwrap();
    for name in &names {
        let config = LogConfig { sync: relaxed, ..log_config() };
        append(&directory.open_log(name, config, LogKind::Direct).unwrap());
    }
    directory.logs.checkpoint().unwrap();
    (device.kill(), names)
}

fn assert_each_holds_its_record(directory: &DataDir, names: &[LogName]) {
    for name in names {
        assert_eq!(
            end(&directory.open_log(name, log_config(), LogKind::Direct).unwrap()),
            1,
            "{name:?}"
        );
    }
}

#[test]
fn what_many_killed_logs_held_is_made_durable_at_once() {
    for seed in 0..SEEDS {
        let root = tempfile::tempdir().unwrap();
        let (device, names) = killed_with_many_logs(root.path());
        let directory = open(&device, root.path()).unwrap();
        assert_eq!(directory.stop, StopKind::Killed);
        let before = device.count(Operation::Sync);
        assert_each_holds_its_record(&directory, &names);
        let syncs = device.count(Operation::Sync) - before;
        assert!(syncs < 12, "{syncs} syncs for {} logs", names.len());
        // Recovered, the records count as synced: no power cut may take them.
        let device = device.crash(seed).unwrap();
        drop(directory);
        show_seed(seed, syncs);
        assert_each_holds_its_record(&open(&device, root.path()).unwrap(), &names);
    }
}

#[test]
fn many_killed_logs_are_written_anew_if_their_one_sync_failed() {
    for seed in 0..SEEDS {
        let root = tempfile::tempdir().unwrap();
        let (device, names) = killed_with_many_logs(root.path());
        // That of the state, that of the names, and then the one for all logs.
        device.inject(Fault { operation: Operation::Sync, nth: 3, effect: Effect::Fail });
        let directory = open(&device, root.path()).unwrap();
        for name in &names {
            let mark = directory.path().join(name.partition.to_string()).join("failed");
            assert!(mark.exists(), "{mark:?} tells the recovery not to trust the page cache");
        }
        assert_each_holds_its_record(&directory, &names);
        let device = device.crash(seed).unwrap();
        drop(directory);
        show_seed(seed, 3);
        assert_each_holds_its_record(&open(&device, root.path()).unwrap(), &names);
    }
}
