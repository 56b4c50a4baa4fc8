//! A partition of one replica gets more, and loses them again, while records are produced.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use protocol::types::{BrokerId, Offset};
use raft::direct::direct;
use raft::groups::{ChangeError, GroupId};
use raft::replica::Replica;
use storage::config::LogConfig;
use storage::log::entries::LogKind;

use crate::cluster::{Cluster, partition_id, wait_for};
use crate::failover::{commit, values};
use crate::records::{NOW, batch, read_visible};

const NODES: [usize; 3] = [0, 1, 2];

/// The replicas of the partition; none where its node does not have it.
type Replicas = Mutex<[Option<Arc<dyn Replica>>; 3]>;

struct Moving {
    cluster: Cluster,
    id: GroupId,
    replicas: Arc<Replicas>,
}

/// Produces until it is stopped, and remembers what was committed.
struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<Mutex<Vec<String>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(name: &'static str, replicas: Arc<Replicas>) -> Self {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopping, committed) = (Arc::clone(&stop), Arc::clone(&acked));
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopping.load(Ordering::Acquire) {
                let leads = |replica: &&Arc<dyn Replica>| replica.leadership().is_local;
                let leader = replicas.lock().iter().flatten().find(leads).cloned();
                let Some(leader) = leader else { continue };
                number += 1;
                let text = format!("load.{name}.{number}");
                let Ok(produced) = leader.produce(batch(&text, 1), NOW) else { continue };
                let is_led = || {
                    let now = leader.leadership();
                    now.is_local && now.leader_epoch == produced.leader_epoch
                };
                let next_offset = produced.appended.next_offset;
                while is_led() && !stopping.load(Ordering::Acquire) {
                    if leader.pointers().high_watermark >= next_offset && is_led() {
                        committed.lock().push(format!("{text}/0"));
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        });
        Self { stop, acked, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.acked.lock().len()
    }

    /// Waits until more was committed.
    fn wait_for_more(&self) {
        let before = self.count();
        wait_for("more commits", || (self.count() > before + 5).then_some(()));
    }

    fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
        self.acked.lock().clone()
    }
}

impl Moving {
    /// A partition with one replica, on the first node, that holds some records.
    fn new(has_purged: bool) -> Self {
        let config = LogConfig { segment_bytes_max: 4096, ..LogConfig::default() };
        let mut cluster = Cluster::new(3, config);
        NODES.into_iter().for_each(|node| cluster.start(node));
        let id = partition_id(50);
        let log = cluster.log_of(0, id, LogKind::Direct);
        let replica = direct(log, cluster.broker(0));
        for number in 0..120 {
            commit(&*replica, &format!("old.{number}"), 2).unwrap();
        }
        if has_purged {
            cluster.block_on(replica.delete_records(Offset::new(101))).unwrap();
            cluster.block_on(replica.apply_retention(NOW)).unwrap();
        }
        let replicas = Arc::new(Mutex::new([Some(replica), None, None]));
        Self { cluster, id, replicas }
    }

    fn adopt(&self) {
        let log = self.cluster.log_of(0, self.id, LogKind::Direct);
        let groups = self.cluster.groups(0);
        let adopted = self.cluster.block_on(groups.adopt(self.id, log)).unwrap();
        self.replicas.lock()[0] = Some(adopted);
    }

    fn join(&self, node: usize) {
        let log = self.cluster.log_of(node, self.id, LogKind::Replicated);
        let replicas = NODES.map(|node| self.cluster.me(node)).to_vec();
        let groups = self.cluster.groups(node);
        let joined = self.cluster.block_on(groups.join(self.id, log, replicas)).unwrap();
        self.replicas.lock()[node] = Some(joined);
    }

    /// Asks whoever leads, until it is so.
    fn change(&self, to: &[usize]) {
        let to: Vec<_> = to.iter().map(|node| self.cluster.me(*node)).collect();
        wait_for("the replicas to be changed", || {
            let asked = self.cluster.running().find_map(|node| {
                let groups = self.cluster.groups(node);
                match self.cluster.block_on(groups.change_replicas(self.id, to.clone())) {
                    Err(ChangeError::NotLeader) => None,
                    other => Some(other),
                }
            });
            matches!(asked, Some(Ok(()))).then_some(())
        });
    }

