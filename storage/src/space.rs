//! The disk guard: refuses appends before the disk is full, and lets them in again by itself.
//!
//! A disk that is really full fails writes half-way, so the guard must close early, also against a
//! burst between two looks at the file system. It therefore counts what was admitted and not yet
//! written against the free bytes of the last look:
//!
//! ```text
//! available = free bytes at the last look + bytes settled before it - bytes admitted ever
//! full      : available < free_bytes_min, until available >= 2 * free_bytes_min at a look
//! ```
//!
//! It guards appends alone; reads, deletes and retention never ask.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::device::{Device, Space};

/// So many bytes after a look the next one is due.
const LOOK_DUE_BYTES: u64 = 64 << 20;

/// The free space of one data directory's file system, as appends may use it.
#[derive(Debug)]
pub(crate) struct SpaceGuard {
    device: Arc<dyn Device>,
    path: PathBuf,
    free_bytes_min: u64,
    free_bytes: AtomicU64,
    total_bytes: AtomicU64,
    /// What may be admitted in all, counted from the start of the process.
    admissible_bytes: AtomicU64,
    admitted_bytes: AtomicU64,
    settled_bytes: AtomicU64,
    /// `settled_bytes` from which on a look is due.
    look_due_at: AtomicU64,
    is_look_due: Mutex<bool>,
    look_due: Condvar,
    is_full: AtomicBool,
}

impl SpaceGuard {
    /// Looks at the file system that holds `path` for the first time.
    ///
    /// # Errors
    /// Those of [`Device::space`].
    pub(crate) fn new(
        device: Arc<dyn Device>,
        path: PathBuf,
        free_bytes_min: u64,
    ) -> io::Result<Self> {
        let guard = Self {
            device,
            path,
            free_bytes_min,
            free_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            admissible_bytes: AtomicU64::new(0),
            admitted_bytes: AtomicU64::new(0),
            settled_bytes: AtomicU64::new(0),
            look_due_at: AtomicU64::new(LOOK_DUE_BYTES),
            is_look_due: Mutex::new(false),
            look_due: Condvar::new(),
            is_full: AtomicBool::new(false),
        };
        guard.look()?;
        // A start between the two watermarks accepts writes: nobody was refused before.
        guard.is_full.store(guard.available_bytes() < free_bytes_min, Ordering::Relaxed);
        Ok(guard)
    }

    /// Whether appends are refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Asks to write `bytes` and counts them if it may. Each admitted byte MUST be settled once.
    #[must_use]
    pub(crate) fn admit(&self, bytes: u64) -> bool {
        if self.is_full() {
            return false;
        }
        self.admitted_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.available_bytes() < self.free_bytes_min {
            self.close();
        }
        true
    }

    /// Counts `bytes` that will be written in any case, and closes the guard if that is too much.
    /// Each byte MUST be settled once.
    pub(crate) fn admit_anyway(&self, bytes: u64) {
        self.admitted_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.available_bytes() < self.free_bytes_min {
            self.close();
        }
    }

    /// `bytes` of what was admitted have been written or given up. To be called once for many
    /// appends, not for each.
    pub(crate) fn settle(&self, bytes: u64) {
        let settled = self.settled_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        debug_assert!(settled <= self.admitted_bytes.load(Ordering::Relaxed), "settled twice");
        if settled >= self.look_due_at.load(Ordering::Relaxed) {
            self.make_look_due();
        }
    }

    /// Ends [`SpaceGuard::wait_until_look_is_due`] at once.
    pub(crate) fn make_look_due(&self) {
        *self.is_look_due.lock() = true;
        self.look_due.notify_all();
    }

    /// Blocks until a look is due: enough was written since the last one, or `at_most` has passed.
    pub(crate) fn wait_until_look_is_due(&self, at_most: Duration) {
        let mut is_due = self.is_look_due.lock();
        self.look_due.wait_while_for(&mut is_due, |is_due| !*is_due, at_most);
        *is_due = false;
    }

