//! A log whose batches were not entries becomes a replicated one, while it is open.
//!
//! ```text
//! 1 closed segments    counted, each file `.entries` made durable      appends go on
//! 2 the rest           written, synced, counted, the same              appends are busy
//! 3 `entries-start`    the log is replicated from here on
//! ```
//! A crash before the last step leaves a log that is not replicated, with files beside it that nobody
//! reads and that the next try makes anew. What was deleted before counts as one purged entry, also
//! where nothing was: so a replica elsewhere begins behind that, and never with a hole.

use std::sync::Arc;

use protocol::types::{LeaderEpoch, LogIndex};

use super::open::save_start;
use super::tracker::{Entries, Purged, behind};
use super::{EntryId, LogKind};
use crate::config::LogConfig;
use crate::device::OpenMode;
use crate::entry_index::{EntryRow, EntryRows, EntryStart};
use crate::error::{OpenError, ReadError};
use crate::log::{Log, Writer};
use crate::recovery::io_error;
use crate::scan::{Scan, ScanError, Wait};
use crate::segment::{Segment, SegmentEntries};

/// Bytes read at once while batches are counted.
const WINDOW_BYTES: usize = 64 << 10;

/// How often closed segments are counted while appends go on.
const ROUNDS_AHEAD: usize = 2;

/// A segment whose file `.entries` is there.
struct Counted {
    segment: Arc<Segment>,
    entries: SegmentEntries,
    rows: EntryRows,
    last_epoch: LeaderEpoch,
}

impl Counted {
    /// Where the entries behind it start.
    fn next(&self) -> EntryStart {
        EntryStart { first_index: self.entries.end(), epoch_before: self.last_epoch }
    }
}

impl Log {
    /// Makes each batch an entry: the log is replicated from now on, also at the next start. Its
    /// entries count from 1. From when the last of them are counted [`Log::append`] is busy. A
    /// replicated log stays as it is. Blocks.
    ///
    /// # Errors
    /// [`ReadError::Closed`], or [`ReadError::Failed`] with what went wrong. The log goes on as it was,
    /// unless [`Log::failure`] tells that it failed.
    pub fn make_replicated(&self) -> Result<(), ReadError> {
        if self.kind() == LogKind::Replicated {
            return Ok(());
        }
        let mut counted = Vec::new();
        // What was closed meanwhile is little, and what is closed during that, less.
        for _ in 0..ROUNDS_AHEAD {
            self.count_closed(&mut counted)?;
        }
        self.state.lock().is_switching = true;
        let outcome = self.switch(counted);
        self.state.lock().is_switching = false;
        if outcome.is_ok() {
            self.tell_progress();
        }
        outcome
    }

    /// Counts the segments that change no more. Retention may take some of them away meanwhile.
    fn count_closed(&self, counted: &mut Vec<Counted>) -> Result<(), ReadError> {
        let closed = {
            let state = self.state.lock();
            state.check_open()?;
            let done = counted.last().map(|last| last.segment.base_offset());
            let closed = state.segments[..state.segments.len() - 1].iter();
            closed.filter(|one| Some(one.base_offset()) > done).cloned().collect::<Vec<_>>()
        };
        for segment in closed {
            let found = self.count(&segment, counted.last());
            let _writer = self.writer.lock();
            let is_there = self.state.lock().segments.iter().any(|one| Arc::ptr_eq(one, &segment));
            if is_there {
                let found = found.map_err(|error| self.read_error(error))?;
                self.save(&found).map_err(|error| self.read_error(error))?;
                counted.push(found);
            }
        }
        Ok(())
    }

