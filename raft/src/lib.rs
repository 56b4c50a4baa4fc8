//! Replication: the seam between a partition and the way its log is kept, and the metadata group.
//!
//! The only crate that names openraft. It knows bytes, not topics, groups or wire messages.

pub mod direct;
pub mod fitness;
mod frames;
mod group;
pub mod groups;
mod high_watermark;
pub mod metrics;
pub mod peers;
pub mod replica;
pub mod replicated_state;
pub mod types;
mod votes;
