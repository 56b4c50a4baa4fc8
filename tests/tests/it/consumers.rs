//! Real consumers in groups, a test of each kind for each client family: members share a topic and
//! resume where the group has committed, and a crash of the broker costs nobody its place.

use harness::batch::{ANONYMOUS, batch_of};
use harness::consumer::Consumer;
use harness::deadline::now_ms;
use harness::node::Node;
use harness::program::{clients, compat, java};
use harness::target::{Target, unique_topic};
use harness::wire::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

const PARTITIONS: i32 = 4;

/// A topic that a group consumes, and what was produced to it.
struct Topic {
    kafka: SocketAddr,
    name: String,
    group: String,
    end_offset: i64,
}

impl Topic {
    fn create(kafka: SocketAddr) -> Self {
        let (name, group) = (unique_topic("consumed"), unique_topic("group"));
        let mut connection = Connection::open(kafka);
        connection.create_topic(&name, PARTITIONS, &[]);
        connection.find_coordinator(&group);
        Self { kafka, name, group, end_offset: 0 }
    }

    /// Produces so many records to each partition; a record's value names it.
    fn produce(&mut self, records: i64) {
        let mut connection = Connection::open(self.kafka);
        let end_offset = self.end_offset + records;
        for partition in 0..PARTITIONS {
            let value = |offset| format!("{partition}-{offset}");
            let values: Vec<_> = (self.end_offset..end_offset).map(value).collect();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            connection.produce(&self.name, partition, batch_of(ANONYMOUS, &values, now_ms()));
        }
        self.end_offset = end_offset;
    }

    fn member(&self, family: &Family) -> Consumer {
        let mut command = (family.program)();
        command.arg(self.kafka.to_string()).args([&self.name, &self.group]);
        Consumer::start({
            command.args(family.arguments);
            command
        })
    }

    /// Waits until this member has got, and committed, all that was produced.
    fn wait_for_end(&self, family: &Family, member: &Consumer) {
        self.wait_for_end_of(&all(), family, member);
    }

    /// The same for some of the partitions.
    fn wait_for_end_of(&self, partitions: &BTreeSet<i32>, family: &Family, member: &Consumer) {
        member.wait("it gets and commits all", |told| {
            partitions.iter().all(|&partition| {
                let is_last = |&offset: &i64| offset == self.end_offset - 1;
                let committed = told.committed.get(&partition) == Some(&self.end_offset);
                told.offsets(partition).last().is_some_and(is_last)
                    && (!family.tells_commits || committed)
            })
        });
    }
}

/// A client library, as a program that is one member of a group.
struct Family {
    program: fn() -> Command,
    arguments: &'static [&'static str],
    /// Whether it tells that a commit was taken, or commits by itself.
    tells_commits: bool,
}

fn all() -> BTreeSet<i32> {
    (0..PARTITIONS).collect()
}

/// Two members share the partitions, each record is for one of them, and who comes next resumes
/// where they stopped.
fn share_and_resume(family: &Family) {
    let target = Target::start();
    let mut topic = Topic::create(target.kafka());
    topic.produce(50);
    let first = topic.member(family);
    first.wait("it has all partitions", |told| told.assigned == all());
    topic.wait_for_end(family, &first);

    let second = topic.member(family);
    second.wait("the second has partitions", |told| !told.assigned.is_empty());
    let second_owns = second.look(|told| told.assigned.clone());
    let first_owns: BTreeSet<_> = all().difference(&second_owns).copied().collect();
    first.wait("the first has the others", |told| told.assigned == first_owns);
    assert!(!first_owns.is_empty());
    topic.produce(50);
    for (member, owned) in [(&first, &first_owns), (&second, &second_owns)] {
        topic.wait_for_end_of(owned, family, member);
    }
    let of_second = second.leave();
    first.wait("the first has all again", |told| told.assigned == all());
    topic.produce(10);
    topic.wait_for_end_of(&all(), family, &first);
    let of_first = first.leave();
    for partition in all() {
        let mut offsets = [of_first.offsets(partition), of_second.offsets(partition)].concat();
        offsets.sort_unstable();
        let each_once: Vec<_> = (0..topic.end_offset).collect();
        assert_eq!(offsets, each_once, "partition {partition}: {of_first:?} {of_second:?}");
    }
    for got in of_first.got.iter().chain(&of_second.got) {
        assert_eq!(got.value, format!("{}-{}", got.partition, got.offset));
    }

    let resumes_at = topic.end_offset;
    topic.produce(10);
    let third = topic.member(family);
    topic.wait_for_end(family, &third);
    let told = third.leave();
    for partition in all() {
        let expected: Vec<_> = (resumes_at..topic.end_offset).collect();
        assert_eq!(told.offsets(partition), expected, "partition {partition} resumes");
    }
}