    fn switch(&self, mut counted: Vec<Counted>) -> Result<(), ReadError> {
        let mut writer = self.quiet_writer();
        self.state.lock().check_open()?;
        if self.kind() == LogKind::Replicated {
            return Ok(());
        }
        self.settle(&mut writer)?;
        let segments = self.state.lock().segments.clone();
        counted.retain(|one| segments.iter().any(|segment| Arc::ptr_eq(segment, &one.segment)));
        for segment in &segments[counted.len()..] {
            let found = self.count(segment, counted.last()).and_then(|found| {
                self.save(&found)?;
                Ok(found)
            });
            counted.push(found.map_err(|error| self.read_error(error))?);
        }
        let first = counted[0].entries.start;
        let index = LogIndex::new(first.first_index.get() - 1);
        let id = EntryId { index, leader_epoch: first.epoch_before };
        let purged = Purged { id, next_offset: segments[0].base_offset() };
        let saved = self
            .env
            .device
            .sync_dir(&self.directory)
            .map_err(io_error(&self.directory, "sync"))
            .and_then(|()| Ok(save_start(&self.env, &self.directory, Some(purged))?));
        if let Err(error) = saved {
            // Nobody knows which kind the next start finds.
            let error = self.read_error(error);
            if let ReadError::Failed(failure) = &error {
                self.fail_with(&mut writer, failure.clone());
            }
            return Err(error);
        }
        let end = counted.last().expect("a log has an active segment").next();
        for Counted { segment, entries, rows, .. } in counted {
            segment.become_replicated(entries, rows);
        }
        let mut state = self.state.lock();
        let index = LogIndex::new(end.first_index.get() - 1);
        let last = EntryId { index, leader_epoch: end.epoch_before };
        state.tail.clear();
        state.spent_epoch = None;
        let entries = Entries::new(Some(purged), Some(last), end.first_index);
        state.entries = Some(Box::new(entries));
        state.validate();
        Ok(())
    }

    /// Everything that was appended is in the files, and durable, and the active segment has one.
    fn settle(&self, writer: &mut Writer) -> Result<(), ReadError> {
        self.write_all(writer)?;
        self.state.lock().check_open()?;
        self.sync_now(writer).map_err(|error| self.read_error(error))?;
        let active = Arc::clone(self.state.lock().active());
        if active.is_created() {
            return Ok(());
        }
        active.create(&self.env).map_err(|error| self.read_error(error))
    }

    /// Counts the batches of a segment behind those of another.
    fn count(
        &self,
        segment: &Arc<Segment>,
        before: Option<&Counted>,
    ) -> Result<Counted, OpenError> {
        let config: Arc<LogConfig> = Arc::clone(&self.state.lock().config);
        let path = segment.path();
        let file = self.env.device.open(path, OpenMode::Read).map_err(io_error(path, "open"))?;
        let mut scan = Scan::new(&*file, u64::from(segment.bytes()), Wait::ForDisk, WINDOW_BYTES);
        let (mut count, mut rows) = (0, EntryRows::default());
        let (mut first_epoch, mut last_epoch) = (None, None);
        let mut at = 0;
        loop {
            let found = match scan.batch_at(at) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(ScanError::Damaged { position, what }) => {
                    return Err(OpenError::Corrupt { path: path.to_owned(), position, what });
                }
                Err(ScanError::Io(cause)) => return Err(io_error(path, "read")(cause)),
                Err(ScanError::WouldBlock) => unreachable!("this scan waits for the disk"),
            };
            let position = u32::try_from(at).expect("a segment has 32 bits of bytes");
            let bytes = u32::try_from(found.header.batch_bytes()).unwrap_or(u32::MAX);
            let row = EntryRow { relative_index: count, position };
            rows.note(row, bytes, config.index_interval_bytes);
            first_epoch.get_or_insert(found.header.leader_epoch);
            last_epoch = Some(found.header.leader_epoch);
            (at, count) = (found.end(), count + 1);
        }
        let start = before.map_or_else(
            || EntryStart {
                first_index: behind(LogIndex::new(0), 1),
                epoch_before: first_epoch.unwrap_or_else(|| {
                    self.state.lock().leader_epochs.latest().unwrap_or(LeaderEpoch::ZERO)
                }),
            },
            Counted::next,
        );
        let last_epoch = last_epoch.unwrap_or(start.epoch_before);
        let entries = SegmentEntries { start, count };
        Ok(Counted { segment: Arc::clone(segment), entries, rows, last_epoch })
    }

    fn save(&self, counted: &Counted) -> Result<(), OpenError> {
        let path = counted.segment.path();
        let saved = counted.segment.save_counted(&self.env, counted.entries.start, &counted.rows);
        saved.map_err(io_error(path, "write beside"))
    }
}
