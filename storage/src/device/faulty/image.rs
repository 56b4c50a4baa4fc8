//! What of a directory tree would survive lost power: pure, in memory, without a file of its own.
//!
//! A file is its durable bytes and the changes since; a directory is its durable names and the
//! changes since. A sync folds the changes in. A crash folds in some of them, by seed:
//!
//! - A write survives by sectors. A sector holds some version that it had since the last sync, never
//!   a later write without an earlier one, because a page goes to the disk whole.
//! - The length is one that the file had since the last sync. What it covers beyond the surviving
//!   sectors is zeros.
//! - Names survive as a journal would have them, up to some change, or each by itself.

use std::collections::BTreeMap;

use super::random::Random;

/// The unit in which a write is torn, in bytes.
const SECTOR_BYTES: usize = 512;

/// A file or directory, whatever its name is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u64);

/// The directory that everything is in.
pub(super) const ROOT: NodeId = NodeId(0);

#[derive(Debug, Clone)]
pub(super) struct Image {
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Debug, Clone)]
enum Node {
    File(FileImage),
    Directory(DirectoryImage),
}

#[derive(Debug, Clone, Default)]
struct FileImage {
    durable: Vec<u8>,
    changes: Vec<FileChange>,
    /// Length with all changes.
    size: usize,
}

#[derive(Debug, Clone)]
enum FileChange {
    Write {
        position: usize,
        bytes: Vec<u8>,
        /// A sync that failed covered it: no later sync makes it durable.
        is_lost: bool,
    },
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct DirectoryImage {
    durable: BTreeMap<String, NodeId>,
    live: BTreeMap<String, NodeId>,
    changes: Vec<NameChange>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add { name: String, node: NodeId },
    Remove { name: String },
    Rename { from: String, to: String, node: NodeId },
}

/// A tree as it is found after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    File(Vec<u8>),
    Directory(BTreeMap<String, Self>),
}

impl Image {
    /// An image of `found`, all of it durable.
    pub(super) fn new(found: &BTreeMap<String, Found>) -> Self {
        let mut image = Self { nodes: BTreeMap::new() };
        image.nodes.insert(ROOT, Node::Directory(DirectoryImage::default()));
        image.add_found(ROOT, found);
        image.sync_all();
        image
    }

    fn add_found(&mut self, directory: NodeId, found: &BTreeMap<String, Found>) {
        for (name, found) in found {
            match found {
                Found::File(bytes) => {
                    let node = self.add_file(directory, name);
                    self.write(node, 0, bytes);
                }
                Found::Directory(inside) => {
                    let node = self.add_directory(directory, name);
                    self.add_found(node, inside);
                }
            }
        }
    }

    /// The node that a path of names leads to.
    pub(super) fn find<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<NodeId> {
        let mut node = ROOT;
        for name in names {
            node = match &self.nodes[&node] {
                Node::Directory(directory) => *directory.live.get(name)?,
                Node::File(_) => return None,
            };
        }
        Some(node)
    }

    pub(super) fn add_file(&mut self, directory: NodeId, name: &str) -> NodeId {
        self.add(directory, name, Node::File(FileImage::default()))
    }

    pub(super) fn add_directory(&mut self, directory: NodeId, name: &str) -> NodeId {
        self.add(directory, name, Node::Directory(DirectoryImage::default()))
    }

    fn add(&mut self, directory: NodeId, name: &str, node: Node) -> NodeId {
        let id = NodeId(self.nodes.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        self.nodes.insert(id, node);
        self.change_name(directory, NameChange::Add { name: name.to_owned(), node: id });
        id
    }

    pub(super) fn remove(&mut self, directory: NodeId, name: &str) {
        self.change_name(directory, NameChange::Remove { name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, directory: NodeId, from: &str, to: &str) {
        let node = self.directory(directory).live[from];
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change_name(directory, NameChange::Rename { from, to, node });
    }

    fn change_name(&mut self, directory: NodeId, change: NameChange) {
        let directory = self.directory(directory);
        change.apply(&mut directory.live);
        directory.changes.push(change);
    }

    pub(super) fn write(&mut self, file: NodeId, position: usize, bytes: &[u8]) {
        let file = self.file(file);
        file.size = file.size.max(position + bytes.len());
        let change = FileChange::Write { position, bytes: bytes.to_vec(), is_lost: false };
        file.changes.push(change);
    }

    pub(super) fn set_len(&mut self, file: NodeId, size: usize) {
        let file = self.file(file);
        file.size = size;
        file.changes.push(FileChange::SetLen(size));
    }

    /// Makes a file's bytes durable, but not a length that shrank.
    pub(super) fn sync_data(&mut self, file: NodeId) {
        let file = self.file(file);
        let before = file.durable.len();
        let cut_off: Vec<u8> = file.durable.get(file.size..).unwrap_or_default().to_vec();
        file.sync();
        if file.size < before {
            file.durable.extend(cut_off);
            file.changes.push(FileChange::SetLen(file.size));
        }
    }

    /// Makes everything of a file or a directory durable, but not its own name.
    pub(super) fn sync(&mut self, node: NodeId) {
        match self.nodes.get_mut(&node).expect("nodes are never forgotten") {
            Node::File(file) => file.sync(),
            Node::Directory(directory) => directory.sync(),
        }
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.sync(node));
    }

    /// A sync of this file failed: what it covered is never certain to become durable.
    pub(super) fn lose_changes(&mut self, node: NodeId) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            for change in &mut file.changes {
                if let FileChange::Write { is_lost, .. } = change {
                    *is_lost = true;
                }
            }
        }
    }

