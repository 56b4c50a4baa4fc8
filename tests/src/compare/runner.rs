//! Runs the rows, in a network of their own: each on all systems in turn, so that what the machine does
//! meanwhile happens to all of them. Every run is written to its file as soon as it has ended. What goes
//! wrong ends a row on one system, never the comparison.

use crate::compare::broker::{Subject, System};
use crate::compare::disk::Area;
use crate::compare::disturbed::Task;
use crate::compare::figures::{Figures, Outcome, Run, Summary, of_report, write_json};
use crate::compare::machine::Machine;
use crate::compare::rows::{Load, Row, Work, all};
use crate::compare::station::{Bench, Limits, Station};
use crate::compare::{disturbed, external, groups, kafka, namespace, report, resources};
use crate::load::report::Report;
use anyhow::{Result, anyhow, ensure};
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

/// Some repeats of a row on one subject, one right after the other.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The number of the first of them; the first of all is 1.
    pub first: u32,
    /// How many.
    pub repeats: u32,
}

impl Part {
    /// How often a load runs unmeasured before them: once before the first of all, on a program that
    /// compiles itself while it runs.
    pub fn rehearsals(self, subject: Subject) -> u32 {
        u32::from(self.first == 1 && subject.system() == System::Kafka)
    }
}

/// A place for each system. Only one of them is not held.
#[derive(Debug)]
struct Stations<'a> {
    kafka: Station<'a>,
    millpond: Station<'a>,
}

impl<'a> Stations<'a> {
    fn of(&mut self, subject: Subject) -> &mut Station<'a> {
        match subject.system() {
            System::Kafka => &mut self.kafka,
            System::Millpond => &mut self.millpond,
        }
    }
}

/// Whether each repeat of a row begins anew, so that others can be measured in between. What fills a
/// topic for all its repeats keeps the disk and the page cache to itself.
fn is_interleaved(row: &Row) -> bool {
    match &row.work {
        Work::Load(load) => load.fill.is_none(),
        Work::External(external) => !external.consumes(),
        Work::Group(_) => true,
        Work::Disturbed { .. } | Work::Resource(_) => false,
    }
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
    let result = runner.rows(&area);
    if interrupt.is_set() {
        tell("interrupted; what was measured until now counts");
    } else {
        result?;
    }
    runner.save()?;
    Ok(runner.summary)
}

