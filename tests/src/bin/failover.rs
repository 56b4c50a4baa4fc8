//! How long a producer stands still when the leader of its partition is killed, stopped or frozen:
//! Apache Kafka and Millpond, three nodes each, one after the other. Figures, not a test.

use clap::Parser;
use harness::cluster::Cluster;
use harness::failover::kafka::KafkaCluster;
use harness::failover::{Brokers, Fault, gaps};
use harness::wire::Connection;
use rustix::process::Signal;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// How often each fault happens to each system.
#[derive(Debug, Parser)]
struct Options {
    /// SIGKILL of Millpond's leader
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// SIGTERM of Millpond's leader
    #[arg(long, default_value_t = 10)]
    stops: u32,
    /// SIGSTOP of Millpond's leader
    #[arg(long, default_value_t = 5)]
    freezes: u32,
    /// Each fault of Kafka's leader; 0 leaves Kafka out
    #[arg(long, default_value_t = 3)]
    kafka_count: u32,
    /// Settings of librdkafka for all, as name=value; repeats
    #[arg(long)]
    client: Vec<String>,
}

const TOPIC: &str = "failover";

/// Without it librdkafka waits a minute for a frozen broker; given to both systems alike.
const FROZEN_CLIENT: &str = "socket.timeout.ms=1000";

/// Millpond's nodes.
struct Millpond(Cluster);

impl Brokers for Millpond {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.kafka_addresses()
    }

    fn strike(&mut self, at: usize, fault: Fault) {
        self.0.node(at).signal(fault.signal());
    }

    fn thaw(&mut self, at: usize) {
        self.0.node(at).signal(Signal::CONT);
    }

    fn bring_back(&mut self, at: usize) {
        self.0.node_mut(at).wait();
        self.0.restart(at);
    }
}

fn main() {
    let options = Options::parse();
    if options.kafka_count > 0 {
        let count = options.kafka_count;
        measure("Kafka", &mut KafkaCluster::start(), [count; 3], &options.client);
    }
    let counts = [options.kills, options.stops, options.freezes];
    measure("Millpond", &mut Millpond(Cluster::start(3)), counts, &options.client);
}

fn measure(system: &str, brokers: &mut impl Brokers, counts: [u32; 3], client: &[String]) {
    let mut connection = Connection::open(brokers.addresses()[0]);
    let settings = [("min.insync.replicas", "2")];
    connection.create_topic_with((TOPIC, 1, 3), &settings);
    for (fault, count) in [Fault::Kill, Fault::Stop, Fault::Freeze].into_iter().zip(counts) {
        if count == 0 {
            continue;
        }
        let mut client: Vec<&str> = client.iter().map(String::as_str).collect();
        if fault == Fault::Freeze {
            client.push(FROZEN_CLIENT);
        }
        let mut gaps = gaps(brokers, TOPIC, (fault, count), &client);
        gaps.sort_unstable();
        tell(system, fault, &gaps);
    }
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn tell(system: &str, fault: Fault, gaps: &[Duration]) {
    let mut all = String::new();
    for gap in gaps {
        write!(all, " {}", gap.as_millis()).expect("a String takes all");
    }
    let median = gaps[gaps.len() / 2].as_millis();
    let longest = gaps.last().map_or(0, Duration::as_millis);
    println!(
        "{system}: {fault:?} of the leader, {} times, ms without an acknowledgement: p50 {median}, longest {longest};{all}",
        gaps.len()
    );
}
