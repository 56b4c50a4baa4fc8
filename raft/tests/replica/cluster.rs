//! Nodes of one cluster in one process: each with a disk that can fail, real connections over
//! loopback, and one replica of the same partition.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{BrokerId, PartitionId};
use raft::groups::{GroupId, Groups, GroupsConfig, ReplicaId};
use raft::peers::{Health, PeerAddress, PeerConfig, Peers};
use raft::replica::Replica;
use storage::config::LogConfig;
use storage::data_dir::{DataDir, DataDirConfig, Identity, LogName};
use storage::device::faulty::FaultyDevice;
use storage::log::Log;
use storage::log::entries::LogKind;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::records::NOW;

/// Far more than anything here takes: only a hang runs into it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    nodes: Vec<Node>,
    log_config: LogConfig,
}

struct Node {
    me: ReplicaId,
    root: TempDir,
    device: Arc<FaultyDevice>,
    running: Option<Running>,
}

struct Running {
    data_dir: Arc<DataDir>,
    peers: Peers,
    groups: Groups,
    replica: Arc<dyn Replica>,
}

pub(crate) fn group_id() -> GroupId {
    partition_id(0)
}

pub(crate) fn partition_id(partition: i32) -> GroupId {
    let topic_id = TopicId::new(Uuid::from_u128(2)).unwrap();
    GroupId { topic_id, partition: PartitionId::new(partition) }
}

fn log_name(id: GroupId) -> LogName {
    LogName {
        partition: TopicPartition::new(TopicName::new("t").unwrap(), id.partition),
        topic_id: id.topic_id,
    }
}

impl Cluster {
    /// `count` nodes, with brokers 1, 2, …; none of them runs.
    pub(crate) fn new(count: i32, log_config: LogConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .unwrap();
        let node = |broker: i32| {
            let root = tempfile::tempdir().unwrap();
            let device = FaultyDevice::new(root.path()).unwrap();
            let directory_id = Uuid::from_u128(100 + u128::try_from(broker).unwrap());
            let me = ReplicaId { broker_id: BrokerId::new(broker), directory_id };
            Node { me, root, device, running: None }
        };
        Self { runtime: Some(runtime), nodes: (1..=count).map(node).collect(), log_config }
    }

    /// All of them, running.
    pub(crate) fn started(count: i32) -> Self {
        let mut cluster = Self::new(count, LogConfig::default());
        (0..cluster.nodes.len()).for_each(|node| cluster.start(node));
        cluster
    }

