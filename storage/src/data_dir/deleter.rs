//! Removes the directories of deleted logs in the background, file by file.
//!
//! A directory given here has already lost its name durably, so losing the queue loses nothing: what
//! is left is found and removed at the next start. Files are unlinked whole. Cutting a large one
//! down in steps would be kinder to some file systems, but a response that is still being sent may
//! hold the file, and an index may still be mapped.
//!
//! The delay of `file.delete.delay.ms` is a kindness to administrators who deleted the wrong topic.
//! It ends when the disk is full: who deletes then wants the space.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::device::Device;
use crate::space::SpaceGuard;

/// How exactly a delay is kept; there is no clock here, only waiting.
const TICK: Duration = Duration::from_secs(1);

/// The thread and its queue. The queue is bounded by the directories that exist.
#[derive(Debug)]
pub(super) struct Deleter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    device: Arc<dyn Device>,
    space: Arc<SpaceGuard>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    is_stopped: bool,
}

#[derive(Debug)]
struct Waiting {
    directory: PathBuf,
    rest: Duration,
}

impl Deleter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub(super) fn start(device: Arc<dyn Device>, space: Arc<SpaceGuard>) -> io::Result<Self> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { device, space, queue, changed });
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run()
        };
        let thread = std::thread::Builder::new().name("log-deleter".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Removes `directory` and all in it after `delay`, to the second, or once the disk is full.
    pub(super) fn remove_later(&self, directory: PathBuf, delay: Duration) {
        self.shared.queue.lock().waiting.push_back(Waiting { directory, rest: delay });
        self.shared.changed.notify_one();
    }
}

impl Drop for Deleter {
    /// Ends the thread after the file that it is removing.
    fn drop(&mut self) {
        self.shared.queue.lock().is_stopped = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that removes deleted logs panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        while let Some(directory) = self.next() {
            if let Err(error) = self.remove(&directory) {
                let directory = directory.display();
                tracing::warn!(%error, %directory, "deleted log left behind until the next start");
            }
        }
    }

    /// Waits for a directory that is due; `None` once stopped.
    fn next(&self) -> Option<PathBuf> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_stopped {
                return None;
            }
            let is_full = self.space.is_full();
            let is_due = |waiting: &Waiting| is_full || waiting.rest.is_zero();
            let due = queue.waiting.iter().position(is_due);
            if let Some(waiting) = due.and_then(|due| queue.waiting.remove(due)) {
                return Some(waiting.directory);
            }
            if queue.waiting.is_empty() {
                self.changed.wait(&mut queue);
            } else if self.changed.wait_for(&mut queue, TICK).timed_out() {
                for waiting in &mut queue.waiting {
                    waiting.rest = waiting.rest.saturating_sub(TICK);
                }
            }
        }
    }

    /// Not synced: a name that comes back after a crash is removed again.
    fn remove(&self, directory: &Path) -> io::Result<()> {
        for entry in self.device.list(directory)? {
            if self.queue.lock().is_stopped {
                return Ok(());
            }
            self.device.remove_file(&directory.join(entry.name))?;
        }
        self.device.remove_dir(directory)
    }
}
