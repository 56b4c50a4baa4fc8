//! Reads the records of one partition of `__consumer_offsets`. Blocks on the disk; knows no groups.

use std::io;
use std::os::unix::fs::FileExt;

use protocol::batch::{BatchError, BatchHeader, HEADER_BYTES};
use protocol::compression::{DecompressError, decompress};
use protocol::record::{self, RecordError, RecordView};
use protocol::types::Offset;
use storage::error::ReadError;
use storage::read::{ReadRequest, ReadSource, Records, RecordsPiece};

use crate::partition::Partition;

/// Bytes read at once; one batch may be larger.
const READ_BYTES: usize = 4 << 20;
/// What a compressed batch may become. We write none; an operator may.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogReadError {
    /// The log refuses.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its file cannot be read.
    #[error("the log cannot be read: {0}")]
    File(#[from] io::Error),
    /// No batch where one should be.
    #[error("at offset {0}: {1}")]
    Batch(Offset, BatchError),
    /// A codec that nobody has defined.
    #[error("at offset {0}: the batch has an unknown codec")]
    Codec(Offset),
    /// Its records cannot be decompressed.
    #[error("at offset {0}: {1}")]
    Compressed(Offset, DecompressError),
    /// They are not as many as announced.
    #[error("at offset {0}: {1}")]
    Walk(Offset, RecordError),
}

/// Calls `each` for every record in `from..end` (the second exclusive) with its offset; how many bytes
/// were read.
///
/// # Errors
/// [`LogReadError`], and what `each` returns.
pub(super) fn read<E: From<LogReadError>>(
    partition: &Partition,
    from: Offset,
    end: Offset,
    mut each: impl FnMut(Offset, &RecordView<'_>) -> Result<(), E>,
) -> Result<usize, E> {
    let log = partition.replica.log();
    let (mut at, mut read) = (from, 0);
    while at < end {
        let request = ReadRequest {
            from: at,
            end,
            bytes_max: READ_BYTES,
            at_least_one: true,
            source: ReadSource::Any,
        };
        let records = log.read_blocking(request).map_err(LogReadError::from)?;
        let bytes = gather(&records).map_err(LogReadError::from)?;
        let next = take(&bytes, at, end, &mut each)?;
        if next == at {
            // There is something before `end`, so that a read which brings nothing is damage.
            return Err(LogReadError::Batch(at, BatchError::Short { have: bytes.len() }).into());
        }
        (at, read) = (next, read + bytes.len());
    }
    Ok(read)
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
fn take<E: From<LogReadError>>(
    mut bytes: &[u8],
    from: Offset,
    end: Offset,
    each: &mut impl FnMut(Offset, &RecordView<'_>) -> Result<(), E>,
) -> Result<Offset, E> {
    let mut at = from;
    while bytes.len() >= HEADER_BYTES && at < end {
        let header = BatchHeader::parse(bytes).map_err(|error| LogReadError::Batch(at, error))?;
        let Some((batch, rest)) = bytes.split_at_checked(header.batch_bytes()) else { break };
        bytes = rest;
        at = header.next_offset();
        if !header.is_raft_only() && !header.attributes.is_control() {
            take_batch(&header, &batch[HEADER_BYTES..], from, each)?;
        }
    }
    Ok(at)
}

fn take_batch<E: From<LogReadError>>(
    header: &BatchHeader,
    body: &[u8],
    from: Offset,
    each: &mut impl FnMut(Offset, &RecordView<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let base = header.base_offset;
    let codec = header.attributes.codec().ok_or(LogReadError::Codec(base))?;
    let payload = decompress(codec, body, DECOMPRESSED_BYTES_MAX)
        .map_err(|error| LogReadError::Compressed(base, error))?;
    let records = record::walk(&payload, header.record_count)
        .map_err(|error| LogReadError::Walk(base, error))?;
    for record in records {
        let record = record.map_err(|error| LogReadError::Walk(base, error))?;
        let offset = base.advance(i64::from(record.offset_delta));
        // A read begins with the batch that holds its first offset.
        if offset >= from {
            each(offset, &record)?;
        }
    }
    Ok(())
}
