//! The process and its network: listeners, threads, connections, quotas, metrics.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Setting, class, int, list, long, string};

/// The rows.
#[rustfmt::skip]
pub(super) const SERVER: &[Setting] = &[
    list("advertised.listeners").honoured()
        .doc("Addresses that clients are told to connect to, where they differ from those of listeners."),
    int("background.threads").default("10").at_least(1).cluster_wide()
        .doc("Threads for background work."),
    int("broker.id").default("-1").honoured()
        .doc("Identity of this broker; the same as node.id."),
    string("broker.rack").honoured()
        .doc("Where this broker stands; shown to clients."),
    class("client.quota.callback.class")
        .doc("Java class that computes client quotas. Java plugins are not loaded here."),
    list("config.providers").default("").cluster_wide()
        .doc("Names of providers that resolve variables in settings. None exist here."),
    long("connections.max.idle.ms").default("600000").honoured()
        .doc("A connection without a request for so long is closed."),
    int("delete.records.purgatory.purge.interval.requests").default("1")
        .doc("How many finished DeleteRecords requests are collected at once."),
    list("early.start.listeners")
        .doc("Listeners that open before the broker has its metadata."),
    int("fetch.purgatory.purge.interval.requests").default("1000")
        .doc("How many finished Fetch requests are collected at once."),
    string("inter.broker.listener.name")
        .doc("Listener through which brokers talk to each other."),
    int("kafka.metrics.polling.interval.secs").default("10").at_least(1)
        .doc("How often metrics reporters of the old kind are asked."),
    list("kafka.metrics.reporters").default("")
        .doc("Java classes of metrics reporters of the old kind."),
    string("listener.security.protocol.map").default("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").per_broker()
        .doc("Security protocol of each listener's name."),
    list("listeners").default("PLAINTEXT://:9092").honoured()
        .doc("Addresses to listen on, as NAME://host:port."),
    int("max.connection.creation.rate").default("2147483647").at_least(0).cluster_wide()
        .doc("Most new connections in a second."),
    int("max.connections").default("2147483647").at_least(0).cluster_wide().honoured()
        .doc("Most connections at once."),
    int("max.connections.per.ip").default("2147483647").at_least(0).cluster_wide().honoured()
        .doc("Most connections at once from one address."),
    string("max.connections.per.ip.overrides").default("").cluster_wide()
        .doc("Other limits for named addresses, as host:count pairs."),
    int("max.incremental.fetch.session.cache.slots").default("1000").at_least(0).honoured()
        .doc("Most fetch sessions kept at once."),
    int("max.request.partition.size.limit").default("2000").at_least(1).honoured()
        .doc("Most partitions in one DescribeTopicPartitions response."),
    list("metric.reporters").default("org.apache.kafka.common.metrics.JmxReporter").cluster_wide()
        .doc("Java classes of metrics reporters. Metrics are served over HTTP here."),
    int("metrics.num.samples").default("2").at_least(1)
        .doc("Samples kept for each metric."),
    string("metrics.recording.level").default("INFO")
        .doc("Which metrics are recorded."),
    long("metrics.sample.window.ms").default("30000").at_least(1)
        .doc("Length of one sample of a metric."),
    int("node.id").at_least(0).honoured()
        .doc("Identity of this node in its cluster."),
    int("num.io.threads").default("8").at_least(1).cluster_wide()
        .doc("Threads that serve requests. The runtime sizes itself here."),
    int("num.network.threads").default("3").at_least(1).cluster_wide()
        .doc("Threads that serve sockets. The runtime sizes itself here."),
    int("producer.purgatory.purge.interval.requests").default("1000")
        .doc("How many finished Produce requests are collected at once."),
    long("queued.max.request.bytes").default("-1")
        .doc("Most bytes of requests that wait; -1 is without limit."),
    int("queued.max.requests").default("500").at_least(1)
        .doc("Most requests that wait before sockets are read no further."),
    int("quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure client quotas."),
    int("quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of client quotas."),
    int("request.timeout.ms").default("30000")
        .doc("How long a request of this broker to another may take."),
    long("server.max.startup.time.ms").default("9223372036854775807").at_least(0).internal()
        .doc("How long a start may take."),
    long("socket.connection.setup.timeout.max.ms").default("30000")
        .doc("Longest time that a connection to another broker may take to open."),
    long("socket.connection.setup.timeout.ms").default("10000")
        .doc("First limit on the time that a connection to another broker may take to open."),
    int("socket.listen.backlog.size").default("50").at_least(1)
        .doc("Connections that may wait to be accepted."),
    int("socket.receive.buffer.bytes").default("102400")
        .doc("Receive buffer of sockets; -1 leaves it to the operating system."),
    int("socket.request.max.bytes").default("104857600").at_least(1).honoured()
        .doc("Largest request that is accepted."),
    int("socket.send.buffer.bytes").default("102400")
        .doc("Send buffer of sockets; -1 leaves it to the operating system."),
    int("telemetry.max.bytes").default("1048576").at_least(1).honoured()
        .doc("Largest batch of metrics that a client may push."),
];
