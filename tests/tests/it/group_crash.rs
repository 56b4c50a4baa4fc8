//! Kills during rebalances and commits: members of two client families, in groups of both protocols,
//! come and go while the process is killed again and again; in the end the checker of histories says
//! whether an offset was lost, or a partition had two owners.

use harness::calls::topic_name;
use harness::deadline::{PATIENCE, eventually};
use harness::history::Partition;
use harness::history::groups::{GroupHistory, Member};
use harness::node::Node;
use harness::program::{clients, compat};
use harness::target::unique_topic;
use harness::wire::{Connection, text};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Repeats a run: the seed that it printed.
const SEED: &str = "MILLPOND_TEST_SEED";
/// How often the broker is killed, if not the default.
const KILLS: &str = "MILLPOND_TEST_KILLS";
const KILLS_DEFAULT: u32 = 12;

const PARTITIONS: Partition = 6;
/// Members of a group at one time, from here to there.
const MEMBERS: std::ops::RangeInclusive<usize> = 1..=3;

/// A member whose goodbye met no broker is waited for until its session ends: far within the patience
/// of this test. Members of the classic protocol say the same themselves.
const SETTINGS: [&str; 5] = [
    "group.initial.rebalance.delay.ms=0",
    "group.consumer.min.session.timeout.ms=10000",
    "group.consumer.session.timeout.ms=10000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
];

/// OffsetFetch in a version with groups, and with topics by name.
const OFFSET_FETCH: i16 = 9;

/// What all members of a group have told, and a way to wait for more.
#[derive(Default)]
struct Recorded {
    history: Mutex<GroupHistory>,
    more: Condvar,
}

impl Recorded {
    fn lock(&self) -> MutexGuard<'_, GroupHistory> {
        self.history.lock().expect("no thread panics while it holds this")
    }

    /// Waits until this holds of the history.
    fn wait_until(&self, what: &str, done: impl Fn(&GroupHistory) -> bool) {
        let waited = self.more.wait_timeout_while(self.lock(), PATIENCE, |history| !done(history));
        let (history, timeout) = waited.expect("no thread panics while it holds this");
        let (assigned, committed) = (history.assigned_count(), history.committed_count());
        drop(history);
        assert!(
            !timeout.timed_out(),
            "{what} not within {PATIENCE:?}: {assigned} assigned, {committed} committed"
        );
    }

    fn wait_for_commits(&self, more: usize) {
        let wanted = self.lock().committed_count() + more;
        self.wait_until("commits", |history| history.committed_count() >= wanted);
    }

    /// A line of a member's.
    fn take(&self, member: Member, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().expect("a number");
        let narrow = |at: usize| i32::try_from(number(at)).expect("a small number");
        let (time, mut history) = (number(1), self.lock());
        match words[0] {
            "assigned" => history.assigned(member, time, narrow(2), narrow(3)),
            "given" => history.given(member, time, narrow(2)),
            "lost" => history.lost(member, narrow(2)),
            "first" => history.began(member, time, narrow(2), number(3)),
            "committing" => history.committing(time, narrow(2), number(3)),
            "committed" => history.committed(time, narrow(2), number(3)),
            other => panic!("what is {other}?"),
        }
        self.more.notify_all();
    }
}

/// A client program that runs until its standard input ends.
struct Program {
    child: Child,
    listener: JoinHandle<()>,
}

impl Program {
    fn start(mut program: Command, listen: impl Fn(&str) + Send + 'static) -> Self {
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().expect("the client program starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let listener =
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| listen(&line)));
        Self { child, listener }
    }

    /// Lets the program come to its end.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let status = eventually("the client program ends", || {
            self.child.try_wait().expect("a child can be waited for")
        });
        assert!(status.success(), "the client program ended with {status}");
        self.listener.join().expect("every line was understood");
    }
}

/// A group: its members of one family, and what they tell.
struct Group {
    name: String,
    /// The program with all of its arguments.
    program: fn(&[&str]) -> Command,
    protocol: &'static str,
    recorded: Arc<Recorded>,
    members: Vec<Program>,
    leaving: Vec<JoinHandle<()>>,
    next_member: Member,
}

