//! The mappings of closed segments' indexes, bounded in number: the oldest is given up first, and
//! made again when its segment is read.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::segment::Segment;

/// Mappings kept at once; the operating system allows a process 65,530.
pub(crate) const MAPPINGS_MAX: usize = 4096;

/// Which segments are mapped, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct MappedIndexes {
    segments: Mutex<VecDeque<Weak<Segment>>>,
}

impl MappedIndexes {
    /// Notes that a segment was mapped, and unmaps the oldest if there are too many. Must be called
    /// without any segment's lock.
    pub(crate) fn mapped(&self, segment: &Arc<Segment>) {
        let oldest = {
            let mut segments = self.segments.lock();
            segments.push_back(Arc::downgrade(segment));
            if segments.len() <= MAPPINGS_MAX { None } else { segments.pop_front() }
        };
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.unmap();
        }
    }
}
