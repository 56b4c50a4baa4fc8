//! The table of a suite: rows of test, outcome on Apache Kafka, outcome on Millpond, whether CI runs
//! it, and why it does not pass on Millpond although it does on Apache Kafka.
//!
//! Text before and after the rows is its readers' and stays as it is. The last two columns are written
//! by hand; no run changes them.

use crate::suites::broker::System;
use crate::suites::suite::{Outcome, Reported};
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::path::Path;

/// What every row begins with.
const ROW: &str = "| `";
const HEAD: &str = "| test | Apache Kafka 4.3.1 | Millpond | CI | why |\n|---|---|---|---|---|\n";
const IN_CI: &str = "yes";

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// The test.
    pub name: String,
    /// How it ends on Apache Kafka.
    pub kafka: Option<Outcome>,
    /// How it ends on Millpond.
    pub millpond: Option<Outcome>,
    /// Whether the quick part has it.
    pub in_ci: bool,
    /// Why it does not pass on Millpond, or on neither; empty where there is nothing to explain.
    pub why: String,
}

impl Row {
    /// Whether it must pass on Millpond.
    pub fn binds(&self) -> bool {
        self.kafka == Some(Outcome::Passes) && self.why.is_empty()
    }

    fn parse(line: &str) -> Result<Self> {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kafka, millpond, in_ci, why] = cells[..] else {
            anyhow::bail!("a row has five columns: {line}");
        };
        let name = name.trim_matches('`').to_owned();
        let (kafka, millpond) = (outcome(kafka)?, outcome(millpond)?);
        Ok(Self { name, kafka, millpond, in_ci: in_ci == IN_CI, why: why.to_owned() })
    }

    fn print(&self) -> String {
        let word = |outcome: Option<Outcome>| outcome.map_or("", Outcome::word);
        let in_ci = if self.in_ci { IN_CI } else { "" };
        let (kafka, millpond) = (word(self.kafka), word(self.millpond));
        format!("| `{}` | {kafka} | {millpond} | {in_ci} | {} |", self.name, self.why)
    }
}

fn outcome(word: &str) -> Result<Option<Outcome>> {
    let found = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word);
    ensure!(found.is_some() || word.is_empty(), "{word} is no outcome");
    Ok(found)
}

/// A table, with the text around it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Table {
    before: String,
    /// Its rows.
    pub rows: Vec<Row>,
    after: String,
}

impl Table {
    /// Reads a table from its file; one that has none yet is empty.
    ///
    /// # Errors
    /// The file is there and is no table.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&std::fs::read_to_string(path)?).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for line in text.lines() {
            if line.starts_with(ROW) {
                table.rows.push(Row::parse(line)?);
            } else if table.rows.is_empty() {
                writeln!(table.before, "{line}")?;
            } else {
                writeln!(table.after, "{line}")?;
            }
        }
        Ok(table)
    }

    /// The file's text.
    pub fn print(&self) -> String {
        let head = if self.before.contains(HEAD) { "" } else { HEAD };
        let rows: String = self.rows.iter().map(|row| row.print() + "\n").collect();
        format!("{}{head}{rows}{}", self.before, self.after)
    }

    /// Puts what a run told into its column. A new row goes where its name belongs.
    pub fn note(&mut self, system: System, reported: &[Reported]) {
        for report in reported {
            let known = self.rows.iter().position(|row| row.name == report.name);
            let at = known.unwrap_or_else(|| {
                let at = self.rows.partition_point(|row| row.name < report.name);
                self.rows.insert(at, Row { name: report.name.clone(), ..Row::default() });
                at
            });
            let row = &mut self.rows[at];
            match system {
                System::Kafka => row.kafka = Some(report.outcome),
                System::Millpond => row.millpond = Some(report.outcome),
            }
        }
    }

    /// Leaves out the rows that a run on Apache Kafka, which knows them all, did not tell of.
    pub fn keep_only(&mut self, reported: &[Reported]) {
        self.rows.retain(|row| reported.iter().any(|report| report.name == row.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n| test | Apache Kafka 4.3.1 | Millpond | CI | why |\n\
        |---|---|---|---|---|\n| `0001_a` | passes | passes | yes |  |\n\
        | `0003_c` | passes | times out |  | transactions are still to come |\n\nNotes.\n";

    fn report(name: &str, outcome: Outcome) -> Reported {
        Reported { name: name.to_owned(), outcome }
    }

    #[test]
    fn a_table_is_printed_as_it_was_read() {
        let table = Table::parse(TEXT).unwrap();
        assert_eq!(table.print(), TEXT);
        assert_eq!(table.rows.iter().map(Row::binds).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_run_fills_its_column_and_no_other() {
        let mut table = Table::parse(TEXT).unwrap();
        table.note(System::Kafka, &[report("0002_b", Outcome::Skips)]);
        table.note(System::Millpond, &[report("0003_c", Outcome::Passes)]);
        let names: Vec<_> = table.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["0001_a", "0002_b", "0003_c"]);
        assert_eq!((table.rows[1].kafka, table.rows[1].millpond), (Some(Outcome::Skips), None));
        assert_eq!(table.rows[2].millpond, Some(Outcome::Passes));
        assert_eq!(table.rows[2].why, "transactions are still to come");
        table.keep_only(&[report("0002_b", Outcome::Skips)]);
        assert_eq!(table.rows.len(), 1);
    }

    #[test]
    fn what_is_no_row_is_refused() {
        assert!(Table::parse("| `a` | passes | passes |  |\n").is_err());
        assert!(Table::parse("| `a` | passed | passes |  |  |\n").is_err());
    }
}
