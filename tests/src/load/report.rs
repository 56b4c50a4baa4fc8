//! What one run of the load generator found out: printed as one JSON object by the program `load`,
//! read back by the programs that compare brokers. A field that does not apply is absent.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The result of one run. Rates and costs count what happened between the end of the warm-up and
/// the end of the run; a megabyte is 10^6 bytes, a gigabyte 10^9.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the scenario, as on the command line.
    pub scenario: String,
    /// What it was run with, by the names of the command line, and what followed from that.
    pub parameters: BTreeMap<String, Value>,
    /// Length of the measured part.
    pub seconds: f64,
    /// Bytes of record batches as they crossed the wire.
    pub bytes: u64,
    /// Requests answered (with acks=0: sent).
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// `bytes` by `seconds`.
    pub megabytes_per_second: f64,
    /// `requests` by `seconds`.
    pub requests_per_second: f64,
    /// `records` by `seconds`.
    pub records_per_second: f64,
    /// User and system time of the broker's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu_seconds: Option<f64>,
    /// The same by gigabyte of `bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu_seconds_per_gigabyte: Option<f64>,
    /// The same by request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_cpu_microseconds_per_request: Option<f64>,
    /// User and system time of the load generator.
    pub client_cpu_seconds: f64,
    /// Time that the machine's processors were not idle, all of them together: it holds what the
    /// kernel does for the broker in threads of its own.
    pub machine_busy_seconds: f64,
    /// Share of all processor time that the host of this virtual machine gave to others, 0 to 1.
    pub stolen_share: f64,
    /// Memory of the broker that is resident at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_resident_bytes: Option<u64>,
    /// The most that was resident since the broker started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_peak_resident_bytes: Option<u64>,
    /// From a request to its answer; in open loops from the moment that it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_microseconds: Option<Latency>,
    /// From the moment that a record was due to be sent to its receipt by a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_to_end_microseconds: Option<Latency>,
    /// What only this scenario finds out, by name with unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Error codes that the broker answered; empty in a run that counts.
    pub errors: Vec<ErrorCount>,
}

/// Percentiles of a latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Largest.
    pub max: f64,
    /// How many were measured.
    pub count: u64,
}

/// How often an error code came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The number on the wire.
    pub code: i16,
    /// Its name in the protocol.
    pub name: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// Notes one of the scenario's own figures.
    pub fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds; none of an empty one.
    pub fn of(nanoseconds: &Histogram<u64>) -> Option<Self> {
        if nanoseconds.is_empty() {
            return None;
        }
        let at = |quantile| microseconds(nanoseconds.value_at_quantile(quantile));
        Some(Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: microseconds(nanoseconds.max()),
            count: nanoseconds.len(),
        })
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    number(nanoseconds) / 1000.0
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub fn number(count: u64) -> f64 {
    count as f64
}
