//! The cluster's metadata: an image that every handler reads, commands that change it, and the
//! reconciler that makes local partitions match it.
//!
//! ```text
//! handler ─> controller ─> command ─> metadata group's log ─> state machine ─> image ─> handlers
//!                                                                                └─> reconciler ─> partitions
//! ```
//! Handlers never change anything here but through [`controller::Controller`]. Images are immutable;
//! an older one stays valid as long as somebody reads it.

mod alive;
mod auto_create;
mod codec;
mod command;
pub(crate) mod controller;
pub(crate) mod error;
pub(crate) mod formation;
pub(crate) mod image;
mod member;
mod membership;
pub(crate) mod moves;
pub(crate) mod nodes;
pub(crate) mod outcome;
mod placement;
mod producer_ids;
mod reconciler;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::topic::TopicName;
use protocol::types::{BrokerId, LogIndex, ProducerId};
use raft::peers::Peers;
use raft::replicated_state::{Quorum, ReplicatedState};
use storage::data_dir::DataDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::alive::Alive;
use self::auto_create::AutoCreation;
use self::controller::Controller;
use self::error::{ChangeError, ClusterStartError};
use self::formation::reception::Reception;
use self::image::{BrokerImage, Endpoint, Image, NodeImage};
use self::moves::Mover;
use self::producer_ids::ProducerIds;
use self::reconciler::Reconciler;
use self::state_machine::{Metadata, SharedMetadata};
use crate::config::HostPort;
use crate::context::Listener;
use crate::partitions::Partitions;
use crate::settings::BrokerSettings;

/// What the cluster's metadata needs to start.
pub(crate) struct ClusterParts<'a> {
    /// Where the metadata group keeps its log, and whose cluster this is.
    pub(crate) data_dir: Arc<DataDir>,
    /// What the reconciler opens and deletes.
    pub(crate) partitions: Arc<Partitions>,
    /// This broker's static settings.
    pub(crate) settings: Arc<BrokerSettings>,
    /// Where clients reach this broker; the ports are bound already.
    pub(crate) listeners: &'a [Arc<Listener>],
    /// How it meets other nodes, if it does.
    pub(crate) nodes: Option<NodeParts>,
}

/// What a broker among other nodes needs.
#[derive(Debug, Clone)]
pub(crate) struct NodeParts {
    /// The transport, which belongs to the cluster of the data directory already.
    pub(crate) peers: Peers,
    /// Answers nodes that want to join.
    pub(crate) reception: Arc<Reception>,
    /// Where other nodes reach this one.
    pub(crate) address: HostPort,
    /// Other members, as the operator named them.
    pub(crate) join: Vec<HostPort>,
    /// Whether this node founds the metadata group if there is none yet.
    pub(crate) founds: bool,
}

/// Handle to the metadata group and its current image.
pub(crate) struct Cluster {
    cluster_id: String,
    group: ReplicatedState,
    images: watch::Receiver<Arc<Image>>,
    reconciled: watch::Receiver<LogIndex>,
    controller: Arc<Controller>,
    producer_ids: ProducerIds,
    auto_creation: AutoCreation,
    alive: Alive,
    nodes: Option<NodeParts>,
    stop: watch::Sender<bool>,
    reconciler: Mutex<Option<JoinHandle<()>>>,
    /// What follows the images and the detector; ended by being dropped.
    followers: Mutex<JoinSet<()>>,
}

