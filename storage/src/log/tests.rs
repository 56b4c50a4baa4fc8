//! One log over real files: what is appended is read back, from memory and from the file, before and
//! after a restart.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use protocol::batch::{Attributes, Codec};
use protocol::topic::{TopicId, TopicName, TopicPartition};
use protocol::types::{LogIndex, PartitionId, ProducerEpoch, ProducerId, Sequence};
use uuid::Uuid;

use super::entries::LogKind;
use super::*;
use crate::config::SyncPolicy;
use crate::data_dir::LogName;
use crate::device::Device;
use crate::device::os::OsDevice;
use crate::disk_syncs::DiskSyncs;
use crate::environment::{ProducerExpiration, StopKind};
use crate::error::ReadError;
use crate::file_cache::FileCache;
use crate::flusher::Flusher;
use crate::journal::{Journal, JournalConfig};
use crate::page_cache::PageCache;
use crate::read::{ReadRequest, ReadSource, Records, RecordsPiece};
use crate::space::SpaceGuard;
use crate::tail_cache::TailCache;

mod adopt;
mod crash;
mod entries;
mod entries_crash;
mod producers;

const NOW: Timestamp = Timestamp::new(1_700_000_000_000);

/// An entry of the replication layer, which takes no offset.
fn raft_only(payload_bytes: usize) -> AppendBatch {
    let AppendBatch { header, body } = batch(0, 1, payload_bytes);
    let attributes = header.attributes.with_control();
    let header = BatchHeader { attributes, last_offset_delta: -1, record_count: 0, ..header };
    AppendBatch { header: header.sealed(&body), body }
}

struct Told(Sender<Result<Offset, LogFailure>>);

impl LogListener for Told {
    fn progressed(&self, finished: Offset) {
        let _gone = self.0.send(Ok(finished));
    }

    fn failed(&self, failure: &LogFailure) {
        let _gone = self.0.send(Err(failure.clone()));
    }
}

struct Room {
    env: LogEnvironment,
    path: PathBuf,
    /// Removed with the room, unless someone else does that.
    _directory: Option<tempfile::TempDir>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.env.flusher.stop();
    }
}

impl Room {
    fn new() -> Self {
        Self::with_tail_cache(1 << 20)
    }

    fn with_tail_cache(tail_cache_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut room = Self::at(Arc::new(OsDevice), directory.path(), tail_cache_bytes);
        room._directory = Some(directory);
        room
    }

    fn at(device: Arc<dyn Device>, path: &Path, tail_cache_bytes: usize) -> Self {
        let root = path.to_owned();
        let disk_syncs = DiskSyncs::new(Arc::clone(&device), root.clone());
        let none = JournalConfig::NONE;
        let journal = Journal::new(Arc::clone(&device), Arc::clone(&disk_syncs), none);
        let page_cache = Arc::new(PageCache::new(64 << 20));
        let env = LogEnvironment {
            watch: Arc::default(),
            files: Arc::new(FileCache::new(Arc::clone(&device), 16)),
            mapped_indexes: Arc::default(),
            space: Arc::new(SpaceGuard::new(Arc::clone(&device), root.clone(), 1).unwrap()),
            flusher: Flusher::start(&disk_syncs, &page_cache, journal, 64 << 20),
            page_cache,
            disk_syncs,
            tail_cache: Arc::new(TailCache::new(tail_cache_bytes)),
            producer_expiration: ProducerExpiration::new(Duration::from_secs(86_400)),
            found_is_synced: false,
            device,
        };
        Self { env, path: root, _directory: None }
    }

    fn open(
        &self,
        config: LogConfig,
        checkpoint: Option<LogCheckpoint>,
        stop: StopKind,
    ) -> Result<Arc<Log>, crate::error::OpenError> {
        self.open_kind(LogKind::Direct, config, checkpoint, stop)
    }

    fn open_kind(
        &self,
        kind: LogKind,
        config: LogConfig,
        checkpoint: Option<LogCheckpoint>,
        stop: StopKind,
    ) -> Result<Arc<Log>, crate::error::OpenError> {
        let topic = TopicName::new("events").unwrap();
        let name = LogName {
            partition: TopicPartition::new(topic, PartitionId::new(0)),
            topic_id: TopicId::new(Uuid::from_u128(1)).unwrap(),
        };
        let wanted = open::Wanted { config, kind };
        Log::open(&self.env, self.path.clone(), &name, wanted, checkpoint, stop)
    }

