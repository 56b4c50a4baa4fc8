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

use super::tracker::{Entries, behind};
use super::{EntryId, LogKind};
use crate::checkpoint::{self, CheckpointError};
use crate::device::OpenMode;
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::recovery::{Listing, io_error};
use crate::scan::{LOOKUP_WINDOW_BYTES, Scan, ScanError, Wait};
use crate::segment::{self, ENTRIES_SUFFIX, Segment, SegmentEntries, file_name, leaving};

/// See the header.
pub(crate) const START_FILE: &str = "entries-start";
const START_FILE_VERSION: u32 = 0;

/// What was purged of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purged {
    /// The last entry that was.
    pub(crate) id: EntryId,
    /// The offset behind it.
    pub(crate) next_offset: Offset,
}

/// What a directory says of its entries before any of them is read.
#[derive(Debug)]
pub(crate) struct FoundEntries {
    pub(crate) purged: Option<Purged>,
    /// For each segment that tells it, the index of its first entry.
    firsts: BTreeMap<Offset, LogIndex>,
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
        let mut firsts = BTreeMap::new();
        for base_offset in &listing.segments {
            let first = segment::read_first_index(&*env.device, directory, *base_offset)?;
            firsts.extend(first.map(|first| (*base_offset, first)));
        }
        Ok(Some(Self { purged, firsts }))
    }

    /// The index of the first entry in the segment that starts at `base_offset`, as its file tells.
    pub(crate) fn first_index(&self, base_offset: Offset) -> Option<LogIndex> {
        self.firsts.get(&base_offset).copied()
    }

    /// The first index that was not purged.
    pub(crate) fn first(&self) -> LogIndex {
        self.purged.map_or(LogIndex::new(0), |purged| behind(purged.id.index, 1))
    }

    /// Removes segments of which every entry was purged: some of them may be gone already.
    ///
    /// # Errors
    /// [`OpenError::Io`]; [`OpenError::Corrupt`] if entries are missing behind what was purged.
    pub(crate) fn remove_purged(
        &self,
        env: &LogEnvironment,
        directory: &Path,
        listing: &mut Listing,
    ) -> Result<(), OpenError> {
        let starts_early =
            |base: &Offset| self.first_index(*base).is_some_and(|i| i <= self.first());
        let Some(kept) = listing.segments.iter().rposition(starts_early) else {
            return self.check_first(env, directory, listing);
        };
        for base_offset in listing.segments.drain(..kept) {
            leaving::remove_files(env, directory, base_offset)?;
        }
        Ok(())
    }

    /// Without a segment that tells where it starts, there must be nothing, or one without an entry.
    fn check_first(
        &self,
        env: &LogEnvironment,
        directory: &Path,
        listing: &Listing,
    ) -> Result<(), OpenError> {
        let Some(base_offset) = listing.segments.first() else {
            return match self.purged {
                None => Ok(()),
                Some(purged) => Err(OpenError::Corrupt {
                    path: directory.to_owned(),
                    position: 0,
                    what: format!(
                        "no segment, although entries up to {} were purged",
                        purged.id.index
                    ),
                }),
            };
        };
        let log = directory.join(file_name(*base_offset, segment::LOG_SUFFIX));
        let size = env.device.open(&log, OpenMode::Read).and_then(|file| file.size());
        if size.map_err(io_error(&log, "read the size of"))? == 0 {
            return Ok(());
        }
        Err(self.damaged(directory, *base_offset))
    }

    /// A segment does not tell what it must, or something else.
    pub(crate) fn damaged(&self, directory: &Path, base_offset: Offset) -> OpenError {
        let what = match self.first_index(base_offset) {
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
        let purged = self.purged.map(|purged| purged.id);
        let (end, last) = end_of(env, segments)?;
        // A purge may be noted before a recovery cuts off what nobody had finished.
        let last = last.or(purged);
        Ok(Entries::new(purged, last, end.max(self.first())))
    }
}

/// The end of the entries in `segments`, and the last of them. Counts those of the active segment.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn end_of(
    env: &LogEnvironment,
    segments: &[Arc<Segment>],
) -> Result<(LogIndex, Option<EntryId>), OpenError> {
    let active = segments.last().expect("a log has an active segment");
    let mut end = active.first_index();
    if active.bytes() > 0 {
        let (count, last) = count_entries(env, active)?;
        active.set_entry_count(count);
        end = behind(end, usize::try_from(count).expect("32 bits fit"));
        return Ok((end, last_id(end, &last)));
    }
    let before = segments.iter().rev().find(|segment| segment.bytes() > 0);
    let last = match before {
        Some(segment) => last_id(end, &count_entries(env, segment)?.1),
        None => None,
    };
    Ok((end, last))
}

fn last_id(end: LogIndex, last: &BatchHeader) -> Option<EntryId> {
    let index = LogIndex::new(end.get().checked_sub(1)?);
    Some(EntryId { index, leader_epoch: last.leader_epoch })
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
        Some(found) => segment.with_entries(SegmentEntries::none_from(found.first())),
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
