//! Opens a log: lists its directory, recovers what needs it, loads producers and epochs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use protocol::types::{LeaderEpoch, Offset};

use super::entries::open::{self as entries_open, FoundEntries};
use super::entries::tracker::Entries;
use super::entries::{LogKind, reset};
use super::state::State;
use super::{Log, Writer, producers};
use crate::checkpoint::{self, CheckpointError};
use crate::config::LogConfig;
use crate::data_dir::LogName;
use crate::disk_syncs::LogSyncs;
use crate::environment::{LogCheckpoint, LogEnvironment, StopKind};
use crate::error::OpenError;
use crate::leader_epochs::{self, LeaderEpochs};
use crate::recovery::{self, Listing, Recovered, Recovery};

/// Where a raised log start is kept inside the log's directory; absent if it was never raised
/// beyond what the first segment's name tells.
pub(super) const LOG_START_FILE: &str = "log-start-offset";
/// Where the end of the log was last cut to, since the last clean stop: a recovery point that was
/// noted before the cut may lie above what is left.
pub(crate) const LOG_CUT_FILE: &str = "log-cut-offset";
const OFFSET_FILE_VERSION: u32 = 0;

/// How a log is to behave.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) config: LogConfig,
    pub(crate) kind: LogKind,
}

impl Log {
    /// Opens the log in the existing directory `dir`, recovering it as `stop` asks. An empty
    /// directory is a new log. The caller has synced the directory's own name. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`], also for a log of the other kind, or [`OpenError::Io`].
    pub(crate) fn open(
        env: &LogEnvironment,
        dir: PathBuf,
        name: &LogName,
        wanted: Wanted,
        checkpoint: Option<LogCheckpoint>,
        stop: StopKind,
    ) -> Result<Arc<Self>, OpenError> {
        let Wanted { config, kind } = wanted;
        let config = kind.settings(config);
        if kind == LogKind::Replicated {
            reset::complete(env, &dir)?;
        }
        let mut listing = Listing::of(env, &dir)?;
        // Whatever was written down of its end before the failure: its files are not believed.
        let stop =
            if listing.has_failed && stop == StopKind::Clean { StopKind::PowerLost } else { stop };
        let mut entries = FoundEntries::of(env, &dir, &listing, kind)?;
        listing.remove_leftovers(env)?;
        let raised = read_offset(env, &dir, LOG_START_FILE)?.unwrap_or(Offset::ZERO);
        match &mut entries {
            None => listing.remove_below(env, &dir, raised)?,
            Some(entries) => entries.remove_purged(env, &dir, &mut listing)?,
        }
        let mut leader_epochs = read_epochs(env, &dir)?;
        let is_new = listing.segments.is_empty();
        let left = Left { checkpoint, stop, raised, entries: entries.as_ref() };
        let recovered = recover(env, &dir, &listing, &config, left);
        let recovered = recovered.inspect_err(|error| {
            // Whatever failed, it may have been a sync.
            if matches!(error, OpenError::Io { .. }) {
                recovery::mark_failed(&*env.device, &dir);
            }
        })?;
        let entries = entries.map(|found| found.tracker(env, &recovered.segments)).transpose()?;
        let epochs_changed = settle_epochs(&mut leader_epochs, &recovered, entries.as_ref());
        if listing.has_failed {
            let mark = dir.join(recovery::FAILED_MARK);
            env.device.remove_file(&mark).map_err(recovery::io_error(&mark, "remove"))?;
        }
        let log_start_offset = log_start(&dir, &recovered, raised)?;
        let (loaded, snapshots) = producers::load(env, &dir, &recovered, listing.snapshots)?;
        // In a replicated log it is not this node that begins an epoch.
        let is_unclean = stop != StopKind::Clean && entries.is_none();
        let newest = leader_epochs.latest();
        let was_used = !is_new || newest.is_some();
        let mut state = State::new(
            config,
            log_start_offset,
            recovered.log_end_offset,
            recovered.segments,
            loaded,
            leader_epochs,
        );
        state.spent_epoch = (is_unclean && was_used).then(|| newest.unwrap_or(LeaderEpoch::ZERO));
        state.epochs_changed = epochs_changed;
        state.entries = entries.map(Box::new);
        Ok(Arc::new_cyclic(|myself| Self {
            name: name.partition.to_string(),
            topic_id: name.topic_id,
            syncs: LogSyncs::new(Arc::clone(&env.disk_syncs), dir.clone()),
            directory: dir,
            env: env.clone(),
            myself: myself.clone(),
            state: Mutex::new(state),
            sync_ended: Condvar::new(),
            writer: Mutex::new(Writer { snapshots, ..Writer::default() }),
            listener: Mutex::new(None),
        }))
    }
}

/// What the last user of the log left behind.
struct Left<'a> {
    checkpoint: Option<LogCheckpoint>,
    stop: StopKind,
    /// The log start by the log's own file: everything below was synced before it was deleted.
    raised: Offset,
    /// In a replicated log.
    entries: Option<&'a FoundEntries>,
}

