//! The read half of a fetch, for one partition: bounds, epochs, pointers, records.
//!
//! Never blocks: what needs the disk comes back as [`Found::OnDisk`], for the read pool. It never
//! shows anything at or above the high watermark.

use protocol::types::{LeaderEpoch, Offset};
use raft::replica::ReplicaPointers;
use storage::error::ReadError;
use storage::read::{ReadRequest, ReadSource, Records};

use super::Partition;
use super::epochs::{EpochEnd, EpochRefusal};
use super::waiters::Version;

/// Up to where a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// From the wire; `None` for a level that Kafka does not know.
    pub(crate) const fn from_wire(level: i8) -> Option<Self> {
        match level {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }

    /// Where reads stop (exclusive).
    pub(crate) const fn end(self, pointers: &ReplicaPointers) -> Offset {
        match self {
            Self::ReadUncommitted => pointers.high_watermark,
            Self::ReadCommitted => pointers.last_stable_offset,
        }
    }
}

/// From where a client wants to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadFrom {
    /// First wanted offset, inclusive.
    pub(crate) fetch_offset: Offset,
    /// The leader epoch that the client knows, [`LeaderEpoch::NONE`] if it does not say.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// Epoch of the record before `fetch_offset` as the client has it, or [`LeaderEpoch::NONE`].
    pub(crate) last_fetched_epoch: LeaderEpoch,
}

/// How much a read may bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadBudget {
    /// Limit in bytes…
    pub(crate) bytes_max: usize,
    /// …which the first batch may exceed (KIP-74).
    pub(crate) at_least_one: bool,
    /// Whether the records may stand in memory.
    pub(crate) source: ReadSource,
}

/// What a partition has for a client.
#[derive(Debug)]
pub(crate) struct ReadView {
    /// The pointers that the read went by.
    pub(crate) pointers: ReplicaPointers,
    /// The version that was seen, at the latest.
    pub(crate) version: Version,
    /// The records, or why there are none.
    pub(crate) found: Found,
}

/// The records of a read.
#[derive(Debug)]
pub(crate) enum Found {
    /// The client stands at the end: wait for news.
    AtEnd,
    /// There are records, but the budget is spent.
    NoBudget,
    /// These.
    Records(Records),
    /// The disk is needed.
    OnDisk(ReadRequest),
    /// The client's history leaves ours here: it must truncate (KIP-595).
    Diverging(EpochEnd),
}

/// Why a read is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadRefusal {
    /// The leader epoch does not fit.
    #[error("the leader epoch does not fit: {0:?}")]
    LeaderEpoch(EpochRefusal),
    /// Below the log start, above the log end, or after an epoch that this log never had.
    #[error("the offset is out of range")]
    OutOfRange,
    /// The log refused.
    #[error(transparent)]
    Log(#[from] ReadError),
}

impl Partition {
    /// Reads without blocking.
    pub(crate) fn read(
        &self,
        from: ReadFrom,
        isolation: Isolation,
        budget: ReadBudget,
    ) -> Result<ReadView, ReadRefusal> {
        let version = self.waiters().version();
        self.check_leader_epoch(from.current_leader_epoch).map_err(ReadRefusal::LeaderEpoch)?;
        let pointers = self.replica.pointers();
        if let Some(end) = self.divergence(from)? {
            return Ok(ReadView { pointers, version, found: Found::Diverging(end) });
        }
        let offset = from.fetch_offset;
        if offset < pointers.log_start_offset || offset > pointers.log_end_offset {
            return Err(ReadRefusal::OutOfRange);
        }
        let end = isolation.end(&pointers);
        let found = if offset >= end {
            Found::AtEnd
        } else if budget.bytes_max == 0 && !budget.at_least_one {
            Found::NoBudget
        } else {
            let ReadBudget { bytes_max, at_least_one, source } = budget;
            let request = ReadRequest { from: offset, end, bytes_max, at_least_one, source };
            self.replica
                .log()
                .read_nonblocking(request)?
                .map_or(Found::OnDisk(request), Found::Records)
        };
        Ok(ReadView { pointers, version, found })
    }

    /// Where the client's history leaves ours, if its last epoch says that it does.
    fn divergence(&self, from: ReadFrom) -> Result<Option<EpochEnd>, ReadRefusal> {
        if from.last_fetched_epoch == LeaderEpoch::NONE {
            return Ok(None);
        }
        let end = self.epoch_end(from.last_fetched_epoch).ok_or(ReadRefusal::OutOfRange)?;
        let same_history =
            end.leader_epoch == from.last_fetched_epoch && end.end_offset >= from.fetch_offset;
        Ok((!same_history).then_some(end))
    }
}
