//! The directory of one log: its name, the topic id in it, making it and taking it away.
//!
//! ```text
//! orders-3/                        a log
//!   partition.metadata             version: 0
//!                                  topic_id: <base64url>
//! orders-3.<32 hex digits>-delete/ a deleted log, about to be removed
//! orders-3.<32 hex digits>-stray/  a log that no topic knew, kept for its owner to look at
//! ```
//! Names and content are Kafka's. A log exists once its directory holds `partition.metadata`: one
//! without it is a creation that was cut short, has never held a record, and is completed or ignored.

use std::io;
use std::path::Path;

use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::PartitionId;
use uuid::Uuid;

use super::{LogName, uuid_text};
use crate::checkpoint;
use crate::device::{Device, OpenMode};
use crate::error::OpenError;
use crate::log::entries::LogKind;
use crate::log::entries::open::START_FILE;
use crate::recovery::io_error;
use crate::segment::LOG_SUFFIX;

const METADATA_FILE: &str = "partition.metadata";
const DELETED_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";

/// The longest file name of common file systems.
const NAME_BYTES_MAX: usize = 255;

/// The partition whose log a directory name stands for; `None` for any other name.
pub(super) fn parse(name: &str) -> Option<TopicPartition> {
    let (topic, digits) = name.rsplit_once('-')?;
    let partition: i32 = digits.parse().ok().filter(|partition| *partition >= 0)?;
    // One partition has one name: no sign, no leading zeros.
    if partition.to_string() != digits {
        return None;
    }
    Some(TopicPartition::new(TopicName::new(topic).ok()?, PartitionId::new(partition)))
}

/// Of which kind the log in a directory is; `None` if there is none, or nothing that tells it.
///
/// # Errors
/// [`OpenError`], also for a log of another topic.
pub(super) fn kind(
    device: &dyn Device,
    name: &LogName,
    directory: &Path,
) -> Result<Option<LogKind>, OpenError> {
    let Some(found) = read_topic_id(device, directory)? else { return Ok(None) };
    refuse_other_topic(name, found, directory)?;
    let listed = device.list(directory).map_err(io_error(directory, "list"))?;
    let has = |wanted: &dyn Fn(&str) -> bool| listed.iter().any(|entry| wanted(&entry.name));
    Ok(if has(&|name| name == START_FILE) {
        Some(LogKind::Replicated)
    } else {
        has(&|name| name.ends_with(LOG_SUFFIX)).then_some(LogKind::Direct)
    })
}

/// Whether a directory name stands for a log that was deleted.
pub(super) fn is_deleted(name: &str) -> bool {
    name.ends_with(DELETED_SUFFIX)
}

/// A new name for the directory of a log that is being deleted. Cuts the topic's name if need be.
pub(super) fn deleted_name(partition: &TopicPartition) -> String {
    unique_name(partition, DELETED_SUFFIX)
}

/// A new name for the directory of a log that no topic knows. Cuts the topic's name if need be.
pub(super) fn stray_name(partition: &TopicPartition) -> String {
    unique_name(partition, STRAY_SUFFIX)
}

fn unique_name(partition: &TopicPartition, suffix: &str) -> String {
    let unique = Uuid::new_v4().simple();
    let suffix = format!("-{}.{unique}{suffix}", partition.partition);
    let topic = partition.topic.as_str();
    // A topic's name is ASCII, so it can be cut anywhere.
    let kept = topic.len().min(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &topic[..kept])
}

/// The topic id in a log's directory; `None` if its creation was cut short.
///
/// # Errors
/// [`OpenError::Corrupt`], [`OpenError::NewerFormat`], [`OpenError::Io`].
pub(super) fn read_topic_id(
    device: &dyn Device,
    directory: &Path,
) -> Result<Option<TopicId>, OpenError> {
    let path = directory.join(METADATA_FILE);
    let Some(bytes) = checkpoint::read_whole(device, &path)? else { return Ok(None) };
    // Written without a detour: after a crash in its creation it may be empty, cut or zeros.
    let text = String::from_utf8_lossy(&bytes);
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    let version = value("version").and_then(|version| version.parse::<u32>().ok());
    let id = value("topic_id").and_then(|id| uuid_text::decode(&id)).and_then(TopicId::new);
    match (version, id) {
        (Some(0), Some(id)) => Ok(Some(id)),
        (Some(found @ 1..), _) => Err(OpenError::NewerFormat { path, found, supported: 0 }),
        _ => Ok(None),
    }
}