    /// As [`Image::lose_changes`] for every file.
    pub(super) fn lose_all_changes(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.lose_changes(node));
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes_of(ROOT)
    }

    fn used_bytes_of(&self, node: NodeId) -> u64 {
        match &self.nodes[&node] {
            Node::File(file) => u64::try_from(file.size).expect("a usize fits u64 here"),
            Node::Directory(directory) => {
                directory.live.values().map(|inside| self.used_bytes_of(*inside)).sum()
            }
        }
    }

    /// What is found in the root after power was lost now.
    pub(super) fn crash(&self, random: &mut Random) -> BTreeMap<String, Found> {
        self.found_in(ROOT, random)
    }

    fn found_in(&self, directory: NodeId, random: &mut Random) -> BTreeMap<String, Found> {
        let Node::Directory(directory) = &self.nodes[&directory] else {
            unreachable!("called for directories");
        };
        let mut found = BTreeMap::new();
        for (name, node) in directory.crash(random) {
            let inside = match &self.nodes[&node] {
                Node::File(file) => Found::File(file.crash(random)),
                Node::Directory(_) => Found::Directory(self.found_in(node, random)),
            };
            found.insert(name, inside);
        }
        found
    }

    fn directory(&mut self, node: NodeId) -> &mut DirectoryImage {
        match self.nodes.get_mut(&node) {
            Some(Node::Directory(directory)) => directory,
            other => panic!("{node:?} is {other:?}, the real call should have failed"),
        }
    }

    fn file(&mut self, node: NodeId) -> &mut FileImage {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => file,
            other => panic!("{node:?} is {other:?}, the real call should have failed"),
        }
    }
}

impl FileImage {
    fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                FileChange::Write { position, bytes, is_lost } => {
                    let end = position + bytes.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    if !is_lost {
                        self.durable[position..end].copy_from_slice(&bytes);
                    }
                }
                FileChange::SetLen(size) => self.durable.resize(size, 0),
            }
        }
    }

    fn crash(&self, random: &mut Random) -> Vec<u8> {
        let count = self.changes.len();
        // Most crashes hit a file at one moment; the rest finds each sector at a moment of its own.
        let whole = match random.below(4) {
            0 => Some(0),
            1 => Some(count),
            2 => Some(random.below(count + 1)),
            _ => None,
        };
        let mut pick = || whole.unwrap_or_else(|| random.below(count + 1));
        let length_version = pick();
        let mut sector_versions: BTreeMap<usize, usize> = BTreeMap::new();
        let mut bytes = self.durable.clone();
        let mut size = bytes.len();
        for (version, change) in self.changes.iter().enumerate() {
            match change {
                FileChange::Write { position, bytes: written, .. } => {
                    let end = position + written.len();
                    if version < length_version {
                        size = size.max(end);
                    }
                    for (at, piece) in sectors(*position, written) {
                        let survivor =
                            *sector_versions.entry(at / SECTOR_BYTES).or_insert_with(&mut pick);
                        if version < survivor {
                            bytes.resize(bytes.len().max(at + piece.len()), 0);
                            bytes[at..at + piece.len()].copy_from_slice(piece);
                        }
                    }
                }
                FileChange::SetLen(new) if version < length_version => {
                    size = *new;
                    bytes.resize(size, 0);
                }
                FileChange::SetLen(_) => {}
            }
        }
        bytes.resize(size, 0);
        bytes
    }
}

/// The parts of a write that fall into one sector each, with their positions.
fn sectors(position: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = position;
    let end = position + bytes.len();
    std::iter::from_fn(move || {
        let from = at;
        at = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
        (from < end).then(|| (from, &bytes[from - position..at - position]))
    })
}

impl DirectoryImage {
    fn sync(&mut self) {
        self.durable.clone_from(&self.live);
        self.changes.clear();
    }

    fn crash(&self, random: &mut Random) -> BTreeMap<String, NodeId> {
        let journaled = random.below(self.changes.len() + 1);
        let in_order = random.below(2) == 0;
        let mut names = self.durable.clone();
        for (version, change) in self.changes.iter().enumerate() {
            let survives = if in_order { version < journaled } else { random.below(2) == 0 };
            if survives {
                change.apply(&mut names);
            }
        }
        names
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, NodeId>) {
        match self {
            Self::Add { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                // Under another node, `from` is a name that was used anew.
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}
