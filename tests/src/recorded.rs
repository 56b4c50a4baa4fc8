//! Client programs that produce whatever happens, readers that follow every leader, and the history
//! of both for the checker.
//!
//! The programs and what they print stand in `tests/compat/*/load*` and `tests/compat/java/Load.java`.

use crate::batch::records_in_part;
use crate::calls::{FETCH, fetch_request};
use crate::consumer::Consumer;
use crate::deadline::{Deadline, eventually};
use crate::history::{History, Partition, Reader, RecordId};
use crate::program::{clients, compat, java};
use crate::wire::Connection;
use kafka_protocol::messages::fetch_response::PartitionData;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest that clients may take to go on after a fault that leaves a majority.
pub const RECOVERY_MAX: Duration = Duration::from_secs(90);
/// How long a reader waits before it asks again who leads.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The history of a run, and a way to wait until more is acknowledged.
#[derive(Debug, Default)]
pub struct Recorded {
    history: Mutex<History>,
    acked: Condvar,
}

impl Recorded {
    /// The history so far.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until this many more records are acknowledged.
    pub fn wait_for_acks(&self, more: usize) {
        let wanted = self.lock().acked_count() + more;
        self.wait_until(&format!("{wanted} records acknowledged"), |history| {
            history.acked_count() >= wanted
        });
    }

