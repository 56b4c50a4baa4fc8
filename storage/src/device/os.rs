//! The device that is really there: thin safe wrappers over system calls.
//!
//! Holds no state besides open files. Interrupted calls are repeated, short writes are continued; an
//! error is never retried.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};

use super::{Advice, Device, DeviceFile, DirectoryEntry, OpenMode, Space, WriteError};

/// Buffers that one system call takes (`IOV_MAX` of Linux).
const BUFFERS_PER_CALL_MAX: usize = 1024;

/// The operating system's file systems.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsDevice;

impl Device for OsDevice {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(DirectoryEntry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_directory: entry.file_type()?.is_dir(),
                })
            })
            .collect()
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DeviceFile>> {
        Ok(Arc::new(OsFile::open(path, mode)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_filesystem(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let status = rustix::fs::statvfs(path)?;
        Ok(Space {
            free_bytes: status.f_bavail.saturating_mul(status.f_frsize),
            total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
        })
    }
}

/// An open file of the operating system.
#[derive(Debug)]
pub(super) struct OsFile {
    file: Arc<File>,
    /// Whether a write returns only when it is durable.
    writes_through: bool,
}

impl OsFile {
    /// Opens without creating anything but what `mode` says.
    pub(super) fn open(path: &Path, mode: OpenMode) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Journal => return Self::open_journal(path, options),
        }
        Ok(Self { file: Arc::new(options.open(path)?), writes_through: false })
    }

    fn open_journal(path: &Path, mut options: OpenOptions) -> io::Result<Self> {
        options.write(true).create(true).truncate(false);
        let flags = |flags: OFlags| i32::try_from(flags.bits()).expect("flags of the platform");
        let durable = OFlags::DSYNC;
        let opened = match options.custom_flags(flags(durable | OFlags::DIRECT)).open(path) {
            // Not every file system can go past the page cache.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                options.custom_flags(flags(durable)).open(path)
            }
            opened => opened,
        };
        Ok(Self { file: Arc::new(opened?), writes_through: true })
    }

    /// Writes what one call takes; continues after a short write.
    fn write_some_at(&self, buffers: &[IoSlice<'_>], position: u64) -> Result<usize, WriteError> {
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut written = self.write_once_at(buffers, position, 0)?;
        if written == total {
            return Ok(written);
        }
        let mut rest = buffers.to_vec();
        let mut rest = rest.as_mut_slice();
        IoSlice::advance_slices(&mut rest, written);
        while written < total {
            let more = self.write_once_at(rest, position, written)?;
            written += more;
            IoSlice::advance_slices(&mut rest, more);
        }
        Ok(written)
    }

    /// Writes what the operating system takes at once, `written` bytes behind `position`.
    fn write_once_at(
        &self,
        rest: &[IoSlice<'_>],
        position: u64,
        written: usize,
    ) -> Result<usize, WriteError> {
        let at = position + u64::try_from(written).expect("a usize fits u64 here");
        loop {
            match rustix::io::pwritev(&*self.file, rest, at) {
                Ok(0) if rest.iter().any(|buffer| !buffer.is_empty()) => {
                    return Err(WriteError { written, cause: io::ErrorKind::WriteZero.into() });
                }
                Ok(more) => return Ok(more),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(WriteError { written, cause: errno.into() }),
            }
        }
    }
}

impl DeviceFile for OsFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> Result<(), WriteError> {
        let mut written = 0;
        for some in buffers.chunks(BUFFERS_PER_CALL_MAX) {
            let at = position + u64::try_from(written).expect("a usize fits u64 here");
            match self.write_some_at(some, at) {
                Ok(more) => written += more,
                Err(error) => {
                    return Err(WriteError { written: written + error.written, ..error });
                }
            }
        }
        Ok(())
    }

    fn write_durable_at(&self, buffer: &[u8], position: u64) -> Result<(), WriteError> {
        self.write_at(buffer, position)?;
        if self.writes_through {
            return Ok(());
        }
        self.sync_data().map_err(|cause| WriteError { written: buffer.len(), cause })
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = position + u64::try_from(filled).expect("a usize fits u64 here");
            match self.file.read_at(&mut buffer[filled..], at) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut buffers = [IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&*self.file, &mut buffers, position, ReadWriteFlags::NOWAIT) {
            // Some file systems cannot tell what is in memory: then nothing is, for the caller.
            Err(Errno::OPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&*self.file, keep, position, bytes)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn advise(&self, position: u64, bytes: u64, advice: Advice) {
        let advice = match advice {
            Advice::WillNeed => rustix::fs::Advice::WillNeed,
            Advice::DontNeed => rustix::fs::Advice::DontNeed,
            Advice::NothingAhead => rustix::fs::Advice::Random,
            Advice::Usual => rustix::fs::Advice::Normal,
        };
        if let Some(bytes) = NonZeroU64::new(bytes) {
            let advised = rustix::fs::fadvise(&*self.file, position, Some(bytes), advice);
            if let Err(errno) = advised {
                tracing::trace!(%errno, "the page cache took no advice");
            }
        }
    }

    fn std_file(&self) -> &Arc<File> {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_buffers_are_written_in_order_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDevice.open(&directory.path().join("log"), OpenMode::CreateNew).unwrap();
        let pieces: Vec<Vec<u8>> = (0..3000_u16).map(|n| n.to_be_bytes().repeat(3)).collect();
        let buffers: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        file.write_vectored_at(&buffers, 5).unwrap();
        let expected = [&[0; 5][..], &pieces.concat()].concat();
        assert_eq!(file.size().unwrap(), 18_005);
        let mut found = vec![0xff; 20_000];
        assert_eq!(file.read_at(&mut found, 0).unwrap(), 18_005);
        assert_eq!(found[..18_005], expected);
        // Just written, so it is in memory, unless the file system cannot tell.
        match file.read_at_nowait(&mut found[..10], 0) {
            Ok(read) => assert_eq!(found[..read], expected[..read]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn a_write_without_room_tells_how_far_it_came() {
        let full = OsFile::open(Path::new("/dev/full"), OpenMode::Write).unwrap();
        let error = full.write_at(b"bytes", 0).unwrap_err();
        assert_eq!((error.written, error.cause.kind()), (0, io::ErrorKind::StorageFull));
    }

    #[test]
    fn modes_create_what_they_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let kind = |mode| OsDevice.open(&path, mode).map(drop).map_err(|error| error.kind());
        assert_eq!(kind(OpenMode::Read), Err(io::ErrorKind::NotFound));
        assert_eq!(kind(OpenMode::Write), Err(io::ErrorKind::NotFound));
        assert_eq!(kind(OpenMode::CreateNew), Ok(()));
        assert_eq!(kind(OpenMode::CreateNew), Err(io::ErrorKind::AlreadyExists));
        OsDevice.open(&path, OpenMode::Write).unwrap().write_at(b"kept", 0).unwrap();
        assert_eq!(OsDevice.open(&path, OpenMode::Create).unwrap().size().unwrap(), 4);
    }
}
