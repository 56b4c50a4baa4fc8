//! One running broker: the order in which its parts start, and in which they stop.
//!
//! ```text
//! start  data directory (lock, recovery) → ports bound → HTTP → inter-node port → votes
//!        → metadata group → partitions open → Kafka ports accept
//! stop   leaderships handed over → Kafka ports closed → requests in flight answered → groups
//!        → metadata group → replicas → inter-node port → data directory (sync, clean-stop mark, lock)
//! ```
//! A node without data that is to join others opens its data directory only when it knows to which
//! cluster it will belong; its ports are bound and HTTP answers before that.
//!
//! Whatever fails half-way, the data directory is closed in order, so that the next start has
//! nothing to recover.

mod inter_node;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::types::BrokerId;
use raft::peers::PeerError;
use storage::data_dir::{DataDir, Identity};
use storage::error::OpenError;
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::info;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::cluster::error::ClusterStartError;
use crate::cluster::formation::FormationError;
use crate::cluster::{Cluster, ClusterParts, NodeParts};
use crate::config::{Config, ListenerConfig};
use crate::connection::refusal::Warnings;
use crate::connection::{Limits, Shared};
use crate::context::Listener;
use crate::dispatch::Dispatcher;
use crate::dynamic_settings::Followers;
use crate::fetch_session::FetchSessions;
use crate::group_metrics::GroupMetrics;
use crate::groups::{Groups, deleted_topics};
use crate::http::{self, Health, Observed, Phase};
use crate::leaders::gossip::Gossip;
use crate::leaders::{Leaders, follow, transfer};
use crate::log_levels::LogLevels;
use crate::metrics::EdgeMetrics;
use crate::partition_metrics::PartitionMetrics;
use crate::partitions::Partitions;
use crate::read_buffers::ReadBuffers;
use crate::read_pool::ReadPool;
use crate::replication_metrics::ReplicationMetrics;
use crate::request_memory::RequestMemory;
use crate::resources::{Descriptors, data_dir_config};
use crate::response_memory::{RESPONSE_BYTES_MAX, ResponseMemory};
use crate::retention;
use crate::server::{BoundPort, ConnectionLimits, Server};
use crate::settings::BrokerSettings;
use crate::telemetry::Telemetry;
use inter_node::InterNode;

