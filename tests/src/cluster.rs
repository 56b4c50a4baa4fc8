//! Several brokers that form one cluster: each a process of its own, all on this machine.

use crate::deadline::eventually;
use crate::node::Node;
use crate::target::free_port;
use crate::wire::Connection;
use kafka_protocol::messages::MetadataRequest;
use std::net::SocketAddr;
use std::thread;

/// Newest version of Metadata that the crate's messages know.
const METADATA: i16 = 12;

/// The nodes of a cluster; each has the id of its place plus one.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts so many nodes at once, which name each other, and waits until each of them knows all.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// The same with more arguments for all of them.
    pub fn start_with(count: usize, arguments: &[&str]) -> Self {
        let peers: Vec<String> = (0..count).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let join = peers.join(",");
        let starts = (1..).zip(&peers).map(|(id, peer)| {
            let own = ["--node-id", &id.to_string(), "--inter-node", peer, "--join", &join]
                .map(str::to_owned);
            let given = arguments.iter().map(|word| (*word).to_owned());
            let words: Vec<String> = own.into_iter().chain(given).collect();
            thread::spawn(move || {
                Node::start_with(&words.iter().map(String::as_str).collect::<Vec<_>>())
            })
        });
        let starts: Vec<_> = starts.collect();
        let nodes = starts.into_iter().map(|start| start.join().expect("the node starts"));
        let cluster = Self { nodes: nodes.collect() };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every node says that all of them are alive.
    pub fn wait_until_whole(&self) {
        for node in &self.nodes {
            eventually("each node knows all", || {
                let mut connection = Connection::try_open(node.kafka()).ok()?;
                let request = MetadataRequest::default().with_topics(Some(Vec::new()));
                let answer = connection.try_call(METADATA, &request).ok()?;
                (answer.brokers.len() == self.nodes.len()).then_some(())
            });
        }
    }

    /// Where clients reach the nodes, by their places.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::kafka).collect()
    }

    /// One of the nodes.
    pub fn node(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }

    /// Starts several nodes that are down at once: one alone may not be ready before the others.
    pub fn start_again(&mut self, places: &[usize]) {
        thread::scope(|scope| {
            for (at, node) in self.nodes.iter_mut().enumerate() {
                if places.contains(&at) {
                    scope.spawn(move || node.start_again());
                }
            }
        });
    }
}
