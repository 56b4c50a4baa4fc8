//! The open file of the votes and where its next round goes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use storage::checkpoint::{self, CheckpointError};
use storage::device::{Device, DeviceFile, OpenMode};
use storage::error::OpenError;

use super::Groups;
use super::records::{FORMAT, Record};
use crate::frames::{self, Unreadable};

#[derive(Debug)]
pub(super) struct File {
    device: Arc<dyn Device>,
    path: PathBuf,
    handle: Arc<dyn DeviceFile>,
    end: u64,
}

impl File {
    pub(super) fn open(device: Arc<dyn Device>, path: &Path) -> Result<(Self, Groups), OpenError> {
        let bytes = match checkpoint::read_whole(&*device, path)? {
            Some(bytes) => bytes,
            None => {
                let empty = frames::whole_file(&FORMAT, &[]);
                checkpoint::write_atomic(&*device, path, &empty)?;
                empty
            }
        };
        let bytes = Bytes::from(bytes);
        let (groups, end) = recover(path, &bytes)?;
        let failed =
            |operation| move |cause| OpenError::Io { path: path.to_owned(), operation, cause };
        let handle = device.open(path, OpenMode::Write).map_err(failed("open"))?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), position = end, torn_bytes = bytes.len() - end,
                "cut a torn write off the file of the votes");
            handle.set_len(to_u64(end)).map_err(failed("truncate"))?;
            handle.sync_all().map_err(failed("sync"))?;
        }
        Ok((Self { device, path: path.to_owned(), handle, end: to_u64(end) }, groups))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.end
    }

    /// Writes and syncs one round. After `StorageFull` the file is as before.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut head = Vec::new();
        frames::put_round(&mut head, self.end);
        let buffers = [io::IoSlice::new(&head), io::IoSlice::new(frames)];
        if let Err(error) = self.handle.write_vectored_at(&buffers, self.end) {
            if error.cause.kind() == io::ErrorKind::StorageFull {
                self.handle.set_len(self.end)?;
            }
            return Err(error.cause);
        }
        // Never tried again, whatever the reason: another kind than StorageFull says so.
        self.handle.sync_data().map_err(|e| io::Error::other(format!("sync failed: {e}")))?;
        self.end += to_u64(head.len() + frames.len());
        Ok(())
    }

    /// Replaces the whole file. After `StorageFull` the file is as before.
    pub(super) fn replace(&mut self, frames: &[u8]) -> io::Result<()> {
        let content = frames::whole_file(&FORMAT, frames);
        match checkpoint::write_atomic(&*self.device, &self.path, &content) {
            Ok(()) => {}
            Err(CheckpointError::Io { cause, operation: "create" | "write", .. }) => {
                return Err(cause);
            }
            // Which of the two files has the name is in doubt now.
            Err(error) => return Err(io::Error::other(error)),
        }
        self.handle = self.device.open(&self.path, OpenMode::Write)?;
        self.end = to_u64(content.len());
        Ok(())
    }
}

fn recover(path: &Path, bytes: &Bytes) -> Result<(Groups, usize), OpenError> {
    let corrupt = |position: usize, what: String| OpenError::Corrupt {
        path: path.to_owned(),
        position: to_u64(position),
        what,
    };
    let readable = frames::read(&FORMAT, bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged { position, what } => corrupt(position, what),
        Unreadable::Newer(found) => {
            OpenError::NewerFormat { path: path.to_owned(), found, supported: FORMAT.version }
        }
    })?;
    let mut groups = Groups::default();
    for frame in readable.frames {
        let position = frame.position;
        let record = Record::decode(frame).map_err(|e| corrupt(position, e.to_string()))?;
        record.apply(&mut groups);
    }
    Ok((groups, readable.end))
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("usize fits in u64")
}
