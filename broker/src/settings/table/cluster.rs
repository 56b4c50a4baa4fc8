//! What brokers do among each other: controllers, replication, transactions, tiering.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{Rule, Setting, boolean, double, int, list, long, short, string};

/// The rows.
#[rustfmt::skip]
pub(super) const CLUSTER: &[Setting] = &[
    int("add.partitions.to.txn.retry.backoff.max.ms").default("100").at_least(0)
        .doc("Longest wait before adding partitions to a transaction is tried again on the server's side."),
    int("add.partitions.to.txn.retry.backoff.ms").default("20").at_least(1)
        .doc("First wait before adding partitions to a transaction is tried again on the server's side."),
    int("alter.log.dirs.replication.quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure the rate of moves between log directories."),
    int("alter.log.dirs.replication.quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of the rate of moves between log directories."),
    boolean("auto.leader.rebalance.enable").default("true").honoured()
        .doc("Whether leadership goes back to preferred replicas by itself."),
    int("broker.heartbeat.interval.ms").default("2000")
        .doc("How often a broker tells the controller that it lives."),
    int("broker.session.timeout.ms").default("9000")
        .doc("A broker without heartbeats for so long counts as gone."),
    boolean("controlled.shutdown.enable").default("true")
        .doc("Whether a stopping broker hands its leaderships over first."),
    list("controller.listener.names")
        .doc("Listeners of the controllers."),
    long("controller.performance.always.log.threshold.ms").default("2000").at_least(0).internal()
        .doc("Controller events slower than this are always logged."),
    long("controller.performance.sample.period.ms").default("60000").at_least(100).internal()
        .doc("How often the controller logs the time of its events."),
    int("controller.quorum.append.linger.ms").default("25").at_least(0)
        .doc("How long the metadata leader collects writes before it syncs them."),
    boolean("controller.quorum.auto.join.enable").default("false")
        .doc("Whether a controller joins the metadata quorum by itself."),
    list("controller.quorum.bootstrap.servers").default("")
        .doc("Addresses where the metadata quorum is found."),
    int("controller.quorum.election.backoff.max.ms").default("1000").at_least(0)
        .doc("Longest wait between two candidacies for metadata leader."),
    int("controller.quorum.election.timeout.ms").default("1000").at_least(0)
        .doc("How long a candidate waits for votes."),
    int("controller.quorum.fetch.max.bytes").default("1048576").at_least(1)
        .doc("Most bytes in one fetch of the metadata log."),
    int("controller.quorum.fetch.snapshot.max.bytes").default("1048576").at_least(1)
        .doc("Most bytes in one fetch of a metadata snapshot."),
    int("controller.quorum.fetch.timeout.ms").default("2000").at_least(0)
        .doc("A follower that could not fetch metadata for so long asks for an election."),
    int("controller.quorum.request.timeout.ms").default("2000").at_least(0)
        .doc("How long a request of the metadata quorum may take."),
    int("controller.quorum.retry.backoff.ms").default("20").at_least(0)
        .doc("Wait before a request of the metadata quorum is sent again."),
    list("controller.quorum.voters").default("")
        .doc("Voters of the metadata quorum, as id@host:port."),
    int("controller.quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure the rate of metadata changes."),
    int("controller.quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of the rate of metadata changes."),
    int("controller.socket.timeout.ms").default("30000")
        .doc("How long a connection to a controller may be silent."),
    boolean("follower.fetch.last.tiered.offset.enable").default("false").cluster_wide()
        .doc("Whether a new follower starts behind what is in the remote tier."),
    long("follower.replication.throttled.rate").default("9223372036854775807").at_least(0).cluster_wide().internal()
        .doc("Bytes per second at which throttled followers replicate."),
    int("initial.broker.registration.timeout.ms").default("60000")
        .doc("How long a starting broker tries to register."),
    long("internal.metadata.delete.delay.millis").default("60000").internal()
        .doc("How long deleted metadata segments stay on disk."),
    int("internal.metadata.log.segment.bytes").internal()
        .doc("Size of a metadata segment, for tests."),
    int("internal.metadata.max.batch.size.in.bytes").default("8388608").internal()
        .doc("Largest batch of the metadata log, for tests."),
    long("leader.imbalance.check.interval.seconds").default("300").at_least(1)
        .doc("How often the balance of leaderships is checked."),
    long("leader.replication.throttled.rate").default("9223372036854775807").at_least(0).cluster_wide().internal()
        .doc("Bytes per second at which throttled leaders serve followers."),
    string("metadata.log.dir")
        .doc("Where the metadata log is kept, if not in the first log directory."),
    long("metadata.log.max.record.bytes.between.snapshots").default("20971520").at_least(1)
        .doc("A metadata snapshot is due after so many bytes."),
    long("metadata.log.max.snapshot.interval.ms").default("3600000").at_least(0)
        .doc("A metadata snapshot is due after this long."),
    int("metadata.log.segment.bytes").default("1073741824").at_least(8_388_608)
        .doc("Size of a metadata segment."),
    long("metadata.log.segment.ms").default("604800000")
        .doc("Age at which a metadata segment is closed."),
    int("metadata.max.idle.interval.ms").default("500").at_least(0)
        .doc("How often an idle metadata leader writes a sign of life."),
    long("metadata.max.retention.bytes").default("104857600")
        .doc("Size of metadata log and snapshots above which old ones are deleted."),
    long("metadata.max.retention.ms").default("604800000")
        .doc("Age at which metadata log and snapshots are deleted."),
    int("num.replica.alter.log.dirs.threads")
        .doc("Threads that move logs between directories."),
    int("num.replica.fetchers").default("1").at_least(1).cluster_wide()
        .doc("Threads that replicate from each broker."),
    list("process.roles").rule(Rule::EachOf(&["broker", "controller"]))
        .doc("Whether this process is broker, controller or both. Every process is both here."),
    int("producer.id.expiration.check.interval.ms").default("600000").at_least(1).internal()
        .doc("How often expired producer ids are searched."),
    int("producer.id.expiration.ms").default("86400000").at_least(1).cluster_wide().honoured()
        .doc("The state of an idempotent producer expires after so long without a batch."),
    int("remote.fetch.max.wait.ms").default("500").at_least(1).cluster_wide()
        .doc("How long a fetch waits for the remote tier."),
    long("remote.list.offsets.request.timeout.ms").default("30000").at_least(1).cluster_wide()
        .doc("How long ListOffsets waits for the remote tier."),
    long("remote.log.index.file.cache.total.size.bytes").default("1073741824").at_least(1).cluster_wide()
        .doc("Disk space for indexes fetched from the remote tier."),
    long("remote.log.index.file.cache.ttl.ms").default("900000").at_least(-1).internal()
        .doc("How long an unused index of the remote tier is kept."),
    int("remote.log.manager.copier.thread.pool.size").default("10").at_least(1).cluster_wide()
        .doc("Threads that copy segments to the remote tier."),
    long("remote.log.manager.copy.max.bytes.per.second").default("9223372036854775807").at_least(1).cluster_wide()
        .doc("Most bytes copied to the remote tier in a second."),
    int("remote.log.manager.copy.quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure the rate of copies to the remote tier."),
    int("remote.log.manager.copy.quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of the rate of copies to the remote tier."),
    int("remote.log.manager.expiration.thread.pool.size").default("10").at_least(1).cluster_wide()
        .doc("Threads that delete expired segments in the remote tier."),
    long("remote.log.manager.fetch.max.bytes.per.second").default("9223372036854775807").at_least(1).cluster_wide()
        .doc("Most bytes fetched from the remote tier in a second."),
    int("remote.log.manager.fetch.quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure the rate of fetches from the remote tier."),
    int("remote.log.manager.fetch.quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of the rate of fetches from the remote tier."),
    int("remote.log.manager.follower.thread.pool.size").default("2").at_least(1).cluster_wide()
        .doc("Threads for remote tier work on followers."),
    long("remote.log.manager.task.interval.ms").default("30000").at_least(1)
        .doc("How often remote tier work is looked for."),
    long("remote.log.manager.task.retry.backoff.max.ms").default("30000").at_least(1).internal()
        .doc("Longest wait before remote tier work is tried again."),
    long("remote.log.manager.task.retry.backoff.ms").default("500").at_least(1).internal()
        .doc("First wait before remote tier work is tried again."),
    double("remote.log.manager.task.retry.jitter").default("0.2").rule(Rule::Fraction(0.0, 0.5)).internal()
        .doc("Random part of the wait before remote tier work is tried again."),
    int("remote.log.manager.thread.pool.size").default("2").at_least(1)
        .doc("Threads for remote tier work."),
    int("remote.log.metadata.custom.metadata.max.bytes").default("128").at_least(0)
        .doc("Largest metadata that a remote storage plugin may add."),
    string("remote.log.metadata.manager.class.name").default("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager")
        .doc("Java class that keeps the remote tier's metadata."),
    string("remote.log.metadata.manager.class.path")
        .doc("Where that class is found."),
    string("remote.log.metadata.manager.impl.prefix").default("rlmm.config.")
        .doc("Prefix of that class's own settings."),
    string("remote.log.metadata.manager.listener.name")
        .doc("Listener through which that class talks to the brokers."),
    int("remote.log.reader.max.pending.tasks").default("100").at_least(1)
        .doc("Most reads of the remote tier that wait."),
    int("remote.log.reader.threads").default("10").at_least(1).cluster_wide()
        .doc("Threads that read the remote tier."),
    string("remote.log.storage.manager.class.name")
        .doc("Java class that stores segments in the remote tier."),
    string("remote.log.storage.manager.class.path")
        .doc("Where that class is found."),
    string("remote.log.storage.manager.impl.prefix").default("rsm.config.")
        .doc("Prefix of that class's own settings."),
    boolean("remote.log.storage.system.enable").default("false")
        .doc("Whether tiered storage exists at all. It does not here."),
    long("replica.alter.log.dirs.io.max.bytes.per.second").default("9223372036854775807").at_least(0).cluster_wide().internal()
        .doc("Bytes per second of moves between log directories."),
    int("replica.fetch.backoff.ms").default("1000").at_least(0)
        .doc("Wait of a follower after a failed fetch."),
    int("replica.fetch.max.bytes").default("1048576").at_least(0)
        .doc("Most bytes of one partition in a follower's fetch."),
    int("replica.fetch.min.bytes").default("1")
        .doc("Fewest bytes for which a follower's fetch is answered at once."),
    int("replica.fetch.response.max.bytes").default("10485760").at_least(0)
        .doc("Most bytes in the answer to a follower's fetch."),
    int("replica.fetch.wait.max.ms").default("500")
        .doc("How long a follower's fetch waits for data."),
    long("replica.high.watermark.checkpoint.interval.ms").default("5000")
        .doc("How often high watermarks are noted on disk."),
    long("replica.lag.time.max.ms").default("30000")
        .doc("A follower that was behind for so long leaves the in-sync replicas."),
    string("replica.selector.class")
        .doc("Java class that chooses the replica that a consumer reads. Java plugins are not loaded here."),
    int("replica.socket.receive.buffer.bytes").default("65536")
        .doc("Socket buffer for replication."),
    int("replica.socket.timeout.ms").default("30000")
        .doc("How long a request of replication may take."),
    int("replication.quota.window.num").default("11").at_least(1)
        .doc("Samples kept to measure replication's rate."),
    int("replication.quota.window.size.seconds").default("1").at_least(1)
        .doc("Length of one sample of replication's rate."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms").default("10000").at_least(1)
        .doc("How often transactions past their timeout are aborted."),
    int("transaction.max.timeout.ms").default("900000").at_least(1)
        .doc("Largest timeout that a transaction may ask for."),
    boolean("transaction.partition.verification.enable").default("true").cluster_wide()
        .doc("Whether a produce is checked against the transaction's state."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms").default("3600000").at_least(1)
        .doc("How often expired transactional ids are removed."),
    int("transaction.state.log.load.buffer.size").default("5242880").at_least(1)
        .doc("Bytes read at once while transactions are loaded."),
    int("transaction.state.log.min.isr").default("2").at_least(1)
        .doc("In-sync replicas that the transaction topic needs."),
    int("transaction.state.log.num.partitions").default("50").at_least(1)
        .doc("Partitions of the transaction topic."),
    short("transaction.state.log.replication.factor").default("3").at_least(1)
        .doc("Replicas of the transaction topic."),
    int("transaction.state.log.segment.bytes").default("104857600").at_least(1)
        .doc("Segment size of the transaction topic."),
    boolean("transaction.two.phase.commit.enable").default("false")
        .doc("Whether transactions may take part in a two-phase commit."),
    int("transactional.id.expiration.ms").default("604800000").at_least(1)
        .doc("A transactional id expires after so long without a transaction."),
    boolean("unstable.api.versions.enable").default("false").internal()
        .doc("Whether versions of APIs that may still change are offered."),
    boolean("unstable.feature.versions.enable").default("false").internal()
        .doc("Whether levels of features that may still change are offered."),
];
