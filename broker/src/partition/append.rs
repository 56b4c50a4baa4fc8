//! The order-sensitive half of a produce: validate one batch and append it.
//!
//! Runs on the connection's task in the order of arrival and never blocks. When it refuses, nothing
//! was appended.

use bytes::Bytes;
use protocol::types::Timestamp;
use raft::replica::{ProduceError, Produced};
use storage::validate::{BatchRejection, validate};

use super::Partition;
use crate::settings::TopicSettings;

/// The circumstances of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendTerms {
    /// Whether the request's version may carry zstd (behaviour 13).
    pub(crate) zstd_allowed: bool,
    /// The broker's clock.
    pub(crate) now: Timestamp,
    /// For acks=-1: how many replicas the partition has; `None` where the client does not ask for
    /// all in-sync replicas.
    pub(crate) replicas_for_all: Option<usize>,
}

/// What became of a batch that was taken; its commit is still to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    /// Where it landed, and in which epoch.
    pub(crate) produced: Produced,
    /// The broker's date of its records, [`Timestamp::NONE`] if they keep the client's.
    pub(crate) log_append_time: Timestamp,
}

/// Why a batch was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AppendRefusal {
    /// It breaks a rule.
    #[error(transparent)]
    Rejected(#[from] BatchRejection),
    /// It belongs to a transaction, which nobody can have begun here.
    #[error("transactions are not supported")]
    Transactional,
    /// Fewer in-sync replicas than `min.insync.replicas` asks for (behaviour 21).
    #[error("{in_sync} replicas are in sync, min.insync.replicas asks for {wanted}")]
    TooFewInSync {
        /// How many there are.
        in_sync: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// The replica refused.
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

impl Partition {
    /// Validates `records` by the topic's rules and appends them.
    pub(crate) fn append(
        &self,
        records: &Bytes,
        terms: AppendTerms,
    ) -> Result<Accepted, AppendRefusal> {
        let settings = self.settings();
        if let Some(replicas) = terms.replicas_for_all {
            self.check_in_sync(&settings, replicas)?;
        }
        let batch = validate(records, &settings.rules, terms.zstd_allowed, terms.now)?;
        if batch.header.attributes.is_transactional() {
            return Err(AppendRefusal::Transactional);
        }
        let produced = self.replica.produce(batch, terms.now)?;
        // The date of a duplicate's original is not known here; clients take -1 for their own.
        let dated = settings.rules.log_append_time && !produced.appended.duplicate;
        let log_append_time = if dated { terms.now } else { Timestamp::NONE };
        Ok(Accepted { produced, log_append_time })
    }
}

impl Partition {
    /// Kafka caps `min.insync.replicas` at the replication factor (its `effectiveMinIsr`), so that a
    /// topic with one replica stays writable whatever the setting says. One replica, which leads, is in
    /// sync with itself. Fewer than a majority commit nothing here, so that less is never asked for:
    /// a leader that reaches nobody says so at once, and not after the request's time.
    fn check_in_sync(
        &self,
        settings: &TopicSettings,
        replicas: usize,
    ) -> Result<(), AppendRefusal> {
        let wanted = in_sync_wanted(settings, replicas);
        if wanted <= 1 {
            return Ok(());
        }
        let in_sync = self.replica.in_sync().len();
        if in_sync >= wanted {
            return Ok(());
        }
        let leadership = self.replica.leadership();
        if leadership.is_local {
            Err(AppendRefusal::TooFewInSync { in_sync, wanted })
        } else {
            Err(ProduceError::NotLeader(leadership).into())
        }
    }
}

/// How many replicas must be in sync for acks=-1, of so many.
pub(crate) fn in_sync_wanted(settings: &TopicSettings, replicas: usize) -> usize {
    let asked_for = usize::try_from(settings.min_insync_replicas).unwrap_or(0);
    asked_for.min(replicas).max(replicas / 2 + 1)
}
