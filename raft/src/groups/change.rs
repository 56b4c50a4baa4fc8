//! Groups that come to have other replicas.

use std::sync::Arc;

use storage::log::Log;

use super::{ChangeError, GroupError, GroupId, Groups, ReplicaId};
use crate::group::Beginning;
use crate::replica::Replica;

impl Groups {
    /// Opens a replica that others will let into their group ([`Groups::change_replicas`]); `replicas`
    /// are those that the group is to have. An empty log stays so until its leader calls. For the rest
    /// see [`Groups::open`].
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn join(
        &self,
        id: GroupId,
        log: Arc<Log>,
        replicas: Vec<ReplicaId>,
    ) -> Result<Arc<dyn Replica>, GroupError> {
        self.begin(Beginning::Join, id, log, replicas).await
    }

    /// Makes a group of a partition that had this replica alone, and opens it. The log may be direct,
    /// and then becomes a replicated one; from then on it has no other writer. Repeated after a crash
    /// at any step it goes on from there. For the rest see [`Groups::open`].
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn adopt(&self, id: GroupId, log: Arc<Log>) -> Result<Arc<dyn Replica>, GroupError> {
        self.begin(Beginning::Adopt, id, log, vec![self.inner.me]).await
    }

    /// Makes these the replicas of a group that is led from here, the first of them preferred as leader.
    /// Each must be open on its node, or come to be ([`Groups::join`]). A change that was left half done
    /// is completed, also another one. A leader that is not among them hands over, and the next has to
    /// be asked.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_replicas(
        &self,
        id: GroupId,
        to: Vec<ReplicaId>,
    ) -> Result<(), ChangeError> {
        let group = self.inner.group(id).ok_or(ChangeError::NotLeader)?;
        group.change_replicas(to).await
    }
}
