//! What is counted about groups, and how far they are behind.
//!
//! Counts of all groups are kept as they change. Lag is read off when somebody looks, with a limit
//! (`group-metrics-max`) on how many series there are and how much is looked at. Series of groups come
//! and go with them, so that they are no part of the registry, where a series stays.

use std::fmt::Write as _;

use metrics::{Counter, Gauge, Label, Unit};
use parking_lot::Mutex;

use crate::broker::Broker;
use crate::groups::lag::{self, GroupLag, Order};
use crate::groups::tally::STATES;
use crate::metrics::registry::escaped;
use crate::metrics::{Kind, Metric, as_value, counter, gauge, metric};

const GROUPS: &str = "millpond_groups";
const REBALANCES: &str = "millpond_group_rebalances_total";
const COMMITS: &str = "millpond_group_commits_total";
const COMMITTED_PARTITIONS: &str = "millpond_group_committed_partitions";
const GROUPS_LEFT_OUT: &str = "millpond_groups_left_out";
const PARTITIONS_LEFT_OUT: &str = "millpond_group_partitions_left_out";
const LAG: &str = "millpond_group_lag";
const PARTITION_LAG: &str = "millpond_group_partition_lag";
const PARTITION_COMMITTED: &str = "millpond_group_partition_committed_offset";

/// Every metric of this file whose series stay.
pub(crate) const METRICS: &[Metric] = &[
    Metric {
        name: GROUPS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["protocol", "state"],
        help: "Groups by protocol and state, in Kafka's words.",
    },
    metric(
        REBALANCES,
        Kind::Counter,
        Unit::Count,
        "Generations and epochs that groups have begun.",
    ),
    metric(COMMITS, Kind::Counter, Unit::Count, "Offsets that groups have committed."),
    metric(
        COMMITTED_PARTITIONS,
        Kind::Gauge,
        Unit::Count,
        "Pairs of a group and a partition for which something is committed.",
    ),
    metric(
        GROUPS_LEFT_OUT,
        Kind::Gauge,
        Unit::Count,
        "Groups whose lag is not shown, because there are more than `group-metrics-max` allows.",
    ),
    metric(
        PARTITIONS_LEFT_OUT,
        Kind::Gauge,
        Unit::Count,
        "Pairs of a group and a partition that have no series of their own, for the same reason.",
    ),
];

/// Every metric of this file whose series come and go with groups.
pub(crate) const BY_GROUP: &[Metric] = &[
    Metric {
        name: LAG,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["group"],
        help: "Records between what the group has committed and the high watermarks, over all of its \
               partitions.",
    },
    Metric {
        name: PARTITION_COMMITTED,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["group", "partition", "topic"],
        help: "The offset that the group has committed for the partition.",
    },
    Metric {
        name: PARTITION_LAG,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["group", "partition", "topic"],
        help: "Records between what the group has committed and the partition's high watermark.",
    },
];

/// The handles, and what the last look has shown.
pub(crate) struct GroupMetrics {
    states: [Gauge; STATES.len()],
    rebalances: Counter,
    commits: Counter,
    committed_partitions: Gauge,
    groups_left_out: Gauge,
    partitions_left_out: Gauge,
    /// `group-metrics-max`.
    partitions_max: usize,
    order: Mutex<Order>,
}

impl GroupMetrics {
    /// Makes the handles with the recorder that is installed.
    pub(crate) fn new(partitions_max: usize) -> Self {
        let state = |(protocol, state): (&'static str, &'static str)| {
            gauge(GROUPS, vec![Label::new("protocol", protocol), Label::new("state", state)])
        };
        Self {
            states: STATES.map(state),
            rebalances: counter(REBALANCES, Vec::new()),
            commits: counter(COMMITS, Vec::new()),
            committed_partitions: gauge(COMMITTED_PARTITIONS, Vec::new()),
            groups_left_out: gauge(GROUPS_LEFT_OUT, Vec::new()),
            partitions_left_out: gauge(PARTITIONS_LEFT_OUT, Vec::new()),
            partitions_max,
            order: Mutex::default(),
        }
    }

    /// Reads everything off; the lines that stand in no registry.
    pub(crate) fn sample(&self, broker: &Broker) -> String {
        let owners = broker.groups.owners();
        let mut states = [0; STATES.len()];
        let (mut offsets, mut rebalances, mut commits) = (0, 0, 0);
        for tally in owners.iter().filter_map(|owner| owner.tally()) {
            for (sum, count) in states.iter_mut().zip(tally.groups()) {
                *sum += count;
            }
            offsets += tally.offsets();
            rebalances += tally.rebalances();
            commits += tally.commits();
        }
        for (gauge, count) in self.states.iter().zip(states) {
            gauge.set(as_value(count));
        }
        self.rebalances.absolute(rebalances);
        self.commits.absolute(commits);
        self.committed_partitions.set(as_value(offsets));
        let shown = lag::look(broker, self.partitions_max, &mut self.order.lock());
        let groups: usize = states.iter().sum();
        let partitions: usize = shown.iter().map(|shown| shown.partitions.len()).sum();
        self.groups_left_out.set(as_value(groups.saturating_sub(shown.len())));
        self.partitions_left_out.set(as_value(offsets.saturating_sub(partitions)));
        render(&shown)
    }
}

/// Prometheus' text of [`BY_GROUP`].
pub(crate) fn render(shown: &[GroupLag]) -> String {
    let mut text = String::new();
    for Metric { name, help, .. } in BY_GROUP {
        put(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for GroupLag { group, sum, partitions } in shown {
            let group = escaped(group);
            if *name == LAG {
                put(&mut text, format_args!("{name}{{group=\"{group}\"}} {sum}\n"));
                continue;
            }
            for committed in partitions {
                let value = match (*name, committed.lag) {
                    (PARTITION_LAG, Some(lag)) => i128::from(lag),
                    (PARTITION_LAG, None) => continue,
                    _ => i128::from(committed.offset),
                };
                let (topic, partition) = (escaped(&committed.topic), committed.partition);
                let labels =
                    format_args!("group=\"{group}\",partition=\"{partition}\",topic=\"{topic}\"");
                put(&mut text, format_args!("{name}{{{labels}}} {value}\n"));
            }
        }
    }
    text
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::groups::lag::Committed;

    #[test]
    fn a_group_has_its_sum_and_its_partitions() {
        let committed = Committed { topic: Arc::from("t"), partition: 2, offset: 5, lag: Some(7) };
        let gone = Committed { lag: None, partition: 3, ..committed.clone() };
        let partitions = vec![committed, gone];
        let text = render(&[GroupLag { group: Arc::from("a \"b\""), sum: 7, partitions }]);
        for line in [
            r#"millpond_group_lag{group="a \"b\""} 7"#,
            r#"millpond_group_partition_lag{group="a \"b\"",partition="2",topic="t"} 7"#,
            r#"millpond_group_partition_committed_offset{group="a \"b\"",partition="3",topic="t"} 5"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains(r#"_lag{group="a \"b\"",partition="3""#), "{text}");
    }
}
