//! The lock that keeps a second process out of a data directory.
//!
//! An advisory `flock` on `.lock`: the kernel lets go of it when the process ends, however it ends,
//! so a leftover file means nothing. The holder's pid in the file is for the error message alone.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::device::{Device, DeviceFile, OpenMode};
use crate::error::OpenError;

/// The name of the lock file, as in Kafka.
pub(super) const LOCK_FILE: &str = ".lock";

/// Longer than any pid with its line end.
const PID_TEXT_BYTES_MAX: usize = 32;

/// Held while the process works in the directory; dropping it releases the lock.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: Arc<dyn DeviceFile>,
}

impl DirectoryLock {
    /// Locks `directory`, which must exist.
    ///
    /// # Errors
    /// [`OpenError::Locked`] with the holder, or [`OpenError::Io`] where nothing can be written.
    pub(super) fn acquire(device: &dyn Device, directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let failed = |operation| {
            let path = path.clone();
            move |cause| OpenError::Io { path, operation, cause }
        };
        let file = device.open(&path, OpenMode::Create).map_err(failed("open for writing"))?;
        match rustix::fs::flock(&**file.std_file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = read_pid(&*file);
                return Err(OpenError::Locked { path: directory.to_owned(), pid });
            }
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let pid = format!("{}\n", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.write_at(pid.as_bytes(), 0).map_err(std::io::Error::from));
        if let Err(error) = written {
            // On a full disk, for example, which must not keep readers out.
            tracing::warn!(%error, path = %path.display(), "could not note the pid in the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &dyn DeviceFile) -> Option<u32> {
    let mut text = [0; PID_TEXT_BYTES_MAX];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}
