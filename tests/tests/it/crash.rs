//! Kills under load: two families of clients produce with idempotence, readers follow, the process
//! is killed again and again, and in the end the checker of histories has the word.

use harness::batch::records_in;
use harness::calls::{FETCH, fetch_request};
use harness::deadline::{PATIENCE, eventually};
use harness::history::{History, Partition, Reader, RecordId};
use harness::node::Node;
use harness::program::{clients, compat};
use harness::target::unique_topic;
use harness::wire::Connection;
use kafka_protocol::messages::fetch_response::PartitionData;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Repeats a run: the seed that it printed.
const SEED: &str = "MILLPOND_TEST_SEED";
/// How often the broker is killed, if not the default.
const KILLS: &str = "MILLPOND_TEST_KILLS";
const KILLS_DEFAULT: u32 = 100;

const PARTITIONS: Partition = 3;

/// The history of a run, and a way to wait until more is acknowledged.
#[derive(Default)]
struct Recorded {
    history: Mutex<History>,
    acked: Condvar,
}

impl Recorded {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no thread panics while it holds this")
    }

    /// Waits until this many more records are acknowledged.
    fn wait_for_acks(&self, more: usize) {
        let history = self.lock();
        let wanted = history.acked_count() + more;
        let waited = self
            .acked
            .wait_timeout_while(history, PATIENCE, |history| history.acked_count() < wanted);
        let (history, timeout) = waited.expect("no thread panics while it holds this");
        let count = history.acked_count();
        drop(history);
        assert!(!timeout.timed_out(), "{count} acknowledged, {wanted} wanted within {PATIENCE:?}");
    }
}

/// A client program that produces until it is told to end.
struct Load {
    child: Child,
    listener: JoinHandle<()>,
}

impl Load {
    fn start(mut program: Command, recorded: &Arc<Recorded>, client: u32) -> Self {
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().expect("the client program starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let recorded = Arc::clone(recorded);
        let listener = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                record(&line, client, &recorded);
            }
        });
        Self { child, listener }
    }

    /// Lets the program send what it has begun, and waits until all of it is acknowledged.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let status = eventually("the client program ends", || {
            self.child.try_wait().expect("a child can be waited for")
        });
        assert!(status.success(), "the client program ended with {status}");
        self.listener.join().expect("every line was understood");
    }
}

fn record(line: &str, client: u32, recorded: &Recorded) {
    let words: Vec<_> = line.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let partition = words[1].parse().expect("a partition");
    let id = RecordId { client, number: number(words[2]) };
    let mut history = recorded.lock();
    match words[0] {
        "sending" => history.sending(partition, id),
        "acked" => {
            history.acked(partition, id, i64::try_from(number(words[3])).expect("an offset"));
            recorded.acked.notify_all();
        }
        other => panic!("what is {other}?"),
    }
}

/// The records of a fetch with their offsets.
fn records(partition: PartitionData) -> Vec<(i64, RecordId)> {
    let records = records_in(partition.records);
    let id = |value: &[u8]| RecordId::parse(std::str::from_utf8(value).expect("text"));
    let of_record = |value: Option<&[u8]>| value.and_then(id).expect("a value of ours");
    records.iter().map(|record| (record.offset, of_record(record.value.as_deref()))).collect()
}

/// Follows one partition through every crash, from its own position on.
fn follow(
    address: SocketAddr,
    topic: &str,
    (reader, partition): (Reader, Partition),
    recorded: &Recorded,
    stop: &AtomicBool,
) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::try_open(address) else {
            thread::park_timeout(PATIENCE / 10_000);
            continue;
        };
        let mut request = fetch_request(topic, partition, next).with_max_wait_ms(100);
        while let Ok(mut answer) = connection.try_call(FETCH, &request) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let data = answer.responses.remove(0).partitions.remove(0);
            if data.error_code != 0 {
                // A partition that is not open yet has no end to tell.
                continue;
            }
            let mut history = recorded.lock();
            history.told_end(reader, partition, data.high_watermark);
            let from = next;
            for (offset, id) in records(data).into_iter().filter(|(offset, _)| *offset >= from) {
                history.shown(reader, partition, offset, id);
                next = offset + 1;
            }
            drop(history);
            request.topics[0].partitions[0].fetch_offset = next;
        }
    }
}

/// All that the log holds, read by a new reader.
fn contents(address: SocketAddr, topic: &str) -> BTreeMap<Partition, Vec<(i64, RecordId)>> {
    let mut connection = Connection::open(address);
    let mut log = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut found = Vec::new();
        loop {
            let next = found.last().map_or(0, |(offset, _)| offset + 1);
            let batch = records(connection.fetch(topic, partition, next));
            if batch.is_empty() {
                break;
            }
            found.extend(batch.into_iter().filter(|(offset, _)| *offset >= next));
        }
        log.insert(partition, found);
    }
    log
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn load_programs(bootstrap: &str, topic: &str) -> [Command; 2] {
    let mut librdkafka = Command::new(clients().join("python/bin/python"));
    librdkafka.arg(compat().join("confluent-kafka/load.py"));
    let mut franz_go = Command::new(clients().join("bin/franz-go/load"));
    for (client, program) in [&mut librdkafka, &mut franz_go].into_iter().enumerate() {
        program.args([bootstrap, topic, &PARTITIONS.to_string(), &client.to_string()]);
    }
    [librdkafka, franz_go]
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

    let (recorded, stop) = (Arc::new(Recorded::default()), Arc::new(AtomicBool::new(false)));
    let programs = load_programs(&address.to_string(), &topic);
    let loads: Vec<_> = (0..)
        .zip(programs)
        .map(|(client, program)| Load::start(program, &recorded, client))
        .collect();
    let readers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let (topic, recorded, stop) = (topic.clone(), Arc::clone(&recorded), Arc::clone(&stop));
            let of = (Reader::try_from(partition).expect("few readers"), partition);
            thread::spawn(move || follow(address, &topic, of, &recorded, &stop))
        })
        .collect();

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
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("a reader understood every answer");
    }
    let log = contents(address, &topic);
    let history = recorded.lock();
    println!("{} records acknowledged through {kills} kills", history.acked_count());
    history.assert_kept(&log);
}
