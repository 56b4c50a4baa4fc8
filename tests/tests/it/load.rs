//! The load generator keeps its books: what it says it produced is what the log holds and what it
//! fetches, in each of its scenarios, and what it cannot do it reports as an error.

use harness::deadline::eventually;
use harness::load::report::Report;
use harness::target::{Target, unique_topic};
use std::process::{Command, Output};

/// One run of the program against a broker.
fn run(target: &Target, arguments: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_load"));
    program.args(["--bootstrap", &target.kafka().to_string()]);
    program.args(arguments.split_whitespace()).output().expect("the program runs")
}

/// The report of a run that must succeed.
fn load(target: &Target, arguments: &str) -> Report {
    let output = run(target, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "load {arguments}: {complaint}");
    let report: Report = serde_json::from_slice(&output.stdout).expect("one report");
    assert!(report.errors.is_empty(), "load {arguments}: {:?}", report.errors);
    report
}

/// Records in all partitions of a topic.
fn records_in_log(target: &Target, topic: &str, partitions: i32) -> u64 {
    let mut connection = target.connect();
    let ends = (0..partitions).map(|index| connection.list_offset(6, topic, index, -1).offset);
    ends.map(|end| u64::try_from(end).expect("an offset")).sum()
}

#[test]
fn what_was_produced_is_in_the_log_and_is_fetched() {
    let target = Target::start();
    for (codec, acks, connections) in
        [("none", "all", 3), ("lz4", "1", 2), ("zstd", "all", 2), ("gzip", "all", 4)]
    {
        let topic = unique_topic("load");
        let common = format!("--topic {topic} --partitions 2 --connections {connections}");
        let limits = "--batch-bytes 16384 --in-flight 4 --records 5000";
        let produced =
            load(&target, &format!("produce {common} {limits} --codec {codec} --acks {acks}"));
        assert!(produced.records >= 5000, "{codec}");
        assert!(produced.bytes > 0 && produced.requests > 0);
        assert_eq!(produced.records, records_in_log(&target, &topic, 2), "{codec}");

        let each_once = format!("--topic {topic} --partitions 2 --connections 2");
        let fetched = load(&target, &format!("fetch {each_once} --cold-scan --max-bytes 50000"));
        assert_eq!(fetched.records, produced.records, "{codec}");
        assert_eq!(fetched.bytes, produced.bytes, "{codec}");

        // More than the log holds: it begins anew at the end.
        let bytes = 3 * produced.bytes;
        let warm = load(&target, &format!("fetch {each_once} --bytes {bytes}"));
        assert!(warm.bytes >= bytes && warm.records > 2 * produced.records, "{codec}");
    }
}

#[test]
fn requests_without_an_answer_all_arrive() {
    let (target, topic) = (Target::start(), unique_topic("load"));
    let flags = "--records-per-batch 1 --in-flight 8 --acks 0 --records 1000";
    let produced = load(&target, &format!("produce --topic {topic} {flags}"));
    assert_eq!(produced.records, 1000);
    // Read by the broker when the run ends, committed soon after.
    eventually("all records are committed", || {
        (records_in_log(&target, &topic, 1) == 1000).then_some(())
    });
}

#[test]
fn many_producers_and_partitions_keep_their_counts() {
    let target = Target::start();
    for scenario in [
        "keyed --partitions 8 --producers 20",
        "partitions --partitions 30 --partitions-per-request 4",
        "partitions --partitions 30 --rate 500",
    ] {
        let topic = unique_topic("load");
        let report = load(&target, &format!("{scenario} --topic {topic} --seconds 1.5"));
        assert!(report.requests > 0, "{scenario}");
        let partitions = if scenario.starts_with("keyed") { 8 } else { 30 };
        // What was in flight when the time was over is in the log too.
        assert!(report.records <= records_in_log(&target, &topic, partitions), "{scenario}");
        let latency = report.latency_microseconds.expect("answers were timed");
        assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max, "{scenario}");
    }
}

#[test]
fn a_paced_producer_keeps_its_rate_and_every_consumer_gets_everything() {
    let target = Target::start();
    let topic = unique_topic("load");
    let flags = "--rate 200 --seconds 0.5 --connections 2 --partitions 2 --end-to-end";
    let report = load(&target, &format!("latency --topic {topic} {flags}"));
    let rate = report.requests_per_second;
    assert!((100.0..=300.0).contains(&rate), "{rate} requests a second instead of 200");
    let end_to_end = report.end_to_end_microseconds.expect("it was asked for");
    assert!(end_to_end.count > 0);

    let topic = unique_topic("load");
    let flags = "--rate-megabytes 5 --consumers 3 --seconds 0.5";
    let report = load(&target, &format!("fan-out --topic {topic} {flags}"));
    assert!(report.records <= records_in_log(&target, &topic, 1));
    // Each consumer checks the whole; here only that there were three.
    assert!(report.figures["delivered_bytes"] > 2.0 * 1e6, "{:?}", report.figures);
}

#[test]
fn idle_connections_and_sessions_are_measured() {
    let target = Target::start();
    let report = load(&target, "connections --count 60 --active 10 --seconds 0.2");
    assert!(report.requests > 0);
    assert!(report.figures["connect_failures"] < 0.5);
    let topic = unique_topic("load");
    let report = load(&target, &format!("sessions --topic {topic} --partitions 20 --seconds 0.2"));
    assert!(report.requests > 0);
    assert!(report.figures["changed_p50_microseconds"] > 0.0);
}

#[test]
fn topics_come_and_go_and_errors_are_told() {
    let (target, topic) = (Target::start(), unique_topic("load"));
    let settings = "--partitions 3 --config max.message.bytes=20000";
    load(&target, &format!("topic create --topic {topic} {settings}"));
    let refused =
        run(&target, &format!("produce --topic {topic} --batch-bytes 30000 --records 30"));
    assert!(!refused.status.success());
    let report: Report = serde_json::from_slice(&refused.stdout).expect("a report all the same");
    assert_eq!(report.errors[0].code, harness::codes::MESSAGE_TOO_LARGE);
    assert_eq!(report.errors[0].name, "MessageTooLarge");
    load(&target, &format!("topic delete --topic {topic}"));
    let gone = target.connect().describe_topic(&topic).error_code;
    assert_eq!(gone, harness::codes::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn members_of_groups_do_what_each_scenario_is_about() {
    let target = Target::start();
    for scenario in [
        "group-first-record --consumers 3 --seconds 4",
        "group-rebalance --members 20 --seconds 1",
        "group-commits --members 8 --groups 2 --seconds 1",
        "group-idle --members 40 --groups 8 --connections 23 --heartbeat-seconds 0.5 --seconds 1",
    ] {
        let topic = unique_topic("load");
        let report = load(&target, &format!("{scenario} --topic {topic}"));
        assert!(report.requests > 0, "{scenario}");
        assert!(report.latency_microseconds.is_some(), "{scenario}");
    }
}
