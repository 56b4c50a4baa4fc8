//! Three brokers in this process that share partitions: real replicas in real Raft groups, over real
//! sockets. Only the metadata is each broker's own; the same changes are made to all of them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::messages as m;
use protocol::response::Response;
use protocol::topic::TopicName;
use protocol::types::BrokerId;
use raft::peers::{PeerAddress, PeerConfig, Peers};
use raft::types::ReplicaId;
use storage::device::faulty::FaultyDevice;

use crate::cluster::controller::{Layout, TopicSpec};
use crate::cluster::image::{BrokerImage, Endpoint, NodeImage};
use crate::leaders::follow;
use crate::reply::Reply;
use crate::settings::Values;
use crate::test_node::{TestNode, produce_request};

/// Far more than anything here takes: only a hang runs into it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Brokers 1 to 3, by their place.
pub(crate) struct TestCluster {
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) disks: Vec<Arc<FaultyDevice>>,
    peers: Vec<Peers>,
}

impl TestCluster {
    pub(crate) async fn new() -> Self {
        let mut cluster = Self { nodes: Vec::new(), disks: Vec::new(), peers: Vec::new() };
        for id in 1..=3 {
            let directory_id = TestNode::directory_id(id);
            let me = ReplicaId { broker_id: BrokerId::new(id), directory_id };
            let config = PeerConfig { me, cluster_id: Some("test".to_owned()), secret: None };
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            cluster.peers.push(Peers::start(listener, config).await.unwrap());
        }
        let address = |peers: &Peers| {
            let address = PeerAddress { host: "127.0.0.1".to_owned(), port: peers.local_port() };
            (peers.me().broker_id, address)
        };
        let addresses: BTreeMap<_, _> = cluster.peers.iter().map(address).collect();
        for (id, peers) in (1..=3).zip(&cluster.peers) {
            peers.set_addresses(addresses.clone());
            let (node, disk) = TestNode::member(id, peers.clone()).await;
            cluster.disks.push(disk);
            let data_dir = Arc::downgrade(&node.data_dir);
            let look = move || data_dir.upgrade().map(|it| it.disk_state()).unwrap_or_default();
            tokio::spawn(raft::fitness::watch(look, Some(peers.clone())));
            for other in 1..=3 {
                register(&node, other, addresses[&BrokerId::new(other)].port).await;
            }
            let (broker, images) = (node.broker.clone(), node.broker.cluster.images());
            tokio::spawn(broker.gossip.clone().unwrap().run(images));
            tokio::spawn(follow::run(broker));
            cluster.nodes.push(node);
        }
        cluster
    }

    /// Makes a topic on all of them.
    pub(crate) async fn assign(&self, topic: &str, partitions: &[&[i32]]) {
        let ids = |brokers: &&[i32]| brokers.iter().map(|id| BrokerId::new(*id)).collect();
        let spec = TopicSpec {
            name: TopicName::new(topic).unwrap(),
            layout: Layout::Assigned(partitions.iter().map(ids).collect()),
            overrides: Values::new(),
        };
        let planned = self.nodes[0].broker.cluster.controller().plan_topics(vec![Ok(spec)]);
        let made = self.nodes.iter().map(async |node| {
            let cluster = &node.broker.cluster;
            let changed = cluster.controller().create_topics(planned.clone()).await;
            assert!(changed.items[0].is_ok(), "{:?}", changed.items);
            cluster.reconciled(changed.index).await.unwrap();
        });
        join_all(made).await;
    }

    /// Cuts a broker off from the others for good, in the midst of whatever it does.
    pub(crate) async fn cut_off(&self, place: usize) {
        self.peers[place].shutdown().await;
    }

    /// The leader of a partition as the broker at `place` tells it in its metadata.
    pub(crate) fn leader(&self, place: usize, topic: &str, partition: usize) -> Option<i32> {
        let broker = &self.nodes[place].broker;
        let image = broker.cluster.image();
        let topic = &image.topics[topic];
        let standing = broker.leaders.standing(topic.id, &topic.partitions[partition]);
        standing.leader.map(BrokerId::get)
    }

    /// Waits until these brokers all name the same leader of a partition, and returns its place.
    pub(crate) async fn agreed(&self, places: &[usize], topic: &str, partition: usize) -> usize {
        let named = || {
            let mut named = places.iter().map(|place| self.leader(*place, topic, partition));
            let first = named.next().flatten()?;
            named.all(|other| other == Some(first)).then_some(first)
        };
        let leader = eventually(|| named().filter(|it| places.contains(&place_of(*it)))).await;
        place_of(leader)
    }

    /// Produces as a client does: to whom the broker at `place` names, again until it is taken. Where
    /// the batch stands, and who took it.
    pub(crate) async fn produce(&self, place: usize, topic: &str, batch: &Bytes) -> (i64, usize) {
        let producing = async {
            let mut to = place;
            loop {
                let request = produce_request(-1, &[(topic, 0, Some(batch.clone()))]);
                let request = request.with_timeout_ms(2_000);
                let reply = self.nodes[to].produce_request(10, request).await;
                let Reply::Message(Response::Produce(response)) = reply else { panic!() };
                let told = &response.responses[0].partition_responses[0];
                match told.error_code {
                    0 => return (told.base_offset, to),
                    // Not the leader, timed out, too few in sync, no disk: a client tries again, and
                    // elsewhere.
                    6 | 7 | 19 | 56 => {
                        let hint = Some(told.current_leader.leader_id.0).filter(|id| *id > 0);
                        to = hint.map_or((to + 1) % 3, place_of);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    code => panic!("{code}: {told:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, producing).await.unwrap()
    }
}

/// Waits until there is something.
pub(crate) async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

fn place_of(id: i32) -> usize {
    usize::try_from(id - 1).unwrap()
}

async fn register(node: &TestNode, id: i32, port: u16) {
    let host = format!("host-{id}");
    let endpoint = Endpoint { listener: "PLAINTEXT".to_owned(), host: host.clone(), port: 9092 };
    let directory_id = TestNode::directory_id(id);
    let node_image = Some(NodeImage { directory_id, host, port });
    let image = BrokerImage { endpoints: vec![endpoint], rack: None, node: node_image };
    node.broker.cluster.controller().register(BrokerId::new(id), image).await.unwrap();
}

#[cfg(test)]
mod tests;
