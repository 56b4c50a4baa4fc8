//! Opens the entries of a replicated log: what its directory says of them.
//!
//! `entries-start` in the log's directory makes the log a replicated one. It is a checkpoint that holds
//! no line, or the last entry that was purged: `index epoch next_offset`, the last being the offset
//! behind it. Whole segments up to that entry are on their way out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use protocol::batch::BatchHeader;
use protocol::types::{LeaderEpoch, LogIndex, Offset};

use super::tracker::{Entries, Purged, behind, epoch_of};
use super::{EntryId, LogKind};
use crate::checkpoint::{self, CheckpointError};
use crate::device::OpenMode;
use crate::entry_index::EntryStart;
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::recovery::{Listing, io_error};
use crate::scan::{LOOKUP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{self, ENTRIES_SUFFIX, Segment, SegmentEntries, file_name, leaving};

/// See the header.
pub(crate) const START_FILE: &str = "entries-start";
const START_FILE_VERSION: u32 = 0;

/// What a directory says of its entries before any of them is read.
#[derive(Debug)]
pub(crate) struct FoundEntries {
    pub(crate) purged: Option<Purged>,
    /// For each segment that tells it, where its entries start.
    starts: BTreeMap<Offset, EntryStart>,
}

impl FoundEntries {
    /// Looks whether the log in `directory` is of the kind that is asked for, and makes a new one so.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if it is of the other kind; [`OpenError::Io`].
    pub(crate) fn of(
        env: &LogEnvironment,
        directory: &Path,
        listing: &Listing,
        kind: LogKind,
    ) -> Result<Option<Self>, OpenError> {
        let path = directory.join(START_FILE);
        let refuse = |what: &str| {
            Err(OpenError::Corrupt { path: path.clone(), position: 0, what: what.to_owned() })
        };
        let purged = match (read_start(env, &path)?, kind) {
            (None, LogKind::Direct) => return Ok(None),
            (Some(_), LogKind::Direct) => {
                return refuse("the log is replicated, and was to be opened as one that is not");
            }
            (None, LogKind::Replicated) if listing.segments.is_empty() => {
                save_start(env, directory, None)?;
                None
            }
            (None, LogKind::Replicated) => {
                return refuse("the log is not replicated, and was to be opened as one that is");
            }
            (Some(purged), LogKind::Replicated) => purged,
        };
        let mut starts = BTreeMap::new();
        for base_offset in &listing.segments {
            let start = segment::read_entry_start(&*env.device, directory, *base_offset)?;
            starts.extend(start.map(|start| (*base_offset, start)));
        }
        Ok(Some(Self { purged, starts }))
    }

    /// What is known of one open segment.
    pub(crate) fn of_segment(segment: &Segment) -> Self {
        let starts = BTreeMap::from([(segment.base_offset(), segment.entry_start())]);
        Self { purged: None, starts }
    }

    /// Where the entries of the segment at `base_offset` start, as its file tells.
    pub(crate) fn start_of(&self, base_offset: Offset) -> Option<EntryStart> {
        self.starts.get(&base_offset).copied()
    }

    /// Where the entries start that were not purged.
    pub(crate) fn start(&self) -> EntryStart {
        let first_index = self.purged.map_or(LogIndex::new(0), |purged| behind(purged.id.index, 1));
        EntryStart { first_index, epoch_before: epoch_of(self.purged.map(|purged| purged.id)) }
    }

    /// Removes segments of which every entry was purged: some of them may be gone already. Where a full
    /// disk had no room for the note, the first segment that is left tells what was purged.
    ///
    /// # Errors
    /// [`OpenError::Io`]; [`OpenError::Corrupt`] if no segment tells where it starts.
    pub(crate) fn remove_purged(
        &mut self,
        env: &LogEnvironment,
        directory: &Path,
        listing: &mut Listing,
    ) -> Result<(), OpenError> {
        let first = self.start().first_index;
        let starts_early =
            |base: &Offset| self.start_of(*base).is_some_and(|start| start.first_index <= first);
        let kept = listing.segments.iter().rposition(starts_early).unwrap_or(0);
        for base_offset in listing.segments.drain(..kept) {
            leaving::remove_files(env, directory, base_offset)?;
        }
        let Some(base_offset) = listing.segments.first().copied() else {
            return self.purged.map_or(Ok(()), |purged| {
                let purged = purged.id.index;
                let what = format!("no segment, although entries up to {purged} were purged");
                Err(OpenError::Corrupt { path: directory.to_owned(), position: 0, what })
            });
        };
        let Some(start) = self.start_of(base_offset) else { return Ok(()) };
        if let Some(before) =
            start.first_index.get().checked_sub(1).filter(|_| start.first_index > first)
        {
            let (index, leader_epoch) = (LogIndex::new(before), start.epoch_before);
            let id = EntryId { index, leader_epoch };
            self.purged = Some(Purged { id, next_offset: base_offset });
        }
        Ok(())
    }

    /// A segment does not tell what it must, or something else.
    pub(crate) fn damaged(&self, directory: &Path, base_offset: Offset) -> OpenError {
        let what = match self.start_of(base_offset).map(|start| start.first_index) {
            None => "it does not tell the index of the segment's first entry".to_owned(),
            Some(first) => {
                format!("entries are missing before the segment, which starts at {first}")
            }
        };
        let path = directory.join(file_name(base_offset, ENTRIES_SUFFIX));
        OpenError::Corrupt { path, position: 0, what }
    }

    /// The entries of recovered segments, whose files are the whole truth.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn tracker(
        &self,
        env: &LogEnvironment,
        segments: &[Arc<Segment>],
    ) -> Result<Entries, OpenError> {
        let (end, last) = end_of(env, segments)?;
        let first = self.start().first_index;
        if end < first {
            let what = format!("entries below {first} were purged, but they end at {end}");
            let path = segments[0].path().to_owned();
            return Err(OpenError::Corrupt { path, position: 0, what });
        }
        Ok(Entries::new(self.purged, last, end))
    }
}

