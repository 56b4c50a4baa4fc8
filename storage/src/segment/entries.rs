//! What a segment of a replicated log knows of its entries.

use std::path::Path;

use protocol::types::{LogIndex, Offset};

use super::{ActiveIndex, ClosedIndex, ENTRIES_SUFFIX, Index, Segment, SegmentEntries, file_name};
use crate::checkpoint;
use crate::device::{Device, OpenMode};
use crate::entry_index::{self, EntryRow, EntryRows, EntryStart, relative};
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::mmap::Mapping;
use crate::recovery::io_error;

impl Segment {
    /// The same segment, of a replicated log.
    pub(crate) fn with_entries(mut self, entries: SegmentEntries) -> Self {
        let state = self.state.get_mut();
        state.entries = Some(entries);
        if let Index::Active(active) = &mut state.index {
            active.set_replicated();
        }
        self
    }

    /// The log has become a replicated one: these are its entries, all of which stand in its file.
    pub(crate) fn become_replicated(&self, entries: SegmentEntries, rows: EntryRows) {
        let mut state = self.state.lock();
        state.entries = Some(entries);
        match &mut state.index {
            Index::Active(active) => active.become_replicated(rows),
            // Mapped anew, with its entries.
            Index::Closed(map) => *map = None,
            Index::Unread => {}
        }
    }

    /// Writes a whole file of entries, durably but for its name.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn save_counted(
        &self,
        env: &LogEnvironment,
        start: EntryStart,
        rows: &EntryRows,
    ) -> std::io::Result<()> {
        let mut bytes = start.encode();
        bytes.extend(rows.encode_from(0));
        let file = env.files.open(&self.sibling(ENTRIES_SUFFIX), OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(&bytes, 0).map_err(|error| error.cause)?;
        file.sync_data()
    }

    /// What it holds, in a replicated log.
    pub(crate) fn entries(&self) -> Option<SegmentEntries> {
        self.state.lock().entries
    }

    /// Tells how many entries there are.
    pub(crate) fn set_entry_count(&self, count: u32) {
        if let Some(entries) = &mut self.state.lock().entries {
            entries.count = count;
        }
    }

    /// The index of its first entry.
    ///
    /// # Panics
    /// If the log is not replicated.
    pub(crate) fn first_index(&self) -> LogIndex {
        self.entry_start().first_index
    }

    /// Where its entries start.
    ///
    /// # Panics
    /// If the log is not replicated.
    pub(crate) fn entry_start(&self) -> EntryStart {
        self.entries().expect("a segment of a replicated log knows its entries").start
    }

    /// Where a lookup of an entry begins; `None` if the index must be read from the disk first.
    pub(crate) fn entry_hint(&self, index: LogIndex) -> Option<EntryRow> {
        let state = self.state.lock();
        let Some(wanted) = state.entries.and_then(|own| relative(index, own.start.first_index))
        else {
            return Some(EntryRow::START);
        };
        match &state.index {
            Index::Active(active) => {
                Some(active.entries.as_ref().map_or(EntryRow::START, |rows| rows.floor(wanted)))
            }
            Index::Closed(Some(ClosedIndex { entries: Some(rows), .. })) => {
                Some(entry_index::floor_of_file(rows, wanted))
            }
            Index::Unread | Index::Closed(_) => None,
        }
    }

    /// The last row of its index, read from the disk unless it is in memory. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn last_entry_row(&self, env: &LogEnvironment) -> Result<EntryRow, OpenError> {
        let end = {
            let state = self.state.lock();
            if let Index::Active(ActiveIndex { entries: Some(rows), .. }) = &state.index {
                return Ok(rows.last());
            }
            state.bytes
        };
        let file = checkpoint::read_whole(&*env.device, &self.sibling(ENTRIES_SUFFIX))?;
        Ok(EntryRows::decode(&file.unwrap_or_default(), end).last())
    }

    pub(super) fn map_entries(&self, env: &LogEnvironment) -> Result<Option<Mapping>, OpenError> {
        if self.entries().is_none() {
            return Ok(None);
        }
        let path = self.sibling(ENTRIES_SUFFIX);
        let file = env.device.open(&path, OpenMode::Read).map_err(io_error(&path, "open"))?;
        Mapping::open(file.std_file()).map(Some).map_err(io_error(&path, "map"))
    }

    /// Makes the file that tells the index of the first entry, durably but for its name: the caller
    /// syncs the directory. Nothing in a log that is not replicated.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn create_entries(&self, env: &LogEnvironment) -> std::io::Result<()> {
        let Some(entries) = self.entries() else { return Ok(()) };
        let file = env.files.open(&self.sibling(ENTRIES_SUFFIX), OpenMode::Create)?;
        // A leftover may hold rows.
        file.set_len(0)?;
        file.write_at(&entries.start.encode(), 0).map_err(|error| error.cause)?;
        file.sync_data()
    }
}

/// Where the entries of the segment at `base_offset` start, if its file tells.
///
/// # Errors
/// [`OpenError::Io`].
pub(crate) fn read_entry_start(
    device: &dyn Device,
    directory: &Path,
    base_offset: Offset,
) -> Result<Option<EntryStart>, OpenError> {
    let path = directory.join(file_name(base_offset, ENTRIES_SUFFIX));
    let file = match device.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error(&path, "open"))?,
    };
    let mut header = [0; entry_index::HEADER_BYTES];
    let read = file.read_at(&mut header, 0).map_err(io_error(&path, "read"))?;
    Ok(EntryStart::decode(&header[..read]))
}
