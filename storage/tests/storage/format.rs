//! The index files against Kafka's rules, read by code that is not the log's.

use std::path::Path;
use std::sync::Arc;

use protocol::batch::Codec;
use protocol::types::Offset;
use storage::device::Device;
use storage::device::os::OsDevice;
use storage::log::entries::LogKind;

use crate::support::{NOW, append, batch, batches_of, name, open_directory, small_segments};

/// Base offset, content of the log, the offset index and the time index of each segment.
type Files = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

fn segments(directory: &Path) -> Vec<Files> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(stem.len(), 20, "{stem}");
            let read = |extension| std::fs::read(path.with_extension(extension)).unwrap();
            found.push((stem.parse().unwrap(), read("log"), read("index"), read("timeindex")));
        }
    }
    found.sort();
    found
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn after_a_clean_stop_every_segment_has_indexes_as_kafka_writes_them() {
    let root = tempfile::tempdir().unwrap();
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    let directory = open_directory(&device, root.path()).unwrap();
    let log = directory.open_log(&name("events"), small_segments(), LogKind::Direct).unwrap();
    for number in 0..100_i64 {
        let timestamp = NOW.get() + (number * 37) % 50;
        append(&log, batch(Codec::None, &[timestamp, timestamp - 3], &[7; 100]));
    }
    directory.close().unwrap();
    let found = segments(&root.path().join("data/events-0"));
    assert!(found.len() > 3);
    let mut next = Offset::ZERO;
    for (base, log, index, time_index) in found {
        assert_eq!(base, next.get(), "a segment starts where the last one ends");
        let batches = batches_of(&log);
        let bytes: usize = batches.iter().map(|(header, _)| header.batch_bytes()).sum();
        assert_eq!(bytes, log.len(), "a closed segment holds whole batches and nothing else");
        assert!(log.len() <= 4096);
        check_offset_index(base, &log, &index);
        let newest = batches.iter().map(|(header, _)| header.max_timestamp.get()).max().unwrap();
        check_time_index(base, &batches, &time_index, newest);
        next = batches.last().unwrap().0.next_offset();
    }
    assert_eq!(next, Offset::new(200));
}

fn check_offset_index(base: i64, log: &[u8], index: &[u8]) {
    assert_eq!(index.len() % 8, 0);
    assert!(!index.is_empty() || log.len() < 1000);
    let mut last = (-1, -1);
    for row in index.chunks(8) {
        let row = (i32_at(row, 0), i32_at(row, 4));
        assert!(row.0 > last.0 && row.1 > last.1, "{row:?} after {last:?}");
        let (header, _) = &batches_of(&log[usize::try_from(row.1).unwrap()..])[0];
        assert_eq!(header.last_offset().get(), base + i64::from(row.0), "its last offset");
        last = row;
    }
}

fn check_time_index(
    base: i64,
    batches: &[(protocol::batch::BatchHeader, Vec<u8>)],
    time_index: &[u8],
    newest: i64,
) {
    assert_eq!(time_index.len() % 12, 0);
    let mut last = (i64::MIN, -1);
    for row in time_index.chunks(12) {
        let timestamp = i64::from_be_bytes(row[..8].try_into().unwrap());
        let row = (timestamp, i32_at(row, 8));
        assert!(row.0 > last.0 && row.1 > last.1, "{row:?} after {last:?}");
        let offset = base + i64::from(row.1);
        let holder = batches.iter().find(|(header, _)| header.last_offset().get() == offset);
        assert_eq!(holder.expect("a batch's last offset").0.max_timestamp.get(), timestamp);
        let is_largest = |(header, _): &&(protocol::batch::BatchHeader, Vec<u8>)| {
            header.last_offset().get() < offset && header.max_timestamp.get() >= timestamp
        };
        assert!(batches.iter().find(is_largest).is_none(), "the first with the largest so far");
        last = row;
    }
    assert_eq!(last.0, newest, "the last row tells the largest timestamp");
}
