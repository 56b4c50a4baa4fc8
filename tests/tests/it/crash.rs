//! Kills under load: two families of clients produce with idempotence, readers follow, the process
//! is killed again and again, and in the end the checker of histories has the word.

use harness::history::Partition;
use harness::node::Node;
use harness::recorded::{Family, Load, Readers, Recorded, contents};
use harness::target::unique_topic;
use harness::wire::Connection;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::env;
use std::sync::Arc;

/// Repeats a run: the seed that it printed.
const SEED: &str = "MILLPOND_TEST_SEED";
/// How often the broker is killed, if not the default.
const KILLS: &str = "MILLPOND_TEST_KILLS";
const KILLS_DEFAULT: u32 = 100;

const PARTITIONS: Partition = 3;

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
#[expect(clippy::print_stdout, reason = "a failed run must tell its seed")]
fn nothing_acknowledged_is_lost_by_kills() {
    let seed = setting(SEED).unwrap_or_else(rand::random::<u64>);
    let kills = setting(KILLS).unwrap_or(KILLS_DEFAULT);
    println!("{SEED}={seed} {KILLS}={kills}");
    let mut random = StdRng::seed_from_u64(seed);

    // Small segments and checkpoints, so that kills meet rolls too.
    let mut node = Node::start();
    let (address, topic) = (node.kafka(), unique_topic("crash"));
    let settings = [("segment.bytes", "1048576")];
    Connection::open(address).create_topic(&topic, PARTITIONS, &settings);

    let recorded = Arc::new(Recorded::default());
    let of = (topic.as_str(), PARTITIONS);
    let loads: Vec<_> = (0..)
        .zip([Family::Librdkafka, Family::FranzGo])
        .map(|(client, family)| Load::start(family, &address.to_string(), of, client, &recorded))
        .collect();
    let readers = Readers::start(&[address], of, &recorded);

    for kill in 0..kills {
        recorded.wait_for_acks(random.random_range(1..500));
        node.kill();
        node.start_again();
        if kill % 10 == 9 {
            recorded.wait_for_acks(1);
            assert!(node.stop().success(), "a clean stop now and then");
            node.start_again();
        }
    }
    recorded.wait_for_acks(1);
    for load in loads {
        load.end();
    }
    readers.stop();
    let log = contents(&[address], of);
    let history = recorded.lock();
    println!("{} records acknowledged through {kills} kills", history.acked_count());
    history.assert_kept(&log);
}
