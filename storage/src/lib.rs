//! One partition's log on disk, and the directory that holds many of them.
//!
//! Synchronous: no async runtime, no network, no wire error codes, no topic policy. It knows
//! offsets, entries and a leader epoch for each batch.
//!
//! ```text
//! log_start_offset        recovery_point          written_end        log_end_offset
//!        │ readable, synced      │ written, unsynced    │ in memory        │
//!        ├───────────────────────┼──────────────────────┼──────────────────┤
//! ```
//! `log_start_offset <= recovery_point <= written_end <= log_end_offset`, asserted where they move.

pub mod checkpoint;
pub mod config;
pub mod data_dir;
pub mod device;
mod disk_syncs;
mod entry_index;
pub mod environment;
pub mod error;
mod file_cache;
pub mod fitness;
mod flusher;
mod journal;
mod leader_epochs;
pub mod log;
mod mapped_indexes;
pub mod metrics;
mod mmap;
mod offset_index;
mod page_cache;
mod producer_snapshot;
mod producer_state;
mod raft_only;
pub mod read;
mod recovery;
mod retention;
mod scan;
mod segment;
mod space;
mod tail_cache;
mod time_index;
pub mod validate;
