//! The seam to the Raft groups of partitions that have more than one replica.
//!
//! A partition with one replica never comes here. Tests put replicas in its place that lead and lose
//! when they are told to.

use std::sync::Arc;

use protocol::types::BrokerId;
use raft::replica::{Replica, SeamFuture};
use raft::types::{GroupId, ReplicaId};
use storage::log::Log;

/// Opens, closes and steers groups.
///
/// # Contract
/// A group MUST be closed before its log is; calls for one group come one at a time.
pub(crate) trait Replication: Send + Sync + 'static {
    /// Opens the group whose log is `log`. The first of `voters` is preferred as leader, and founds the
    /// group if nobody has. The sentence of an error says why there is no replica.
    fn open(
        &self,
        group: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>>;

    /// Stops the group; its log may be closed or deleted then. Does nothing for one that is not open.
    fn close(&self, group: GroupId) -> SeamFuture<'_, ()>;

    /// Forgets what was promised in the group: its topic is deleted for ever.
    fn forget(&self, group: GroupId) -> SeamFuture<'_, ()>;

    /// Hands the group's leadership, which must be here, to another of its voters. The sentence of an
    /// error says why it stays.
    fn transfer(&self, group: GroupId, to: BrokerId) -> SeamFuture<'_, Result<(), String>>;
}
