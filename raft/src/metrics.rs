//! The metrics of this crate: one constant for each name, with unit and labels.

use metrics::{counter, gauge};

/// Index of the last command that the metadata state machine applied. Gauge, no labels.
pub const METADATA_APPLIED_INDEX: &str = "millpond_metadata_applied_index";
/// Size of the metadata journal. Gauge in bytes, no labels.
pub const METADATA_JOURNAL_BYTES: &str = "millpond_metadata_journal_bytes";
/// Snapshots of the metadata written since the start. Counter, no labels.
pub const METADATA_SNAPSHOTS: &str = "millpond_metadata_snapshots_total";
/// Size of the newest snapshot of the metadata. Gauge in bytes, no labels.
pub const METADATA_SNAPSHOT_BYTES: &str = "millpond_metadata_snapshot_bytes";

/// Groups that got another leader because theirs was gone. Counter, no labels.
pub const TAKEOVERS: &str = "millpond_takeovers_total";
/// Times that a group of this node got another leader. Counter, no labels.
pub const LEADERSHIP_CHANGES: &str = "millpond_leadership_changes_total";

/// Gauges are floating point; beyond 2^53 they lose the last digits, which nobody can see.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const fn float(value: u64) -> f64 {
    value as f64
}

pub(crate) fn taken_over(groups: usize) {
    counter!(TAKEOVERS).increment(u64::try_from(groups).expect("usize fits in u64"));
}

pub(crate) fn leadership_changed() {
    counter!(LEADERSHIP_CHANGES).increment(1);
}

pub(crate) fn applied(index: u64) {
    gauge!(METADATA_APPLIED_INDEX).set(float(index));
}

pub(crate) fn journal_bytes(bytes: u64) {
    gauge!(METADATA_JOURNAL_BYTES).set(float(bytes));
}

pub(crate) fn snapshot_written(bytes: usize) {
    counter!(METADATA_SNAPSHOTS).increment(1);
    gauge!(METADATA_SNAPSHOT_BYTES).set(float(u64::try_from(bytes).expect("usize fits in u64")));
}
