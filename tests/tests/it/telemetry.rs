//! Metrics of clients (KIP-714), with Apache Kafka's own client, and with raw requests where a client
//! would not do such a thing. Ours alone: Kafka serves this only with a Java class of somebody's.

use harness::codes;
use harness::deadline::eventually;
use harness::http;
use harness::node::Node;
use harness::program::{java, run};
use harness::wire::{Connection, text};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    GetTelemetrySubscriptionsRequest, IncrementalAlterConfigsRequest, PushTelemetryRequest,
};
use uuid::Uuid;

const CLIENT_METRICS: i8 = 16;
const SET: i8 = 0;

fn subscribe(connection: &mut Connection, name: &str, settings: &[(&str, &str)]) {
    let configs = settings.iter().map(|(key, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(SET)
            .with_value(Some(text(value)))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(CLIENT_METRICS)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(connection.call(1, &request).responses.remove(0).error_code, codes::NONE);
}

/// Kafka's own producer pushes when it is asked to, and at the latest when it ends.
#[test]
fn metrics_of_a_java_producer_show() {
    let node = Node::start();
    let mut connection = Connection::open(node.kafka());
    let wanted = [
        ("metrics", "org.apache.kafka.producer."),
        ("interval.ms", "500"),
        ("match", "client_software_name=apache-kafka-java"),
    ];
    subscribe(&mut connection, "producers", &wanted);
    connection.create_topic("pushed", 1, &[]);
    let mut performance = java("org.apache.kafka.tools.ProducerPerformance");
    performance.arg("--bootstrap-server").arg(node.kafka().to_string());
    performance.args(["--topic", "pushed", "--num-records", "300", "--record-size", "50"]);
    run(performance.args(["--throughput", "100"]));
    let (_, shown) = http::get(node.http(), "/metrics");
    let series: Vec<_> = shown.lines().filter(|line| line.starts_with("kafka_client_")).collect();
    assert!(!series.is_empty(), "{shown}");
    assert!(series.iter().all(|line| line.starts_with("kafka_client_producer_")), "{series:?}");
    assert!(series.iter().all(|line| line.contains("client_instance_id=\"")), "{series:?}");
    let line = shown.lines().find(|line| line.starts_with("millpond_client_metrics_series "));
    assert_ne!(line, Some("millpond_client_metrics_series 0"));
}

/// What Kafka's `ClientMetricsManager` answers.
#[test]
fn pushes_are_refused_as_kafka_refuses_them() {
    let node = Node::start();
    let mut connection = Connection::open(node.kafka());
    subscribe(&mut connection, "all", &[("metrics", "*"), ("interval.ms", "100")]);
    let ask = |connection: &mut Connection, id| {
        let request = GetTelemetrySubscriptionsRequest::default().with_client_instance_id(id);
        connection.call(0, &request)
    };
    let told = ask(&mut connection, Uuid::nil());
    assert_eq!((told.error_code, told.push_interval_ms), (codes::NONE, 100));
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2], "as Kafka orders them");
    assert_eq!((told.requested_metrics.len(), told.telemetry_max_bytes), (1, 1_048_576));
    let id = told.client_instance_id;
    let push = |connection: &mut Connection, compression: i8, bytes: &[u8], terminating| {
        let request = PushTelemetryRequest::default()
            .with_client_instance_id(id)
            .with_subscription_id(told.subscription_id)
            .with_compression_type(compression)
            .with_terminating(terminating)
            .with_metrics(bytes.to_vec().into());
        connection.call(0, &request).error_code
    };
    // Until the interval is over there is one answer, whatever is pushed.
    let push_in_time = |connection: &mut Connection, compression, bytes: &[u8]| {
        eventually("a push in time", || {
            let code = push(connection, compression, bytes, false);
            (code != codes::THROTTLING_QUOTA_EXCEEDED).then_some(code)
        })
    };
    assert_eq!(push(&mut connection, 0, &[], false), codes::NONE, "the first may come at once");
    for (compression, bytes, code) in [
        (9, &[][..], codes::UNSUPPORTED_COMPRESSION_TYPE),
        (0, &[0xff; 10], codes::INVALID_RECORD),
        (4, b"not zstd", codes::INVALID_RECORD),
        (0, &[0; 1_048_577], codes::TELEMETRY_TOO_LARGE),
        (0, &[], codes::NONE),
    ] {
        assert_eq!(push_in_time(&mut connection, compression, bytes), code, "{compression}");
    }
    subscribe(&mut connection, "all", &[("interval.ms", "200")]);
    let code = push_in_time(&mut connection, 0, &[]);
    assert_eq!(code, codes::UNKNOWN_SUBSCRIPTION_ID, "what is wanted has changed");
    let told = ask(&mut connection, id);
    assert_eq!((told.error_code, told.push_interval_ms), (codes::NONE, 200));
    let last = PushTelemetryRequest::default()
        .with_client_instance_id(id)
        .with_subscription_id(told.subscription_id)
        .with_terminating(true);
    assert_eq!(connection.call(0, &last).error_code, codes::NONE);
    assert_eq!(connection.call(0, &last).error_code, codes::INVALID_REQUEST, "it has ended");
    let nobody = last.with_client_instance_id(Uuid::nil());
    assert_eq!(connection.call(0, &nobody).error_code, codes::INVALID_REQUEST);
}