impl Group {
    fn new(name: &str, program: fn(&[&str]) -> Command, protocol: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            program,
            protocol,
            recorded: Arc::default(),
            members: Vec::new(),
            leaving: Vec::new(),
            next_member: 1,
        }
    }

    fn add_member(&mut self, bootstrap: &str, topic: &str) {
        let (recorded, member) = (Arc::clone(&self.recorded), self.next_member);
        self.next_member += 1;
        let program = (self.program)(&[bootstrap, topic, &self.name, self.protocol]);
        self.members.push(Program::start(program, move |line| recorded.take(member, line)));
    }

    /// One member comes, or one leaves: a rebalance either way.
    fn disturb(&mut self, bootstrap: &str, topic: &str, random: &mut StdRng) {
        let fewer = self.members.len() > *MEMBERS.start();
        let more = self.members.len() < *MEMBERS.end();
        if more && (!fewer || random.random()) {
            self.add_member(bootstrap, topic);
        } else {
            let leaver = self.members.swap_remove(random.random_range(..self.members.len()));
            // Its goodbye may meet a broker that is being killed, so nobody waits for it here.
            self.leaving.push(thread::spawn(move || leaver.end()));
        }
    }

    /// Lets all members leave, and waits until they have told everything.
    fn end(&mut self) {
        self.members.drain(..).for_each(Program::end);
        for leaving in self.leaving.drain(..) {
            leaving.join().expect("a member that leaves ends well");
        }
    }

    /// What the broker says that the group has committed.
    fn committed(&self, address: SocketAddr, topic: &str) -> HashMap<Partition, i64> {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes((0..PARTITIONS).collect());
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(&self.name)))
            .with_topics(Some(vec![topics]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let mut answer = Connection::open(address).call(OFFSET_FETCH, &request);
        let group = answer.groups.remove(0);
        assert_eq!(group.error_code, 0);
        let partitions = group.topics.into_iter().flat_map(|topic| topic.partitions);
        partitions
            .filter(|partition| partition.committed_offset >= 0)
            .map(|partition| (partition.partition_index, partition.committed_offset))
            .collect()
    }
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

fn franz_go(arguments: &[&str]) -> Command {
    let mut command = Command::new(clients().join("bin/franz-go/member"));
    command.args(arguments);
    command
}

fn librdkafka(arguments: &[&str]) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(compat().join("confluent-kafka/member.py")).args(arguments);
    command
}

fn producer(bootstrap: &str, topic: &str) -> Program {
    let mut command = Command::new(clients().join("bin/franz-go/load"));
    command.args([bootstrap, topic, &PARTITIONS.to_string(), "0"]);
    Program::start(command, |_line| {})
}

#[test]
#[expect(clippy::print_stdout, reason = "a failed run must tell its seed")]
fn no_commit_is_lost_and_no_partition_has_two_owners() {
    let seed = setting(SEED).unwrap_or_else(rand::random::<u64>);
    let kills = setting(KILLS).unwrap_or(KILLS_DEFAULT);
    println!("{SEED}={seed} {KILLS}={kills}");
    let mut random = StdRng::seed_from_u64(seed);

    let settings = SETTINGS.iter().flat_map(|setting| ["--set", setting]);
    let mut node = Node::start_with(&settings.collect::<Vec<_>>());
    let (address, topic) = (node.kafka(), unique_topic("group-crash"));
    let bootstrap = address.to_string();
    Connection::open(address).create_topic(&topic, PARTITIONS, &[]);
    let load = producer(&bootstrap, &topic);
    let mut groups = [
        Group::new("franz-go-classic", franz_go, "classic"),
        Group::new("librdkafka-classic", librdkafka, "classic"),
        Group::new("franz-go-consumer", franz_go, "consumer"),
        Group::new("librdkafka-consumer", librdkafka, "consumer"),
    ];
    for group in &mut groups {
        group.add_member(&bootstrap, &topic);
    }
    for group in &groups {
        group.recorded.wait_for_commits(1);
    }
    for _ in 0..kills {
        for group in &mut groups {
            group.disturb(&bootstrap, &topic, &mut random);
        }
        // Anywhere from the first JoinGroup to the commits of the new generation.
        let witness = groups.choose(&mut random).expect("there are groups");
        witness.recorded.wait_for_commits(random.random_range(0..12));
        node.kill();
        node.start_again();
        for group in &groups {
            group.recorded.wait_for_commits(1);
        }
    }
    load.end();
    for group in &mut groups {
        group.end();
        let history = group.recorded.lock();
        let (assigned, committed) = (history.assigned_count(), history.committed_count());
        println!(
            "{}: {assigned} assigned, {committed} committed through {kills} kills",
            group.name
        );
        history.assert_kept(&group.committed(address, &topic));
    }
}