/// The end of the entries in `segments`, and the last of them. Counts those of the active segment.
///
/// # Errors
/// [`OpenError`].
fn end_of(
    env: &LogEnvironment,
    segments: &[Arc<Segment>],
) -> Result<(LogIndex, Option<EntryId>), OpenError> {
    let active = segments.last().expect("a log has an active segment");
    let EntryStart { first_index: mut end, epoch_before: mut leader_epoch } = active.entry_start();
    if active.bytes() > 0 {
        let (count, last) = count_entries(env, active)?;
        active.set_entry_count(count);
        end = behind(end, usize::try_from(count).expect("32 bits fit"));
        leader_epoch = last.leader_epoch;
    }
    let last = end.get().checked_sub(1).map(LogIndex::new);
    Ok((end, last.map(|index| EntryId { index, leader_epoch })))
}

/// How many entries a segment holds, and the last of them: from its last index row on they are read.
fn count_entries(
    env: &LogEnvironment,
    segment: &Arc<Segment>,
) -> Result<(u32, BatchHeader), OpenError> {
    let path = segment.path();
    let file = env.device.open(path, OpenMode::Read).map_err(io_error(path, "open"))?;
    let end = u64::from(segment.bytes());
    let mut scan = Scan::new(&*file, end, Wait::ForDisk, LOOKUP_WINDOW_BYTES);
    let row = segment.last_entry_row(env)?;
    let (mut at, mut count, mut last) = (u64::from(row.position), row.relative_index, None);
    loop {
        match scan.batch_at(at) {
            Ok(Some(found)) => {
                (at, count, last) = (found.end(), count + 1, Some(found.header));
            }
            Ok(None) => break,
            Err(ScanError::Damaged { position, what }) => {
                return Err(OpenError::Corrupt { path: path.to_owned(), position, what });
            }
            Err(ScanError::Io(cause)) => return Err(io_error(path, "read")(cause)),
            Err(ScanError::WouldBlock) => unreachable!("this scan waits for the disk"),
        }
    }
    let last = last.ok_or_else(|| OpenError::Corrupt {
        path: segment.sibling(ENTRIES_SUFFIX),
        position: 0,
        what: format!("the last row leads to byte {}, behind the log", row.position),
    })?;
    Ok((count, last))
}

/// The first segment of a new log.
pub(crate) fn first_segment(directory: &Path, found: Option<&FoundEntries>) -> Segment {
    let segment = Segment::new(directory, Offset::ZERO);
    match found {
        None => segment,
        Some(found) => segment.with_entries(SegmentEntries::none_from(found.start())),
    }
}

fn read_start(env: &LogEnvironment, path: &Path) -> Result<Option<Option<Purged>>, OpenError> {
    let lines = checkpoint::read(&*env.device, path, START_FILE_VERSION, parse_start)?;
    Ok(lines.map(|lines| lines.last().copied()))
}

fn parse_start(line: &str) -> Option<Purged> {
    let mut fields = line.split(' ');
    let index = LogIndex::new(fields.next()?.parse().ok()?);
    let leader_epoch = LeaderEpoch::new(fields.next()?.parse().ok()?);
    let next_offset = Offset::new(fields.next()?.parse().ok().filter(|offset| *offset >= 0)?);
    let id = EntryId { index, leader_epoch };
    fields.next().is_none().then_some(Purged { id, next_offset })
}

/// Notes what was purged, durably.
///
/// # Errors
/// [`CheckpointError`].
pub(crate) fn save_start(
    env: &LogEnvironment,
    directory: &Path,
    purged: Option<Purged>,
) -> Result<(), CheckpointError> {
    let line = purged.map(|Purged { id, next_offset }| {
        format!("{} {} {next_offset}", id.index, id.leader_epoch)
    });
    checkpoint::write(&*env.device, &directory.join(START_FILE), START_FILE_VERSION, line.iter())
}
