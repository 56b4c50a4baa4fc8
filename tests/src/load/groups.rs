//! Groups of consumers under load: a member's way to its first record, rebalances of many, commits, and
//! members that do nothing.
//!
//! Members are made by `crowd` with the whole codec; what is measured sends frames that were encoded
//! before, with the generation filled in, and reads of answers the code and the generation. A member
//! never joins by itself again: an answer that would make a real one do so counts as an error.

mod commits;
mod crowd;
mod first_record;
mod idle;
mod rebalance;

pub use commits::Commits;
pub use first_record::FirstRecord;
pub use idle::Idle;
pub use rebalance::Rebalance;
