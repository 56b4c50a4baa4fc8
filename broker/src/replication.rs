//! The seam to the Raft groups of partitions that have more than one replica.
//!
//! A partition with one replica never comes here. Tests put replicas in its place that lead and lose
//! when they are told to.

use std::sync::Arc;

use protocol::types::BrokerId;
use raft::groups::Groups;
use raft::replica::{Replica, SeamFuture};
use raft::types::{GroupId, ReplicaId};
use storage::log::Log;

/// What the replica of a group is on this broker when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// No group: the only replica.
    Alone,
    /// One of those that found the group, if nobody has.
    Found,
    /// A new one: those that are there let it in.
    Join,
    /// The only one so far; its log becomes the group's.
    Adopt,
}

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

    /// The same for a replica that those who are there will let in.
    fn join(
        &self,
        group: GroupId,
        log: Arc<Log>,
        replicas: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>>;

    /// The same for the only replica of a partition, whose log may be no group's yet.
    fn adopt(
        &self,
        group: GroupId,
        log: Arc<Log>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>>;

    /// Makes these the replicas of a group that is led from here. The sentence of an error says why it
    /// is not done yet.
    fn change_replicas(
        &self,
        group: GroupId,
        to: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<(), String>>;

    /// Stops the group; its log may be closed or deleted then. Does nothing for one that is not open.
    fn close(&self, group: GroupId) -> SeamFuture<'_, ()>;

    /// Forgets what was promised in the group: its topic is deleted for ever.
    fn forget(&self, group: GroupId) -> SeamFuture<'_, ()>;

    /// A broker is gone: the groups that it led get other leaders at once.
    fn broker_down(&self, broker: BrokerId) -> SeamFuture<'_, ()>;

    /// Hands the leaderships of all groups to others, as far as they can take them: this broker is
    /// about to stop.
    fn hand_over_all(&self) -> SeamFuture<'_, ()>;

    /// How many groups cost nothing because their leader is settled.
    fn resting(&self) -> usize;

    /// Closes all groups.
    fn shutdown(&self) -> SeamFuture<'_, ()>;

    /// Hands the group's leadership, which must be here, to another of its voters. The sentence of an
    /// error says why it stays.
    fn transfer(&self, group: GroupId, to: BrokerId) -> SeamFuture<'_, Result<(), String>>;
}

impl Replication for Groups {
    fn open(
        &self,
        group: GroupId,
        log: Arc<Log>,
        voters: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        Box::pin(async move {
            Self::open(self, group, log, voters).await.map_err(|error| error.to_string())
        })
    }

    fn join(
        &self,
        group: GroupId,
        log: Arc<Log>,
        replicas: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        Box::pin(async move {
            Self::join(self, group, log, replicas).await.map_err(|error| error.to_string())
        })
    }

    fn adopt(
        &self,
        group: GroupId,
        log: Arc<Log>,
    ) -> SeamFuture<'_, Result<Arc<dyn Replica>, String>> {
        Box::pin(
            async move { Self::adopt(self, group, log).await.map_err(|error| error.to_string()) },
        )
    }

    fn change_replicas(
        &self,
        group: GroupId,
        to: Vec<ReplicaId>,
    ) -> SeamFuture<'_, Result<(), String>> {
        Box::pin(async move {
            Self::change_replicas(self, group, to).await.map_err(|error| error.to_string())
        })
    }

    fn close(&self, group: GroupId) -> SeamFuture<'_, ()> {
        Box::pin(Self::close(self, group))
    }

    fn forget(&self, group: GroupId) -> SeamFuture<'_, ()> {
        Box::pin(Self::forget(self, group))
    }

    fn broker_down(&self, broker: BrokerId) -> SeamFuture<'_, ()> {
        Box::pin(Self::broker_down(self, broker))
    }

    fn hand_over_all(&self) -> SeamFuture<'_, ()> {
        Box::pin(Self::hand_over_all(self))
    }

    fn resting(&self) -> usize {
        Self::resting(self)
    }

    fn shutdown(&self) -> SeamFuture<'_, ()> {
        Box::pin(Self::shutdown(self))
    }

    fn transfer(&self, group: GroupId, to: BrokerId) -> SeamFuture<'_, Result<(), String>> {
        Box::pin(
            async move { Self::transfer(self, group, to).await.map_err(|error| error.to_string()) },
        )
    }
}
