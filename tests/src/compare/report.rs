//! The table: medians, ratios, targets, and whether they are reached. A row that falls short is
//! printed like one that does not; a row that failed says why.

use crate::compare::broker::Subject;
use crate::compare::figures::{Figures, Metric, Summary};
use crate::compare::rows::{Line, Row, Target, all};
use crate::compare::{kafka, millpond};
use std::fmt::Write as _;

/// Characters of a failure's reason in the table; the whole stands in its file.
const REASON_CHARS_MAX: usize = 300;

/// A report in Markdown.
pub fn markdown(summary: &Summary) -> String {
    let mut out = String::new();
    let mut put = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    for line in head(summary) {
        put(line);
    }
    put(String::new());
    put("| load | figure | Kafka | Millpond | relaxed | ratio | target | reached |".into());
    put("|---|---|--:|--:|--:|--:|---|---|".into());
    let measured: Vec<_> = all().filter(|row| ran(summary, row)).collect();
    for row in &measured {
        for (number, line) in row.lines.iter().enumerate() {
            put(table_line(summary, row, line, number == 0));
        }
    }
    let failed: Vec<_> = measured.iter().flat_map(|row| failures(summary, row)).collect();
    if !failed.is_empty() {
        put(String::new());
        put("Runs that failed:".into());
        put(String::new());
        failed.into_iter().for_each(put);
    }
    out
}

fn ran(summary: &Summary, row: &Row) -> bool {
    summary.runs.iter().any(|run| run.row == row.name)
}

fn head(summary: &Summary) -> Vec<String> {
    let machine = &summary.machine;
    let version = kafka::VERSION;
    vec![
        format!(
            "- Millpond at commit {}; Apache Kafka {version} on {}",
            machine.commit, machine.java
        ),
        format!(
            "- {}; {}, {}; {}",
            machine.date, machine.processors, machine.memory, machine.kernel
        ),
        format!("- data on {}; network: {}", machine.file_system, machine.network),
        format!("- Kafka: {}", kafka::SETTINGS),
        format!("- Millpond: {}", millpond::SETTINGS),
        format!(
            "- each row on all systems in turn; medians of the repeats; ratio: Millpond to Kafka, both as \
             they come{}",
            machine.options
        ),
        stolen(summary),
    ]
}

/// How much of the machine its host gave to others meanwhile.
fn stolen(summary: &Summary) -> String {
    let share = |subject| {
        let share = summary.median_of_all(subject, Metric::StolenShare);
        share.map_or_else(|| "?".into(), |share| format!("{:.0} %", share * 100.0))
    };
    format!(
        "- processor time that the virtual machine's host gave to others while a load ran, median: {} with \
         Kafka, {} with Millpond",
        share(Subject::Kafka),
        share(Subject::Millpond)
    )
}

fn table_line(summary: &Summary, row: &Row, line: &Line, is_first: bool) -> String {
    let value = |subject| value(line, &summary.medians(row.name, subject));
    let cell = |subject| cell(value(subject), || !summary.failures(row.name, subject).is_empty());
    let (ours, theirs) = (value(Subject::Millpond), value(line.against));
    let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
    let title = if is_first { row.title } else { "" };
    let mut figure = line.metric.title().to_owned();
    if let Some(over) = line.over {
        write!(figure, " by {}", over.title()).expect("a String takes all");
    }
    if line.against == Subject::KafkaFlush {
        figure += ", Kafka with `flush.messages=1`";
    }
    format!(
        "| {title} | {figure} | {} | {} | {} | {} | {} | {} |",
        cell(line.against),
        cell(Subject::Millpond),
        cell(Subject::MillpondRelaxed),
        ratio.map_or_else(String::new, |ratio| number(ratio) + "x"),
        wanted(line.target),
        verdict(line.target, ours, ratio),
    )
}

/// The figure of a line among a subject's medians.
fn value(line: &Line, medians: &Figures) -> Option<f64> {
    let value = medians.get(&line.metric)?;
    line.over.map_or(Some(*value), |over| Some(value / medians.get(&over)?))
}

