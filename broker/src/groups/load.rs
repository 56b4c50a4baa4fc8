//! Reads the groups of one partition from its log. Blocks on the disk.

use std::io;
use std::os::unix::fs::FileExt;

use protocol::batch::{BatchError, BatchHeader, HEADER_BYTES};
use protocol::compression::{DecompressError, decompress};
use protocol::group_record::GroupRecord;
use protocol::record::{self, RecordError};
use protocol::types::Offset;
use protocol::wire::WireError;
use storage::error::ReadError;
use storage::read::{ReadRequest, ReadSource, Records, RecordsPiece};

use super::replay::Replay;
use crate::partition::Partition;

/// Bytes read at once; one batch may be larger.
const READ_BYTES: usize = 4 << 20;
/// What a compressed batch may become. We write none; an operator may.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// What was found.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The groups.
    pub(super) replay: Replay,
    /// The end of what was read, exclusive.
    pub(super) end: Offset,
    /// How many records were read.
    pub(super) records: u64,
}

/// Why the log cannot be understood. The groups are not served: whatever is missed would be lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its file cannot be read.
    #[error("the log cannot be read: {0}")]
    File(#[from] io::Error),
    /// No batch where one should be.
    #[error("at offset {0}: {1}")]
    Batch(Offset, BatchError),
    /// Its records cannot be decompressed.
    #[error("at offset {0}: {1}")]
    Compressed(Offset, DecompressError),
    /// They are not as many as announced.
    #[error("at offset {0}: {1}")]
    Walk(Offset, RecordError),
    /// A record is none of a group coordinator.
    #[error("the record at offset {0} is not understood: {1}")]
    Record(Offset, WireError),
}

/// Reads everything that is committed.
pub(super) fn load(partition: &Partition) -> Result<Loaded, LoadError> {
    let pointers = partition.replica.pointers();
    let end = pointers.high_watermark;
    let mut loaded = Loaded { replay: Replay::default(), end, records: 0 };
    let mut at = pointers.log_start_offset;
    while at < end {
        let request = ReadRequest {
            from: at,
            end,
            bytes_max: READ_BYTES,
            at_least_one: true,
            source: ReadSource::Any,
        };
        let bytes = gather(&partition.replica.log().read_blocking(request)?)?;
        let next = take(&bytes, at, end, &mut loaded)?;
        if next == at {
            // Nothing but the rest of the log is left out by a read that finds nothing.
            return Err(LoadError::Batch(at, BatchError::Short { have: bytes.len() }));
        }
        at = next;
    }
    Ok(loaded)
}

fn gather(records: &Records) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(records.bytes);
    for piece in &records.pieces {
        match piece {
            RecordsPiece::Memory(piece) => bytes.extend_from_slice(piece),
            RecordsPiece::File(slice) => {
                let start = bytes.len();
                bytes.resize(start + slice.len, 0);
                slice.file.read_exact_at(&mut bytes[start..], slice.position)?;
            }
        }
    }
    Ok(bytes)
}

/// Takes the whole batches of `bytes`; the offset after the last of them.
fn take(
    mut bytes: &[u8],
    mut at: Offset,
    end: Offset,
    loaded: &mut Loaded,
) -> Result<Offset, LoadError> {
    while bytes.len() >= HEADER_BYTES && at < end {
        let header = BatchHeader::parse(bytes).map_err(|error| LoadError::Batch(at, error))?;
        let Some((batch, rest)) = bytes.split_at_checked(header.batch_bytes()) else { break };
        bytes = rest;
        at = header.next_offset();
        if !header.is_raft_only() && !header.attributes.is_control() {
            take_batch(&header, &batch[HEADER_BYTES..], loaded)?;
        }
    }
    Ok(at)
}

fn take_batch(header: &BatchHeader, body: &[u8], loaded: &mut Loaded) -> Result<(), LoadError> {
    let base = header.base_offset;
    let unknown = BatchError::Magic { magic: 2 };
    let codec = header.attributes.codec().ok_or(LoadError::Batch(base, unknown))?;
    let payload = decompress(codec, body, DECOMPRESSED_BYTES_MAX)
        .map_err(|error| LoadError::Compressed(base, error))?;
    let records = record::walk(&payload, header.record_count)
        .map_err(|error| LoadError::Walk(base, error))?;
    for record in records {
        let record = record.map_err(|error| LoadError::Walk(base, error))?;
        let offset = base.advance(i64::from(record.offset_delta));
        let Some(key) = record.key else {
            tracing::warn!(%offset, "a record without a key in the groups' log is left alone");
            continue;
        };
        let decoded = GroupRecord::decode(key, record.value)
            .map_err(|error| LoadError::Record(offset, error))?;
        loaded.records += 1;
        if let Some(decoded) = decoded {
            loaded.replay.apply(decoded);
        }
    }
    Ok(())
}
