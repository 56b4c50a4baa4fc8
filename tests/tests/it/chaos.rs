//! `kill -9` in a loop under idempotent load: nothing acknowledged is lost, doubled or reordered, and
//! no reader's view goes back.
//!
//! Two families of clients, librdkafka and Java, produce and read without a pause while the broker is
//! killed at random moments and started again. They are never told: their own retries must do.
//! The schedule's seed is printed; `MILLPOND_CHAOS_SEED` repeats it and `MILLPOND_CHAOS_KILLS` sets
//! how many kills there are. What the operating system interleaves is its own affair.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::deadline::eventually;
use harness::history::{History, Partition, Reader, RecordId};
use harness::node::Node;
use harness::program::{clients, compat, java, run};
use harness::target::unique_topic;
use harness::wire::Connection;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Kills unless the environment says otherwise.
const KILLS: u64 = 100;
const PARTITIONS: i32 = 4;
/// The broker lives at most this much longer than it takes both producers to get an acknowledgement.
const LIFE_MAX_MS: u64 = 120;
/// Small segments, so that kills also meet rolls.
const SEGMENT_BYTES: &str = "1048576";

#[test]
#[expect(clippy::print_stdout, reason = "a failure is repeated from what is printed")]
fn kills_under_idempotent_load() {
    let kills = number_from("MILLPOND_CHAOS_KILLS").unwrap_or(KILLS);
    let seed = number_from("MILLPOND_CHAOS_SEED").unwrap_or_else(|| rand::rng().random());
    println!("MILLPOND_CHAOS_SEED={seed} MILLPOND_CHAOS_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);

    let mut node = Node::start();
    let (topic, bootstrap) = (unique_topic("chaos"), node.kafka().to_string());
    let mut connection = Connection::open(node.kafka());
    connection.create_topic(&topic, PARTITIONS, &[("segment.bytes", SEGMENT_BYTES)]);
    let journal = Journal::default();
    let load = |command: Command, role: &str, number: u32| {
        Client::start(
            command,
            &[role, &bootstrap, &topic, &PARTITIONS.to_string()],
            number,
            &journal,
        )
    };
    let readers = [load(python(), "read", 1), load(java("Load"), "read", 2)];
    let producers = [load(python(), "produce", 1), load(java("Load"), "produce", 2)];

    for _ in 0..kills {
        let before = producers.each_ref().map(Client::acked);
        eventually("both producers get on", || {
            let now = producers.each_ref().map(Client::acked);
            now.iter().zip(before).all(|(now, before)| *now > before).then_some(())
        });
        // Not a wait for anything: the moment of the kill is the schedule's to choose.
        thread::park_timeout(Duration::from_millis(random.random_range(0..LIFE_MAX_MS)));
        node.kill();
        node.start_again();
    }
    producers.into_iter().for_each(Client::stop);
    let ends: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            Connection::open(node.kafka()).list_offset(6, &topic, partition, -1).offset
        })
        .collect();
    eventually("the readers have read to the end", || {
        let history = journal.lock();
        let at_end = |reader| {
            (0..PARTITIONS).zip(&ends).all(|(p, end)| history.next.get(&(reader, p)) == Some(end))
        };
        (at_end(1) && at_end(2)).then_some(())
    });
    readers.into_iter().for_each(Client::stop);
    assert!(node.stop().success(), "a clean stop after all that");
    node.start_again();

    let log = whole_log(&bootstrap, &topic);
    let journal = journal.lock();
    println!("{} records acknowledged over {kills} kills", journal.history.acked_count());
    journal.history.assert_kept(&log);
}

fn number_from(name: &str) -> Option<u64> {
    Some(env::var(name).ok()?.parse().expect("a whole number"))
}

fn python() -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(compat().join("confluent-kafka/load.py"));
    command
}

/// Everything that the topic holds, by a client that had no part in it so far.
fn whole_log(bootstrap: &str, topic: &str) -> BTreeMap<Partition, Vec<(i64, RecordId)>> {
    let format = "%p %o %s\n";
    let arguments =
        ["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", format];
    let mut log: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in run(Command::new("kcat").args(arguments)).lines() {
        let [partition, offset, value] = words(line);
        log.entry(number(partition)).or_default().push((number(offset), id(value)));
    }
    log
}

/// What the clients have told so far.
#[derive(Default)]
struct Told {
    history: History,
    /// By client number.
    acked: BTreeMap<u32, u64>,
    /// The offset after the last record that each reader was shown of each partition.
    next: BTreeMap<(Reader, Partition), i64>,
}

#[derive(Default, Clone)]
struct Journal(Arc<Mutex<Told>>);

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("no client told nonsense")
    }

    /// Takes one line of a client's, in the words that `tests/compat/README.md` lists.
    fn note(&self, client: u32, line: &str) {
        let mut told = self.lock();
        match line.split(' ').next() {
            Some("sent") => {
                let [_, partition, record] = words(line);
                told.history.sending(number(partition), id(record));
            }
            Some("acked") => {
                let [_, partition, record, offset] = words(line);
                told.history.acked(number(partition), id(record), number(offset));
                *told.acked.entry(client).or_default() += 1;
            }
            Some("shown") => {
                let [_, partition, offset, record] = words(line);
                let (partition, offset) = (number(partition), number(offset));
                told.history.shown(client, partition, offset, id(record));
                told.next.insert((client, partition), offset + 1);
            }
            Some("end") => {
                let [_, partition, offset] = words(line);
                told.history.told_end(client, number(partition), number(offset));
            }
            _ => panic!("client {client} said: {line}"),
        }
    }
}

fn words<const N: usize>(line: &str) -> [&str; N] {
    let words: Vec<_> = line.split(' ').collect();
    words.try_into().unwrap_or_else(|_| panic!("not {N} words: {line}"))
}

fn number<N: std::str::FromStr<Err: Display>>(word: &str) -> N {
    word.parse().unwrap_or_else(|error| panic!("{word:?}: {error}"))
}

fn id(word: &str) -> RecordId {
    RecordId::parse(word).unwrap_or_else(|| panic!("{word:?} is no record of ours"))
}

/// A client program under way.
struct Client {
    number: u32,
    child: Child,
    stdin: ChildStdin,
    listener: JoinHandle<()>,
    journal: Journal,
}

impl Client {
    fn start(mut command: Command, arguments: &[&str], number: u32, journal: &Journal) -> Self {
        command.args(arguments).arg(number.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let heard = journal.clone();
        let listener = thread::spawn(move || {
            stdout.lines().for_each(|line| heard.note(number, &line.expect("text")));
        });
        Self { number, child, stdin, listener, journal: journal.clone() }
    }

    fn acked(&self) -> u64 {
        self.journal.lock().acked.get(&self.number).copied().unwrap_or(0)
    }

    /// Lets the program finish what it has begun.
    fn stop(mut self) {
        self.stdin.write_all(b"stop\n").expect("the program reads its input");
        let status = self.child.wait().expect("a child can be waited for");
        self.listener.join().expect("the program told only what it may");
        assert!(status.success(), "client {} ended with {status}", self.number);
    }
}
