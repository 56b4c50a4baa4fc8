//! Consumer, share and streams groups and their internal topics.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, int, list, long, short, string};

/// The rows.
#[rustfmt::skip]
pub(super) const GROUPS: &[Setting] = &[
    int("group.consumer.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .doc(""),
    list("group.consumer.assignors").default("uniform,range")
        .doc(""),
    int("group.consumer.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.consumer.max.assignment.interval.ms").default("15000").at_least(0)
        .doc(""),
    int("group.consumer.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc(""),
    int("group.consumer.max.session.timeout.ms").default("60000").at_least(1)
        .doc(""),
    int("group.consumer.max.size").default("2147483647").at_least(1)
        .doc(""),
    string("group.consumer.migration.policy").default("bidirectional")
        .doc(""),
    int("group.consumer.min.assignment.interval.ms").default("0").at_least(0)
        .doc(""),
    int("group.consumer.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.consumer.min.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("group.consumer.regex.refresh.interval.ms").default("600000").at_least(10_000).internal()
        .doc(""),
    int("group.consumer.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("group.coordinator.append.linger.ms").default("-1").at_least(-1)
        .doc(""),
    int("group.coordinator.background.threads").default("2").at_least(1)
        .doc(""),
    int("group.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .doc(""),
    list("group.coordinator.rebalance.protocols").default("classic,consumer,streams").rule(Rule::EachOf(&["consumer", "classic", "share", "streams"]))
        .doc(""),
    int("group.coordinator.threads").default("4").at_least(1)
        .doc(""),
    int("group.initial.rebalance.delay.ms").default("3000")
        .doc(""),
    int("group.max.session.timeout.ms").default("1800000")
        .doc(""),
    int("group.max.size").default("2147483647").at_least(1)
        .doc(""),
    int("group.min.session.timeout.ms").default("6000")
        .doc(""),
    int("group.share.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .doc(""),
    list("group.share.assignors").default("simple")
        .doc(""),
    int("group.share.delivery.count.limit").default("5").rule(Rule::Within(2, 10))
        .doc(""),
    int("group.share.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.share.initialize.retry.interval.ms").default("30000").at_least(1).internal()
        .doc(""),
    int("group.share.max.assignment.interval.ms").default("15000").at_least(0)
        .doc(""),
    int("group.share.max.delivery.count.limit").default("10").rule(Rule::Within(5, 25))
        .doc(""),
    int("group.share.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc(""),
    int("group.share.max.partition.max.record.locks").default("4000").rule(Rule::Within(2000, 10_000))
        .doc(""),
    int("group.share.max.record.lock.duration.ms").default("60000").rule(Rule::Within(30_000, 3_600_000))
        .doc(""),
    int("group.share.max.session.timeout.ms").default("60000").at_least(1)
        .doc(""),
    int("group.share.max.share.sessions").default("2000").at_least(1)
        .doc(""),
    int("group.share.max.size").default("200").rule(Rule::Within(1, 1000))
        .doc(""),
    int("group.share.min.assignment.interval.ms").default("0").at_least(0)
        .doc(""),
    int("group.share.min.delivery.count.limit").default("2").rule(Rule::Within(2, 5))
        .doc(""),
    int("group.share.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.share.min.partition.max.record.locks").default("100").rule(Rule::Within(100, 2000))
        .doc(""),
    int("group.share.min.record.lock.duration.ms").default("15000").rule(Rule::Within(1000, 30_000))
        .doc(""),
    int("group.share.min.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("group.share.partition.max.record.locks").default("2000").rule(Rule::Within(100, 10_000))
        .doc(""),
    string("group.share.persister.class.name").default("org.apache.kafka.server.share.persister.DefaultStatePersister").internal()
        .doc(""),
    int("group.share.record.lock.duration.ms").default("30000").rule(Rule::Within(1000, 3_600_000))
        .doc(""),
    int("group.share.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("group.streams.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .doc(""),
    int("group.streams.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.streams.initial.rebalance.delay.ms").default("3000").at_least(0)
        .doc(""),
    int("group.streams.max.assignment.interval.ms").default("15000").at_least(0)
        .doc(""),
    int("group.streams.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc(""),
    int("group.streams.max.session.timeout.ms").default("60000").at_least(1)
        .doc(""),
    int("group.streams.max.size").default("2147483647").at_least(1)
        .doc(""),
    int("group.streams.max.standby.replicas").default("2").at_least(0)
        .doc(""),
    int("group.streams.min.assignment.interval.ms").default("0").at_least(0)
        .doc(""),
    int("group.streams.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc(""),
    int("group.streams.min.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("group.streams.num.standby.replicas").default("0").at_least(0)
        .doc(""),
    int("group.streams.session.timeout.ms").default("45000").at_least(1)
        .doc(""),
    int("offset.metadata.max.bytes").default("4096")
        .doc(""),
    int("offsets.commit.timeout.ms").default("5000").at_least(1)
        .doc(""),
    int("offsets.load.buffer.size").default("5242880").at_least(1)
        .doc(""),
    long("offsets.retention.check.interval.ms").default("600000").at_least(1)
        .doc(""),
    int("offsets.retention.minutes").default("10080").at_least(1)
        .doc(""),
    int("offsets.topic.compression.codec").default("0")
        .doc(""),
    int("offsets.topic.num.partitions").default("50").at_least(1)
        .doc(""),
    short("offsets.topic.replication.factor").default("3").at_least(1)
        .doc(""),
    int("offsets.topic.segment.bytes").default("104857600").at_least(1)
        .doc(""),
    int("share.coordinator.append.linger.ms").default("-1").at_least(-1)
        .doc(""),
    int("share.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .doc(""),
    int("share.coordinator.cold.partition.snapshot.interval.ms").default("300000").at_least(1).internal()
        .doc(""),
    int("share.coordinator.load.buffer.size").default("5242880").at_least(1)
        .doc(""),
    int("share.coordinator.snapshot.update.records.per.snapshot").default("500").rule(Rule::Within(0, 500))
        .doc(""),
    int("share.coordinator.state.topic.compression.codec").default("0")
        .doc(""),
    short("share.coordinator.state.topic.min.isr").default("2").at_least(1)
        .doc(""),
    int("share.coordinator.state.topic.num.partitions").default("50").at_least(1)
        .doc(""),
    int("share.coordinator.state.topic.prune.interval.ms").default("300000").at_least(1).internal()
        .doc(""),
    short("share.coordinator.state.topic.replication.factor").default("3").at_least(1)
        .doc(""),
    int("share.coordinator.state.topic.segment.bytes").default("104857600").at_least(1)
        .doc(""),
    int("share.coordinator.threads").default("1").at_least(1)
        .doc(""),
    int("share.coordinator.write.timeout.ms").default("5000").at_least(1)
        .doc(""),
    int("share.fetch.purgatory.purge.interval.requests").default("1000")
        .doc(""),
];
