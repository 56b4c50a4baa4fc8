//! The metadata group in a data directory, as a broker starts and stops it.

use std::array::TryFromSliceError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::types::{BrokerId, LogIndex};
use raft::replicated_state::{GroupStart, ReplicatedState, Role, StateMachine};
use storage::data_dir::{DataDir, DataDirConfig, Identity};
use uuid::Uuid;

const BROKER: BrokerId = BrokerId::new(3);

/// Counts commands.
struct Count(u64);

impl StateMachine for Count {
    fn apply(&mut self, _index: LogIndex, _command: &[u8]) -> Bytes {
        self.0 += 1;
        self.snapshot()
    }

    fn snapshot(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let bytes = snapshot
            .try_into()
            .map_err(|error: TryFromSliceError| format!("{error}: not eight bytes"))?;
        self.0 = u64::from_be_bytes(bytes);
        Ok(())
    }
}

fn open(path: &Path) -> Result<DataDir, storage::error::OpenError> {
    let config = DataDirConfig {
        open_files_max: 16,
        tail_cache_bytes_max: 1 << 20,
        page_cache_bytes_max: 64 << 20,
        pending_bytes_max: 1 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(86_400),
    };
    DataDir::open(path, config, || Identity {
        cluster_id: "test".to_owned(),
        broker_id: BROKER,
        directory_id: Uuid::from_u128(9),
    })
}

#[tokio::test]
async fn it_lives_in_the_data_directory_beside_the_partitions() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    for life in 1..=3_u64 {
        let data_dir = Arc::new(open(&path).unwrap());
        let parts = GroupStart {
            data_dir: Arc::clone(&data_dir),
            broker_id: BROKER,
            peers: None,
            role: Role::Found,
        };
        let group = ReplicatedState::start(parts, Count(0)).await.unwrap();
        let answer = group.propose(Bytes::from_static(b"count")).await.unwrap();
        assert_eq!(answer, life.to_be_bytes().as_slice());
        assert_eq!(data_dir.list().unwrap(), [], "the group's folder is no partition");
        assert!(data_dir.was_clean());
        group.shutdown().await;
        // Nothing of the group holds the directory any more, so its lock can be released.
        Arc::try_unwrap(data_dir).unwrap().close().unwrap();
    }
}
