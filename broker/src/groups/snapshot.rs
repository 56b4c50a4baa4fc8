//! What the log of one partition of `__consumer_offsets` amounts to at one point: the last value of
//! every key. It bounds what a start reads, and is worth nothing beyond that: it is made from the log
//! alone, and a missing one, or one that does not fit the log, is made anew.
//!
//! ```text
//! all fields big-endian
//! ├ 8 bytes "MPGROUPS" ┼ u32 version ┼ u32 crc32c of the rest ┤
//! ├ 16 bytes topic id ┼ i32 partition ┼ i64 end of the log that it covers, exclusive ┼ u32 count ┤
//! then each record: ├ u32 length ┼ key ┼ u32 length ┼ value ┤
//! ```

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use protocol::types::Offset;
use storage::checkpoint;
use storage::data_dir::LogName;
use storage::device::Device;
use storage::error::OpenError;

use super::log_reader::{self, LogReadError};
use crate::partition::Partition;

const MAGIC: [u8; 8] = *b"MPGROUPS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
/// Bytes before the records, after the header.
const FIXED_BYTES: usize = 32;
/// The directory of these files, in the data directory.
const DIRECTORY: &str = "groups";
/// More is not written: the log is read from its start then.
const BYTES_MAX: usize = 200 << 20;

/// The last value of every key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The end of the log that it covers, exclusive.
    pub(super) end: Offset,
    /// Values by keys, as they stand in the log.
    pub(super) records: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// Why a snapshot was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] OpenError),
    /// There is too much of it.
    #[error("the groups of one partition take {0} bytes, which is more than a snapshot may have")]
    TooLarge(usize),
}

/// The file of one partition.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    device: Arc<dyn Device>,
    directory: PathBuf,
    path: PathBuf,
    log: LogName,
}

impl SnapshotFile {
    /// The file of `log` in the data directory `data`.
    pub(super) fn new(device: Arc<dyn Device>, data: &Path, log: LogName) -> Self {
        let directory = data.join(DIRECTORY);
        let path = directory.join(format!("{}.snapshot", log.partition.partition));
        Self { device, directory, path, log }
    }

    /// The snapshot, if there is one whose end lies in `fitting`. One that does not fit is removed: the
    /// log may grow to where it would seem to. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]. A damaged file is no error: it is reported, and removed.
    pub(super) fn read(
        &self,
        fitting: RangeInclusive<Offset>,
    ) -> Result<Option<Snapshot>, OpenError> {
        let Some(bytes) = checkpoint::read_whole(&*self.device, &self.path)? else {
            return Ok(None);
        };
        match decode(&bytes, &self.log) {
            Some(snapshot) if fitting.contains(&snapshot.end) => return Ok(Some(snapshot)),
            Some(snapshot) => {
                let (path, end) = (self.path.display(), snapshot.end);
                tracing::info!(%path, %end, "the snapshot of groups does not fit the log");
            }
            None => {
                let path = self.path.display();
                tracing::warn!(%path, "the snapshot of groups is not this log's, or is damaged");
            }
        }
        let failed = |cause| OpenError::Io { path: self.path.clone(), operation: "remove", cause };
        self.device.remove_file(&self.path).map_err(failed)?;
        self.device.sync_dir(&self.directory).map_err(failed)?;
        Ok(None)
    }

    /// Makes a new snapshot of everything that is committed, out of the old one and the log after it;
    /// its bytes. Blocks.
    pub(super) fn renew(&self, partition: &Partition) -> Result<usize, SnapshotError> {
        let pointers = partition.replica.pointers();
        let end = pointers.high_watermark;
        let old = self.read(pointers.log_start_offset..=end)?;
        let start = Snapshot { end: pointers.log_start_offset, records: BTreeMap::new() };
        let mut snapshot = old.unwrap_or(start);
        let records = &mut snapshot.records;
        log_reader::read(partition, snapshot.end, end, |_, record| {
            match (record.key, record.value) {
                (Some(key), Some(value)) => drop(records.insert(key.into(), value.into())),
                (Some(key), None) => drop(records.remove(key)),
                (None, _) => {}
            }
            Ok::<_, LogReadError>(())
        })?;
        snapshot.end = end;
        let bytes = encode(&snapshot, &self.log);
        if bytes.len() > BYTES_MAX {
            return Err(SnapshotError::TooLarge(bytes.len()));
        }
        self.make_directory()?;
        checkpoint::write_atomic(&*self.device, &self.path, &bytes).map_err(OpenError::from)?;
        Ok(bytes.len())
    }

