//! Small files that are written whole: a reader finds the old content or the new, never a mix.
//!
//! Checkpoints are text in Kafka's format, so that its tools and its administrators can read them:
//!
//! ```text
//! 0                    version
//! 2                    number of entries that follow
//! orders 0 1234        an entry per line, fields separated by one space
//! orders 1 99
//! ```
//!
//! A checkpoint is written beside its name as `<name>.tmp`, synced, renamed, and the directory
//! synced. A file that does not parse is damage and is reported with its line, never guessed at.

use std::fmt::{Display, Write};
use std::io;
use std::path::{Path, PathBuf};

use crate::device::{Device, OpenMode};
use crate::error::OpenError;

/// No small file is larger: 10,000 partitions take less than 3 MiB.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

/// Appended to the name while the file is being written.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Why a small file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{path}: {operation} failed: {cause}", path = path.display())]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// The refusal.
        cause: io::Error,
    },
    /// The content is not what was written.
    #[error("{path} line {line}: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Where that line starts, in bytes.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// Another version of the format.
    #[error("{path} has version {found}, this version reads {supported}", path = path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is read.
        supported: u32,
    },
}

impl From<CheckpointError> for OpenError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Io { path, operation, cause } => Self::Io { path, operation, cause },
            CheckpointError::Malformed { path, line, position, what } => {
                Self::Corrupt { path, position, what: format!("line {line}: {what}") }
            }
            CheckpointError::OtherVersion { path, found, supported } => {
                Self::NewerFormat { path, found, supported }
            }
        }
    }
}

/// Replaces the file at `path` by one that holds `bytes`, durably, or leaves it as it is.
///
/// # Errors
/// [`CheckpointError::Io`]: the old content is still there, unless the last sync failed, when either
/// may be.
pub fn write_atomic(device: &dyn Device, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    let failed = |path: &Path, operation| {
        let path = path.to_owned();
        move |cause| CheckpointError::Io { path, operation, cause }
    };
    // Never write into a leftover: its last sync may have failed, and that is final for the file.
    match device.remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&temporary, "remove")(error));
        }
        _ => {}
    }
    let file =
        device.open(&temporary, OpenMode::CreateNew).map_err(failed(&temporary, "create"))?;
    file.write_at(bytes, 0).map_err(|error| failed(&temporary, "write")(error.cause))?;
    file.sync_data().map_err(failed(&temporary, "sync"))?;
    device.rename(&temporary, path).map_err(failed(path, "rename"))?;
    let directory = path.parent().expect("a checkpoint stands in a directory");
    device.sync_dir(directory).map_err(failed(directory, "sync"))
}

/// The bytes of a small file; `None` if there is none.
///
/// # Errors
/// [`CheckpointError::Io`], and [`CheckpointError::Malformed`] if it is larger than any we write.
pub fn read_whole(device: &dyn Device, path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    let failed =
        |operation| move |cause| CheckpointError::Io { path: path.to_owned(), operation, cause };
    let file = match device.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let size = file.size().map_err(failed("read"))?;
    let length = usize::try_from(size).ok().filter(|_| size <= SMALL_FILE_BYTES_MAX);
    let Some(length) = length else {
        let what = format!("{size} bytes are more than such a file ever has");
        return Err(CheckpointError::Malformed {
            path: path.to_owned(),
            line: 1,
            position: 0,
            what,
        });
    };
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0).map_err(failed("read"))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes a checkpoint with one line for each entry.
///
/// # Errors
/// As [`write_atomic`].
pub(crate) fn write<T: Display>(
    device: &dyn Device,
    path: &Path,
    version: u32,
    entries: impl ExactSizeIterator<Item = T>,
) -> Result<(), CheckpointError> {
    let mut text = format!("{version}\n{}\n", entries.len());
    for entry in entries {
        writeln!(text, "{entry}").expect("a String takes any text");
    }
    write_atomic(device, path, text.as_bytes())
}

