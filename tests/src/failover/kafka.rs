//! Three nodes of Apache Kafka on this machine, each broker and controller, with its own defaults.

use crate::calls::topic_name;
use crate::compare::kafka::java;
use crate::deadline::eventually;
use crate::failover::{Brokers, Fault};
use crate::target::free_port;
use crate::wire::Connection;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Any id in the form that Kafka wants.
const CLUSTER_ID: &str = "bWlsbHBvbmQtY29tcGFyZQ";
const NODES: usize = 3;
/// So that three fit on one machine beside a client.
const HEAP: &[&str] = &["-Xmx768m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"];

/// The nodes; they end with this value.
#[derive(Debug)]
pub struct KafkaCluster {
    dir: TempDir,
    addresses: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
}

impl KafkaCluster {
    /// Formats and starts three nodes, and waits until each knows all.
    pub fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses: Vec<_> = (0..NODES).map(|_| local(free_port())).collect();
        let controllers: Vec<_> = (0..NODES).map(|_| local(free_port())).collect();
        let voters: Vec<_> = (1..).zip(&controllers).map(|(id, at)| format!("{id}@{at}")).collect();
        let mut cluster = Self { dir, addresses, children: Vec::new() };
        for (at, controller) in controllers.iter().enumerate() {
            cluster.format(at, *controller, &voters.join(","));
            cluster.children.push(None);
            cluster.bring_back(at);
        }
        cluster.wait_until_whole();
        cluster
    }

    fn properties(&self, at: usize) -> PathBuf {
        self.dir.path().join(format!("node{at}.properties"))
    }

    fn format(&self, at: usize, controller: SocketAddr, voters: &str) {
        let (id, address) = (at + 1, self.addresses[at]);
        let data = self.dir.path().join(format!("data{at}"));
        let text = format!(
            "process.roles=broker,controller\nnode.id={id}\n\
             controller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\n",
            data.display()
        );
        let file = File::create(self.properties(at));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a writable directory");
        let mut command = java(&[], "kafka.tools.StorageTool").expect("Kafka's jars");
        command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.properties(at));
        let status = command.stdout(Stdio::null()).status().expect("Java runs");
        assert!(status.success(), "Kafka formats its storage");
    }

    fn wait_until_whole(&self) {
        for address in &self.addresses {
            eventually("each node of Kafka knows all", || {
                let mut connection = Connection::try_open(*address).ok()?;
                let topic = MetadataRequestTopic::default().with_name(Some(topic_name("none")));
                let request = MetadataRequest::default()
                    .with_topics(Some(vec![topic]))
                    .with_allow_auto_topic_creation(false);
                let answer = connection.try_call(12, &request).ok()?;
                (answer.brokers.len() == NODES).then_some(())
            });
        }
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.children[at].as_ref().expect("the node runs");
        let pid = i32::try_from(child.id()).expect("process ids are small");
        kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("the process is ours");
    }
}

impl Brokers for KafkaCluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    fn strike(&mut self, at: usize, fault: Fault) {
        self.signal(at, fault.signal());
        if fault != Fault::Freeze
            && let Some(mut child) = self.children[at].take()
        {
            // A stop goes on while the producer is watched; the next start waits for its end.
            std::thread::spawn(move || drop(child.wait()));
        }
    }

    fn thaw(&mut self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    fn bring_back(&mut self, at: usize) {
        eventually("the port is free again", || {
            std::net::TcpListener::bind(self.addresses[at]).ok()
        });
        let mut command: Command = java(HEAP, "kafka.Kafka").expect("Kafka's jars");
        command.arg(self.properties(at)).stdout(Stdio::null()).stderr(Stdio::null());
        self.children[at] = Some(command.spawn().expect("Java runs"));
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