impl Runner<'_> {
    fn rows(&mut self, area: &Area) -> Result<()> {
        let plan = self.plan;
        let interrupt = &plan.bench.launcher.interrupt;
        let mut stations = Stations {
            kafka: Station::new(System::Kafka, &plan.bench, area),
            millpond: Station::new(System::Millpond, &plan.bench, area),
        };
        let wanted: Vec<_> = plan.rows.iter().map(|row| (*row, self.subjects(row))).collect();
        let is_kafka = |subject: &Subject| subject.system() == System::Kafka;
        if wanted.iter().any(|(_, subjects)| subjects.iter().any(is_kafka)) {
            tell("looking for Apache Kafka, and bringing it if it is not there");
            kafka::install(&area.root().join("install"), interrupt)?;
        }
        for (row, mut subjects) in wanted {
            let repeats = plan.repeats.unwrap_or(row.repeats);
            let rounds = if is_interleaved(row) { repeats } else { 1 };
            for round in 0..rounds {
                let part = Part { first: round + 1, repeats: repeats / rounds };
                let mut failed = Vec::new();
                for subject in &subjects {
                    let station = stations.of(*subject);
                    station.go_on();
                    if !self.part(station, (row, *subject), part)? {
                        failed.push(*subject);
                    }
                    station.hold();
                    interrupt.check()?;
                }
                subjects.retain(|subject| !failed.contains(subject));
            }
        }
        Ok(())
    }

    /// What a row is still to be run on.
    fn subjects(&self, row: &Row) -> Vec<Subject> {
        let lacks = |subject: &Subject| self.summary.medians(row.name, *subject).is_empty();
        let wanted = |subject: &Subject| self.plan.subjects.contains(subject) && lacks(subject);
        row.subjects.iter().copied().filter(wanted).collect()
    }

    /// Measures some repeats of a row on one subject; whether all went well. Fails only if the result
    /// cannot be kept.
    fn part(
        &mut self,
        station: &mut Station<'_>,
        (row, subject): (&'static Row, Subject),
        part: Part,
    ) -> Result<bool> {
        let mut runs: Vec<Run> = Vec::new();
        let mut sink = |station: &mut Station<'_>, figures: Figures, reports: Vec<Report>| {
            let outcome = Outcome::Figures(figures);
            let reports = reports.iter().filter_map(|r| serde_json::to_value(r).ok()).collect();
            let commands = station.take_commands();
            let repeat = u32::try_from(runs.len()).expect("few repeats") + part.first;
            tell(&format!("{}, {}: {}", row.name, subject.name(), brief(&outcome)));
            runs.push(Run { row: row.name.into(), subject, repeat, commands, outcome, reports });
        };
        let measured = catch_unwind(AssertUnwindSafe(|| match &row.work {
            Work::Load(load) => measure(station, (load, subject), part, &mut sink),
            Work::External(external) => {
                external::measure(station, (*external, subject), part, &mut |station, figures| {
                    sink(station, figures, vec![]);
                })
            }
            Work::Disturbed { load, by } => {
                let task = Task { load, by: *by, subject, repeats: part.repeats };
                disturbed::measure(station, task, &mut sink)
            }
            Work::Group(load) => groups::measure(station, (row, load, subject), part, &mut sink),
            Work::Resource(resource) => {
                resources::measure(station, *resource, part.repeats, &mut |station, figures| {
                    sink(station, figures, vec![]);
                })
            }
        }));
        let measured = measured.unwrap_or_else(|panic| Err(anyhow!(words_of(panic.as_ref()))));
        let is_well = measured.is_ok();
        if let Err(error) = measured {
            let commands = station.take_commands();
            station.abandon();
            if !station.interrupt().is_set() {
                let outcome = Outcome::Failed(format!("{error:#}"));
                tell(&format!("{}, {}: {}", row.name, subject.name(), brief(&outcome)));
                let repeat = u32::try_from(runs.len())? + part.first;
                let row = row.name.to_owned();
                runs.push(Run { row, subject, repeat, commands, outcome, reports: vec![] });
            }
        }
        for run in &runs {
            let name = format!("{}.{}.{}.json", run.row, subject.name(), run.repeat);
            write_json(&self.plan.out.join(name), run)?;
        }
        self.summary.runs.append(&mut runs);
        self.save()?;
        Ok(is_well)
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
        let row = all().find(|row| row.name == run.row);
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
    part: Part,
    sink: &mut dyn FnMut(&mut Station<'_>, Figures, Vec<Report>),
) -> Result<()> {
    let bytes_min = load.millpond_bytes.filter(|_| subject == Subject::Millpond);
    let limits = station.limits(load.seconds, bytes_min);
    station.clear()?;
    let filled = match load.fill {
        Some(fill) => {
            let topic = new_topic(station, (load, subject))?;
            station.fill_by(&topic, fill)?;
            Some(topic)
        }
        None => None,
    };
    let once = |station: &mut Station<'_>, limits| {
        let topic = match &filled {
            Some(topic) => topic.clone(),
            None => new_topic(station, (load, subject))?,
        };
        let report = station.load(load.words, &topic, limits)?;
        ensure!(report.errors.is_empty(), "the broker answered errors: {:?}", report.errors);
        Ok(report)
    };
    for _ in 0..part.rehearsals(subject) {
        let seconds = REHEARSAL_SECONDS.min(limits.seconds);
        once(station, Limits { seconds, ..limits })?;
    }
    for _ in 0..part.repeats {
        let report = once(station, limits)?;
        sink(station, of_report(&report), vec![report]);
    }
    station.clear()
}

/// A topic on a disk that holds no other.
fn new_topic(station: &mut Station<'_>, (load, subject): (&Load, Subject)) -> Result<String> {
    station.clear()?;
    station.ready()?;
    station.topic(partitions(load.words), subject)
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
