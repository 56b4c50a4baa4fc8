//! Reads the groups of one partition: its snapshot if there is one, then the rest of its log. Blocks on
//! the disk.

use protocol::group_record::GroupRecord;
use protocol::types::Offset;
use protocol::wire::WireError;
use storage::error::OpenError;

use super::log_reader::{self, LogReadError};
use super::replay::Replay;
use super::snapshot::SnapshotFile;
use crate::partition::Partition;

/// What was found.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The groups.
    pub(super) replay: Replay,
    /// The end of what was read, exclusive.
    pub(super) end: Offset,
    /// Bytes of the log that no snapshot covers.
    pub(super) log_bytes: usize,
}

/// Why the log cannot be understood. The groups are not served: whatever is missed would be lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// The snapshot cannot be read, or cannot be removed.
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    /// A record is none of a group coordinator.
    #[error("the record at offset {0} is not understood: {1}")]
    Record(Offset, WireError),
    /// The same of a record in the snapshot.
    #[error("a record of the snapshot is not understood: {0}")]
    SnapshotRecord(WireError),
}

/// Reads everything that is committed.
pub(super) fn load(partition: &Partition, file: &SnapshotFile) -> Result<Loaded, LoadError> {
    let pointers = partition.replica.pointers();
    let end = pointers.high_watermark;
    let mut replay = Replay::default();
    let mut from = pointers.log_start_offset;
    if let Some(snapshot) = file.read(pointers.log_start_offset..=end)? {
        for (key, value) in &snapshot.records {
            let record =
                GroupRecord::decode(key, Some(value)).map_err(LoadError::SnapshotRecord)?;
            if let Some(record) = record {
                replay.apply(record);
            }
        }
        from = snapshot.end;
    }
    let log_bytes = log_reader::read(partition, from, end, |offset, record| {
        let Some(key) = record.key else {
            tracing::warn!(%offset, "a record without a key in the groups' log is left alone");
            return Ok(());
        };
        let record = GroupRecord::decode(key, record.value)
            .map_err(|error| LoadError::Record(offset, error))?;
        if let Some(record) = record {
            replay.apply(record);
        }
        Ok::<_, LoadError>(())
    })?;
    Ok(Loaded { replay, end, log_bytes })
}
