//! Faults under load on three nodes: three families of clients produce with idempotence, readers
//! follow every leader, nodes are killed, stopped and frozen, the network between them is cut and slow,
//! and in the end the checker of histories has the word.

use harness::cluster::Cluster;
use harness::deadline::eventually;
use harness::history::Partition;
use harness::proxy::{BrokerId, Network, Way};
use harness::recorded::{Family, Load, Readers, Recorded, contents};
use harness::target::unique_topic;
use harness::wire::Connection;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Repeats a run: the seed that it printed.
const SEED: &str = "MILLPOND_TEST_SEED";
/// How many faults there are, if not the default.
const FAULTS: &str = "MILLPOND_TEST_FAULTS";
const FAULTS_DEFAULT: u32 = 20;

const NODES: usize = 3;
const PARTITIONS: Partition = 3;
const FAMILIES: [Family; 3] = [Family::Librdkafka, Family::FranzGo, Family::Java];

/// What happens to the cluster. After each of them it is whole again.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// `kill -9` of one node.
    Kill(usize),
    /// `kill -9` of whoever leads this partition, and then of its next leader once that one is back.
    KillLeaders(Partition),
    /// `kill -9` of two nodes.
    KillMajority(usize),
    /// `kill -9` of all nodes at once.
    KillAll,
    /// A clean stop of one node.
    Stop(usize),
    /// SIGSTOP for so many milliseconds, then SIGCONT.
    Freeze(usize, u64),
    /// Nothing between one node and the others arrives for so many milliseconds.
    Isolate(usize, u64),
    /// The same for whoever leads this partition.
    IsolateLeader(Partition, u64),
    /// Nothing that one node sends to another arrives for so many milliseconds; the other way is open.
    Deafen(usize, usize, u64),
    /// Everything between the nodes takes so many milliseconds longer, for so many.
    Slow(u64, u64),
}

impl Fault {
    fn any(random: &mut StdRng) -> Self {
        let node = random.random_range(0..NODES);
        let all = [
            Self::Kill(node),
            Self::KillLeaders(random.random_range(0..PARTITIONS)),
            Self::KillMajority(node),
            Self::KillAll,
            Self::Stop(node),
            Self::Freeze(node, random.random_range(100..4000)),
            Self::Isolate(node, random.random_range(100..5000)),
            Self::IsolateLeader(random.random_range(0..PARTITIONS), random.random_range(100..5000)),
            Self::Deafen(
                node,
                (node + random.random_range(1..NODES)) % NODES,
                random.random_range(100..5000),
            ),
            Self::Slow(random.random_range(1..100), random.random_range(100..3000)),
        ];
        *all.choose(random).expect("not empty")
    }

    fn happen(self, cluster: &mut Cluster, network: &Network, topic: &str, recorded: &Recorded) {
        match self {
            Self::Kill(at) => {
                cluster.kill(at);
                recorded.wait_for_acks(100);
                cluster.restart(at);
            }
            Self::KillLeaders(partition) => {
                for _ in 0..2 {
                    let leader = leader(cluster, topic, partition);
                    cluster.kill(leader);
                    recorded.wait_for_acks(100);
                    cluster.restart(leader);
                }
            }
            Self::KillMajority(first) => {
                let second = (first + 1) % NODES;
                cluster.kill(first);
                cluster.kill(second);
                cluster.restart_all(&[first, second]);
            }
            Self::KillAll => {
                (0..NODES).for_each(|at| cluster.kill(at));
                cluster.restart_all(&[0, 1, 2]);
            }
            Self::Stop(at) => {
                cluster.stop(at);
                recorded.wait_for_acks(100);
                cluster.restart(at);
            }
            Self::Freeze(at, milliseconds) => {
                cluster.pause(at);
                thread::park_timeout(Duration::from_millis(milliseconds));
                cluster.resume(at);
            }
            Self::Isolate(at, milliseconds) => isolate(network, at, milliseconds),
            Self::IsolateLeader(partition, milliseconds) => {
                isolate(network, leader(cluster, topic, partition), milliseconds);
            }
            Self::Deafen(from, to, milliseconds) => {
                network.set(id(from), id(to), Way::Cut);
                thread::park_timeout(Duration::from_millis(milliseconds));
                network.heal();
            }
            Self::Slow(delay, milliseconds) => {
                for (from, to) in directions() {
                    network.set(from, to, Way::Slow(Duration::from_millis(delay)));
                }
                thread::park_timeout(Duration::from_millis(milliseconds));
                network.heal();
            }
        }
    }
}

/// The broker's id of a node.
fn id(at: usize) -> BrokerId {
    BrokerId::try_from(at + 1).expect("few nodes")
}

fn directions() -> impl Iterator<Item = (BrokerId, BrokerId)> {
    let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to).map(|(from, to)| (id(from), id(to)))
}

fn isolate(network: &Network, at: usize, milliseconds: u64) {
    for (from, to) in directions().filter(|(from, to)| [*from, *to].contains(&id(at))) {
        network.set(from, to, Way::Cut);
    }
    thread::park_timeout(Duration::from_millis(milliseconds));
    network.heal();
}

fn leader(cluster: &Cluster, topic: &str, partition: Partition) -> usize {
    let addresses = cluster.kafka_addresses();
    let leader =
        eventually("the partition has a leader", || leader_at(&addresses, topic, partition));
    addresses.iter().position(|address| *address == leader).expect("one of the nodes leads")
}

fn leader_at(addresses: &[SocketAddr], topic: &str, partition: Partition) -> Option<SocketAddr> {
    addresses.iter().find_map(|address| {
        Connection::try_open(*address).ok()?.try_leader_of(topic, partition).ok().flatten()
    })
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
#[expect(clippy::print_stdout, reason = "a failed run must tell its seed and its faults")]
fn nothing_acknowledged_is_lost_by_faults_of_nodes() {
    let seed = setting(SEED).unwrap_or_else(rand::random::<u64>);
    let faults = setting(FAULTS).unwrap_or(FAULTS_DEFAULT);
    println!("{SEED}={seed} {FAULTS}={faults}");
    let mut random = StdRng::seed_from_u64(seed);

    let network = Network::default();
    let mut cluster = Cluster::start_on(NODES, &network);
    let (addresses, topic) = (cluster.kafka_addresses(), unique_topic("cluster-crash"));
    let bootstrap = cluster.bootstrap();
    let settings = [("segment.bytes", "1048576"), ("min.insync.replicas", "2")];
    Connection::open(addresses[0]).create_topic_with((&topic, PARTITIONS, 3), &settings);

    let recorded = Arc::new(Recorded::default());
    let of = (topic.as_str(), PARTITIONS);
    let loads: Vec<_> = (0..)
        .zip(FAMILIES)
        .map(|(client, family)| Load::start(family, &bootstrap, of, client, &recorded))
        .collect();
    let readers = Readers::start(&addresses, of, &recorded);
    let clients = u32::try_from(FAMILIES.len()).expect("few families");
    recorded.wait_for_all(clients, PARTITIONS);

    for number in 0..faults {
        let fault = Fault::any(&mut random);
        println!("fault {number}: {fault:?}");
        fault.happen(&mut cluster, &network, &topic, &recorded);
        recorded.wait_for_all(clients, PARTITIONS);
    }
    for load in loads {
        load.end();
    }
    readers.stop();
    let log = contents(&addresses, of);
    let history = recorded.lock();
    println!("{} records acknowledged through {faults} faults", history.acked_count());
    history.assert_kept(&log);
}
