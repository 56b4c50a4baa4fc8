//! Two commits under the same loads, interleaved in one run, so that what the machine does meanwhile
//! happens to both. What counts is the ratio within each pair; a commit is better only if the whole
//! interval is on its side. Processor time by gigabyte says most: rates move with the machine.

use crate::compare::broker::{Launcher, Subject, System};
use crate::compare::disk::Area;
use crate::compare::figures::{Figures, Metric};
use crate::compare::program::{Interrupt, run, tied};
use crate::compare::rows::{Row, Work};
use crate::compare::runner::{Part, measure, tell};
use crate::compare::station::{Bench, Station};
use crate::compare::statistics::{interval_of_median, median};
use crate::compare::{groups, namespace};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const GIT_MAX: Duration = Duration::from_secs(60);
const BUILD_MAX: Duration = Duration::from_secs(1800);

/// What is compared of each row, as far as the row has it; the first says most.
const METRICS: [Metric; 7] = [
    Metric::CpuSecondsPerGigabyte,
    Metric::CpuMsPerRebalance,
    Metric::CpuPercent,
    Metric::CpuMicrosecondsPerRequest,
    Metric::MegabytesPerSecond,
    Metric::RequestsPerSecond,
    Metric::P99Ms,
];

/// Builds two commits, interleaves them under the same loads, and prints ratios with their intervals.
#[derive(Debug, Clone, Parser)]
#[command(name = "compare_commits")]
pub struct Options {
    /// The commit to compare with; or a file: a broker's binary
    pub before: String,
    /// The commit to judge; or a file: a broker's binary
    pub after: String,
    /// Rows of the comparison that are loads, separated by blanks or commas
    #[arg(value_delimiter = ',', default_values_t = ["produce-16k", "produce-1m", "fetch-1m"].map(String::from))]
    pub rows: Vec<String>,
    /// How many pairs of runs
    #[arg(long, default_value_t = 7)]
    pub pairs: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 8)]
    pub seconds: u32,
    /// Where the brokers keep their data
    #[arg(long, default_value = "target")]
    pub dir: PathBuf,
    /// Acknowledge from the page cache
    #[arg(long)]
    pub relaxed: bool,
}

/// One of the two.
#[derive(Debug)]
struct Side {
    name: String,
    bench: Bench,
}

