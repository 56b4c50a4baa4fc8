//! Whether the disk of a data directory does what it is asked for, in time.
//!
//! A disk that hangs says nothing: a call to it just does not return. So every call that changes or
//! syncs something is noted while it is under way (`device::watched`), and whoever wants to know looks
//! for the oldest of them. That costs a short lock for each call and nothing while nobody looks. Reads
//! are not noted: a reader that waits holds up nobody else.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A write or sync that is under way for so long means that the disk hangs.
pub const HANGS_AFTER: Duration = Duration::from_secs(2);

/// How a disk stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskState {
    /// What has failed for good, in a sentence: a log of this directory, or a file beside the logs.
    pub failure: Option<String>,
    /// The call that is under way for the longest time.
    pub oldest: Option<Pending>,
    /// Whether appends are refused for lack of space.
    pub is_full: bool,
}

/// A call to the disk that has not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What is done.
    pub operation: &'static str,
    /// To what.
    pub path: Arc<Path>,
    /// For how long.
    pub elapsed: Duration,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, path, elapsed } = self;
        write!(f, "{operation} of {} for {:.1} s", path.display(), elapsed.as_secs_f32())
    }
}

impl DiskState {
    /// The call that takes longer than a disk may.
    #[must_use]
    pub fn hanging(&self) -> Option<&Pending> {
        self.oldest.as_ref().filter(|oldest| oldest.elapsed >= HANGS_AFTER)
    }
}

/// What is noted of one disk.
#[derive(Debug, Default)]
pub(crate) struct DiskWatch {
    under_way: Mutex<UnderWay>,
    failure: OnceLock<String>,
}

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    /// A handful: one for each thread that is at the disk.
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    number: u64,
    operation: &'static str,
    path: Arc<Path>,
    since: Instant,
}

impl DiskWatch {
    /// Makes a call to the disk.
    pub(crate) fn during<T>(
        &self,
        operation: &'static str,
        path: &Arc<Path>,
        call: impl FnOnce() -> T,
    ) -> T {
        let number = {
            let mut under_way = self.under_way.lock();
            under_way.last += 1;
            let (number, path) = (under_way.last, Arc::clone(path));
            under_way.calls.push(Call { number, operation, path, since: now() });
            number
        };
        let _noted = Noted { watch: self, number };
        call()
    }

    /// Something has failed for good. Only the first failure is kept.
    pub(crate) fn note_failure(&self, failure: impl FnOnce() -> String) {
        self.failure.get_or_init(failure);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    pub(crate) fn oldest(&self) -> Option<Pending> {
        let under_way = self.under_way.lock();
        let oldest = under_way.calls.iter().min_by_key(|call| call.number)?;
        let Call { operation, path, since, .. } = oldest;
        Some(Pending { operation, path: Arc::clone(path), elapsed: now() - *since })
    }
}

/// A call that has not returned; it has when this is dropped.
struct Noted<'a> {
    watch: &'a DiskWatch,
    number: u64,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let mut under_way = self.watch.under_way.lock();
        let place = under_way.calls.iter().position(|call| call.number == self.number);
        if let Some(place) = place {
            under_way.calls.swap_remove(place);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a monotonic clock of which only differences are told"
)]
fn now() -> Instant {
    Instant::now()
}