/// Makes the directory of a new log, or completes one whose creation was cut short. Durable when it
/// returns.
///
/// # Errors
/// [`OpenError::Io`]; [`OpenError::Corrupt`] if a directory without topic id holds records.
pub(super) fn create(device: &dyn Device, parent: &Path, name: &LogName) -> Result<(), OpenError> {
    let directory = parent.join(name.partition.to_string());
    let failed = |path: &Path, operation| {
        let path = path.to_owned();
        move |cause| OpenError::Io { path, operation, cause }
    };
    match device.create_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_if_it_holds_records(device, &directory)?;
        }
        created => created.map_err(failed(&directory, "create"))?,
    }
    let path = directory.join(METADATA_FILE);
    let file = device.open(&path, OpenMode::Create).map_err(failed(&path, "create"))?;
    file.set_len(0).map_err(failed(&path, "truncate"))?;
    let text = metadata(name.topic_id);
    file.write_at(text.as_bytes(), 0).map_err(|error| failed(&path, "write")(error.cause))?;
    file.sync_all().map_err(failed(&path, "sync"))?;
    device.sync_dir(&directory).map_err(failed(&directory, "sync"))?;
    device.sync_dir(parent).map_err(failed(parent, "sync"))
}

/// Makes the topic id of a log that was found, and the names that lead to it, durable. Whoever made
/// them may have been killed before that, or after a sync had failed: so they are written anew.
///
/// # Errors
/// [`OpenError::Io`].
pub(super) fn complete(
    device: &dyn Device,
    parent: &Path,
    name: &LogName,
) -> Result<(), OpenError> {
    let directory = parent.join(name.partition.to_string());
    let text = metadata(name.topic_id);
    checkpoint::write_atomic(device, &directory.join(METADATA_FILE), text.as_bytes())?;
    let synced = device.sync_dir(parent);
    synced.map_err(|cause| OpenError::Io { path: parent.to_owned(), operation: "sync", cause })
}

fn metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", uuid_text::encode(topic_id.get()))
}

/// A log whose `partition.metadata` was lost must not be taken for a new one.
fn refuse_if_it_holds_records(device: &dyn Device, directory: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, operation| {
        let path = path.to_owned();
        move |cause| OpenError::Io { path, operation, cause }
    };
    for entry in device.list(directory).map_err(failed(directory, "list"))? {
        let path = directory.join(&entry.name);
        if entry.is_directory || path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let file = device.open(&path, OpenMode::Read).map_err(failed(&path, "open"))?;
        if file.size().map_err(failed(&path, "read"))? > 0 {
            let path = directory.join(METADATA_FILE);
            let what = format!("no topic id, although {} holds records", entry.name);
            return Err(OpenError::Corrupt { path, position: 0, what });
        }
    }
    Ok(())
}

/// All who open a log agree what it is.
///
/// # Errors
/// [`OpenError::Corrupt`].
pub(super) fn refuse_other_kind(
    found: LogKind,
    wanted: LogKind,
    directory: &Path,
) -> Result<(), OpenError> {
    if found == wanted {
        return Ok(());
    }
    let what = format!("it was opened as {found:?}, and now as {wanted:?}");
    Err(OpenError::Corrupt { path: directory.to_owned(), position: 0, what })
}

/// A topic that was deleted and made anew has another id; its old log must not be taken for it.
///
/// # Errors
/// [`OpenError::Corrupt`].
pub(super) fn refuse_other_topic(
    name: &LogName,
    found: TopicId,
    directory: &Path,
) -> Result<(), OpenError> {
    if found == name.topic_id {
        return Ok(());
    }
    Err(OpenError::Corrupt {
        path: directory.to_owned(),
        position: 0,
        what: format!("it belongs to topic id {found}, not to {}", name.topic_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_read_as_they_are_written() {
        let longest = "x".repeat(249);
        for (name, expected) in [
            ("orders-0", Some(("orders", 0))),
            ("a-b.c_d-2147483647", Some(("a-b.c_d", i32::MAX))),
            (&format!("{longest}-7"), Some((longest.as_str(), 7))),
            ("orders", None),
            ("orders-", None),
            ("-0", None),
            ("orders--1", Some(("orders-", 1))),
            ("orders-01", None),
            ("orders-+1", None),
            ("orders-2147483648", None),
            ("lost+found-0", None),
            ("orders-0.0123456789abcdef0123456789abcdef-delete", None),
        ] {
            let parsed = parse(name);
            let parts = parsed.as_ref().map(|found| (found.topic.as_str(), found.partition.get()));
            assert_eq!(parts, expected, "{name}");
            if let Some(parsed) = parsed {
                assert_eq!(parsed.to_string(), name);
                let deleted = deleted_name(&parsed);
                assert!(deleted.len() <= NAME_BYTES_MAX && is_deleted(&deleted), "{deleted}");
                assert_eq!(parse(&deleted), None);
                assert!(!is_deleted(name));
                let stray = stray_name(&parsed);
                assert_eq!((parse(&stray), is_deleted(&stray)), (None, false), "{stray}");
            }
        }
    }
}
