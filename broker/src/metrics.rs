//! What the broker counts: one table of names, and the handles that are recorded through.
//!
//! Every metric of the table shows from the first scrape on. Handles are made once; recording never
//! formats a label and never takes a lock. Storage and raft keep tables of their own.

pub(crate) mod registry;
pub(crate) mod tables;

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString, Unit, with_recorder,
};
use protocol::api;

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution, in the buckets of its unit.
    Histogram,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    /// Name, with its unit last.
    pub(crate) name: &'static str,
    /// Kind.
    pub(crate) kind: Kind,
    /// Unit of its values.
    pub(crate) unit: Unit,
    /// Names of its labels.
    pub(crate) labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub(crate) help: &'static str,
}

/// A row without labels.
pub(crate) const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels: &[], help }
}

const fn by_api(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind, unit, labels: &["api"], help }
}

const REQUESTS: &str = "millpond_requests_total";
const REQUEST_BYTES: &str = "millpond_request_bytes_total";
const RESPONSE_BYTES: &str = "millpond_response_bytes_total";
const REQUEST_SECONDS: &str = "millpond_request_seconds";
const CONNECTIONS: &str = "millpond_connections";
const CONNECTIONS_ACCEPTED: &str = "millpond_connections_accepted_total";
const CONNECTIONS_REFUSED: &str = "millpond_connections_refused_total";
const REQUEST_MEMORY_BYTES: &str = "millpond_request_memory_bytes";
const READ_BUFFER_BYTES: &str = "millpond_read_buffer_bytes";
const BUILD_INFO: &str = "millpond_build_info";
const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
const OPEN_DESCRIPTORS: &str = "process_open_fds";

/// Every metric of this crate's edge.
pub(crate) const METRICS: &[Metric] = &[
    by_api(REQUESTS, Kind::Counter, Unit::Count, "Requests that were decoded."),
    by_api(REQUEST_BYTES, Kind::Counter, Unit::Bytes, "Bytes of decoded requests."),
    by_api(RESPONSE_BYTES, Kind::Counter, Unit::Bytes, "Bytes of responses."),
    by_api(
        REQUEST_SECONDS,
        Kind::Histogram,
        Unit::Seconds,
        "Time from the first byte of a request to the last byte of its response.",
    ),
    metric(CONNECTIONS, Kind::Gauge, Unit::Count, "Connections of Kafka clients."),
    metric(CONNECTIONS_ACCEPTED, Kind::Counter, Unit::Count, "Connections that were accepted."),
    metric(
        CONNECTIONS_REFUSED,
        Kind::Counter,
        Unit::Count,
        "Connections that were closed because a limit was reached or no Kafka request came.",
    ),
    metric(
        REQUEST_MEMORY_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Memory reserved for requests whose response has not left.",
    ),
    metric(READ_BUFFER_BYTES, Kind::Gauge, Unit::Bytes, "Memory in read buffers, lent or kept."),
    Metric {
        name: BUILD_INFO,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["version"],
        help: "Always 1; the label tells the version.",
    },
    metric(RESIDENT_BYTES, Kind::Gauge, Unit::Bytes, "Memory of this process in RAM."),
    metric(OPEN_DESCRIPTORS, Kind::Gauge, Unit::Count, "Descriptors that this process has open."),
];

/// The handles that connections and listeners record through.
pub(crate) struct EdgeMetrics {
    /// By API key; `None` where a key is not served.
    apis: Vec<Option<ApiMetrics>>,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
    request_memory: Gauge,
    read_buffers: Gauge,
    resident: Gauge,
    descriptors: Gauge,
}

/// The handles of one API.
pub(crate) struct ApiMetrics {
    requests: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    seconds: Histogram,
}

