//! Consumer groups: the coordinator.
//!
//! `classic` and `offsets` decide for one group, `shard` keeps the groups of one partition of
//! `__consumer_offsets`; all of them are pure. Nothing of this is reachable by a request yet.

pub(crate) mod classic;
pub(crate) mod effects;
pub(crate) mod offsets;
pub(crate) mod shard;
