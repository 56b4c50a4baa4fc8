//! Open files, kept for reuse and bounded in number.
//!
//! Holds at most `files_max` descriptors, plus those that callers still use: a handle stays valid as
//! long as someone holds it, and one in use is not closed to make room, because that would free no
//! descriptor and only make the next caller open the file again.
//!
//! The lock is held for map operations only, never for a system call. The price is that a file may
//! be opened twice at the same time; the second handle wins nothing and is dropped.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::device::{Device, DeviceFile, OpenMode};

/// How many of the oldest handles are looked at for one that nobody uses.
const EVICTION_LOOKS_MAX: usize = 64;

/// Open files of one data directory, by path; the least recently used idle one is closed first.
#[derive(Debug)]
pub(crate) struct FileCache {
    device: Arc<dyn Device>,
    files_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<Arc<Path>, CachedFile>,
    /// Same files by last use; every entry of one map is in the other.
    by_use: BTreeMap<u64, Arc<Path>>,
    uses: u64,
    /// How often names were forgotten. A handle opened before that may be of a file that is gone.
    forgotten: u64,
}

#[derive(Debug)]
struct CachedFile {
    handle: Arc<dyn DeviceFile>,
    is_writable: bool,
    last_use: u64,
}

impl FileCache {
    /// An empty cache that keeps at most `files_max` idle files open (at least one).
    pub(crate) fn new(device: Arc<dyn Device>, files_max: usize) -> Self {
        Self { device, files_max: files_max.max(1), state: Mutex::default() }
    }

    /// A handle for `path`, opened now or before. A file opened before may be handed out for a
    /// weaker mode than it was opened for. [`OpenMode::CreateNew`] always opens.
    ///
    /// # Errors
    /// Those of [`Device::open`].
    pub(crate) fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DeviceFile>> {
        let forgotten = {
            let mut state = self.state.lock();
            if mode != OpenMode::CreateNew
                && let Some(handle) = state.find(path, mode)
            {
                return Ok(handle);
            }
            state.forgotten
        };
        let handle = match self.device.open(path, mode) {
            Err(error) if lacks_descriptors(&error) => {
                self.close_idle();
                self.device.open(path, mode)?
            }
            opened => opened?,
        };
        let mut closed = Vec::new();
        let mut state = self.state.lock();
        if state.forgotten != forgotten {
            return Ok(handle);
        }
        if mode != OpenMode::CreateNew
            && let Some(earlier) = state.find(path, mode)
        {
            return Ok(earlier);
        }
        closed.extend(state.insert(path, Arc::clone(&handle), mode));
        closed.extend(state.evict(self.files_max));
        drop(state);
        drop(closed);
        Ok(handle)
    }

    /// Drops the handle of a file that was or will be renamed or removed.
    pub(crate) fn forget(&self, path: &Path) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        let closed = state.remove(path);
        drop(state);
        drop(closed);
    }

    /// Drops the handles of all files directly in `directory`.
    pub(crate) fn forget_in(&self, directory: &Path) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        let inside = |path: &&Arc<Path>| path.parent() == Some(directory);
        let paths: Vec<Arc<Path>> = state.files.keys().filter(inside).map(Arc::clone).collect();
        let closed: Vec<_> = paths.iter().filter_map(|path| state.remove(path)).collect();
        drop(state);
        drop(closed);
    }

    /// Drops every handle.
    pub(crate) fn forget_all(&self) {
        let mut state = self.state.lock();
        state.forgotten += 1;
        let closed = (std::mem::take(&mut state.files), std::mem::take(&mut state.by_use));
        drop(state);
        drop(closed);
    }

    /// Closes every file that nobody uses: the process is out of descriptors.
    fn close_idle(&self) {
        let mut state = self.state.lock();
        let idle = |file: &(&Arc<Path>, &CachedFile)| file.1.is_idle();
        let paths: Vec<Arc<Path>> =
            state.files.iter().filter(idle).map(|(path, _)| Arc::clone(path)).collect();
        let closed: Vec<_> = paths.iter().filter_map(|path| state.remove(path)).collect();
        drop(state);
        tracing::warn!(closed_count = closed.len(), "out of file descriptors: closed idle files");
    }
}

