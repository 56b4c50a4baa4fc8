//! The name of the data directory and the names in it: made, and made durable.

use std::io;
use std::path::Path;

use crate::device::Device;
use crate::error::OpenError;

/// Makes `path` and its missing parents, durably; false if it was there.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn create_missing(device: &dyn Device, path: &Path) -> Result<bool, OpenError> {
    let failed = |path: &Path, operation| {
        let path = path.to_owned();
        move |cause| OpenError::Io { path, operation, cause }
    };
    let parent = parent_of(path).unwrap_or_else(|| Path::new("."));
    match device.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent != path => {
            create_missing(device, parent)?;
            device.create_dir(path).map_err(failed(path, "create"))?;
        }
        created => created.map_err(failed(path, "create"))?,
    }
    device.sync_dir(parent).map_err(failed(parent, "sync"))?;
    Ok(true)
}

/// The directory that `path` stands in, unless that is the one that the process works in.
pub(super) fn parent_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn sync(device: &dyn Device, path: &Path) -> Result<(), OpenError> {
    match device.sync_dir(path) {
        // A directory above ours may be closed to us; whoever made ours for us has synced it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(|cause| OpenError::Io {
            path: path.to_owned(),
            operation: "sync",
            cause,
        }),
    }
}
