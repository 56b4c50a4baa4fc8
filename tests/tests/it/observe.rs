//! What an operator sees: health, metrics as `broker/METRICS.md` lists them, and a partition that
//! cannot be used.

use harness::batch::{ANONYMOUS, batch_of};
use harness::calls::topic_name;
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::http;
use harness::node::Node;
use harness::wire::{Connection, text};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Versions in the forms of today, with topics by name.
const FIND_COORDINATOR: i16 = 4;
const OFFSET_COMMIT: i16 = 9;

/// Kind and labels of a metric.
type Shape = (String, BTreeSet<String>);

/// The rows of the documented list.
fn documented() -> BTreeMap<String, Shape> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/METRICS.md");
    let text = std::fs::read_to_string(path).expect("the list of metrics");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let plain = |text: &str| text.trim_matches('`').to_owned();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(plain).collect();
        (plain(cells[1]), (cells[2].to_owned(), labels))
    })
    .collect()
}

/// What a scrape declares, with the labels that its series carry.
fn scraped(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a kind");
            let before = shapes.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(before.is_none(), "{name} is declared twice");
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, labels) = series(line);
            let suffixes = ["", "_bucket", "_sum", "_count"];
            let metric = suffixes.iter().find_map(|suffix| {
                let stem = name.strip_suffix(suffix)?;
                shapes.contains_key(stem).then(|| stem.to_owned())
            });
            let metric = metric.unwrap_or_else(|| panic!("{name} is not declared"));
            shapes.get_mut(&metric).expect("just seen").1.extend(labels);
        }
    }
    shapes
}

/// Name and label names of a line of values; the bounds of buckets are no label of ours.
fn series(line: &str) -> (&str, Vec<String>) {
    let (series, value) = line.rsplit_once(' ').expect("a series and its value");
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let Some((name, labels)) = series.split_once('{') else { return (series, Vec::new()) };
    let names = labels.trim_end_matches('}').split(',').filter_map(|label| label.split('=').next());
    (name, names.filter(|name| *name != "le").map(str::to_owned).collect())
}

/// An alert on what never showed would never fire, and what is not documented helps nobody.
#[test]
fn metrics_are_those_that_are_documented_from_the_first_scrape_on() {
    let node = Node::start();
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    let scrape = || scraped(&http::get(node.http(), "/metrics").1);
    let mut without_groups = documented.clone();
    // Their series come and go with groups; that they are declared shows from the first scrape on.
    let by_group = without_groups.values_mut().filter(|(_, labels)| labels.contains("group"));
    by_group.for_each(|(_, labels)| labels.clear());
    assert_eq!(scrape(), without_groups, "before anything has happened");
    let mut connection = Connection::open(node.kafka());
    connection.create_topic("observed", 2, &[]);
    connection.produce("observed", 0, batch_of(ANONYMOUS, &["a"], now_ms()));
    connection.fetch("observed", 0, 0);
    commit(&mut connection, "group", "observed", &[(0, 0)]);
    assert_eq!(scrape(), documented, "after some requests");
}

