//! The group as its caller sees it, over a real directory.

mod faults;
mod model;
mod nodes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use protocol::types::{BrokerId, LogIndex};
use storage::device::Device;
use storage::device::os::OsDevice;
use storage::error::OpenError;
use uuid::Uuid;

use super::{
    COMMAND_BYTES_MAX, DIRECTORY, ENTRIES_PER_SNAPSHOT, JOURNAL, Parts, ProposeError,
    ReplicatedState, Role, SNAPSHOT, StartError, StateMachine,
};
use crate::types::ReplicaId;

/// Remembers every command in order, and answers with how many there are.
#[derive(Clone, Default)]
pub(super) struct Commands(Arc<Mutex<Vec<Bytes>>>);

impl Commands {
    pub(super) fn all(&self) -> Vec<Bytes> {
        self.0.lock().clone()
    }
}

impl StateMachine for Commands {
    fn apply(&mut self, _index: LogIndex, command: &[u8]) -> Bytes {
        assert_ne!(command, b"panic", "a broken state machine");
        let mut commands = self.0.lock();
        commands.push(Bytes::copy_from_slice(command));
        Bytes::from(commands.len().to_string())
    }

    fn snapshot(&self) -> Bytes {
        self.0.lock().join(&b'\n').into()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        if snapshot.contains(&0) {
            return Err("it holds a zero".to_owned());
        }
        let lines = snapshot.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        *self.0.lock() = lines.map(Bytes::copy_from_slice).collect();
        Ok(())
    }
}

const REPLICA: ReplicaId =
    ReplicaId { broker_id: BrokerId::new(1), directory_id: Uuid::from_u128(5) };

async fn start_on(
    device: &Arc<dyn Device>,
    directory: &Path,
    replica: ReplicaId,
) -> Result<(ReplicatedState, Commands), StartError> {
    let commands = Commands::default();
    let machine = Box::new(commands.clone());
    let directory = directory.join(DIRECTORY);
    let device = Arc::clone(device);
    let parts = Parts { device, directory, replica, peers: None, role: Role::Found };
    let group = ReplicatedState::start_on(parts, machine).await?;
    Ok((group, commands))
}

async fn start(directory: &Path) -> (ReplicatedState, Commands) {
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    start_on(&device, directory, REPLICA).await.unwrap()
}

async fn propose(group: &ReplicatedState, command: impl Into<Bytes>) -> Bytes {
    group.propose(command.into()).await.unwrap()
}

/// What a killed process leaves: every write that returned. The copy is taken while the group runs.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to.join(DIRECTORY)).unwrap();
    // The journal first: a snapshot that is newer than it is legal, one that is older is not.
    for name in [JOURNAL, SNAPSHOT] {
        let source = from.join(DIRECTORY).join(name);
        if source.exists() {
            std::fs::copy(source, to.join(DIRECTORY).join(name)).unwrap();
        }
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the time to lead is measured, not asserted")]
async fn a_restart_replays_everything_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut want = Vec::new();
    for round in 0..4 {
        let begin = tokio::time::Instant::now();
        let (group, commands) = start(directory.path()).await;
        eprintln!("start {round} to leader: {:?}", begin.elapsed());
        assert_eq!(commands.all(), want, "before round {round}");
        for n in 0..3 {
            let command = Bytes::from(format!("{round}/{n}"));
            want.push(command.clone());
            assert_eq!(propose(&group, command).await, want.len().to_string());
        }
        group.shutdown().await;
    }
}

