//! One flusher per disk: writes what logs appended since its last round, syncs, tells listeners.

use std::sync::Arc;

use crate::device::Device;

/// The flusher of one disk. Dropping it does not stop its thread: call [`Flusher::stop`].
#[derive(Debug)]
pub(crate) struct Flusher {}

impl Flusher {
    /// Starts the flusher's thread for the file system that holds `root`.
    pub(crate) fn start(
        _device: Arc<dyn Device>,
        _root: &std::path::Path,
        _pending_bytes_max: usize,
    ) -> Arc<Self> {
        todo!()
    }

    /// Ends the thread after its present round. Logs must be closed first.
    pub(crate) fn stop(&self) {
        todo!()
    }
}
