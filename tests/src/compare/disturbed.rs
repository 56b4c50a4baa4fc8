//! Latency with and without something that goes on beside it: each repeat measures both, on the same
//! broker, one after the other.

use crate::compare::broker::Subject;
use crate::compare::disk::drop_caches;
use crate::compare::figures::{Figures, Metric, of_report};
use crate::compare::rows::{Disturbance, Load};
use crate::compare::station::{Limits, Station};
use crate::load::report::{Report, number};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Wire bytes of a record of the backlog, about: one of 1 KiB.
const RECORD_BYTES: u64 = 1040;

/// How long a reader runs before the latency beside it is measured.
const READER_AHEAD: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The load whose latency is measured.
    pub load: &'a Load,
    /// What goes on beside it.
    pub by: Disturbance,
    /// On what.
    pub subject: Subject,
    /// How often.
    pub repeats: u32,
}

/// Measures it so often, and hands over the figures of each run.
///
/// # Errors
/// A load fails.
pub fn measure(
    station: &mut Station<'_>,
    task: Task<'_>,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures, Vec<Report>),
) -> Result<()> {
    station.clear()?;
    station.ready()?;
    let limits = station.limits(task.load.seconds, None);
    let bytes = match task.by {
        Disturbance::ColdReader { bytes } => bytes,
        Disturbance::Backlog { records } => records * RECORD_BYTES,
    };
    let large = station.topic(1, task.subject)?;
    station.fill(&large, bytes)?;
    for _ in 0..task.repeats {
        let small = station.topic(1, task.subject)?;
        let alone = station.load(task.load.words, &small, limits)?;
        let (beside, mut reports) = match task.by {
            Disturbance::ColdReader { .. } => cold_reader(station, &task, &large, &small, limits)?,
            Disturbance::Backlog { .. } => (station.load(task.load.words, &large, limits)?, vec![]),
        };
        let mut figures = of_report(&beside);
        let undisturbed = of_report(&alone);
        let p99 = undisturbed.get(&Metric::P99Ms).context("the load gives no latency")?;
        figures.insert(Metric::UndisturbedP99Ms, *p99);
        reports.splice(0..0, [alone, beside]);
        sink(station, figures, reports);
    }
    station.clear()
}

/// The load beside a client that reads what is not in memory.
fn cold_reader(
    station: &mut Station<'_>,
    task: &Task<'_>,
    large: &str,
    small: &str,
    limits: Limits,
) -> Result<(Report, Vec<Report>)> {
    drop_caches()?;
    // It reads until it is through or the load has ended, whichever comes first.
    let words = ["fetch", "--cold-scan", "--max-bytes", "1048576"];
    let reader =
        station.start_load(&words, large, Limits { seconds: limits.seconds + 1, ..limits })?;
    station.interrupt().pause(READER_AHEAD)?;
    let beside = station.load(task.load.words, small, limits)?;
    let printed = reader.finish(Duration::from_secs(u64::from(limits.seconds) + 30))?;
    let read: Report = serde_json::from_str(&printed).context("the reader's report")?;
    anyhow::ensure!(number(read.bytes) > 0.0, "the reader read nothing");
    Ok((beside, vec![read]))
}
