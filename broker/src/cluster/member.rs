//! How a broker's metadata group starts, and how the broker becomes known to the cluster.
//!
//! Alone it is the one voter of its group, and has registered itself within milliseconds. Among other
//! nodes it may have missed much: it goes on when the metadata here has what the cluster had when
//! this broker registered, since partitions that an older image does not know would be set aside.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::types::BrokerId;
use raft::replicated_state::{GroupStart, ReplicatedState, Role};
use storage::data_dir::DataDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::alive::Alive;
use super::command::Command;
use super::controller::Controller;
use super::error::{ChangeError, ClusterStartError};
use super::formation::{self, Waiting};
use super::image::{BrokerImage, Image};
use super::membership;
use super::nodes::{self, Nodes};
use super::state_machine::SharedMetadata;
use super::{ClusterParts, NodeParts};
use crate::config::HostPort;

/// The feature whose level is that of the metadata's own format.
const METADATA_FEATURE: &str = "metadata.version";
/// The level that this version writes and the highest that it understands.
const METADATA_LEVEL: i16 = 1;
/// How long the group may take to register this broker before another way is tried.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the metadata may take to arrive here after a member has registered this broker.
const ARRIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// A start that is under way.
pub(super) struct Start {
    data_dir: Arc<DataDir>,
    broker_id: BrokerId,
    nodes: Option<NodeParts>,
    /// Where the nodes were when this one last knew.
    remembered: Nodes,
}