#[tokio::test]
async fn a_leader_that_was_idle_for_long_takes_commands() {
    let directory = tempfile::tempdir().unwrap();
    let (group, _) = start(directory.path()).await;
    assert_eq!(propose(&group, "one").await, "1");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    tokio::time::resume();
    assert_eq!(propose(&group, "two").await, "2");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_proposals_at_once_are_each_applied_once() {
    let directory = tempfile::tempdir().unwrap();
    let (group, commands) = start(directory.path()).await;
    let propose_one = |n: u32| {
        let group = group.clone();
        tokio::spawn(async move { (n, propose(&group, n.to_string()).await) })
    };
    let answers = join_all((0..1000).map(propose_one)).await;
    let applied = commands.all();
    assert_eq!(applied.len(), 1000);
    for answer in answers {
        // The answer is the command's place, counted from one.
        let (n, place) = answer.unwrap();
        let place: usize = std::str::from_utf8(&place).unwrap().parse().unwrap();
        assert_eq!(applied[place - 1], n.to_string());
    }
    group.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_replaces_the_journal_and_a_restart_goes_on_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let (group, applied) = start(directory.path()).await;
    let journal = directory.path().join(DIRECTORY).join(JOURNAL);
    for chunk in 0..=(ENTRIES_PER_SNAPSHOT / 1000) {
        let commands = (0..1000).map(|n| Bytes::from(format!("{chunk}/{n}")));
        let commands = commands.collect::<Vec<_>>();
        join_all(commands.iter().map(|c| propose(&group, c.clone()))).await;
    }
    let purged = group.inner.raft.wait(Some(Duration::from_secs(30)));
    purged.metrics(|m| m.purged.is_some(), "the journal is purged").await.unwrap();
    // A vote waits for what was handed over before it: afterwards the journal is replaced.
    group.inner.journal.save(Vec::new()).await.unwrap();
    assert!(std::fs::metadata(&journal).unwrap().len() < 100_000, "the journal still holds all");
    propose(&group, "after").await;
    group.shutdown().await;

    let (group, commands) = start(directory.path()).await;
    assert!(commands.all() == applied.all(), "{} commands came back", commands.all().len());
    propose(&group, "later").await;
    group.shutdown().await;
}

#[tokio::test]
async fn a_killed_process_keeps_every_answered_command() {
    let directory = tempfile::tempdir().unwrap();
    let (group, commands) = start(directory.path()).await;
    for n in 0..20 {
        propose(&group, format!("answered {n}")).await;
        if n == 10 {
            group.inner.raft.trigger().snapshot().await.unwrap();
        }
        let answered = commands.all();
        let killed = tempfile::tempdir().unwrap();
        copy_files(directory.path(), killed.path());
        let (again, found) = start(killed.path()).await;
        assert_eq!(found.all(), answered, "killed after {n}");
        propose(&again, "it goes on").await;
        again.shutdown().await;
    }
    group.shutdown().await;
}

#[tokio::test]
async fn damage_is_named_with_its_file() {
    let check = async |name: &str, at: usize| {
        let directory = tempfile::tempdir().unwrap();
        let (group, _) = start(directory.path()).await;
        propose(&group, "one").await;
        group.inner.raft.trigger().snapshot().await.unwrap();
        let wait = group.inner.raft.wait(Some(Duration::from_secs(30)));
        wait.metrics(|m| m.purged.is_some(), "there is a snapshot").await.unwrap();
        propose(&group, "two").await;
        propose(&group, "three").await;
        group.shutdown().await;

        let path = directory.path().join(DIRECTORY).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        let device = OsDevice;
        storage::checkpoint::write_atomic(&device, &path, &bytes).unwrap();
        let device: Arc<dyn Device> = Arc::new(device);
        let error = start_on(&device, directory.path(), REPLICA).await.err().unwrap();
        let StartError::Storage(OpenError::Corrupt { path: named, .. }) = &error else {
            panic!("{name} byte {at}: {error}");
        };
        assert_eq!(*named, path);
    };
    check(SNAPSHOT, 3).await;
    check(SNAPSHOT, 40).await;
    check(JOURNAL, 3).await;
    check(JOURNAL, 40).await;
}

#[tokio::test]
async fn a_snapshot_that_the_caller_cannot_read_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (group, _) = start(directory.path()).await;
    propose(&group, b"\0".as_slice()).await;
    group.inner.raft.trigger().snapshot().await.unwrap();
    let wait = group.inner.raft.wait(Some(Duration::from_secs(30)));
    wait.metrics(|m| m.snapshot.is_some(), "there is a snapshot").await.unwrap();
    group.shutdown().await;

    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let error = start_on(&device, directory.path(), REPLICA).await.err().unwrap();
    let StartError::Snapshot { path, reason } = &error else { panic!("{error}") };
    assert_eq!(*path, directory.path().join(DIRECTORY).join(SNAPSHOT));
    assert_eq!(reason, "it holds a zero");
}

#[tokio::test]
async fn a_journal_without_its_snapshot_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (group, _) = start(directory.path()).await;
    propose(&group, "one").await;
    group.inner.raft.trigger().snapshot().await.unwrap();
    let wait = group.inner.raft.wait(Some(Duration::from_secs(30)));
    wait.metrics(|m| m.purged.is_some(), "there is a snapshot").await.unwrap();
    group.shutdown().await;

    std::fs::remove_file(directory.path().join(DIRECTORY).join(SNAPSHOT)).unwrap();
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let error = start_on(&device, directory.path(), REPLICA).await.err().unwrap();
    assert!(matches!(error, StartError::Snapshot { .. }), "{error}");
}

