//! The directory of one node: lock, identity, clean-stop mark, checkpoints, all logs.
//!
//! ```text
//! <data>/.lock                              pid of the holder
//!        millpond.format                    version of this layout
//!        meta.properties                    identity
//!        millpond.state                     running or stopped, and the machine's boot id
//!        recovery-point-offset-checkpoint   how far each log is synced
//!        log-start-offset-checkpoint        where each log begins
//!        millpond-log-checkpoint            topic ids, and how each log was left
//!        <topic>-<partition>/               a log
//!        <topic>-<partition>.<id>-delete/   a deleted log, soon removed
//!        millpond.journal                   small commits that no segment file was synced for
//!        metadata/                          the metadata group's; not a log, never touched here
//!        millpond.nodes                     where the nodes of the cluster are; the broker's
//! ```
//! Nothing is written before the directory is recognised as ours or as empty, and nothing but the
//! lock file before the lock is held. Other names are left alone.

mod checkpointer;
mod deleter;
mod first_sync;
pub(crate) mod format;
mod identity;
mod lock;
mod log_directory;
mod log_states;
mod names;
mod open_logs;
mod run_state;
#[cfg(test)]
mod tests;
mod uuid_text;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::topic::{TopicId, TopicPartition};
use protocol::types::BrokerId;
use uuid::Uuid;

use self::checkpointer::Checkpointer;
use self::deleter::Deleter;
use self::lock::DirectoryLock;
use self::log_states::LogStates;
use self::open_logs::{Claim, OpenLog, OpenLogs};
use self::run_state::RunState;
use crate::config::LogConfig;
use crate::device::os::OsDevice;
use crate::device::watched::WatchedDevice;
use crate::device::{Device, DirectoryEntry};
use crate::environment::{LogEnvironment, StopKind};
use crate::error::OpenError;
use crate::fitness::{DiskState, DiskWatch};
use crate::journal;
pub use crate::journal::JournalConfig;
use crate::log::Log;
use crate::log::entries::LogKind;
use crate::log::open::Wanted;

/// As measured, see the decisions in `ARCHITECTURE.md`: a directory that is hardly written to gets no
/// file, and commits of fewer logs gain nothing.
const JOURNAL: JournalConfig = JournalConfig { bytes: 16 << 20, begins_after: 64, logs_min: 3 };

/// Who a data directory belongs to. Made on first start, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub broker_id: BrokerId,
    /// This directory.
    pub directory_id: Uuid,
}

/// Limits of everything under one data directory.
#[derive(Debug, Clone)]
pub struct DataDirConfig {
    /// Open segment and index files kept at once.
    pub open_files_max: usize,
    /// Bytes of recent batches kept in memory over all logs.
    pub tail_cache_bytes_max: usize,
    /// Bytes of the page cache that what is written may fill: the newest stay.
    pub page_cache_bytes_max: u64,
    /// Bytes that may wait for the disk over all logs before appends are refused as busy.
    pub pending_bytes_max: usize,
    /// Appends are refused while less than this is free; they resume above twice as much.
    pub free_bytes_min: u64,
    /// Producer state expires after this long without a batch (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
}

/// A partition found on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogName {
    /// By name.
    pub partition: TopicPartition,
    /// The topic's incarnation.
    pub topic_id: TopicId,
}

/// An open, locked data directory with its flusher.
///
/// Dropping it without [`DataDir::close`] is for it what a killed process is: the lock is released,
/// and the next start recovers.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    stop: StopKind,
    pub(crate) environment: LogEnvironment,
    logs: Arc<OpenLogs>,
    running: Mutex<Option<Running>>,
}

/// What ends when the directory is closed. Fields are dropped in this order: the lock last.
#[derive(Debug)]
struct Running {
    checkpointer: Checkpointer,
    deleter: Deleter,
    state: RunState,
    lock: DirectoryLock,
}

impl DataDir {
    /// Changes how long a silent producer is remembered, in all logs.
    pub fn set_producer_expiration(&self, expiration: Duration) {
        self.environment.producer_expiration.set(expiration);
    }