/// The broker is killed while a member consumes, twice: it goes on where it was, or at the last
/// commit that it was told of, and leaves nothing out.
fn keep_the_place(family: &Family) {
    let mut node = Node::start();
    let mut topic = Topic::create(node.kafka());
    topic.produce(100);
    let member = topic.member(family);
    topic.wait_for_end(family, &member);
    let mut seams = Vec::new();
    for _ in 0..2 {
        let before = topic.end_offset;
        for _ in 0..20 {
            topic.produce(100);
        }
        member.wait("it gets more", |told| told.got.last().is_some_and(|got| got.offset >= before));
        node.kill();
        seams.push(member.look(|told| (told.got.len(), told.committed.clone())));
        node.start_again();
        topic.produce(10);
        topic.wait_for_end(family, &member);
    }
    let told = member.leave();
    let mut next = BTreeMap::<i32, i64>::new();
    for (number, got) in told.got.iter().enumerate() {
        let next = next.entry(got.partition).or_default();
        assert!(got.offset <= *next, "{got:?} came when {next} was next");
        // What was told before the kill may be committed though the consumer does not know it, so
        // a record may come again, but none from before what it knew to be committed.
        let seam = seams.iter().rev().find(|(length, _)| *length <= number);
        let committed = seam.and_then(|(_, committed)| committed.get(&got.partition));
        assert!(committed.is_none_or(|&committed| got.offset >= committed), "{got:?} came again");
        *next = (*next).max(got.offset + 1);
    }
    assert!(next.values().all(|&next| next == topic.end_offset), "{next:?}");

    let resumes_at = topic.end_offset;
    topic.produce(5);
    let heir = topic.member(family);
    topic.wait_for_end(family, &heir);
    let told = heir.leave();
    for partition in all() {
        let expected: Vec<_> = (resumes_at..topic.end_offset).collect();
        assert_eq!(told.offsets(partition), expected, "partition {partition} resumes");
    }
}

fn python(program: &str) -> Command {
    let mut command = Command::new(clients().join("python/bin/python"));
    command.arg(compat().join(program));
    command
}

fn node_js() -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join("kafkajs/group.js"));
    command
}

const KCAT: Family = Family {
    program: || Command::new(compat().join("kcat/group.sh")),
    arguments: &[],
    tells_commits: false,
};
const LIBRDKAFKA: Family = Family {
    program: || python("confluent-kafka/group.py"),
    arguments: &["classic"],
    tells_commits: true,
};
const AIOKAFKA: Family =
    Family { program: || python("aiokafka/group.py"), arguments: &[], tells_commits: true };
const KAFKAJS: Family = Family { program: node_js, arguments: &[], tells_commits: true };
const JAVA: Family =
    Family { program: || java("Group"), arguments: &["classic"], tells_commits: true };
/// The next-generation protocol (KIP-848).
const LIBRDKAFKA_NEXT: Family = Family { arguments: &["consumer"], ..LIBRDKAFKA };
const JAVA_NEXT: Family = Family { arguments: &["consumer"], ..JAVA };
const FRANZ_GO: Family = Family {
    program: || Command::new(clients().join("bin/franz-go/group")),
    arguments: &[],
    tells_commits: true,
};
const SARAMA: Family = Family {
    program: || Command::new(clients().join("bin/sarama/group")),
    arguments: &[],
    tells_commits: false,
};

#[test]
fn kcat_shares_and_resumes() {
    share_and_resume(&KCAT);
}

#[test]
fn kcat_keeps_its_place() {
    keep_the_place(&KCAT);
}

#[test]
fn librdkafka_shares_and_resumes() {
    share_and_resume(&LIBRDKAFKA);
}

#[test]
fn librdkafka_keeps_its_place() {
    keep_the_place(&LIBRDKAFKA);
}

#[test]
fn aiokafka_shares_and_resumes() {
    share_and_resume(&AIOKAFKA);
}

#[test]
fn aiokafka_keeps_its_place() {
    keep_the_place(&AIOKAFKA);
}

#[test]
fn kafkajs_shares_and_resumes() {
    share_and_resume(&KAFKAJS);
}

#[test]
fn kafkajs_keeps_its_place() {
    keep_the_place(&KAFKAJS);
}

#[test]
fn java_shares_and_resumes() {
    share_and_resume(&JAVA);
}

#[test]
fn java_keeps_its_place() {
    keep_the_place(&JAVA);
}

#[test]
fn librdkafka_of_the_next_generation_shares_and_resumes() {
    share_and_resume(&LIBRDKAFKA_NEXT);
}

#[test]
fn librdkafka_of_the_next_generation_keeps_its_place() {
    keep_the_place(&LIBRDKAFKA_NEXT);
}

#[test]
fn java_of_the_next_generation_shares_and_resumes() {
    share_and_resume(&JAVA_NEXT);
}

#[test]
fn java_of_the_next_generation_keeps_its_place() {
    keep_the_place(&JAVA_NEXT);
}

#[test]
fn franz_go_shares_and_resumes() {
    share_and_resume(&FRANZ_GO);
}

#[test]
fn franz_go_keeps_its_place() {
    keep_the_place(&FRANZ_GO);
}

#[test]
fn sarama_shares_and_resumes() {
    share_and_resume(&SARAMA);
}

#[test]
fn sarama_keeps_its_place() {
    keep_the_place(&SARAMA);
}