impl State {
    fn find(&mut self, path: &Path, mode: OpenMode) -> Option<Arc<dyn DeviceFile>> {
        let file = self.files.get_mut(path)?;
        if mode != OpenMode::Read && !file.is_writable {
            return None;
        }
        self.uses += 1;
        let key = self.by_use.remove(&file.last_use).expect("both maps hold the same files");
        file.last_use = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Arc::clone(&file.handle))
    }

    /// Returns the handle that stood there before.
    fn insert(
        &mut self,
        path: &Path,
        handle: Arc<dyn DeviceFile>,
        mode: OpenMode,
    ) -> Option<Arc<dyn DeviceFile>> {
        let earlier = self.remove(path);
        let key: Arc<Path> = path.into();
        self.uses += 1;
        self.by_use.insert(self.uses, Arc::clone(&key));
        let is_writable = mode != OpenMode::Read;
        self.files.insert(key, CachedFile { handle, is_writable, last_use: self.uses });
        earlier
    }

    fn remove(&mut self, path: &Path) -> Option<Arc<dyn DeviceFile>> {
        let file = self.files.remove(path)?;
        self.by_use.remove(&file.last_use).expect("both maps hold the same files");
        Some(file.handle)
    }

    /// Takes idle files out, the oldest first, until `files_max` are left or none is found idle.
    fn evict(&mut self, files_max: usize) -> Vec<Arc<dyn DeviceFile>> {
        let mut closed = Vec::new();
        while self.files.len() > files_max {
            let is_idle = |path: &&Arc<Path>| self.files[*path].is_idle();
            let oldest = self.by_use.values().take(EVICTION_LOOKS_MAX).find(is_idle);
            let Some(path) = oldest.map(Arc::clone) else { break };
            closed.extend(self.remove(&path));
        }
        closed
    }
}

impl CachedFile {
    /// Whether closing it frees a descriptor: neither the handle nor its file is held elsewhere.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.handle) == 1 && Arc::strong_count(self.handle.std_file()) == 1
    }
}

fn lacks_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::device::os::OsDevice;

    fn cache_of(files_max: usize, names: usize) -> (tempfile::TempDir, FileCache, Vec<PathBuf>) {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<_> =
            (0..names).map(|name| directory.path().join(format!("{name}.log"))).collect();
        for path in &paths {
            OsDevice.open(path, OpenMode::CreateNew).unwrap();
        }
        (directory, FileCache::new(Arc::new(OsDevice), files_max), paths)
    }

    fn same(a: &Arc<dyn DeviceFile>, b: &Arc<dyn DeviceFile>) -> bool {
        Arc::ptr_eq(a.std_file(), b.std_file())
    }

    #[test]
    fn a_second_open_finds_the_first_unless_it_needs_to_write() {
        let (_directory, cache, paths) = cache_of(4, 1);
        let read = cache.open(&paths[0], OpenMode::Read).unwrap();
        let write = cache.open(&paths[0], OpenMode::Write).unwrap();
        let read_again = cache.open(&paths[0], OpenMode::Read).unwrap();
        assert!(!same(&read, &write));
        assert!(same(&write, &read_again));
        write.write_at(b"x", 0).unwrap();
        assert_eq!(cache.state.lock().files.len(), 1);
    }

    #[test]
    fn the_oldest_idle_file_is_closed_and_one_in_use_is_kept() {
        let (_directory, cache, paths) = cache_of(2, 4);
        let held = cache.open(&paths[0], OpenMode::Read).unwrap();
        // As a fetch response that is still being sent holds it.
        let slice = Arc::clone(cache.open(&paths[1], OpenMode::Read).unwrap().std_file());
        cache.open(&paths[2], OpenMode::Read).unwrap();
        cache.open(&paths[3], OpenMode::Read).unwrap();
        assert!(same(&held, &cache.open(&paths[0], OpenMode::Read).unwrap()));
        assert!(Arc::ptr_eq(&slice, cache.open(&paths[1], OpenMode::Read).unwrap().std_file()));
        drop((held, slice));
        cache.open(&paths[2], OpenMode::Read).unwrap();
        assert_eq!(cache.state.lock().files.len(), 2);
    }

    #[test]
    fn a_forgotten_name_leads_to_the_new_file() {
        let (directory, cache, paths) = cache_of(4, 2);
        let forgets: [&dyn Fn(); 2] =
            [&|| cache.forget(&paths[0]), &|| cache.forget_in(directory.path())];
        for forget in forgets {
            let before = cache.open(&paths[0], OpenMode::Write).unwrap();
            before.write_at(b"old", 0).unwrap();
            OsDevice.remove_file(&paths[0]).unwrap();
            forget();
            let after = cache.open(&paths[0], OpenMode::Create).unwrap();
            assert_eq!(after.size().unwrap(), 0);
            assert_eq!(before.size().unwrap(), 3);
        }
    }
}
