//! What a run gives: figures by metric, or the reason why there are none. One file in JSON each, from
//! which every report can be printed again.

use crate::compare::broker::Subject;
use crate::compare::machine::Machine;
use crate::compare::statistics::median;
use crate::load::report::{Latency, Report};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

/// A figure with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Batches as sent, 10^6 bytes a second.
    MegabytesPerSecond,
    /// Requests answered a second.
    RequestsPerSecond,
    /// Processor time of the broker by 10^9 bytes of batches.
    CpuSecondsPerGigabyte,
    /// Processor time of the broker by request.
    CpuMicrosecondsPerRequest,
    /// Processor time of the whole machine, client and kernel threads included, by 10^9 bytes.
    MachineSecondsPerGigabyte,
    /// Share of all processor time that the host of a virtual machine gave to others, 0 to 1.
    StolenShare,
    /// Median latency.
    P50Ms,
    /// 99th percentile of it.
    P99Ms,
    /// 99.9th percentile of it.
    P999Ms,
    /// 99th percentile without the disturbance that the row is about.
    UndisturbedP99Ms,
    /// Start to first answer.
    StartMs,
    /// Resident memory, 10^6 bytes.
    ResidentMegabytes,
    /// The most resident memory during the load, 10^6 bytes.
    PeakResidentMegabytes,
    /// Memory of the process alone by connection, bytes.
    BytesPerConnection,
    /// Processor time of the broker by rebalance.
    CpuMsPerRebalance,
    /// Processor time of the broker by the time that passed, in percent of one core.
    CpuPercent,
    /// Resident memory that a load added, 10^6 bytes.
    AddedMegabytes,
}

impl Metric {
    /// What a table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::MegabytesPerSecond => "MB/s",
            Self::RequestsPerSecond => "requests/s",
            Self::CpuSecondsPerGigabyte => "server CPU-s/GB",
            Self::CpuMicrosecondsPerRequest => "server CPU-µs/request",
            Self::MachineSecondsPerGigabyte => "machine CPU-s/GB",
            Self::StolenShare => "stolen share",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::P999Ms => "p99.9 ms",
            Self::UndisturbedP99Ms => "undisturbed p99 ms",
            Self::StartMs => "start ms",
            Self::ResidentMegabytes => "resident MB",
            Self::PeakResidentMegabytes => "peak resident MB",
            Self::BytesPerConnection => "bytes each",
            Self::CpuMsPerRebalance => "server CPU-ms/rebalance",
            Self::CpuPercent => "server CPU, % of a core",
            Self::AddedMegabytes => "resident MB added",
        }
    }
}

/// Figures of one run.
pub type Figures = BTreeMap<Metric, f64>;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran to its end.
    Figures(Figures),
    /// It did not, for this reason.
    Failed(String),
}

/// One run of one row on one subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the row.
    pub row: String,
    /// What was measured.
    pub subject: Subject,
    /// Counts from 1.
    pub repeat: u32,
    /// The commands of the loads, in order.
    pub commands: Vec<String>,
    /// Figures, or why there are none.
    pub outcome: Outcome,
    /// What the loads printed, where that was JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Value>,
}

/// All runs of a comparison, and where they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The machine and the settings.
    pub machine: Machine,
    /// In the order in which they ran.
    pub runs: Vec<Run>,
}

impl Summary {
    /// Medians over the repeats of one row on one subject, by metric; empty when none succeeded.
    pub fn medians(&self, row: &str, subject: Subject) -> Figures {
        let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for run in self.runs.iter().filter(|run| run.row == row && run.subject == subject) {
            if let Outcome::Figures(figures) = &run.outcome {
                for (metric, value) in figures {
                    values.entry(*metric).or_default().push(*value);
                }
            }
        }
        values.iter().filter_map(|(metric, all)| Some((*metric, median(all)?))).collect()
    }

    /// The median of one metric over all runs on one subject.
    pub fn median_of_all(&self, subject: Subject, metric: Metric) -> Option<f64> {
        let own = self.runs.iter().filter(|run| run.subject == subject);
        let values: Vec<f64> = own
            .filter_map(|run| match &run.outcome {
                Outcome::Figures(figures) => figures.get(&metric).copied(),
                Outcome::Failed(_) => None,
            })
            .collect();
        median(&values)
    }

    /// Why runs of one row on one subject failed, in order.
    pub fn failures(&self, row: &str, subject: Subject) -> Vec<&str> {
        let own = self.runs.iter().filter(|run| run.row == row && run.subject == subject);
        own.filter_map(|run| match &run.outcome {
            Outcome::Failed(reason) => Some(reason.as_str()),
            Outcome::Figures(_) => None,
        })
        .collect()
    }
}

/// The figures of a load generator's report.
pub fn of_report(report: &Report) -> Figures {
    let mut figures = Figures::new();
    if report.bytes > 0 {
        figures.insert(Metric::MegabytesPerSecond, report.megabytes_per_second);
    }
    if report.requests > 0 {
        figures.insert(Metric::RequestsPerSecond, report.requests_per_second);
    }
    let mut note = |metric, value: Option<f64>| {
        if let Some(value) = value {
            figures.insert(metric, value);
        }
    };
    note(Metric::CpuSecondsPerGigabyte, report.server_cpu_seconds_per_gigabyte);
    note(Metric::CpuMicrosecondsPerRequest, report.server_cpu_microseconds_per_request);
    note(Metric::PeakResidentMegabytes, report.server_peak_resident_bytes.map(megabytes));
    let machine =
        (report.bytes > 0).then(|| report.machine_busy_seconds * 1e3 / megabytes(report.bytes));
    note(Metric::MachineSecondsPerGigabyte, machine);
    note(Metric::StolenShare, Some(report.stolen_share));
    let own = |name| report.figures.get(name).copied();
    note(Metric::CpuMsPerRebalance, own("server_cpu_milliseconds_per_rebalance"));
    note(Metric::CpuPercent, own("server_cpu_percent_of_a_core"));
    note(Metric::AddedMegabytes, own("resident_bytes_added").map(|bytes| bytes / 1e6));
    let latency = report.end_to_end_microseconds.or(report.latency_microseconds);
    if let Some(Latency { p50, p99, p99_9, .. }) = latency {
        figures.insert(Metric::P50Ms, p50 / 1e3);
        figures.insert(Metric::P99Ms, p99 / 1e3);
        figures.insert(Metric::P999Ms, p99_9 / 1e3);
    }
    figures
}

/// Bytes in megabytes of 10^6.
pub fn megabytes(bytes: u64) -> f64 {
    crate::load::report::number(bytes) / 1e6
}

/// Writes a value as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Reads a value back.
///
/// # Errors
/// The file is not there, or is something else.
pub fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file)).with_context(|| path.display().to_string())
}