impl Cluster {
    /// Opens the metadata group, registers this broker, and returns when every partition that belongs
    /// here is open or known to be offline.
    ///
    /// # Errors
    /// [`ClusterStartError`]: the process cannot go on.
    pub(crate) async fn start(parts: ClusterParts<'_>) -> Result<Self, ClusterStartError> {
        let identity = parts.data_dir.identity().clone();
        let metadata = Arc::new(Mutex::new(Metadata::new()));
        let state = SharedMetadata(metadata.clone());
        let start = member::Start::prepare(&parts).await?;
        let group = start.group(state).await?;
        let images = metadata.lock().subscribe()?;
        let controller = Controller::new(group.clone(), images.clone(), parts.settings.clone());
        let controller = Arc::new(controller);
        let image = broker_image(&parts);
        let known = start.register(&group, &controller, &images, image).await;
        if let Err(error) = known {
            group.shutdown().await;
            return Err(error);
        }
        let healths = parts.nodes.as_ref().map(|nodes| nodes.peers.health());
        let alive = Alive::new(identity.broker_id, healths);
        let mut followers = start.follow(&group, &images, &alive);
        if parts.nodes.is_some() {
            let mover = Mover {
                group: group.clone(),
                images: images.clone(),
                controller: controller.clone(),
                partitions: parts.partitions.clone(),
                alive: alive.clone(),
            };
            followers.spawn(mover.run());
        }

        let (sender, reconciled) = watch::channel(LogIndex::default());
        let mut reconciler = Reconciler {
            images: images.clone(),
            reconciled: sender,
            partitions: parts.partitions,
            settings: parts.settings,
            broker_id: identity.broker_id,
        };
        let done = reconciler.start(&parts.data_dir).await?;
        let (stop, stopped) = watch::channel(false);
        Ok(Self {
            cluster_id: identity.cluster_id,
            group,
            images,
            reconciled: reconciled.clone(),
            producer_ids: ProducerIds::start(controller.clone()),
            auto_creation: AutoCreation::start(controller.clone(), reconciled),
            controller,
            alive,
            nodes: parts.nodes,
            stop,
            followers: Mutex::new(followers),
            reconciler: Mutex::new(Some(tokio::spawn(reconciler.run(done, stopped)))),
        })
    }

    /// The newest image. Cheap.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.images.borrow().clone()
    }

    /// The newest image, and those that come after it.
    pub(crate) fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.images.clone()
    }

    /// The cluster's identity, as clients see it.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where changes are made.
    pub(crate) const fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Waits until the local partitions match the image of `index` or a later one. Safe to drop.
    ///
    /// # Errors
    /// [`ChangeError::NotOpenInTime`] if the broker stops before.
    pub(crate) async fn reconciled(&self, index: LogIndex) -> Result<(), ChangeError> {
        let mut reconciled = self.reconciled.clone();
        let matched = reconciled.wait_for(|done| *done >= index).await;
        matched.map(drop).or(Err(ChangeError::NotOpenInTime))
    }

    /// A producer id that nobody has had.
    ///
    /// # Errors
    /// [`ChangeError`]; the client may try again.
    pub(crate) async fn next_producer_id(&self) -> Result<ProducerId, ChangeError> {
        self.producer_ids.next().await
    }

    /// Sees to it in the background that a topic with default settings will exist. May do nothing if
    /// too many others wait: the client asks again anyway.
    pub(crate) fn create_in_background(&self, name: TopicName) {
        self.auto_creation.request(name);
    }

    /// Brokers that live, as far as this one can tell; always this one.
    pub(crate) fn alive(&self) -> BTreeSet<BrokerId> {
        self.alive.all()
    }

    /// The broker that clients are told is the controller: the first that lives. Any will do, since
    /// every broker passes changes on to the leader of the metadata group.
    pub(crate) fn controller_id(&self) -> Option<BrokerId> {
        let alive = self.alive();
        self.image().brokers.keys().find(|id| alive.contains(id)).copied()
    }

    /// The metadata group: who leads, who votes, how far its log has come.
    pub(crate) fn quorum(&self) -> Quorum {
        self.group.quorum()
    }

    /// Whether metadata can still be changed.
    ///
    /// # Errors
    /// Why the metadata group has stopped.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.group.health()
    }

    /// Waits until the metadata group has stopped for good, and says why.
    pub(crate) async fn failed(&self) -> String {
        self.group.failed().await
    }

    /// Stops the reconciler after the step that it is at, then the metadata group. The data directory
    /// may be closed when this returns.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        if let Some(nodes) = &self.nodes {
            nodes.reception.close();
        }
        let mut followers = std::mem::take(&mut *self.followers.lock());
        followers.shutdown().await;
        let reconciler = self.reconciler.lock().take();
        if let Some(reconciler) = reconciler
            && let Err(error) = reconciler.await
        {
            tracing::error!(%error, "the reconciler ended badly");
        }
        self.group.shutdown().await;
    }
}

fn broker_image(parts: &ClusterParts<'_>) -> BrokerImage {
    let endpoint = |listener: &Arc<Listener>| Endpoint {
        listener: listener.name.clone(),
        host: listener.advertised_host.clone(),
        port: listener.advertised_port,
    };
    let endpoints = parts.listeners.iter().map(endpoint).collect();
    let node = parts.nodes.as_ref().map(|nodes| NodeImage {
        directory_id: parts.data_dir.identity().directory_id,
        host: nodes.address.host.clone(),
        port: nodes.address.port,
    });
    BrokerImage { endpoints, rack: parts.settings.broker_rack.clone(), node }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}
