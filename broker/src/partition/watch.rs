//! The interest of one fetch, or of one fetch session, in many partitions.
//!
//! Each partition marks its slot when it changes; the owner takes what is marked. Marks of slots
//! that the owner has given to another partition meanwhile are harmless: it looks and finds nothing.
//!
//! Bound: a registration is good for one mark, and the owner registers a slot anew only after it has
//! taken the mark, so that at most as many marks are held as the owner has slots.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The owner's name for one of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    /// As an index into the owner's table.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot at `index`; `None` above 2^32, which no request reaches.
    pub(crate) fn at(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Self)
    }
}

/// Slots marked and not taken yet, and the task to wake.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    marked: Mutex<Vec<Slot>>,
    news: Notify,
}

impl Watch {
    /// Notes that the partition of `slot` has changed, and wakes the owner if it was quiet before.
    pub(crate) fn mark(&self, slot: Slot) {
        let was_quiet = {
            let mut marked = self.marked.lock();
            marked.push(slot);
            marked.len() == 1
        };
        if was_quiet {
            self.news.notify_one();
        }
    }

    /// Takes what is marked.
    pub(crate) fn take(&self) -> Vec<Slot> {
        std::mem::take(&mut *self.marked.lock())
    }

    /// Completes once something is marked. Safe to drop.
    pub(crate) async fn marked(&self) {
        while self.marked.lock().is_empty() {
            // A permit of an earlier mark that was taken since only costs one more turn.
            self.news.notified().await;
        }
    }
}