/// Commits offsets as one who assigns partitions to itself; waits for the coordinator.
fn commit(connection: &mut Connection, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    eventually("there is a coordinator", || {
        let found = connection.call(FIND_COORDINATOR, &find);
        (found.coordinators[0].error_code == codes::NONE).then_some(())
    });
    let partitions = offsets.iter().map(|(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    eventually("the commit is taken", || {
        let answer = connection.call(OFFSET_COMMIT, &request);
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.all(|partition| partition.error_code == codes::NONE).then_some(())
    });
}

/// Fails unless each of these lines stands in the metrics.
fn assert_shows(node: &Node, lines: &[&str]) {
    let (_, text) = http::get(node.http(), "/metrics");
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is missing:\n{text}");
    }
}

#[test]
fn lag_of_groups_within_a_limit() {
    let node = Node::start_with(&["--group-metrics-max", "2"]);
    let mut connection = Connection::open(node.kafka());
    connection.create_topic("read", 2, &[]);
    for partition in [0, 1] {
        connection.produce("read", partition, batch_of(ANONYMOUS, &["a", "b", "c"], now_ms()));
    }
    commit(&mut connection, "first", "read", &[(0, 1), (1, 3)]);
    assert_shows(
        &node,
        &[
            r#"millpond_groups{protocol="classic",state="Empty"} 1"#,
            r#"millpond_group_lag{group="first"} 2"#,
            r#"millpond_group_partition_lag{group="first",partition="0",topic="read"} 2"#,
            r#"millpond_group_partition_lag{group="first",partition="1",topic="read"} 0"#,
            r#"millpond_group_partition_committed_offset{group="first",partition="0",topic="read"} 1"#,
            "millpond_group_commits_total 2",
            "millpond_group_committed_partitions 2",
            "millpond_groups_left_out 0",
            "millpond_group_partitions_left_out 0",
        ],
    );
    // There is room for the sum of one more, and for nothing of the next.
    commit(&mut connection, "second", "read", &[(0, 0), (1, 0)]);
    assert_shows(&node, &[r#"millpond_group_lag{group="second"} 6"#]);
    commit(&mut connection, "third", "read", &[(0, 0)]);
    connection.produce("read", 0, batch_of(ANONYMOUS, &["d"], now_ms()));
    assert_shows(
        &node,
        &[
            r#"millpond_group_lag{group="first"} 3"#,
            r#"millpond_group_partition_lag{group="first",partition="0",topic="read"} 3"#,
            r#"millpond_group_lag{group="second"} 7"#,
            "millpond_groups_left_out 1",
            "millpond_group_partitions_left_out 3",
        ],
    );
    let (_, text) = http::get(node.http(), "/metrics");
    for hidden in [r#"_lag{group="second",partition="#, r#"group="third""#] {
        assert!(!text.contains(hidden), "{text}");
    }
}

#[test]
fn health_says_what_it_is_asked() {
    let node = Node::start();
    let (status, body) = http::get(node.http(), "/health/live");
    assert_eq!((status, body.contains("live")), (200, true), "{body}");
    let (status, body) = http::get(node.http(), "/health/ready");
    assert_eq!((status, body.contains("\"ready\"")), (200, true), "{body}");
    let (status, index) = http::get(node.http(), "/");
    assert_eq!(status, 200);
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert!(index.contains(path), "{index}");
    }
}

/// Damage takes one partition away, and only that one; log, metrics and clients are told.
#[test]
fn a_damaged_partition_is_offline_and_the_others_are_served() {
    let mut node = Node::start();
    let mut connection = Connection::open(node.kafka());
    for topic in ["sound", "damaged"] {
        connection.create_topic(topic, 1, &[]);
        connection.produce(topic, 0, batch_of(ANONYMOUS, &["a"], now_ms()));
    }
    assert!(node.stop().success());
    let damaged = node.data().join("damaged-0/leader-epoch-checkpoint");
    let mut file = File::create(&damaged).expect("a file of the broker");
    file.write_all(b"0\n1\nnot an epoch\n").expect("a writable folder");
    node.start_again();
    node.wait_for_log(damaged.to_str().expect("UTF-8"));

    let (_, text) = http::get(node.http(), "/metrics");
    for line in ["millpond_partitions_offline 1", "millpond_partitions_online 1"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
    let mut connection = Connection::open(node.kafka());
    let batch = || batch_of(ANONYMOUS, &["b"], now_ms());
    assert_eq!(connection.produce("sound", 0, batch()), 1);
    let refused = connection.produce_any("damaged", 0, batch()).error_code;
    assert_eq!(refused, codes::KAFKA_STORAGE_ERROR);
    assert_eq!(connection.fetch("damaged", 0, 0).error_code, codes::KAFKA_STORAGE_ERROR);
}
