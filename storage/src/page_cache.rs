//! How much of the page cache the writes of one data directory fill: the newest bytes, up to a bound.
//!
//! Left alone, the operating system keeps everything that was written until memory is full. From then
//! on a producer pays for finding pages to reclaim, and other programs have lost theirs. Before that,
//! in a virtual machine whose host takes back free memory, a page that is used for the first time costs
//! much more than one that is used again. So the oldest bytes leave the page
//! cache once they are durable, and their pages are used again while they are warm.
//!
//! Only stretches of [`STRETCH_BYTES`] count. What logs with less to do leave in the page cache is the
//! operating system's business, and so is what readers bring back.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::device::{Advice, DeviceFile};

/// So many bytes of one file, next to each other, are counted and let go together.
pub(crate) const STRETCH_BYTES: u32 = 8 << 20;

/// Bytes of one file that are in the page cache.
#[derive(Debug)]
struct Stretch {
    /// Weak, so that a deleted file gives its space back.
    file: Weak<dyn DeviceFile>,
    position: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    stretches: VecDeque<Stretch>,
    bytes: u64,
}

/// Counts what all logs of one data directory wrote into the page cache.
#[derive(Debug)]
pub(crate) struct PageCache {
    bytes_max: u64,
    state: Mutex<State>,
}

impl PageCache {
    /// Keeps the newest `bytes_max`.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Counts bytes that were just written.
    pub(crate) fn written(&self, file: &Arc<dyn DeviceFile>, position: u64, bytes: u64) {
        let mut state = self.state.lock();
        state.stretches.push_back(Stretch { file: Arc::downgrade(file), position, bytes });
        state.bytes += bytes;
    }

    /// Lets go of the oldest bytes above the bound. What is not durable yet stays.
    pub(crate) fn let_go(&self) {
        while let Some(oldest) = self.take_excess() {
            if let Some(file) = oldest.file.upgrade() {
                file.advise(oldest.position, oldest.bytes, Advice::DontNeed);
            }
        }
    }

    fn take_excess(&self) -> Option<Stretch> {
        let mut state = self.state.lock();
        if state.bytes <= self.bytes_max {
            return None;
        }
        let oldest = state.stretches.pop_front()?;
        state.bytes -= oldest.bytes;
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::os::OsDevice;
    use crate::device::{Device, OpenMode};

    #[test]
    fn the_oldest_bytes_leave_the_page_cache_and_are_still_in_the_file() {
        const STRETCH: u64 = 1 << 20;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = OsDevice.open(&path, OpenMode::CreateNew).unwrap();
        let cache = PageCache::new(2 * STRETCH);
        let bytes: Vec<u8> = (0..STRETCH).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for number in 0..5 {
            file.write_at(&bytes, number * STRETCH).unwrap();
            file.sync_data().unwrap();
            cache.written(&file, number * STRETCH, STRETCH);
        }
        let mut found = vec![0; 4096];
        let middle_of = |number| number * STRETCH + STRETCH / 2;
        // Some file systems cannot tell what is in memory.
        let can_tell = file.read_at_nowait(&mut found, middle_of(0)).is_ok();
        cache.let_go();
        for number in 0..5 {
            let is_kept = file.read_at_nowait(&mut found, middle_of(number)).is_ok();
            assert!(!can_tell || is_kept == (number >= 3), "stretch {number}");
            file.read_at(&mut found, middle_of(number)).unwrap();
            assert_eq!(found, bytes[bytes.len() / 2..][..found.len()]);
        }
    }

    #[test]
    fn a_file_that_is_gone_is_not_held_and_no_longer_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = OsDevice.open(&path, OpenMode::CreateNew).unwrap();
        let cache = PageCache::new(10);
        cache.written(&file, 0, 8);
        assert_eq!(Arc::strong_count(&file), 1);
        drop(file);
        let next = OsDevice.open(&path, OpenMode::Write).unwrap();
        cache.written(&next, 0, 8);
        cache.let_go();
        assert_eq!(cache.state.lock().bytes, 8);
    }
}
