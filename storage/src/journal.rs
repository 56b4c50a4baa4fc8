//! Small commits of all logs as one record in one file, so that they wait for one write instead of
//! one sync for each segment file.
//!
//! ```text
//! commit ─> pwrite of the segment files (page cache) ─> one durable write here ─> acknowledged
//!                                   └── synced in the background before the record is overwritten
//! <data>/millpond.journal   ├ half 0: record │ record │ … ┤ half 1: record │ … ┤   see `record`
//! ```
//! A file that grows needs a commit of the file system's own journal for each sync. This file has its
//! full length from the start, every block of it written, and is written past the page cache: nothing
//! but the record and one flush of the disk. Large commits do not come here: writing them twice costs
//! more than the sync that it saves.
//!
//! Records fill one half after the other. A half is used anew only after every file with bytes in its
//! records was synced. A record is a redo log: where a file holds its bytes already, applying it
//! again changes nothing. That is true while files only grow, so a truncation first empties the
//! journal ([`Journal::retire`]).
//!
//! After a failed write or sync nothing is overwritten any more until a start has replayed it all:
//! the journal is stuck, and commits sync their files. It must never make a commit wait for a sync of
//! its own: with both halves in use it says that it has no room.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use self::record::BLOCK_BYTES;
use self::ring::{Ring, Unsynced};
use crate::checkpoint::CheckpointError;
use crate::data_dir::format::{self, Format};
use crate::device::{Device, DeviceFile, OpenMode};
use crate::disk_syncs::DiskSyncs;
use crate::error::LogFailure;
use crate::log::sync_job::SyncJob;
use crate::scan::as_u64;

mod record;
pub(crate) mod replay;
mod ring;

/// Its name in the data directory.
const FILE_NAME: &str = "millpond.journal";

/// A commit of more bytes than this, and so many for each file, syncs its files instead. Measured on
/// ext4: one file with 64 KiB more takes 330 µs to sync and 180 µs here, with 512 KiB more the sync
/// wins; every further file adds its own wait.
const COMMIT_BYTES_MAX: usize = 128 << 10;
const COMMIT_BYTES_PER_FILE_MAX: usize = 32 << 10;
/// With more logs than this one sync of the whole file system is as good.
const COMMIT_LOGS_MAX: usize = 256;
/// What one log may bring to a commit here.
pub(crate) const LOG_BYTES_MAX: usize = COMMIT_BYTES_MAX;
/// Bytes of one record; also the size of its buffer.
const RECORD_BYTES_MAX: usize = 2 << 20;
/// Up to this many files of a half are synced one by one, more by one sync of the file system.
const SYNCED_EACH_MAX: usize = 8;
/// Bytes of zeros that one write of the preparation takes.
const ZEROS_BYTES: usize = 1 << 20;

/// How large the journal of a data directory is, and when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// Bytes of the file, in whole pairs of blocks; 0 goes without.
    pub bytes: u64,
    /// It is made after so many commits that it could have taken.
    pub begins_after: u32,
    /// It takes commits of so many logs or more; others sync their files.
    pub logs_min: usize,
}

impl JournalConfig {
    /// No journal: every commit syncs its files.
    pub const NONE: Self = Self { bytes: 0, begins_after: 0, logs_min: 0 };
}

/// The journal of one data directory.
pub(crate) struct Journal {
    device: Arc<dyn Device>,
    disk_syncs: Arc<DiskSyncs>,
    config: JournalConfig,
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    phase: Phase,
    is_stopping: bool,
}

enum Phase {
    /// There is no file; so many commits could have used one.
    Absent {
        commits: u32,
    },
    /// The thread makes the file.
    Preparing,
    Ready(Box<Ready>),
    /// Something has failed: what the file holds stays, or there is none.
    Stuck {
        has_records: bool,
    },
}

struct Ready {
    file: Arc<dyn DeviceFile>,
    ring: Ring,
    buffer: record::Buffer,
}

impl Journal {
    /// A journal for the root of `disk_syncs`, which holds none. Makes nothing yet.
    pub(crate) fn new(
        device: Arc<dyn Device>,
        disk_syncs: Arc<DiskSyncs>,
        config: JournalConfig,
    ) -> Arc<Self> {
        let phase = match config.bytes {
            0 => Phase::Stuck { has_records: false },
            _ => Phase::Absent { commits: 0 },
        };
        Arc::new(Self {
            device,
            disk_syncs,
            config,
            state: Mutex::new(State { phase, is_stopping: false }),
            work: Condvar::new(),
            thread: Mutex::new(None),
        })
    }