    fn leader(&self) -> Arc<dyn Replica> {
        wait_for("a leader", || {
            let replicas = self.replicas.lock();
            replicas.iter().flatten().find(|replica| replica.leadership().is_local).cloned()
        })
    }

    /// All of `nodes` hold the same, and everything of `acked`.
    fn check(&self, nodes: &[usize], acked: &[String]) {
        let leader = self.leader();
        let end = commit(&*leader, "last", 1).unwrap();
        let seen = read_visible(&*leader);
        let found = values(&seen);
        let loaded = found.iter().copied().filter(|value| value.starts_with("load"));
        let (held, count) = (loaded.clone().collect::<HashSet<_>>(), loaded.count());
        assert_eq!(held.len(), count, "nothing stands there twice");
        for value in acked {
            assert!(held.contains(value.as_str()), "{value} was committed");
        }
        for node in nodes {
            let replica = self.replicas.lock()[*node].clone().unwrap();
            wait_for("the same everywhere", || {
                (replica.pointers().high_watermark == end).then_some(())
            });
            assert_eq!(read_visible(&*replica), seen, "node {node}");
        }
        let mut in_sync = leader.in_sync();
        in_sync.sort_unstable();
        let expected: Vec<BrokerId> = nodes.iter().map(|node| self.cluster.broker(*node)).collect();
        assert_eq!(in_sync, expected);
    }
}

#[test]
fn a_partition_grows_from_one_to_three_under_load_and_shrinks_again() {
    for has_purged in [false, true] {
        let mut moving = Moving::new(has_purged);
        let start = moving.leader().pointers().log_start_offset;
        assert_eq!(start.get(), if has_purged { 101 } else { 0 });
        let load = Load::start("grow", Arc::clone(&moving.replicas));
        load.wait_for_more();
        moving.adopt();
        load.wait_for_more();
        moving.join(1);
        moving.join(2);
        moving.change(&[0, 1, 2]);
        load.wait_for_more();
        let acked = load.stop();
        moving.check(&[0, 1, 2], &acked);
        for node in NODES {
            let replica = moving.replicas.lock()[node].clone().unwrap();
            wait_for("the log start", || {
                (replica.pointers().log_start_offset == start).then_some(())
            });
        }

        // The one that had it all is lost, and comes back.
        moving.replicas.lock()[0] = None;
        moving.cluster.kill(0);
        commit(&*moving.leader(), "without", 1).unwrap();
        moving.cluster.start(0);
        moving.adopt();
        moving.check(&[0, 1, 2], &acked);

        let load = Load::start("shrink", Arc::clone(&moving.replicas));
        load.wait_for_more();
        moving.change(&[1]);
        load.wait_for_more();
        let acked = load.stop();
        moving.check(&[1], &acked);
    }
}

#[test]
fn a_leader_that_crashes_while_its_partition_grows_is_no_loss() {
    for step in 0..6 {
        let mut moving = Moving::new(step % 2 == 1);
        let load = Load::start("crash", Arc::clone(&moving.replicas));
        load.wait_for_more();
        moving.adopt();
        if step > 0 {
            moving.join(1);
            moving.join(2);
            let groups = moving.cluster.groups(0);
            let (id, to) = (moving.id, NODES.map(|node| moving.cluster.me(node)).to_vec());
            std::thread::scope(|scope| {
                let cluster = &moving.cluster;
                let changing = scope.spawn(move || {
                    let change = groups.change_replicas(id, to);
                    let brief = std::time::Duration::from_millis(step * 4);
                    drop(cluster.block_on(async { tokio::time::timeout(brief, change).await }));
                });
                changing.join().unwrap();
            });
        }
        moving.replicas.lock()[0] = None;
        moving.cluster.kill(0);
        let acked = load.stop();
        moving.cluster.start(0);
        moving.adopt();
        if step == 0 {
            moving.join(1);
            moving.join(2);
        }
        moving.change(&[0, 1, 2]);
        moving.check(&[0, 1, 2], &acked);
    }
}
