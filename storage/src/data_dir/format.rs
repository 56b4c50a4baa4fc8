//! The version of a directory's layout: `millpond.format`, one line.
//!
//! ```text
//! format=1     every record is where it belongs
//! format=2     the journal holds some that its segment file may lack: it is to be replayed first
//! ```
//! A directory at rest has format 1. A program that knows no journal refuses format 2, instead of
//! opening logs that lack their newest records.

use std::path::Path;

use crate::checkpoint::{self, CheckpointError};
use crate::device::Device;

pub(super) const FILE_NAME: &str = "millpond.format";
pub(super) const KEY: &str = "format";
/// The newest version that is read.
pub(super) const VERSION_MAX: u32 = 2;

/// A layout that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Without a journal.
    Plain,
    /// With one that must be replayed.
    WithJournal,
}

impl Format {
    /// The layout with this version; `None` for one that is not known.
    pub(super) const fn of_version(version: u32) -> Option<Self> {
        match version {
            0 | 1 => Some(Self::Plain),
            VERSION_MAX => Some(Self::WithJournal),
            _ => None,
        }
    }
}

/// Says, durably, which layout the directory `root` has from now on.
///
/// # Errors
/// [`CheckpointError::Io`].
pub(crate) fn write(
    device: &dyn Device,
    root: &Path,
    format: Format,
) -> Result<(), CheckpointError> {
    let version = match format {
        Format::Plain => 1,
        Format::WithJournal => VERSION_MAX,
    };
    checkpoint::write_atomic(device, &root.join(FILE_NAME), format!("{KEY}={version}\n").as_bytes())
}
