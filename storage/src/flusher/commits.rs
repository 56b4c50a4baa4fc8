//! What is written and not yet synced: one commit at a time, while the flusher writes on.
//!
//! ```text
//! flusher's thread   write 1 ┬ write 2 ── write 3 ┬ write 4 …
//! commit thread              └ sync of 1 ─────────┴ sync of 2 and 3 ─ …
//! ```
//! A commit takes everything that was written when it begins, so its size follows the load: the
//! longer a sync takes, the more the next one covers. A small commit that finds the disk idle is made
//! by the flusher itself: handing it to another thread would cost more than the overlap gains.
//!
//! At most one commit is under way. What waits for the next is bounded: beyond that the flusher does.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use metrics::{counter, histogram};
use parking_lot::{Condvar, Mutex};

use super::sync::Syncer;
use crate::log::sync_job::SyncJob;
use crate::metrics as names;
use crate::page_cache::PageCache;

/// Bytes that may wait for the next commit, so that none takes long.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// A commit of up to this size is made by the flusher's own thread.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Commits for the flusher's thread.
pub(super) struct Commits {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    syncer: Syncer,
    page_cache: Arc<PageCache>,
    waiting: Mutex<Waiting>,
    /// Wakes the commit thread.
    begin: Condvar,
    /// Wakes the flusher, which waits for room.
    has_room: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<SyncJob>,
    /// Where a log's job stands in `jobs`, by the log's address.
    places: HashMap<usize, usize>,
    bytes: usize,
    /// When the first of the jobs began to be written.
    since: Option<Instant>,
    is_committing: bool,
    is_stopping: bool,
}

/// What one commit makes durable.
struct Commit {
    jobs: Vec<SyncJob>,
    since: Option<Instant>,
}

impl Commits {
    /// Starts the commit thread; it ends, when all is committed, with this.
    pub(super) fn start(syncer: Syncer, page_cache: Arc<PageCache>) -> Self {
        let shared = Arc::new(Shared {
            syncer,
            page_cache,
            waiting: Mutex::default(),
            begin: Condvar::new(),
            has_room: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || worker.run())
            .expect("a process that cannot start a thread cannot serve");
        Self { shared, thread: Some(thread) }
    }

    /// Hands over what a round that began at `since` has written. Waits while too much does.
    pub(super) fn add(&self, jobs: Vec<SyncJob>, since: Instant) {
        let mut waiting = self.shared.waiting.lock();
        let is_full =
            |waiting: &mut Waiting| waiting.is_committing && waiting.bytes >= WAITING_BYTES_MAX;
        self.shared.has_room.wait_while(&mut waiting, is_full);
        waiting.since.get_or_insert(since);
        jobs.into_iter().for_each(|job| waiting.add(job));
        if std::mem::replace(&mut waiting.is_committing, true) {
            return;
        }
        if waiting.bytes > INLINE_BYTES_MAX {
            drop(waiting);
            self.shared.begin.notify_one();
            return;
        }
        let commit = waiting.take();
        drop(waiting);
        self.shared.make(commit);
        // Only this thread adds.
        self.shared.waiting.lock().is_committing = false;
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.shared.waiting.lock().is_stopping = true;
        self.shared.begin.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread had panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.jobs.is_empty() {
                waiting.is_committing = false;
                if waiting.is_stopping {
                    return;
                }
                self.begin.wait(&mut waiting);
            }
            let commit = waiting.take();
            drop(waiting);
            self.has_room.notify_one();
            self.make(commit);
        }
    }

    fn make(&self, commit: Commit) {
        self.syncer.sync(commit.jobs);
        counter!(names::FLUSHES.name).increment(1);
        if let Some(since) = commit.since {
            histogram!(names::FLUSH_SECONDS.name).record((super::now() - since).as_secs_f64());
        }
        self.page_cache.let_go();
    }
}

impl Waiting {
    fn add(&mut self, job: SyncJob) {
        self.bytes += job.bytes();
        let address = Arc::as_ptr(job.log()).addr();
        match self.places.get(&address) {
            Some(place) => self.jobs[*place].absorb(job),
            None => {
                self.places.insert(address, self.jobs.len());
                self.jobs.push(job);
            }
        }
    }

    fn take(&mut self) -> Commit {
        self.places.clear();
        self.bytes = 0;
        Commit { jobs: std::mem::take(&mut self.jobs), since: self.since.take() }
    }
}
