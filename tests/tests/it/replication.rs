//! Partitions on three nodes: what was acknowledged stays, whichever nodes are killed, and another
//! node leads soon.

use harness::batch::{Producer, batch_of, records_in};
use harness::calls::{PRODUCE, produce_request, topic_name};
use harness::cluster::Cluster;
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::history::{History, Partition, RecordId};
use harness::target::unique_topic;
use harness::wire::Connection;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

const PARTITIONS: Partition = 3;
const ROUNDS: usize = 15;
const RECORDS_PER_ROUND: usize = 20;
/// Kafka's DUPLICATE_SEQUENCE_NUMBER: it was taken before.
const DUPLICATE: i16 = 46;

fn create(cluster: &Cluster, topic: &str) {
    let asked = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(PARTITIONS)
        .with_replication_factor(3);
    let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![asked]);
    let answer = cluster.connect(0).call(7, &request).topics.remove(0);
    assert_eq!(answer.error_code, codes::NONE, "{:?}", answer.error_message);
}

/// A connection to who leads a partition, as the first node that runs and knows tells.
fn leader(cluster: &Cluster, topic: &str, partition: Partition) -> Option<Connection> {
    let at = (0..cluster.count()).find(|at| cluster.node(*at).runs())?;
    let told = cluster.metadata(at, Some(topic)).topics.remove(0).partitions;
    let leader = told.iter().find(|told| told.partition_index == partition)?.leader_id.0;
    let leader = usize::try_from(leader - 1).ok()?;
    if !cluster.node(leader).runs() {
        return None;
    }
    Connection::try_open(cluster.node(leader).kafka()).ok()
}

/// One idempotent producer, which tries each record until it is acknowledged.
struct Client {
    id: i64,
    epoch: i16,
    next: BTreeMap<Partition, i32>,
    sent: u64,
}

impl Client {
    fn new(cluster: &Cluster) -> Self {
        let (id, epoch) = cluster.connect(0).init_producer_id();
        Self { id, epoch, next: BTreeMap::new(), sent: 0 }
    }

    fn produce(&mut self, cluster: &Cluster, topic: &str, to: Partition, history: &mut History) {
        let sequence = self.next.entry(to).or_default();
        let record = RecordId { client: 0, number: self.sent };
        let producer = Producer { id: self.id, epoch: self.epoch, sequence: *sequence };
        let batch = batch_of(producer, &[&record.to_string()], now_ms());
        history.sending(to, record);
        let what = format!("record {record} of partition {to} is acknowledged");
        let offset = eventually(&what, || {
            let request = produce_request(topic, to, -1, batch.clone());
            let mut answer = leader(cluster, topic, to)?.try_call(PRODUCE, &request).ok()?;
            let answer = answer.responses.remove(0).partition_responses.remove(0);
            let taken = [codes::NONE, DUPLICATE].contains(&answer.error_code);
            taken.then_some(answer.base_offset)
        });
        if offset >= 0 {
            history.acked(to, record, offset);
        }
        *sequence += 1;
        self.sent += 1;
    }
}

fn contents(cluster: &Cluster, topic: &str) -> BTreeMap<Partition, Vec<(i64, RecordId)>> {
    let one = |partition| {
        let mut found: Vec<(i64, RecordId)> = Vec::new();
        loop {
            let next = found.last().map_or(0, |(offset, _)| offset + 1);
            let batch = eventually("the leader answers a fetch", || {
                let answer = leader(cluster, topic, partition)?.fetch(topic, partition, next);
                (answer.error_code == codes::NONE).then_some(answer.records)
            });
            let before = found.len();
            found.extend(records_in(batch).iter().filter(|record| record.offset >= next).map(
                |record| {
                    let value = record.value.as_deref().expect("a value");
                    let text = std::str::from_utf8(value).expect("text");
                    (record.offset, RecordId::parse(text).expect("a value of ours"))
                },
            ));
            if found.len() == before {
                return (partition, found);
            }
        }
    };
    (0..PARTITIONS).map(one).collect()
}

/// Random nodes are killed, in some rounds most or all of them; nothing that was acknowledged with
/// acks=all is lost, doubled or moved.
#[test]
#[expect(clippy::print_stdout, reason = "the seed of a failed test is needed to repeat it")]
fn nothing_acknowledged_by_a_majority_is_lost_by_kills() {
    let seed = now_ms().unsigned_abs();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(3);
    cluster.wait_for_voters(3);
    let topic = unique_topic("replication");
    create(&cluster, &topic);
    let (mut client, mut history) = (Client::new(&cluster), History::default());
    for _ in 0..ROUNDS {
        let killed: Vec<usize> = match rng.random_range(0..8) {
            0 => vec![0, 1, 2],
            1 => vec![rng.random_range(0..3), 2],
            _ => vec![rng.random_range(0..3)],
        };
        for at in &killed {
            if cluster.node(*at).runs() {
                cluster.kill(*at);
            }
        }
        let majority = (0..3).filter(|at| cluster.node(*at).runs()).count() >= 2;
        for _ in 0..if majority { RECORDS_PER_ROUND } else { 0 } {
            client.produce(&cluster, &topic, rng.random_range(0..PARTITIONS), &mut history);
        }
        for at in 0..3 {
            if !cluster.node(at).runs() {
                cluster.node_mut(at).begin_again();
            }
        }
        cluster.wait_until_ready();
        for _ in 0..RECORDS_PER_ROUND {
            client.produce(&cluster, &topic, rng.random_range(0..PARTITIONS), &mut history);
        }
    }
    assert!(history.acked_count() > 0);
    history.assert_kept(&contents(&cluster, &topic));
}
