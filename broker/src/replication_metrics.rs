//! What is counted about replicas, leaders and peers, read off when somebody looks.
//!
//! Names follow Kafka's where Kafka has the same; a partition counts on the broker that leads it.

use metrics::{Gauge, Unit};
use raft::peers::Health;

use crate::broker::Broker;
use crate::metrics::{Kind, Metric, as_value, gauge, metric};
use crate::partition::append::in_sync_wanted;

const LEADER_COUNT: &str = "millpond_leader_count";
const UNDER_REPLICATED: &str = "millpond_under_replicated_partitions";
const UNDER_MIN_ISR: &str = "millpond_under_min_isr_partitions";
const LEADERLESS: &str = "millpond_leaderless_partitions";
const PEERS_UP: &str = "millpond_peers_up";
const PEERS_SUSPECTED: &str = "millpond_peers_suspected";
const PEERS_DOWN: &str = "millpond_peers_down";
const RAFT_GROUPS_RESTING: &str = "millpond_raft_groups_resting";
const DISK_HANGING_SECONDS: &str = "millpond_disk_hanging_seconds";
const DISK_FIT: &str = "millpond_disk_fit";

/// Every metric of this file.
pub(crate) const METRICS: &[Metric] = &[
    count(LEADER_COUNT, "Partitions that are led here. Kafka's LeaderCount."),
    count(
        UNDER_REPLICATED,
        "Partitions led here of which not all replicas are in sync. Kafka's UnderReplicatedPartitions.",
    ),
    count(
        UNDER_MIN_ISR,
        "Partitions led here that refuse acks=all because too few replicas are in sync. Kafka's UnderMinIsrPartitionCount.",
    ),
    count(
        LEADERLESS,
        "Partitions of the cluster without a leader that this broker knows of. Kafka's OfflinePartitionsCount.",
    ),
    count(PEERS_UP, "Other brokers that answer."),
    count(PEERS_SUSPECTED, "Other brokers that do not answer just now."),
    count(PEERS_DOWN, "Other brokers that are taken for gone."),
    count(
        RAFT_GROUPS_RESTING,
        "Raft groups of partitions whose timers rest because their leader is settled.",
    ),
    metric(
        DISK_HANGING_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "For how long a write or sync has been under way that takes longer than a disk may, else 0.",
    ),
    count(
        DISK_FIT,
        "1 while the disk lets this broker lead; 0 if it hangs, is full or has failed, and for a while after that.",
    ),
];

const fn count(name: &'static str, help: &'static str) -> Metric {
    metric(name, Kind::Gauge, Unit::Count, help)
}

/// The handles.
pub(crate) struct ReplicationMetrics {
    leader_count: Gauge,
    under_replicated: Gauge,
    under_min_isr: Gauge,
    leaderless: Gauge,
    peers_up: Gauge,
    peers_suspected: Gauge,
    peers_down: Gauge,
    raft_groups_resting: Gauge,
    disk_hanging_seconds: Gauge,
    disk_fit: Gauge,
}

impl ReplicationMetrics {
    /// Makes the handles with the recorder that is installed.
    pub(crate) fn new() -> Self {
        let gauge = |name| gauge(name, Vec::new());
        Self {
            leader_count: gauge(LEADER_COUNT),
            under_replicated: gauge(UNDER_REPLICATED),
            under_min_isr: gauge(UNDER_MIN_ISR),
            leaderless: gauge(LEADERLESS),
            peers_up: gauge(PEERS_UP),
            peers_suspected: gauge(PEERS_SUSPECTED),
            peers_down: gauge(PEERS_DOWN),
            raft_groups_resting: gauge(RAFT_GROUPS_RESTING),
            disk_hanging_seconds: gauge(DISK_HANGING_SECONDS),
            disk_fit: gauge(DISK_FIT),
        }
    }

    /// Reads everything off.
    pub(crate) fn sample(&self, broker: &Broker) {
        let counts = Counts::of(broker);
        self.leader_count.set(as_value(counts.led));
        self.under_replicated.set(as_value(counts.under_replicated));
        self.under_min_isr.set(as_value(counts.under_min_isr));
        self.leaderless.set(as_value(counts.leaderless));
        self.raft_groups_resting.set(as_value(broker.partitions.resting()));
        let health = broker.gossip.as_ref().map(|gossip| gossip.peers_health());
        let peers = |wanted: Health| {
            let all = health.iter().flat_map(|health| health.values());
            as_value(all.filter(|health| **health == wanted).count())
        };
        self.peers_up.set(peers(Health::Up));
        self.peers_suspected.set(peers(Health::Suspected));
        self.peers_down.set(peers(Health::Down));
        let disk = broker.partitions.data_dir().disk_state();
        let hanging = disk.hanging().map(|call| call.elapsed.as_secs_f64());
        self.disk_hanging_seconds.set(hanging.unwrap_or(0.0));
        let is_fit = match &broker.gossip {
            Some(gossip) => gossip.is_fit(broker.broker_id),
            None => hanging.is_none() && disk.failure.is_none() && !disk.is_full,
        };
        self.disk_fit.set(as_value(usize::from(is_fit)));
    }
}

/// What the partitions of the cluster amount to, as this broker sees them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    led: usize,
    under_replicated: usize,
    under_min_isr: usize,
    leaderless: usize,
}

impl Counts {
    fn of(broker: &Broker) -> Self {
        let mut counts = Self::default();
        let image = broker.cluster.image();
        for topic in image.topics.values() {
            for partition in &topic.partitions {
                let standing = broker.leaders.standing(topic.id, partition);
                if standing.leader.is_none() {
                    counts.leaderless += 1;
                }
                if standing.leader != Some(broker.broker_id) {
                    continue;
                }
                let (in_sync, replicas) = (standing.in_sync.len(), partition.replicas.len());
                counts.led += 1;
                counts.under_replicated += usize::from(in_sync < replicas);
                if let Ok(local) = broker.partitions.get(topic.id, partition.partition) {
                    let wanted = in_sync_wanted(&local.settings(), replicas);
                    counts.under_min_isr += usize::from(in_sync < wanted);
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_node::TestNode;

    #[tokio::test]
    async fn partitions_count_where_they_are_led() {
        let node = TestNode::among_three().await;
        let min = [("min.insync.replicas", "2")];
        node.assign("t", &[&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1, 2, 3]], &min).await;
        node.assign("alone", &[&[1]], &min).await;
        for (partition, in_sync) in [(0, &[1, 2, 3][..]), (1, &[1, 2]), (2, &[1])] {
            node.replica("t", partition).lead(1);
            node.replica("t", partition).set_in_sync(in_sync);
        }
        let counts = Counts::of(&node.broker);
        let want = Counts { led: 4, under_replicated: 2, under_min_isr: 1, leaderless: 1 };
        assert_eq!(counts, want);
    }
}
