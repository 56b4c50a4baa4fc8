//! How long a producer stands still when a broker goes: killed, stopped, frozen. Figures, not a test.
//!
//! The same librdkafka producer (idempotent, acks=all) runs against three nodes of either system; the
//! leader of its partition is struck, the longest time between two acknowledgements is noted, the node
//! comes back, and when all replicas are in sync again the next one is struck.

pub mod kafka;
pub mod steady;

use crate::deadline::{Deadline, eventually};
use crate::wire::Connection;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use steady::Steady;

/// Longest that a cluster may take to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(180);
/// Acknowledgements that must come before a strike and after it.
const STEADY_ACKS: usize = 500;
/// How long the producer is watched after a strike at least: a second gap may follow the first.
const WATCH: Duration = Duration::from_secs(3);

/// What happens to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGSTOP, and SIGCONT after the gap.
    Freeze,
}

impl Fault {
    /// The signal that does it.
    pub const fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Stop => Signal::TERM,
            Self::Freeze => Signal::STOP,
        }
    }
}

/// Three brokers, of either system.
pub trait Brokers {
    /// Where clients reach them; the place is the broker's number here.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Does it to one of them.
    fn strike(&mut self, at: usize, fault: Fault);
    /// Ends a freeze.
    fn thaw(&mut self, at: usize);
    /// Starts one that was killed or stopped.
    fn bring_back(&mut self, at: usize);
}

/// Strikes the leader of one partition `count` times; the gaps.
pub fn gaps(
    brokers: &mut impl Brokers,
    topic: &str,
    (fault, count): (Fault, u32),
    settings: &[&str],
) -> Vec<Duration> {
    let addresses = brokers.addresses();
    let bootstrap: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let producer = Steady::start(&bootstrap.join(","), topic, 0, settings);
    let mut gaps = Vec::new();
    for _ in 0..count {
        wait_until_whole(&addresses, topic);
        producer.wait_for(STEADY_ACKS);
        let leader = leader(&addresses, topic);
        let from = producer.count();
        brokers.strike(leader, fault);
        thread::park_timeout(WATCH);
        producer.wait_for(STEADY_ACKS);
        gaps.push(producer.longest_gap_since(from));
        if fault == Fault::Freeze {
            brokers.thaw(leader);
        } else {
            brokers.bring_back(leader);
        }
    }
    wait_until_whole(&addresses, topic);
    gaps
}

/// Which broker leads partition 0.
fn leader(addresses: &[SocketAddr], topic: &str) -> usize {
    eventually("the partition has a leader", || {
        let leader = addresses.iter().find_map(|address| {
            Connection::try_open(*address).ok()?.try_leader_of(topic, 0).ok().flatten()
        })?;
        addresses.iter().position(|address| *address == leader)
    })
}

/// Waits until every broker answers that all replicas are in sync.
fn wait_until_whole(addresses: &[SocketAddr], topic: &str) {
    let deadline = Deadline::after(WHOLE_MAX);
    while !addresses.iter().all(|address| is_whole(*address, topic)) {
        assert!(!deadline.passed(), "not within {WHOLE_MAX:?}: all replicas in sync");
        thread::park_timeout(Duration::from_millis(50));
    }
}

fn is_whole(address: SocketAddr, topic: &str) -> bool {
    let Ok(mut connection) = Connection::try_open(address) else { return false };
    let Ok(answer) = connection.try_describe_topic(topic) else { return false };
    answer.topics.iter().flat_map(|topic| &topic.partitions).all(|partition| {
        partition.error_code == 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
    })
}
