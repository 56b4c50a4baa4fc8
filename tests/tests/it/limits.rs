//! Many partitions, many connections, and clients that send or take less than they should: memory
//! and descriptors stay bounded, and everybody else is served.

use bytes::{Bytes, BytesMut};
use harness::batch::{ANONYMOUS, batch_of, field, records_in, set, values};
use harness::calls::{FETCH, PRODUCE, fetch_request, produce_request, topic_name};
use harness::codes;
use harness::deadline::{eventually, monotonic_now, now_ms};
use harness::http;
use harness::node::Node;
use harness::process::{
    anonymous_bytes, descriptor_count, raise_descriptors_max, resident_bytes, resident_peak_bytes,
};
use harness::wire::{Connection, header_bytes};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::Request;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::process::Command;
use std::thread;

const MIB: u64 = 1 << 20;

/// The many partitions: of each topic, and of those the ones that are written to.
const TOPICS: i32 = 10;
const PARTITIONS: i32 = 1000;
const WRITTEN: i32 = 100;

fn many(topic: i32) -> String {
    format!("many-{topic}")
}

fn written() -> impl Iterator<Item = i32> {
    (0..WRITTEN).map(|place| place * (PARTITIONS / WRITTEN))
}

/// A produce request with one record for each partition of a topic that is written to.
fn produce_to_each(topic: &str) -> ProduceRequest {
    let mut request = produce_request(topic, 0, -1, BytesMut::new());
    let data = &mut request.topic_data[0].partition_data;
    let template = data.remove(0);
    for partition in written() {
        let batch = batch_of(ANONYMOUS, &[&format!("{topic}/{partition}")], now_ms());
        data.push(template.clone().with_index(partition).with_records(Some(batch.freeze())));
    }
    request
}

fn fetch_from_each(topic: &str) -> FetchRequest {
    let mut request = fetch_request(topic, 0, 0);
    let partitions = &mut request.topics[0].partitions;
    let template = partitions.remove(0);
    partitions.extend(written().map(|number| template.clone().with_partition(number)));
    request
}

fn assert_each_holds_its_record(connection: &mut Connection) {
    for topic in (0..TOPICS).map(many) {
        let answer = connection.call(FETCH, &fetch_from_each(&topic));
        let mut seen = 0;
        for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let number = partition.partition_index;
            assert_eq!(partition.error_code, codes::NONE, "{topic}/{number}");
            let held = values(&records_in(partition.records));
            assert_eq!(held, [format!("{topic}/{number}")]);
            seen += 1;
        }
        assert_eq!(seen, WRITTEN, "{topic}");
    }
}

/// Files are opened when they are needed: a partition that nobody uses has none open.
#[test]
#[expect(clippy::print_stdout, reason = "figures of this machine, for whoever looks for them")]
fn ten_thousand_partitions_with_4096_descriptors() {
    const DESCRIPTORS: u32 = 4096;
    let mut node = Node::start_with_descriptors(DESCRIPTORS);
    let mut connection = Connection::open(node.kafka());
    let mut began = monotonic_now();
    let mut lap = |what: &str, pid| {
        let resident_mib = resident_bytes(pid) / MIB;
        let descriptors = descriptor_count(pid);
        println!("{what}: {:?}, {resident_mib} MiB, {descriptors} open", began.elapsed());
        began = monotonic_now();
        assert!(resident_mib < 400, "{what}: {resident_mib} MiB");
    };
    for topic in (0..TOPICS).map(many) {
        let topic = CreatableTopic::default()
            .with_name(topic_name(&topic))
            .with_num_partitions(PARTITIONS)
            .with_replication_factor(1);
        let request =
            CreateTopicsRequest::default().with_timeout_ms(60_000).with_topics(vec![topic]);
        let result = connection.call(7, &request).topics.remove(0);
        assert_eq!(result.error_code, codes::NONE, "{:?}", result.error_message);
    }
    lap("created", node.pid());
    for topic in (0..TOPICS).map(many) {
        let answer = connection.call(PRODUCE, &produce_to_each(&topic));
        for partition in &answer.responses[0].partition_responses {
            assert_eq!(partition.error_code, codes::NONE, "{partition:?}");
        }
    }
    lap("produced to each", node.pid());
    assert_each_holds_its_record(&mut connection);
    lap("fetched from each", node.pid());
    node.kill();
    node.start_again();
    lap("killed and ready again", node.pid());
    assert_each_holds_its_record(&mut Connection::open(node.kafka()));
    lap("fetched from each again", node.pid());
    assert!(node.stop().success(), "{}", node.log());
    node.start_again();
    lap("stopped and ready again", node.pid());
}

/// How many clients the broker counts; the one that asks is of another port.
fn connections(node: &Node) -> usize {
    let count = metric(node, "millpond_connections ");
    count.parse().expect("a whole number of connections")
}

fn metric(node: &Node, series: &str) -> String {
    let (status, text) = http::get(node.http(), "/metrics");
    assert_eq!(status, 200);
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series} is missing:\n{text}")).trim().to_owned()
}

