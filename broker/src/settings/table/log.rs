//! Topics and their logs: what a topic gets that is created without settings of its own.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, boolean, class, double, int, list, long, string};

/// The rows.
#[rustfmt::skip]
pub(super) const LOG: &[Setting] = &[
    class("alter.config.policy.class.name")
        .doc(""),
    boolean("auto.create.topics.enable").default("true").honoured()
        .doc(""),
    int("compression.gzip.level").default("-1").rule(Rule::WithinOr(1, 9, -1)).cluster_wide().honoured()
        .doc(""),
    int("compression.lz4.level").default("9").rule(Rule::Within(1, 17)).cluster_wide().honoured()
        .doc(""),
    string("compression.type").default("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).cluster_wide().honoured()
        .doc(""),
    int("compression.zstd.level").default("3").rule(Rule::Within(-131_072, 22)).cluster_wide().honoured()
        .doc(""),
    list("cordoned.log.dirs").default("").per_broker()
        .doc(""),
    class("create.topic.policy.class.name")
        .doc(""),
    int("default.replication.factor").default("1").honoured()
        .doc(""),
    boolean("delete.topic.enable").default("true").honoured()
        .doc(""),
    int("fetch.max.bytes").default("57671680").at_least(1024).honoured()
        .doc(""),
    long("log.cleaner.backoff.ms").default("15000").at_least(0).cluster_wide()
        .doc(""),
    long("log.cleaner.dedupe.buffer.size").default("134217728").cluster_wide()
        .doc(""),
    long("log.cleaner.delete.retention.ms").default("86400000").at_least(0).cluster_wide()
        .doc(""),
    boolean("log.cleaner.enable").default("true")
        .doc(""),
    double("log.cleaner.io.buffer.load.factor").default("0.9").cluster_wide()
        .doc(""),
    int("log.cleaner.io.buffer.size").default("524288").at_least(0).cluster_wide()
        .doc(""),
    double("log.cleaner.io.max.bytes.per.second").default("1.7976931348623157E308").cluster_wide()
        .doc(""),
    long("log.cleaner.max.compaction.lag.ms").default("9223372036854775807").at_least(1).cluster_wide()
        .doc(""),
    double("log.cleaner.min.cleanable.ratio").default("0.5").rule(Rule::Fraction(0.0, 1.0)).cluster_wide()
        .doc(""),
    long("log.cleaner.min.compaction.lag.ms").default("0").at_least(0).cluster_wide()
        .doc(""),
    int("log.cleaner.threads").default("1").at_least(0).cluster_wide()
        .doc(""),
    list("log.cleanup.policy").default("delete").rule(Rule::EachOf(&["compact", "delete"])).cluster_wide().honoured()
        .doc(""),
    list("log.dir").honoured()
        .doc(""),
    long("log.dir.failure.timeout.ms").default("30000").at_least(1)
        .doc(""),
    list("log.dirs").honoured()
        .doc(""),
    string("log.durability").default("durable").one_of(&["durable", "relaxed"]).cluster_wide().honoured()
        .doc(""),
    long("log.flush.interval.messages").default("9223372036854775807").at_least(1).cluster_wide().honoured()
        .doc(""),
    long("log.flush.interval.ms").cluster_wide().honoured()
        .doc(""),
    int("log.flush.offset.checkpoint.interval.ms").default("60000").at_least(0)
        .doc(""),
    long("log.flush.scheduler.interval.ms").default("9223372036854775807").honoured()
        .doc(""),
    int("log.flush.start.offset.checkpoint.interval.ms").default("60000").at_least(0)
        .doc(""),
    int("log.index.interval.bytes").default("4096").at_least(0).cluster_wide().honoured()
        .doc(""),
    int("log.index.size.max.bytes").default("10485760").at_least(4).cluster_wide().honoured()
        .doc(""),
    long("log.initial.task.delay.ms").default("30000").at_least(0).internal()
        .doc(""),
    long("log.local.retention.bytes").default("-2").at_least(-2).cluster_wide()
        .doc(""),
    long("log.local.retention.ms").default("-2").at_least(-2).cluster_wide()
        .doc(""),
    long("log.message.timestamp.after.max.ms").default("3600000").at_least(0).cluster_wide().honoured()
        .doc(""),
    long("log.message.timestamp.before.max.ms").default("9223372036854775807").at_least(0).cluster_wide().honoured()
        .doc(""),
    string("log.message.timestamp.type").default("CreateTime").one_of(&["CreateTime", "LogAppendTime"]).cluster_wide().honoured()
        .doc(""),
    boolean("log.preallocate").default("false").cluster_wide()
        .doc(""),
    long("log.retention.bytes").default("-1").cluster_wide().honoured()
        .doc(""),
    long("log.retention.check.interval.ms").default("300000").at_least(1).honoured()
        .doc(""),
    int("log.retention.hours").default("168").honoured()
        .doc(""),
    int("log.retention.minutes").honoured()
        .doc(""),
    long("log.retention.ms").cluster_wide().honoured()
        .doc(""),
    int("log.roll.hours").default("168").at_least(1).honoured()
        .doc(""),
    int("log.roll.jitter.hours").default("0").at_least(0).honoured()
        .doc(""),
    long("log.roll.jitter.ms").cluster_wide().honoured()
        .doc(""),
    long("log.roll.ms").cluster_wide().honoured()
        .doc(""),
    int("log.segment.bytes").default("1073741824").at_least(1_048_576).cluster_wide().honoured()
        .doc(""),
    long("log.segment.delete.delay.ms").default("60000").at_least(0).cluster_wide().honoured()
        .doc(""),
    int("message.max.bytes").default("1048588").at_least(0).cluster_wide().honoured()
        .doc(""),
    int("min.insync.replicas").default("1").at_least(1).cluster_wide().honoured()
        .doc(""),
    int("num.partitions").default("1").at_least(1).honoured()
        .doc(""),
    int("num.recovery.threads.per.data.dir").default("2").at_least(1).cluster_wide()
        .doc(""),
    boolean("unclean.leader.election.enable").default("false").cluster_wide()
        .doc(""),
    long("unclean.leader.election.interval.ms").default("300000").at_least(1).internal()
        .doc(""),
];
