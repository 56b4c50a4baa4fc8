//! Consumer, share and streams groups and their internal topics.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, int, list, long, short, string};

/// The rows.
#[rustfmt::skip]
pub(super) const GROUPS: &[Setting] = &[
    int("group.consumer.assignment.interval.ms").default("1000").at_least(0).cluster_wide().honoured()
        .doc("Shortest time between two assignments of a consumer group."),
    list("group.consumer.assignors").default("uniform,range").honoured()
        .doc("Assignors that consumer groups may choose from, the default first."),
    int("group.consumer.heartbeat.interval.ms").default("5000").at_least(1).honoured()
        .doc("How often members of consumer groups send heartbeats."),
    int("group.consumer.max.assignment.interval.ms").default("15000").at_least(0)
        .doc("Largest assignment interval that a consumer group may set."),
    int("group.consumer.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc("Largest heartbeat interval that a consumer group may set."),
    int("group.consumer.max.session.timeout.ms").default("60000").at_least(1)
        .doc("Largest session timeout that a consumer group may set."),
    int("group.consumer.max.size").default("2147483647").at_least(1).honoured()
        .doc("Most members of a consumer group."),
    string("group.consumer.migration.policy").default("bidirectional").honoured()
        .doc("Which ways groups may go between the classic and the consumer protocol."),
    int("group.consumer.min.assignment.interval.ms").default("0").at_least(0)
        .doc("Smallest assignment interval that a consumer group may set."),
    int("group.consumer.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc("Smallest heartbeat interval that a consumer group may set."),
    int("group.consumer.min.session.timeout.ms").default("45000").at_least(1)
        .doc("Smallest session timeout that a consumer group may set."),
    int("group.consumer.regex.refresh.interval.ms").default("600000").at_least(10_000).internal().honoured()
        .doc("How often subscriptions by pattern are resolved again."),
    int("group.consumer.session.timeout.ms").default("45000").at_least(1).honoured()
        .doc("A member of a consumer group without heartbeats for so long is removed."),
    int("group.coordinator.append.linger.ms").default("-1").at_least(-1)
        .doc("How long the group coordinator collects writes; -1 adapts."),
    int("group.coordinator.background.threads").default("2").at_least(1)
        .doc("Threads for background work of the group coordinator."),
    int("group.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .doc("Largest buffer that the group coordinator keeps for reuse."),
    list("group.coordinator.rebalance.protocols").default("classic,consumer,streams").rule(Rule::EachOf(&["consumer", "classic", "share", "streams"]))
        .doc("Group protocols that are served."),
    int("group.coordinator.threads").default("4").at_least(1)
        .doc("Threads of the group coordinator."),
    int("group.initial.rebalance.delay.ms").default("3000").honoured()
        .doc("How long a new group waits for more members before its first assignment."),
    int("group.max.session.timeout.ms").default("1800000").honoured()
        .doc("Largest session timeout that a member of a classic group may ask for."),
    int("group.max.size").default("2147483647").at_least(1).honoured()
        .doc("Most members of a classic group."),
    int("group.min.session.timeout.ms").default("6000").honoured()
        .doc("Smallest session timeout that a member of a classic group may ask for."),
    int("group.share.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .doc("Shortest time between two assignments of a share group."),
    list("group.share.assignors").default("simple")
        .doc("Assignors of share groups."),
    int("group.share.delivery.count.limit").default("5").rule(Rule::Within(2, 10))
        .doc("How often a record is delivered to a share group before it is given up."),
    int("group.share.heartbeat.interval.ms").default("5000").at_least(1)
        .doc("How often members of share groups send heartbeats."),
    int("group.share.initialize.retry.interval.ms").default("30000").at_least(1).internal()
        .doc("Wait before the state of a share partition is initialised again."),
    int("group.share.max.assignment.interval.ms").default("15000").at_least(0)
        .doc("Largest assignment interval that a share group may set."),
    int("group.share.max.delivery.count.limit").default("10").rule(Rule::Within(5, 25))
        .doc("Largest delivery count that a share group may set."),
    int("group.share.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc("Largest heartbeat interval that a share group may set."),
    int("group.share.max.partition.max.record.locks").default("4000").rule(Rule::Within(2000, 10_000))
        .doc("Largest number of locked records that a share group may set."),
    int("group.share.max.record.lock.duration.ms").default("60000").rule(Rule::Within(30_000, 3_600_000))
        .doc("Longest lock that a share group may set."),
    int("group.share.max.session.timeout.ms").default("60000").at_least(1)
        .doc("Largest session timeout that a share group may set."),
    int("group.share.max.share.sessions").default("2000").at_least(1)
        .doc("Most share sessions on a broker."),
    int("group.share.max.size").default("200").rule(Rule::Within(1, 1000))
        .doc("Most members of a share group."),
    int("group.share.min.assignment.interval.ms").default("0").at_least(0)
        .doc("Smallest assignment interval that a share group may set."),
    int("group.share.min.delivery.count.limit").default("2").rule(Rule::Within(2, 5))
        .doc("Smallest delivery count that a share group may set."),
    int("group.share.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc("Smallest heartbeat interval that a share group may set."),
    int("group.share.min.partition.max.record.locks").default("100").rule(Rule::Within(100, 2000))
        .doc("Smallest number of locked records that a share group may set."),
    int("group.share.min.record.lock.duration.ms").default("15000").rule(Rule::Within(1000, 30_000))
        .doc("Shortest lock that a share group may set."),
    int("group.share.min.session.timeout.ms").default("45000").at_least(1)
        .doc("Smallest session timeout that a share group may set."),
    int("group.share.partition.max.record.locks").default("2000").rule(Rule::Within(100, 10_000))
        .doc("Most records of a partition that a share group may have locked."),
    string("group.share.persister.class.name").default("org.apache.kafka.server.share.persister.DefaultStatePersister").internal()
        .doc("Java class that keeps the state of share groups."),
    int("group.share.record.lock.duration.ms").default("30000").rule(Rule::Within(1000, 3_600_000))
        .doc("How long a delivered record is locked for its consumer."),
    int("group.share.session.timeout.ms").default("45000").at_least(1)
        .doc("A member of a share group without heartbeats for so long is removed."),
    int("group.streams.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .doc("Shortest time between two assignments of a streams group."),
    int("group.streams.heartbeat.interval.ms").default("5000").at_least(1)
        .doc("How often members of streams groups send heartbeats."),
    int("group.streams.initial.rebalance.delay.ms").default("3000").at_least(0)
        .doc("How long a new streams group waits for more members."),
    int("group.streams.max.assignment.interval.ms").default("15000").at_least(0)
        .doc("Largest assignment interval that a streams group may set."),
    int("group.streams.max.heartbeat.interval.ms").default("15000").at_least(1)
        .doc("Largest heartbeat interval that a streams group may set."),
    int("group.streams.max.session.timeout.ms").default("60000").at_least(1)
        .doc("Largest session timeout that a streams group may set."),
    int("group.streams.max.size").default("2147483647").at_least(1)
        .doc("Most members of a streams group."),
    int("group.streams.max.standby.replicas").default("2").at_least(0)
        .doc("Largest number of standby tasks that a streams group may set."),
    int("group.streams.min.assignment.interval.ms").default("0").at_least(0)
        .doc("Smallest assignment interval that a streams group may set."),
    int("group.streams.min.heartbeat.interval.ms").default("5000").at_least(1)
        .doc("Smallest heartbeat interval that a streams group may set."),
    int("group.streams.min.session.timeout.ms").default("45000").at_least(1)
        .doc("Smallest session timeout that a streams group may set."),
    int("group.streams.num.standby.replicas").default("0").at_least(0)
        .doc("Standby tasks of each stateful task."),
    int("group.streams.session.timeout.ms").default("45000").at_least(1)
        .doc("A member of a streams group without heartbeats for so long is removed."),
    int("offset.metadata.max.bytes").default("4096").honoured()
        .doc("Largest text that a consumer may commit with an offset."),
    int("offsets.commit.timeout.ms").default("5000").at_least(1)
        .doc("How long a commit of offsets may wait for replicas."),
    int("offsets.load.buffer.size").default("5242880").at_least(1)
        .doc("Bytes read at once while offsets are loaded."),
    long("offsets.retention.check.interval.ms").default("600000").at_least(1).honoured()
        .doc("How often expired offsets are searched."),
    int("offsets.retention.minutes").default("10080").at_least(1).honoured()
        .doc("How long offsets outlive their group."),
    int("offsets.topic.compression.codec").default("0")
        .doc("Codec of the offsets topic, by number."),
    int("offsets.topic.num.partitions").default("50").at_least(1).honoured()
        .doc("Partitions of the offsets topic."),
    short("offsets.topic.replication.factor").default("3").at_least(1).honoured()
        .doc("Replicas of the offsets topic."),
    int("offsets.topic.segment.bytes").default("104857600").at_least(1).honoured()
        .doc("Segment size of the offsets topic."),
    int("share.coordinator.append.linger.ms").default("-1").at_least(-1)
        .doc("How long the share coordinator collects writes; -1 adapts."),
    int("share.coordinator.cached.buffer.max.bytes").default("1048588").at_least(524_288).cluster_wide()
        .doc("Largest buffer that the share coordinator keeps for reuse."),
    int("share.coordinator.cold.partition.snapshot.interval.ms").default("300000").at_least(1).internal()
        .doc("How often idle share partitions are written anew."),
    int("share.coordinator.load.buffer.size").default("5242880").at_least(1)
        .doc("Bytes read at once while share state is loaded."),
    int("share.coordinator.snapshot.update.records.per.snapshot").default("500").rule(Rule::Within(0, 500))
        .doc("Changes of a share partition between two full records."),
    int("share.coordinator.state.topic.compression.codec").default("0")
        .doc("Codec of the share state topic, by number."),
    short("share.coordinator.state.topic.min.isr").default("2").at_least(1)
        .doc("In-sync replicas that the share state topic needs."),
    int("share.coordinator.state.topic.num.partitions").default("50").at_least(1)
        .doc("Partitions of the share state topic."),
    int("share.coordinator.state.topic.prune.interval.ms").default("300000").at_least(1).internal()
        .doc("How often the share state topic is pruned."),
    short("share.coordinator.state.topic.replication.factor").default("3").at_least(1)
        .doc("Replicas of the share state topic."),
    int("share.coordinator.state.topic.segment.bytes").default("104857600").at_least(1)
        .doc("Segment size of the share state topic."),
    int("share.coordinator.threads").default("1").at_least(1)
        .doc("Threads of the share coordinator."),
    int("share.coordinator.write.timeout.ms").default("5000").at_least(1)
        .doc("How long a write of share state may wait for replicas."),
    int("share.fetch.purgatory.purge.interval.requests").default("1000")
        .doc("How many finished share fetches are collected at once."),
];
