//! The group as its caller sees it, over a real directory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::types::{BrokerId, LogIndex};
use storage::device::Device;
use storage::device::os::OsDevice;
use storage::error::OpenError;
use uuid::Uuid;

use super::types::ReplicaId;
use super::{DIRECTORY, ENTRIES_PER_SNAPSHOT, JOURNAL, ProposeError, ReplicatedState, SNAPSHOT};
use super::{StartError, StateMachine};

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
    let group = ReplicatedState::start_on(Arc::clone(device), directory, replica, machine).await?;
    Ok((group, commands))
}

async fn start(directory: &Path) -> (ReplicatedState, Commands) {
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    start_on(&device, directory, REPLICA).await.unwrap()
}

async fn propose(group: &ReplicatedState, command: impl Into<Bytes>) -> Bytes {
    group.propose(command.into()).await.unwrap()
}

#[tokio::test]
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
