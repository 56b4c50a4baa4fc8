//! Settings: described as Kafka describes them, of every kind of resource, and in force as soon as they
//! are changed.

use harness::batch::{ANONYMOUS, batch_of};
use harness::calls::topic_name;
use harness::codes;
use harness::configs::{describe, differences, from_text};
use harness::deadline::{eventually, now_ms};
use harness::member::group_id;
use harness::node::Node;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Kinds of resources and operations, as the protocol numbers them.
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

fn alter(connection: &mut Connection, kind: i8, name: &str, key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(if value.is_some() { SET } else { DELETE })
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    connection.call(1, &request).responses.remove(0).error_code
}

/// Value and source of one setting.
fn setting(connection: &mut Connection, kind: i8, name: &str, key: &str) -> (String, i8) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let config = connection.call(4, &request).results.remove(0).configs.remove(0);
    (config.value.unwrap_or_default().to_string(), config.config_source)
}

fn names(connection: &mut Connection, kind: i8) -> Vec<String> {
    let request = ListConfigResourcesRequest::default().with_resource_types(vec![kind]);
    let resources = connection.call(1, &request).config_resources;
    resources.into_iter().map(|resource| resource.resource_name.to_string()).collect()
}

/// A name that no other test uses, since another broker's settings outlive the test.
fn unique(theme: &str) -> String {
    format!("{theme}-{}", Uuid::new_v4().simple())
}

/// See `configs/README.md`.
#[test]
fn settings_are_described_as_kafka_describes_them() {
    let node = Node::start();
    let ours = describe(&mut Connection::open(node.kafka()));
    let theirs = from_text(include_str!("../../configs/kafka.txt"));
    let mut found = differences(&theirs, &ours);
    let listed = include_str!("../../configs/differences.txt");
    for line in listed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (setting, why) = line.split_once(": ").expect("KIND NAME: why");
        let (kind, name) = setting.split_once(' ').expect("KIND NAME: why");
        assert!(!why.is_empty(), "{line}");
        let was = found.remove(&(kind.to_owned(), name.to_owned()));
        assert!(was.is_some(), "{setting} is listed and does not differ");
    }
    assert_eq!(found, BTreeMap::new(), "Kafka | Millpond");
}

#[test]
fn groups_have_settings_within_the_brokers_bounds() {
    const OWN: i8 = 8;
    const DEFAULT: i8 = 5;
    let target = Target::start();
    let mut connection = target.connect();
    let connection = &mut connection;
    let (group, key) = (unique("group"), "consumer.session.timeout.ms");
    assert_eq!(setting(connection, GROUP, &group, key), ("45000".to_owned(), DEFAULT));
    assert_eq!(alter(connection, GROUP, &group, key, Some("50000")), codes::NONE);
    eventually("the value is in force", || {
        (setting(connection, GROUP, &group, key) == ("50000".to_owned(), OWN)).then_some(())
    });
    assert!(names(connection, GROUP).contains(&group));
    for (key, value) in [
        (key, "1000"),
        (key, "70000"),
        (key, "x"),
        ("consumer.heartbeat.interval.ms", "1"),
        ("consumer.assignment.interval.ms", "20000"),
        ("share.auto.offset.reset", "never"),
        ("share.isolation.level", "none"),
        ("streams.num.standby.replicas", "9"),
        ("no.such.setting", "1"),
    ] {
        let code = alter(connection, GROUP, &group, key, Some(value));
        assert_eq!(code, codes::INVALID_CONFIG, "{key}={value}");
    }
    let share = ("share.auto.offset.reset", Some("by_duration:PT1H"));
    assert_eq!(alter(connection, GROUP, &group, share.0, share.1), codes::NONE);
    assert_eq!(alter(connection, GROUP, &group, share.0, None), codes::NONE);
    assert_eq!(alter(connection, GROUP, "", key, Some("50000")), codes::INVALID_REQUEST);
    assert_eq!(alter(connection, GROUP, &group, key, None), codes::NONE);
    eventually("a group without settings is not listed", || {
        (!names(connection, GROUP).contains(&group)).then_some(())
    });
}

#[test]
fn members_hear_of_their_groups_settings_at_once() {
    let target = Target::start();
    let mut connection = target.connect();
    let (topic, group) = (unique_topic("heard"), unique("group"));
    connection.create_topic(&topic, 1, &[]);
    connection.find_coordinator(&group);
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(&group))
        .with_member_id(text("member"))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name(&topic)]))
        .with_topic_partitions(Some(vec![]));
    let mut interval = |connection: &mut Connection| {
        let answer = connection.call(1, &request);
        if answer.error_code == codes::NONE {
            request.member_epoch = answer.member_epoch;
            request.topic_partitions = None;
        }
        (answer.error_code == codes::NONE).then_some(answer.heartbeat_interval_ms)
    };
    assert_eq!(eventually("the coordinator serves", || interval(&mut connection)), 5_000);
    let key = "consumer.heartbeat.interval.ms";
    for (value, expected) in [(Some("6000"), 6_000), (None, 5_000)] {
        assert_eq!(alter(&mut connection, GROUP, &group, key, value), codes::NONE);
        eventually("a heartbeat tells the interval", || {
            (interval(&mut connection) == Some(expected)).then_some(())
        });
    }
}

