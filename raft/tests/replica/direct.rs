//! The direct replica, over the real log on a disk that can fail.

use std::sync::Arc;
use std::time::Duration;

use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{BrokerId, PartitionId};
use raft::direct::direct;
use raft::replica::Replica;
use storage::config::LogConfig;
use storage::data_dir::{DataDir, DataDirConfig, Identity, LogName};
use storage::device::faulty::{Effect, Fault, FaultyDevice, Operation};
use storage::log::entries::LogKind;
use tempfile::TempDir;
use uuid::Uuid;

use crate::conformance::{Stop, Subject, all_checks};

const BROKER: BrokerId = BrokerId::new(1);

struct Direct {
    root: TempDir,
    device: Arc<FaultyDevice>,
    /// `None` only while it restarts.
    running: Option<(DataDir, Arc<dyn Replica>)>,
}

impl Direct {
    fn open(&mut self) {
        let config = DataDirConfig {
            open_files_max: 64,
            tail_cache_bytes_max: 1 << 20,
            page_cache_bytes_max: 64 << 20,
            pending_bytes_max: 1 << 20,
            free_bytes_min: 0,
            producer_expiration: Duration::from_secs(86_400),
        };
        let identity = || Identity {
            cluster_id: "conformance".to_owned(),
            broker_id: BROKER,
            directory_id: Uuid::from_u128(1),
        };
        let path = self.root.path().join("data");
        let device = self.device.clone();
        let data_dir = DataDir::open_with_device(device, &path, config, identity).unwrap();
        let name = LogName {
            partition: TopicPartition::new(TopicName::new("t").unwrap(), PartitionId::new(0)),
            topic_id: TopicId::new(Uuid::from_u128(2)).unwrap(),
        };
        let log = data_dir.open_log(&name, LogConfig::default(), LogKind::Direct).unwrap();
        self.running = Some((data_dir, direct(log, BROKER)));
    }
}

impl Subject for Direct {
    const KEEPS_EPOCH: bool = true;

    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        let mut subject = Self { root, device, running: None };
        subject.open();
        subject
    }

    fn replica(&self) -> Arc<dyn Replica> {
        Arc::clone(&self.running.as_ref().unwrap().1)
    }

    fn restart(&mut self, stop: Stop) {
        let (data_dir, replica) = self.running.take().unwrap();
        drop(replica);
        match stop {
            Stop::Clean => data_dir.close().unwrap(),
            Stop::Killed => self.device = self.device.kill(),
            Stop::PowerLost { seed } => self.device = self.device.crash(seed).unwrap(),
        }
        // Releases the lock, as the end of the process would.
        drop(data_dir);
        self.open();
    }

    fn fail_next_sync(&self) {
        self.device.inject(Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail });
    }
}

all_checks!(Direct);
