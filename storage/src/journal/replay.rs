//! Brings what the journal holds into the segment files, before any log is opened.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::topic::TopicId;

use super::record::{Record, Redo};
use super::{FILE_NAME, remove};
use crate::checkpoint;
use crate::device::{Device, DeviceFile, OpenMode};
use crate::error::OpenError;
use crate::recovery;
use crate::segment::{self, LOG_SUFFIX};

/// Files that are open at the same time while they are written to.
const OPEN_FILES_MAX: usize = 64;

/// Applies and syncs every whole record, then removes the journal. `owner` tells whose a log's
/// directory is. A file that is gone has left its log since.
///
/// # Errors
/// [`OpenError::Io`]: nothing may be opened.
pub(crate) fn replay(
    device: &dyn Device,
    root: &Path,
    owner: impl Fn(&Path) -> Result<Option<TopicId>, OpenError>,
) -> Result<(), OpenError> {
    let path = root.join(FILE_NAME);
    if let Some(bytes) = checkpoint::read_whole(device, &path)? {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut halves = [records(first), records(second)];
        halves.sort_by_key(|half| half.first().map(|record| record.sequence));
        let mut replay =
            Replay { device, root, owner, owners: HashMap::new(), files: HashMap::new() };
        let mut count = 0_u64;
        for record in halves.into_iter().flatten() {
            replay.apply(record)?;
            count += 1;
        }
        replay.sync_files()?;
        tracing::info!(records = count, "replayed the journal");
    }
    Ok(remove(device, root)?)
}

/// The records at the start of `half`, each the successor of the one before it. What was there
/// before them has lower numbers.
fn records(half: &[u8]) -> Vec<Record<'_>> {
    let mut found: Vec<Record<'_>> = Vec::new();
    let mut at = 0;
    while let Some(record) = half.get(at..).and_then(Record::parse) {
        if found.last().is_some_and(|last| last.sequence + 1 != record.sequence) {
            break;
        }
        at += record.block_bytes;
        found.push(record);
    }
    found
}

struct Replay<'a, F> {
    device: &'a dyn Device,
    root: &'a Path,
    owner: F,
    owners: HashMap<String, Option<TopicId>>,
    /// Written to and not yet synced; `None` for a file that is gone.
    files: HashMap<PathBuf, Option<Arc<dyn DeviceFile>>>,
}

impl<F: Fn(&Path) -> Result<Option<TopicId>, OpenError>> Replay<'_, F> {
    fn apply(&mut self, mut record: Record<'_>) -> Result<(), OpenError> {
        while let Some(redo) = record.next_piece() {
            self.redo(&redo)?;
        }
        Ok(())
    }

    fn redo(&mut self, redo: &Redo<'_>) -> Result<(), OpenError> {
        let directory = self.root.join(redo.directory);
        let found = match self.owners.get(redo.directory) {
            Some(found) => *found,
            None => {
                let found = (self.owner)(&directory)?;
                self.owners.insert(redo.directory.to_owned(), found);
                found
            }
        };
        // Deleted since, and perhaps made anew under the same name.
        if found != Some(redo.topic_id) {
            return Ok(());
        }
        let path = directory.join(segment::file_name(redo.base_offset, LOG_SUFFIX));
        if !self.files.contains_key(&path) && self.files.len() >= OPEN_FILES_MAX {
            self.sync_files()?;
        }
        let failed = |operation| {
            let path = path.clone();
            move |cause| OpenError::Io { path, operation, cause }
        };
        let file = match self.files.get(&path) {
            Some(file) => file.clone(),
            None => match self.device.open(&path, OpenMode::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened.map_err(failed("open"))?),
            },
        };
        if let Some(file) = &file {
            let written = file.write_at(redo.bytes, u64::from(redo.position));
            written.map_err(|error| failed("write")(error.cause))?;
        }
        self.files.insert(path, file);
        Ok(())
    }

    fn sync_files(&mut self) -> Result<(), OpenError> {
        for (path, file) in std::mem::take(&mut self.files) {
            let synced = file.map_or(Ok(()), |file| file.sync_data());
            if let Err(cause) = synced {
                // The log's other bytes that wait for the disk went with it.
                let directory = path.parent().expect("a segment's file is in its log's directory");
                recovery::mark_failed(self.device, directory);
                return Err(OpenError::Io { path, operation: "sync", cause });
            }
        }
        Ok(())
    }
}
