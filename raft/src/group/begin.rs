//! How a replica of a group begins.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};
use protocol::types::LeaderEpoch;
use storage::log::Log;

use super::types::{Membership, StoredMembership, Vote, log_id, term_of};
use crate::types::{GroupId, ReplicaId};
use crate::votes::{Progress, Votes};

/// How a replica begins whose log says nothing of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// As one of those that found the group together.
    Found,
    /// With nothing, until the leader calls.
    Join,
    /// Alone, with a log that was no group's.
    Adopt,
}

/// Makes a log that was no group's the log of one whose only voter is this replica. What Raft needs to
/// know beside the log is durable when this returns: a vote in a term that no entry is above, and a
/// membership at an entry that everything in the log follows.
pub(super) async fn adopt(
    id: GroupId,
    me: ReplicaId,
    log: &Arc<Log>,
    votes: &Votes,
) -> io::Result<StoredMembership> {
    let (blocking, newest) = (Arc::clone(log), log.latest_epoch());
    let made = tokio::task::spawn_blocking(move || blocking.make_replicated()).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)?;
    let bounds = log.entry_bounds();
    let first = bounds
        .purged
        .map_or((LeaderEpoch::ZERO, 0), |purged| (purged.leader_epoch, purged.index.get()));
    let members = BTreeMap::from([(me, ())]);
    let membership = Membership::new(vec![BTreeSet::from([me])], members);
    let membership = membership.map_err(io::Error::other)?;
    let membership = StoredMembership::new(Some(log_id(first.0, first.1)?), membership);
    if votes.remembered(id).progress.is_some() {
        return Ok(membership);
    }
    let last = bounds.last.ok_or_else(|| io::Error::other("an adopted log has a purged entry"))?;
    // Also above the epoch that the log may have been served in without a batch of it.
    let newest = newest.unwrap_or(LeaderEpoch::ZERO).max(last.leader_epoch).next();
    let vote = Vote::new(term_of(newest)?, me);
    let applied = log_id(last.leader_epoch, last.index.get())?;
    let progress = Progress { applied, memberships: vec![membership.clone()] };
    votes.save_adopted(id, vote, progress).await?;
    Ok(membership)
}

pub(super) fn config() -> io::Result<Arc<Config>> {
    let config = Config {
        cluster_name: "partition".to_owned(),
        heartbeat_interval: 1000,
        heartbeat_min_interval: Some(400),
        election_timeout_min: 2500,
        election_timeout_max: 3500,
        // Retention alone asks for snapshots, and the log keeps what they do not evict.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        max_payload_entries: 256,
        max_append_entries: Some(512),
        replication_lag_threshold: 100,
        api_channel_size: Some(1024),
        notification_channel_size: Some(1024),
        state_machine_channel_size: Some(64),
        // Each of them is a ring of buffers, allocated ahead.
        log_stage_capacity: Some(1),
        enable_pre_vote: Some(true),
        // A restarted leader takes a new term: what it wrote without a sync may be gone, and one
        // (term, index) must not have two contents.
        enable_leader_restore: Some(false),
        backoff: "100ms ...3s".to_owned(),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(io::Error::other)
}
