//! The group on a disk that loses power, fails a call, or fills up.

use std::time::Duration;

use storage::device::faulty::{Effect, Fault, FaultyDevice, Operation};

use super::*;

/// More than any of these tests takes: only a hang runs into it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start_faulty(device: &Arc<FaultyDevice>, root: &Path) -> (ReplicatedState, Commands) {
    let device: Arc<dyn Device> = device.clone();
    start_on(&device, root, REPLICA).await.unwrap()
}

/// Proposes `count` commands at once; returns those that were answered.
async fn propose_many(group: &ReplicatedState, life: &str, count: usize) -> Vec<Bytes> {
    let propose_one = async |n: usize| {
        let command = Bytes::from(format!("{life}.{n}"));
        group.propose(command.clone()).await.ok().map(|_answer| command)
    };
    let answers = join_all((0..count).map(propose_one)).await;
    answers.into_iter().flatten().collect()
}

#[tokio::test]
async fn no_answered_command_is_lost_with_the_power() {
    for seed in 0..24_u64 {
        let root = tempfile::tempdir().unwrap();
        let mut device = FaultyDevice::new(root.path()).unwrap();
        let mut answered: Vec<Bytes> = Vec::new();
        for life in 0..3_u64 {
            let (group, commands) = start_faulty(&device, root.path()).await;
            let found = commands.all();
            for command in &answered {
                let times = found.iter().filter(|one| *one == command).count();
                assert_eq!(
                    times, 1,
                    "seed {seed}, life {life}: {command:?} is there {times} times"
                );
            }
            // The power goes at some write or sync of what follows.
            let operation = [Operation::Write, Operation::Sync][usize::from(seed % 2 == 0)];
            let nth = 1 + (seed * 7 + life * 3) % 12;
            device.inject(Fault { operation, nth, effect: Effect::PowerOff });
            for round in 0..8 {
                let name = format!("{life}.{round}");
                answered.extend(propose_many(&group, &name, 5).await);
                if round == 2 {
                    drop(group.inner.raft.trigger().snapshot().await);
                }
            }
            tokio::time::timeout(PATIENCE, group.shutdown()).await.unwrap();
            device = device.crash(seed).unwrap();
        }
    }
}

#[tokio::test]
async fn a_failed_sync_stops_the_group_with_its_cause() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let (group, _) = start_faulty(&device, root.path()).await;
    propose(&group, "safe").await;
    assert_eq!(group.health(), Ok(()));
    device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });

    let error = group.propose(Bytes::from_static(b"doubtful")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown(_)), "{error}");
    let error = group.propose(Bytes::from_static(b"late")).await.unwrap_err();
    let ProposeError::Stopped(cause) = error else { panic!("{error}") };
    let journal = root.path().join(DIRECTORY).join(JOURNAL);
    assert!(cause.contains(&*journal.to_string_lossy()), "{cause}");
    assert!(cause.contains("sync failed"), "{cause}");
    assert_eq!(group.health().unwrap_err(), cause);
    tokio::time::timeout(PATIENCE, group.shutdown()).await.unwrap();

    let device = device.crash(1).unwrap();
    let (group, commands) = start_faulty(&device, root.path()).await;
    assert_eq!(commands.all().first().unwrap(), "safe");
    propose(&group, "it goes on").await;
    group.shutdown().await;
}

#[tokio::test]
async fn many_proposals_share_their_syncs() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let (group, _) = start_faulty(&device, root.path()).await;
    let before = device.count(Operation::Sync);
    assert_eq!(propose_many(&group, "x", 1000).await.len(), 1000);
    let syncs = device.count(Operation::Sync) - before;
    assert!(syncs < 500, "{syncs} syncs for 1000 commands");
    group.shutdown().await;
}

/// Fills the disk, proposes, and returns once the disk has refused the journal's write.
async fn propose_on_full_disk(
    root: &Path,
    device: &FaultyDevice,
    group: &ReplicatedState,
) -> tokio::task::JoinHandle<Result<Bytes, ProposeError>> {
    let journal = std::fs::metadata(root.join(DIRECTORY).join(JOURNAL)).unwrap().len();
    device.set_capacity_bytes(Some(journal + 100));
    let writes = device.count(Operation::Write);
    let group = group.clone();
    let proposal = tokio::spawn(async move { group.propose(vec![b'x'; 1000].into()).await });
    while device.count(Operation::Write) == writes {
        tokio::task::yield_now().await;
    }
    proposal
}

/// A full disk must not stop the group for good: the deletes that free space are commands too.
#[tokio::test]
async fn a_full_disk_is_waited_out() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let (group, commands) = start_faulty(&device, root.path()).await;
    propose(&group, "before").await;
    let proposal = propose_on_full_disk(root.path(), &device, &group).await;
    assert_eq!(group.health(), Ok(()));
    device.set_capacity_bytes(None);
    tokio::time::timeout(PATIENCE, proposal).await.unwrap().unwrap().unwrap();
    assert_eq!(commands.all().len(), 2);
    group.shutdown().await;

    let (group, commands) = start_faulty(&device, root.path()).await;
    assert_eq!(commands.all().len(), 2);
    group.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    let (group, _) = start_faulty(&device, root.path()).await;
    propose(&group, "before").await;
    let proposal = propose_on_full_disk(root.path(), &device, &group).await;
    tokio::time::timeout(PATIENCE, group.shutdown()).await.unwrap();
    let error = proposal.await.unwrap().unwrap_err();
    assert!(matches!(error, ProposeError::Unknown(_)), "{error}");

    device.set_capacity_bytes(None);
    let (group, commands) = start_faulty(&device, root.path()).await;
    assert_eq!(commands.all(), ["before"]);
    group.shutdown().await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_fails_and_names_the_file() {
    let root = tempfile::tempdir().unwrap();
    let device = FaultyDevice::new(root.path()).unwrap();
    start_faulty(&device, root.path()).await.0.shutdown().await;
    let journal = root.path().join(DIRECTORY).join(JOURNAL);
    device.set_capacity_bytes(Some(std::fs::metadata(&journal).unwrap().len()));
    let full: Arc<dyn Device> = device.clone();
    let starting = start_on(&full, root.path(), REPLICA);
    let error = tokio::time::timeout(PATIENCE, starting).await.unwrap().err().unwrap();
    assert!(error.to_string().contains(&*journal.to_string_lossy()), "{error}");
}