fn cell(value: Option<f64>, failed: impl Fn() -> bool) -> String {
    match value {
        Some(value) if failed() => number(value) + " (a run failed)",
        Some(value) => number(value),
        None if failed() => "failed".into(),
        None => String::new(),
    }
}

/// Three digits that count, and no more.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100_000.0 => format!("{:.0}k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn wanted(target: Target) -> String {
    match target {
        Target::RatioAtLeast(bound) => format!("≥ {bound}x"),
        Target::RatioAtMost(bound) if bound < 0.6 && (1.0 / bound).fract() < 1e-9 => {
            format!("≤ 1/{}", 1.0 / bound)
        }
        Target::RatioAtMost(bound) => format!("≤ {bound}x"),
        Target::AtMost(bound) => format!("≤ {bound}"),
        Target::None => String::new(),
    }
}

/// Whether a target is reached; judged on the values, not on what is printed of them.
fn verdict(target: Target, ours: Option<f64>, ratio: Option<f64>) -> &'static str {
    let reached = match target {
        Target::RatioAtLeast(bound) => ratio.map(|ratio| ratio >= bound),
        Target::RatioAtMost(bound) => ratio.map(|ratio| ratio <= bound),
        Target::AtMost(bound) => ours.map(|ours| ours <= bound),
        Target::None => return "",
    };
    match reached {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "not measured",
    }
}

fn failures(summary: &Summary, row: &Row) -> Vec<String> {
    let of = |subject: &Subject| {
        let reasons = summary.failures(row.name, *subject);
        let subject = *subject;
        reasons.into_iter().map(move |reason| {
            let words: Vec<_> = reason.split_whitespace().collect();
            let text: String = words.join(" ").chars().take(REASON_CHARS_MAX).collect();
            format!("- {}, {}: {text}", row.name, subject.name())
        })
    };
    row.subjects.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::{Metric, Outcome, Run};
    use crate::compare::machine::Machine;

    fn run(row: &str, subject: Subject, outcome: Outcome) -> Run {
        let (row, commands, reports) = (row.to_owned(), vec![], vec![]);
        Run { row, subject, repeat: 1, commands, outcome, reports }
    }

    fn rate(mb: f64, cpu: f64) -> Outcome {
        Outcome::Figures(
            [(Metric::MegabytesPerSecond, mb), (Metric::CpuSecondsPerGigabyte, cpu)].into(),
        )
    }

    #[test]
    fn a_table_has_medians_ratios_and_verdicts() {
        let runs = vec![
            run("produce-64k", Subject::Kafka, rate(500.0, 1.8)),
            run("produce-64k", Subject::Kafka, rate(400.0, 1.8)),
            run("produce-64k", Subject::Kafka, rate(600.0, 1.8)),
            run("produce-64k", Subject::Millpond, rate(1300.0, 0.9)),
            run("produce-64k", Subject::MillpondRelaxed, Outcome::Failed("the load\ndied".into())),
        ];
        let text = markdown(&Summary { machine: Machine::default(), runs });
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        let title = "produce 64 KiB batches, 32 in flight";
        assert_eq!(
            lines[2..4],
            [
                format!("| {title} | MB/s | 500 | 1300 | failed | 2.60x | ≥ 2.5x | yes |"),
                "|  | server CPU-s/GB | 1.80 | 0.900 | failed | 0.500x | ≤ 1/3 | **no** |".into(),
            ]
        );
        assert!(text.ends_with("- produce-64k, millpond-relaxed: the load died\n"), "{text}");
        assert!(!text.contains("fetch"), "rows that did not run are left out");
    }

    #[test]
    fn a_target_without_figures_is_not_reached() {
        assert_eq!(verdict(Target::AtMost(30.0), Some(30.0), None), "yes");
        assert_eq!(verdict(Target::AtMost(30.0), Some(30.1), None), "**no**");
        assert_eq!(verdict(Target::RatioAtLeast(2.0), Some(9.0), None), "not measured");
        assert_eq!(verdict(Target::None, None, None), "");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.1234, 1.2345, 12.345, 1234.5, 123_456.0].map(number);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "1234", "123k"]);
    }
}
