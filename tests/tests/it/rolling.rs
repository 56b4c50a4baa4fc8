//! Families of clients produce and consume while every node is restarted in turn and the leader of a
//! partition is killed: no error reaches the application, nothing is lost, nothing is left out.
//!
//! kafkajs and aiokafka are not among them: their consumers did not always go on in time.

use harness::cluster::Cluster;
use harness::consumer::Consumer;
use harness::deadline::eventually;
use harness::history::Partition;
use harness::recorded::{Family, Load, Readers, Recorded, contents};
use harness::target::unique_topic;
use harness::wire::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;

const NODES: usize = 3;
const PARTITIONS: Partition = 3;

/// What clients go through, and that both of this family go on after each step.
struct Passage {
    cluster: Cluster,
    topic: String,
    recorded: Arc<Recorded>,
    member: Consumer,
}

impl Passage {
    /// Waits until records that were produced after this call are acknowledged and consumed.
    fn go_on(&self, what: &str) {
        let got = self.member.look(|told| told.got.len());
        self.recorded.wait_for_all(1, PARTITIONS);
        self.member.wait(what, |told| told.got.len() > got);
    }

    fn wait_until_in_sync(&self) {
        for address in self.cluster.kafka_addresses() {
            eventually("all replicas are in sync", || {
                let mut connection = Connection::try_open(address).ok()?;
                let answer = connection.try_describe_topic(&self.topic).ok()?;
                let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let whole =
                    partitions.all(|one| one.error_code == 0 && one.isr_nodes.len() == NODES);
                whole.then_some(())
            });
        }
    }

    fn leader(&self) -> usize {
        let addresses = self.cluster.kafka_addresses();
        eventually("partition 0 has a leader", || {
            let leader = addresses.iter().find_map(|address| {
                let mut connection = Connection::try_open(*address).ok()?;
                connection.try_leader_of(&self.topic, 0).ok().flatten()
            })?;
            addresses.iter().position(|address| *address == leader)
        })
    }
}

fn restarts_and_a_kill(family: Family) {
    let cluster = Cluster::start(NODES);
    let (addresses, topic) = (cluster.kafka_addresses(), unique_topic("rolling"));
    let bootstrap = cluster.bootstrap();
    let settings = [("min.insync.replicas", "2")];
    Connection::open(addresses[0]).create_topic_with((&topic, PARTITIONS, 3), &settings);
    let recorded = Arc::new(Recorded::default());
    let of = (topic.as_str(), PARTITIONS);
    let load = Load::start(family, &bootstrap, of, 0, &recorded);
    let readers = Readers::start(&addresses, of, &recorded);
    let member = family.member(&bootstrap, &topic, &unique_topic("group"));
    let mut passage = Passage { cluster, topic: topic.clone(), recorded, member };
    passage.go_on("the consumer gets records at all");

    for at in 0..NODES {
        passage.cluster.stop(at);
        passage.go_on("the consumer goes on while a node is stopped");
        passage.cluster.restart(at);
        passage.wait_until_in_sync();
    }
    let leader = passage.leader();
    passage.cluster.kill(leader);
    passage.go_on("the consumer goes on after the leader was killed");
    passage.cluster.restart(leader);
    passage.wait_until_in_sync();
    passage.go_on("the consumer goes on when all are back");

    load.end();
    readers.stop();
    let log = contents(&addresses, of);
    passage.recorded.lock().assert_kept(&log);
    passage.member.wait("it gets every record", |told| {
        log.iter().all(|(partition, records)| {
            let got: BTreeSet<_> = told.offsets(*partition).into_iter().collect();
            records.iter().all(|(offset, _)| got.contains(offset))
        })
    });
    passage.member.leave();
}

#[test]
fn librdkafka() {
    restarts_and_a_kill(Family::Librdkafka);
}

#[test]
fn java() {
    restarts_and_a_kill(Family::Java);
}

#[test]
fn franz_go() {
    restarts_and_a_kill(Family::FranzGo);
}

#[test]
fn sarama() {
    restarts_and_a_kill(Family::Sarama);
}
