//! The one table from our errors to Kafka's wire codes.
//!
//! Every `match` names every variant, so that a new error cannot reach a client without a decision
//! made here. Two rules hold throughout: an unknown outcome gets a code that clients retry, and
//! nothing on the produce path becomes UNKNOWN_SERVER_ERROR, which makes producers give up.
#![deny(clippy::wildcard_enum_match_arm)]

use protocol::error_code::ErrorCode;
use protocol::topic::TopicNameError;
use raft::replica::{DeleteRecordsError, ProduceError};
use raft::replicated_state::ProposeError;
use storage::error::{AppendError, ReadError};
use storage::validate::BatchRejection;

use crate::cluster::error::ChangeError;
use crate::cluster::outcome::Refusal;
use crate::groups::effects::GroupError;
use crate::groups::owner::Unavailable;
use crate::partition::epochs::EpochRefusal;
use crate::partitions::LookupError;
use crate::settings::SettingError;
use crate::telemetry::TelemetryError;

/// A refused append; nothing is in the log.
pub(crate) const fn append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::FencedProducer { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        // Retriable, and clients know that nothing was kept.
        AppendError::Busy { .. } => ErrorCode::NotEnoughReplicas,
        AppendError::DiskFull | AppendError::Failed(_) => ErrorCode::KafkaStorageError,
        // The topic is being deleted, the process stops, or another leads by now: the client asks for
        // metadata again.
        AppendError::Closed | AppendError::OutOfSequence { .. } => ErrorCode::NotLeaderOrFollower,
    }
}

/// A refused read.
pub(crate) const fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } | ReadError::EntryOutOfRange { .. } => {
            ErrorCode::OffsetOutOfRange
        }
        ReadError::Failed(_) => ErrorCode::KafkaStorageError,
        ReadError::Closed => ErrorCode::NotLeaderOrFollower,
    }
}

/// A batch that breaks a rule (behaviours 13 to 17).
pub(crate) const fn batch(rejection: &BatchRejection) -> ErrorCode {
    match rejection {
        BatchRejection::Corrupt(_) => ErrorCode::CorruptMessage,
        BatchRejection::InvalidRecord { .. } => ErrorCode::InvalidRecord,
        BatchRejection::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BatchRejection::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        BatchRejection::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
    }
}

/// A partition that cannot be used here.
pub(crate) const fn lookup(error: &LookupError) -> ErrorCode {
    match error {
        LookupError::Unknown => ErrorCode::UnknownTopicOrPartition,
        LookupError::Offline(_) => ErrorCode::KafkaStorageError,
    }
}

/// A refused produce; nothing is in the log.
pub(crate) const fn produce(error: &ProduceError) -> ErrorCode {
    match error {
        ProduceError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        ProduceError::Append(error) => append(error),
    }
}

/// Records that were not deleted.
pub(crate) const fn delete_records(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        DeleteRecordsError::BeyondHighWatermark { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Log(error) => read(error),
    }
}

/// A change of the metadata without an answer.
pub(crate) const fn propose(error: &ProposeError) -> ErrorCode {
    match error {
        ProposeError::NotLeader(_) => ErrorCode::NotController,
        ProposeError::TooLarge { .. } => ErrorCode::InvalidRequest,
        ProposeError::Unknown(_) => ErrorCode::RequestTimedOut,
        ProposeError::Stopped(_) => ErrorCode::KafkaStorageError,
    }
}

/// Metrics of a client that are not taken (KIP-714).
pub(crate) const fn telemetry(error: TelemetryError) -> ErrorCode {
    match error {
        TelemetryError::Instance | TelemetryError::Ended => ErrorCode::InvalidRequest,
        TelemetryError::TooEarly => ErrorCode::ThrottlingQuotaExceeded,
        TelemetryError::UnknownSubscription => ErrorCode::UnknownSubscriptionId,
        TelemetryError::UnknownCompression => ErrorCode::UnsupportedCompressionType,
        TelemetryError::TooLarge => ErrorCode::TelemetryTooLarge,
        // Tells the client to stop: what it would send again is no better.
        TelemetryError::Malformed => ErrorCode::InvalidRecord,
    }
}

/// A value that its setting does not accept.
pub(crate) const fn setting(_error: &SettingError) -> ErrorCode {
    ErrorCode::InvalidConfig
}

