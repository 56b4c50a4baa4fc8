//! The index files of an active segment: written lazily, brought into Kafka's form when it closes.

use std::io;
use std::sync::Arc;

use super::{Index, Segment};
use crate::device::{DeviceFile, OpenMode};
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::recovery::io_error;

/// Rows that may wait in memory until they are written to the index files.
const UNSAVED_ROWS_MAX: usize = 512;

impl Segment {
    /// Makes its files, without a batch, so that their names are durable.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub(crate) fn create(&self, env: &LogEnvironment) -> Result<(), OpenError> {
        let path = self.path();
        self.create_entries(env).map_err(io_error(path, "write beside"))?;
        let file = env.files.open(path, OpenMode::Create).map_err(io_error(path, "create"))?;
        // A leftover of a roll that was not finished holds nothing that the log knows of.
        file.set_len(0).map_err(io_error(path, "truncate"))?;
        // The names are durable before anything in the files can be acknowledged.
        let directory = path.parent().expect("a segment stands in a directory");
        env.device.sync_dir(directory).map_err(io_error(path, "sync of the directory"))?;
        self.mark_created();
        Ok(())
    }

    /// Writes index rows to their files if many wait, or all of them.
    ///
    /// # Errors
    /// The operating system's. The rows stay in memory and are written another time.
    pub(crate) fn save_index(&self, env: &LogEnvironment, all: bool) -> io::Result<()> {
        let (rows_of_files, saved, rows) = {
            let state = self.state.lock();
            let Index::Active(active) = &state.index else { return Ok(()) };
            let (saved, rows) = (active.saved, active.rows());
            if !all && rows.offsets - saved.offsets < UNSAVED_ROWS_MAX {
                return Ok(());
            }
            let entries = active.entries.as_ref();
            let entries = entries.map(|all| all.encode_from(saved.entries.unwrap_or(0)));
            let offsets = active.offsets.encode_from(saved.offsets);
            let times = active.times.encode_from(saved.times);
            ([Some(offsets), Some(times), entries].into_iter().flatten(), saved, rows)
        };
        for ((suffix, at), bytes) in saved.file_bytes().zip(rows_of_files) {
            let file = env.files.open(&self.sibling(suffix), OpenMode::Create)?;
            if !bytes.is_empty() {
                file.write_at(&bytes, at)?;
            }
        }
        if let Index::Active(active) = &mut self.state.lock().index {
            (active.saved.offsets, active.saved.times) = (rows.offsets, rows.times);
            active.saved.entries = rows.entries;
        }
        Ok(())
    }

    /// Brings the index files to what Kafka's tools expect of a closed segment: every row, the
    /// largest timestamp last, nothing behind, synced.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn finish_index(&self, env: &LogEnvironment) -> io::Result<()> {
        self.write_index(env)?.iter().try_for_each(|file| file.sync_all())
    }

    /// As [`Segment::finish_index`]; the caller syncs the files that are returned.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write_index(&self, env: &LogEnvironment) -> io::Result<Vec<Arc<dyn DeviceFile>>> {
        {
            let mut state = self.state.lock();
            let newest = state.newest;
            if let (Index::Active(active), Some(newest)) = (&mut state.index, newest) {
                active.push_time(newest, self.base_offset);
            }
        }
        self.save_index(env, true)?;
        let rows = {
            let state = self.state.lock();
            let Index::Active(active) = &state.index else { return Ok(Vec::new()) };
            active.rows()
        };
        let finish = |(suffix, bytes): (&str, u64)| {
            let file = env.files.open(&self.sibling(suffix), OpenMode::Create)?;
            if file.size()? != bytes {
                file.set_len(bytes)?;
            }
            Ok(file)
        };
        rows.file_bytes().map(finish).collect()
    }

    /// Cuts off what the index files hold beyond the rows that a recovery believed: rows of batches
    /// that are no more could otherwise be taken for rows of later ones.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn trim_index(&self, env: &LogEnvironment) -> io::Result<()> {
        let saved = match &self.state.lock().index {
            Index::Active(active) => active.saved,
            Index::Unread | Index::Closed(_) => return Ok(()),
        };
        for (suffix, bytes) in saved.file_bytes() {
            match env.device.open(&self.sibling(suffix), OpenMode::Write) {
                Ok(file) if file.size()? > bytes => file.set_len(bytes)?,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
