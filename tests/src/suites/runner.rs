//! Runs the units of a suite one after the other against one fresh broker, in a network of their own,
//! and compares what they tell with the table.
//!
//! A test that does not pass is run again a few times: suites that wait for fixed times fail on a busy
//! machine now and then. One that the table excuses is run once.

use crate::compare::namespace;
use crate::compare::program::{Interrupt, Program};
use crate::deadline::{Deadline, monotonic_now};
use crate::suites::broker::{Broker, System};
use crate::suites::suite::{Outcome, Reported, Suite, target};
use crate::suites::table::{Row, Table};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Longest that a test without a broker may take before it counts as one that needs a broker.
const ALONE_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The suite.
    pub suite: &'static Suite,
    /// The broker under it.
    pub system: System,
    /// Units that were asked for; without any, those of the table, or all on Apache Kafka.
    pub units: Vec<String>,
    /// Only the part that CI runs.
    pub quick: bool,
    /// How often a test that does not pass is run at most.
    pub attempts: u32,
    /// Millpond's binary.
    pub millpond: PathBuf,
    /// Set when somebody asks for the end.
    pub interrupt: Interrupt,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The table with what this run found.
    pub table: Table,
    /// Tests that passed.
    pub passed: usize,
    /// Tests that must pass and did not.
    pub offences: Vec<String>,
    /// Tests that pass although the table says why they do not.
    pub needless: Vec<String>,
}

/// Runs a plan. The calling thread moves to a network of its own.
///
/// # Errors
/// The suite is not installed, the broker does not start or does not last, or no network can be made.
pub fn run(plan: &Plan) -> Result<Report> {
    namespace::enter_new()?;
    let logs = target().join("suites").join(format!("{}-{}", plan.suite.name, plan.system.name()));
    fs::create_dir_all(&logs)?;
    let table = Table::read(&plan.suite.table())?;
    let run = Run { plan, logs: &logs };
    let units = run.units(&table)?;
    ensure!(!units.is_empty(), "{} has nothing to run here", plan.suite.name);
    let reported = run.all(&units, &table)?;
    Ok(run.report(table, &units, &reported))
}

struct Run<'a> {
    plan: &'a Plan,
    logs: &'a Path,
}

