//! Which syncs count: after one that has failed, a later one may succeed without its bytes.
//!
//! The operating system reports lost bytes once. The flusher, the journal's thread, a truncation and
//! a stop sync the same files, at the same time, so whoever comes second must know of the first
//! before it believes its own success:
//!
//! - of one log's files one is synced at a time, and none after a failure, which is noted for the next
//!   start at once ([`LogSyncs`]);
//! - a sync of the whole file system may lose bytes of every log: while one is under way nobody
//!   believes a sync of his own, and after it has failed nobody does until the next start
//!   ([`DiskSyncs`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::device::{Device, DeviceFile};
use crate::recovery;

/// Syncs of the whole file system that holds a data directory.
#[derive(Debug)]
pub(crate) struct DiskSyncs {
    device: Arc<dyn Device>,
    root: PathBuf,
    /// Held for writing during such a sync.
    has_failed: RwLock<bool>,
}

impl DiskSyncs {
    /// For the file system that holds `root`.
    pub(crate) fn new(device: Arc<dyn Device>, root: PathBuf) -> Arc<Self> {
        Arc::new(Self { device, root, has_failed: RwLock::new(false) })
    }

    /// The directory that it is about.
    pub(crate) const fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Makes everything on the file system durable. Blocks. It counts for a log if
    /// [`LogSyncs::check`] says so afterwards.
    ///
    /// # Errors
    /// The operating system's, or that it had failed for an earlier caller.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut has_failed = self.has_failed.write();
        if *has_failed {
            return Err(failed_before("the file system"));
        }
        let synced = self.device.sync_filesystem(&self.root);
        if synced.is_err() {
            // It concerns logs that have nothing to do with whoever asked for it.
            recovery::mark_failed(&*self.device, &self.root);
        }
        *has_failed = synced.is_err();
        synced
    }

    /// Waits for a sync that is under way.
    fn check(&self) -> io::Result<()> {
        if *self.has_failed.read() { Err(failed_before("the file system")) } else { Ok(()) }
    }
}

/// Syncs of the files of one log.
#[derive(Debug)]
pub(crate) struct LogSyncs {
    disk: Arc<DiskSyncs>,
    /// The log's.
    directory: PathBuf,
    /// Held during a sync.
    has_failed: Mutex<bool>,
}

impl LogSyncs {
    /// For the log in `directory`, none of whose syncs has failed.
    pub(crate) fn new(disk: Arc<DiskSyncs>, directory: PathBuf) -> Self {
        Self { disk, directory, has_failed: Mutex::new(false) }
    }

    /// Makes the bytes of `file`, one of the log's, durable. Blocks.
    ///
    /// # Errors
    /// The operating system's, for this file or for one that was synced before. The log must go offline.
    pub(crate) fn sync_data(&self, file: &dyn DeviceFile) -> io::Result<()> {
        let mut has_failed = self.has_failed.lock();
        if *has_failed {
            return Err(failed_before("this log"));
        }
        let synced = file.sync_data().and_then(|()| self.disk.check());
        if synced.is_err() {
            // Before anything else: a process that is killed now leaves files behind that look sound.
            recovery::mark_failed(&*self.disk.device, &self.directory);
        }
        *has_failed = synced.is_err();
        synced
    }

    /// Whether a sync of the whole file system, which has just succeeded, counts for this log. Waits
    /// for a sync that is under way.
    ///
    /// # Errors
    /// A sync has failed before: its bytes were not there to be synced any more.
    pub(crate) fn check(&self) -> io::Result<()> {
        if *self.has_failed.lock() { Err(failed_before("this log")) } else { Ok(()) }
    }
}

fn failed_before(what: &str) -> io::Error {
    io::Error::other(format!("an earlier sync of {what} has failed"))
}
