//! Suites in Go: programs made by `go test -c`, one test at a time, told by their `-test.v` lines.

use crate::compare::program::{Interrupt, run, tied};
use crate::suites::suite::{Outcome, Reported};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIST_MAX: Duration = Duration::from_secs(60);
/// What precedes the name of a test that has ended, deeper by one step for each level of subtests.
const ENDED: &[(&str, Outcome)] = &[
    ("--- PASS: ", Outcome::Passes),
    ("--- FAIL: ", Outcome::Fails),
    ("--- SKIP: ", Outcome::Skips),
];
const INDENT: usize = 4;

/// One program of tests, and the folder of its sources, which is where such programs expect to run.
#[derive(Debug, Clone)]
pub struct Program {
    binary: PathBuf,
    folder: PathBuf,
}

impl Program {
    /// The program that `tests/suites/install` built by this name.
    ///
    /// # Errors
    /// It is not there.
    pub fn installed(folder: &Path, name: &str) -> Result<Self> {
        let noted = folder.join(format!("{name}.folder"));
        let sources = fs::read_to_string(&noted)
            .with_context(|| format!("{}: run tests/suites/install", noted.display()))?;
        let binary = folder.join(format!("{name}.test"));
        Ok(Self { binary, folder: PathBuf::from(sources.trim()) })
    }

    /// Names of its tests.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn tests(&self, log: &Path, interrupt: &Interrupt) -> Result<Vec<String>> {
        let mut command = self.command();
        command.args(["-test.list", "^Test"]);
        let printed = run(command, log, LIST_MAX, interrupt)?;
        Ok(printed.lines().filter(|line| line.starts_with("Test")).map(str::to_owned).collect())
    }

    /// The command that runs one test.
    pub fn test(&self, name: &str) -> Command {
        let mut command = self.command();
        command.args(["-test.v", "-test.run", &format!("^{name}$")]);
        command
    }

    fn command(&self) -> Command {
        let mut command = tied(&self.binary);
        command.current_dir(&self.folder);
        command
    }
}

/// What a run of one test printed, as rows: its subtests, or the test itself when it has none, or when
/// it failed and none of them says so.
pub fn outcomes(test: &str, printed: &str, status: Outcome) -> Vec<Reported> {
    let mut rows = subtests(test, printed);
    let told = rows.iter().any(|row| row.outcome == Outcome::Fails);
    let failed = !matches!(status, Outcome::Passes | Outcome::Skips);
    if rows.is_empty() || (failed && !told) {
        let itself = ended(printed).into_iter().find(|(name, _)| *name == test);
        let outcome = itself.map_or(status, |(_, outcome)| if failed { status } else { outcome });
        rows.push(Reported { name: test.to_owned(), outcome });
    }
    rows
}

fn subtests(test: &str, printed: &str) -> Vec<Reported> {
    let below = |name: &str| name.strip_prefix(test).is_some_and(|rest| rest.starts_with('/'));
    let found = ended(printed).into_iter().filter(|(name, _)| below(name));
    found.map(|(name, outcome)| Reported { name: name.to_owned(), outcome }).collect()
}

/// Tests of the first two levels that have ended.
fn ended(printed: &str) -> Vec<(&str, Outcome)> {
    let mut found = Vec::new();
    for line in printed.lines() {
        for (words, outcome) in ENDED {
            // A test that prints without ending its line has its last words before these.
            if let Some(at) = line.find(words)
                && depth(&line[..at]) <= 1
                && let Some(name) = line[at + words.len()..].split(' ').next()
            {
                found.push((name, *outcome));
            }
        }
    }
    found
}

fn depth(before: &str) -> usize {
    (before.len() - before.trim_end_matches(' ').len()) / INDENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "=== RUN   TestReader\nwords--- FAIL: TestReader (1.00s)\n    \
         --- PASS: TestReader/reads (0.10s)\n    --- SKIP: TestReader/kept/848 (0.00s)\n        \
         --- PASS: TestReader/kept/848/deep (0.00s)\n    --- FAIL: TestReader/late (0.90s)\nFAIL\n";

    fn rows(test: &str, printed: &str, status: Outcome) -> Vec<(String, Outcome)> {
        let rows = outcomes(test, printed, status).into_iter();
        rows.map(|row| (row.name, row.outcome)).collect()
    }

    #[test]
    fn subtests_are_rows() {
        let expected = [
            ("TestReader/reads".to_owned(), Outcome::Passes),
            ("TestReader/kept/848".to_owned(), Outcome::Skips),
            ("TestReader/late".to_owned(), Outcome::Fails),
        ];
        assert_eq!(rows("TestReader", PRINTED, Outcome::Fails), expected);
    }

    #[test]
    fn a_test_without_subtests_is_a_row() {
        let printed = "--- SKIP: TestPing (0.00s)\nPASS\n";
        assert_eq!(
            rows("TestPing", printed, Outcome::Passes),
            [("TestPing".to_owned(), Outcome::Skips)]
        );
    }

    /// A panic or the end of its time ends the program before it can say which subtest failed.
    #[test]
    fn a_failure_that_no_subtest_tells_is_a_row() {
        let printed = "    --- PASS: TestReader/reads (0.10s)\npanic: oh\n";
        let expected = [
            ("TestReader/reads".to_owned(), Outcome::Passes),
            ("TestReader".to_owned(), Outcome::TimesOut),
        ];
        assert_eq!(rows("TestReader", printed, Outcome::TimesOut), expected);
    }
}
