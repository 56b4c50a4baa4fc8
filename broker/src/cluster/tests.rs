//! The metadata over restarts: what was changed is still there, and the disk matches it.

use std::path::Path;
use std::time::Duration;

use protocol::topic::{TopicId, TopicPartition};
use protocol::types::{BrokerId, PartitionId};
use storage::config::LogConfig;
use storage::data_dir::{DataDirConfig, Identity, LogName};
use storage::log::entries::LogKind;
use tempfile::TempDir;
use uuid::Uuid;

use super::controller::{Layout, SettingChange, TopicSpec};
use super::*;
use crate::settings::Values;

/// A cluster of one over a directory.
struct Node {
    cluster: Cluster,
    partitions: Arc<Partitions>,
    data_dir: Arc<DataDir>,
}

fn open(path: &Path) -> Arc<DataDir> {
    let config = DataDirConfig {
        open_files_max: 64,
        tail_cache_bytes_max: 1 << 20,
        page_cache_bytes_max: 64 << 20,
        pending_bytes_max: 1 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(3600),
    };
    let identity = || Identity {
        cluster_id: "test".to_owned(),
        broker_id: BrokerId::new(1),
        directory_id: Uuid::from_u128(1),
    };
    Arc::new(DataDir::open(path, config, identity).unwrap())
}

impl Node {
    async fn start(path: &Path) -> Self {
        let data_dir = open(path);
        let partitions = Arc::new(Partitions::new(data_dir.clone(), BrokerId::new(1)));
        let listener = Listener {
            name: "PLAINTEXT".to_owned(),
            advertised_host: "localhost".to_owned(),
            advertised_port: 9092,
        };
        let parts = ClusterParts {
            data_dir: data_dir.clone(),
            partitions: partitions.clone(),
            settings: Arc::new(BrokerSettings::new(Values::new()).unwrap()),
            listeners: &[Arc::new(listener)],
            nodes: None,
        };
        let cluster = Cluster::start(parts).await.unwrap();
        Self { cluster, partitions, data_dir }
    }

    async fn stop(self) {
        self.cluster.shutdown().await;
        self.data_dir.close().unwrap();
    }

    async fn create(&self, names: &[&str]) {
        let spec = |name: &&str| {
            let layout = Layout::Counts { partitions: Some(2), replicas: None };
            let overrides = Values::new();
            Ok(TopicSpec { name: TopicName::new(name).unwrap(), layout, overrides })
        };
        let controller = self.cluster.controller();
        let planned = controller.plan_topics(names.iter().map(spec).collect());
        let changed = controller.create_topics(planned).await;
        assert!(changed.items.iter().all(Result::is_ok), "{:?}", changed.items);
        self.cluster.reconciled(changed.index).await.unwrap();
    }

    async fn delete(&self, name: &str) -> TopicId {
        let id = self.cluster.image().topics[name].id;
        let changed = self.cluster.controller().delete_topics(vec![Ok(id)]).await;
        changed.items.into_iter().next().unwrap().unwrap();
        self.cluster.reconciled(changed.index).await.unwrap();
        id
    }

    fn local(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.partitions.online().iter().map(|open| open.name.partition.to_string()).collect();
        names.sort();
        names
    }
}

/// Names of directories that `suffix` ends.
fn directories(path: &Path, suffix: &str) -> usize {
    let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(suffix)).count()
}

#[tokio::test]
async fn everything_that_was_changed_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(directory.path()).await;
    node.create(&["a", "b", "c"]).await;
    node.delete("b").await;
    let name = TopicName::new("a").unwrap();
    let change = SettingChange::Replace(Values::from([("flush.ms".into(), "5".into())]));
    node.cluster.controller().alter_topic(&name, &change, true).await.unwrap();
    let first = node.cluster.next_producer_id().await.unwrap();
    let before = node.cluster.image();
    let local = node.local();
    assert_eq!(local, ["a-0", "a-1", "c-0", "c-1"]);
    node.stop().await;

    let node = Node::start(directory.path()).await;
    let after = node.cluster.image();
    assert_eq!(after.topics, before.topics);
    assert_eq!(after.features, before.features);
    assert_eq!(after.topics["a"].overrides["flush.ms"], "5");
    assert_eq!(node.local(), local);
    assert!(node.cluster.next_producer_id().await.unwrap() > first);
    node.stop().await;
}

#[tokio::test]
async fn a_topic_of_the_same_name_is_another_topic() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(directory.path()).await;
    node.create(&["t"]).await;
    let old = node.delete("t").await;
    node.create(&["t"]).await;
    assert_ne!(node.cluster.image().topics["t"].id, old);
    assert_eq!(node.local(), ["t-0", "t-1"]);
    assert!(node.partitions.get(old, PartitionId::new(0)).is_err());
    node.stop().await;
}

#[tokio::test]
async fn logs_that_the_metadata_does_not_know_are_deleted_only_if_their_topic_was() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(directory.path()).await;
    node.create(&["t"]).await;
    let deleted = node.delete("t").await;
    node.stop().await;

    // As after a crash between the deletion's commit and its files; and a log from elsewhere.
    let data_dir = open(directory.path());
    for (topic, id) in [("t", deleted), ("foreign", TopicId::new(Uuid::from_u128(9)).unwrap())] {
        let partition = PartitionId::new(0);
        let partition = TopicPartition::new(TopicName::new(topic).unwrap(), partition);
        let name = LogName { partition, topic_id: id };
        drop(data_dir.open_log(&name, LogConfig::default(), LogKind::Direct).unwrap());
    }
    data_dir.close().unwrap();

    let node = Node::start(directory.path()).await;
    assert!(node.local().is_empty());
    assert!(!directory.path().join("t-0").exists());
    assert!(!directory.path().join("foreign-0").exists());
    assert_eq!(directories(directory.path(), "-stray"), 1);
    // The name is free again.
    node.create(&["foreign"]).await;
    assert_eq!(node.local(), ["foreign-0", "foreign-1"]);
    node.stop().await;
}

#[tokio::test]
async fn many_changes_of_one_topic_at_once_all_take_effect() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(directory.path()).await;
    node.create(&["t"]).await;
    let name = TopicName::new("t").unwrap();
    let keys = ["flush.ms", "retention.ms", "segment.ms", "max.message.bytes", "retention.bytes"];
    let changes = keys.map(|key| {
        let set = controller::SettingOperation::Set("77".to_owned());
        SettingChange::Each(vec![(key.to_owned(), set)])
    });
    let controller = node.cluster.controller();
    let (a, b, c, d, e) = tokio::join!(
        controller.alter_topic(&name, &changes[0], true),
        controller.alter_topic(&name, &changes[1], true),
        controller.alter_topic(&name, &changes[2], true),
        controller.alter_topic(&name, &changes[3], true),
        controller.alter_topic(&name, &changes[4], true),
    );
    for answer in [a, b, c, d, e] {
        answer.unwrap();
    }
    assert_eq!(node.cluster.image().topics["t"].overrides.len(), keys.len());
    node.stop().await;
}