/// A name that no topic may have.
pub(crate) const fn topic_name(error: &TopicNameError) -> ErrorCode {
    match error {
        TopicNameError::Empty
        | TopicNameError::Dots
        | TopicNameError::TooLong(_)
        | TopicNameError::Illegal(_) => ErrorCode::InvalidTopic,
    }
}

/// Groups that cannot be served here at the moment. Clients look for the coordinator again, or wait.
pub(crate) const fn unavailable(error: Unavailable) -> ErrorCode {
    match error {
        Unavailable::NotHere => ErrorCode::NotCoordinator,
        Unavailable::Loading => ErrorCode::CoordinatorLoadInProgress,
        Unavailable::Blocked => ErrorCode::CoordinatorNotAvailable,
    }
}

/// What a group refuses.
pub(crate) const fn group(error: GroupError) -> ErrorCode {
    match error {
        GroupError::UnknownMember => ErrorCode::UnknownMemberId,
        GroupError::IllegalGeneration => ErrorCode::IllegalGeneration,
        GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        GroupError::InconsistentProtocol => ErrorCode::InconsistentGroupProtocol,
        GroupError::FencedInstance => ErrorCode::FencedInstanceId,
        GroupError::MemberIdRequired => ErrorCode::MemberIdRequired,
        GroupError::Full => ErrorCode::GroupMaxSizeReached,
        GroupError::SessionTimeout => ErrorCode::InvalidSessionTimeout,
        GroupError::UnknownGroup => ErrorCode::GroupIdNotFound,
        GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
        GroupError::Subscribed => ErrorCode::GroupSubscribedToTopic,
        GroupError::FencedEpoch => ErrorCode::FencedMemberEpoch,
        GroupError::StaleEpoch => ErrorCode::StaleMemberEpoch,
        GroupError::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
        GroupError::UnsupportedAssignor => ErrorCode::UnsupportedAssignor,
        GroupError::InvalidRegex => ErrorCode::InvalidRegularExpression,
        GroupError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        GroupError::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        // As Kafka answers when its log refuses the group's record for its size.
        GroupError::TooLarge => ErrorCode::UnknownServerError,
    }
}

/// A leader epoch that does not fit, or a replica that does not lead (KIP-320).
pub(crate) const fn leader_epoch(refusal: EpochRefusal) -> ErrorCode {
    match refusal {
        EpochRefusal::Fenced(_) => ErrorCode::FencedLeaderEpoch,
        EpochRefusal::Unknown => ErrorCode::UnknownLeaderEpoch,
        EpochRefusal::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        EpochRefusal::Offline => ErrorCode::KafkaStorageError,
    }
}

/// A change of the metadata that was refused or whose outcome is unknown.
pub(crate) const fn change(error: &ChangeError) -> ErrorCode {
    match error {
        ChangeError::Refused(refusal) => match refusal {
            Refusal::TopicExists => ErrorCode::TopicAlreadyExists,
            Refusal::NameCollides => ErrorCode::InvalidTopic,
            Refusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            // Clients ask the controller again, and so come after the other change.
            Refusal::Changed => ErrorCode::NotController,
            Refusal::Exhausted => ErrorCode::KafkaStorageError,
        },
        ChangeError::Propose(error) => propose(error),
        ChangeError::Unclear(_) | ChangeError::NotOpenInTime => ErrorCode::RequestTimedOut,
        ChangeError::Halted => ErrorCode::KafkaStorageError,
        ChangeError::NotAuthorized => ErrorCode::TopicAuthorizationFailed,
        ChangeError::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
        ChangeError::UnknownTopicId => ErrorCode::UnknownTopicId,
        ChangeError::TopicName(error) => topic_name(error),
        ChangeError::Busy => ErrorCode::CoordinatorLoadInProgress,
        ChangeError::Placement(_) | ChangeError::InvalidReplicationFactor(_) => {
            ErrorCode::InvalidReplicationFactor
        }
        ChangeError::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        ChangeError::InvalidAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        // Kafka has another code for wrong settings of brokers than for those of topics.
        ChangeError::Contradiction(_) | ChangeError::BrokerSetting(_) => ErrorCode::InvalidRequest,
        ChangeError::TooManyPartitions { .. } | ChangeError::TooManyResources { .. } => {
            ErrorCode::PolicyViolation
        }
        ChangeError::UnknownSetting(_)
        | ChangeError::GroupSetting(_)
        | ChangeError::FixedSetting { .. } => ErrorCode::InvalidConfig,
        ChangeError::Setting(error) => setting(error),
    }
}