#[tokio::test]
async fn another_disk_is_not_the_voter() {
    let directory = tempfile::tempdir().unwrap();
    start(directory.path()).await.0.shutdown().await;
    let other = ReplicaId { directory_id: Uuid::from_u128(6), ..REPLICA };
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let error = start_on(&device, directory.path(), other).await.err().unwrap();
    assert!(matches!(error, StartError::Raft(_)), "{error}");
    assert!(error.to_string().contains(&REPLICA.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_answers_every_proposal() {
    let directory = tempfile::tempdir().unwrap();
    let (group, commands) = start(directory.path()).await;
    let proposals = (0..200).map(|n| {
        let group = group.clone();
        tokio::spawn(async move { group.propose(Bytes::from(format!("{n}"))).await })
    });
    let proposals = proposals.collect::<Vec<_>>();
    tokio::task::yield_now().await;
    group.shutdown().await;
    let mut answered = 0;
    for proposal in proposals {
        match proposal.await.unwrap() {
            Ok(_) => answered += 1,
            Err(ProposeError::Unknown(_) | ProposeError::Stopped(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let late = group.propose(Bytes::from_static(b"late")).await.unwrap_err();
    assert!(matches!(late, ProposeError::Stopped(_)), "{late}");

    let (group, found) = start(directory.path()).await;
    assert!(found.all().len() >= answered, "{answered} answered");
    assert!(found.all().starts_with(&commands.all()), "the order changed");
    group.shutdown().await;
}

#[tokio::test]
async fn a_panic_of_the_state_machine_stops_the_group_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (group, _) = start(directory.path()).await;
    propose(&group, "fine").await;
    let error = group.propose(Bytes::from_static(b"panic")).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown(_)), "{error}");
    let error = group.propose(Bytes::from_static(b"after")).await.unwrap_err();
    let ProposeError::Stopped(cause) = error else { panic!("{error}") };
    assert!(cause.contains("panicked"), "{cause}");
    assert_eq!(group.health().unwrap_err(), cause);
    group.shutdown().await;
}

#[tokio::test]
async fn a_command_over_the_limit_is_refused_before_it_costs_anything() {
    let directory = tempfile::tempdir().unwrap();
    let (group, commands) = start(directory.path()).await;
    let error = group.propose(vec![b'x'; COMMAND_BYTES_MAX + 1].into()).await.unwrap_err();
    assert!(matches!(error, ProposeError::TooLarge { .. }), "{error}");
    propose(&group, vec![b'x'; COMMAND_BYTES_MAX]).await;
    assert_eq!(commands.all().len(), 1);
    group.shutdown().await;
}

/// openraft's own suite for log stores and state machines.
mod suite {
    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};
    use tempfile::TempDir;

    use super::*;
    use crate::replicated_state::log_store::LogStore;
    use crate::replicated_state::opening::{Files, open_files};
    use crate::replicated_state::state_machine::AppliedState;
    use crate::replicated_state::types::MetadataRaft;

    /// What the suite needs to name nodes.
    impl From<u64> for ReplicaId {
        fn from(node: u64) -> Self {
            let broker_id = BrokerId::new(i32::try_from(node).unwrap());
            Self { broker_id, directory_id: Uuid::nil() }
        }
    }

    struct Builder;

    impl StoreBuilder<MetadataRaft, LogStore, AppliedState, TempDir> for Builder {
        async fn build(
            &self,
        ) -> Result<(TempDir, LogStore, AppliedState), StorageError<MetadataRaft>> {
            let directory = tempfile::tempdir().unwrap();
            let device: Arc<dyn Device> = Arc::new(OsDevice);
            let opened = open_files(&device, &directory.path().join(DIRECTORY)).unwrap();
            let Files { snapshot_file, journal, log, .. } = opened;
            let machine = Box::new(Commands::default());
            let applied = AppliedState::new(machine, None, snapshot_file);
            Ok((directory, LogStore::new(log, journal), applied))
        }
    }

    #[test]
    fn the_log_store_and_the_state_machine_pass() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(Suite::test_all(Builder)).unwrap();
    }
}