    /// Locks and opens `path`; makes it, with the identity that `identity` returns, if it is new.
    /// Logs are opened one by one with [`DataDir::open_log`].
    ///
    /// # Errors
    /// Each of [`OpenError`] asks something else of the operator.
    pub fn open(
        path: &Path,
        config: DataDirConfig,
        identity: impl FnOnce() -> Identity,
    ) -> Result<Self, OpenError> {
        Self::open_with_journal(Arc::new(OsDevice), path, config, JOURNAL, identity)
    }

    /// Whose the directory at `path` is; `None` if it is nobody's yet. Writes and locks nothing, so it
    /// may be somebody's a moment later.
    ///
    /// # Errors
    /// As [`DataDir::open`], but for [`OpenError::Locked`].
    pub fn identity_at(path: &Path) -> Result<Option<Identity>, OpenError> {
        identity::peek(&OsDevice, path)
    }

    /// As [`DataDir::open`], on another device than the operating system's and without a journal.
    /// For tests.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_with_device(
        device: Arc<dyn Device>,
        path: &Path,
        config: DataDirConfig,
        identity: impl FnOnce() -> Identity,
    ) -> Result<Self, OpenError> {
        Self::open_with_journal(device, path, config, JournalConfig::NONE, identity)
    }

    /// As [`DataDir::open`], on another device and with another journal. For tests.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub fn open_with_journal(
        device: Arc<dyn Device>,
        path: &Path,
        config: DataDirConfig,
        journal: JournalConfig,
        identity: impl FnOnce() -> Identity,
    ) -> Result<Self, OpenError> {
        let watch = Arc::<DiskWatch>::default();
        let device = WatchedDevice::over(device, Arc::clone(&watch));
        let is_made = names::create_missing(&*device, path)?;
        identity::recognise(&*device, path)?;
        let lock = DirectoryLock::acquire(&*device, path)?;
        // Again: before the lock, another process may have been at work on it.
        let ownership = identity::recognise(&*device, path)?;
        let identity = identity::read_or_initialise(&*device, path, ownership, identity)?;
        let is_fresh = ownership == identity::Ownership::Fresh;
        if identity::read_format(&*device, path)? == format::Format::WithJournal {
            let owner = |directory: &Path| log_directory::read_topic_id(&*device, directory);
            journal::replay::replay(&*device, path, owner)?;
        }
        let (state, stop) = RunState::begin(&*device, path, is_fresh)?;
        if !is_fresh {
            // Whoever made the names in it may have been killed before that.
            names::sync(&*device, path)?;
        } else if !is_made && let Some(parent) = names::parent_of(path) {
            // The same of its own name. Those in it are new, and each was synced when it was made.
            names::sync(&*device, parent)?;
        }
        let mut states = LogStates::read(&*device, path, state.boot_id(), stop)?;
        let entries = list(&*device, path)?;
        let directories: HashSet<_> = log_partitions(&entries).collect();
        states.retain(|partition| directories.contains(partition));

        let to_recover = states.to_recover(directories);
        let found_is_synced = first_sync::sync_if_many(&*device, path, &to_recover)?;
        let environment = LogEnvironment::new(
            (Arc::clone(&device), watch),
            path,
            &config,
            journal,
            found_is_synced,
        )?;
        let logs = Arc::new(OpenLogs::new(Arc::clone(&device), states));
        let no_thread =
            |cause| OpenError::Io { path: path.to_owned(), operation: "start a thread", cause };
        let deleter = Deleter::start(device, Arc::clone(&environment.space)).map_err(no_thread)?;
        let deleted = entries.iter().filter(|entry| log_directory::is_deleted(&entry.name));
        deleted.for_each(|entry| deleter.remove_later(path.join(&entry.name), Duration::ZERO));
        let checkpointer = Checkpointer::start(Arc::clone(&environment.space), Arc::clone(&logs))
            .map_err(no_thread)?;
        let running = Mutex::new(Some(Running { checkpointer, deleter, state, lock }));
        Ok(Self { path: path.to_owned(), identity, stop, environment, logs, running })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// The disk that it is on, for files in it that are no partition's log.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.environment.device
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the last stop was clean, so that nothing needs scanning.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.stop == StopKind::Clean
    }

    /// Partitions that have a directory here. One whose topic id cannot be read is left out, with an
    /// error in the log.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn list(&self) -> Result<Vec<LogName>, OpenError> {
        let device = &*self.environment.device;
        let mut names = Vec::new();
        for partition in log_partitions(&list(device, &self.path)?) {
            let known = self.logs.states().topic_id(&partition);
            let directory = self.path.join(partition.to_string());
            match known
                .map_or_else(|| log_directory::read_topic_id(device, &directory), |id| Ok(Some(id)))
            {
                Ok(Some(topic_id)) => names.push(LogName { partition, topic_id }),
                Ok(None) => tracing::debug!(%partition, "ignoring a log that was never finished"),
                Err(error) => tracing::error!(%error, %partition, "cannot tell whose log this is"),
            }
        }
        Ok(names)
    }

    /// Of which kind the log of a partition is; `None` if it has none, or one without a segment that
    /// may become either. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] for the log of another topic; [`OpenError::Io`].
    pub fn log_kind(&self, name: &LogName) -> Result<Option<LogKind>, OpenError> {
        let claim = self.claim(&name.partition)?;
        if let Some(open) = &claim.open {
            return Ok(Some(open.log.kind()));
        }
        let directory = self.path.join(name.partition.to_string());
        log_directory::kind(&*self.environment.device, name, &directory)
    }

    /// Opens a partition's log, recovering it if needed, or creates it if `name` has no directory.
    /// The parent directory is synced before this returns. A log that is open already is returned as
    /// it is; its settings stay. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] takes only this partition offline; others may still be opened. So is a log
    /// of the other kind refused, if it holds anything.
    pub fn open_log(
        &self,
        name: &LogName,
        config: LogConfig,
        kind: LogKind,
    ) -> Result<Arc<Log>, OpenError> {
        let mut claim = self.claim(&name.partition)?;
        let directory = self.path.join(name.partition.to_string());
        if let Some(open) = &claim.open {
            log_directory::refuse_other_topic(name, open.topic_id, &directory)?;
            log_directory::refuse_other_kind(open.log.kind(), kind, &directory)?;
            return Ok(Arc::clone(&open.log));
        }
        let device = &*self.environment.device;
        let (checkpoint, stop) = match log_directory::read_topic_id(device, &directory)? {
            Some(found) => {
                log_directory::refuse_other_topic(name, found, &directory)?;
                let left = self.logs.states().left_by_last_user(&name.partition);
                if left.0.is_none() {
                    log_directory::complete(device, &self.path, name)?;
                }
                left
            }
            None => {
                self.logs.forget_on_disk(&name.partition)?;
                log_directory::create(device, &self.path, name)?;
                (None, StopKind::Clean)
            }
        };
        let file_delete_delay = config.file_delete_delay;
        let wanted = Wanted { config, kind };
        let log = Log::open(&self.environment, directory, name, wanted, checkpoint, stop)?;
        let (topic_id, noted) = (name.topic_id, log.checkpoint());
        self.logs.states().set_open(&name.partition, topic_id, noted);
        claim.open = Some(OpenLog { log: Arc::clone(&log), topic_id, file_delete_delay, noted });
        Ok(log)
    }

    /// Closes and deletes a partition's log: renamed durably first, removed in the background. A log
    /// that is not there is deleted already. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the log is closed, and may come back at the next start.
    /// [`OpenError::Corrupt`]: the directory belongs to another topic of that name.
    pub fn delete_log(&self, name: &LogName) -> Result<(), OpenError> {
        let mut claim = self.claim(&name.partition)?;
        let device = &*self.environment.device;
        let directory = self.path.join(name.partition.to_string());
        let delay = match claim.open.as_ref() {
            Some(open) => {
                log_directory::refuse_other_topic(name, open.topic_id, &directory)?;
                open.file_delete_delay
            }
            None => {
                if let Some(found) = log_directory::read_topic_id(device, &directory)? {
                    log_directory::refuse_other_topic(name, found, &directory)?;
                }
                Duration::ZERO
            }
        };
        if let Some(open) = claim.open.take() {
            open.log.delete();
        }
        let moved = self.move_away(&name.partition, &log_directory::deleted_name(&name.partition));
        let Some(deleted) = moved? else { return Ok(()) };
        if let Some(running) = &*self.running.lock() {
            running.deleter.remove_later(deleted, delay);
        }
        Ok(())
    }

    /// Takes a log that no topic knows out of the way without deleting it: renamed durably, and
    /// returned under its new name, which no partition can have. The log must not be open. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the log is where it was, or comes back at the next start.
    pub fn set_aside_log(&self, name: &LogName) -> Result<PathBuf, OpenError> {
        let claim = self.claim(&name.partition)?;
        assert!(claim.open.is_none(), "a log that is open belongs to a topic");
        let moved = self.move_away(&name.partition, &log_directory::stray_name(&name.partition))?;
        moved.ok_or_else(|| OpenError::Io {
            path: self.path.join(name.partition.to_string()),
            operation: "rename",
            cause: io::ErrorKind::NotFound.into(),
        })
    }

    /// Renames the directory of a log that the caller has claimed and that is not open, durably, and
    /// forgets it; `None` if there is no such directory.
    fn move_away(
        &self,
        partition: &TopicPartition,
        to_name: &str,
    ) -> Result<Option<PathBuf>, OpenError> {
        let device = &*self.environment.device;
        let (from, to) = (self.path.join(partition.to_string()), self.path.join(to_name));
        let failed = |path: &Path, operation| {
            let path = path.to_owned();
            move |cause| OpenError::Io { path, operation, cause }
        };
        match device.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed.map_err(failed(&from, "rename"))?,
        }
        self.environment.files.forget_in(&from);
        self.logs.states().remove(partition);
        device.sync_dir(&self.path).map_err(failed(&self.path, "sync"))?;
        Ok(Some(to))
    }

    /// Free bytes of the file system, at most a second old.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.environment.space.free_bytes()
    }

    /// Size of the file system in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.environment.space.total_bytes()
    }

    /// How the disk does: looks at notes in memory, and is for somebody who looks now and then.
    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        let watch = &self.environment.watch;
        DiskState { failure: watch.failure(), oldest: watch.oldest(), is_full: self.is_full() }
    }

    /// Whether appends are refused for lack of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.environment.space.is_full()
    }

    /// Syncs everything, writes checkpoints and the clean-stop mark, releases the lock. Opening and
    /// deleting fail from here on. A second call does nothing.
    ///
    /// # Errors
    /// The first failure. The next start recovers what could not be closed, or, if the checkpoints
    /// or the mark could not be written, everything, as after a crash.
    pub fn close(&self) -> Result<(), OpenError> {
        let Some(running) = self.running.lock().take() else { return Ok(()) };
        let Running { checkpointer, deleter, state, lock } = running;
        drop(checkpointer);
        let closed = self.logs.close(&self.environment.disk_syncs);
        self.environment.files.forget_all();
        self.environment.flusher.stop();
        let emptied = self.environment.flusher.journal().stop(true);
        let emptied = emptied.map_err(|cause| OpenError::Io {
            path: self.path.clone(),
            operation: "empty the journal of",
            cause,
        });
        // Without the mark where closed logs have bytes that only the journal holds durably.
        let marked =
            emptied.and_then(|()| Ok(self.logs.write_states()?)).and_then(|()| state.end());
        drop(deleter);
        drop(lock);
        closed.and(marked)
    }

    fn claim(&self, partition: &TopicPartition) -> Result<Claim<'_>, OpenError> {
        self.logs.claim(partition).ok_or_else(|| OpenError::Io {
            path: self.path.clone(),
            operation: "open a log in it",
            cause: io::Error::other("the data directory is closed"),
        })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().take() {
            self.environment.flusher.stop();
            let ended = self.environment.flusher.journal().stop(false);
            ended.expect("nothing is written at such an end");
            drop(running);
        }
    }
}

fn list(device: &dyn Device, path: &Path) -> Result<Vec<DirectoryEntry>, OpenError> {
    let path = path.to_owned();
    device.list(&path).map_err(|cause| OpenError::Io { path, operation: "list", cause })
}

fn log_partitions(entries: &[DirectoryEntry]) -> impl Iterator<Item = TopicPartition> {
    let directories = entries.iter().filter(|entry| entry.is_directory);
    directories.filter_map(|entry| log_directory::parse(&entry.name))
}