fn assert_serves(node: &Node) {
    let answer = Connection::open(node.kafka()).call(0, &ApiVersionsRequest::default());
    assert_eq!(answer.error_code, codes::NONE);
}

#[test]
#[expect(clippy::print_stdout, reason = "figures of this machine, for whoever looks for them")]
fn five_thousand_idle_connections() {
    const CONNECTIONS: usize = 5000;
    /// Twice what is aimed at: the allocator keeps more than it is asked for.
    const CONNECTION_BYTES_MAX: u64 = 16 << 10;
    raise_descriptors_max(CONNECTIONS + 1000);
    let node = Node::start();
    assert_serves(&node);
    let (bytes_before, open_before) = (anonymous_bytes(node.pid()), descriptor_count(node.pid()));
    // Twice: what the first crowd leaves behind would add up in the second.
    for round in 1..=2 {
        let mut crowd: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(node.kafka())).collect();
        for connection in &mut crowd {
            connection.call(0, &ApiVersionsRequest::default());
        }
        assert_eq!(connections(&node), CONNECTIONS, "all are let in at the same time");
        let grown = anonymous_bytes(node.pid()).saturating_sub(bytes_before);
        let each = grown / u64::try_from(CONNECTIONS).expect("a small number");
        println!("round {round}: {each} bytes for each of {CONNECTIONS} idle connections");
        assert!(each <= CONNECTION_BYTES_MAX, "{each} bytes for each idle connection");
        assert_serves(&node);
        crowd.first_mut().expect("a crowd").call(0, &ApiVersionsRequest::default());
        drop(crowd);
        eventually("all have left", || {
            (connections(&node) == 0 && descriptor_count(node.pid()) <= open_before).then_some(())
        });
    }
}

/// A topic with one partition that holds this many batches of about a megabyte.
fn topic_of_megabytes(connection: &mut Connection, topic: &str, count: usize) {
    connection.create_topic(topic, 1, &[("max.message.bytes", "2000000")]);
    let value = "x".repeat(500_000);
    for _ in 0..count {
        connection.produce(topic, 0, batch_of(ANONYMOUS, &[&value], now_ms()));
    }
}

/// Clients that ask for much and take nothing: what they hold is bounded, others are served, and
/// who begins to read gets everything.
#[test]
fn readers_that_do_not_take_their_fetches() {
    const MEGABYTES: usize = 64;
    const READERS: usize = 40;
    const FETCHES: usize = 20;
    const GROWTH_MAX: u64 = 200 * MIB;
    let node = Node::start();
    let mut writer = Connection::open(node.kafka());
    topic_of_megabytes(&mut writer, "large", MEGABYTES);
    let before = anonymous_bytes(node.pid());
    let mut request = fetch_request("large", 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut reader = Connection::open(node.kafka());
            let sent: Vec<_> = (0..FETCHES).map(|_| reader.send(FETCH, &request)).collect();
            (reader, sent)
        })
        .collect();
    eventually("each reader's first fetch is asked for", || {
        let fetches: usize =
            metric(&node, "millpond_requests_total{api=\"Fetch\"}").parse().ok()?;
        (fetches >= READERS).then_some(())
    });
    for _ in 0..10 {
        writer.produce("large", 0, batch_of(ANONYMOUS, &["meanwhile"], now_ms()));
        let grown = anonymous_bytes(node.pid()).saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{} MiB more", grown / MIB);
    }
    let (reader, sent) = readers.last_mut().expect("readers");
    for correlation_id in sent.iter().take(3) {
        let answer = reader.receive::<FetchRequest>(FETCH, *correlation_id);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, codes::NONE);
        let bytes = partition.records.as_ref().map_or(0, Bytes::len);
        assert!(bytes > 40 << 20, "{bytes} bytes of records");
    }
    drop(readers);
    eventually("they are forgotten", || (connections(&node) == 1).then_some(()));
}

