//! The files of a segment on their way out of its log, in an order that a crash may interrupt.
//!
//! A segment whose log is there may lack an index: that costs time. It must never lack the places of
//! its Raft-only entries: it would show these to clients.

use std::path::Path;

use protocol::types::Offset;

use super::{RAFT_ONLY_SUFFIX, SUFFIXES};
use crate::device::{Device, OpenMode};
use crate::environment::LogEnvironment;
use crate::error::OpenError;
use crate::recovery::io_error;

/// Called before the file at `path` with this suffix leaves a log: before the places of Raft-only
/// entries go, the log is gone for good.
///
/// # Errors
/// The operating system's.
pub(crate) fn before_leaving(
    device: &dyn Device,
    path: &Path,
    suffix: &str,
) -> std::io::Result<()> {
    if suffix != RAFT_ONLY_SUFFIX || device.open(path, OpenMode::Read).is_err() {
        return Ok(());
    }
    device.sync_dir(path.parent().expect("a segment stands in a directory"))
}

/// Removes the files of one segment, as far as they are there.
///
/// # Errors
/// [`OpenError::Io`].
pub(crate) fn remove_files(
    env: &LogEnvironment,
    directory: &Path,
    base_offset: Offset,
) -> Result<(), OpenError> {
    for suffix in SUFFIXES {
        let path = directory.join(super::file_name(base_offset, suffix));
        env.files.forget(&path);
        before_leaving(&*env.device, &path, suffix).map_err(io_error(&path, "sync before"))?;
        match env.device.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error(&path, "remove")(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
