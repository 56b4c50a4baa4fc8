//! Snapshots of a log's producers: written so that a start has little to replay, read at a start.
//!
//! A snapshot is taken of the state in memory, which may be ahead of the file. It counts only once
//! the log on disk reaches its offset; the one before it is kept until then.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::read::find_batch;
use super::state::Phase;
use super::{Log, Writer};
use crate::checkpoint;
use crate::device::OpenMode;
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::producer_snapshot;
use crate::producer_state::Producers;
use crate::recovery::{Recovered, io_error};
use crate::scan::{SWEEP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{Segment, file_name};

/// A snapshot is due after this many bytes; a start replays not much more than that.
const SNAPSHOT_BYTES: u64 = 16 << 20;
/// The flusher itself takes one after this many bytes, if nobody else did.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;
/// Snapshots kept.
const SNAPSHOTS_MAX: usize = 2;

/// One idempotent producer of a log, as administrators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Which.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub producer_epoch: ProducerEpoch,
    /// Of its newest record, inclusive; `None` if it has no batch of this epoch.
    pub last_sequence: Option<Sequence>,
    /// When its last batch came; [`Timestamp::NONE`] if that was before the last start.
    pub last_seen: Timestamp,
}

impl Log {
    /// Producers that have not expired, by rising id.
    #[must_use]
    pub fn active_producers(&self, now: Timestamp) -> Vec<ActiveProducer> {
        let state = self.state.lock();
        let active = state.producers.active(now, self.env.producer_expiration.get());
        let mut active: Vec<_> = active
            .map(|(producer_id, producer)| ActiveProducer {
                producer_id: *producer_id,
                producer_epoch: producer.producer_epoch,
                last_sequence: producer.batches.last().map(|batch| batch.last_sequence),
                last_seen: producer.last_seen,
            })
            .collect();
        drop(state);
        active.sort_unstable_by_key(|producer| producer.producer_id);
        active
    }

    /// Writes a snapshot of the producers' state if enough was appended since the last one. Blocks.
    pub(crate) fn snapshot_producers(&self) {
        if self.state.lock().bytes_since_snapshot >= SNAPSHOT_BYTES {
            let mut writer = self.writer.lock();
            self.try_snapshot(&mut writer);
        }
    }

    /// As [`Log::snapshot_producers`], in any case.
    #[cfg(test)]
    pub(super) fn snapshot_producers_now(&self) {
        let mut writer = self.writer.lock();
        self.try_snapshot(&mut writer);
    }

    /// The flusher's own look: bounds the replay also at a high rate.
    pub(super) fn snapshot_if_much_was_written(&self, writer: &mut Writer) {
        if self.state.lock().bytes_since_snapshot >= SNAPSHOT_BYTES_MAX {
            self.try_snapshot(writer);
        }
    }

    /// A snapshot only saves time at the next start: without it, more is replayed.
    pub(super) fn try_snapshot(&self, writer: &mut Writer) {
        if let Err(error) = self.take_snapshot(writer) {
            tracing::debug!(log = %self.name, %error, "no producer snapshot");
        }
    }