    /// Waits until each of these clients has something newer acknowledged in every partition.
    pub fn wait_for_all(&self, clients: u32, partitions: Partition) {
        let places =
            || (0..clients).flat_map(|c| (0..partitions).map(move |partition| (c, partition)));
        let before: BTreeMap<_, _> = {
            let history = self.lock();
            places().map(|place| (place, history.newest_acked(place.0, place.1))).collect()
        };
        self.wait_until("every client goes on in every partition", |history| {
            before.iter().all(|(place, old)| history.newest_acked(place.0, place.1) > *old)
        });
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut(&History) -> bool) {
        let deadline = Deadline::after(RECOVERY_MAX);
        let mut history = self.lock();
        while !holds(&history) {
            let newest = history.newest_of_all();
            assert!(!deadline.passed(), "not within {RECOVERY_MAX:?}: {what}; so far {newest:?}");
            let waited = self.acked.wait_timeout(history, deadline.left());
            history = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// The families of clients that produce and consume here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// confluent-kafka-python, which is librdkafka.
    Librdkafka,
    /// franz-go.
    FranzGo,
    /// Apache Kafka's own.
    Java,
    /// IBM's sarama.
    Sarama,
    /// kafkajs.
    Kafkajs,
    /// aiokafka.
    Aiokafka,
}

impl Family {
    /// The program that produces.
    fn load(self) -> Command {
        match self {
            Self::Librdkafka => python("confluent-kafka/load.py"),
            Self::FranzGo => Command::new(clients().join("bin/franz-go/load")),
            Self::Java => java("Load"),
            Self::Sarama => Command::new(clients().join("bin/sarama/load")),
            Self::Kafkajs => node_js("load.js"),
            Self::Aiokafka => python("aiokafka/load.py"),
        }
    }

    /// A member of a group, by the classic protocol.
    pub fn member(self, bootstrap: &str, topic: &str, group: &str) -> Consumer {
        let mut program = match self {
            Self::Librdkafka => python("confluent-kafka/group.py"),
            Self::FranzGo => Command::new(clients().join("bin/franz-go/group")),
            Self::Java => java("Group"),
            Self::Sarama => Command::new(clients().join("bin/sarama/group")),
            Self::Kafkajs => node_js("group.js"),
            Self::Aiokafka => python("aiokafka/group.py"),
        };
        program.args([bootstrap, topic, group]);
        if matches!(self, Self::Librdkafka | Self::Java) {
            program.arg("classic");
        }
        Consumer::start(program)
    }
}

fn python(program: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(compat().join(program));
    command
}

fn node_js(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join("kafkajs").join(program));
    command
}

/// A client program that produces until it is told to end.
#[derive(Debug)]
pub struct Load {
    child: Child,
    listener: JoinHandle<()>,
}

impl Load {
    /// Starts it as client number `client`, to all partitions of the topic.
    pub fn start(
        family: Family,
        bootstrap: &str,
        (topic, partitions): (&str, Partition),
        client: u32,
        recorded: &Arc<Recorded>,
    ) -> Self {
        let mut program = family.load();
        program.args([bootstrap, topic, &partitions.to_string(), &client.to_string()]);
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
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        let deadline = Deadline::after(RECOVERY_MAX);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(!deadline.passed(), "the client program has not ended in {RECOVERY_MAX:?}");
            thread::park_timeout(ASK_AGAIN);
        };
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
    let records = records_in_part(partition.records);
    let id = |value: &[u8]| RecordId::parse(std::str::from_utf8(value).expect("text"));
    let of_record = |value: Option<&[u8]>| value.and_then(id).expect("a value of ours");
    records.iter().map(|record| (record.offset, of_record(record.value.as_deref()))).collect()
}

/// Where the leader of a partition is, by the first of these brokers that can tell.
fn leader_of(brokers: &[SocketAddr], topic: &str, partition: Partition) -> Option<SocketAddr> {
    brokers.iter().find_map(|broker| {
        let mut connection = Connection::try_open(*broker).ok()?;
        connection.try_leader_of(topic, partition).ok().flatten()
    })
}

/// Readers that follow every partition of a topic until they are stopped.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// One reader for each partition, which asks these brokers who leads.
    pub fn start(
        brokers: &[SocketAddr],
        (topic, partitions): (&str, Partition),
        recorded: &Arc<Recorded>,
    ) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let threads = (0..partitions).map(|partition| {
            let (brokers, topic) = (brokers.to_vec(), topic.to_owned());
            let (recorded, stop) = (Arc::clone(recorded), Arc::clone(&stop));
            let reader = Reader::try_from(partition).expect("few readers");
            thread::spawn(move || follow(&brokers, &topic, (reader, partition), &recorded, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Ends them; fails the test if one did not understand an answer.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.threads {
            reader.join().expect("a reader understood every answer");
        }
    }
}

/// Follows one partition through every fault, from its own position on.
fn follow(
    brokers: &[SocketAddr],
    topic: &str,
    (reader, partition): (Reader, Partition),
    recorded: &Recorded,
    stop: &AtomicBool,
) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let leader = leader_of(brokers, topic, partition);
        let Some(mut connection) = leader.and_then(|leader| Connection::try_open(leader).ok())
        else {
            thread::park_timeout(ASK_AGAIN);
            continue;
        };
        let mut request = fetch_request(topic, partition, next).with_max_wait_ms(100);
        while let Ok(mut answer) = connection.try_call(FETCH, &request) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let data = answer.responses.remove(0).partitions.remove(0);
            if data.error_code != 0 {
                // Another broker leads, or the partition is not open yet: it has no end to tell.
                thread::park_timeout(ASK_AGAIN);
                break;
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

/// All that the partitions of a topic hold, read from their leaders by a new reader.
pub fn contents(
    brokers: &[SocketAddr],
    (topic, partitions): (&str, Partition),
) -> BTreeMap<Partition, Vec<(i64, RecordId)>> {
    let read_all = |partition| {
        eventually("a partition is read from its start to its end", || {
            let mut connection = Connection::open(leader_of(brokers, topic, partition)?);
            let mut found = Vec::new();
            loop {
                let next = found.last().map_or(0, |(offset, _)| offset + 1);
                let data = connection.fetch(topic, partition, next);
                if data.error_code != 0 {
                    return None;
                }
                let batch = records(data);
                if batch.is_empty() {
                    return Some(found);
                }
                found.extend(batch.into_iter().filter(|(offset, _)| *offset >= next));
            }
        })
    };
    (0..partitions).map(|partition| (partition, read_all(partition))).collect()
}

impl Connection {
    /// Where this broker says that a partition's leader is; none if it knows of none.
    ///
    /// # Errors
    /// The connection has ended, or nothing came in time.
    pub fn try_leader_of(
        &mut self,
        topic: &str,
        partition: Partition,
    ) -> io::Result<Option<SocketAddr>> {
        let answer = self.try_describe_topic(topic)?;
        let leader = answer.topics.first().and_then(|topic| {
            let found = topic.partitions.iter().find(|found| found.partition_index == partition);
            found.filter(|found| found.error_code == 0).map(|found| found.leader_id)
        });
        let broker = answer.brokers.iter().find(|broker| Some(broker.node_id) == leader);
        Ok(broker.and_then(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some(SocketAddr::new(broker.host.parse().ok()?, port))
        }))
    }
}
