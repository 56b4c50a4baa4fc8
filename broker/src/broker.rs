//! Everything that a handler can reach, wired once at start.

use std::sync::Arc;

use protocol::types::BrokerId;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::fetch_session::FetchSessions;
use crate::groups::Groups;
use crate::leaders::Leaders;
use crate::leaders::gossip::Gossip;
use crate::log_levels::LogLevels;
use crate::partitions::Partitions;
use crate::read_pool::ReadPool;
use crate::response_memory::ResponseMemory;
use crate::settings::BrokerSettings;
use crate::telemetry::Telemetry;

/// The running broker.
pub(crate) struct Broker {
    /// This process.
    pub(crate) broker_id: BrokerId,
    /// Static Kafka-named settings.
    pub(crate) settings: Arc<BrokerSettings>,
    /// Metadata: image and changes.
    pub(crate) cluster: Arc<Cluster>,
    /// Partitions that this broker keeps.
    pub(crate) partitions: Arc<Partitions>,
    /// Who leads which partition, here and elsewhere.
    pub(crate) leaders: Arc<Leaders>,
    /// How other brokers are told and asked about leaders, if there can be any.
    pub(crate) gossip: Option<Arc<Gossip>>,
    /// Groups that this broker coordinates.
    pub(crate) groups: Groups,
    /// Incremental fetch sessions.
    pub(crate) fetch_sessions: FetchSessions,
    /// For reads that wait for the disk.
    pub(crate) read_pool: ReadPool,
    /// What fetch responses hold in memory.
    pub(crate) response_memory: Arc<ResponseMemory>,
    /// Metrics of clients.
    pub(crate) telemetry: Telemetry,
    /// What is logged, by logger.
    pub(crate) log_levels: LogLevels,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
}
