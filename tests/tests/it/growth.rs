//! What was kept by one node gets replicas on others, and moves, while clients use it.

use harness::cluster::Cluster;
use harness::deadline::eventually;
use harness::program::{java, run};
use harness::recorded::{Family, Load, Readers, Recorded, contents};
use harness::target::unique_topic;
use harness::wire::Connection;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const PARTITIONS: i32 = 2;

/// Asks Kafka's tool to give every partition of a topic these replicas, and waits until it says that
/// they have them.
fn reassign(cluster: &Cluster, topic: &str, replicas: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("plan.json");
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|index| {
            let mut brokers = replicas.to_vec();
            brokers.rotate_left(usize::try_from(index).expect("few partitions") % replicas.len());
            let brokers = brokers.join(",");
            format!("{{\"topic\":\"{topic}\",\"partition\":{index},\"replicas\":[{brokers}]}}")
        })
        .collect();
    let plan = format!("{{\"version\":1,\"partitions\":[{}]}}", partitions.join(","));
    let mut written = File::create(&file).expect("a file");
    written.write_all(plan.as_bytes()).expect("room for a plan");
    let file = file.to_str().expect("a path of plain text");
    let tool = |action: &str| {
        let mut command = java(REASSIGN);
        let bootstrap = cluster.bootstrap();
        command.args(["--bootstrap-server", &bootstrap, "--reassignment-json-file", file, action]);
        run(&mut command)
    };
    let told = tool("--execute");
    assert!(told.contains("Successfully started"), "{told}");
    eventually("the tool finds it completed", || {
        let told = tool("--verify");
        let done = told.matches("is completed.").count() == partitions.len();
        done.then_some(())
    });
}

/// Waits until every partition of a topic has so many replicas, all of them in sync.
fn wait_for_replicas(cluster: &Cluster, through: usize, topic: &str, count: usize) {
    eventually("a topic has its replicas", || {
        let mut connection = Connection::try_open(cluster.kafka_addresses()[through]).ok()?;
        let answer = connection.try_describe_topic(topic).ok()?;
        let partitions = &answer.topics.first()?.partitions;
        let has_all = |one: &&_| {
            let one: &kafka_protocol::messages::metadata_response::MetadataResponsePartition = one;
            one.error_code == 0 && one.replica_nodes.len() == count && one.isr_nodes.len() == count
        };
        (!partitions.is_empty() && partitions.iter().filter(has_all).count() == partitions.len())
            .then_some(())
    });
}

#[test]
fn a_topic_of_one_node_grows_and_shrinks_under_load_and_offsets_grow_by_themselves() {
    let mut cluster = Cluster::start(1);
    let topic = unique_topic("growth");
    cluster.connect(0).create_topic(&topic, PARTITIONS, &[]);
    let recorded = Arc::new(Recorded::default());
    let of = (topic.as_str(), PARTITIONS);
    let load = Load::start(Family::Librdkafka, &cluster.bootstrap(), of, 0, &recorded);
    let member = Family::Librdkafka.member(&cluster.bootstrap(), &topic, &unique_topic("group"));
    let go_on = |what: &str| {
        let got = member.look(|told| told.got.len());
        recorded.wait_for_all(1, PARTITIONS);
        member.wait(what, |told| told.got.len() > got);
    };
    go_on("the consumer gets records at all");

    cluster.add(&[]);
    cluster.add(&[]);
    cluster.wait_until_all_are_known();
    cluster.wait_for_voters(3);
    wait_for_replicas(&cluster, 1, "__consumer_offsets", 3);
    go_on("the consumer goes on when the offsets have more replicas");
    let readers = Readers::start(&cluster.kafka_addresses(), of, &recorded);
    reassign(&cluster, &topic, &["1", "2", "3"]);
    wait_for_replicas(&cluster, 1, &topic, 3);
    go_on("the consumer goes on when the topic has more replicas");

    // The only node that had it all.
    cluster.kill(0);
    go_on("the consumer goes on without the first node");
    cluster.restart(0);
    wait_for_replicas(&cluster, 0, &topic, 3);

    reassign(&cluster, &topic, &["2"]);
    wait_for_replicas(&cluster, 0, &topic, 1);
    go_on("the consumer goes on when the topic has one replica again");
    load.end();
    readers.stop();
    let log = contents(&cluster.kafka_addresses(), of);
    recorded.lock().assert_kept(&log);
    member.wait("it gets every record", |told| {
        log.iter().all(|(partition, records)| {
            let got: BTreeSet<_> = told.offsets(*partition).into_iter().collect();
            records.iter().all(|(offset, _)| got.contains(offset))
        })
    });
    member.leave();
    for at in [0, 2] {
        eventually("replicas that are not wanted are deleted", || {
            let data = cluster.node(at).data();
            let left = (0..PARTITIONS).any(|index| data.join(format!("{topic}-{index}")).exists());
            (!left).then_some(())
        });
    }
}