impl EdgeMetrics {
    /// Makes the handles with the recorder that is installed.
    pub(crate) fn new() -> Self {
        gauge(BUILD_INFO, vec![Label::new("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        let keys = api::SERVED.last().map_or(0..=0, |last| 0..=last.key);
        Self {
            apis: keys.map(|key| api::spec(key).map(|spec| ApiMetrics::new(spec.name))).collect(),
            connections: gauge(CONNECTIONS, Vec::new()),
            accepted: counter(CONNECTIONS_ACCEPTED, Vec::new()),
            refused: counter(CONNECTIONS_REFUSED, Vec::new()),
            request_memory: gauge(REQUEST_MEMORY_BYTES, Vec::new()),
            read_buffers: gauge(READ_BUFFER_BYTES, Vec::new()),
            resident: gauge(RESIDENT_BYTES, Vec::new()),
            descriptors: gauge(OPEN_DESCRIPTORS, Vec::new()),
        }
    }

    /// The handles of a served API.
    pub(crate) fn api(&self, key: i16) -> Option<&ApiMetrics> {
        self.apis.get(usize::try_from(key).ok()?)?.as_ref()
    }

    /// A client was let in.
    pub(crate) fn connected(&self) {
        self.accepted.increment(1);
        self.connections.increment(1);
    }

    /// A client that was let in is gone.
    pub(crate) fn disconnected(&self) {
        self.connections.decrement(1);
    }

    /// A client was turned away.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }

    /// What is read off when somebody looks.
    pub(crate) fn sample(&self, request_memory_bytes: usize, read_buffer_bytes: usize) {
        self.request_memory.set(as_value(request_memory_bytes));
        self.read_buffers.set(as_value(read_buffer_bytes));
        self.resident.set(as_value(resident_bytes().unwrap_or(0)));
        self.descriptors.set(as_value(open_descriptors().unwrap_or(0)));
    }
}

impl ApiMetrics {
    fn new(api: &'static str) -> Self {
        let labels = || vec![Label::new("api", api)];
        Self {
            requests: counter(REQUESTS, labels()),
            request_bytes: counter(REQUEST_BYTES, labels()),
            response_bytes: counter(RESPONSE_BYTES, labels()),
            seconds: histogram(REQUEST_SECONDS, labels()),
        }
    }

    /// A request was decoded.
    pub(crate) fn requested(&self, frame_bytes: usize) {
        self.requests.increment(1);
        self.request_bytes.increment(u64::try_from(frame_bytes).unwrap_or(u64::MAX));
    }

    /// Its response was put on the way.
    pub(crate) fn responded(&self, frame_bytes: usize) {
        self.response_bytes.increment(u64::try_from(frame_bytes).unwrap_or(u64::MAX));
    }

    /// Its response has left.
    pub(crate) fn answered_after(&self, elapsed: Duration) {
        self.seconds.record(elapsed);
    }
}

/// Tells the recorder a metric's unit and help.
pub(crate) fn describe(row: &Metric) {
    let (name, help) = (row.name, SharedString::const_str(row.help));
    with_recorder(|recorder| match row.kind {
        Kind::Counter => recorder.describe_counter(name.into(), Some(row.unit), help),
        Kind::Gauge => recorder.describe_gauge(name.into(), Some(row.unit), help),
        Kind::Histogram => recorder.describe_histogram(name.into(), Some(row.unit), help),
    });
}

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Makes the handle of a counter, which shows as 0 at first.
pub(crate) fn counter(name: &'static str, labels: Vec<Label>) -> Counter {
    let key = Key::from_parts(name, labels);
    let counter = with_recorder(|recorder| recorder.register_counter(&key, &METADATA));
    // A counter that was never touched would not show.
    counter.increment(0);
    counter
}

/// Makes the handle of a gauge, which shows as 0 at first.
pub(crate) fn gauge(name: &'static str, labels: Vec<Label>) -> Gauge {
    let key = Key::from_parts(name, labels);
    let gauge = with_recorder(|recorder| recorder.register_gauge(&key, &METADATA));
    gauge.set(0.0);
    gauge
}

fn histogram(name: &'static str, labels: Vec<Label>) -> Histogram {
    let key = Key::from_parts(name, labels);
    with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
}

/// Gauges are floating point; a rounding beyond 2^53 bytes would not be seen by anybody.
#[expect(clippy::cast_precision_loss, reason = "see the comment above")]
pub(crate) const fn as_value(number: usize) -> f64 {
    number as f64
}

fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

fn open_descriptors() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}
