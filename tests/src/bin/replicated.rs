//! What replication costs: produce and acknowledgement on three nodes with replication factor 3, Apache
//! Kafka and Millpond one after the other, an idle cluster with many partitions, and the restart of a
//! node with as many. Figures, not a test.

use clap::Parser;
use harness::cluster::Cluster;
use harness::deadline::{Deadline, eventually, monotonic_now};
use harness::failover::Brokers;
use harness::failover::kafka::KafkaCluster;
use harness::load::command::Command;
use harness::load::report::{Report, number};
use harness::process::resident_bytes;
use harness::wire::Connection;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

#[derive(Debug, Parser)]
struct Options {
    /// Seconds of each load
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Seconds for which Kafka runs each load before it is measured
    #[arg(long, default_value_t = 30)]
    rehearsal_seconds: u32,
    /// Repeats of each load
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Partitions of the idle cluster; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// Only Millpond
    #[arg(long)]
    without_kafka: bool,
    /// Only rows whose name holds this
    #[arg(long, default_value = "")]
    only: String,
}

/// A row: its name, and the words of its load.
type Row = (&'static str, &'static [&'static str]);

const ROWS: [Row; 4] = [
    ("produce 16 KiB", &["produce", "--batch-bytes", "16384", "--in-flight", "32"]),
    ("produce 64 KiB", &["produce", "--batch-bytes", "65536", "--in-flight", "32"]),
    ("produce 1 MB", &["produce", "--batch-bytes", "1000000", "--in-flight", "8"]),
    ("acks at 1,000 records/s", &["latency", "--rate", "1000"]),
];
const SETTINGS: [(&str, &str); 2] =
    [("min.insync.replicas", "2"), ("retention.bytes", "2000000000")];
/// How long an idle cluster is left alone, and then watched.
const IDLE: Duration = Duration::from_secs(30);

fn main() {
    let options = Options::parse();
    if !options.without_kafka {
        let kafka = KafkaCluster::start();
        loads("Kafka", &kafka.addresses(), options.rehearsal_seconds, &options);
    }
    let mut cluster = Cluster::start(3);
    loads("Millpond", &cluster.kafka_addresses(), 0, &options);
    drop(cluster);
    if options.partitions > 0 && "idle".contains(&options.only) {
        cluster = Cluster::start(3);
        idle(&mut cluster, options.partitions);
    }
}

fn loads(system: &str, addresses: &[SocketAddr], rehearsal_seconds: u32, options: &Options) {
    for (name, words) in ROWS.iter().filter(|(name, _)| name.contains(&options.only)) {
        for repeat in 0..options.repeats {
            let topic = format!("row-{}-{repeat}", name.replace([' ', ',', '/'], "-"));
            Connection::open(addresses[0]).create_topic_with((&topic, 1, 3), &SETTINGS);
            let leader = leader(addresses, &topic);
            if repeat == 0 && rehearsal_seconds > 0 {
                run(words, leader, &topic, rehearsal_seconds);
            }
            let report = run(words, leader, &topic, options.seconds);
            tell(system, name, &report);
            Connection::open(addresses[0]).delete_topic(&topic);
        }
    }
}

fn leader(addresses: &[SocketAddr], topic: &str) -> SocketAddr {
    eventually("the partition has a leader", || {
        addresses.iter().find_map(|address| {
            Connection::try_open(*address).ok()?.try_leader_of(topic, 0).ok().flatten()
        })
    })
}

fn run(words: &[&str], leader: SocketAddr, topic: &str, seconds: u32) -> Report {
    let (bootstrap, seconds) = (leader.to_string(), seconds.to_string());
    let more =
        ["--topic", topic, "--bootstrap", &bootstrap, "--seconds", &seconds, "--warm-up", "2"];
    let words = ["load"].iter().chain(words).chain(&more);
    let command = Command::try_parse_from(words).expect("the words of a row are a load");
    command.run().expect("the load runs to its end")
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn tell(system: &str, name: &str, report: &Report) {
    let machine = report.machine_busy_seconds - report.client_cpu_seconds;
    let by_gigabyte = machine / (number(report.bytes) / 1e9);
    let latency = report.latency_microseconds.unwrap_or_default();
    println!(
        "{system}: {name}: {:.1} MB/s, machine without the client {by_gigabyte:.2} CPU-s/GB, ack p50 {:.2} \
         p99 {:.2} p99.9 {:.2} ms, stolen {:.0} %, errors {:?}",
        report.megabytes_per_second,
        latency.p50 / 1000.0,
        latency.p99 / 1000.0,
        latency.p99_9 / 1000.0,
        report.stolen_share * 100.0,
        report.errors,
    );
}

/// Many partitions that nobody uses, then the restart of one node that has them.
#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn idle(cluster: &mut Cluster, partitions: i32) {
    let addresses = cluster.kafka_addresses();
    let topic = "idle";
    Connection::open(addresses[0]).create_topic_with((topic, partitions, 3), &[]);
    wait_until_in_sync(&addresses, topic);
    thread::park_timeout(IDLE);
    let pids: Vec<_> = (0..addresses.len()).map(|at| cluster.node(at).pid()).collect();
    let before: Vec<_> = pids.iter().map(|pid| cpu_seconds(*pid)).collect();
    let began = monotonic_now();
    thread::park_timeout(IDLE);
    let seconds = began.elapsed().as_secs_f64();
    for (pid, before) in pids.iter().zip(before) {
        let share = (cpu_seconds(*pid) - before) / seconds * 100.0;
        let resident = number(resident_bytes(*pid)) / 1e6;
        println!(
            "Millpond: {partitions} partitions idle: {share:.1} % of a core, {resident:.0} MB"
        );
    }
    for (how, signal) in [("stopped", Signal::TERM), ("killed", Signal::KILL)] {
        cluster.node(0).signal(signal);
        cluster.node_mut(0).wait();
        let began = monotonic_now();
        cluster.restart(0);
        let ready = began.elapsed();
        wait_until_in_sync(&addresses, topic);
        let in_sync = began.elapsed();
        println!(
            "Millpond: a node with {partitions} partitions was {how}: ready after {} ms, all in sync after {} ms",
            ready.as_millis(),
            in_sync.as_millis()
        );
    }
}

fn wait_until_in_sync(addresses: &[SocketAddr], topic: &str) {
    let deadline = Deadline::after(Duration::from_secs(120));
    let in_sync = || {
        addresses.iter().all(|address| {
            let answer = Connection::try_open(*address)
                .and_then(|mut connection| connection.try_describe_topic(topic));
            let topics = answer.map(|answer| answer.topics).unwrap_or_default();
            let mut partitions = topics.iter().flat_map(|topic| &topic.partitions).peekable();
            partitions.peek().is_some()
                && partitions
                    .all(|one| one.error_code == 0 && one.isr_nodes.len() == addresses.len())
        })
    };
    while !in_sync() {
        assert!(!deadline.passed(), "not all replicas came into sync");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> f64 {
    harness::load::usage::process_cpu_seconds(pid).expect("the node runs")
}
