//! One flusher per disk: writes what logs appended since its last round, syncs, tells listeners.
//!
//! ```text
//! append ─> queue of dirty logs ─> round: write each ─> commit: sync their files ─> tell each once
//! ```
//! All logs of a disk share one sync (group commit): what is appended while a round is under way
//! goes into the next, and what is written while a commit is under way goes into the next one, see
//! `commits`. The queue holds a log at most once, so its length is bounded by the number
//! of logs; the bytes behind it are bounded by `pending_bytes_max`.
//!
//! A log whose disk is full stays dirty and is tried again every [`STALL_RETRY`]. A log whose write
//! or sync failed is offline for good. This thread must never wait for anything but the disk.

use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use parking_lot::{Condvar, Mutex};

use crate::disk_syncs::DiskSyncs;
use crate::journal::Journal;
use crate::log::Log;
use crate::log::sync_job::SyncJob;
use crate::log::write::{Rest, Written};
use crate::metrics as names;
use crate::page_cache::PageCache;

mod commits;
mod gathering;
mod prepare;
mod sync;

/// Bytes written in one round before they are handed to a commit, so that none takes long.
const ROUND_BYTES_MAX: usize = 8 << 20;
/// How soon a log is tried again whose files someone else is changing.
const BUSY_RETRY: Duration = Duration::from_millis(1);
/// So long after a commit the next one is expected: see [`Flusher::has_committed_lately`].
const LATELY: Duration = Duration::from_secs(1);
/// How often a log that found the disk full is tried again.
const STALL_RETRY: Duration = Duration::from_millis(200);

/// The flusher of one disk. Dropping it does not stop its thread: call [`Flusher::stop`].
#[derive(Debug)]
pub(crate) struct Flusher {
    pending_bytes_max: usize,
    pending_bytes: AtomicUsize,
    /// Those who will wake this thread when they have appended all that they have.
    gathering: AtomicUsize,
    queue: Mutex<Queue>,
    wake: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    journal: Arc<Journal>,
    last_commit: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Log>>,
    is_waiting: bool,
    is_stopping: bool,
}

