//! Burrow of Debian, which reads the coordinator's log itself, agrees with us about a group's lag.

use harness::batch::{ANONYMOUS, batch_of};
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::http;
use harness::member::commit_request;
use harness::node::Node;
use harness::program::{Running, compat};
use harness::target::{free_port, unique_topic};
use harness::wire::Connection;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long ZooKeeper may take to answer before it is asked anew.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Apache Kafka 4 no longer answers what Burrow asks, so this is for a node of ours only.
#[test]
fn burrow_reports_the_lag() {
    let node = Node::start();
    let (topic, group) = (unique_topic("burrow"), unique_topic("group"));
    let mut connection = Connection::open(node.kafka());
    connection.create_topic(&topic, 2, &[]);
    connection.find_coordinator(&group);
    let scratch = TempDir::new().expect("a temporary directory");
    let (_programs, http) = start(&node, scratch.path());

    let mut end_offset = 0;
    for committed in [[0, 3], [5, 20], [40, 39]] {
        for partition in [0, 1] {
            let batch = batch_of(ANONYMOUS, &["record"; 20], now_ms());
            connection.produce(&topic, partition, batch);
        }
        end_offset += 20;
        // Burrow judges a group by several commits, each newer than the one before.
        let path = format!("/v3/kafka/local/consumer/{group}/lag");
        let expected: Vec<_> = committed.iter().map(|offset| end_offset - offset).collect();
        let mut told = Value::Null;
        eventually(&format!("a lag of {expected:?}, commits of {committed:?}"), || {
            for (partition, offset) in [0, 1].into_iter().zip(committed) {
                let request = commit_request(&group, &topic, partition, offset);
                assert_eq!(connection.commit(9, &request), codes::NONE);
            }
            let (_, body) = http::get(http, &path);
            told = serde_json::from_str(body_of(&body)).ok()?;
            (lags(&told) == expected).then_some(())
        });
        let (_, metrics) = http::get(node.http(), "/metrics");
        for (partition, lag) in lags(&told).into_iter().enumerate() {
            let ours = format!(
                "millpond_group_partition_lag{{group=\"{group}\",partition=\"{partition}\",topic=\"{topic}\"}} {lag}"
            );
            assert!(metrics.lines().any(|line| line == ours), "{ours} in {metrics}");
        }
    }
}

/// The lag of each partition, in their order.
fn lags(told: &Value) -> Vec<i64> {
    let partitions = told["status"]["partitions"].as_array();
    let mut found: Vec<_> = partitions
        .into_iter()
        .flatten()
        .map(|it| (it["partition"].as_i64(), it["current_lag"].as_i64()))
        .collect();
    found.sort_unstable();
    found.into_iter().filter_map(|(_, lag)| lag).collect()
}

/// The JSON of an answer, which comes in one chunk or in none.
fn body_of(body: &str) -> &str {
    let (start, end) = (body.find('{').unwrap_or(0), body.rfind('}').map_or(0, |at| at + 1));
    body.get(start..end).unwrap_or_default()
}

/// Starts Burrow and the ZooKeeper that it insists on; where Burrow answers.
fn start(node: &Node, scratch: &Path) -> ([Running; 2], SocketAddr) {
    let (zookeeper, http) = (free_port(), free_port());
    let write = |name: &str| {
        let template = fs::read_to_string(compat().join("burrow").join(name)).expect("a template");
        let text = template
            .replace("SCRATCH", scratch.to_str().expect("a plain path"))
            .replace("BOOTSTRAP", &node.kafka().to_string())
            .replace("ZOOKEEPER", &zookeeper.to_string())
            .replace("HTTP", &http.to_string());
        let path = scratch.join(name);
        let mut file = File::create(&path).expect("a scratch file");
        file.write_all(text.as_bytes()).expect("a scratch file");
        path
    };
    let log = |name: &str| Stdio::from(File::create(scratch.join(name)).expect("a scratch file"));
    let mut keeper = Command::new("java");
    keeper.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", "-cp"]);
    keeper.arg("/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar");
    keeper.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(write("zoo.cfg"));
    keeper.stdin(Stdio::null()).stdout(log("zookeeper.out")).stderr(log("zookeeper.err"));
    let keeper = Running::spawn(&mut keeper);
    let zookeeper = SocketAddr::from(([127, 0, 0, 1], zookeeper));
    eventually("ZooKeeper serves", || is_serving(zookeeper).then_some(()));

    write("burrow.toml");
    let mut burrow = Command::new("Burrow");
    burrow.arg("--config-dir").arg(scratch);
    burrow.stdin(Stdio::null()).stdout(log("burrow.out")).stderr(log("burrow.err"));
    let burrow = Running::spawn(&mut burrow);
    let http = SocketAddr::from(([127, 0, 0, 1], http));
    eventually("Burrow accepts", || Connection::try_open(http).ok());
    ([burrow, keeper], http)
}

/// Whether ZooKeeper answers. It accepts before it serves, and lets who comes between the two wait.
fn is_serving(zookeeper: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(zookeeper)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.write_all(b"srvr")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    ask().is_ok_and(|answer| answer.contains("Mode: "))
}
