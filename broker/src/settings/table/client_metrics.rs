//! The settings of a subscription to metrics of clients (KIP-714).
//!
//! Names, types and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by name.

use crate::settings::row::{Rule, Setting, int, list};

/// The rows.
#[rustfmt::skip]
pub(super) const CLIENT_METRICS: &[Setting] = &[
    int("interval.ms").default("300000").rule(Rule::Within(100, 3_600_000)).cluster_wide().honoured()
        .doc("How often clients push their metrics."),
    list("match").default("").rule(Rule::ClientPatterns).cluster_wide().honoured()
        .doc("Which clients are asked, as attribute=pattern pairs that must all match; all clients if empty."),
    list("metrics").default("").cluster_wide().honoured()
        .doc("Beginnings of the names of metrics that are asked for; * is all."),
];