    fn names(&self, suffix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(suffix)).collect();
        names.sort();
        names
    }
}

/// A batch of `count` records whose content depends on `number`; sound as far as a log looks.
fn batch(number: i64, count: i32, body_bytes: usize) -> AppendBatch {
    let fill = u8::try_from(number.rem_euclid(251)).unwrap();
    let body = Bytes::from(vec![fill; body_bytes]);
    let header = BatchHeader {
        base_offset: Offset::ZERO,
        length: 0,
        leader_epoch: LeaderEpoch::NONE,
        crc: 0,
        attributes: Attributes::new(Codec::None),
        last_offset_delta: count - 1,
        base_timestamp: NOW,
        max_timestamp: Timestamp::new(NOW.get() + number),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: count,
    };
    AppendBatch { header: header.sealed(&body), body }
}

fn listen(log: &Log) -> Receiver<Result<Offset, LogFailure>> {
    let (sender, receiver) = channel();
    log.set_listener(Arc::new(Told(sender)));
    receiver
}

fn wait_for(told: &Receiver<Result<Offset, LogFailure>>, end: Offset) {
    loop {
        let finished = told.recv_timeout(Duration::from_secs(30)).expect("the flusher tells");
        if finished.expect("the log does not fail") >= end {
            return;
        }
    }
}

fn bytes_of(records: &Records) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &records.pieces {
        match piece {
            RecordsPiece::Memory(piece) => bytes.extend_from_slice(piece),
            RecordsPiece::File(slice) => {
                use std::os::unix::fs::FileExt;
                let mut piece = vec![0; slice.len];
                slice.file.read_exact_at(&mut piece, slice.position).unwrap();
                bytes.extend(piece);
            }
        }
    }
    assert_eq!(bytes.len(), records.bytes);
    bytes
}

/// Base offsets of the whole batches in `bytes`, each checked by its CRC.
fn batches_in(mut bytes: &[u8]) -> Vec<i64> {
    let mut found = Vec::new();
    while let Ok(header) = protocol::batch::check_crc(bytes) {
        assert!(!header.is_raft_only(), "a reader must not see it");
        found.push(header.base_offset.get());
        bytes = &bytes[header.batch_bytes()..];
    }
    found
}

const fn all_from(from: i64) -> ReadRequest {
    ReadRequest {
        from: Offset::new(from),
        end: Offset::new(i64::MAX),
        bytes_max: 1 << 30,
        at_least_one: true,
        source: ReadSource::Any,
    }
}

/// Base offsets of everything from `from` to the end, read segment by segment.
fn read_all(log: &Log, from: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = Offset::new(from);
    while next < log.pointers().log_end_offset {
        let bytes = bytes_of(&log.read_blocking(all_from(next.get())).unwrap());
        let batches = batches_in(&bytes);
        let last = batches.last().expect("a read below the end returns a batch");
        let mut rest = &bytes[..];
        while let Ok(header) = BatchHeader::parse(rest) {
            next = header.next_offset();
            rest = &rest[header.batch_bytes()..];
        }
        assert!(*last < next.get());
        found.extend(batches);
    }
    found
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes_max: 4096, index_interval_bytes: 256, ..LogConfig::default() }
}

#[test]
fn what_is_appended_is_read_from_memory_and_from_files_and_after_each_kind_of_stop() {
    for stop in [StopKind::Clean, StopKind::Killed, StopKind::PowerLost] {
        let room = Room::with_tail_cache(1);
        let log = room.open(small_segments(), None, StopKind::Clean).unwrap();
        let told = listen(&log);
        let mut end = Offset::ZERO;
        for number in 0..100 {
            if number % 7 == 0 {
                let appended = log.append(raft_only(30), LeaderEpoch::ZERO, NOW).unwrap();
                assert_eq!((appended.base_offset, appended.next_offset), (end, end));
            }
            let appended = log.append(batch(number, 3, 100), LeaderEpoch::ZERO, NOW).unwrap();
            assert_eq!(appended.base_offset, end);
            end = appended.next_offset;
            let from_memory = log.read_nonblocking(all_from(appended.base_offset.get()));
            assert!(from_memory.unwrap().is_some(), "readable at once");
        }
        wait_for(&told, end);
        let expected: Vec<i64> = (0..100).map(|number| number * 3).collect();
        assert_eq!(read_all(&log, 0), expected);
        assert!(room.names(".log").len() > 3);
        let checkpoint = match stop {
            StopKind::Clean => log.close().unwrap(),
            StopKind::Killed | StopKind::PowerLost => {
                let checkpoint =
                    LogCheckpoint { recovery_point: Offset::new(140), ..log.checkpoint() };
                log.delete();
                checkpoint
            }
        };
        let log = room.open(small_segments(), Some(checkpoint), stop).unwrap();
        assert_eq!(log.pointers().log_end_offset, end, "{stop:?}");
        assert_eq!(log.recovered_uncleanly(), stop != StopKind::Clean);
        assert_eq!(read_all(&log, 0), expected, "{stop:?}");
        for from in [0, 1, 2, 3, 100, 299] {
            let first = batches_in(&bytes_of(&log.read_blocking(all_from(from)).unwrap()))[0];
            assert_eq!(first, from - from % 3, "an offset inside a batch returns that batch");
        }
        let told = listen(&log);
        let appended = log.append(batch(7, 1, 50), LeaderEpoch::new(1), NOW).unwrap();
        assert_eq!(appended.base_offset, end);
        wait_for(&told, appended.next_offset);
        log.close().unwrap();
    }
}