/// Requests in their thousands whose answers are large and wait: the broker stops reading them,
/// and every answer comes, in order, once the client takes them.
#[test]
fn a_client_that_asks_and_does_not_listen() {
    const REQUESTS: i32 = 5000;
    const GROWTH_MAX: u64 = 64 * MIB;
    let node = Node::start();
    let mut connection = Connection::open(node.kafka());
    connection.create_topic("wide", 500, &[]);
    let before = anonymous_bytes(node.pid());
    let all_topics = MetadataRequest::default().with_topics(None);
    let mut asking = Connection::open(node.kafka());
    let mut listening = asking.second_handle();
    let asks = thread::spawn(move || {
        for _ in 0..REQUESTS {
            asking.send(12, &all_topics);
        }
    });
    let answered = || -> f64 {
        let count = metric(&node, "millpond_requests_total{api=\"Metadata\"}");
        count.parse().expect("a number")
    };
    eventually("the broker reads", || (answered() > 100.0).then_some(()));
    let mut last = -1.0;
    eventually("the broker stops reading", || {
        assert_serves(&node);
        (std::mem::replace(&mut last, answered()) == last).then_some(())
    });
    assert!(last < f64::from(REQUESTS), "nothing held the broker back");
    let grown = anonymous_bytes(node.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{} MiB more", grown / MIB);
    for correlation_id in 0..REQUESTS {
        let answer = listening.receive::<MetadataRequest>(12, correlation_id);
        assert_eq!(answer.topics[0].partitions.len(), 500);
    }
    asks.join().expect("everything was sent");
}

/// A length is a promise, not a reason to allocate.
#[test]
fn frames_that_are_announced_and_never_come() {
    const ANNOUNCED: i32 = 100 << 20;
    let node = Node::start();
    let mut connection = Connection::open(node.kafka());
    connection.create_topic("t", 1, &[]);
    let before = anonymous_bytes(node.pid());
    let mut begun = ANNOUNCED.to_be_bytes().to_vec();
    begun.extend_from_slice(&header_bytes(ProduceRequest::KEY, PRODUCE, 0, true));
    let liars: Vec<_> = (0..200)
        .map(|_| {
            let mut liar = Connection::open(node.kafka());
            liar.send_bytes(&begun);
            liar
        })
        .collect();
    eventually("all are let in", || (connections(&node) == 201).then_some(()));
    for _ in 0..20 {
        connection.produce("t", 0, batch_of(ANONYMOUS, &["small"], now_ms()));
    }
    let grown = anonymous_bytes(node.pid()).saturating_sub(before);
    assert!(grown < 32 * MIB, "{} MiB more", grown / MIB);
    drop(liars);
    eventually("they are forgotten", || (connections(&node) == 1).then_some(()));
}

/// Whoever has the wrong port is told so, in the log and where it can be read also on the socket.
#[test]
fn other_protocols_are_named() {
    let node = Node::start();
    let mut tls = Connection::open(node.kafka());
    tls.send_bytes(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    tls.expect_closed();
    node.wait_for_log("speaks TLS");
    let (status, hint) = http::get(node.kafka(), "/metrics");
    assert_eq!(status, 400);
    assert!(hint.contains(&node.http().to_string()), "{hint}");
    node.wait_for_log("speaks HTTP");
    assert_serves(&node);
}

/// Records that grow a thousandfold when they are decompressed, in a topic whose rules make the
/// broker look at them.
#[test]
#[expect(clippy::print_stdout, reason = "figures of this machine, for whoever looks for them")]
fn decompression_bombs() {
    const DECOMPRESSED_BYTES: usize = 900 << 20;
    let bomb = gzip_of_zeros(DECOMPRESSED_BYTES);
    let mut batch = batch_of(ANONYMOUS, &["value"], now_ms());
    batch.truncate(field::RECORD_COUNT.end);
    batch.extend_from_slice(&bomb);
    let length = i32::try_from(batch.len() - field::BATCH_LENGTH.end).expect("about a megabyte");
    set(&mut batch, field::BATCH_LENGTH, &length.to_be_bytes());
    set(&mut batch, field::ATTRIBUTES, &[0, 1]);
    let node = Node::start();
    let mut connection = Connection::open(node.kafka());
    let settings = [("cleanup.policy", "compact"), ("max.message.bytes", "2000000")];
    connection.create_topic("keyed", 1, &settings);
    let before = resident_peak_bytes(node.pid());
    let answer = connection.produce_any("keyed", 0, batch);
    assert_eq!(answer.error_code, codes::INVALID_RECORD, "{:?}", answer.error_message);
    let grown = resident_peak_bytes(node.pid()) - before;
    println!("{} bytes of gzip cost {} MiB", bomb.len(), grown / MIB);
    assert!(grown < 256 * MIB, "{} MiB more", grown / MIB);
    assert_serves(&node);
}

fn gzip_of_zeros(bytes: usize) -> Vec<u8> {
    let mut gzip = Command::new("sh");
    gzip.args(["-c", "head -c \"$1\" /dev/zero | gzip", "sh", &bytes.to_string()]);
    let output = gzip.output().expect("a shell");
    assert!(output.status.success());
    output.stdout
}

/// Every API that is served, with bytes that nobody meant. Long runs of the same kind are made in
/// process; this one sees that the whole process holds.
#[test]
#[expect(clippy::print_stdout, reason = "a failure is repeated from what is printed")]
fn every_api_with_noise_for_a_body() {
    const BODIES: usize = 12;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let node = Node::start();
    let served = Connection::open(node.kafka()).call(0, &ApiVersionsRequest::default()).api_keys;
    let before = anonymous_bytes(node.pid());
    for api in &served {
        for number in 0..BODIES {
            let version = random.random_range(api.min_version..=api.max_version);
            let mut frame = header_bytes(api.api_key, version, 0, random.random());
            // Small numbers are lengths that fit, and so get further than all bytes alike do.
            let largest = if number % 2 == 0 { 3 } else { 255 };
            let length = random.random_range(0..200);
            frame.extend((0..length).map(|_| random.random_range(0..=largest)));
            let mut connection = Connection::open(node.kafka());
            connection.send_frame(&frame);
            connection.finish_sending();
            connection.receive_to_end();
        }
    }
    let grown = anonymous_bytes(node.pid()).saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB more", grown / MIB);
    assert_serves(&node);
}
