//! Groups: the coordinator.
//!
//! ```text
//!   request ─> coordinator ─> owner of one partition ─> shard ─> one group: members, offsets
//!              (which one)    (lock, log, waiting)       └──────── pure: decides only ──────┘
//! ```
//! A group belongs to the partition of `__consumer_offsets` that its id hashes to, as in Kafka. What is
//! durable of it is what that partition's log says; the rest (who is joining, whose session runs until
//! when) begins anew when the log is read again, and members come back by themselves.

pub(crate) mod after_commit;
pub(crate) mod assignor;
pub(crate) mod classic;
pub(crate) mod consumer;
pub(crate) mod consumer_terms;
pub(crate) mod coordinator;
pub(crate) mod deleted_topics;
pub(crate) mod effects;
pub(crate) mod lag;
mod load;
mod log_reader;
pub(crate) mod members;
mod migration;
pub(crate) mod offsets;
pub(crate) mod owner;
pub(crate) mod reads;
pub(crate) mod replay;
pub(crate) mod shard;
mod snapshot;
pub(crate) mod tally;
pub(crate) mod times;
mod wakes;

pub(crate) use self::coordinator::Groups;

#[cfg(test)]
mod tests;
