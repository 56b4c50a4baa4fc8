//! A device for tests that can lose power, kill its process, fail a chosen call, hang and fill up.
//!
//! It works on real files below a root directory, so that `sendfile` and mappings work, and keeps an
//! `image` of what is durable beside them. [`FaultyDevice::crash`] rewrites the root to a state
//! that the contract of [`Device`] allows after lost power, chosen by a seed. Calls are serialised;
//! a single-threaded test with one seed is repeatable.
//!
//! Never for a product: every byte written is kept in memory.

mod image;
mod random;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::io::Errno;

use self::image::{Found, Image, NodeId};
use self::random::Random;
use super::os::{OsDevice, OsFile};
use super::{Advice, Device, DeviceFile, DirectoryEntry, OpenMode, Space, WriteError};

/// What a call does, for counting and for choosing one to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Making a file or directory.
    Create,
    /// Reading bytes of a file.
    Read,
    /// Writing bytes of a file.
    Write,
    /// Syncing a file, a directory or the file system.
    Sync,
    /// Renaming.
    Rename,
    /// Removing a file or directory.
    Remove,
}

/// What happens to a chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `EIO`; the call does nothing. A failed sync makes what it covered never certain to be durable.
    Fail,
    /// `EIO` after so many bytes of a write; as [`Effect::Fail`] for any other call.
    FailAfter(usize),
    /// The power goes: this call and all that follow fail. What it did may survive the crash.
    PowerOff,
}

/// The `nth` call of its kind from now on (1 is the next) has an effect other than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which kind of call.
    pub operation: Operation,
    /// Which of them.
    pub nth: u64,
    /// What happens.
    pub effect: Effect,
}

/// The device. Paths outside its root are refused.
#[derive(Debug)]
pub struct FaultyDevice {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    boot: u32,
    state: Mutex<State>,
    /// Told when calls hang no longer.
    released: Condvar,
}

#[derive(Debug)]
struct State {
    image: Image,
    is_off: bool,
    capacity_bytes: Option<u64>,
    /// What does not return.
    hanging: BTreeSet<Operation>,
    counts: BTreeMap<Operation, u64>,
    /// Each with the count at which it strikes.
    faults: Vec<Fault>,
}

impl FaultyDevice {
    /// Works below `root`, which exists; what is in it counts as durable.
    ///
    /// # Errors
    /// Reading `root`.
    pub fn new(root: &Path) -> io::Result<Arc<Self>> {
        let image = Image::new(&read_tree(root)?);
        Ok(Self::with_image(root.to_owned(), 0, image))
    }

    fn with_image(root: PathBuf, boot: u32, image: Image) -> Arc<Self> {
        let state = State {
            image,
            is_off: false,
            capacity_bytes: None,
            hanging: BTreeSet::new(),
            counts: BTreeMap::new(),
            faults: Vec::new(),
        };
        let (state, released) = (Mutex::new(state), Condvar::new());
        Arc::new(Self { shared: Arc::new(Shared { root, boot, state, released }) })
    }