/// Brings the table of epochs to what the log holds; returns whether that changed what is saved.
fn settle_epochs(
    leader_epochs: &mut LeaderEpochs,
    recovered: &Recovered,
    entries: Option<&Entries>,
) -> bool {
    let end = recovered.log_end_offset;
    let last = entries.map(|entries| entries.bounds.last.map(|last| last.leader_epoch));
    let changed = last.is_some_and(|last| leader_epochs.end_with(last, end));
    for (leader_epoch, start_offset) in &recovered.epochs {
        leader_epochs.begin(*leader_epoch, *start_offset);
    }
    leader_epochs.truncate_end(end) || changed
}

fn recover(
    env: &LogEnvironment,
    directory: &Path,
    listing: &Listing,
    config: &LogConfig,
    left: Left<'_>,
) -> Result<Recovered, OpenError> {
    let Left { checkpoint, stop, raised, entries } = left;
    let Some(first) = listing.segments.first().copied() else {
        return new_log(directory, checkpoint, entries);
    };
    match checkpoint {
        Some(checkpoint) if stop == StopKind::Clean => {
            if listing.was_cut {
                let path = directory.join(LOG_CUT_FILE);
                env.device.remove_file(&path).map_err(recovery::io_error(&path, "remove"))?;
            }
            let end = checkpoint.log_end_offset;
            recovery::trust(env, directory, &listing.segments, end, entries)
        }
        _ => {
            let noted = checkpoint.map_or(first, |checkpoint| checkpoint.recovery_point);
            let cut = read_offset(env, directory, LOG_CUT_FILE)?;
            let noted = cut.map_or(noted, |cut| cut.min(noted));
            let recovery_point = noted.max(first).max(raised);
            // Also after lost power: whether that is what happened is a guess for a log that no
            // checkpoint knows.
            let must_rewrite = listing.has_failed;
            let is_synced = env.found_is_synced && !listing.has_failed;
            Recovery {
                env,
                directory,
                config,
                stop,
                recovery_point,
                must_rewrite,
                is_synced,
                entries,
            }
            .run(&listing.segments)
        }
    }
}

fn new_log(
    directory: &Path,
    checkpoint: Option<LogCheckpoint>,
    entries: Option<&FoundEntries>,
) -> Result<Recovered, OpenError> {
    let synced = checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.recovery_point);
    if synced > Offset::ZERO {
        let what = format!("it holds no segment, but everything up to {synced} was synced");
        return Err(OpenError::Corrupt { path: directory.to_owned(), position: 0, what });
    }
    let segments = vec![Arc::new(entries_open::first_segment(directory, entries))];
    Ok(Recovered { segments, log_end_offset: Offset::ZERO, epochs: Vec::new() })
}

fn read_epochs(env: &LogEnvironment, directory: &Path) -> Result<LeaderEpochs, OpenError> {
    let path = directory.join(leader_epochs::FILE_NAME);
    let rows: Option<Vec<(LeaderEpoch, Offset)>> =
        checkpoint::read(&*env.device, &path, leader_epochs::VERSION, LeaderEpochs::parse_line)?;
    LeaderEpochs::from_rows(&rows.unwrap_or_default()).ok_or_else(|| {
        let what = "the epochs or their offsets do not rise".to_owned();
        OpenError::Corrupt { path, position: 0, what }
    })
}

/// The log start is the higher of what the first segment and the log's own file tell. The data
/// directory's checkpoint says the same, but may be older than the last truncation.
fn log_start(directory: &Path, recovered: &Recovered, raised: Offset) -> Result<Offset, OpenError> {
    let first = recovered.segments.first().map(|segment| segment.base_offset());
    let start = first.unwrap_or(Offset::ZERO).max(raised);
    if start > recovered.log_end_offset {
        let end = recovered.log_end_offset;
        let what = format!("the log starts at {start}, but its data ends at {end}");
        let path = directory.join(LOG_START_FILE);
        return Err(OpenError::Corrupt { path, position: 0, what });
    }
    Ok(start)
}

fn read_offset(
    env: &LogEnvironment,
    directory: &Path,
    name: &str,
) -> Result<Option<Offset>, OpenError> {
    let parse = |line: &str| line.parse().ok().filter(|offset| *offset >= 0).map(Offset::new);
    let path = directory.join(name);
    let offsets = checkpoint::read(&*env.device, &path, OFFSET_FILE_VERSION, parse)?;
    Ok(offsets.unwrap_or_default().into_iter().max())
}

/// Makes a raised log start durable.
///
/// # Errors
/// [`CheckpointError`].
pub(super) fn save_log_start(
    env: &LogEnvironment,
    directory: &Path,
    to: Offset,
) -> Result<(), CheckpointError> {
    let path = directory.join(LOG_START_FILE);
    checkpoint::write(&*env.device, &path, OFFSET_FILE_VERSION, std::iter::once(to.get()))
}

/// Makes durable that the log is about to be cut.
///
/// # Errors
/// [`CheckpointError`].
pub(super) fn save_log_cut(
    env: &LogEnvironment,
    directory: &Path,
    to: Offset,
) -> Result<(), CheckpointError> {
    let path = directory.join(LOG_CUT_FILE);
    checkpoint::write(&*env.device, &path, OFFSET_FILE_VERSION, std::iter::once(to.get()))
}

/// What is said of data that should be there and cannot be read.
pub(super) fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
