//! The settings of a topic.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3, `durability` is our own; the
//! sentences are ours. Sorted by name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{
    Rule, Setting, Synonym, boolean, double, int, list, long, same, string, times,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

const RETENTION: &[Synonym] = &[
    same("log.retention.ms"),
    times("log.retention.minutes", MINUTE),
    times("log.retention.hours", HOUR),
];
const ROLL: &[Synonym] = &[same("log.roll.ms"), times("log.roll.hours", HOUR)];
const JITTER: &[Synonym] = &[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOUR)];
const FLUSH: &[Synonym] = &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// The rows.
#[rustfmt::skip]
pub(super) const TOPIC: &[Setting] = &[
    list("cleanup.policy").default("delete").rule(Rule::EachOf(&["compact", "delete"])).cluster_wide().honoured()
        .synonyms(&[same("log.cleanup.policy")])
        .doc("What happens to old segments: delete them by age and size, compact them by key, both, or nothing (empty). Compacted topics are kept whole for now."),
    int("compression.gzip.level").default("-1").rule(Rule::WithinOr(1, 9, -1)).cluster_wide().honoured()
        .synonyms(&[same("compression.gzip.level")])
        .doc("Level that gzip works at where compression.type asks for gzip; -1 is the codec's own default."),
    int("compression.lz4.level").default("9").rule(Rule::Within(1, 17)).cluster_wide().honoured()
        .synonyms(&[same("compression.lz4.level")])
        .doc("Level that lz4 works at where compression.type asks for lz4."),
    string("compression.type").default("producer").one_of(CODECS).cluster_wide().honoured()
        .synonyms(&[same("compression.type")])
        .doc("Codec in which batches are stored; 'producer' keeps them as they were sent."),
    int("compression.zstd.level").default("3").rule(Rule::Within(-131_072, 22)).cluster_wide().honoured()
        .synonyms(&[same("compression.zstd.level")])
        .doc("Level that zstd works at where compression.type asks for zstd."),
    long("delete.retention.ms").default("86400000").at_least(0).cluster_wide()
        .synonyms(&[same("log.cleaner.delete.retention.ms")])
        .doc("How long a compacted topic keeps the markers of deleted keys."),
    string("durability").default("durable").one_of(&["durable", "relaxed"]).cluster_wide().honoured()
        .synonyms(&[same("log.durability")])
        .doc("When a produce is acknowledged: 'durable' after the data is synced to disk, 'relaxed' after it is in the page cache, which survives a killed process but not a power loss. A partition with more than one replica is always durable. Not a setting of Kafka."),
    long("file.delete.delay.ms").default("60000").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("log.segment.delete.delay.ms")])
        .doc("How long the files of a deleted segment stay on disk after they left the log."),
    long("flush.messages").default("9223372036854775807").at_least(1).cluster_wide().honoured()
        .synonyms(&[same("log.flush.interval.messages")])
        .doc("With durability=relaxed and one replica, sync to disk at the latest after this many records."),
    long("flush.ms").default("9223372036854775807").at_least(0).cluster_wide().honoured()
        .synonyms(FLUSH)
        .doc("With durability=relaxed and one replica, sync to disk at the latest after this long."),
    list("follower.replication.throttled.replicas").default("").rule(Rule::Replicas).cluster_wide()
        .doc("Followers whose replication is slowed down, as partition:broker pairs, or * for all."),
    int("index.interval.bytes").default("4096").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("log.index.interval.bytes")])
        .doc("How many bytes of records lie between two rows of a segment's index."),
    list("leader.replication.throttled.replicas").default("").rule(Rule::Replicas).cluster_wide()
        .doc("Leaders whose replication is slowed down, as partition:broker pairs, or * for all."),
    long("local.retention.bytes").default("-2").at_least(-2).cluster_wide()
        .synonyms(&[same("log.local.retention.bytes")])
        .doc("With tiered storage, how much of a partition stays on local disk; -2 means retention.bytes."),
    long("local.retention.ms").default("-2").at_least(-2).cluster_wide()
        .synonyms(&[same("log.local.retention.ms")])
        .doc("With tiered storage, how long a segment stays on local disk; -2 means retention.ms."),
    long("max.compaction.lag.ms").default("9223372036854775807").at_least(1).cluster_wide()
        .synonyms(&[same("log.cleaner.max.compaction.lag.ms")])
        .doc("A record of a compacted topic becomes due for compaction at the latest after this long."),
    int("max.message.bytes").default("1048588").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("message.max.bytes")])
        .doc("Largest record batch that is accepted, with its header and as sent."),
    long("message.timestamp.after.max.ms").default("3600000").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("log.message.timestamp.after.max.ms")])
        .doc("How far ahead of the broker's clock a record's timestamp may be."),
    long("message.timestamp.before.max.ms").default("9223372036854775807").at_least(0).cluster_wide().honoured()
        .synonyms(&[same("log.message.timestamp.before.max.ms")])
        .doc("How far behind the broker's clock a record's timestamp may be."),
    string("message.timestamp.type").default("CreateTime").one_of(&["CreateTime", "LogAppendTime"]).cluster_wide().honoured()
        .synonyms(&[same("log.message.timestamp.type")])
        .doc("Whether records keep the producer's time or get the broker's when they are appended."),
    double("min.cleanable.dirty.ratio").default("0.5").rule(Rule::Fraction(0.0, 1.0)).cluster_wide()
        .synonyms(&[same("log.cleaner.min.cleanable.ratio")])
        .doc("Share of a compacted log that must be new before it is compacted again."),
    long("min.compaction.lag.ms").default("0").at_least(0).cluster_wide()
        .synonyms(&[same("log.cleaner.min.compaction.lag.ms")])
        .doc("A record of a compacted topic stays untouched for at least this long."),
    int("min.insync.replicas").default("1").at_least(1).cluster_wide().honoured()
        .synonyms(&[same("min.insync.replicas")])
        .doc("How many replicas must have a batch before acks=all is answered; fewer in sync refuse the write."),
    boolean("preallocate").default("false").cluster_wide()
        .synonyms(&[same("log.preallocate")])
        .doc("Whether a new segment's file takes its full size at once."),
    boolean("remote.log.copy.disable").default("false").cluster_wide()
        .doc("With tiered storage, stop copying segments to the remote tier."),
    boolean("remote.log.delete.on.disable").default("false").cluster_wide()
        .doc("Delete what is in the remote tier when tiered storage is switched off for the topic."),
    boolean("remote.storage.enable").default("false").cluster_wide()
        .doc("Whether old segments move to a remote tier. There is no remote tier here: only false is accepted."),
    long("retention.bytes").default("-1").cluster_wide().honoured()
        .synonyms(&[same("log.retention.bytes")])
        .doc("Size of a partition above which its oldest segments are deleted; -1 is without limit."),
    long("retention.ms").default("604800000").at_least(-1).cluster_wide().honoured()
        .synonyms(RETENTION)
        .doc("Age after which segments are deleted; -1 keeps them for ever."),
    int("segment.bytes").default("1073741824").at_least(1_048_576).cluster_wide().honoured()
        .synonyms(&[same("log.segment.bytes")])
        .doc("Size at which a segment is closed and the next one begun; also the largest batch that fits."),
    int("segment.index.bytes").default("10485760").at_least(4).cluster_wide().honoured()
        .synonyms(&[same("log.index.size.max.bytes")])
        .doc("Largest size of a segment's index file."),
    long("segment.jitter.ms").default("0").at_least(0).cluster_wide().honoured()
        .synonyms(JITTER)
        .doc("Random part taken off segment.ms, so that many segments are not closed at once."),
    long("segment.ms").default("604800000").at_least(1).cluster_wide().honoured()
        .synonyms(ROLL)
        .doc("Age at which a segment is closed even if it is not full."),
    boolean("unclean.leader.election.enable").default("false").cluster_wide()
        .synonyms(&[same("unclean.leader.election.enable")])
        .doc("Whether a replica that may miss acknowledged records may become leader. It never may here."),
];