impl Start {
    /// Reads what the node remembers of the others; notes that there are others if this is new.
    pub(super) async fn prepare(parts: &ClusterParts<'_>) -> Result<Self, ClusterStartError> {
        let data_dir = Arc::clone(&parts.data_dir);
        let broker_id = data_dir.identity().broker_id;
        let nodes = parts.nodes.clone();
        let mut remembered = Nodes::new();
        if let Some(nodes) = &nodes {
            let (dir, address) = (Arc::clone(&data_dir), nodes.address.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let (device, path) = (&**dir.device(), dir.path());
                if let Some(remembered) = nodes::read(device, path)? {
                    return Ok(remembered);
                }
                let remembered = Nodes::from([(broker_id, address)]);
                nodes::write(device, path, &remembered).map(|()| remembered)
            });
            remembered = reading.await.expect("reading a small file does not panic")?;
            nodes::tell(&nodes.peers, &remembered);
        }
        Ok(Self { data_dir, broker_id, nodes, remembered })
    }

    /// Starts the metadata group.
    pub(super) async fn group(
        &self,
        state: SharedMetadata,
    ) -> Result<ReplicatedState, ClusterStartError> {
        // Who knows others does not found any more, whoever takes part by now.
        let others = self.remembered.keys().any(|id| *id != self.broker_id);
        let founds = self.nodes.as_ref().is_none_or(|nodes| nodes.founds && !others);
        let start = GroupStart {
            data_dir: Arc::clone(&self.data_dir),
            broker_id: self.broker_id,
            peers: self.nodes.as_ref().map(|nodes| nodes.peers.clone()),
            role: if founds { Role::Found } else { Role::Join },
        };
        Ok(ReplicatedState::start(start, state).await?)
    }

    /// Returns when the cluster knows this broker, and this broker what the cluster knew then.
    pub(super) async fn register(
        &self,
        group: &ReplicatedState,
        controller: &Arc<Controller>,
        images: &watch::Receiver<Arc<Image>>,
        image: BrokerImage,
    ) -> Result<(), ClusterStartError> {
        let level = new_level(images)?;
        let Some(nodes) = &self.nodes else {
            // Proposed together, the two share a sync.
            let registering = controller.register(self.broker_id, image);
            let (marked, registered) = tokio::join!(mark(controller, level), registering);
            return Ok(marked.and(registered)?);
        };
        // Until this broker is known, it reaches the others by what it remembers of them.
        let mut telling = JoinSet::new();
        let (peers, remembered) = (nodes.peers.clone(), self.remembered.clone());
        telling.spawn(nodes::follow_old(images.clone(), peers, remembered));
        self.register_among(nodes, group, controller, images, image).await?;
        mark(controller, new_level(images)?).await?;
        nodes.reception.open(
            self.data_dir.identity().cluster_id.clone(),
            Arc::clone(controller),
            nodes.peers.clone(),
        );
        Ok(())
    }

    async fn register_among(
        &self,
        nodes: &NodeParts,
        group: &ReplicatedState,
        controller: &Arc<Controller>,
        images: &watch::Receiver<Arc<Image>>,
        image: BrokerImage,
    ) -> Result<(), ClusterStartError> {
        let mut waiting = Waiting::new();
        // A group that has nothing has nobody to propose to.
        let mut may_propose = nodes.founds || group.quorum().log_end.get() > 0;
        loop {
            let mut why = String::new();
            if may_propose {
                let command =
                    Command::RegisterBroker { broker: self.broker_id, image: image.clone() };
                match timeout(PROPOSE_TIMEOUT, controller.propose(command)).await {
                    Ok(Ok(_applied_here)) => return Ok(()),
                    Ok(Err(ChangeError::Halted)) => return Err(ChangeError::Halted.into()),
                    Ok(Err(error)) => why = error.to_string(),
                    Err(_elapsed) => why = "no answer of the metadata group".to_owned(),
                }
            }
            let addresses = self.addresses(nodes, &images.borrow());
            match formation::register(&nodes.peers, &addresses, &image).await? {
                Ok(index) => {
                    let mut images = images.clone();
                    let arrived = images.wait_for(|image| image.index >= index);
                    if let Ok(Ok(_)) = timeout(ARRIVE_TIMEOUT, arrived).await {
                        return Ok(());
                    }
                    why = "this broker is registered, and the metadata does not arrive".to_owned();
                }
                Err(all) if why.is_empty() => why = all,
                Err(all) if all.is_empty() => {}
                Err(all) => why = format!("{why}; {all}"),
            }
            waiting.tell(&format!("for the cluster to know this broker: {why}"));
            sleep(RETRY_EVERY).await;
            may_propose |= group.quorum().log_end.get() > 0;
        }
    }

    /// Where a member may be.
    fn addresses(&self, nodes: &NodeParts, image: &Image) -> BTreeSet<HostPort> {
        let known = nodes::of(image).into_values().chain(self.remembered.values().cloned());
        let all = known.chain(nodes.join.iter().cloned());
        all.filter(|address| *address != nodes.address).collect()
    }

    /// Starts what follows the metadata as long as the broker runs.
    pub(super) fn follow(
        &self,
        group: &ReplicatedState,
        images: &watch::Receiver<Arc<Image>>,
        alive: &Alive,
    ) -> JoinSet<()> {
        let mut followers = JoinSet::new();
        if let Some(nodes) = &self.nodes {
            let (peers, data_dir) = (nodes.peers.clone(), Arc::clone(&self.data_dir));
            followers.spawn(nodes::follow(images.clone(), peers, data_dir));
            let me = nodes.peers.me();
            let group = group.clone();
            followers.spawn(membership::keep(group, me, images.clone(), alive.clone()));
        }
        followers
    }
}

/// Refuses metadata of a newer version; what marks new metadata with our level.
fn new_level(images: &watch::Receiver<Arc<Image>>) -> Result<Option<Command>, ClusterStartError> {
    let level = images.borrow().features.get(METADATA_FEATURE).copied();
    match level {
        None => {
            let name = METADATA_FEATURE.to_owned();
            Ok(Some(Command::SetFeature { name, level: METADATA_LEVEL }))
        }
        Some(found) if found > METADATA_LEVEL => {
            Err(ClusterStartError::NewerLevel { found, supported: METADATA_LEVEL })
        }
        Some(_) => Ok(None),
    }
}

async fn mark(controller: &Arc<Controller>, level: Option<Command>) -> Result<(), ChangeError> {
    match level {
        Some(level) => controller.propose(level).await.map(drop),
        None => Ok(()),
    }
}