/// The id of a broker that was not given one.
const DEFAULT_BROKER_ID: BrokerId = BrokerId::new(1);
/// Threads for reads that wait for the disk.
const READ_THREADS: usize = 4;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] OpenError),
    /// The data directory belongs to another broker id than the configuration says.
    #[error("{path} belongs to broker {found}, the configuration says {wanted}", path = path.display())]
    OtherBroker {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: BrokerId,
        /// Who should start.
        wanted: BrokerId,
    },
    /// A port cannot be bound.
    #[error("cannot listen on {address} ({name}): {cause}")]
    Bind {
        /// The listener, or "http".
        name: String,
        /// Where.
        address: SocketAddr,
        /// The system's word.
        cause: io::Error,
    },
    /// The inter-node port cannot be used.
    #[error(transparent)]
    Peers(#[from] PeerError),
    /// It cannot become part of a cluster.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// The data directory is of a node that never became a member, and nobody says of what.
    #[error("{path} was made to join cluster {cluster_id}, and has nothing of it yet", path = path.display())]
    NeverJoined {
        /// The directory.
        path: PathBuf,
        /// The cluster.
        cluster_id: String,
    },
    /// The metadata group did not start.
    #[error(transparent)]
    Metadata(#[from] ClusterStartError),
    /// The system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// What a broker gets from its process.
pub(crate) struct Surroundings {
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is logged.
    pub(crate) log_levels: LogLevels,
}

/// A broker that serves.
pub(crate) struct Running {
    broker: Arc<Broker>,
    data_dir: Arc<DataDir>,
    health: Arc<Health>,
    server: Server,
    /// HTTP and retention; ended by being dropped.
    background: JoinSet<()>,
    /// The listeners, with the ports that the system chose.
    pub(crate) listeners: Vec<(SocketAddr, Arc<Listener>)>,
    /// Where HTTP is served.
    pub(crate) http: SocketAddr,
    inter_node: Option<InterNode>,
}

/// What is bound before anything else starts.
struct Edges {
    ports: Vec<(BoundPort, Arc<Listener>)>,
    http: SocketAddr,
    /// HTTP, to which what runs in the background is added.
    background: JoinSet<()>,
}

impl Running {
    /// Starts everything; returns when clients are let in.
    ///
    /// # Errors
    /// [`StartError`]; what was opened is closed again.
    pub(crate) async fn start(
        config: &Config,
        health: Arc<Health>,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let descriptors = Descriptors::of_this_process();
        let path = config.data_dir.clone();
        let is_fresh = in_blocking(move || DataDir::identity_at(&path)).await?.is_none();
        let mut sought = None;
        if is_fresh && !config.inter_node.join.is_empty() {
            let edges = Edges::bind(config, &health)?;
            let found = InterNode::seek(&config.inter_node, config.broker_id).await?;
            sought = Some((edges, found));
        }
        let (edges, found) = sought.unzip();
        let (inter_node, identity) = found.unzip();
        let data_dir = Arc::new(open_data_dir(config, descriptors, identity).await?);
        let start = Start { data_dir: Arc::clone(&data_dir), config, health, descriptors };
        match start.go_on(edges, inter_node, surroundings).await {
            Ok(running) => Ok(running),
            Err(error) => {
                if let Err(error) = close(data_dir).await {
                    tracing::error!(%error, "the data directory was not closed in order");
                }
                Err(error)
            }
        }
    }

    /// Where other nodes connect, if they can.
    pub(crate) fn inter_node(&self) -> Option<SocketAddr> {
        self.inter_node.as_ref().map(|inter_node| inter_node.address)
    }

    /// The data directory.
    pub(crate) const fn data_dir(&self) -> &Arc<DataDir> {
        &self.data_dir
    }

    /// Waits until the broker's metadata can never change again, and says why: then it should end.
    pub(crate) async fn failed(&self) -> String {
        self.broker.cluster.failed().await
    }

    /// Stops in order; returns when everything is on disk.
    ///
    /// # Errors
    /// [`OpenError`]: the next start recovers as after a crash.
    pub(crate) async fn stop(mut self) -> Result<(), OpenError> {
        self.health.enter(Phase::Stopping);
        // While clients are still connected: they are told who leads now.
        self.broker.partitions.hand_over().await;
        self.server.stop().await;
        self.broker.groups.stop().await;
        self.broker.cluster.shutdown().await;
        self.broker.partitions.stop_replication().await;
        if let Some(inter_node) = &self.inter_node {
            inter_node.peers.shutdown().await;
        }
        self.background.shutdown().await;
        close(self.data_dir).await
    }
}

impl Edges {
    fn bind(config: &Config, health: &Arc<Health>) -> Result<Self, StartError> {
        let ports = bind_all(&config.listeners)?;
        let http = bind("http", config.http)?;
        let address = http.address;
        let http: TcpListener =
            http.listen().map_err(|cause| bind_error("http", address, cause))?;
        let mut background = JoinSet::new();
        background.spawn(http::serve(http, Arc::clone(health)));
        Ok(Self { ports, http: address, background })
    }
}

/// A start on an open data directory.
struct Start<'a> {
    data_dir: Arc<DataDir>,
    config: &'a Config,
    health: Arc<Health>,
    descriptors: Descriptors,
}

impl Start<'_> {
    /// Binds what is not bound, and starts everything; the inter-node port is closed if that fails.
    async fn go_on(
        self,
        edges: Option<Edges>,
        inter_node: Option<InterNode>,
        surroundings: Surroundings,
    ) -> Result<Running, StartError> {
        let edges = match edges {
            Some(edges) => edges,
            None => Edges::bind(self.config, &self.health)?,
        };
        let inter_node = match inter_node {
            Some(inter_node) => Some(inter_node),
            None => self.meet_others().await?,
        };
        let peers = inter_node.as_ref().map(|inter_node| inter_node.peers.clone());
        let started = start_on(self, edges, inter_node, surroundings).await;
        if started.is_err()
            && let Some(peers) = peers
        {
            peers.shutdown().await;
        }
        started
    }

    /// Opens the inter-node port of a node with data, if it needs one.
    async fn meet_others(&self) -> Result<Option<InterNode>, StartError> {
        let (config, identity) = (&self.config.inter_node, self.data_dir.identity());
        if !inter_node::is_wanted(config, self.data_dir.path()) {
            if !inter_node::founds(identity, self.data_dir.path()) {
                let (path, cluster_id) = (self.data_dir.path(), &identity.cluster_id);
                let (path, cluster_id) = (path.clone(), cluster_id.clone());
                return Err(StartError::NeverJoined { path, cluster_id });
            }
            return Ok(None);
        }
        let inter_node = InterNode::open(config, identity.broker_id, identity.directory_id).await?;
        if let Err(error) = inter_node.check(identity).await {
            inter_node.peers.shutdown().await;
            return Err(error);
        }
        Ok(Some(inter_node))
    }

    /// Starts everything that handlers need.
    async fn broker(
        &self,
        listeners: &[Arc<Listener>],
        nodes: Option<NodeParts>,
        surroundings: Surroundings,
    ) -> Result<Arc<Broker>, StartError> {
        let Surroundings { clock, log_levels } = surroundings;
        let data_dir = &self.data_dir;
        let settings = Arc::new(self.config.settings.clone());
        let broker_id = data_dir.identity().broker_id;
        let partitions = Arc::new(Partitions::new(Arc::clone(data_dir), broker_id));
        let leaders = Arc::new(Leaders::new(broker_id, Arc::clone(&partitions)));
        let gossip = nodes.as_ref().map(|nodes| {
            Gossip::start(nodes.peers.clone(), Arc::clone(&leaders), Arc::clone(&partitions))
        });
        if let Some(nodes) = &nodes {
            let groups = inter_node::groups(data_dir, &nodes.peers, &clock).await?;
            partitions.set_replication(Arc::new(groups));
        }
        let cluster = Cluster::start(ClusterParts {
            data_dir: Arc::clone(data_dir),
            partitions: Arc::clone(&partitions),
            settings: Arc::clone(&settings),
            listeners,
            nodes,
        });
        let cluster = match cluster.await {
            Ok(cluster) => Arc::new(cluster),
            Err(error) => {
                partitions.stop_replication().await;
                return Err(error.into());
            }
        };
        Ok(Arc::new(Broker {
            broker_id,
            groups: groups(&cluster, &partitions, &clock, &settings, broker_id),
            telemetry: Telemetry::new(settings.telemetry_max_bytes),
            fetch_sessions: FetchSessions::new(settings.max_fetch_sessions),
            settings,
            cluster,
            leaders,
            gossip,
            partitions,
            read_pool: ReadPool::new(READ_THREADS).map_err(StartError::Thread)?,
            response_memory: ResponseMemory::new(RESPONSE_BYTES_MAX),
            log_levels,
            clock,
        }))
    }
}

