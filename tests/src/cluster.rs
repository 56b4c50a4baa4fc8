//! A cluster of several nodes, each a process of its own on this machine.
//!
//! Every node is told the inter-node addresses of all. Nodes are counted from 0; node `at` has the
//! id `at + 1`.

use crate::calls::topic_name;
use crate::deadline::eventually;
use crate::node::Node;
use crate::proxy::Network;
use crate::wire::Connection;
use kafka_protocol::messages::describe_quorum_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeQuorumRequest, MetadataRequest, MetadataResponse, describe_quorum_request,
};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use uuid::Uuid;

/// A version of Metadata that every broker of the last years answers.
const METADATA: i16 = 12;

/// Some nodes. Ended with the value.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    addresses: Vec<SocketAddr>,
}

impl Cluster {
    /// Starts nodes with empty directories at the same time, and waits until all serve.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// The same with more arguments for each.
    pub fn start_with(count: usize, arguments: &[&str]) -> Self {
        let mut cluster = Self::begin_with(count, arguments);
        cluster.wait_until_ready();
        cluster
    }

    /// The same without waiting.
    pub fn begin_with(count: usize, arguments: &[&str]) -> Self {
        let addresses = free_addresses(count);
        let begin = |at| Node::begin_with(&as_strs(&node_arguments(at, &addresses, arguments)));
        Self { nodes: (0..count).map(begin).collect(), addresses }
    }

    /// Starts nodes that reach each other only through `network`, under their ids.
    pub fn start_on(count: usize, network: &Network) -> Self {
        let addresses = free_addresses(count);
        let ways: Vec<_> =
            (1..).zip(&addresses).map(|(id, address)| network.reach(id, *address)).collect();
        let begin = |at: usize| {
            let listener = format!("--inter-node-listener={}", addresses[at]);
            let advertise = format!("--inter-node-advertise={}", ways[at]);
            let all: Vec<_> = ways.iter().map(ToString::to_string).collect();
            let (id, join) = (format!("--node-id={}", at + 1), format!("--join={}", all.join(",")));
            Node::begin_with(&[&id, &listener, &advertise, &join])
        };
        let mut cluster = Self { nodes: (0..count).map(begin).collect(), addresses };
        cluster.wait_until_ready();
        cluster
    }

    /// Waits until every node serves and knows all the others.
    pub fn wait_until_ready(&mut self) {
        self.nodes.iter_mut().filter(|node| node.runs()).for_each(Node::wait_until_ready);
        self.wait_until_all_are_known();
    }