    fn take_snapshot(&self, writer: &mut Writer) -> Result<(), OpenError> {
        let (offset, bytes) = {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Open) {
                return Ok(());
            }
            state.bytes_since_snapshot = 0;
            let offset = state.pointers.log_end_offset;
            (offset, state.with_producers_at(offset, producer_snapshot::encode))
        };
        self.write_snapshot(writer, offset, &bytes)
    }

    fn write_snapshot(
        &self,
        writer: &mut Writer,
        offset: Offset,
        bytes: &[u8],
    ) -> Result<(), OpenError> {
        if writer.snapshots.last() == Some(&offset) {
            return Ok(());
        }
        let path = path_of(&self.directory, offset);
        let device = &self.env.device;
        // Known even if the write fails: some of it, or all, may be there. It must go when the log is
        // cut, or it would be believed of other batches at these offsets.
        writer.note_snapshot(offset);
        let file = device.open(&path, OpenMode::Create).map_err(io_error(&path, "create"))?;
        file.set_len(0).map_err(io_error(&path, "truncate"))?;
        file.write_at(bytes, 0).map_err(|error| io_error(&path, "write")(error.cause))?;
        self.drop_snapshots(writer)
    }

    /// In a replicated log, what is known of producers where a segment starts is kept as long as the
    /// segment is: another replica may ask for it when all before is gone.
    pub(super) fn snapshot_at_roll(&self, writer: &mut Writer, base_offset: Offset) {
        let bytes = {
            let mut state = self.state.lock();
            if state.entries.is_none() {
                return;
            }
            state.with_producers_at(base_offset, producer_snapshot::encode)
        };
        if let Err(error) = self.write_snapshot(writer, base_offset, &bytes) {
            tracing::debug!(log = %self.name, %error, "no producer snapshot");
        }
    }

    /// Removes snapshots that are not needed any more.
    pub(super) fn drop_snapshots(&self, writer: &mut Writer) -> Result<(), OpenError> {
        let excess = writer.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        let bases: Vec<Offset> = {
            let state = self.state.lock();
            let segments = if state.entries.is_some() { state.all_segments() } else { Vec::new() };
            segments.iter().map(|segment| segment.base_offset()).collect()
        };
        let is_kept = |offset: &Offset| bases.binary_search(offset).is_ok();
        let newest = writer.snapshots.split_off(excess);
        let (mut kept, old): (Vec<_>, Vec<_>) =
            std::mem::take(&mut writer.snapshots).into_iter().partition(is_kept);
        kept.extend(newest);
        writer.snapshots = kept;
        let mut outcome = Ok(());
        for offset in old {
            if let Err(error) = remove_one(&self.env, &self.directory, offset) {
                // Still there, and known.
                writer.note_snapshot(offset);
                outcome = Err(error);
            }
        }
        outcome
    }
}

impl Writer {
    /// There is a snapshot at `offset` now, or may be.
    pub(super) fn note_snapshot(&mut self, offset: Offset) {
        if let Err(at) = self.snapshots.binary_search(&offset) {
            self.snapshots.insert(at, offset);
        }
    }
}

/// The producers at `offset`, by the newest of the snapshots that is not above it, and by what `segments`
/// hold from there on. Blocks.
///
/// # Errors
/// As [`load`].
pub(super) fn at(
    env: &LogEnvironment,
    directory: &Path,
    segments: &[Arc<Segment>],
    snapshots: &[Offset],
    offset: Offset,
) -> Result<Producers, OpenError> {
    let first = segments.first().map_or(Offset::ZERO, |segment| segment.base_offset());
    let (mut from, mut producers) = (first, Producers::default());
    for snapshot in snapshots.iter().rev().filter(|snapshot| **snapshot <= offset) {
        let bytes = checkpoint::read_whole(&*env.device, &path_of(directory, *snapshot))?;
        if let Some(found) = producer_snapshot::decode(&bytes.unwrap_or_default()) {
            (producers, from) = (found, (*snapshot).max(first));
            break;
        }
    }
    if from < offset {
        replay(env, segments, from..offset, &mut producers)?;
    }
    Ok(producers)
}

/// Writes a snapshot, durably.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn write(
    env: &LogEnvironment,
    directory: &Path,
    offset: Offset,
    producers: &Producers,
) -> Result<(), OpenError> {
    let bytes = producer_snapshot::encode(producers);
    Ok(checkpoint::write_atomic(&*env.device, &path_of(directory, offset), &bytes)?)
}

fn path_of(directory: &Path, offset: Offset) -> PathBuf {
    directory.join(file_name(offset, producer_snapshot::SUFFIX))
}