impl Flusher {
    /// Starts the flusher's thread for one disk.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub(crate) fn start(
        disk_syncs: &Arc<DiskSyncs>,
        page_cache: &Arc<PageCache>,
        journal: Arc<Journal>,
        pending_bytes_max: usize,
    ) -> Arc<Self> {
        let syncer = sync::Syncer::start(Arc::clone(disk_syncs), Arc::clone(&journal));
        let flusher = Arc::new(Self {
            pending_bytes_max,
            pending_bytes: AtomicUsize::new(0),
            gathering: AtomicUsize::new(0),
            queue: Mutex::default(),
            wake: Condvar::new(),
            thread: Mutex::new(None),
            journal,
            last_commit: Mutex::new(None),
        });
        let rounds = Rounds {
            flusher: Arc::clone(&flusher),
            commits: commits::Commits::start(syncer, Arc::clone(page_cache)),
            page_cache: Arc::clone(page_cache),
            timed: BinaryHeap::new(),
            unfinished: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("flusher".to_owned())
            .spawn(move || rounds.run())
            .expect("a process that cannot start one thread cannot serve");
        *flusher.thread.lock() = Some(thread);
        flusher
    }

    /// What commits go to if they are small.
    pub(crate) const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether somebody seems to be producing what must be synced, so that reads should leave the disk
    /// to that.
    pub(crate) fn has_committed_lately(&self) -> bool {
        self.last_commit.lock().is_some_and(|last| now() - last < LATELY)
    }

    /// Ends the thread after its present round. Logs must be closed first.
    pub(crate) fn stop(&self) {
        self.queue.lock().is_stopping = true;
        self.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the flusher's thread had panicked");
        }
    }

    /// Asks for room for `bytes` more that wait for the disk; `Err` tells how many do. Each granted
    /// byte is released once.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), usize> {
        let before = self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        // One batch always fits, or one larger than the bound could never be written.
        if before > 0 && before + bytes > self.pending_bytes_max {
            self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(before);
        }
        Ok(())
    }

    /// Counts `bytes` that wait for the disk whatever the bound says. They are released once.
    pub(crate) fn reserve_anyway(&self, bytes: usize) {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How many bytes wait, if `bytes` more would be too many.
    pub(crate) fn busy_with(&self, bytes: usize) -> Option<usize> {
        let pending = self.pending_bytes.load(Ordering::Relaxed);
        (pending > 0 && pending + bytes > self.pending_bytes_max).then_some(pending)
    }

    /// `bytes` wait no longer: they were written or given up.
    pub(crate) fn release(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Puts a log into the next round. The log sees to it that it is queued once.
    pub(crate) fn enqueue(&self, log: Arc<Log>) {
        let mut queue = self.queue.lock();
        queue.dirty.push(log);
        if !self.is_gathering() && std::mem::take(&mut queue.is_waiting) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    fn wake_if_dirty(&self) {
        let mut queue = self.queue.lock();
        if !queue.dirty.is_empty() && std::mem::take(&mut queue.is_waiting) {
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Waits until a log is dirty or `until` has come. `None` asks to stop.
    fn next_round(&self, until: Option<Instant>) -> Option<Vec<Arc<Log>>> {
        let mut queue = self.queue.lock();
        while queue.dirty.is_empty() {
            if queue.is_stopping {
                return None;
            }
            queue.is_waiting = true;
            match until {
                None => self.wake.wait(&mut queue),
                Some(until) => {
                    if self.wake.wait_until(&mut queue, until).timed_out() {
                        break;
                    }
                }
            }
        }
        queue.is_waiting = false;
        Some(std::mem::take(&mut queue.dirty))
    }
}

/// A relaxed log that wants a sync at a certain time. Ordered so that the heap gives the earliest.
struct Timed {
    at: Instant,
    log: Weak<Log>,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

/// What the flusher's thread owns.
struct Rounds {
    flusher: Arc<Flusher>,
    commits: commits::Commits,
    page_cache: Arc<PageCache>,
    timed: BinaryHeap<Timed>,
    /// Logs that have more to write: than the last round took, or than the disk had room for.
    unfinished: Vec<Arc<Log>>,
}

impl Rounds {
    fn run(mut self) {
        let mut retry = None;
        loop {
            let retry_at = retry.map(|after| now() + after);
            let timed = self.timed.peek().map(|timed| timed.at);
            let until = [retry_at, timed].into_iter().flatten().min();
            let Some(dirty) = self.flusher.next_round(until) else { return };
            let mut logs = std::mem::take(&mut self.unfinished);
            logs.extend(dirty);
            retry = self.round(logs);
        }
    }

    /// One round; returns how soon the unfinished logs want the next one, if there are any.
    fn round(&mut self, logs: Vec<Arc<Log>>) -> Option<Duration> {
        let started = now();
        let (mut room, mut retry) = (ROUND_BYTES_MAX, None::<Duration>);
        let mut jobs: Vec<SyncJob> = Vec::new();
        prepare::prepare(&logs);
        for log in logs {
            let written = if room > 0 { write(&log, room, started) } else { Written::more() };
            room = room.saturating_sub(written.bytes);
            jobs.extend(written.sync.due);
            if let Some(at) = written.sync.at {
                self.timed.push(Timed { at, log: Arc::downgrade(&log) });
            }
            let after = match written.rest {
                Rest::Nothing => continue,
                Rest::More => Duration::ZERO,
                Rest::Busy => BUSY_RETRY,
                Rest::Full => STALL_RETRY,
            };
            retry = Some(retry.map_or(after, |earlier| earlier.min(after)));
            self.unfinished.push(log);
        }
        while self.timed.peek().is_some_and(|timed| timed.at <= started) {
            let log = self.timed.pop().and_then(|timed| timed.log.upgrade());
            jobs.extend(log.and_then(|log| log.take_sync_job()));
        }
        if jobs.is_empty() {
            // Relaxed logs alone: no commit does it.
            self.page_cache.let_go();
        } else {
            *self.flusher.last_commit.lock() = Some(started);
            self.commits.add(jobs, started);
        }
        let bytes = crate::scan::as_u64(ROUND_BYTES_MAX.saturating_sub(room));
        counter!(names::WRITTEN_BYTES.name).increment(bytes);
        let pending = self.flusher.pending_bytes.load(Ordering::Relaxed);
        gauge!(names::PENDING_BYTES.name)
            .set(f64::from(u32::try_from(pending).unwrap_or(u32::MAX)));
        retry
    }
}

/// A log whose invariants are broken goes offline alone: this thread serves all the others.
fn write(log: &Arc<Log>, bytes_max: usize, now: Instant) -> Written {
    let written = catch_unwind(AssertUnwindSafe(|| log.write_pending(bytes_max, now)));
    written.unwrap_or_else(|_panic| {
        log.fail_after_panic("write");
        Written::nothing()
    })
}

/// The flusher measures its rounds and keeps `flush.ms`; neither outlives the process.
#[expect(clippy::disallowed_methods, reason = "a monotonic clock that only this thread reads")]
fn now() -> Instant {
    Instant::now()
}

/// What a failed sync says of the path that it was called for.
pub(super) fn path_of(job: &SyncJob, fallback: &Path) -> PathBuf {
    job.files.first().map_or_else(|| fallback.to_owned(), |file| file.path.clone())
}