    fn make_directory(&self) -> Result<(), OpenError> {
        match self.device.create_dir(&self.directory) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                Err(OpenError::Io { path: self.directory.clone(), operation: "create", cause })
            }
            // Whether its name is durable does not matter: without it there is no snapshot.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn encode(snapshot: &Snapshot, log: &LogName) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a record is below 2 GiB");
    let mut body = Vec::with_capacity(FIXED_BYTES);
    body.put_slice(log.topic_id.get().as_bytes());
    body.put_i32(log.partition.partition.get());
    body.put_i64(snapshot.end.get());
    body.put_u32(u32::try_from(snapshot.records.len()).expect("keys are fewer than 2^32"));
    for (key, value) in &snapshot.records {
        body.put_u32(length(key));
        body.put_slice(key);
        body.put_u32(length(value));
        body.put_slice(value);
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.put_slice(&MAGIC);
    out.put_u32(VERSION);
    out.put_u32(crc32c::crc32c(&body));
    out.append(&mut body);
    out
}

/// `None` if this is not a whole snapshot of `log` in a version that is known.
fn decode(mut bytes: &[u8], log: &LogName) -> Option<Snapshot> {
    if bytes.len() < HEADER_BYTES + FIXED_BYTES || !bytes.starts_with(&MAGIC) {
        return None;
    }
    bytes.advance(MAGIC.len());
    let (version, crc) = (bytes.get_u32(), bytes.get_u32());
    if version != VERSION || crc32c::crc32c(bytes) != crc {
        return None;
    }
    let (topic_id, rest) = bytes.split_first_chunk::<16>()?;
    bytes = rest;
    let partition = bytes.get_i32();
    if topic_id != log.topic_id.get().as_bytes() || partition != log.partition.partition.get() {
        return None;
    }
    let end = Offset::new(bytes.get_i64());
    let mut records = BTreeMap::new();
    for _ in 0..bytes.get_u32() {
        let key = take(&mut bytes)?;
        records.insert(key, take(&mut bytes)?);
    }
    bytes.is_empty().then_some(Snapshot { end, records })
}

fn take(bytes: &mut &[u8]) -> Option<Box<[u8]>> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken.into())
}

#[cfg(test)]
mod tests {
    use protocol::batch::builder::{BatchBuilder, NewRecord};
    use protocol::batch::{Attributes, Codec};
    use protocol::group_record::{CommittedOffset, GroupRecord, OffsetKey};
    use protocol::types::Timestamp;

    use super::*;
    use crate::groups::load;
    use crate::test_node::{START, TestNode};

    fn file(node: &TestNode, partition: &Partition) -> SnapshotFile {
        let data = &node.data_dir;
        SnapshotFile::new(Arc::clone(data.device()), data.path(), partition.name.clone())
    }

    /// Writes a commit, or forgets one.
    async fn commit(node: &TestNode, partition: &Partition, group: &str, offset: Option<i64>) {
        let key = OffsetKey { group: Arc::from(group), topic: Arc::from("t"), partition: 0 };
        let value = offset.map(|offset| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: Arc::from("note"),
            committed_at: 5,
            expires_at: None,
            topic_id: None,
        });
        let record = GroupRecord::Offset(key, value);
        let (key, value) = (record.encode_key(), record.encode_value());
        let record = NewRecord {
            timestamp: Timestamp::new(START),
            key: Some(&key),
            value: value.as_deref(),
            headers: &[],
        };
        let builder = BatchBuilder::new(Attributes::new(Codec::None)).with_record(&record);
        let partition = partition.name.partition.partition.get();
        let produced = node.produce("t", partition, builder.build().unwrap().into()).await;
        assert_eq!(produced.error_code, 0);
    }

    #[tokio::test]
    async fn a_snapshot_and_the_rest_of_the_log_are_the_whole_log() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let partition = node.partition("t", 0);
        for offset in 0..20 {
            commit(&node, &partition, "a", Some(offset)).await;
            commit(&node, &partition, "b", Some(offset)).await;
        }
        commit(&node, &partition, "b", None).await;
        let whole = load::load(&partition, &file(&node, &partition)).unwrap();
        let bytes = file(&node, &partition).renew(&partition).unwrap();
        assert!(bytes < whole.log_bytes / 10, "{bytes} of {}", whole.log_bytes);
        let short = load::load(&partition, &file(&node, &partition)).unwrap();
        assert_eq!((short.replay, short.log_bytes), (whole.replay, 0));

        commit(&node, &partition, "a", None).await;
        commit(&node, &partition, "c", Some(7)).await;
        let both = load::load(&partition, &file(&node, &partition)).unwrap();
        assert_eq!(both.replay.groups.keys().map(|name| &**name).collect::<Vec<_>>(), ["c"]);
        file(&node, &partition).renew(&partition).unwrap();
        let renewed = load::load(&partition, &file(&node, &partition)).unwrap();
        assert_eq!((renewed.replay, renewed.log_bytes), (both.replay, 0));
    }

    #[tokio::test]
    async fn a_snapshot_that_is_damaged_or_not_this_logs_is_made_anew() {
        let node = TestNode::new(&[("t", 2, &[])]).await;
        let partition = node.partition("t", 0);
        commit(&node, &partition, "a", Some(1)).await;
        let file = file(&node, &partition);
        file.renew(&partition).unwrap();
        let whole = load::load(&partition, &file).unwrap().replay;
        let sound = std::fs::read(&file.path).unwrap();
        let other = node.partition("t", 1);
        assert!(decode(&sound, &partition.name).is_some());
        assert_eq!(decode(&sound, &other.name), None, "another partition's");
        for position in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[position] ^= 0x40;
            assert_eq!(decode(&damaged, &partition.name), None, "position {position}");
            assert_eq!(decode(&sound[..position], &partition.name), None, "cut at {position}");
        }
        // Beyond the end of the log: what follows there would be something else.
        let beyond = Snapshot { end: Offset::new(99), records: BTreeMap::new() };
        checkpoint::write_atomic(&*file.device, &file.path, &encode(&beyond, &partition.name))
            .unwrap();
        assert_eq!(load::load(&partition, &file).unwrap().replay, whole);
        assert!(!file.path.exists());
    }
}