    /// Makes a commit durable with one write. `None`: it must sync its files, since that is as good,
    /// or there is no room or no journal.
    pub(crate) fn write(self: &Arc<Self>, jobs: &[SyncJob]) -> Option<io::Result<()>> {
        if jobs.len() < self.config.logs_min || !is_small(jobs) {
            return None;
        }
        let mut state = self.state.lock();
        let ready = match &mut state.phase {
            Phase::Ready(ready) => ready,
            Phase::Absent { commits } => {
                *commits += 1;
                if *commits >= self.config.begins_after {
                    state.phase = Phase::Preparing;
                    drop(state);
                    self.start_thread();
                }
                return None;
            }
            Phase::Preparing | Phase::Stuck { .. } => return None,
        };
        let block = ready.buffer.encode(ready.ring.next_sequence(), jobs)?;
        let place = ready.ring.reserve(block.len(), jobs)?;
        let written = ready.file.write_durable_at(block, place.position);
        if place.fills_half {
            self.work.notify_one();
        }
        if let Err(error) = written {
            state.phase = Phase::Stuck { has_records: true };
            return Some(Err(error.cause));
        }
        Some(Ok(()))
    }

    /// Lets go of files that have left their logs, as `gone` tells.
    pub(crate) fn forget(&self, gone: impl Fn(&Path) -> bool) {
        if let Phase::Ready(ready) = &mut self.state.lock().phase {
            ready.ring.forget(gone);
        }
    }

    /// Syncs every file with bytes in a record and empties the journal. Afterwards files may be cut.
    /// Blocks, and commits with it.
    ///
    /// # Errors
    /// The operating system's; the journal is stuck.
    pub(crate) fn retire(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let retired = match &mut state.phase {
            Phase::Stuck { has_records: true } => {
                return Err(io::Error::other("the journal is stuck"));
            }
            Phase::Absent { .. } | Phase::Preparing | Phase::Stuck { .. } => return Ok(()),
            Phase::Ready(ready) if !ready.ring.has_records() => return Ok(()),
            Phase::Ready(ready) => self.empty(ready),
        };
        if retired.is_err() {
            state.phase = Phase::Stuck { has_records: true };
        }
        retired
    }

    fn empty(&self, ready: &mut Ready) -> io::Result<()> {
        self.sync_files(&ready.ring.unsynced()).map_err(|failed| failed.cause)?;
        let zeros = ready.buffer.zeros(BLOCK_BYTES);
        for position in ready.ring.heads() {
            ready.file.write_durable_at(zeros, position).map_err(|error| error.cause)?;
        }
        ready.ring.clear();
        Ok(())
    }

