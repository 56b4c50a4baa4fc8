//! Appends that reach the flusher together.
//!
//! A burst of requests from one socket appends batch after batch. Waking the flusher for the first of
//! them makes it write that one alone, tell about it, and come back for the others; each turn costs two
//! changes of threads. Whoever has more at hand says so, and the flusher is woken once, at the end.

use std::sync::atomic::Ordering;

use super::Flusher;
use crate::data_dir::DataDir;

/// While it lives, appends do not wake the flusher; dropping it does, if there is anything to write.
/// Must be held for a few hundred microseconds at most, and never across a wait: others' appends wait
/// with it.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    flusher: &'a Flusher,
}

impl Flusher {
    /// See [`Gathering`].
    pub(crate) fn gather(&self) -> Gathering<'_> {
        self.gathering.fetch_add(1, Ordering::Relaxed);
        Gathering { flusher: self }
    }

    /// Whether somebody who gathers will wake the flusher. Asked under the queue's lock, which orders
    /// this with the end of the gathering: what was put there before is seen then.
    pub(super) fn is_gathering(&self) -> bool {
        self.gathering.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.flusher.gathering.fetch_sub(1, Ordering::Relaxed);
        // Whoever else gathers may go on for a while: what is there need not wait for it.
        self.flusher.wake_if_dirty();
    }
}

impl DataDir {
    /// Runs `appends`, and hands all that it appends to whichever logs to the flusher together, when it
    /// returns. Others' appends wait with it, so it must not take longer than a burst of requests.
    pub fn gather<T>(&self, appends: impl FnOnce() -> T) -> T {
        let _until_the_end = self.environment.flusher.gather();
        appends()
    }
}