/// Starts everything that stands on the data directory.
async fn start_on(
    start: Start<'_>,
    edges: Edges,
    inter_node: Option<InterNode>,
    surroundings: Surroundings,
) -> Result<Running, StartError> {
    let Edges { ports, http: http_address, mut background } = edges;
    let listeners: Vec<Arc<Listener>> = ports.iter().map(|(_, told)| Arc::clone(told)).collect();
    let nodes = inter_node.as_ref().map(|inter_node| inter_node.bind_to(&start.data_dir));
    let broker = start.broker(&listeners, nodes, surroundings).await?;
    let Start { data_dir, config, health, descriptors } = start;
    let (partitions, clock) = (Arc::clone(&broker.partitions), Arc::clone(&broker.clock));
    let interval = broker.settings.retention_check_interval;
    background.spawn(retention::run(partitions, clock, interval));
    if let Some(gossip) = &broker.gossip {
        background.spawn(Arc::clone(gossip).run(broker.cluster.images()));
        if broker.settings.auto_leader_rebalance {
            background.spawn(transfer::hand_back(Arc::clone(&broker)));
        }
    }
    background.spawn(inter_node::watch_disk(&broker, inter_node.as_ref()));
    background.spawn(follow::run(Arc::clone(&broker)));
    background.spawn(deleted_topics::run(Arc::clone(&broker)));
    let connections = connections(&broker, http_address);
    let mut server = Server::new(Arc::clone(&connections), ConnectionLimits::NOBODY);
    let followers = Followers {
        broker_id: broker.broker_id,
        settings: Arc::clone(&broker.settings),
        connections_possible: descriptors.connections_max,
        limits: server.limits(),
        data_dir: Arc::clone(&data_dir),
    };
    followers.tell(&broker.cluster.image());
    background.spawn(followers.follow(broker.cluster.images()));
    let listeners = accept_from_all(&mut server, ports)?;
    health.observe(Observed {
        broker: Arc::clone(&broker),
        connections,
        partition_metrics: PartitionMetrics::new(),
        replication_metrics: ReplicationMetrics::new(),
        group_metrics: GroupMetrics::new(config.group_metrics_max),
    });
    health.enter(Phase::Serving);
    Ok(Running {
        broker,
        data_dir,
        health,
        server,
        background,
        listeners,
        http: http_address,
        inter_node,
    })
}

