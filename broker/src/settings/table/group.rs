//! The settings of a group (KIP-848, KIP-932, KIP-1071).
//!
//! Names, types and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by name. A
//! row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, boolean, int, same, string};

/// The rows.
#[rustfmt::skip]
pub(super) const GROUP: &[Setting] = &[
    int("consumer.assignment.interval.ms").default("1000").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("group.consumer.assignment.interval.ms")])
        .doc("Shortest time between two assignments of the group."),
    int("consumer.heartbeat.interval.ms").default("5000").at_least(1).cluster_wide().honoured()
        .synonyms(&[same("group.consumer.heartbeat.interval.ms")])
        .doc("How often members of the group send heartbeats."),
    int("consumer.session.timeout.ms").default("45000").at_least(1).cluster_wide().honoured()
        .synonyms(&[same("group.consumer.session.timeout.ms")])
        .doc("A member without heartbeats for so long is removed from the group."),
    int("share.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .synonyms(&[same("group.share.assignment.interval.ms")])
        .doc("Shortest time between two assignments of the share group."),
    string("share.auto.offset.reset").default("latest").rule(Rule::OffsetReset).cluster_wide()
        .doc("Where a share group begins that has read nothing yet."),
    int("share.delivery.count.limit").default("5").at_least(2).cluster_wide()
        .synonyms(&[same("group.share.delivery.count.limit")])
        .doc("How often a record is delivered to the share group before it is given up."),
    int("share.heartbeat.interval.ms").default("5000").at_least(1).cluster_wide()
        .synonyms(&[same("group.share.heartbeat.interval.ms")])
        .doc("How often members of the share group send heartbeats."),
    string("share.isolation.level").default("read_uncommitted").one_of(&["read_committed", "read_uncommitted"]).cluster_wide()
        .doc("Whether the share group sees records of transactions that are open or aborted."),
    int("share.partition.max.record.locks").default("2000").at_least(100).cluster_wide()
        .synonyms(&[same("group.share.partition.max.record.locks")])
        .doc("Most records of a partition that the share group may have locked."),
    int("share.record.lock.duration.ms").default("30000").at_least(1000).cluster_wide()
        .synonyms(&[same("group.share.record.lock.duration.ms")])
        .doc("How long a delivered record is locked for its consumer."),
    boolean("share.renew.acknowledge.enable").default("true").cluster_wide()
        .doc("Whether consumers of the share group may lengthen the locks of records."),
    int("share.session.timeout.ms").default("45000").at_least(1).cluster_wide()
        .synonyms(&[same("group.share.session.timeout.ms")])
        .doc("A member without heartbeats for so long is removed from the share group."),
    int("streams.assignment.interval.ms").default("1000").at_least(0).cluster_wide()
        .synonyms(&[same("group.streams.assignment.interval.ms")])
        .doc("Shortest time between two assignments of the streams group."),
    int("streams.heartbeat.interval.ms").default("5000").at_least(1).cluster_wide()
        .synonyms(&[same("group.streams.heartbeat.interval.ms")])
        .doc("How often members of the streams group send heartbeats."),
    int("streams.initial.rebalance.delay.ms").default("3000").at_least(0).cluster_wide()
        .synonyms(&[same("group.streams.initial.rebalance.delay.ms")])
        .doc("How long the new streams group waits for more members."),
    int("streams.num.standby.replicas").default("0").at_least(0).cluster_wide()
        .synonyms(&[same("group.streams.num.standby.replicas")])
        .doc("Standby tasks of each stateful task of the streams group."),
    int("streams.session.timeout.ms").default("45000").at_least(1).cluster_wide()
        .synonyms(&[same("group.streams.session.timeout.ms")])
        .doc("A member without heartbeats for so long is removed from the streams group."),
];
