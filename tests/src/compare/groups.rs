//! Loads of consumer groups: each row has a broker of its own, with its settings. Apache Kafka runs the
//! load before it is measured, and stays for all repeats; Millpond starts anew each time.

use crate::compare::broker::{Settings, Subject, System};
use crate::compare::figures::{Figures, of_report};
use crate::compare::rows::{GroupLoad, Row};
use crate::compare::runner::Part;
use crate::compare::station::{Limits, Station};
use crate::load::report::Report;
use anyhow::{Result, ensure};

/// Measures some repeats of a row.
///
/// # Errors
/// The broker or the load fails.
pub fn measure(
    station: &mut Station<'_>,
    (row, load, subject): (&'static Row, &GroupLoad, Subject),
    part: Part,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures, Vec<Report>),
) -> Result<()> {
    let settings: Settings =
        load.settings.iter().copied().chain(subject.broker_setting()).collect();
    for _ in 0..part.repeats {
        let is_new = station.ready_for(row.name, settings.clone())?;
        if is_new && subject.system() == System::Kafka {
            once(station, (load, subject), load.rehearsal_seconds)?;
        }
        let seconds = station.bench.seconds.unwrap_or(load.seconds);
        let report = once(station, (load, subject), seconds)?;
        sink(station, of_report(&report), vec![report]);
        station.clear()?;
    }
    Ok(())
}

fn once(
    station: &mut Station<'_>,
    (load, subject): (&GroupLoad, Subject),
    seconds: u32,
) -> Result<Report> {
    let topic = station.name_of_topic();
    let report = station.load(load.words, &topic, Limits { seconds, bytes: None })?;
    ensure!(report.errors.is_empty(), "{}: errors: {:?}", subject.name(), report.errors);
    Ok(report)
}
