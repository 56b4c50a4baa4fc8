//! The load generator: it makes a broker busy while doing as little as possible itself, since it
//! shares the machine's cores with what it measures.
//!
//! Frames are encoded once and sent again and again with another correlation id; of responses only
//! what says "done", "refused" and "next offset" is read. It never retries and never hides an error:
//! every error code of a response is counted and ends up in the report.

pub mod batches;
pub mod command;
pub mod connections;
pub mod fan_out;
pub mod fetch;
pub mod frames;
pub mod groups;
pub mod keyed;
pub mod latency;
pub mod link;
pub mod meter;
pub mod pacer;
pub mod partitions;
pub mod produce;
pub mod readiness;
pub mod report;
pub mod responses;
pub mod rotation;
pub mod sessions;
pub mod setting;
pub mod tail;
pub mod topics;
pub mod usage;