    /// A write found the disk full whatever was counted: refuse until a look finds space.
    pub(crate) fn found_full(&self) {
        self.close();
    }

    /// Asks the file system. To be called about once a second, and after deletes.
    ///
    /// # Errors
    /// Those of [`Device::space`]; the last figures stay in force.
    pub(crate) fn look(&self) -> io::Result<()> {
        // Before the look: what is settled during it may be counted twice, never left out.
        let settled = self.settled_bytes.load(Ordering::Relaxed);
        let Space { free_bytes, total_bytes } = self.device.space(&self.path)?;
        self.look_due_at.store(settled + LOOK_DUE_BYTES, Ordering::Relaxed);
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.admissible_bytes.store(free_bytes.saturating_add(settled), Ordering::Relaxed);
        let available = self.available_bytes();
        if available < self.free_bytes_min {
            self.close();
        } else if available >= self.free_bytes_min.saturating_mul(2)
            && self.is_full.swap(false, Ordering::Relaxed)
        {
            tracing::info!(free_bytes, path = %self.path.display(), "accepting writes again");
        }
        Ok(())
    }

    /// Free bytes at the last look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Size of the file system at the last look.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    fn available_bytes(&self) -> u64 {
        let admitted = self.admitted_bytes.load(Ordering::Relaxed);
        self.admissible_bytes.load(Ordering::Relaxed).saturating_sub(admitted)
    }

    fn close(&self) {
        if !self.is_full.swap(true, Ordering::Relaxed) {
            let (free_bytes, free_bytes_min) = (self.free_bytes(), self.free_bytes_min);
            let path = self.path.display();
            tracing::warn!(free_bytes, free_bytes_min, %path, "disk almost full: refusing writes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::faulty::FaultyDevice;

    fn guard_of(capacity_bytes: u64) -> (tempfile::TempDir, Arc<FaultyDevice>, SpaceGuard) {
        let root = tempfile::tempdir().unwrap();
        let device = FaultyDevice::new(root.path()).unwrap();
        device.set_capacity_bytes(Some(capacity_bytes));
        let shared = Arc::clone(&device) as Arc<dyn Device>;
        let guard = SpaceGuard::new(shared, root.path().to_owned(), 100).unwrap();
        (root, device, guard)
    }

    #[test]
    fn a_burst_between_two_looks_closes_the_guard_until_it_is_written() {
        let (_root, _device, guard) = guard_of(1000);
        assert!(guard.admit(850));
        assert!(guard.admit(100));
        assert!(!guard.admit(1), "50 would be left");
        guard.look().unwrap();
        assert!(guard.is_full(), "the bytes still wait");
        guard.settle(950);
        // Nothing was really written, so a look finds all the space again.
        guard.look().unwrap();
        assert!(guard.admit(1));
    }

    #[test]
    fn it_opens_at_twice_the_watermark() {
        let (_root, device, guard) = guard_of(99);
        assert!(guard.is_full(), "full at start");
        for (free_bytes, is_full) in
            [(150, true), (199, true), (200, false), (150, false), (99, true)]
        {
            device.set_capacity_bytes(Some(free_bytes));
            guard.look().unwrap();
            assert_eq!((guard.free_bytes(), guard.is_full()), (free_bytes, is_full));
        }
        device.set_capacity_bytes(Some(500));
        guard.look().unwrap();
        guard.found_full();
        assert!(!guard.admit(1), "a write knew better");
    }

    #[test]
    fn a_look_is_due_after_many_bytes() {
        let (_root, _device, guard) = guard_of(1 << 40);
        const NEVER: Duration = Duration::from_secs(3600);
        assert!(guard.admit(LOOK_DUE_BYTES));
        guard.settle(LOOK_DUE_BYTES);
        guard.wait_until_look_is_due(NEVER);
        guard.look().unwrap();
        guard.make_look_due();
        guard.wait_until_look_is_due(NEVER);
    }
}
