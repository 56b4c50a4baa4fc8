//! How long the broker takes to start and to stop and how much memory it holds: new, after a clean
//! stop, after `kill -9`, with as many gigabytes of data in as many partitions as asked. Figures, not
//! a test; medians of several starts.
//!
//!     start_times [GIGABYTES [PARTITIONS [REPEATS]]]      default 20 4 5
//!
//! "ready" is what the broker says of itself; "answers" is measured from outside, from `exec` to the
//! first answer to Metadata. Before each stop and each kill every partition is written to, so that a
//! start finds as many used logs as there are partitions. "idle" is the processor time of the broker
//! while nobody asks for anything.

use std::env;
use std::time::Duration;

use harness::batch::{ANONYMOUS, batch, record};
use harness::calls::{PRODUCE, produce_request};
use harness::codes;
use harness::deadline::{monotonic_now, now_ms};
use harness::node::Node;
use harness::wire::Connection;
use kafka_protocol::messages::MetadataRequest;
use tempfile::TempDir;

const TOPIC: &str = "data";
/// Bytes of each batch, about.
const BATCH_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = 1024;
/// Partitions of one request when each of them gets a batch.
const PARTITIONS_PER_REQUEST: i32 = 500;
/// How long the idle broker is watched.
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: u64| {
        arguments.next().map_or(default, |text| text.parse().expect("a whole number"))
    };
    let (gigabytes, partitions, repeats) = (argument(20), argument(4), argument(5));
    // Not under a temporary directory: what is measured there is often memory, not a disk.
    let parent = env::current_dir().expect("a working directory");
    let data = TempDir::with_prefix_in("start-times-", parent).expect("a writable directory");

    let mut new = Samples::default();
    for _ in 0..repeats {
        let empty =
            TempDir::with_prefix_in("start-times-", data.path().parent().expect("a parent"))
                .expect("a writable directory");
        let started = monotonic_now();
        let mut node = Node::start_in(empty.path(), &[]);
        new.note(&mut node, started.elapsed());
        assert!(node.stop().success());
    }
    new.print("new directory");

    let mut node = Node::start_in(data.path(), &[]);
    fill(&node, gigabytes, partitions);
    let (mut clean, mut killed, mut stops) = (Samples::default(), Samples::default(), Vec::new());
    for _ in 0..repeats {
        // Some load after each start, or there would be nothing to recover.
        produce(&node, partitions, 64);
        produce_everywhere(&node, partitions);
        node.kill();
        killed.start(&mut node);
        produce(&node, partitions, 64);
        produce_everywhere(&node, partitions);
        let began = monotonic_now();
        assert!(node.stop().success());
        stops.push(began.elapsed().as_secs_f64() * 1000.0);
        clean.start(&mut node);
    }
    tell_idle(&node);
    tell(&format!("clean stop: takes {:.1} ms", median(&mut stops)));
    killed.print(&format!("kill -9, {gigabytes} GB in {partitions} partitions"));
    clean.print(&format!("clean stop, {gigabytes} GB in {partitions} partitions"));
}

/// Writes that many gigabytes, then prints what the process holds.
fn fill(node: &Node, gigabytes: u64, partitions: u64) {
    let mut connection = Connection::open(node.kafka());
    let count = i32::try_from(partitions).expect("few partitions");
    let started = monotonic_now();
    connection.create_topic(TOPIC, count, &[("max.message.bytes", "2000000")]);
    let created = started.elapsed().as_secs_f64();
    let started = monotonic_now();
    produce_everywhere(node, partitions);
    let written = started.elapsed().as_secs_f64();
    tell(&format!("created in {created:.2} s, first write to each in {written:.2} s"));
    let started = monotonic_now();
    produce(node, partitions, (gigabytes << 30) / u64::try_from(BATCH_BYTES).expect("small"));
    let seconds = started.elapsed().as_secs_f64();
    tell(&format!("filled in {seconds:.1} s; resident after it {} MB", resident_mb(node)));
}

fn produce(node: &Node, partitions: u64, batches: u64) {
    let value = "x".repeat(RECORD_BYTES / 2);
    let records: Vec<_> =
        (0..BATCH_BYTES / RECORD_BYTES).map(|_| record(&value, now_ms())).collect();
    let bytes = batch(ANONYMOUS, &records);
    let mut connection = Connection::open(node.kafka());
    for number in 0..batches {
        let partition = i32::try_from(number % partitions).expect("few partitions");
        connection.produce(TOPIC, partition, bytes.clone());
    }
}

/// Writes one small batch to each partition.
fn produce_everywhere(node: &Node, partitions: u64) {
    let bytes = batch(ANONYMOUS, &[record("x", now_ms())]);
    let count = i32::try_from(partitions).expect("few partitions");
    let mut connection = Connection::open(node.kafka());
    for first in (0..count).step_by(usize::try_from(PARTITIONS_PER_REQUEST).expect("positive")) {
        let mut request = produce_request(TOPIC, first, -1, bytes.clone());
        let data = &mut request.topic_data[0].partition_data;
        for partition in first + 1..count.min(first + PARTITIONS_PER_REQUEST) {
            data.push(data[0].clone().with_index(partition));
        }
        for answer in &connection.call(PRODUCE, &request).responses[0].partition_responses {
            assert_eq!(answer.error_code, codes::NONE, "{answer:?}");
        }
    }
}

/// Prints how much of a core the broker takes while nobody asks for anything.
#[expect(clippy::disallowed_methods, reason = "this thread is one that nothing else runs on")]
fn tell_idle(node: &Node) {
    let (began, used) = (monotonic_now(), cpu_seconds(node));
    std::thread::sleep(IDLE);
    let used = cpu_seconds(node) - used;
    let percent = used / began.elapsed().as_secs_f64() * 100.0;
    tell(&format!("idle: {percent:.2} % of a core"));
}

/// Processor time of the broker since it was started, of all its threads.
fn cpu_seconds(node: &Node) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).expect("it runs");
    let nanoseconds = tasks.map(|task| {
        let path = task.expect("a thread").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("a thread that stays");
        text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("nanoseconds")
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Starts of one kind.
#[derive(Default)]
struct Samples {
    ready_ms: Vec<f64>,
    answers_ms: Vec<f64>,
    resident_mb: Vec<f64>,
}

impl Samples {
    fn start(&mut self, node: &mut Node) {
        let started = monotonic_now();
        node.start_again();
        self.note(node, started.elapsed());
    }

    fn note(&mut self, node: &mut Node, until_banner: Duration) {
        let began = monotonic_now();
        Connection::open(node.kafka()).call(12, &MetadataRequest::default());
        self.answers_ms.push((until_banner + began.elapsed()).as_secs_f64() * 1000.0);
        let log = node.log();
        let ready = log.split("ready in ").nth(1).and_then(|rest| rest.split(' ').next());
        self.ready_ms.push(ready.and_then(|ms| ms.parse().ok()).expect("the banner tells"));
        self.resident_mb.push(resident_mb(node));
    }

    fn print(&mut self, what: &str) {
        let [ready, answers, resident] =
            [&mut self.ready_ms, &mut self.answers_ms, &mut self.resident_mb]
                .map(|samples| median(samples));
        tell(&format!(
            "{what}: ready {ready:.1} ms, answers after {answers:.1} ms, resident {resident:.1} MB"
        ));
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Resident memory of the broker.
fn resident_mb(node: &Node) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a running process");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB");
    kib / 1024.0
}

#[expect(clippy::print_stdout, reason = "printing figures is what this program is for")]
fn tell(line: &str) {
    println!("{line}");
}