impl Run<'_> {
    fn units(&self, table: &Table) -> Result<Vec<String>> {
        let plan = self.plan;
        if !plan.units.is_empty() {
            return Ok(plan.units.clone());
        }
        let rows = table.rows.iter().filter(|row| row.in_ci || !plan.quick);
        let known: BTreeSet<_> = rows.map(|row| plan.suite.unit_of(&row.name)).collect();
        if plan.system == System::Millpond || plan.quick {
            return Ok(known.into_iter().collect());
        }
        let all = plan.suite.units(&self.logs.join("list"), &plan.interrupt)?;
        if plan.suite.mixes() { self.without_the_local(all) } else { Ok(all) }
    }

    /// Those that do not pass while there is no broker.
    fn without_the_local(&self, all: Vec<String>) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for unit in all {
            let (status, _) = self.once(&unit, "alone", ALONE_MAX)?;
            if status != Outcome::Passes {
                left.push(unit);
            }
        }
        tell(&format!("{}: {} units need a broker", self.plan.suite.name, left.len()));
        Ok(left)
    }

    fn all(&self, units: &[String], table: &Table) -> Result<Vec<Reported>> {
        let Plan { suite, system, millpond, interrupt, .. } = self.plan;
        let mut broker = Broker::start(*system, suite, millpond, self.logs, interrupt)?;
        let mut reported = Vec::new();
        for unit in units {
            let started = monotonic_now();
            let rows = self.unit(unit, table)?;
            let seconds = started.elapsed().as_secs_f64();
            for row in &rows {
                tell(&format!(
                    "{}: {} {} ({seconds:.1} s)",
                    suite.name,
                    row.name,
                    row.outcome.word()
                ));
            }
            broker.ensure_it_runs()?;
            reported.extend(rows);
        }
        Ok(reported)
    }

    /// Runs a unit until all its rows that must pass have passed, a few times at most.
    fn unit(&self, unit: &str, table: &Table) -> Result<Vec<Reported>> {
        let excused =
            |name: &str| table.rows.iter().any(|row| row.name == name && !row.why.is_empty());
        let mut rows: Vec<Reported> = Vec::new();
        for attempt in 1..=self.plan.attempts.max(1) {
            let name = format!("{}-{attempt}", unit.replace(' ', "-"));
            let (status, printed) = self.once(unit, &name, self.plan.suite.test_max)?;
            merge(&mut rows, self.plan.suite.outcomes(unit, &printed, status));
            let open = |row: &Reported| {
                matches!(row.outcome, Outcome::Fails | Outcome::TimesOut) && !excused(&row.name)
            };
            if !rows.iter().any(open) {
                break;
            }
        }
        Ok(rows)
    }

    /// Runs a unit once: how its program ended, and what it printed.
    fn once(&self, unit: &str, log: &str, time_max: Duration) -> Result<(Outcome, String)> {
        let Plan { suite, interrupt, .. } = self.plan;
        let log = self.logs.join(log);
        let folder = TempDir::with_prefix_in("unit-", suite.folders())?;
        let command = suite.command(unit, folder.path(), interrupt)?;
        let mut program = Program::start(command, &log, interrupt)?;
        let deadline = Deadline::after(time_max);
        let status = loop {
            if let Some(status) = program.ended()? {
                break if status.success() { Outcome::Passes } else { Outcome::Fails };
            }
            if deadline.passed() {
                break Outcome::TimesOut;
            }
            interrupt.pause(LOOK_AGAIN)?;
        };
        // librdkafka's tests speak on one stream, their summary on the other.
        let errors = fs::read(log.with_extension("err"))?;
        Ok((status, program.printed() + &String::from_utf8_lossy(&errors)))
    }

    fn report(&self, mut table: Table, units: &[String], reported: &[Reported]) -> Report {
        let Plan { suite, system, .. } = self.plan;
        let ran = |row: &Row| units.contains(&suite.unit_of(&row.name));
        let passes = |name: &str| {
            reported.iter().any(|row| row.name == name && row.outcome == Outcome::Passes)
        };
        let mut offences = Vec::new();
        let mut needless = Vec::new();
        if *system == System::Millpond {
            for row in table.rows.iter().filter(|row| ran(row)) {
                let name = row.name.clone();
                match passes(&name) {
                    false if row.binds() => offences.push(name),
                    true if !row.why.is_empty() => needless.push(name),
                    _ => {}
                }
            }
            let unknown = |row: &&Reported| !table.rows.iter().any(|known| known.name == row.name);
            let bad = reported.iter().filter(unknown).filter(|row| !passes(&row.name));
            offences.extend(bad.map(|row| row.name.clone()));
        }
        table.note(*system, reported);
        let passed = reported.iter().filter(|row| row.outcome == Outcome::Passes).count();
        Report { table, passed, offences, needless }
    }
}

/// Puts a further attempt's rows to those of the earlier ones: what passed once has passed.
fn merge(rows: &mut Vec<Reported>, attempt: Vec<Reported>) {
    for row in attempt {
        match rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) if known.outcome == Outcome::Passes => {}
            Some(known) => known.outcome = row.outcome,
            None => rows.push(row),
        }
    }
}

/// Says what goes on, to whoever watches.
#[expect(clippy::print_stderr, reason = "progress of a program that runs for minutes")]
pub fn tell(what: &str) {
    eprintln!("suites: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_once_has_passed() {
        let row = |outcome| Reported { name: "a".to_owned(), outcome };
        let mut rows = vec![row(Outcome::Fails)];
        merge(&mut rows, vec![row(Outcome::Passes)]);
        merge(&mut rows, vec![row(Outcome::TimesOut)]);
        assert_eq!(rows, [row(Outcome::Passes)]);
    }
}