    /// Waits until each node that runs tells its clients of all those that run.
    pub fn wait_until_all_are_known(&self) {
        let running: Vec<i32> =
            (1..).zip(&self.nodes).filter(|(_, node)| node.runs()).map(|(id, _)| id).collect();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.runs()) {
            eventually(&format!("node {at} tells of {running:?}"), || {
                let mut told: Vec<i32> =
                    metadata(node, None).brokers.iter().map(|broker| broker.node_id.0).collect();
                told.sort_unstable();
                (told == running).then_some(())
            });
        }
    }

    /// Adds a node to the cluster; waits until it serves.
    pub fn add(&mut self, arguments: &[&str]) {
        self.addresses.extend(free_addresses(1));
        let at = self.nodes.len();
        let arguments = node_arguments(at, &self.addresses, arguments);
        self.nodes.push(Node::start_with(&as_strs(&arguments)));
    }

    /// A node.
    pub fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// A node, to be stopped, killed or started again.
    pub fn node_mut(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Where other nodes reach a node.
    pub fn inter_node(&self, at: usize) -> SocketAddr {
        self.addresses[at]
    }

    /// Kafka addresses of all nodes, as clients take them.
    pub fn bootstrap(&self) -> String {
        let all: Vec<_> = self.nodes.iter().map(|node| node.kafka().to_string()).collect();
        all.join(",")
    }

    /// The same by node.
    pub fn kafka_addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::kafka).collect()
    }

    /// A connection to a node.
    pub fn connect(&self, at: usize) -> Connection {
        Connection::open(self.nodes[at].kafka())
    }

    /// Ends a node as a crash of it would.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
    }

    /// Stops a node in order.
    pub fn stop(&mut self, at: usize) {
        assert!(self.nodes[at].stop().success(), "{}", self.nodes[at].log());
    }

    /// Lets a node hang: it does nothing until [`Cluster::resume`].
    pub fn pause(&self, at: usize) {
        self.nodes[at].signal(Signal::STOP);
    }

    /// Lets a paused node go on.
    pub fn resume(&self, at: usize) {
        self.nodes[at].signal(Signal::CONT);
    }

    /// Starts a node again that was killed or stopped; waits until it serves.
    pub fn restart(&mut self, at: usize) {
        self.nodes[at].start_again();
    }

    /// Starts several nodes again at once: one alone may not serve before the others do.
    pub fn restart_all(&mut self, places: &[usize]) {
        thread::scope(|scope| {
            for (at, node) in self.nodes.iter_mut().enumerate() {
                if places.contains(&at) {
                    scope.spawn(move || node.start_again());
                }
            }
        });
    }

    /// What a node tells clients of a topic, or of the cluster alone.
    pub fn metadata(&self, at: usize, topic: Option<&str>) -> MetadataResponse {
        metadata(&self.nodes[at], topic)
    }

    /// Waits until this many nodes vote in the metadata group, and every node that runs knows it: from
    /// then on any minority of them may be lost.
    pub fn wait_for_voters(&self, count: usize) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.runs()) {
            eventually(&format!("node {at} knows {count} voters of the metadata group"), || {
                (metadata_quorum(node).current_voters.len() == count).then_some(())
            });
        }
    }

    /// Who votes in the metadata group, as a node that runs sees it: id and directory.
    pub fn voters(&self) -> BTreeSet<(i32, Uuid)> {
        let node = self.nodes.iter().find(|node| node.runs()).expect("a node runs");
        let voters = metadata_quorum(node).current_voters;
        voters.iter().map(|voter| (voter.replica_id.0, voter.replica_directory_id)).collect()
    }

    /// The node that leads the metadata group, as a node that runs knows it.
    pub fn metadata_leader(&self) -> usize {
        let node = self.nodes.iter().find(|node| node.runs()).expect("a node runs");
        eventually("somebody leads the metadata group", || {
            let id = metadata_quorum(node).leader_id.0;
            let at = usize::try_from(id - 1).ok()?;
            self.nodes.get(at)?.runs().then_some(at)
        })
    }
}

/// What a node tells clients of a topic, or of the cluster alone.
pub fn metadata(node: &Node, topic: Option<&str>) -> MetadataResponse {
    let named = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(topic.into_iter().map(named).collect()))
        .with_allow_auto_topic_creation(false);
    Connection::open(node.kafka()).call(METADATA, &request)
}

/// What a node says of the metadata group.
fn metadata_quorum(node: &Node) -> PartitionData {
    let partition = describe_quorum_request::PartitionData::default().with_partition_index(0);
    let topic = describe_quorum_request::TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![partition]);
    let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
    let answer = Connection::open(node.kafka()).call(2, &request);
    answer.topics.into_iter().flat_map(|topic| topic.partitions).next().expect("one partition")
}

/// Ports that nobody listens on, none of them twice.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind(any).expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound")).collect()
}

/// What a node of a cluster is started with.
pub fn node_arguments(at: usize, addresses: &[SocketAddr], more: &[&str]) -> Vec<String> {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut arguments = vec![format!("--node-id={}", at + 1)];
    arguments.push(format!("--inter-node-listener={}", addresses[at]));
    arguments.push(format!("--join={}", all.join(",")));
    arguments.extend(more.iter().map(ToString::to_string));
    arguments
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
