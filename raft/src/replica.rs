//! The seam between a partition and its log: with one replica direct, with more through Raft.
//!
//! It must never name a topic, a wire code or a type of openraft. Whoever holds a [`Replica`] cannot
//! tell which implementation it is; what all of them promise is written at the trait and checked by
//! `raft/tests/replica/conformance.rs`.
//!
//! ```text
//! log_start_offset      last_stable_offset     high_watermark       log_end_offset
//!        │ readable by all      │ read_uncommitted     │ not committed     │
//!        ├──────────────────────┼──────────────────────┼───────────────────┤
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use protocol::types::{BrokerId, LeaderEpoch, Offset, Timestamp};
use storage::error::{AppendError, ReadError};
use storage::log::{AppendBatch, Appended, Log};

/// A future of the seam, boxed because the seam is used as a trait object.
pub type SeamFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who leads, as this replica knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<BrokerId>,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Whether this replica is that leader and may serve.
    pub is_local: bool,
}

/// A consistent copy of a replica's pointers; see the file header for the picture.
///
/// `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaPointers {
    /// First readable offset, inclusive.
    pub log_start_offset: Offset,
    /// read_committed stops here (exclusive).
    pub last_stable_offset: Offset,
    /// Ordinary reads stop here (exclusive): everything below is committed.
    pub high_watermark: Offset,
    /// Next offset to be assigned (exclusive end).
    pub log_end_offset: Offset,
}

impl ReplicaPointers {
    /// Checks the order of the pointers.
    ///
    /// # Panics
    /// If it is broken: then no read of this partition can be trusted.
    pub fn validate(&self) {
        assert!(
            self.log_start_offset <= self.last_stable_offset
                && self.last_stable_offset <= self.high_watermark
                && self.high_watermark <= self.log_end_offset,
            "the pointers of a replica are out of order: {self:?}"
        );
    }
}

/// A batch that was taken; its commit is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Where it stands.
    pub appended: Appended,
    /// The epoch in which it was produced: its commit is one that is told in this epoch.
    pub leader_epoch: LeaderEpoch,
}

/// Told of what becomes of a replica.
///
/// Calls come one at a time and in order, from whatever thread found out: mostly the flusher's, on
/// which every partition of the disk waits. An implementation MUST be quick, MUST NOT block, and
/// MUST NOT call `produce` or `set_listener` of the replica; reading its pointers is fine.
pub trait ReplicaListener: Send + Sync {
    /// The high watermark moved up to this (exclusive), whoever leads.
    fn committed(&self, high_watermark: Offset);
    /// This replica leads from now on, in an epoch above all that it has led in before. Told before a
    /// produce is taken in that epoch.
    fn leads(&self, leader_epoch: LeaderEpoch);
    /// It leads no longer, or does not lead yet: what was produced here in the epoch that ends and is
    /// not committed by now has an unknown outcome, also if an offset above it is committed later.
    /// It may lead again.
    fn lost(&self);
    /// The log failed or the replica was closed. Leadership ends with it, also if [`Self::lost`] was
    /// not told. Told once, and the last thing told.
    fn ended(&self);
}

/// Why a produce was refused. Nothing was appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    /// Another broker leads, or nobody does.
    #[error("this replica does not lead")]
    NotLeader(Leadership),
    /// The log refused.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why records could not be deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeleteRecordsError {
    /// Another broker leads, or nobody does.
    #[error("this replica does not lead")]
    NotLeader(Leadership),
    /// Beyond the high watermark.
    #[error("offset {wanted} is beyond the high watermark {high_watermark}")]
    BeyondHighWatermark {
        /// Asked for.
        wanted: Offset,
        /// The limit, inclusive.
        high_watermark: Offset,
    },
    /// The log refused.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// One replica of a partition.
///
/// # Contract
/// Methods MAY be called from any thread at the same time.
///
/// **Order.** `produce` MUST assign offsets in the order of its calls, without a gap, and MUST NOT
/// block on a disk or a peer. A duplicate of an idempotent producer gets the offsets of the first.
///
/// **Commit.** A returned [`Produced`] is committed once the listener has been told a high watermark
/// at or above its `next_offset` between [`ReplicaListener::leads`] of its epoch and the end of that
/// leadership; until then its outcome is unknown: it MAY be read after a crash or under another
/// leader. Nothing above the high watermark may be shown to a client.
///
/// **Crash.** The high watermark MUST NOT go back, also not over a restart that loses no synced
/// data. No two contents may ever stand under one (leader epoch, offset), over any crash.
///
/// **Leadership.** Between [`ReplicaListener::leads`] and [`ReplicaListener::lost`] `produce` takes
/// batches, in that epoch; at any other time it MUST fail. What a batch with an unknown outcome has
/// become is told by the log alone.
///
/// **Failure.** After [`ReplicaListener::ended`] nothing more is told to that listener, `produce`
/// fails, and what was committed before stays readable where the log allows it.
pub trait Replica: Send + Sync + 'static {
    /// Appends a validated batch as leader.
    ///
    /// # Errors
    /// [`ProduceError`]; nothing was appended.
    fn produce(&self, batch: AppendBatch, now: Timestamp) -> Result<Produced, ProduceError>;

    /// The same, for who has decided on the batch by what the log held when `leader_epoch` began: it
    /// MUST NOT be taken in any other epoch.
    ///
    /// # Errors
    /// [`ProduceError::NotLeader`] unless this replica leads in that epoch; the same as of `produce`.
    fn produce_in(
        &self,
        leader_epoch: LeaderEpoch,
        batch: AppendBatch,
        now: Timestamp,
    ) -> Result<Produced, ProduceError>;

    /// The pointers, consistent with each other.
    fn pointers(&self) -> ReplicaPointers;

    /// Who leads.
    fn leadership(&self) -> Leadership;

    /// The brokers whose replicas are within reach of the end of the log, with this one, in any
    /// order. Empty unless this replica leads: nobody else knows.
    fn in_sync(&self) -> Vec<BrokerId>;

    /// The log, for reads below the pointers. Appending to it directly is forbidden.
    fn log(&self) -> &Arc<Log>;

    /// Sets who is told. The last call wins. Before this returns the listener has been told the
    /// present high watermark and then the present state, which is one of `leads`, `lost` and
    /// `ended`; news of another thread come after.
    fn set_listener(&self, listener: Arc<dyn ReplicaListener>);

    /// Makes everything below `before` unreadable; [`Offset::NONE`] means the high watermark.
    /// Returns the new log start offset once it is durable; an offset below the present one changes
    /// nothing and returns that.
    ///
    /// # Errors
    /// [`DeleteRecordsError::BeyondHighWatermark`]; [`ReadError::OutOfRange`] for any other negative
    /// offset.
    fn delete_records(&self, before: Offset) -> SeamFuture<'_, Result<Offset, DeleteRecordsError>>;

    /// Applies the log's retention at `now`; returns how many bytes left the log.
    ///
    /// # Errors
    /// The log's.
    fn apply_retention(&self, now: Timestamp) -> SeamFuture<'_, Result<u64, ReadError>>;
}
