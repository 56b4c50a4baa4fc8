//! librdkafka's suite: one program, `test-runner`, told by number which test to run.
//!
//! A number may hold several tests; one large test (`0081_admin`) is run subtest by subtest, because
//! it ends at the first that fails. Tests that need no broker are left out.

use crate::compare::program::tied;
use crate::suites::suite::{Outcome, Reported};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Tests that are run by subtest.
const DIVIDED: &[(&str, &str)] = &[("0081", "0081-admin.c")];
/// Why the runner leaves a test out that we did not ask for.
const NOT_ASKED: &str = "Filtered due to negative test flags";

/// Numbers of the tests, with the name of the subtest behind a blank where one is run by itself.
///
/// # Errors
/// The tree is not there.
pub fn units(tree: &Path) -> Result<Vec<String>> {
    let source = read(&tree.join("tests/test.c"))?;
    let mut numbers: Vec<_> = source.lines().filter_map(number).map(str::to_owned).collect();
    numbers.dedup();
    let mut units = Vec::new();
    for number in numbers {
        match DIVIDED.iter().find(|(divided, _)| *divided == number) {
            Some((_, file)) => {
                let source = read(&tree.join("tests").join(file))?;
                units.extend(subtests(&source).iter().map(|name| format!("{number} {name}")));
            }
            None => units.push(number),
        }
    }
    Ok(units)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("{}: run tests/suites/install", path.display()))
}

/// The number in a row of the runner's table, `_TEST(0012_produce_consume, 0),`.
fn number(line: &str) -> Option<&str> {
    let (number, _) = line.trim_start().strip_prefix("_TEST(")?.split_once('_')?;
    // Those from 1000 on are run by hand only.
    (number.starts_with('0')).then_some(number)
}

/// Subtests of a source file: its functions `do_test_…` that begin with the macro for it.
fn subtests(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("do_test_") {
        let starts = rest[..at].ends_with("static void ") || rest[..at].ends_with("static void\n");
        rest = &rest[at..];
        let end = rest.find('(').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let body = after.find("\n}").map_or(after, |end| &after[..end]);
        if starts && body.contains("SUB_TEST") && !names.contains(&name) {
            names.push(name);
        }
        rest = after;
    }
    names
}

/// The command that runs one unit, in a folder that holds nothing: the tests keep offsets in files
/// there, by names that two runs may have in common.
pub fn command(tree: &Path, folder: &Path, unit: &str, arguments: &[&str]) -> Command {
    let mut command = tied(tree.join("tests/test-runner"));
    let libraries = format!("{0}/src:{0}/src-cpp", tree.display());
    command.current_dir(folder).env("LD_LIBRARY_PATH", libraries);
    // One after the other, only those that need a broker. Not `-Q`, its quick mode: many tests pass
    // in it without having done anything.
    command.args(["-p1", "-L"]).args(arguments);
    let (number, subtest) = unit.split_once(' ').unwrap_or((unit, ""));
    command.env("TESTS", number);
    if !subtest.is_empty() {
        // The runner looks for this in `function:line: title`.
        command.env("SUBTESTS", format!("{subtest}:"));
    }
    command
}

/// What a run of one unit printed, as rows.
pub fn outcomes(unit: &str, printed: &str, status: Outcome) -> Vec<Reported> {
    let (number, subtest) = unit.split_once(' ').unwrap_or((unit, ""));
    let plain = without_colours(printed);
    let mut rows: Vec<Reported> = Vec::new();
    for (name, outcome) in plain.lines().filter_map(told) {
        if name.starts_with(number) && !rows.iter().any(|row| row.name == name) {
            rows.push(Reported { name: name.to_owned(), outcome });
        }
    }
    let failed = !matches!(status, Outcome::Passes | Outcome::Skips);
    if failed && !rows.iter().any(|row| row.outcome == Outcome::Fails) {
        // The test that was running when the program came to its end has told nothing.
        let name = plain.lines().filter_map(running).next_back();
        let name = name.filter(|name| name.starts_with(number)).unwrap_or(number);
        rows.retain(|row| row.name != name);
        rows.push(Reported { name: name.to_owned(), outcome: status });
    }
    if !subtest.is_empty() {
        rows.iter_mut().for_each(|row| row.name = format!("{} {subtest}", row.name));
    }
    rows
}

/// What a line tells of the end of a test.
fn told(line: &str) -> Option<(&str, Outcome)> {
    if let Some(rest) = line.strip_prefix("### Test \"") {
        let name = rest.split(['"', ' ']).next()?;
        return Some((name, Outcome::Fails));
    }
    if let Some((_, rest)) = line.split_once("================= Test ") {
        let (name, rest) = rest.split_once(' ')?;
        let word = rest.split(' ').next()?;
        return match word {
            "PASSED" => Some((name, Outcome::Passes)),
            "FAILED" => Some((name, Outcome::Fails)),
            _ => None,
        };
    }
    // `| 0053_stats   |    SKIPPED |   0.000s | RapidJSON >=1.1.0 not available`
    let columns: Vec<_> = line.split('|').map(str::trim).collect();
    match columns[..] {
        ["", name, "SKIPPED", _, why] if !why.is_empty() && why != NOT_ASKED => {
            Some((name, Outcome::Skips))
        }
        _ => None,
    }
}

/// The test that a line of `[0012_produce_consume   /  0.1s] …` comes from.
fn running(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.split([' ', '/']).next()
}

/// The text without what colours it on a terminal.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_subtests_are_found() {
        let table = "    _TEST(0012_produce_consume, 0),\n    _TEST(8000_idle, TEST_F_MANUAL),\n";
        assert_eq!(table.lines().filter_map(number).collect::<Vec<_>>(), ["0012"]);
        let source = "static void do_test_A(int x) {\n SUB_TEST_QUICK();\n}\n\
                      static void do_test_apis(int y) {\n do_test_A(y);\n}\n\
                      static void\ndo_test_B(void) {\n SUB_TEST(\"x\");\n}\n";
        assert_eq!(subtests(source), ["do_test_A", "do_test_B"]);
    }

    #[test]
    fn each_test_of_a_number_is_a_row() {
        let printed = "\u{1b}[36m[0045_a /  1.0s] \u{1b}[32m================= Test 0045_a PASSED \
             =================\u{1b}[0m\n### Test \"0045_b (do_test:9: x)\" failed at test.c:1 ###\n\
             ### Test \"<MAIN>\" failed at test.c:2 ###\n\
             |\u{1b}[36m 0045_c  |    SKIPPED |   0.000s \u{1b}[0m| not for this broker\n\
             | 0045_mock | SKIPPED |   0.000s | Filtered due to negative test flags\n\
             | 0045_other | SKIPPED |   0.000s |\n";
        let rows = outcomes("0045", printed, Outcome::Fails);
        let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.outcome)).collect();
        let expected =
            [("0045_a", Outcome::Passes), ("0045_b", Outcome::Fails), ("0045_c", Outcome::Skips)];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_test_that_came_to_no_end_is_the_one_that_ran() {
        let printed = "[0081_admin /  0.1s] begins\n";
        let rows = outcomes("0081 do_test_A", printed, Outcome::TimesOut);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].name, "0081_admin do_test_A");
        assert_eq!(rows[0].outcome, Outcome::TimesOut);
    }
}
