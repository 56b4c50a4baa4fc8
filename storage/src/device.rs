//! The seam to the operating system's files, so that tests can lose power, tear a write, fail a
//! sync or fill a disk.
//!
//! Two implementors: [`os::OsDevice`], and [`faulty::FaultyDevice`] for tests. Nothing else in this
//! crate opens, writes, renames, removes or syncs a file. Paths are absolute or relative to the
//! process; a device has no root of its own. What a crash may leave is written here once, and
//! recovery relies on this and on nothing more.

pub mod faulty;
pub mod os;
pub(crate) mod watched;

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A file system as the log needs it.
///
/// # Contract
/// All methods block and MAY be called from any thread at the same time.
///
/// **Order.** What one call did MUST be seen by every call that starts after it returned, through
/// any handle and path.
///
/// **Killed process.** Everything that a returned call did survives. A call that had not returned
/// MAY have happened in part: any prefix of a write, a rename wholly or not at all.
///
/// **Lost power.** Then, independently of each other and in no order:
/// - A file's bytes survive if they were written before a successful [`DeviceFile::sync_data`] of
///   that file (through any handle) or [`Device::sync_filesystem`] began. A later write MAY survive
///   wholly, not at all, or torn at any sector; where the file grew over a hole, it reads as zeros.
///   Overwriting synced bytes puts only the overwritten sectors at risk.
/// - A file's length survives with the bytes that needed it. An unsynced longer length MAY survive
///   without its bytes, as zeros.
/// - A name created, renamed or removed survives once [`Device::sync_dir`] of its directory (of
///   both directories, if a rename crossed) or [`Device::sync_filesystem`] has succeeded. Before
///   that the old or the new name MAY be found. A rename onto an existing name is atomic: one of the
///   two files is found, never neither.
/// - Syncing a file does not make its name durable, nor the other way round.
///
/// **Failed sync.** An error from `sync_data`, `sync_all`, `sync_dir` or `sync_filesystem` is final:
/// any part of the bytes it covered may be lost and a retry MAY succeed without having written them.
/// The caller MUST NOT count anything unsynced in the covered files as durable until it has written
/// it anew in another file. Names alone MAY be synced again: a file system whose journal has failed
/// stays failed.
pub trait Device: Send + Sync + fmt::Debug {
    /// Makes one directory; its parent must exist. Fails with `AlreadyExists`.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Opens a regular file.
    ///
    /// # Errors
    /// `NotFound` unless the mode creates; `AlreadyExists` for [`OpenMode::CreateNew`].
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DeviceFile>>;

    /// Renames a file or a directory; replaces a file at `to`. Open handles stay valid.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles stay valid; the space is free once they are gone.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Final, see the contract.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system that holds `path` durable: bytes and names.
    ///
    /// # Errors
    /// Final for every file written since its last sync.
    fn sync_filesystem(&self, path: &Path) -> io::Result<()>;

    /// How full the file system that holds `path` is.
    ///
    /// # Errors
    /// The operating system's.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Names this run of the machine: the same while it has not lost power or rebooted.
    ///
    /// # Errors
    /// The operating system's; the caller MUST then assume that power was lost.
    fn boot_id(&self) -> io::Result<String>;
}

/// An open file. Dropping the last handle closes it, and makes nothing durable.
///
/// The contract of [`Device`] holds. Handles of one file see each other's writes. Concurrent writes
/// to ranges that overlap are the caller's mistake; a read at the same time as a write of the same
/// range MAY see any mix of old and new bytes.
pub trait DeviceFile: Send + Sync + fmt::Debug {
    /// Writes all buffers one after the other at `position`, growing the file as needed, or fails.
    ///
    /// # Errors
    /// [`WriteError`]. The first `written` bytes are then in the file, none of the rest is promised
    /// to be absent. `StorageFull` is the one cause after which the file may be written again.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> Result<(), WriteError>;

    /// Writes one buffer; as [`DeviceFile::write_vectored_at`].
    ///
    /// # Errors
    /// As there.
    fn write_at(&self, buffer: &[u8], position: u64) -> Result<(), WriteError> {
        self.write_vectored_at(&[IoSlice::new(buffer)], position)
    }

    /// As [`DeviceFile::write_at`], and as [`DeviceFile::sync_data`] of what it wrote. With
    /// [`OpenMode::Journal`] that is one call.
    ///
    /// # Errors
    /// As both; final.
    fn write_durable_at(&self, buffer: &[u8], position: u64) -> Result<(), WriteError> {
        self.write_at(buffer, position)?;
        self.sync_data().map_err(|cause| WriteError { written: buffer.len(), cause })
    }

    /// Reads until `buffer` is full or the file ends; returns how many bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// As [`DeviceFile::read_at`], from memory alone; MAY return fewer bytes than there are.
    ///
    /// # Errors
    /// `WouldBlock` if the first byte is not in the page cache.
    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Makes all bytes written so far durable, and the length that they need. Not the file's name.
    ///
    /// # Errors
    /// Final, see the contract of [`Device`].
    fn sync_data(&self) -> io::Result<()>;

    /// As [`DeviceFile::sync_data`], with all metadata (times, a length that only shrank).
    ///
    /// # Errors
    /// Final, see the contract of [`Device`].
    fn sync_all(&self) -> io::Result<()>;

    /// Cuts or extends (with zeros). Durable after [`DeviceFile::sync_all`].
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space for `bytes` from `position` on without changing the length.
    ///
    /// # Errors
    /// `StorageFull`; `Unsupported` where the file system cannot, which callers MAY ignore.
    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn size(&self) -> io::Result<u64>;

    /// Tells the page cache what will happen to a range. Has no effect that can be relied on.
    fn advise(&self, position: u64, bytes: u64, advice: Advice);

    /// The file itself, for `sendfile` and for mapping. MUST NOT be written or synced through.
    fn std_file(&self) -> &Arc<File>;
}

/// What an opened file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    Write,
    /// Reading and writing; made empty if missing, kept as it is otherwise.
    Create,
    /// Reading and writing a file that must not exist yet.
    CreateNew,
    /// As [`OpenMode::Create`], for [`DeviceFile::write_durable_at`] with whole blocks from buffers
    /// that begin at a block's multiple: past the page cache where the file system can do that.
    Journal,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The name. One that is not UTF-8 cannot be ours; it comes with replacement characters.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

/// What will happen to a range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Will be read soon: read it ahead.
    WillNeed,
    /// Will not be read soon: its clean pages may leave the cache.
    DontNeed,
    /// Of the whole file nothing is to be read that was not asked for, until [`Advice::Usual`].
    NothingAhead,
    /// Of the whole file what follows a read may be read ahead.
    Usual,
}

/// Why a write stopped.
#[derive(Debug, thiserror::Error)]
#[error("{cause} after {written} bytes")]
pub struct WriteError {
    /// How many bytes from the start of the buffers are in the file.
    pub written: usize,
    /// The operating system's word.
    pub cause: io::Error,
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        error.cause
    }
}
