//! Runs the rows: one system after the other, each in a network of its own, every run written to its
//! file as soon as it has ended. What goes wrong ends a row, never the comparison.

use crate::compare::broker::{Subject, System};
use crate::compare::disk::Area;
use crate::compare::disturbed::Task;
use crate::compare::figures::{Figures, Outcome, Run, Summary, of_report, write_json};
use crate::compare::machine::Machine;
use crate::compare::rows::{Load, ROWS, Row, Work};
use crate::compare::station::{Bench, Limits, Station};
use crate::compare::{disturbed, external, kafka, namespace, report, resources};
use crate::load::report::Report;
use anyhow::{Result, anyhow, bail, ensure};
use std::any::Any;
use std::fs::{self, File};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Name of the file with all runs of a comparison.
pub const SUMMARY: &str = "summary.json";

/// Name of the file with its table.
const TABLE: &str = "table.md";

/// Seconds that Kafka runs each load before it is measured, so that what it needs is compiled.
const REHEARSAL_SECONDS: u32 = 8;

/// What to compare.
#[derive(Debug)]
pub struct Plan {
    /// Rows, in order.
    pub rows: Vec<&'static Row>,
    /// What of each row's subjects to run.
    pub subjects: Vec<Subject>,
    /// Runs of each row, if not what it says.
    pub repeats: Option<u32>,
    /// Loads and brokers.
    pub bench: Bench,
    /// Directory for brokers' data.
    pub dir: PathBuf,
    /// Directory for results.
    pub out: PathBuf,
    /// What differs from a whole comparison.
    pub differences: String,
    /// Keep what a comparison in the same directory has measured, and run the rest.
    pub resume: bool,
}

/// A comparison that runs.
#[derive(Debug)]
struct Runner<'a> {
    plan: &'a Plan,
    summary: Summary,
}

/// Runs a plan; all that was found out until its end or its interruption.
///
/// # Errors
/// Nothing could be run at all, or results cannot be written.
pub fn run(plan: &Plan) -> Result<Summary> {
    fs::create_dir_all(&plan.out)?;
    let area = Area::below(&plan.dir)?;
    let interrupt = &plan.bench.launcher.interrupt;
    let isolated = namespace::enter_new();
    if let Err(error) = &isolated {
        tell(&format!("no network of our own, so figures depend on the machine's: {error:#}"));
    }
    let options = plan.differences.clone();
    let machine = Machine::look(area.root(), isolated.is_ok(), options, interrupt);
    let runs = if plan.resume { kept(plan, &machine)? } else { vec![] };
    let mut runner = Runner { plan, summary: Summary { machine, runs } };
    for system in [System::Kafka, System::Millpond] {
        if isolated.is_ok() {
            namespace::enter_new()?;
        }
        let result = runner.system(system, &area);
        if interrupt.is_set() {
            tell("interrupted; what was measured until now counts");
            break;
        }
        result?;
    }
    runner.save()?;
    Ok(runner.summary)
}

impl Runner<'_> {
    fn system(&mut self, system: System, area: &Area) -> Result<()> {
        let mut wanted = Vec::new();
        for row in &self.plan.rows {
            let own = row.subjects.iter().filter(|subject| subject.system() == system);
            let own = own.filter(|subject| self.plan.subjects.contains(subject));
            let own = own.filter(|subject| self.summary.medians(row.name, **subject).is_empty());
            wanted.extend(own.map(|subject| (*row, *subject)));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let interrupt = &self.plan.bench.launcher.interrupt;
        if system == System::Kafka {
            tell("looking for Apache Kafka, and bringing it if it is not there");
            kafka::install(&area.root().join("install"), interrupt)?;
        }
        let mut station = Station::new(system, &self.plan.bench, area);
        for (row, subject) in wanted {
            self.row(&mut station, row, subject)?;
            interrupt.check()?;
        }
        station.retire()
    }

    /// Measures a row on one subject. Fails only if the result cannot be kept.
    fn row(&mut self, station: &mut Station<'_>, row: &Row, subject: Subject) -> Result<()> {
        let repeats = self.plan.repeats.unwrap_or(row.repeats);
        tell(&format!("{}, {}: {} runs", row.name, subject.name(), repeats));
        let mut runs: Vec<Run> = Vec::new();
        let mut sink = |station: &mut Station<'_>, figures: Figures, reports: Vec<Report>| {
            let outcome = Outcome::Figures(figures);
            let reports = reports.iter().filter_map(|r| serde_json::to_value(r).ok()).collect();
            let commands = station.take_commands();
            let repeat = u32::try_from(runs.len()).expect("few repeats") + 1;
            tell(&format!("{}, {}: {}", row.name, subject.name(), brief(&outcome)));
            runs.push(Run { row: row.name.into(), subject, repeat, commands, outcome, reports });
        };
        let measured = catch_unwind(AssertUnwindSafe(|| match &row.work {
            Work::Load(load) => measure(station, (load, subject), repeats, &mut sink),
            Work::External(external) => external::measure(
                station,
                (*external, subject),
                repeats,
                &mut |station, figures| {
                    sink(station, figures, vec![]);
                },
            ),
            Work::Disturbed { load, by } => {
                disturbed::measure(station, Task { load, by: *by, subject, repeats }, &mut sink)
            }
            Work::Resource(resource) => {
                resources::measure(station, *resource, repeats, &mut |station, figures| {
                    sink(station, figures, vec![]);
                })
            }
        }));
        let measured = measured.unwrap_or_else(|panic| Err(anyhow!(words_of(panic.as_ref()))));
        if let Err(error) = measured {
            let commands = station.take_commands();
            station.abandon();
            if !station.interrupt().is_set() {
                let outcome = Outcome::Failed(format!("{error:#}"));
                tell(&format!("{}, {}: {}", row.name, subject.name(), brief(&outcome)));
                let (row, repeat) = (row.name.to_owned(), u32::try_from(runs.len())? + 1);
                runs.push(Run { row, subject, repeat, commands, outcome, reports: vec![] });
            }
        }
        for run in &runs {
            let name = format!("{}.{}.{}.json", run.row, subject.name(), run.repeat);
            write_json(&self.plan.out.join(name), run)?;
        }
        self.summary.runs.append(&mut runs);
        self.save()
    }

    /// Writes what is known now, so that nothing is lost when this process is.
    fn save(&self) -> Result<()> {
        write_json(&self.plan.out.join(SUMMARY), &self.summary)?;
        let mut file = File::create(self.plan.out.join(TABLE))?;
        Ok(file.write_all(report::markdown(&self.summary).as_bytes())?)
    }
}