    /// Plans a fault. Several may be planned.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.shared.state.lock();
        let done = state.counts.get(&fault.operation).copied().unwrap_or(0);
        state.faults.push(Fault { nth: done + fault.nth, ..fault });
    }

    /// The file system holds at most so many bytes of files from now on; `None` is without limit.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.shared.state.lock().capacity_bytes = capacity_bytes;
    }

    /// Calls of these kinds do not return from now on, until [`FaultyDevice::release`]: then they do what
    /// they were to do. The end of the process or of the power ends them, too.
    pub fn hang(&self, operations: &[Operation]) {
        self.shared.state.lock().hanging.extend(operations);
    }

    /// Nothing hangs any more.
    pub fn release(&self) {
        self.shared.state.lock().hanging.clear();
        self.shared.released.notify_all();
    }

    /// How many calls of a kind were made, whatever became of them.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.shared.state.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// The process dies: every call on this device and its files fails from now on. The device that
    /// is returned is for the next process; what was not synced is there, and not yet durable.
    #[must_use]
    pub fn kill(&self) -> Arc<Self> {
        let mut state = self.shared.state.lock();
        state.is_off = true;
        self.shared.released.notify_all();
        Self::with_image(self.shared.root.clone(), self.shared.boot, state.image.clone())
    }

    /// Power is lost: every call on this device and its files fails from now on. The root holds then
    /// what `seed` chose of all that the contract allows; the device that is returned is for the next
    /// run of the machine.
    ///
    /// # Errors
    /// Rewriting the root.
    pub fn crash(&self, seed: u64) -> io::Result<Arc<Self>> {
        let mut state = self.shared.state.lock();
        state.is_off = true;
        self.shared.released.notify_all();
        let found = state.image.crash(&mut Random::new(seed));
        for entry in OsDevice.list(&self.shared.root)? {
            let path = self.shared.root.join(entry.name);
            if entry.is_directory { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        write_tree(&self.shared.root, &found)?;
        let image = Image::new(&found);
        Ok(Self::with_image(self.shared.root.clone(), self.shared.boot + 1, image))
    }
}

impl Device for FaultyDevice {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.change(Operation::Create, |state| {
            let place = self.shared.place(&state.image, path)?;
            OsDevice.create_dir(path)?;
            state.image.add_directory(place.directory, &place.name);
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.shared.state.lock().refuse_if_off()?;
        OsDevice.list(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DeviceFile>> {
        // Its writes are cut and copied on their way, so they go through the page cache.
        let mode = if mode == OpenMode::Journal { OpenMode::Create } else { mode };
        let state = self.shared.state.lock();
        state.refuse_if_off()?;
        if let Some(node) = self.shared.find(&state.image, path)? {
            let file = OsFile::open(path, mode)?;
            return Ok(Arc::new(FaultyFile { shared: Arc::clone(&self.shared), node, file }));
        }
        drop(state);
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
        if !creates {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.shared.change(Operation::Create, |state| {
            let place = self.shared.place(&state.image, path)?;
            let file = OsFile::open(path, mode)?;
            let node = state.image.add_file(place.directory, &place.name);
            let shared = Arc::clone(&self.shared);
            Ok(Arc::new(FaultyFile { shared, node, file }) as Arc<dyn DeviceFile>)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.change(Operation::Rename, |state| {
            let from_place = self.shared.place(&state.image, from)?;
            let to_place = self.shared.place(&state.image, to)?;
            if from_place.directory != to_place.directory {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            OsDevice.rename(from, to)?;
            state.image.rename(from_place.directory, &from_place.name, &to_place.name);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shared.remove(path, |path| OsDevice.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.remove(path, |path| OsDevice.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let node = self.shared.find(&self.shared.state.lock().image, path)?;
        let node = node.ok_or(io::ErrorKind::NotFound)?;
        self.shared.sync(|image| image.sync(node), |_| {})
    }

    fn sync_filesystem(&self, _path: &Path) -> io::Result<()> {
        self.shared.sync(Image::sync_all, Image::lose_all_changes)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let state = self.shared.state.lock();
        state.refuse_if_off()?;
        match state.capacity_bytes {
            Some(total_bytes) => Ok(Space { free_bytes: state.free_bytes(), total_bytes }),
            None => OsDevice.space(path),
        }
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(format!("{:08x}-0000-4000-8000-000000000000", self.shared.boot))
    }
}

/// Where a name stands or will stand.
struct Place {
    directory: NodeId,
    name: String,
}

impl Shared {
    /// The state, once a call of this kind may go on.
    fn lock_for(&self, operation: Operation) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let hangs = |state: &mut State| !state.is_off && state.hanging.contains(&operation);
        self.released.wait_while(&mut state, hangs);
        state
    }

    /// The names that lead from the root to `path`.
    fn names<'a>(&self, path: &'a Path) -> io::Result<Vec<&'a str>> {
        let outside = |_| io::Error::new(io::ErrorKind::InvalidInput, "outside of the test's root");
        let inside = path.strip_prefix(&self.root).map_err(outside)?;
        let names = inside.components().map(|component| match component {
            Component::Normal(name) => {
                name.to_str().ok_or_else(|| io::ErrorKind::InvalidFilename.into())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        });
        names.collect()
    }

    fn find(&self, image: &Image, path: &Path) -> io::Result<Option<NodeId>> {
        Ok(image.find(self.names(path)?.into_iter()))
    }

    fn place(&self, image: &Image, path: &Path) -> io::Result<Place> {
        let names = self.names(path)?;
        // The root itself is there already.
        let (name, parents) = names.split_last().ok_or(io::ErrorKind::AlreadyExists)?;
        let directory = image.find(parents.iter().copied()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Place { directory, name: (*name).to_owned() })
    }

    /// Makes a change that is not a write, unless a fault strikes.
    fn change<T>(
        &self,
        operation: Operation,
        make: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock_for(operation);
        match state.begin(operation)? {
            None => make(&mut state),
            Some(Effect::PowerOff) => make(&mut state).and(Err(Errno::IO.into())),
            Some(Effect::Fail | Effect::FailAfter(_)) => Err(Errno::IO.into()),
        }
    }

    /// Syncs, or loses what the sync would have covered.
    fn sync(&self, sync: impl FnOnce(&mut Image), lose: impl FnOnce(&mut Image)) -> io::Result<()> {
        let mut state = self.lock_for(Operation::Sync);
        match state.begin(Operation::Sync)? {
            None => {
                sync(&mut state.image);
                Ok(())
            }
            Some(Effect::PowerOff) => Err(Errno::IO.into()),
            Some(Effect::Fail | Effect::FailAfter(_)) => {
                lose(&mut state.image);
                Err(Errno::IO.into())
            }
        }
    }

    fn remove(&self, path: &Path, remove: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        self.change(Operation::Remove, |state| {
            let place = self.place(&state.image, path)?;
            remove(path)?;
            state.image.remove(place.directory, &place.name);
            Ok(())
        })
    }
}

impl State {
    /// Counts a call; the effect of a fault that strikes it.
    fn begin(&mut self, operation: Operation) -> io::Result<Option<Effect>> {
        self.refuse_if_off()?;
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        let nth = *count;
        let strikes = |fault: &Fault| (fault.operation, fault.nth) == (operation, nth);
        let effect = self.faults.iter().find(|fault| strikes(fault)).map(|fault| fault.effect);
        self.is_off = effect == Some(Effect::PowerOff);
        Ok(effect)
    }

    fn refuse_if_off(&self) -> io::Result<()> {
        if self.is_off { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn free_bytes(&self) -> u64 {
        let capacity = self.capacity_bytes.unwrap_or(u64::MAX);
        capacity.saturating_sub(self.image.used_bytes())
    }
}

/// An open file of a faulty device.
#[derive(Debug)]
struct FaultyFile {
    shared: Arc<Shared>,
    node: NodeId,
    file: OsFile,
}

impl DeviceFile for FaultyFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> Result<(), WriteError> {
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let failed = |written, cause| Err(WriteError { written, cause });
        let mut state = self.shared.lock_for(Operation::Write);
        let (allowed, cause) = match state.begin(Operation::Write) {
            Err(off) => return failed(0, off),
            Ok(None) => (bytes.len(), None),
            Ok(Some(Effect::Fail)) => (0, Some(Errno::IO)),
            Ok(Some(Effect::FailAfter(count))) => (count.min(bytes.len()), Some(Errno::IO)),
            Ok(Some(Effect::PowerOff)) => (bytes.len(), Some(Errno::IO)),
        };
        let size = self.size().map_err(|cause| WriteError { written: 0, cause })?;
        let room = size.saturating_sub(position).saturating_add(state.free_bytes());
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let (allowed, cause) =
            if room < allowed { (room, Some(Errno::NOSPC)) } else { (allowed, cause) };
        if allowed > 0 {
            self.file.write_at(&bytes[..allowed], position)?;
            state.image.write(self.node, in_memory(position), &bytes[..allowed]);
        }
        cause.map_or(Ok(()), |cause| failed(allowed, cause.into()))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.shared.lock_for(Operation::Read).begin(Operation::Read)? {
            None => self.file.read_at(buffer, position),
            Some(_) => Err(Errno::IO.into()),
        }
    }

    fn read_at_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.shared.state.lock().begin(Operation::Read)? {
            None => self.file.read_at_nowait(buffer, position),
            Some(_) => Err(Errno::IO.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let node = self.node;
        self.shared.sync(|image| image.sync_data(node), |image| image.lose_changes(node))
    }

    fn sync_all(&self) -> io::Result<()> {
        let node = self.node;
        self.shared.sync(|image| image.sync(node), |image| image.lose_changes(node))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.shared.change(Operation::Write, |state| {
            self.file.set_len(bytes)?;
            state.image.set_len(self.node, in_memory(bytes));
            Ok(())
        })
    }

    /// Reserves nothing: the space of a test's file system is not that of the real one.
    fn allocate(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        self.shared.state.lock().refuse_if_off()
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

fn in_memory(position: u64) -> usize {
    usize::try_from(position).expect("a test's file fits in memory")
}

fn read_tree(directory: &Path) -> io::Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for entry in OsDevice.list(directory)? {
        let path = directory.join(&entry.name);
        let inside = if entry.is_directory {
            Found::Directory(read_tree(&path)?)
        } else {
            Found::File(fs::read(&path)?)
        };
        found.insert(entry.name, inside);
    }
    Ok(found)
}

fn write_tree(directory: &Path, tree: &BTreeMap<String, Found>) -> io::Result<()> {
    for (name, found) in tree {
        let path = directory.join(name);
        match found {
            Found::File(bytes) => {
                let file = OsFile::open(&path, OpenMode::CreateNew)?;
                file.write_at(bytes, 0)?;
            }
            Found::Directory(inside) => {
                OsDevice.create_dir(&path)?;
                write_tree(&path, inside)?;
            }
        }
    }
    Ok(())
}
