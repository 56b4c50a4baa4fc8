//! The broker that a test of wire behaviour talks to: a node of its own, or the one that
//! `MILLPOND_TEST_BOOTSTRAP` names, which is how each such test is proven against Apache Kafka.

use crate::node::Node;
use crate::wire::Connection;
use std::env;
use std::net::{SocketAddr, TcpListener};
use uuid::Uuid;

/// Names a broker that runs already, for the tests that can be pointed at any.
const BOOTSTRAP: &str = "MILLPOND_TEST_BOOTSTRAP";

/// A broker to talk to, ours or another.
#[derive(Debug)]
pub enum Target {
    /// A node started for this test.
    Own(Box<Node>),
    /// A broker that somebody else started; it may hold other topics.
    Other(SocketAddr),
}

impl Target {
    /// The other broker if one is named, else a node of our own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments for a node of our own; the other has been started with what it
    /// needs.
    pub fn start_with(arguments: &[&str]) -> Self {
        match env::var(BOOTSTRAP) {
            Ok(address) => Self::Other(address.parse().expect("HOST:PORT with a numeric host")),
            Err(_) => Self::Own(Box::new(Node::start_with(arguments))),
        }
    }

    /// Address of the Kafka port.
    pub fn kafka(&self) -> SocketAddr {
        match self {
            Self::Own(node) => node.kafka(),
            Self::Other(address) => *address,
        }
    }

    /// Whether it is ours: for the few assertions on what Kafka leaves open.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.kafka())
    }
}

/// A port that nobody listens on, for programs that must be told one.
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("bound").port()
}

/// A topic name that no other test uses.
pub fn unique_topic(theme: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{theme}-{}", &id[..8])
}