    /// Ends the thread; with `is_clean`, everything is synced first and the file is removed. Nothing
    /// may be written afterwards.
    ///
    /// # Errors
    /// The operating system's; the file stays for the next start.
    pub(crate) fn stop(&self, is_clean: bool) -> io::Result<()> {
        self.state.lock().is_stopping = true;
        self.work.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread had panicked");
        }
        if !is_clean {
            return Ok(());
        }
        self.retire()?;
        let was_made = !matches!(
            std::mem::replace(&mut self.state.lock().phase, Phase::Stuck { has_records: false }),
            Phase::Absent { .. } | Phase::Stuck { .. }
        );
        if was_made { remove(&*self.device, self.root()).map_err(io::Error::other) } else { Ok(()) }
    }

    fn start_thread(self: &Arc<Self>) {
        let journal = Arc::clone(self);
        let started =
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || journal.run());
        match started {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread for the journal: going on without");
                self.state.lock().phase = Phase::Stuck { has_records: false };
            }
        }
    }

    fn run(&self) {
        let prepared = self.prepare();
        {
            let mut state = self.state.lock();
            state.phase = match prepared {
                Ok(ready) => Phase::Ready(Box::new(ready)),
                Err(error) => {
                    // Nothing was promised of it: commits go on as before, and a start ignores it.
                    tracing::warn!(%error, "no journal: every commit syncs its files");
                    Phase::Stuck { has_records: false }
                }
            };
        }
        while let Some((lap, files)) = self.next_filled() {
            match self.sync_files(&files) {
                Ok(()) => {
                    if let Phase::Ready(ready) = &mut self.state.lock().phase {
                        ready.ring.synced(lap);
                    }
                }
                Err(failed) => {
                    self.state.lock().phase = Phase::Stuck { has_records: true };
                    failed.tell(&files);
                    return;
                }
            }
        }
    }

    /// Waits for a half that is full; `None` ends the thread.
    fn next_filled(&self) -> Option<(u64, Vec<Unsynced>)> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            match &state.phase {
                Phase::Ready(ready) => {
                    if let Some(filled) = ready.ring.filled() {
                        return Some(filled);
                    }
                }
                _ => return None,
            }
            self.work.wait(&mut state);
        }
    }

    /// Makes the file, every block of it written, and says so in the directory's format.
    fn prepare(&self) -> Result<Ready, CheckpointError> {
        let path = self.root().join(FILE_NAME);
        let failed = |operation| {
            let path = path.clone();
            move |cause| CheckpointError::Io { path, operation, cause }
        };
        let file = self.device.open(&path, OpenMode::Journal).map_err(failed("create"))?;
        let mut buffer = record::Buffer::new(RECORD_BYTES_MAX);
        let mut at = 0;
        while at < self.config.bytes {
            let rest = usize::try_from(self.config.bytes - at).unwrap_or(usize::MAX);
            let zeros = buffer.zeros(rest.min(ZEROS_BYTES));
            let written = file.write_durable_at(zeros, at);
            written.map_err(|error| failed("write")(error.cause))?;
            at += as_u64(zeros.len());
        }
        file.sync_all().map_err(failed("sync"))?;
        // Makes the file's name durable too.
        format::write(&*self.device, self.root(), Format::WithJournal)?;
        Ok(Ready { file, ring: Ring::new(self.config.bytes), buffer })
    }

    fn sync_files(&self, files: &[Unsynced]) -> Result<(), FailedSync> {
        let are_many = files.len() > SYNCED_EACH_MAX;
        if are_many {
            self.disk_syncs.sync().map_err(|cause| FailedSync { cause, file: None })?;
        }
        for (number, file) in files.iter().enumerate() {
            let synced = match file.log.upgrade() {
                Some(log) if are_many => log.syncs.check(),
                Some(log) => log.syncs.sync_data(&*file.handle),
                // Closed, so nobody else syncs it.
                None if are_many => Ok(()),
                None => file.handle.sync_data(),
            };
            synced.map_err(|cause| FailedSync { cause, file: Some(number) })?;
        }
        Ok(())
    }

    fn root(&self) -> &Path {
        self.disk_syncs.root()
    }
}

/// A sync of journaled files that failed: of one of them, or of the whole file system.
struct FailedSync {
    cause: io::Error,
    file: Option<usize>,
}

impl FailedSync {
    /// Takes the logs offline whose files it may concern.
    fn tell(self, files: &[Unsynced]) {
        let cause = Arc::new(self.cause);
        let concerned = self.file.map_or(files, |number| &files[number..=number]);
        for file in concerned {
            if let Some(log) = file.log.upgrade() {
                let path = file.path.clone();
                log.fail(LogFailure { path, operation: "sync", cause: Arc::clone(&cause) });
            }
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("root", &self.root()).finish_non_exhaustive()
    }
}

fn is_small(jobs: &[SyncJob]) -> bool {
    if jobs.len() > COMMIT_LOGS_MAX {
        return false;
    }
    let mut bytes = 0;
    for job in jobs {
        let Some((_, of_log)) = job.pieces() else { return false };
        bytes += of_log;
    }
    let bytes_max = COMMIT_BYTES_MAX.max(jobs.len().saturating_mul(COMMIT_BYTES_PER_FILE_MAX));
    bytes <= bytes_max
}

/// Removes the file, durably, and says so in the directory's format.
///
/// # Errors
/// [`CheckpointError::Io`].
fn remove(device: &dyn Device, root: &Path) -> Result<(), CheckpointError> {
    let path = root.join(FILE_NAME);
    match device.remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(CheckpointError::Io { path, operation: "remove", cause });
        }
        Ok(()) | Err(_) => {}
    }
    let synced = device.sync_dir(root);
    synced.map_err(|cause| CheckpointError::Io {
        path: root.to_owned(),
        operation: "sync",
        cause,
    })?;
    format::write(device, root, Format::Plain)
}
