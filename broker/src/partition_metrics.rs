//! What is counted about partitions and fetch sessions, read off when somebody looks.
//!
//! Totals only: a label for each topic would grow with every topic that was ever created, since a
//! series once shown stays. Sizes by partition are in DescribeLogDirs.

use metrics::{Gauge, Unit};

use crate::broker::Broker;
use crate::metrics::{Kind, Metric, as_value, gauge, metric};

const ONLINE: &str = "millpond_partitions_online";
const OFFLINE: &str = "millpond_partitions_offline";
const LOG_BYTES: &str = "millpond_log_bytes";
const DISK_FREE_BYTES: &str = "millpond_disk_free_bytes";
const WRITES_REFUSED: &str = "millpond_disk_full";
const SESSIONS: &str = "millpond_fetch_sessions";
const SESSION_PARTITIONS: &str = "millpond_fetch_session_partitions";
const RESPONSE_MEMORY_BYTES: &str = "millpond_response_memory_bytes";

/// Every metric of this file.
pub(crate) const METRICS: &[Metric] = &[
    metric(ONLINE, Kind::Gauge, Unit::Count, "Partitions that can be used."),
    metric(
        OFFLINE,
        Kind::Gauge,
        Unit::Count,
        "Partitions whose log could not be opened or has failed.",
    ),
    metric(LOG_BYTES, Kind::Gauge, Unit::Bytes, "Bytes of all segments of all partitions."),
    metric(DISK_FREE_BYTES, Kind::Gauge, Unit::Bytes, "Free bytes of the data directory's disk."),
    metric(
        WRITES_REFUSED,
        Kind::Gauge,
        Unit::Count,
        "1 while produce is refused because the disk is too full, else 0.",
    ),
    metric(SESSIONS, Kind::Gauge, Unit::Count, "Incremental fetch sessions."),
    metric(SESSION_PARTITIONS, Kind::Gauge, Unit::Count, "Partitions in all fetch sessions."),
    metric(
        RESPONSE_MEMORY_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Records in memory that fetch responses hold until their clients have taken them.",
    ),
];

/// The handles.
pub(crate) struct PartitionMetrics {
    online: Gauge,
    offline: Gauge,
    log_bytes: Gauge,
    disk_free_bytes: Gauge,
    writes_refused: Gauge,
    sessions: Gauge,
    session_partitions: Gauge,
    response_memory_bytes: Gauge,
}

impl PartitionMetrics {
    /// Makes the handles with the recorder that is installed.
    pub(crate) fn new() -> Self {
        let gauge = |name| gauge(name, Vec::new());
        Self {
            online: gauge(ONLINE),
            offline: gauge(OFFLINE),
            log_bytes: gauge(LOG_BYTES),
            disk_free_bytes: gauge(DISK_FREE_BYTES),
            writes_refused: gauge(WRITES_REFUSED),
            sessions: gauge(SESSIONS),
            session_partitions: gauge(SESSION_PARTITIONS),
            response_memory_bytes: gauge(RESPONSE_MEMORY_BYTES),
        }
    }

    /// Reads everything off.
    pub(crate) fn sample(&self, broker: &Broker) {
        let partitions = &broker.partitions;
        let open = partitions.online();
        let failed = open.iter().filter(|partition| partition.replica.log().failure().is_some());
        let failed = failed.count();
        let log_bytes = open.iter().map(|partition| partition.replica.log().size_bytes()).sum();
        self.online.set(as_value(open.len() - failed));
        self.offline.set(as_value(partitions.offline().len() + failed));
        self.log_bytes.set(bytes(log_bytes));
        self.disk_free_bytes.set(bytes(partitions.data_dir().free_bytes()));
        self.writes_refused.set(as_value(usize::from(partitions.data_dir().is_full())));
        let (sessions, session_partitions) = broker.fetch_sessions.counts();
        self.sessions.set(as_value(sessions));
        self.session_partitions.set(as_value(session_partitions));
        self.response_memory_bytes.set(as_value(broker.response_memory.held_bytes()));
    }
}

fn bytes(number: u64) -> f64 {
    as_value(usize::try_from(number).unwrap_or(usize::MAX))
}
