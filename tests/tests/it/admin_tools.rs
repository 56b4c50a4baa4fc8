//! Apache Kafka's tools for administrators: quorum, features, leaders, cluster, producers, metrics of
//! clients, and settings of every kind. Each was run against Kafka first; what it said there stands here.

use crate::tools::{assert_tells, tool};
use harness::batch::{ANONYMOUS, Producer, batch_of};
use harness::deadline::now_ms;
use harness::program::{java, run, run_any};
use harness::target::{Target, unique_topic};
use uuid::Uuid;

const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const ELECTION: &str = "org.apache.kafka.tools.LeaderElectionCommand";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const METRICS: &str = "org.apache.kafka.tools.ClientMetricsCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";
const CONFIGS: &str = "kafka.admin.ConfigCommand";

/// A broker, a topic on it, and the broker's id.
fn start(theme: &str) -> (Target, String, String) {
    let target = Target::start();
    let topic = unique_topic(theme);
    let mut connection = target.connect();
    connection.create_topic(&topic, 1, &[]);
    let id = connection.describe_topic(&topic).partitions[0].leader_id.0.to_string();
    (target, topic, id)
}

/// What a tool says where it succeeds.
fn says(target: &Target, class: &str, arguments: &[&str]) -> String {
    run(tool(class, target).args(arguments))
}

/// What a tool says where it does not.
fn complains(target: &Target, class: &str, arguments: &[&str]) -> String {
    let printed = run_any(tool(class, target).args(arguments));
    assert!(!printed.status.success(), "{}", printed.text);
    printed.text
}

#[test]
fn quorum_and_leaders() {
    let (target, topic, id) = start("tools");
    let status = says(&target, QUORUM, &["describe", "--status"]);
    let leader = format!("LeaderId:               {id}\n");
    assert_tells(&status, &[&leader, "HighWatermark:", "MaxFollowerLag:         0\n"]);
    let voter = format!("CurrentVoters:          [{{\"id\": {id}, \"directoryId\": \"");
    assert_tells(&status, &[&voter, "CurrentObservers:       []\n"]);
    let replication = says(&target, QUORUM, &["describe", "--replication"]);
    assert_tells(&replication, &["NodeId", "LogEndOffset", &id, "Leader"]);

    let preferred = ["--election-type", "preferred"];
    assert_eq!(
        says(&target, ELECTION, &[&preferred[..], &["--all-topic-partitions"]].concat()),
        ""
    );
    let of = |topic| [&preferred[..], &["--topic", topic, "--partition", "0"]].concat();
    let valid = format!("Valid replica already elected for partitions {topic}-0\n");
    assert_eq!(says(&target, ELECTION, &of(&topic)), valid);
    let nowhere = unique_topic("nowhere");
    let complaint = complains(&target, ELECTION, &of(&nowhere));
    assert_tells(&complaint, &[&format!("No such topic as {nowhere}")]);
}

#[test]
fn features_and_cluster() {
    let (target, _, id) = start("tools");
    says(&target, FEATURES, &["describe"]);
    let upgrade = ["upgrade", "--feature", "group.version=9", "--dry-run"];
    let complaint = complains(&target, FEATURES, &upgrade);
    assert_tells(
        &complaint,
        &["Can not upgrade group.version to 9.", "1 out of 1 operation(s) failed."],
    );

    // This one wants the command first.
    let address = target.kafka().to_string();
    let cluster = |command| {
        let mut tool = java(CLUSTER);
        tool.args([command, "--bootstrap-server", &address]);
        tool
    };
    assert_tells(&run(&mut cluster("list-endpoints")), &["ID", "HOST", &id, "unfenced"]);
    assert_tells(&run(&mut cluster("cluster-id")), &["Cluster ID: "]);
    let complaint = run_any(cluster("unregister").args(["--id", "4711"])).text;
    assert_tells(&complaint, &["Broker ID 4711 is not currently registered"]);
}