    /// Runs a future to its end, also where the caller is a task of another runtime.
    pub(crate) fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join().unwrap())
    }

    pub(crate) fn device(&self, node: usize) -> &Arc<FaultyDevice> {
        &self.nodes[node].device
    }

    fn open_data_dir(&self, node: usize) -> DataDir {
        let config = DataDirConfig {
            open_files_max: 64,
            tail_cache_bytes_max: 1 << 20,
            page_cache_bytes_max: 64 << 20,
            pending_bytes_max: 1 << 20,
            free_bytes_min: 1,
            producer_expiration: Duration::from_secs(86_400),
        };
        let Node { me, root, device, .. } = &self.nodes[node];
        let identity = || Identity {
            cluster_id: "conformance".to_owned(),
            broker_id: me.broker_id,
            directory_id: me.directory_id,
        };
        let path = root.path().join("data");
        DataDir::open_with_device(device.clone(), &path, config, identity).unwrap()
    }

    fn open_log(&self, data_dir: &DataDir, id: GroupId) -> Arc<Log> {
        data_dir.open_log(&log_name(id), self.log_config.clone(), LogKind::Replicated).unwrap()
    }

    /// Opens the log of another partition on a node: of the kind that it is, or of the one asked for.
    pub(crate) fn log_of(&self, node: usize, id: GroupId, new: LogKind) -> Arc<Log> {
        let data_dir = &self.nodes[node].running.as_ref().unwrap().data_dir;
        let kind = data_dir.log_kind(&log_name(id)).unwrap().unwrap_or(new);
        data_dir.open_log(&log_name(id), self.log_config.clone(), kind).unwrap()
    }

    pub(crate) fn me(&self, node: usize) -> ReplicaId {
        self.nodes[node].me
    }

    /// Opens more groups on every node, each of which prefers another one as its leader; returns
    /// the replicas of each.
    pub(crate) fn open_more(&self, count: i32) -> Vec<[Arc<dyn Replica>; 3]> {
        let open = |partition: i32| {
            let id = partition_id(partition);
            let mut voters: Vec<_> = self.nodes.iter().map(|node| node.me).collect();
            let first = usize::try_from(partition).unwrap() % voters.len();
            voters.rotate_left(first);
            [0, 1, 2].map(|node| {
                let running = self.nodes[node].running.as_ref().unwrap();
                let log = self.open_log(&running.data_dir, id);
                self.block_on(running.groups.open(id, log, voters.clone())).unwrap()
            })
        };
        (1..=count).map(open).collect()
    }

    pub(crate) fn start(&mut self, node: usize) {
        let data_dir = Arc::new(self.open_data_dir(node));
        let log = self.open_log(&data_dir, group_id());
        let voters: Vec<_> = self.nodes.iter().map(|node| node.me).collect();
        let Node { me, root, .. } = &self.nodes[node];
        let directory = root.path().to_owned();
        let watched = Arc::clone(&data_dir);
        let starting = async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let cluster_id = Some("conformance".to_owned());
            let config = PeerConfig { me: *me, cluster_id, secret: None };
            let peers = Peers::start(listener, config).await.unwrap();
            let config = GroupsConfig {
                me: *me,
                peers: peers.clone(),
                device: Arc::clone(watched.device()),
                directory,
                clock: Arc::new(|| NOW),
            };
            let groups = Groups::start(config).await.unwrap();
            tokio::spawn(watch_health(peers.clone(), groups.clone()));
            let looked = Arc::downgrade(&watched);
            let look = move || looked.upgrade().map(|it| it.disk_state()).unwrap_or_default();
            tokio::spawn(raft::fitness::watch(look, Some(peers.clone())));
            (peers, groups)
        };
        let (peers, groups) = self.block_on(starting);
        let replica = self.block_on(groups.open(group_id(), log, voters)).unwrap();
        self.nodes[node].running = Some(Running { data_dir, peers, groups, replica });
        self.connect_all();
    }

    /// Closes the replica of a node, opens another partition's empty log in its place, and returns
    /// what is said to that.
    pub(crate) fn reopen_empty(&self, node: usize) -> Option<String> {
        let running = self.nodes[node].running.as_ref().unwrap();
        let log = self.open_log(&running.data_dir, partition_id(1));
        let voters: Vec<_> = self.nodes.iter().map(|node| node.me).collect();
        self.block_on(async {
            running.groups.close(group_id()).await;
            let opened = running.groups.open(group_id(), log, voters).await;
            opened.err().map(|error| error.to_string())
        })
    }

    /// Cuts all connections between a node and the others.
    pub(crate) fn cut_off(&self, node: usize) {
        for (at, other) in self.nodes.iter().enumerate() {
            let Some(running) = &other.running else { continue };
            let reaches = |to: usize| to != at && at != node && to != node;
            self.block_on(async { running.peers.set_addresses(self.addresses(reaches)) });
        }
    }

    /// Undoes [`Cluster::cut_off`].
    pub(crate) fn connect_all(&self) {
        for running in self.nodes.iter().filter_map(|node| node.running.as_ref()) {
            self.block_on(async { running.peers.set_addresses(self.addresses(|_| true)) });
        }
    }

    fn addresses(&self, reaches: impl Fn(usize) -> bool) -> BTreeMap<BrokerId, PeerAddress> {
        let running = self.running().filter(|node| reaches(*node));
        let address = |node: usize| {
            let port = self.nodes[node].running.as_ref().unwrap().peers.local_port();
            let host = "127.0.0.1".to_owned();
            (self.nodes[node].me.broker_id, PeerAddress { host, port })
        };
        running.map(address).collect()
    }

    /// Whether a node knows that another should not lead.
    pub(crate) fn takes_for_unfit(&self, node: usize, other: usize) -> bool {
        let peers = &self.nodes[node].running.as_ref().unwrap().peers;
        !peers.is_fit(self.broker(other))
    }

    /// The broker of a node.
    pub(crate) fn broker(&self, node: usize) -> BrokerId {
        self.nodes[node].me.broker_id
    }

    pub(crate) fn replica(&self, node: usize) -> Arc<dyn Replica> {
        Arc::clone(&self.nodes[node].running.as_ref().unwrap().replica)
    }

    pub(crate) fn groups(&self, node: usize) -> Groups {
        self.nodes[node].running.as_ref().unwrap().groups.clone()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].running.is_some())
    }

    /// Waits for a leader that takes produces, and returns which node it is.
    pub(crate) fn leader(&self) -> usize {
        wait_for("a leader", || {
            self.running().find(|node| self.replica(*node).leadership().is_local)
        })
    }

    /// The other running ones.
    pub(crate) fn followers(&self) -> Vec<usize> {
        let leader = self.leader();
        self.running().filter(|node| *node != leader).collect()
    }

    /// Waits until all running replicas have committed the same.
    pub(crate) fn settle(&self) {
        wait_for("the same high watermark everywhere", || {
            let leader = self.replica(self.leader()).pointers();
            let same = |node| self.replica(node).pointers().high_watermark == leader.log_end_offset;
            self.running().all(same).then_some(())
        });
    }

    /// Stops a node in order.
    pub(crate) fn stop(&mut self, node: usize) {
        let Running { data_dir, peers, groups, replica } = self.nodes[node].running.take().unwrap();
        drop(replica);
        self.block_on(async {
            groups.shutdown().await;
            peers.shutdown().await;
        });
        data_dir.close().unwrap();
    }

    /// The process of a node dies.
    pub(crate) fn kill(&mut self, node: usize) {
        let device = self.nodes[node].device.kill();
        self.end(node, device);
    }

    /// The machine of a node loses power.
    pub(crate) fn lose_power(&mut self, node: usize, seed: u64) {
        let device = self.nodes[node].device.crash(seed).unwrap();
        self.end(node, device);
    }

    /// Its device is off already: nothing of what follows reaches the disk.
    fn end(&mut self, node: usize, device: Arc<FaultyDevice>) {
        let Running { data_dir, peers, groups, replica } = self.nodes[node].running.take().unwrap();
        drop(replica);
        self.block_on(async {
            peers.shutdown().await;
            groups.shutdown().await;
        });
        drop(data_dir);
        self.nodes[node].device = device;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|node| node.device.release());
        let runtime = self.runtime.take().unwrap();
        for node in &mut self.nodes {
            if let Some(Running { data_dir, peers, groups, replica }) = node.running.take() {
                drop(replica);
                std::thread::scope(|scope| {
                    let stopping = async {
                        groups.shutdown().await;
                        peers.shutdown().await;
                    };
                    scope.spawn(|| runtime.block_on(stopping)).join().unwrap();
                });
                drop(data_dir);
            }
        }
        runtime.shutdown_background();
    }
}

/// What a broker does with what its detector says.
async fn watch_health(peers: Peers, groups: Groups) {
    let mut health = peers.health();
    let mut before: BTreeMap<BrokerId, Health> = BTreeMap::new();
    loop {
        let now = health.borrow_and_update().clone();
        for (broker, state) in now.iter() {
            if before.insert(*broker, *state) != Some(*state) && *state == Health::Down {
                let (groups, broker) = (groups.clone(), *broker);
                tokio::spawn(async move { groups.broker_down(broker).await });
            }
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}

/// Looks again and again until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < until, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
