//! Topics and their logs: what a topic gets that is created without settings of its own.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, boolean, class, double, int, list, long, string};

/// The rows.
#[rustfmt::skip]
pub(super) const LOG: &[Setting] = &[
    class("alter.config.policy.class.name")
        .doc("Java class that may veto changes of settings. Java plugins are not loaded here."),
    boolean("auto.create.topics.enable").default("true").honoured()
        .doc("Whether a client that asks for the metadata of an unknown topic has it created."),
    int("compression.gzip.level").default("-1").rule(Rule::WithinOr(1, 9, -1)).cluster_wide().honoured()
        .doc("Default of the topic setting of the same name: level of gzip where topics ask for it."),
    int("compression.lz4.level").default("9").rule(Rule::Within(1, 17)).cluster_wide().honoured()
        .doc("Default of the topic setting of the same name: level of lz4 where topics ask for it."),
    string("compression.type").default("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).cluster_wide().honoured()
        .doc("Default of the topic setting of the same name: codec in which batches are stored."),
    int("compression.zstd.level").default("3").rule(Rule::Within(-131_072, 22)).cluster_wide().honoured()
        .doc("Default of the topic setting of the same name: level of zstd where topics ask for it."),
    list("cordoned.log.dirs").default("").per_broker()
        .doc("Log directories that get no new partitions."),
    class("create.topic.policy.class.name")
        .doc("Java class that may veto new topics. Java plugins are not loaded here."),
    int("default.replication.factor").default("1").honoured()
        .doc("Replicas of a topic that is created without a count."),
    boolean("delete.topic.enable").default("true").honoured()
        .doc("Whether clients may delete topics."),
    int("fetch.max.bytes").default("57671680").at_least(1024).honoured()
        .doc("Most bytes of records in one Fetch response; one batch is sent even if it is larger."),
    long("log.cleaner.backoff.ms").default("15000").at_least(0).cluster_wide()
        .doc("Pause of a compaction thread that found nothing to do."),
    long("log.cleaner.dedupe.buffer.size").default("134217728").cluster_wide()
        .doc("Memory in which compaction keeps keys."),
    long("log.cleaner.delete.retention.ms").default("86400000").at_least(0).cluster_wide()
        .doc("Default of the topic setting delete.retention.ms."),
    boolean("log.cleaner.enable").default("true")
        .doc("Whether logs are compacted."),
    double("log.cleaner.io.buffer.load.factor").default("0.9").cluster_wide()
        .doc("How full compaction's memory may become."),
    int("log.cleaner.io.buffer.size").default("524288").at_least(0).cluster_wide()
        .doc("Memory for compaction's reads and writes."),
    double("log.cleaner.io.max.bytes.per.second").default("1.7976931348623157E308").cluster_wide()
        .doc("Most bytes that compaction reads and writes in a second."),
    long("log.cleaner.max.compaction.lag.ms").default("9223372036854775807").at_least(1).cluster_wide()
        .doc("Default of the topic setting max.compaction.lag.ms."),
    double("log.cleaner.min.cleanable.ratio").default("0.5").rule(Rule::Fraction(0.0, 1.0)).cluster_wide()
        .doc("Default of the topic setting min.cleanable.dirty.ratio."),
    long("log.cleaner.min.compaction.lag.ms").default("0").at_least(0).cluster_wide()
        .doc("Default of the topic setting min.compaction.lag.ms."),
    int("log.cleaner.threads").default("1").at_least(0).cluster_wide()
        .doc("Threads that compact logs."),
    list("log.cleanup.policy").default("delete").rule(Rule::EachOf(&["compact", "delete"])).cluster_wide().honoured()
        .doc("Default of the topic setting cleanup.policy."),
    list("log.dir").honoured()
        .doc("Where logs are kept, if log.dirs is not given."),
    long("log.dir.failure.timeout.ms").default("30000").at_least(1)
        .doc("How long a broker lives on after it could not tell of a failed log directory."),
    list("log.dirs").honoured()
        .doc("Where logs are kept."),
    string("log.durability").default("durable").one_of(&["durable", "relaxed"]).cluster_wide().honoured()
        .doc("Default of the topic setting durability: 'durable' or 'relaxed'. Not a setting of Kafka."),
    long("log.flush.interval.messages").default("9223372036854775807").at_least(1).cluster_wide().honoured()
        .doc("Default of the topic setting flush.messages."),
    long("log.flush.interval.ms").cluster_wide().honoured()
        .doc("Default of the topic setting flush.ms."),
    int("log.flush.offset.checkpoint.interval.ms").default("60000").at_least(0)
        .doc("How often the place up to which logs are synced is noted."),
    long("log.flush.scheduler.interval.ms").default("9223372036854775807").honoured()
        .doc("Default of flush.ms where log.flush.interval.ms is not given."),
    int("log.flush.start.offset.checkpoint.interval.ms").default("60000").at_least(0)
        .doc("How often the starts of logs are noted."),
    int("log.index.interval.bytes").default("4096").at_least(0).cluster_wide().honoured()
        .doc("Default of the topic setting index.interval.bytes."),
    int("log.index.size.max.bytes").default("10485760").at_least(4).cluster_wide().honoured()
        .doc("Default of the topic setting segment.index.bytes."),
    long("log.initial.task.delay.ms").default("30000").at_least(0).internal()
        .doc("How long after start background work on logs begins."),
    long("log.local.retention.bytes").default("-2").at_least(-2).cluster_wide()
        .doc("Default of the topic setting local.retention.bytes."),
    long("log.local.retention.ms").default("-2").at_least(-2).cluster_wide()
        .doc("Default of the topic setting local.retention.ms."),
    long("log.message.timestamp.after.max.ms").default("3600000").at_least(0).cluster_wide().honoured()
        .doc("Default of the topic setting message.timestamp.after.max.ms."),
    long("log.message.timestamp.before.max.ms").default("9223372036854775807").at_least(0).cluster_wide().honoured()
        .doc("Default of the topic setting message.timestamp.before.max.ms."),
    string("log.message.timestamp.type").default("CreateTime").one_of(&["CreateTime", "LogAppendTime"]).cluster_wide().honoured()
        .doc("Default of the topic setting message.timestamp.type."),
    boolean("log.preallocate").default("false").cluster_wide()
        .doc("Default of the topic setting preallocate."),
    long("log.retention.bytes").default("-1").cluster_wide().honoured()
        .doc("Default of the topic setting retention.bytes."),
    long("log.retention.check.interval.ms").default("300000").at_least(1).honoured()
        .doc("How often logs are searched for segments to delete."),
    int("log.retention.hours").default("168").honoured()
        .doc("Default of retention.ms, in hours, where neither milliseconds nor minutes are given."),
    int("log.retention.minutes").honoured()
        .doc("Default of retention.ms, in minutes, where no milliseconds are given."),
    long("log.retention.ms").cluster_wide().honoured()
        .doc("Default of the topic setting retention.ms."),
    int("log.roll.hours").default("168").at_least(1).honoured()
        .doc("Default of segment.ms, in hours, where no milliseconds are given."),
    int("log.roll.jitter.hours").default("0").at_least(0).honoured()
        .doc("Default of segment.jitter.ms, in hours, where no milliseconds are given."),
    long("log.roll.jitter.ms").cluster_wide().honoured()
        .doc("Default of the topic setting segment.jitter.ms."),
    long("log.roll.ms").cluster_wide().honoured()
        .doc("Default of the topic setting segment.ms."),
    int("log.segment.bytes").default("1073741824").at_least(1_048_576).cluster_wide().honoured()
        .doc("Default of the topic setting segment.bytes."),
    long("log.segment.delete.delay.ms").default("60000").at_least(0).cluster_wide().honoured()
        .doc("Default of the topic setting file.delete.delay.ms."),
    int("message.max.bytes").default("1048588").at_least(0).cluster_wide().honoured()
        .doc("Default of the topic setting max.message.bytes."),
    int("min.insync.replicas").default("1").at_least(1).cluster_wide().honoured()
        .doc("Default of the topic setting of the same name: replicas that must have a batch before acks=all is answered."),
    int("num.partitions").default("1").at_least(1).honoured()
        .doc("Partitions of a topic that is created without a count."),
    int("num.recovery.threads.per.data.dir").default("2").at_least(1).cluster_wide()
        .doc("Threads that recover logs at start."),
    boolean("unclean.leader.election.enable").default("false").cluster_wide()
        .doc("Whether a replica that may miss acknowledged records may become leader. It never may here."),
    long("unclean.leader.election.interval.ms").default("300000").at_least(1).internal()
        .doc("How often unclean elections are looked for."),
];