#[test]
fn producers_and_hanging_transactions() {
    let (target, topic, id) = start("tools");
    let mut connection = target.connect();
    let (producer, epoch) = connection.init_producer_id();
    let batch = |producer| batch_of(producer, &["a", "b"], now_ms());
    connection.produce(&topic, 0, batch(ANONYMOUS));
    connection.produce(&topic, 0, batch(Producer { id: producer, epoch, sequence: 0 }));
    let described =
        says(&target, TRANSACTIONS, &["describe-producers", "--topic", &topic, "--partition", "0"]);
    let row: Vec<_> = described.lines().nth(1).expect("one producer").split_whitespace().collect();
    assert_eq!(row[..4], [&*producer.to_string(), "0", "-1", "1"], "{described}");
    assert_eq!(row[5], "None", "{described}");
    let hanging = says(&target, TRANSACTIONS, &["find-hanging", "--broker-id", &id]);
    assert_eq!(hanging.lines().count(), 1, "only the title: {hanging}");
}

#[test]
fn subscriptions_to_client_metrics() {
    let (target, ..) = start("tools");
    let name = format!("metrics-{}", Uuid::new_v4().simple());
    let of = ["--name", &name];
    let alter = ["--alter", "--metrics", "a.,b.", "--interval", "1000", "--match", "client_id=x.*"];
    let altered = says(&target, METRICS, &[&alter[..], &of].concat());
    assert_eq!(altered, format!("Altered client metrics config for {name}.\n"));
    assert!(says(&target, METRICS, &["--list"]).lines().any(|line| line == name));
    let described = says(&target, METRICS, &[&["--describe"][..], &of].concat());
    let lines = ["interval.ms=1000", "match=client_id=x.*", "metrics=a.,b."];
    assert_tells(&described, &lines);
    let deleted = says(&target, METRICS, &[&["--delete"][..], &of].concat());
    assert_eq!(deleted, format!("Deleted client metrics config for {name}.\n"));
    assert!(!says(&target, METRICS, &["--list"]).lines().any(|line| line == name));
}

#[test]
fn settings_of_groups_brokers_and_loggers() {
    let (target, _, id) = start("tools");
    let group = format!("group-{}", Uuid::new_v4().simple());
    let configs =
        |entity: &[&str], arguments: &[&str]| says(&target, CONFIGS, &[arguments, entity].concat());
    let entity = ["--entity-type", "groups", "--entity-name", &group];
    configs(&entity, &["--alter", "--add-config", "consumer.session.timeout.ms=50000"]);
    let own = "consumer.session.timeout.ms=50000 sensitive=false \
               synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000, \
               DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000}";
    assert_tells(&configs(&entity, &["--describe"]), &["Dynamic configs for group", own]);
    let all = configs(&entity, &["--describe", "--all"]);
    assert_tells(
        &all,
        &["consumer.assignment.interval.ms=1000", own, "streams.session.timeout.ms"],
    );
    configs(&entity, &["--alter", "--delete-config", "consumer.session.timeout.ms"]);

    let entity = ["--entity-type", "brokers", "--entity-name", &id];
    configs(&entity, &["--alter", "--add-config", "max.connections=50000"]);
    let own = "max.connections=50000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:max.connections=50000";
    assert_tells(&configs(&entity, &["--describe"]), &[own]);
    configs(&entity, &["--alter", "--delete-config", "max.connections"]);
    let fixed = ["--alter", "--add-config", "num.partitions=5"];
    complains(&target, CONFIGS, &[&fixed[..], &entity].concat());

    let entity = ["--entity-type", "broker-loggers", "--entity-name", &id];
    configs(&entity, &["--alter", "--add-config", "root=ERROR"]);
    assert_tells(&configs(&entity, &["--describe"]), &["root=ERROR"]);
    configs(&entity, &["--alter", "--add-config", "root=WARN"]);
    let unknown = ["--alter", "--add-config", "no.such.logger=INFO"];
    let complaint = complains(&target, CONFIGS, &[&unknown[..], &entity].concat());
    assert_tells(&complaint, &["Invalid broker logger(s): no.such.logger"]);
}
