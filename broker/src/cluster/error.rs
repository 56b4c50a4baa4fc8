//! Why a change of the metadata did not happen, and why the cluster's metadata did not start.

use protocol::topic::TopicNameError;
use raft::replicated_state::{ProposeError, StartError};
use storage::error::OpenError;

use super::codec::DecodeError;
use super::formation::FormationError;
use super::outcome::Refusal;
use super::placement::PlacementError;
use crate::settings::SettingError;

/// Why a change did not happen, or is not known to have happened.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The state did not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The metadata group gave no answer.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The answer cannot be read: the change may have happened.
    #[error("the answer of the metadata group cannot be read: {0}")]
    Unclear(DecodeError),
    /// The state machine has met a command that this version does not know.
    #[error("the metadata of this broker has halted at a command that it cannot read")]
    Halted,
    /// Too much is waiting.
    #[error("too many requests of this kind are waiting")]
    Busy,
    /// The change is made, but the partitions are not open yet.
    #[error("the partitions were not open in time; they will be")]
    NotOpenInTime,
    /// The client may not do that to the topic.
    #[error("not authorized to do this to the topic")]
    NotAuthorized,
    /// `delete.topic.enable` is false.
    #[error("topic deletion is disabled")]
    DeletionDisabled,
    /// No topic has this id.
    #[error("This server does not host this topic ID.")]
    UnknownTopicId,
    /// No topic may have this name.
    #[error(transparent)]
    TopicName(#[from] TopicNameError),
    /// The replicas have no place.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The number of partitions makes no sense.
    #[error("{0}")]
    InvalidPartitions(String),
    /// The number of replicas makes no sense.
    #[error("{0}")]
    InvalidReplicationFactor(String),
    /// A given assignment makes no sense.
    #[error("{0}")]
    InvalidAssignment(String),
    /// The parts of the request contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// More partitions than a limit of this broker allows.
    #[error("{wanted} partitions are more than the {limit} that {whose} may have")]
    TooManyPartitions {
        /// Asked for.
        wanted: usize,
        /// The limit.
        limit: usize,
        /// What has the limit.
        whose: &'static str,
    },
    /// A name that no table of settings has.
    #[error("Unknown topic config name: {0}")]
    UnknownSetting(String),
    /// A setting that cannot be changed this way.
    #[error("{name} {why}")]
    FixedSetting {
        /// Which.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A value that its setting does not accept.
    #[error("Invalid value {} for configuration {}: {}", .0.value, .0.name, .0.reason)]
    Setting(#[from] SettingError),
    /// A setting of a group that cannot have this value.
    #[error("{0}")]
    GroupSetting(String),
    /// More of something than may have settings.
    #[error("{count} {what} have settings already, which is the most that may")]
    TooManyResources {
        /// How many there are.
        count: usize,
        /// Of what.
        what: &'static str,
    },
    /// A broker setting that cannot be changed so, or not to this value.
    #[error("{0}")]
    BrokerSetting(String),
}

/// Why the metadata did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterStartError {
    /// The metadata group did not start.
    #[error(transparent)]
    Group(#[from] StartError),
    /// The log holds a command that cannot be read.
    #[error("the metadata log holds a command that this version cannot read: {0}")]
    Unreadable(#[from] DecodeError),
    /// A newer version has raised the format.
    #[error("the metadata has level {found}, this version knows up to {supported}")]
    NewerLevel {
        /// Its level.
        found: i16,
        /// Ours.
        supported: i16,
    },
    /// This broker could not register itself.
    #[error("this broker could not register itself: {0}")]
    Register(#[from] ChangeError),
    /// The cluster does not take it in.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// The partitions on disk cannot be listed.
    #[error(transparent)]
    Disk(#[from] OpenError),
}