#[test]
fn limits_of_bytes_and_of_the_end_hold_in_memory_and_in_files() {
    let kinds = [(1, ReadSource::Any), (1 << 20, ReadSource::Any), (1 << 20, ReadSource::File)];
    for (tail_cache_bytes, source) in kinds {
        let room = Room::with_tail_cache(tail_cache_bytes);
        let log = room.open(LogConfig::default(), None, StopKind::Clean).unwrap();
        let told = listen(&log);
        for number in 0..10 {
            log.append(batch(number, 2, 39), LeaderEpoch::ZERO, NOW).unwrap();
        }
        wait_for(&told, Offset::new(20));
        let read = |from, end, bytes_max, at_least_one| {
            let end = Offset::new(end);
            let from = Offset::new(from);
            let request = ReadRequest { from, end, bytes_max, at_least_one, source };
            let records = log.read_blocking(request).unwrap();
            let in_memory = records.pieces.iter().any(|p| matches!(p, RecordsPiece::Memory(_)));
            assert!(!in_memory || source == ReadSource::Any);
            batches_in(&bytes_of(&records))
        };
        assert_eq!(read(4, 8, 1 << 20, false), [4, 6]);
        assert_eq!(
            read(4, 9, 1 << 20, false),
            [4, 6],
            "a batch that reaches beyond the end is left out"
        );
        assert_eq!(read(5, 20, 250, false), [4, 6]);
        assert!(read(5, 20, 99, false).is_empty());
        assert_eq!(read(5, 20, 99, true), [4], "one whole batch in any case");
        assert!(read(20, 20, 99, true).is_empty());
        let beyond = log.read_blocking(all_from(21));
        assert!(matches!(beyond, Err(ReadError::OutOfRange { .. })));
        log.close().unwrap();
    }
}

#[test]
fn a_torn_end_is_cut_and_damage_of_synced_data_is_reported() {
    let room = Room::new();
    let log = room.open(LogConfig::default(), None, StopKind::Clean).unwrap();
    let told = listen(&log);
    for number in 0..10 {
        log.append(batch(number, 1, 39), LeaderEpoch::ZERO, NOW).unwrap();
    }
    wait_for(&told, Offset::new(10));
    log.delete();
    let path = room.path.join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(950).unwrap();
    let start = LogCheckpoint {
        log_start_offset: Offset::ZERO,
        recovery_point: Offset::new(9),
        log_end_offset: Offset::ZERO,
    };
    let log = room.open(LogConfig::default(), Some(start), StopKind::PowerLost).unwrap();
    assert_eq!(log.pointers().log_end_offset, Offset::new(9));
    assert_eq!(read_all(&log, 0).len(), 9);
    log.delete();
    use std::os::unix::fs::FileExt;
    file.write_all_at(&[9], 310).unwrap();
    let below = LogCheckpoint { recovery_point: Offset::new(3), ..start };
    let log = room.open(LogConfig::default(), Some(below), StopKind::PowerLost).unwrap();
    assert_eq!(log.pointers().log_end_offset, Offset::new(3), "unsynced: cut");
    log.delete();
    file.write_all_at(&[9], 116).unwrap();
    let error = room.open(LogConfig::default(), Some(below), StopKind::PowerLost).unwrap_err();
    match error {
        crate::error::OpenError::Corrupt { path: at, position, .. } => {
            assert_eq!((at, position), (path, 100));
        }
        other => panic!("{other}"),
    }
}
