//! Whose a directory is: recognising, initialising and reading it.
//!
//! ```text
//! millpond.format    format=1                     written first: from here on it is ours
//! meta.properties    version=1                    Kafka's file, with Kafka's names
//!                    cluster.id=...
//!                    node.id=1
//!                    directory.id=...             base64url, as Kafka prints ids
//! ```
//! Nothing is written into a directory that holds something foreign. A directory with Kafka's
//! `meta.properties` and without our `millpond.format` is Kafka's.

use std::io;
use std::path::{Path, PathBuf};

use protocol::types::BrokerId;
use uuid::Uuid;

use super::Identity;
use super::format::{self, Format};
use super::lock::LOCK_FILE;
use super::uuid_text;
use crate::checkpoint;
use crate::device::Device;
use crate::error::OpenError;

const IDENTITY_FILE: &str = "meta.properties";
const IDENTITY_VERSION: u32 = 1;

/// What may lie in a directory that nobody uses yet: what mounting or a first start that was cut
/// short leaves.
const HARMLESS_NAMES: [&str; 3] = [LOCK_FILE, "lost+found", "millpond.format.tmp"];

/// What a directory turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Nobody's: to be initialised.
    Fresh,
    /// Ours.
    Ours,
}

/// Looks at the names in `directory`, which exists, and writes nothing.
///
/// # Errors
/// [`OpenError::NotOurs`], [`OpenError::Io`].
pub(super) fn recognise(device: &dyn Device, directory: &Path) -> Result<Ownership, OpenError> {
    let mut entries = device.list(directory).map_err(|cause| OpenError::Io {
        path: directory.to_owned(),
        operation: "list as a directory",
        cause,
    })?;
    if entries.iter().any(|entry| entry.name == format::FILE_NAME) {
        return Ok(Ownership::Ours);
    }
    entries.sort();
    match entries.into_iter().find(|entry| !HARMLESS_NAMES.contains(&entry.name.as_str())) {
        Some(foreign) => {
            Err(OpenError::NotOurs { path: directory.to_owned(), found: foreign.name })
        }
        None => Ok(Ownership::Fresh),
    }
}

/// Whose `directory` is; `None` if it is nobody's yet or does not exist. Writes nothing.
///
/// # Errors
/// As [`recognise`] and [`read_or_initialise`].
pub(super) fn peek(device: &dyn Device, directory: &Path) -> Result<Option<Identity>, OpenError> {
    match device.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    if recognise(device, directory)? == Ownership::Fresh {
        return Ok(None);
    }
    read_format(device, directory)?;
    let properties = Properties::read(device, &directory.join(IDENTITY_FILE))?;
    properties.map(|properties| properties.identity()).transpose()
}

/// Reads who the directory belongs to, or makes it ours and asks `identity` if it is fresh.
///
/// # Errors
/// [`OpenError::NewerFormat`], [`OpenError::Corrupt`], [`OpenError::Io`].
pub(super) fn read_or_initialise(
    device: &dyn Device,
    directory: &Path,
    ownership: Ownership,
    identity: impl FnOnce() -> Identity,
) -> Result<Identity, OpenError> {
    if ownership == Ownership::Fresh {
        format::write(device, directory, Format::Plain)?;
    } else {
        read_format(device, directory)?;
    }
    let path = directory.join(IDENTITY_FILE);
    if let Some(properties) = Properties::read(device, &path)? {
        return properties.identity();
    }
    // A first start may be cut short between the two files; later the identity must be there.
    let is_log = |name: &str| super::log_directory::parse(name).is_some();
    let entries = device.list(directory).map_err(|cause| OpenError::Io {
        path: directory.to_owned(),
        operation: "list as a directory",
        cause,
    })?;
    if entries.iter().any(|entry| entry.is_directory && is_log(&entry.name)) {
        let what = "missing, although the directory holds logs".to_owned();
        return Err(OpenError::Corrupt { path, position: 0, what });
    }
    write(device, &path, &identity())
}

/// Writes the identity and returns it as it reads back, so that a value that the file cannot hold
/// is found now and not at the next start.
fn write(device: &dyn Device, path: &Path, identity: &Identity) -> Result<Identity, OpenError> {
    let text = format!(
        "version={IDENTITY_VERSION}\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
        identity.cluster_id,
        identity.broker_id,
        uuid_text::encode(identity.directory_id),
    );
    let properties = Properties { path: path.to_owned(), text };
    if properties.identity().ok().as_ref() != Some(identity) {
        let cause = io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{identity:?} is not a legal identity"),
        );
        return Err(OpenError::Io { path: path.to_owned(), operation: "write", cause });
    }
    checkpoint::write_atomic(device, path, properties.text.as_bytes())?;
    properties.identity()
}

/// The layout of a directory that is ours.
///
/// # Errors
/// [`OpenError::NewerFormat`], [`OpenError::Corrupt`], [`OpenError::Io`].
pub(super) fn read_format(device: &dyn Device, directory: &Path) -> Result<Format, OpenError> {
    let path = directory.join(format::FILE_NAME);
    let properties = Properties::read(device, &path)?;
    let properties =
        properties.unwrap_or_else(|| Properties { path: path.clone(), text: String::new() });
    let found: u32 = properties.number(format::KEY)?;
    let supported = format::VERSION_MAX;
    Format::of_version(found).ok_or(OpenError::NewerFormat { path, found, supported })
}

/// A file of `key=value` lines; `#` begins a comment.
struct Properties {
    path: PathBuf,
    text: String,
}

impl Properties {
    fn read(device: &dyn Device, path: &Path) -> Result<Option<Self>, OpenError> {
        let Some(bytes) = checkpoint::read_whole(device, path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| OpenError::Corrupt {
            path: path.to_owned(),
            position: u64::try_from(error.utf8_error().valid_up_to()).unwrap_or(0),
            what: "not text".to_owned(),
        })?;
        Ok(Some(Self { path: path.to_owned(), text }))
    }

    fn identity(&self) -> Result<Identity, OpenError> {
        let found: u32 = self.number("version")?;
        if found > IDENTITY_VERSION {
            let path = self.path.clone();
            return Err(OpenError::NewerFormat { path, found, supported: IDENTITY_VERSION });
        }
        let directory_id: Uuid = uuid_text::decode(self.value("directory.id")?)
            .ok_or_else(|| self.corrupt("directory.id is not an id"))?;
        Ok(Identity {
            cluster_id: self.value("cluster.id")?.to_owned(),
            broker_id: BrokerId::new(self.number("node.id")?),
            directory_id,
        })
    }

    fn value(&self, key: &str) -> Result<&str, OpenError> {
        let lines = self.text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let mut pairs = lines.filter_map(|line| line.split_once('='));
        let value = pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
        value.filter(|value| !value.is_empty()).ok_or_else(|| self.corrupt(&format!("no {key}")))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, OpenError> {
        let value = self.value(key)?;
        value.parse().ok().ok_or_else(|| self.corrupt(&format!("{key} is {value:?}, not a number")))
    }

    fn corrupt(&self, what: &str) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), position: 0, what: what.to_owned() }
    }
}
