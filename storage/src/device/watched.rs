//! A device whose calls are noted while they are under way, so that one that does not return is found.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::{Advice, Device, DeviceFile, DirectoryEntry, OpenMode, Space, WriteError};
use crate::fitness::DiskWatch;

/// Another device, watched.
#[derive(Debug)]
pub(crate) struct WatchedDevice {
    device: Arc<dyn Device>,
    watch: Arc<DiskWatch>,
}

impl WatchedDevice {
    pub(crate) fn over(device: Arc<dyn Device>, watch: Arc<DiskWatch>) -> Arc<dyn Device> {
        Arc::new(Self { device, watch })
    }

    fn during<T>(&self, operation: &'static str, path: &Path, call: impl FnOnce() -> T) -> T {
        self.watch.during(operation, &Arc::from(path), call)
    }
}

impl Device for WatchedDevice {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.during("creation", path, || self.device.create_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.device.list(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DeviceFile>> {
        let file = match mode {
            OpenMode::Read => return self.device.open(path, mode),
            _ => self.during("opening", path, || self.device.open(path, mode))?,
        };
        let (watch, path) = (Arc::clone(&self.watch), Arc::from(path));
        Ok(Arc::new(WatchedFile { file, watch, path }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.during("renaming", from, || self.device.rename(from, to))
    }

    // Removing a large file may take long on a disk that is well.
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.device.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.device.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.during("sync", path, || self.device.sync_dir(path))
    }

    fn sync_filesystem(&self, path: &Path) -> io::Result<()> {
        self.during("sync of the file system", path, || self.device.sync_filesystem(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.device.space(path)
    }

    fn boot_id(&self) -> io::Result<String> {
        self.device.boot_id()
    }
}

/// A file that may be written.
#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn DeviceFile>,
    watch: Arc<DiskWatch>,
    path: Arc<Path>,
}

impl WatchedFile {
    fn during<T>(&self, operation: &'static str, call: impl FnOnce() -> T) -> T {
        self.watch.during(operation, &self.path, call)
    }
}

impl DeviceFile for WatchedFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> Result<(), WriteError> {
        self.during("write", || self.file.write_vectored_at(buffers, position))
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> Result<(), WriteError> {
        self.during("write", || self.file.write_at(buffer, position))
    }

    fn write_durable_at(&self, buffer: &[u8], position: u64) -> Result<(), WriteError> {
        self.during("write", || self.file.write_durable_at(buffer, position))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at_nowait(buffer, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.during("sync", || self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.during("sync", || self.file.sync_all())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.during("change of the length", || self.file.set_len(bytes))
    }

    fn allocate(&self, position: u64, bytes: u64) -> io::Result<()> {
        self.during("reservation", || self.file.allocate(position, bytes))
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn advise(&self, position: u64, bytes: u64, advice: Advice) {
        self.file.advise(position, bytes, advice);
    }

    fn std_file(&self) -> &Arc<File> {
        self.file.std_file()
    }
}
