//! One sync for everything that a crash left, where many logs are to be recovered.
//!
//! A recovery counts what it finds as durable, so somebody must have synced it. Each log syncs its
//! own directory and files, which takes 10,000 logs seconds; one sync of the file system before the
//! first of them is opened does the same for all. Must run before anything of this process writes to
//! a log, and says nothing of a log that has failed: there a sync may succeed without its bytes.

use std::path::Path;

use protocol::topic::TopicPartition;

use crate::device::{Device, OpenMode};
use crate::error::OpenError;
use crate::recovery;

/// Up to this many logs sync for themselves: others on the disk should not be waited for.
const LOGS_MAX: usize = 8;

/// Syncs the file system of `directory` if many logs in it are to be recovered; whether all of what
/// was found is durable now. Blocks. Such a sync that has failed, here or before the stop, is noted in
/// each of them instead, so that each recovery writes its bytes anew.
///
/// # Errors
/// [`OpenError::Io`]: what must be noted cannot be.
pub(super) fn sync_if_many(
    device: &dyn Device,
    directory: &Path,
    to_recover: &[TopicPartition],
) -> Result<bool, OpenError> {
    let mark = directory.join(recovery::FAILED_MARK);
    if device.open(&mark, OpenMode::Read).is_err() {
        if to_recover.len() <= LOGS_MAX {
            return Ok(false);
        }
        match device.sync_filesystem(directory) {
            Ok(()) => return Ok(true),
            Err(error) => {
                tracing::warn!(%error, "what the last process left could not be synced at once");
                recovery::note_failed(device, directory)?;
            }
        }
    }
    for partition in to_recover {
        recovery::note_failed(device, &directory.join(partition.to_string()))?;
    }
    let removed = device.remove_file(&mark).and_then(|()| device.sync_dir(directory));
    removed.map_err(|cause| OpenError::Io { path: mark, operation: "remove", cause })?;
    Ok(false)
}