/// Reads a checkpoint; `None` if there is no such file. `parse` returns `None` for a line that is
/// not an entry.
///
/// # Errors
/// See [`CheckpointError`].
pub(crate) fn read<T>(
    device: &dyn Device,
    path: &Path,
    version: u32,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, CheckpointError> {
    let Some(bytes) = read_whole(device, path)? else { return Ok(None) };
    let mut lines = Lines { path, rest: &bytes, line: 0, position: 0, next_position: 0 };
    let found = lines.next_as("a version", |text| text.parse::<u32>().ok())?;
    if found != version {
        return Err(CheckpointError::OtherVersion {
            path: path.to_owned(),
            found,
            supported: version,
        });
    }
    let count = lines.next_as("a number of entries", |text| text.parse::<usize>().ok())?;
    // The capacity is bounded by the file: an entry takes two bytes at least.
    let mut entries = Vec::with_capacity(count.min(bytes.len() / 2));
    for _ in 0..count {
        entries.push(lines.next_as("an entry", &parse)?);
    }
    if lines.rest.is_empty() {
        Ok(Some(entries))
    } else {
        lines.line += 1;
        lines.position = lines.next_position;
        Err(lines.malformed(format!("more follows after the last of {count} entries")))
    }
}

/// Walks over lines and knows where it is.
struct Lines<'a> {
    path: &'a Path,
    rest: &'a [u8],
    line: usize,
    position: u64,
    next_position: u64,
}

impl Lines<'_> {
    fn next_as<T>(
        &mut self,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, CheckpointError> {
        self.line += 1;
        self.position = self.next_position;
        // A line without its end was cut: its last field may have lost digits.
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            return Err(self.malformed(format!("the file ends where {expected} should stand")));
        };
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        self.next_position += u64::try_from(end + 1).expect("a usize fits u64 here");
        let value = std::str::from_utf8(line).ok().and_then(parse);
        value.ok_or_else(|| {
            let found = String::from_utf8_lossy(&line[..line.len().min(80)]);
            self.malformed(format!("{found:?} is not {expected}"))
        })
    }

    fn malformed(&self, what: String) -> CheckpointError {
        let path = self.path.to_owned();
        CheckpointError::Malformed { path, line: self.line, position: self.position, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::os::OsDevice;

    fn parse_pair(line: &str) -> Option<(i32, i64)> {
        let (epoch, offset) = line.split_once(' ')?;
        Some((epoch.parse().ok()?, offset.parse().ok()?))
    }

    fn read_text(text: &str) -> Result<Option<Vec<(i32, i64)>>, CheckpointError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leader-epoch-checkpoint");
        write_atomic(&OsDevice, &path, text.as_bytes()).unwrap();
        read(&OsDevice, &path, 0, parse_pair)
    }

    #[test]
    fn what_is_written_is_read_and_is_kafkas_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leader-epoch-checkpoint");
        assert!(read(&OsDevice, &path, 0, parse_pair).unwrap().is_none());
        for entries in [vec![(0, 0), (3, 17)], vec![], vec![(7, 2)]] {
            let lines: Vec<_> =
                entries.iter().map(|(epoch, offset)| format!("{epoch} {offset}")).collect();
            write(&OsDevice, &path, 0, lines.iter()).unwrap();
            assert_eq!(read(&OsDevice, &path, 0, parse_pair).unwrap(), Some(entries));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n7 2\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_reported_with_its_line() {
        let cases = [
            ("", 1, 0),
            ("0", 1, 0),
            ("zero\n0\n", 1, 0),
            ("0\n", 2, 2),
            ("0\n-1\n", 2, 2),
            ("0\n2\n0 0\n", 4, 8),
            ("0\n2\n0 0\n5 1", 4, 8),
            ("0\n2\n0 0\n5 x\n", 4, 8),
            ("0\n1\n0 0\n5 1\n", 4, 8),
            ("0\n99999999999999\n0 0\n", 4, 21),
        ];
        for (text, expected_line, expected_position) in cases {
            match read_text(text) {
                Err(CheckpointError::Malformed { line, position, .. }) => {
                    assert_eq!((line, position), (expected_line, expected_position), "{text:?}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let newer = read_text("1\n0\n");
        assert!(matches!(newer, Err(CheckpointError::OtherVersion { found: 1, .. })), "{newer:?}");
    }
}