/// The runs of an earlier comparison that count: of rows that ran as often as they should and did
/// not fail, on the same commit.
fn kept(plan: &Plan, machine: &Machine) -> Result<Vec<Run>> {
    let earlier = read(&plan.out)?;
    let (then, now) = (&earlier.machine.commit, &machine.commit);
    ensure!(then == now, "{} is of commit {then}, this is {now}", plan.out.display());
    let counts = |run: &Run| {
        let alike = |other: &&Run| other.row == run.row && other.subject == run.subject;
        let repeats = earlier.runs.iter().filter(alike).count();
        let row = ROWS.iter().find(|row| row.name == run.row);
        let wanted = plan.repeats.or_else(|| Some(row?.repeats));
        let is_whole =
            wanted.is_some_and(|wanted| u32::try_from(repeats).is_ok_and(|n| n >= wanted));
        is_whole && earlier.failures(&run.row, run.subject).is_empty()
    };
    Ok(earlier.runs.iter().filter(|run| counts(run)).cloned().collect())
}

/// A load by itself: on a topic of its own each time, or on one that was filled for all of them.
///
/// # Errors
/// The broker or the load fails.
pub fn measure(
    station: &mut Station<'_>,
    (load, subject): (&Load, Subject),
    repeats: u32,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures, Vec<Report>),
) -> Result<()> {
    let bytes_min = load.millpond_bytes.filter(|_| subject == Subject::Millpond);
    let limits = station.limits(load.seconds, bytes_min);
    station.clear()?;
    station.ready()?;
    let mut topic = station.topic(partitions(load.words), subject)?;
    if let Some(fill) = load.fill {
        station.fill_by(&topic, fill)?;
    }
    if subject == Subject::Kafka {
        let seconds = REHEARSAL_SECONDS.min(limits.seconds);
        station.load(load.words, &topic, Limits { seconds, ..limits })?;
    }
    for _ in 0..repeats {
        if load.fill.is_none() {
            station.clear()?;
            station.ready()?;
            topic = station.topic(partitions(load.words), subject)?;
        }
        let report = station.load(load.words, &topic, limits)?;
        if !report.errors.is_empty() {
            bail!("the broker answered errors: {:?}", report.errors);
        }
        sink(station, of_report(&report), vec![report]);
    }
    station.clear()
}

/// How many partitions a load wants its topic to have.
fn partitions(words: &[&str]) -> i32 {
    let value = words.iter().skip_while(|word| **word != "--partitions").nth(1);
    value.map_or(1, |value| value.parse().expect("the table holds numbers"))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(reason) => format!("failed: {reason}"),
        Outcome::Figures(figures) => {
            let each =
                figures.iter().map(|(metric, value)| format!("{value:.3} {}", metric.title()));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Reads back what a comparison has written.
///
/// # Errors
/// There is none in this directory.
pub fn read(dir: &Path) -> Result<Summary> {
    crate::compare::figures::read_json(&dir.join(SUMMARY))
}

/// Says what goes on, to whoever watches; the report alone goes to standard output.
#[expect(clippy::print_stderr, reason = "progress of a program that runs for most of an hour")]
pub fn tell(what: &str) {
    eprintln!("compare: {what}");
}
