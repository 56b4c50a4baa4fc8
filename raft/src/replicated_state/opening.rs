//! What a start finds on disk, and how Raft is told to run.

use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};
use storage::device::Device;
use storage::error::OpenError;

use super::journal::Journal;
use super::raft_log::RaftLog;
use super::snapshot::SnapshotFile;
use super::types::Snapshot;
use super::{ENTRIES_PER_SNAPSHOT, JOURNAL, SNAPSHOT, StartError};

/// How many entries a follower may lack and still count as one that has caught up.
pub(super) const CAUGHT_UP_ENTRIES: u64 = 100;

/// What a start finds on disk.
pub(super) struct Files {
    pub(super) snapshot_file: Arc<SnapshotFile>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) journal: Journal,
    pub(super) log: RaftLog,
}

/// Opens or creates the files of the group. Blocks.
pub(super) fn open_files(device: &Arc<dyn Device>, directory: &Path) -> Result<Files, StartError> {
    make_directory(&**device, directory)?;
    let snapshot_path = directory.join(SNAPSHOT);
    let snapshot_file = Arc::new(SnapshotFile::new(Arc::clone(device), snapshot_path));
    let snapshot = snapshot_file.read()?;
    let (journal, log) = Journal::open(Arc::clone(device), &directory.join(JOURNAL))?;
    let held = snapshot.as_ref().and_then(|snapshot| snapshot.meta.last_log_id);
    if log.purged() > held {
        let reason = "the journal begins behind its end: it is older than the journal, or missing";
        return Err(StartError::Snapshot {
            path: snapshot_file.path().clone(),
            reason: reason.to_owned(),
        });
    }
    Ok(Files { snapshot_file, snapshot, journal, log })
}

pub(super) fn make_directory(device: &dyn Device, directory: &Path) -> Result<(), OpenError> {
    let failed =
        |operation| move |cause| OpenError::Io { path: directory.to_owned(), operation, cause };
    match device.create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => created.map_err(failed("create"))?,
    }
    // Also where it exists: a start that crashed here may have made it without this sync.
    let parent = directory.parent().expect("the folder stands in the data directory");
    device.sync_dir(parent).map_err(failed("sync"))
}

/// How Raft runs. With one voter its timers do not.
pub(super) fn config() -> Result<Arc<Config>, StartError> {
    let config = Config {
        cluster_name: "metadata".to_owned(),
        heartbeat_interval: 200,
        election_timeout_min: 800,
        election_timeout_max: 1600,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(ENTRIES_PER_SNAPSHOT),
        max_in_snapshot_log_to_keep: 0,
        // A node that joins votes only when it is this close.
        replication_lag_threshold: CAUGHT_UP_ENTRIES,
        // Ended early when the detector sees the follower again.
        backoff: "50ms ...1s".to_owned(),
        // Each of them is a ring of buffers, allocated ahead.
        log_stage_capacity: Some(1),
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(64),
        enable_pre_vote: Some(true),
        // See the file header: a restarted leader takes a new term.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let config = config.validate().map_err(|error| StartError::Raft(error.to_string()))?;
    Ok(Arc::new(config))
}
