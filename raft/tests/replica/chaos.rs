//! Three replicas while nodes die, lose power, are cut off and hand over, in an order that a seed
//! chooses. Whatever happens: what was committed stays, in its place and once; all logs are the same
//! in the end; and a producer that repeats what it is unsure of gets every record in once, in order.

use std::collections::HashMap;
use std::time::Duration;

use protocol::types::{LeaderEpoch, Offset};
use storage::config::LogConfig;

use crate::cluster::{Cluster, group_id, wait_for};
use crate::records::{NOW, batch_of, read_visible};
use crate::told::{Event, Told};

/// A small generator, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }
}

/// An idempotent producer that sends one record at a time and repeats it until it is committed.
#[derive(Default)]
struct Producer {
    next: i32,
    /// What was ever acknowledged: offset and value.
    acknowledged: Vec<(Offset, String)>,
}

impl Producer {
    /// One try; true if it was acknowledged.
    fn try_once(&mut self, cluster: &Cluster, node: usize) -> bool {
        let replica = cluster.replica(node);
        let told = Told::new();
        replica.set_listener(told.clone());
        let value = self.next.to_string();
        let Ok(produced) = replica.produce(batch_of(1, self.next, &value, 1), NOW) else {
            return false;
        };
        let next_offset = produced.appended.next_offset;
        let is_committed =
            |event: &Event| matches!(event, Event::Committed(to) if *to >= next_offset);
        let is_over = |event: &Event| matches!(event, Event::Lost | Event::Ended);
        // A leader that is cut off says nothing for long: then the producer asks elsewhere.
        for _ in 0..200 {
            let events = told.events();
            let end = events.iter().position(is_over).unwrap_or(events.len());
            if events[..end].iter().any(is_committed) {
                self.acknowledged.push((produced.appended.base_offset, format!("{value}/0")));
                self.next += 1;
                return true;
            }
            if end < events.len() {
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        false
    }

    /// Tries every node in turn until one acknowledges.
    fn produce(&mut self, cluster: &Cluster) {
        wait_for("an acknowledgement", || {
            cluster
                .running()
                .any(|node| {
                    cluster.replica(node).leadership().is_local && self.try_once(cluster, node)
                })
                .then_some(())
        });
    }
}

/// What one node is going through.
enum Trouble {
    None,
    Dead(usize),
    CutOff,
}

fn disturb(cluster: &mut Cluster, random: &mut Random, trouble: &mut Trouble) {
    match *trouble {
        Trouble::Dead(node) => {
            cluster.start(node);
            *trouble = Trouble::None;
        }
        Trouble::CutOff => {
            cluster.connect_all();
            *trouble = Trouble::None;
        }
        Trouble::None => {
            // The leader is the more interesting victim.
            let node = if random.below(2) == 0 { cluster.leader() } else { random.node() };
            match random.below(5) {
                0 => cluster.kill(node),
                1 => cluster.lose_power(node, random.below(1000)),
                2 => cluster.stop(node),
                3 => {
                    cluster.cut_off(node);
                    for other in (0..3).filter(|other| *other != node) {
                        let (groups, gone) = (cluster.groups(other), cluster.broker(node));
                        cluster.block_on(groups.broker_down(gone));
                    }
                    *trouble = Trouble::CutOff;
                    return;
                }
                _ => {
                    let (from, to) = (cluster.leader(), random.node());
                    let (groups, to) = (cluster.groups(from), cluster.broker(to));
                    // To itself, or while another takes over: no matter.
                    let _moved = cluster.block_on(groups.transfer(group_id(), to));
                    return;
                }
            }
            *trouble = Trouble::Dead(node);
        }
    }
}

/// Segments of a few batches, of which retention keeps a few.
fn evicting() -> LogConfig {
    LogConfig {
        segment_bytes_max: 600,
        retention: None,
        retention_bytes: Some(1500),
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}

fn run(seed: u64, config: LogConfig) {
    let mut random = Random(seed);
    let mut cluster = Cluster::new(3, config);
    (0..3).for_each(|node| cluster.start(node));
    let mut producer = Producer::default();
    let mut contents: HashMap<(LeaderEpoch, Offset), String> = HashMap::new();
    let mut trouble = Trouble::None;
    for round in 0..24 {
        for _ in 0..random.below(12) {
            producer.produce(&cluster);
        }
        for node in cluster.running().collect::<Vec<_>>() {
            for seen in read_visible(&*cluster.replica(node)) {
                let key = (seen.leader_epoch, seen.offset);
                let known = contents.entry(key).or_insert_with(|| seen.value.clone());
                assert_eq!(
                    *known, seen.value,
                    "seed {seed}, round {round}: two contents at {key:?}"
                );
            }
            // A replica that cannot evict now does it the next time.
            let _bytes = cluster.block_on(cluster.replica(node).apply_retention(NOW));
        }
        disturb(&mut cluster, &mut random, &mut trouble);
    }
    if !matches!(trouble, Trouble::None) {
        disturb(&mut cluster, &mut random, &mut trouble);
    }
    producer.produce(&cluster);
    cluster.settle();
    let all = [0, 1, 2].map(|node| read_visible(&*cluster.replica(node)));
    // Each evicts for itself: what all of them have left must be the same.
    let start = all.iter().map(|seen| seen[0].offset).max().unwrap();
    let [first, second, third] = all.map(|mut seen| {
        seen.retain(|seen| seen.offset >= start);
        seen
    });
    assert_eq!(second, first, "seed {seed}");
    assert_eq!(third, first, "seed {seed}");
    let seen: Vec<_> = first.into_iter().map(|seen| (seen.offset, seen.value)).collect();
    producer.acknowledged.retain(|(offset, _)| *offset >= start);
    assert_eq!(seen, producer.acknowledged, "seed {seed}");
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_moved() {
    for seed in 0..3 {
        run(seed, LogConfig::default());
    }
}

#[test]
fn nothing_that_retention_keeps_is_lost_doubled_or_moved() {
    for seed in 10..13 {
        run(seed, evicting());
    }
}