/// The producers of a log: the newest snapshot that the log reaches, and what was appended since.
/// Also returns the offsets of the snapshots that stay.
///
/// # Errors
/// [`OpenError::Io`], or [`OpenError::Corrupt`] where a batch that must be replayed is damaged.
pub(super) fn load(
    env: &LogEnvironment,
    directory: &Path,
    recovered: &Recovered,
    snapshots: Vec<Offset>,
) -> Result<(Producers, Vec<Offset>), OpenError> {
    let end = recovered.log_end_offset;
    let (mut snapshots, too_new): (Vec<_>, Vec<_>) =
        snapshots.into_iter().partition(|offset| *offset <= end);
    remove(env, directory, &too_new)?;
    let first = recovered.segments.first().map_or(Offset::ZERO, |s| s.base_offset());
    let mut from = first;
    let mut producers = Producers::default();
    while let Some(offset) = snapshots.last().copied() {
        let path = path_of(directory, offset);
        let bytes = checkpoint::read_whole(&*env.device, &path)?.unwrap_or_default();
        if let Some(found) = producer_snapshot::decode(&bytes) {
            (producers, from) = (found, offset.max(first));
            break;
        }
        tracing::info!(path = %path.display(), "the producer snapshot is not whole");
        remove_one(env, directory, offset)?;
        snapshots.pop();
    }
    if from < end {
        replay(env, &recovered.segments, from..end, &mut producers)?;
    }
    Ok((producers, snapshots))
}

/// Removes the snapshots above `end`, durably: the log may grow past them with other batches.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn remove_above(
    env: &LogEnvironment,
    directory: &Path,
    writer: &mut Writer,
    end: Offset,
) -> Result<(), OpenError> {
    let after = writer.snapshots.partition_point(|offset| *offset <= end);
    remove(env, directory, &writer.snapshots.split_off(after))
}

/// Removes snapshots, durably.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn remove(
    env: &LogEnvironment,
    directory: &Path,
    snapshots: &[Offset],
) -> Result<(), OpenError> {
    if snapshots.is_empty() {
        return Ok(());
    }
    for offset in snapshots {
        remove_one(env, directory, *offset)?;
    }
    env.device.sync_dir(directory).map_err(io_error(directory, "sync"))
}

/// Removes a snapshot, if it is there: it may be known without.
fn remove_one(env: &LogEnvironment, directory: &Path, offset: Offset) -> Result<(), OpenError> {
    let path = path_of(directory, offset);
    match env.device.remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(&path, "remove")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Notes every batch of a range of offsets.
fn replay(
    env: &LogEnvironment,
    segments: &[Arc<Segment>],
    range: Range<Offset>,
    producers: &mut Producers,
) -> Result<(), OpenError> {
    let after = segments.partition_point(|segment| segment.base_offset() <= range.start);
    let end = segments.partition_point(|segment| segment.base_offset() < range.end);
    for segment in &segments[after.saturating_sub(1)..end] {
        if segment.bytes() == 0 {
            continue;
        }
        segment.load(env)?;
        let path = segment.path();
        let file = env.device.open(path, OpenMode::Read).map_err(io_error(path, "open"))?;
        let end = u64::from(segment.bytes());
        let mut scan = Scan::new(&*file, end, Wait::ForDisk, SWEEP_WINDOW_BYTES);
        replay_segment(segment, &mut scan, &range, producers).map_err(|error| match error {
            ScanError::Damaged { position, what } => {
                OpenError::Corrupt { path: path.to_owned(), position, what }
            }
            ScanError::Io(cause) => io_error(path, "read")(cause),
            ScanError::WouldBlock => unreachable!("this scan waits for the disk"),
        })?;
    }
    Ok(())
}

fn replay_segment(
    segment: &Segment,
    scan: &mut Scan<'_>,
    range: &Range<Offset>,
    producers: &mut Producers,
) -> Result<(), ScanError> {
    let mut next = find_batch(segment, scan, range.start)?;
    while let Some(found) = next.filter(|found| found.header.base_offset < range.end) {
        producers.note(&found.header, Timestamp::NONE);
        next = scan.batch_at(found.end())?;
    }
    Ok(())
}
