//! The inter-node port at start: whether it is opened, whose it is, and which cluster is behind it.
//!
//! A node that founds a cluster alone and was not asked for the port opens none.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use protocol::types::BrokerId;
use raft::groups::{Groups, GroupsConfig};
use raft::peers::{PeerConfig, Peers, Secret, ServiceId};
use raft::types::ReplicaId;
use storage::data_dir::{DataDir, Identity};
use tracing::info;
use uuid::Uuid;

use super::{DEFAULT_BROKER_ID, StartError, bind, bind_error};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::cluster::formation::reception::Reception;
use crate::cluster::formation::{self, founded_id};
use crate::cluster::{NodeParts, nodes};
use crate::config::{HostPort, InterNodeConfig};

/// The listener's name in errors.
const NAME: &str = "inter-node";
/// The metadata group's folder in a data directory.
const METADATA: &str = "metadata";

/// An open inter-node port.
pub(super) struct InterNode {
    pub(super) peers: Peers,
    /// Where it listens.
    pub(super) address: SocketAddr,
    reception: Arc<Reception>,
    advertised: HostPort,
    join: Vec<HostPort>,
}

/// Whether a node with this directory meets others.
pub(super) fn is_wanted(config: &InterNodeConfig, data_dir: &Path) -> bool {
    config.listener_given || !config.join.is_empty() || nodes::exist_in(data_dir)
}

/// Who a fresh directory belongs to whose node founds a cluster.
pub(super) fn founder(broker_id: Option<BrokerId>) -> Identity {
    let directory_id = Uuid::new_v4();
    Identity {
        cluster_id: founded_id(directory_id),
        broker_id: broker_id.unwrap_or(DEFAULT_BROKER_ID),
        directory_id,
    }
}

/// Whether a node with this directory founds the metadata group if there is none. One that has
/// metadata and never heard of other nodes is of a version that knew none.
pub(super) fn founds(identity: &Identity, data_dir: &Path) -> bool {
    let is_founder = identity.cluster_id == founded_id(identity.directory_id);
    is_founder || (data_dir.join(METADATA).exists() && !nodes::exist_in(data_dir))
}

/// What replicates partitions with other nodes.
pub(super) async fn groups(
    data_dir: &DataDir,
    peers: &Peers,
    clock: &Arc<dyn Clock>,
) -> Result<Groups, StartError> {
    let clock = Arc::clone(clock);
    let groups = Groups::start(GroupsConfig {
        me: peers.me(),
        peers: peers.clone(),
        device: Arc::clone(data_dir.device()),
        directory: data_dir.path().clone(),
        clock: Arc::new(move || clock.now()),
    });
    Ok(groups.await?)
}

/// Watches the disk, and tells other nodes how it stands.
pub(super) fn watch_disk(
    broker: &Arc<Broker>,
    inter_node: Option<&InterNode>,
) -> impl Future<Output = ()> + Send + use<> {
    let (broker, peers) = (Arc::clone(broker), inter_node.map(|it| it.peers.clone()));
    let look = move || {
        let mut state = broker.partitions.data_dir().disk_state();
        // Its journal is on the same disk.
        state.failure = state.failure.or_else(|| broker.cluster.health().err());
        state
    };
    raft::fitness::watch(look, peers)
}

impl InterNode {
    /// Opens the port for this broker and directory. It belongs to no cluster yet.
    pub(super) async fn open(
        config: &InterNodeConfig,
        broker_id: BrokerId,
        directory_id: Uuid,
    ) -> Result<Self, StartError> {
        let port = bind(NAME, config.address)?;
        let address = port.address;
        let failed = |cause| bind_error(NAME, address, cause);
        let listener = port.listen().map_err(failed)?.into_std().map_err(failed)?;
        let me = ReplicaId { broker_id, directory_id };
        let secret = config.secret.as_ref().map(|secret| Secret::new(secret.bytes()));
        let peers = Peers::start(listener, PeerConfig { me, cluster_id: None, secret }).await?;
        let reception = Reception::new();
        peers.serve(ServiceId::FORMATION, Arc::clone(&reception) as _);
        let advertised = HostPort {
            host: config.advertised_host.clone(),
            port: config.advertised_port.unwrap_or_else(|| address.port()),
        };
        Ok(Self { peers, address, reception, advertised, join: config.join.clone() })
    }

    /// Opens the port for a node without data, and waits until it knows its cluster.
    pub(super) async fn seek(
        config: &InterNodeConfig,
        broker_id: Option<BrokerId>,
    ) -> Result<(Self, Identity), StartError> {
        let fresh = founder(broker_id);
        let node = Self::open(config, fresh.broker_id, fresh.directory_id).await?;
        let sought = formation::seek(&node.peers, &node.reception, &node.join).await;
        let cluster_id = match sought {
            Ok(cluster_id) => cluster_id,
            Err(error) => {
                node.peers.shutdown().await;
                return Err(error.into());
            }
        };
        if cluster_id == fresh.cluster_id {
            info!(cluster_id, "this node founds a cluster");
        } else {
            info!(cluster_id, "this node joins a cluster");
        }
        Ok((node, Identity { cluster_id, ..fresh }))
    }

    /// Refuses addresses of another cluster than the data's.
    pub(super) async fn check(&self, identity: &Identity) -> Result<(), StartError> {
        Ok(formation::check(&self.peers, &self.join, &identity.cluster_id).await?)
    }

    /// The data directory is open: the cluster is this one from now on.
    pub(super) fn bind_to(&self, data_dir: &DataDir) -> NodeParts {
        let identity = data_dir.identity();
        self.reception.bind(identity.cluster_id.clone());
        self.peers.join_cluster(identity.cluster_id.clone());
        NodeParts {
            peers: self.peers.clone(),
            reception: Arc::clone(&self.reception),
            address: self.advertised.clone(),
            join: self.join.clone(),
            founds: founds(identity, data_dir.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only one node may ever found the metadata group of a cluster id.
    #[test]
    fn who_joined_never_founds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let founder = founder(None);
        assert!(founds(&founder, path));
        let joiner = Identity { directory_id: Uuid::new_v4(), ..founder.clone() };
        assert!(!founds(&joiner, path));
        // A version that knew no clusters gave random ids, and made its metadata at once.
        std::fs::create_dir(path.join(METADATA)).unwrap();
        assert!(founds(&joiner, path));
        std::fs::File::create(path.join("millpond.nodes")).unwrap();
        assert!(!founds(&joiner, path));
        assert!(founds(&founder, path));
    }
}
