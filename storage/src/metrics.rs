//! The metrics of this crate: one table of names, units, labels and meaning.

/// How a metric's value behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in the exposition.
    pub name: &'static str,
    /// How its value behaves.
    pub kind: MetricKind,
    /// The unit of the value.
    pub unit: &'static str,
    /// The label names.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    unit: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels: &[], help }
}

/// Syncs of the flusher.
pub const FLUSHES: Metric = metric(
    "millpond_storage_flushes_total",
    MetricKind::Counter,
    "flushes",
    "Rounds of the flusher that ended with a sync.",
);
/// How long a round takes.
pub const FLUSH_SECONDS: Metric = metric(
    "millpond_storage_flush_duration_seconds",
    MetricKind::Histogram,
    "seconds",
    "Time from the start of a round's writes to the end of its syncs.",
);
/// Bytes written to segment files.
pub const WRITTEN_BYTES: Metric = metric(
    "millpond_storage_written_bytes_total",
    MetricKind::Counter,
    "bytes",
    "Bytes of batches written to segment files.",
);
/// Bytes that wait for the flusher.
pub const PENDING_BYTES: Metric = metric(
    "millpond_storage_pending_bytes",
    MetricKind::Gauge,
    "bytes",
    "Bytes of batches that are appended and not yet written.",
);
/// Bytes in the tail cache.
pub const TAIL_CACHE_BYTES: Metric = metric(
    "millpond_storage_tail_cache_bytes",
    MetricKind::Gauge,
    "bytes",
    "Bytes of written batches that are kept in memory for readers at the tail.",
);
/// Logs that went offline.
pub const LOGS_FAILED: Metric = metric(
    "millpond_storage_logs_failed_total",
    MetricKind::Counter,
    "logs",
    "Logs that went offline because a write or a sync failed.",
);

/// All of them.
pub const METRICS: &[Metric] =
    &[FLUSHES, FLUSH_SECONDS, WRITTEN_BYTES, PENDING_BYTES, TAIL_CACHE_BYTES, LOGS_FAILED];
