//! What is seen of a disk that does not answer, or fails.

use super::*;

#[test]
fn a_call_that_does_not_return_is_seen_and_so_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let data_dir = open(&device, root.path()).unwrap();
    let log = data_dir.open_log(&name("t", 1), log_config(), LogKind::Direct).unwrap();
    append(&log);
    let wait_for = |what: &str, is: &dyn Fn(&DiskState) -> bool| {
        for _ in 0..60_000 {
            let state = data_dir.disk_state();
            if is(&state) {
                return state;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("waited in vain for {what}: {:?}", data_dir.disk_state());
    };
    wait_for("rest", &|state| state.oldest.is_none());
    device.hang(&[Operation::Sync]);
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| append(&log));
        let state = wait_for("a hanging sync", &|state| state.hanging().is_some());
        let hanging = state.hanging().unwrap();
        assert_eq!(hanging.operation, "sync");
        assert!(hanging.path.starts_with(data_dir.path()) && hanging.to_string().contains("sync"));
        assert!(!appending.is_finished());
        device.release();
    });
    wait_for("the end of the sync", &|state| state.oldest.is_none());
    assert_eq!(data_dir.disk_state().failure, None);

    let fault = Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail };
    device.inject(fault);
    log.append(one_record(), LeaderEpoch::ZERO, Timestamp::new(0)).unwrap();
    let state = wait_for("a failure", &|state| state.failure.is_some());
    assert!(state.failure.as_ref().unwrap().starts_with("t-0: "), "{state:?}");
}