/// Runs both and reports in Markdown.
///
/// # Errors
/// A commit cannot be built, or a run fails.
pub fn compare(
    options: &Options,
    rows: &[&'static Row],
    load: &Path,
    interrupt: &Interrupt,
) -> Result<String> {
    let is_load = |row: &&Row| matches!(row.work, Work::Load(_) | Work::Group(_));
    if let Some(other) = rows.iter().find(|row| !is_load(row)) {
        bail!("{} is not a load of the load generator", other.name);
    }
    let side = |word: &str| -> Result<Side> {
        let (name, millpond) = binary(word, interrupt)?;
        let launcher = Launcher { millpond, interrupt: interrupt.clone() };
        let seconds = Some(options.seconds);
        Ok(Side { name, bench: Bench { launcher, load: load.to_path_buf(), seconds, warm_up: 0 } })
    };
    let sides = [side(&options.before)?, side(&options.after)?];
    let area = Area::below(&options.dir)?;
    if let Err(error) = namespace::enter_new() {
        tell(&format!("no network of our own: {error:#}"));
    }
    let [before, after] = &sides;
    let mut out = format!(
        "{} (after) by {} (before), {} pairs of {} s, interleaved; below 1 is less\n\n\
         | load | figure | before | after | median of ratios | 95 % interval |\n|---|---|--:|--:|--:|---|\n",
        after.name, before.name, options.pairs, options.seconds
    );
    let subject = if options.relaxed { Subject::MillpondRelaxed } else { Subject::Millpond };
    for row in rows {
        let mut pairs = Vec::new();
        for number in 0..options.pairs {
            tell(&format!("{}: pair {} of {}", row.name, number + 1, options.pairs));
            pairs.push(pair(&sides, (row, subject), &area, number % 2 == 1)?);
        }
        out += &lines(row.name, &pairs);
    }
    Ok(out)
}

/// One run of each side: before and after, or the other way round.
fn pair(
    sides: &[Side; 2],
    (row, subject): (&'static Row, Subject),
    area: &Area,
    turned: bool,
) -> Result<[Figures; 2]> {
    let once = |side: &Side| {
        let mut station = Station::new(System::Millpond, &side.bench, area);
        let mut found = Figures::new();
        let part = Part { first: 1, repeats: 1 };
        let mut sink = |_: &mut Station<'_>, figures, _| found = figures;
        let measured = match &row.work {
            Work::Load(load) => measure(&mut station, (load, subject), part, &mut sink),
            Work::Group(load) => {
                groups::measure(&mut station, (row, load, subject), part, &mut sink)
            }
            Work::External(_) | Work::Disturbed { .. } | Work::Resource(_) => {
                bail!("{} is no load", row.name)
            }
        };
        if measured.is_err() {
            station.abandon();
        }
        measured.map(|()| found).with_context(|| side.name.clone())
    };
    let [before, after] = sides;
    if turned {
        let after = once(after)?;
        return Ok([once(before)?, after]);
    }
    Ok([once(before)?, once(after)?])
}

/// The lines of one row.
fn lines(name: &str, pairs: &[[Figures; 2]]) -> String {
    let mut out = String::new();
    for metric in METRICS {
        let all =
            |side: usize| pairs.iter().filter_map(move |pair| pair[side].get(&metric).copied());
        let ratios: Vec<f64> = all(1)
            .zip(all(0))
            .map(|(after, before)| after / before)
            .filter(|r| r.is_finite())
            .collect();
        let middle = |side| median(&all(side).collect::<Vec<_>>());
        let (Some(before), Some(after)) = (middle(0), middle(1)) else { continue };
        let (Some(ratio), Some(interval)) = (median(&ratios), interval_of_median(&ratios)) else {
            continue;
        };
        writeln!(
            out,
            "| {name} | {} | {before:.3} | {after:.3} | {ratio:.3} | {:.3} to {:.3} |",
            metric.title(),
            interval.low,
            interval.high
        )
        .expect("a String takes all");
    }
    out
}

/// The broker of a commit, built if that was not done before, or the file itself; with a short name.
fn binary(word: &str, interrupt: &Interrupt) -> Result<(String, PathBuf)> {
    if Path::new(word).is_file() {
        return Ok((word.to_owned(), Path::new(word).canonicalize()?));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ is in the root")?;
    let place = root.join("target/commits");
    fs::create_dir_all(&place)?;
    let git = |words: &[&str]| {
        let mut command = tied("git");
        command.arg("-C").arg(root).args(words);
        run(command, &place.join("git"), GIT_MAX, interrupt)
    };
    let commit = git(&["rev-parse", "--verify", &format!("{word}^{{commit}}")])?.trim().to_owned();
    let short = commit.chars().take(12).collect::<String>();
    let built = place.join(format!("millpond-{short}"));
    if !built.exists() {
        tell(&format!("building {short}"));
        let tree = place.join(&short);
        let folder = tree.to_str().context("a path in UTF-8")?;
        git(&["worktree", "prune"])?;
        if !tree.exists() {
            git(&["worktree", "add", "--detach", folder, &commit])?;
        }
        let mut command = tied("cargo");
        command.current_dir(&tree).env("CARGO_TARGET_DIR", place.join("build"));
        command.args([
            "build",
            "--release",
            "--locked",
            "-p",
            "millpond-broker",
            "--bin",
            "millpond",
        ]);
        let compiled = run(command, &place.join("cargo"), BUILD_MAX, interrupt);
        git(&["worktree", "remove", "--force", folder])?;
        compiled?;
        fs::copy(place.join("build/release/millpond"), &built)?;
    }
    ensure!(built.exists(), "{short} gave no broker");
    Ok((short, built))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_pairs() {
        let figures = |cpu| Figures::from([(Metric::CpuSecondsPerGigabyte, cpu)]);
        // The machine got slower by half from pair to pair; the second side takes 0.9 of the first.
        let pairs = [1.0, 1.5, 2.25].map(|cpu| [figures(cpu), figures(cpu * 0.9)]);
        assert_eq!(
            lines("load", &pairs),
            "| load | server CPU-s/GB | 1.500 | 1.350 | 0.900 | 0.900 to 0.900 |\n"
        );
    }
}