fn accept_from_all(
    server: &mut Server,
    ports: Vec<(BoundPort, Arc<Listener>)>,
) -> Result<Vec<(SocketAddr, Arc<Listener>)>, StartError> {
    let mut listeners = Vec::with_capacity(ports.len());
    for (port, listener) in ports {
        let address = port.address;
        server
            .accept_from(port, Arc::clone(&listener))
            .map_err(|cause| bind_error(&listener.name, address, cause))?;
        listeners.push((address, listener));
    }
    Ok(listeners)
}

fn groups(
    cluster: &Arc<Cluster>,
    partitions: &Arc<Partitions>,
    clock: &Arc<dyn Clock>,
    settings: &Arc<BrokerSettings>,
    here: BrokerId,
) -> Groups {
    let (cluster, partitions, clock) =
        (Arc::clone(cluster), Arc::clone(partitions), Arc::clone(clock));
    let groups = Groups::new(cluster, partitions, clock, Arc::clone(settings), here);
    groups.load();
    groups
}

/// Opens the directory; one that is fresh becomes that of `identity`, or of a founder.
async fn open_data_dir(
    config: &Config,
    descriptors: Descriptors,
    identity: Option<Identity>,
) -> Result<DataDir, StartError> {
    let path = config.data_dir.clone();
    let limits = data_dir_config(&path, &config.settings, descriptors);
    let wanted = config.broker_id;
    let fresh = identity.clone();
    let new = move || fresh.unwrap_or_else(|| inter_node::founder(wanted));
    let opened = in_blocking(move || DataDir::open(&path, limits, new)).await?;
    let found = opened.identity().broker_id;
    // A node that has sought its cluster is known there by the directory that it was going to make.
    let sought = identity.filter(|identity| identity != opened.identity());
    let wanted =
        sought.map(|identity| identity.broker_id).or_else(|| wanted.filter(|id| *id != found));
    if let Some(wanted) = wanted {
        let path = opened.path().clone();
        close(Arc::new(opened)).await?;
        return Err(StartError::OtherBroker { path, found, wanted });
    }
    if !opened.was_clean() {
        info!("the last stop was not clean: logs recover what was not synced");
    }
    Ok(opened)
}

fn bind_all(listeners: &[ListenerConfig]) -> Result<Vec<(BoundPort, Arc<Listener>)>, StartError> {
    let bind_one = |config: &ListenerConfig| {
        let port = bind(&config.name, config.address)?;
        let told = Listener {
            name: config.name.clone(),
            advertised_host: config.advertised_host.clone(),
            advertised_port: config.advertised_port.unwrap_or_else(|| port.address.port()),
        };
        Ok((port, Arc::new(told)))
    };
    listeners.iter().map(bind_one).collect()
}

fn bind(name: &str, address: SocketAddr) -> Result<BoundPort, StartError> {
    BoundPort::bind(address).map_err(|cause| bind_error(name, address, cause))
}

fn bind_error(name: &str, address: SocketAddr, cause: io::Error) -> StartError {
    StartError::Bind { name: name.to_owned(), address, cause }
}

fn connections(broker: &Arc<Broker>, http_address: SocketAddr) -> Arc<Shared> {
    let settings = &broker.settings;
    // The table of settings allows no negative size.
    let request_bytes_max = usize::try_from(settings.socket_request_max_bytes).unwrap_or(0);
    Arc::new(Shared {
        handle: Box::new(Dispatcher(Arc::clone(broker))),
        buffers: ReadBuffers::new(),
        memory: RequestMemory::new(request_bytes_max),
        metrics: Arc::new(EdgeMetrics::new()),
        limits: Limits { request_bytes_max, idle_max: settings.connections_max_idle },
        anonymous: Arc::from("User:ANONYMOUS"),
        http_address: http_address.to_string(),
        warnings: Warnings::new(),
    })
}

async fn close(data_dir: Arc<DataDir>) -> Result<(), OpenError> {
    in_blocking(move || data_dir.close()).await
}

/// Runs what waits for the disk on a thread that may wait.
async fn in_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(job).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