#[test]
fn subscriptions_to_client_metrics_are_settings() {
    const OWN: i8 = 7;
    let target = Target::start();
    let mut connection = target.connect();
    let connection = &mut connection;
    let name = unique("metrics");
    let set = |connection: &mut Connection, key, value| {
        alter(connection, CLIENT_METRICS, &name, key, value)
    };
    for (key, value) in [("metrics", "a,b"), ("interval.ms", "1000"), ("match", "client_id=x.*")] {
        assert_eq!(set(connection, key, Some(value)), codes::NONE, "{key}");
    }
    eventually("the values are in force", || {
        let interval = setting(connection, CLIENT_METRICS, &name, "interval.ms");
        (interval == ("1000".to_owned(), OWN)).then_some(())
    });
    assert!(names(connection, CLIENT_METRICS).contains(&name));
    let legacy = connection.call(0, &ListConfigResourcesRequest::default()).config_resources;
    assert!(legacy.iter().any(|resource| *resource.resource_name == *name));
    for (key, value, code) in [
        ("interval.ms", "99", codes::INVALID_REQUEST),
        ("interval.ms", "3600001", codes::INVALID_REQUEST),
        ("interval.ms", "x", codes::INVALID_CONFIG),
        ("match", "client_id", codes::INVALID_CONFIG),
        ("match", "no_such=x", codes::INVALID_CONFIG),
        ("match", "client_id=[", codes::INVALID_CONFIG),
        ("no.such.setting", "1", codes::INVALID_REQUEST),
    ] {
        assert_eq!(set(connection, key, Some(value)), code, "{key}={value}");
    }
    let nameless = alter(connection, CLIENT_METRICS, "", "interval.ms", Some("1000"));
    assert_eq!(nameless, codes::INVALID_REQUEST);
    for key in ["metrics", "interval.ms", "match"] {
        assert_eq!(set(connection, key, None), codes::NONE);
    }
    eventually("a subscription without settings is gone", || {
        (!names(connection, CLIENT_METRICS).contains(&name)).then_some(())
    });
}

/// What a resource is set to outlives the process.
#[test]
fn settings_of_groups_outlive_a_kill() {
    let mut node = Node::start();
    let mut connection = Connection::open(node.kafka());
    let key = "consumer.heartbeat.interval.ms";
    assert_eq!(alter(&mut connection, GROUP, "g", key, Some("6000")), codes::NONE);
    assert_eq!(
        alter(&mut connection, BROKER, "", "log.retention.ms", Some("7000000")),
        codes::NONE
    );
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    assert_eq!(setting(&mut connection, GROUP, "g", key).0, "6000");
    assert_eq!(setting(&mut connection, BROKER, "", "log.retention.ms").0, "7000000");
}

/// Defaults of topics: the cluster's, then the broker's own, both without a restart.
#[test]
fn defaults_of_topics_change_at_once() {
    let target = Target::start();
    if !target.is_ours() {
        return;
    }
    let mut connection = target.connect();
    let connection = &mut connection;
    let topic = unique_topic("defaults");
    connection.create_topic(&topic, 1, &[]);
    let id = connection.describe_topic(&topic).partitions[0].leader_id.0.to_string();
    let batch = || batch_of(ANONYMOUS, &["x".repeat(600).as_str()], now_ms());
    let produced =
        |connection: &mut Connection| connection.produce_any(&topic, 0, batch()).error_code;
    assert_eq!(produced(connection), codes::NONE);
    assert_eq!(alter(connection, BROKER, "", "message.max.bytes", Some("500")), codes::NONE);
    eventually("the cluster's default is in force", || {
        (produced(connection) == codes::MESSAGE_TOO_LARGE).then_some(())
    });
    assert_eq!(alter(connection, BROKER, &id, "message.max.bytes", Some("5000")), codes::NONE);
    eventually("the broker's own goes before it", || {
        (produced(connection) == codes::NONE).then_some(())
    });
    assert_eq!(alter(connection, BROKER, &id, "message.max.bytes", None), codes::NONE);
    eventually("and gives way again", || {
        (produced(connection) == codes::MESSAGE_TOO_LARGE).then_some(())
    });
    assert_eq!(alter(connection, BROKER, "", "message.max.bytes", None), codes::NONE);
    eventually("as it was at first", || (produced(connection) == codes::NONE).then_some(()));
}

