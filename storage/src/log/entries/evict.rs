//! What leaves a replicated log at its start, and how a replica begins behind that.
//!
//! ```text
//! eviction_point ─> eviction_state: a snapshot of the replication protocol ─> purge_entries
//!                        └─ sent to a replica that lacks what was purged ─> reset_entries
//! ```
//! Retention does not delete of its own accord: it names an entry, and what lies up to there leaves the
//! log once the replication protocol says so. The state at that entry is all that a replica needs in
//! the place of the entries: the offset behind it, and what is known of producers.

use std::sync::Arc;

use bytes::{Buf, BufMut};
use protocol::types::{LeaderEpoch, LogIndex, Offset, Timestamp};

use super::EntryId;
use super::tracker::{Purged, behind};
use crate::checkpoint::CheckpointError;
use crate::entry_index::EntryStart;
use crate::error::{OpenError, ReadError};
use crate::log::entries::open::save_start;
use crate::log::trim::{DeletionOrder, Expired, later};
use crate::log::write::is_full;
use crate::log::{Log, Writer, producers};
use crate::producer_snapshot;
use crate::producer_state::Producers;
use crate::segment::Segment;

/// The version of an encoded state.
const STATE_VERSION: u16 = 1;

/// What a log amounts to up to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvictionState {
    /// The entry.
    pub at: EntryId,
    /// The offset behind it: where a log starts that has nothing before.
    pub next_offset: Offset,
    producers: Producers,
}

impl EvictionState {
    /// As bytes, for a file or another node:
    ///
    /// ```text
    /// ├ u32 crc32c of the rest ┼ u16 version = 1 ┼ u64 index ┼ i32 leader epoch ┼ i64 next offset ┤
    /// ├ producers, as in a file `<offset>.producers` ┤
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        rest.put_u16(STATE_VERSION);
        rest.put_u64(self.at.index.get());
        rest.put_i32(self.at.leader_epoch.get());
        rest.put_i64(self.next_offset.get());
        rest.extend(producer_snapshot::encode(&self.producers));
        let mut out = Vec::with_capacity(4 + rest.len());
        out.put_u32(crc32c::crc32c(&rest));
        out.extend(rest);
        out
    }

    /// Reads what [`EvictionState::encode`] returned; `None` unless every byte is as it was.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let crc = rest.try_get_u32().ok()?;
        if crc32c::crc32c(rest) != crc || rest.try_get_u16().ok()? != STATE_VERSION {
            return None;
        }
        let index = LogIndex::new(rest.try_get_u64().ok()?);
        let leader_epoch = LeaderEpoch::new(rest.try_get_i32().ok()?);
        let next_offset = Offset::new(rest.try_get_i64().ok().filter(|offset| *offset >= 0)?);
        let producers = producer_snapshot::decode(rest)?;
        Some(Self { at: EntryId { index, leader_epoch }, next_offset, producers })
    }

    pub(in crate::log) const fn producers(&self) -> &Producers {
        &self.producers
    }

    pub(super) const fn purged(&self) -> Purged {
        Purged { id: self.at, next_offset: self.next_offset }
    }
}

