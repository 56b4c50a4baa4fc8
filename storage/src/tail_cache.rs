//! The recent batches of all logs, in memory, bounded together.

/// Counts what all logs of one data directory keep in memory.
#[derive(Debug)]
pub(crate) struct TailCache {}

impl TailCache {
    /// A cache that holds at most `bytes_max` of batches that are already written.
    pub(crate) fn new(_bytes_max: usize) -> Self {
        todo!()
    }
}