/// Retention and the size of segments, changed for all brokers while a topic holds old records.
#[test]
fn retention_changes_at_once() {
    let node = Node::start_with(&["--set", "log.retention.check.interval.ms=100"]);
    let mut connection = Connection::open(node.kafka());
    let connection = &mut connection;
    connection.create_topic("old", 1, &[]);
    let value = "x".repeat(60_000);
    for _ in 0..30 {
        let batch = batch_of(ANONYMOUS, &[&value], now_ms() - 7_200_000);
        connection.produce("old", 0, batch);
    }
    assert_eq!(connection.list_offset(6, "old", 0, -2).offset, 0);
    for (key, value) in [("log.segment.bytes", "1048576"), ("log.retention.ms", "3600000")] {
        assert_eq!(alter(connection, BROKER, "", key, Some(value)), codes::NONE);
    }
    eventually("the old records go", || {
        (connection.list_offset(6, "old", 0, -2).offset == 30).then_some(())
    });
}

/// Limits of connections, changed while clients are connected.
#[test]
fn limits_of_connections_change_at_once() {
    let mut node = Node::start();
    let mut connection = Connection::open(node.kafka());
    let key = "max.connections.per.ip";
    assert_eq!(alter(&mut connection, BROKER, "", key, Some("1")), codes::NONE);
    eventually("a second connection is closed", || {
        let mut second = Connection::try_open(node.kafka()).ok()?;
        second
            .try_call(0, &kafka_protocol::messages::ApiVersionsRequest::default())
            .is_err()
            .then_some(())
    });
    // What was changed is in force from the next start on, before anybody is let in.
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    assert_eq!(setting(&mut connection, BROKER, "", key).0, "1");
    let mut second = Connection::open(node.kafka());
    assert!(second.try_call(0, &kafka_protocol::messages::ApiVersionsRequest::default()).is_err());
    assert_eq!(alter(&mut connection, BROKER, "", key, None), codes::NONE);
    eventually("a second connection is served", || {
        let mut second = Connection::try_open(node.kafka()).ok()?;
        second.try_call(0, &kafka_protocol::messages::ApiVersionsRequest::default()).ok()
    });
}

#[test]
fn what_is_read_at_start_only_cannot_be_changed() {
    let target = Target::start();
    let mut connection = target.connect();
    for key in
        ["num.partitions", "log.retention.hours", "auto.create.topics.enable", "fetch.max.bytes"]
    {
        let code = alter(&mut connection, BROKER, "", key, Some("5"));
        assert_eq!(code, codes::INVALID_REQUEST, "{key}");
    }
    let listeners = ("listeners", Some("PLAINTEXT://localhost:1"));
    let code = alter(&mut connection, BROKER, "", listeners.0, listeners.1);
    assert_eq!(code, codes::INVALID_REQUEST);
    for (key, value) in
        [("log.segment.bytes", "3"), ("max.connections", "-1"), ("log.cleanup.policy", "x")]
    {
        let code = alter(&mut connection, BROKER, "", key, Some(value));
        assert_eq!(code, codes::INVALID_REQUEST, "{key}");
    }
}

/// Log levels while the broker runs; they last as long as the process.
#[test]
fn log_levels_change_at_once() {
    let target = Target::start();
    let mut connection = target.connect();
    let connection = &mut connection;
    let topic = unique_topic("levels");
    connection.create_topic(&topic, 1, &[]);
    let id = connection.describe_topic(&topic).partitions[0].leader_id.0.to_string();
    const LEVEL: i8 = 6;
    assert_eq!(alter(connection, LOGGER, &id, "root", Some("ERROR")), codes::NONE);
    assert_eq!(setting(connection, LOGGER, &id, "root"), ("ERROR".to_owned(), LEVEL));
    assert_eq!(alter(connection, LOGGER, &id, "root", Some("WARN")), codes::NONE);
    assert_eq!(alter(connection, LOGGER, &id, "root", Some("LOUD")), codes::INVALID_CONFIG);
    assert_eq!(alter(connection, LOGGER, &id, "no.such", Some("INFO")), codes::INVALID_CONFIG);
    assert_eq!(alter(connection, LOGGER, &id, "root", None), codes::INVALID_REQUEST);
    if let Target::Own(node) = &target {
        assert_eq!(alter(connection, LOGGER, &id, "broker", Some("DEBUG")), codes::NONE);
        drop(Connection::open(node.kafka()));
        node.wait_for_log("the client closed the connection");
    }
}
