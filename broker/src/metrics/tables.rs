//! All tables of metrics in this process, and their registration.
//!
//! A metric shows from the first scrape on, whether or not something has happened: an alert on what
//! never showed would never fire.

use metrics::Unit;
use raft::metrics as raft;
use storage::metrics::{METRICS as STORAGE, MetricKind};

use super::{Kind, METRICS, Metric, counter, describe, gauge, histogram, metric};
use crate::{group_metrics, partition_metrics, replication_metrics, telemetry};

/// The metrics of Raft's groups, whose names stand in the crate that records them.
const RAFT: &[Metric] = &[
    metric(
        raft::METADATA_APPLIED_INDEX,
        Kind::Gauge,
        Unit::Count,
        "Index of the last command that the metadata state machine applied.",
    ),
    metric(raft::METADATA_JOURNAL_BYTES, Kind::Gauge, Unit::Bytes, "Size of the metadata journal."),
    metric(
        raft::METADATA_SNAPSHOTS,
        Kind::Counter,
        Unit::Count,
        "Snapshots of the metadata that were written.",
    ),
    metric(
        raft::METADATA_SNAPSHOT_BYTES,
        Kind::Gauge,
        Unit::Bytes,
        "Size of the newest snapshot of the metadata.",
    ),
    metric(
        raft::TAKEOVERS,
        Kind::Counter,
        Unit::Count,
        "Raft groups for which this broker had another leader elected because theirs was gone.",
    ),
    metric(
        raft::LEADERSHIP_CHANGES,
        Kind::Counter,
        Unit::Count,
        "Times that a partition with a replica here got another leader.",
    ),
];

/// Every metric of the process.
pub(crate) fn all() -> Vec<Metric> {
    let storage = STORAGE.iter().map(|row| Metric {
        name: row.name,
        kind: match row.kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
            MetricKind::Histogram => Kind::Histogram,
        },
        unit: match row.unit {
            "bytes" => Unit::Bytes,
            "seconds" => Unit::Seconds,
            _ => Unit::Count,
        },
        labels: row.labels,
        help: row.help,
    });
    let own = METRICS
        .iter()
        .chain(partition_metrics::METRICS)
        .chain(replication_metrics::METRICS)
        .chain(group_metrics::METRICS)
        .chain(telemetry::METRICS)
        .chain(RAFT)
        .copied();
    own.chain(storage).collect()
}

/// Describes every metric to the recorder that is installed, and registers those without labels;
/// the others show when their handles are made. Must run before anything is recorded.
pub(crate) fn register_all() {
    for row in all() {
        describe(&row);
        if row.labels.is_empty() {
            match row.kind {
                Kind::Counter => drop(counter(row.name, Vec::new())),
                Kind::Gauge => drop(gauge(row.name, Vec::new())),
                Kind::Histogram => drop(histogram(row.name, Vec::new())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::group_metrics::GroupMetrics;
    use crate::metrics::EdgeMetrics;
    use crate::metrics::registry::Registry;

    #[test]
    fn every_metric_of_the_tables_shows_from_the_first_scrape_and_no_other() {
        let registry = Registry::default();
        let text = metrics::with_local_recorder(&registry, || {
            register_all();
            drop(EdgeMetrics::new());
            drop(GroupMetrics::new(1));
            registry.render()
        });
        let shown: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
            .collect();
        let rows = all();
        let listed: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(listed.len(), rows.len(), "a name stands in two rows");
        assert_eq!(shown, listed);
    }

    /// Outside this crate the list is what operators and black-box tests go by.
    #[test]
    fn the_documented_list_is_this_one() {
        let mut rows = all();
        rows.extend(group_metrics::BY_GROUP);
        rows.sort_unstable_by_key(|row| row.name);
        let rows: String = rows.iter().map(documented).collect();
        let document = include_str!("../../METRICS.md");
        let (_, listed) = document.split_once("|---|---|---|---|\n").expect("a table");
        assert_eq!(listed, rows, "METRICS.md should end in these rows:\n{rows}");
    }

    fn documented(row: &Metric) -> String {
        let Metric { name, kind, unit: _, labels, help } = row;
        let kind = format!("{kind:?}").to_lowercase();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
    }

    #[test]
    fn names_end_in_their_unit() {
        let by_group = group_metrics::BY_GROUP.iter().copied();
        for Metric { name, kind, unit, help, .. } in all().into_iter().chain(by_group) {
            assert!(help.ends_with('.'), "{name}");
            let stem = match kind {
                Kind::Counter => name.strip_suffix("_total").expect("counters end in _total"),
                Kind::Gauge | Kind::Histogram => name,
            };
            match unit {
                Unit::Bytes => assert!(stem.ends_with("_bytes"), "{name}"),
                Unit::Seconds => assert!(stem.ends_with("_seconds"), "{name}"),
                _ => assert!(!stem.ends_with("_bytes") && !stem.ends_with("_seconds"), "{name}"),
            }
        }
    }
}