impl Log {
    /// The newest entry, at or below `upto`, of those that retention lets go at `now` with whole
    /// segments; `None` if there is none. An active segment that is expired as a whole is rolled. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn eviction_point(
        &self,
        upto: LogIndex,
        now: Timestamp,
    ) -> Result<Option<EntryId>, ReadError> {
        let mut writer = self.writer.lock();
        self.state.lock().check_open()?;
        let Expired { segments, candidates, count, .. } = self.expired_segments(Some(now))?;
        // The entry before a segment's first one ends the segment before it.
        let mut behind_them: Vec<_> = segments.iter().skip(1).take(count).cloned().collect();
        if count > 0 && count == segments.len() {
            let end = candidates[count - 1].end_offset;
            let is_whole = self.state.lock().entries().written_end <= behind(upto, 1);
            // A segment without an offset of its own is not rolled.
            let has_offset = segments[count - 1].base_offset() < end;
            if is_whole && has_offset && self.roll_expired(end)? {
                self.snapshot_at_roll(&mut writer, end);
                behind_them.push(Arc::clone(self.state.lock().active()));
            }
        }
        drop(writer);
        let is_within = |next: &&Arc<Segment>| next.first_index() <= behind(upto, 1);
        let Some(next) = behind_them.iter().take_while(is_within).last() else { return Ok(None) };
        if next.base_offset() > self.pointers().recovery_point {
            let mut writer = self.quiet_writer();
            self.sync_now(&mut writer).map_err(|error| self.read_error(error))?;
        }
        let EntryStart { first_index, epoch_before: leader_epoch } = next.entry_start();
        let index = first_index.get().checked_sub(1).map(LogIndex::new);
        Ok(index.map(|index| EntryId { index, leader_epoch }))
    }

    /// What the log amounts to up to an entry that is in the files, or was the last to be purged. Blocks.
    ///
    /// # Errors
    /// [`ReadError::EntryOutOfRange`], [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn eviction_state(&self, at: LogIndex) -> Result<EvictionState, ReadError> {
        // No file and no snapshot goes until this is done.
        let writer = self.writer.lock();
        let (bounds, written_end, segments) = {
            let state = self.state.lock();
            state.check_open()?;
            let entries = state.entries();
            // What was purged tells of producers until a snapshot is sure to.
            (entries.bounds, entries.written_end, state.all_segments())
        };
        let is_purged = bounds.purged.is_some_and(|purged| purged.index == at);
        if !is_purged && (at < bounds.first() || at >= written_end) {
            let (first, end) = (bounds.first(), written_end);
            return Err(ReadError::EntryOutOfRange { wanted: at, first, end });
        }
        let leader_epoch = self.epoch_of(at)?;
        let next_offset = self.offset_after(at)?;
        let producers =
            producers::at(&self.env, &self.directory, &segments, &writer.snapshots, next_offset)
                .map_err(|error| self.read_error(error))?;
        Ok(EvictionState { at: EntryId { index: at, leader_epoch }, next_offset, producers })
    }

    /// Whole segments up to the entry `upto` leave the log. Never blocks: their files go with the next
    /// [`Log::apply_retention`]; until then a start finds them again. Entries of a segment that holds
    /// later ones too stay, and those that are not synced here.
    ///
    /// # Errors
    /// [`ReadError::EntryOutOfRange`] beyond the log; [`ReadError::Failed`] or [`ReadError::Closed`].
    pub fn purge_entries(&self, upto: LogIndex) -> Result<(), ReadError> {
        let mut state = self.state.lock();
        state.check_open()?;
        let bounds = state.entries().bounds;
        if upto >= bounds.end {
            let (first, end) = (bounds.first(), bounds.end);
            return Err(ReadError::EntryOutOfRange { wanted: upto, first, end });
        }
        let first = behind(upto, 1);
        // A start that finds what was purged, since that is not noted yet, must find all of it.
        let synced = state.pointers.recovery_point;
        let after = state.segments.partition_point(|segment| {
            segment.first_index() <= first && segment.base_offset() <= synced
        });
        let count = after.saturating_sub(1);
        if count == 0 {
            return Ok(());
        }
        let kept = Arc::clone(&state.segments[count]);
        let start = kept.entry_start();
        let next_offset = kept.base_offset();
        let index = LogIndex::new(start.first_index.get() - 1);
        let id = EntryId { index, leader_epoch: start.epoch_before };
        let gone: Vec<_> = state.segments.drain(..count).collect();
        let entries = state.entries_mut();
        entries.leaving.extend(gone);
        entries.set_purged(Purged { id, next_offset });
        let pointers = &mut state.pointers;
        pointers.log_start_offset = pointers.log_start_offset.max(next_offset);
        state.validate();
        Ok(())
    }

    /// Takes away the files of what was purged; returns their bytes.
    pub(in crate::log) fn remove_purged(
        &self,
        writer: &mut Writer,
        now: Timestamp,
    ) -> Result<u64, ReadError> {
        let (leaving, purged, all, delay) = {
            let state = self.state.lock();
            let Some(entries) = &state.entries else { return Ok(0) };
            let Some(purged) = entries.purged().filter(|_| !entries.leaving.is_empty()) else {
                return Ok(0);
            };
            let delay = state.config.file_delete_delay;
            (entries.leaving.clone(), purged, state.all_segments(), delay)
        };
        let mut removed = || -> Result<DeletionOrder, OpenError> {
            self.keep_producers(writer, &all, purged.next_offset)?;
            match save_start(&self.env, &self.directory, Some(purged)) {
                Ok(()) => Ok(DeletionOrder::Any),
                // Deleting is what helps on a full disk. The first segment left tells what was purged.
                Err(CheckpointError::Io { cause, .. }) if is_full(&cause) => {
                    Ok(DeletionOrder::OldestFirst)
                }
                Err(error) => Err(error.into()),
            }
        };
        let order = removed().map_err(|error| self.read_error(error))?;
        self.doom_segments(writer, &leaving, later(now, delay), order)?;
        {
            let mut state = self.state.lock();
            state.entries_mut().leaving.drain(..leaving.len());
            let changed = state.leader_epochs.truncate_start(purged.next_offset);
            state.epochs_changed |= changed;
        }
        if let Err(error) = self.drop_snapshots(writer) {
            tracing::debug!(log = %self.name, %error, "old producer snapshots stay");
        }
        let bytes = leaving.iter().map(|segment| u64::from(segment.bytes())).sum();
        tracing::debug!(log = %self.name, segments = leaving.len(), bytes, "purged");
        Ok(bytes)
    }

    /// What is known of producers at `offset` is durable: the batches before that tell are about to go.
    fn keep_producers(
        &self,
        writer: &mut Writer,
        segments: &[Arc<Segment>],
        offset: Offset,
    ) -> Result<(), OpenError> {
        let producers =
            producers::at(&self.env, &self.directory, segments, &writer.snapshots, offset)?;
        match producers::write(&self.env, &self.directory, offset, &producers) {
            Ok(()) => {
                writer.note_snapshot(offset);
                Ok(())
            }
            // They are known here, and forgotten with the process.
            Err(OpenError::Io { cause, .. }) if is_full(&cause) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
