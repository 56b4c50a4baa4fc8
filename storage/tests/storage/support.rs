//! Builds batches, opens directories, waits for the flusher, reads logs back.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use protocol::batch::builder::{BatchBuilder, NewRecord};
use protocol::batch::{Attributes, BatchHeader, Codec, HEADER_BYTES, check_crc};
use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{BrokerId, LeaderEpoch, Offset, PartitionId, Timestamp};
use storage::config::LogConfig;
use storage::data_dir::{DataDir, DataDirConfig, Identity, JournalConfig, LogName};
use storage::device::Device;
use storage::error::{LogFailure, OpenError};
use storage::log::{AppendBatch, Log, LogListener};
use storage::read::{ReadRequest, ReadSource, Records, RecordsPiece};
use uuid::Uuid;

/// The present of all tests.
pub(crate) const NOW: Timestamp = Timestamp::new(1_700_000_000_000);
/// How long the flusher may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn open_directory(device: &Arc<dyn Device>, root: &Path) -> Result<DataDir, OpenError> {
    open_directory_with(device, root, JournalConfig::NONE)
}

pub(crate) fn open_directory_with(
    device: &Arc<dyn Device>,
    root: &Path,
    journal: JournalConfig,
) -> Result<DataDir, OpenError> {
    let config = DataDirConfig {
        open_files_max: 64,
        tail_cache_bytes_max: 64 << 10,
        page_cache_bytes_max: 1 << 20,
        pending_bytes_max: 8 << 20,
        free_bytes_min: 0,
        producer_expiration: Duration::from_secs(86_400),
    };
    DataDir::open_with_journal(Arc::clone(device), &root.join("data"), config, journal, || {
        Identity {
            cluster_id: "cluster".to_owned(),
            broker_id: BrokerId::new(1),
            directory_id: Uuid::from_u128(7),
        }
    })
}

pub(crate) fn name(topic: &str) -> LogName {
    let topic = TopicName::new(topic).unwrap();
    LogName {
        partition: TopicPartition::new(topic, PartitionId::new(0)),
        topic_id: TopicId::new(Uuid::from_u128(9)).unwrap(),
    }
}

pub(crate) fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes_max: 4096,
        index_interval_bytes: 300,
        retention: None,
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}

/// A batch of one record for each timestamp.
pub(crate) fn batch(codec: Codec, timestamps: &[i64], value: &[u8]) -> AppendBatch {
    let mut builder = BatchBuilder::new(Attributes::new(codec));
    for timestamp in timestamps {
        let record = NewRecord::of_value(Timestamp::new(*timestamp), value);
        builder = builder.with_record(&record);
    }
    let bytes = Bytes::from(builder.build().unwrap());
    let header = BatchHeader::parse(&bytes).unwrap();
    AppendBatch { header, body: bytes.slice(HEADER_BYTES..) }
}

struct Told(Sender<Result<Offset, LogFailure>>);

impl LogListener for Told {
    fn progressed(&self, finished: Offset) {
        self.0.send(Ok(finished)).ok();
    }

    fn failed(&self, failure: &LogFailure) {
        self.0.send(Err(failure.clone())).ok();
    }
}

/// What the flusher tells of one log.
pub(crate) struct Ear {
    told: Receiver<Result<Offset, LogFailure>>,
    heard: Cell<Offset>,
}

pub(crate) fn listen(log: &Log) -> Ear {
    let (sender, receiver) = channel();
    log.set_listener(Arc::new(Told(sender)));
    Ear { told: receiver, heard: Cell::new(Offset::NONE) }
}

impl Ear {
    /// Waits until `end` is finished or the log has failed.
    pub(crate) fn wait_for(&self, end: Offset) -> Result<(), LogFailure> {
        while self.heard.get() < end {
            self.heard.set(self.told.recv_timeout(PATIENCE).expect("the flusher tells in time")?);
        }
        Ok(())
    }

    /// Whether anything at or above `end` was told so far.
    pub(crate) fn has_heard(&self, end: Offset) -> bool {
        for told in self.told.try_iter().flatten() {
            self.heard.set(told);
        }
        self.heard.get() >= end
    }
}

/// Appends one batch and returns the offset after it.
pub(crate) fn append(log: &Log, batch: AppendBatch) -> Offset {
    log.append(batch, LeaderEpoch::ZERO, NOW).unwrap().next_offset
}

pub(crate) fn bytes_of(records: &Records) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &records.pieces {
        match piece {
            RecordsPiece::Memory(piece) => bytes.extend_from_slice(piece),
            RecordsPiece::File(slice) => {
                let mut piece = vec![0; slice.len];
                slice.file.read_exact_at(&mut piece, slice.position).unwrap();
                bytes.extend(piece);
            }
        }
    }
    assert_eq!(bytes.len(), records.bytes);
    bytes
}

/// The whole batches at the start of `bytes`: header and body.
pub(crate) fn batches_of(mut bytes: &[u8]) -> Vec<(BatchHeader, Vec<u8>)> {
    let mut found = Vec::new();
    while let Ok(header) = check_crc(bytes) {
        let (batch, rest) = bytes.split_at(header.batch_bytes());
        found.push((header, batch[HEADER_BYTES..].to_vec()));
        bytes = rest;
    }
    found
}

/// Everything from `from` up to `end`, as a consumer reads it.
pub(crate) fn read_all(log: &Log, from: Offset, end: Offset) -> Vec<(BatchHeader, Vec<u8>)> {
    let mut found = Vec::new();
    let mut next = from;
    while next < end {
        let request = ReadRequest {
            from: next,
            end,
            bytes_max: 1000,
            at_least_one: true,
            source: ReadSource::Any,
        };
        let records = match log.read_nonblocking(request).unwrap() {
            Some(records) => records,
            None => log.read_blocking(request).unwrap(),
        };
        let batches = batches_of(&bytes_of(&records));
        next = batches.last().expect("a read below the end returns a batch").0.next_offset();
        found.extend(batches);
    }
    found
}
