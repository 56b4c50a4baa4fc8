//! A disk that fills up, by our own records or by somebody else's files: writes are refused in a way
//! that producers retry, reads go on, nothing acknowledged is lost, and writes resume by themselves.
//!
//! The disk is a small tmpfs, which only root may mount.

use harness::batch::{ANONYMOUS, batch_of, records_in, values};
use harness::calls::{PRODUCE, produce_request};
use harness::codes;
use harness::deadline::{eventually, now_ms};
use harness::node::Node;
use harness::wire::Connection;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const DISK: &str = "64m";
const VALUE_BYTES: usize = 100_000;
/// Small segments, so that deleting old ones is possible.
const SEGMENTS: (&str, &str) = ("segment.bytes", "1048576");

/// A file system of its own, gone when this is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(TempDir::new().expect("a temporary directory"));
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "millpond-test"]);
        let status = mount.arg(disk.path()).status().expect("mount is installed");
        assert!(status.success(), "only root may mount a tmpfs; run these tests as root");
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Somebody else's file, which takes all that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut ballast = File::create(&path).expect("one more file");
        for piece in [1 << 20, 1 << 12] {
            let zeros = vec![0; piece];
            let full = std::iter::repeat_with(|| ballast.write_all(&zeros)).find_map(Result::err);
            assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::StorageFull));
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that a failed test left may still be ending.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// What was sent to one partition and what was acknowledged.
#[derive(Default)]
struct Sent {
    count: usize,
    acked: BTreeMap<i64, String>,
}

impl Sent {
    /// Produces one record that was never sent before; its error code.
    fn produce(&mut self, connection: &mut Connection, topic: &str) -> i16 {
        let value = format!("{topic}/{}/{}", self.count, "x".repeat(VALUE_BYTES));
        self.count += 1;
        let mut request = produce_request(topic, 0, -1, batch_of(ANONYMOUS, &[&value], now_ms()));
        request.timeout_ms = 1000;
        let answer = connection.call(PRODUCE, &request).responses.remove(0);
        let partition = &answer.partition_responses[0];
        if partition.error_code == codes::NONE {
            self.acked.insert(partition.base_offset, value);
        }
        partition.error_code
    }

    /// Produces until the broker refuses; the refusal.
    fn produce_until_refused(&mut self, connection: &mut Connection, topic: &str) -> i16 {
        loop {
            match self.produce(connection, topic) {
                codes::NONE => {}
                code => return code,
            }
        }
    }

    /// Fails unless every acknowledged record from `start` on is at its offset, and none twice.
    fn assert_kept(&self, connection: &mut Connection, topic: &str) {
        let start = connection.list_offset(6, topic, 0, -2).offset;
        let end = connection.list_offset(6, topic, 0, -1).offset;
        let mut held = BTreeMap::new();
        while start + i64::try_from(held.len()).expect("few") < end {
            let next = start + i64::try_from(held.len()).expect("few");
            let answer = connection.fetch(topic, 0, next);
            if answer.error_code == codes::OFFSET_OUT_OF_RANGE {
                // Retention has gone on meanwhile; it ends when the limit is kept.
                return self.assert_kept(connection, topic);
            }
            assert_eq!(answer.error_code, codes::NONE, "{topic} from {next}");
            let records = records_in(answer.records);
            assert!(!records.is_empty(), "nothing at {next} below {end}");
            let offsets = records.iter().map(|record| record.offset);
            held.extend(offsets.zip(values(&records)).filter(|(offset, _)| *offset >= next));
        }
        for (offset, value) in self.acked.range(start..) {
            assert!(held.get(offset) == Some(value), "{topic} {offset}: not what was acknowledged");
        }
        let mut distinct: Vec<_> = held.values().collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), held.len(), "a record is there twice");
    }
}

/// Codes that producers retry: not now, but later.
fn assert_retriable(code: i16) {
    let retriable = [codes::KAFKA_STORAGE_ERROR, codes::REQUEST_TIMED_OUT];
    assert!(retriable.contains(&code), "code {code}");
}

#[test]
fn a_disk_full_of_records_is_read_from_and_cleared_by_deleting() {
    let disk = SmallDisk::mount();
    let mut node = Node::start_in(&disk.data(), &[]);
    let mut connection = Connection::open(node.kafka());
    let (mut kept, mut given_up) = (Sent::default(), Sent::default());
    connection.create_topic("kept", 1, &[SEGMENTS]);
    connection.create_topic("given-up", 1, &[SEGMENTS]);
    for _ in 0..50 {
        assert_eq!(kept.produce(&mut connection, "kept"), codes::NONE);
    }
    let code = given_up.produce_until_refused(&mut connection, "given-up");
    assert_eq!(code, codes::KAFKA_STORAGE_ERROR);
    assert!(given_up.acked.len() > 150, "{} records fit", given_up.acked.len());
    let check_all = |kept: &mut Sent, given_up: &Sent, connection: &mut Connection| {
        assert_eq!(kept.produce(connection, "kept"), codes::KAFKA_STORAGE_ERROR);
        kept.assert_kept(connection, "kept");
        given_up.assert_kept(connection, "given-up");
    };
    check_all(&mut kept, &given_up, &mut connection);
    node.kill();
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    check_all(&mut kept, &given_up, &mut connection);

    assert_eq!(connection.delete_topic("given-up"), codes::NONE);
    eventually("writes resume", || {
        (kept.produce(&mut connection, "kept") == codes::NONE).then_some(())
    });
    node.kill();
    node.start_again();
    kept.assert_kept(&mut Connection::open(node.kafka()), "kept");
    assert!(node.stop().success(), "{}", node.log());
}

#[test]
fn a_disk_that_somebody_else_filled() {
    let disk = SmallDisk::mount();
    let mut node = Node::start_in(&disk.data(), &[]);
    let mut connection = Connection::open(node.kafka());
    let mut sent = Sent::default();
    connection.create_topic("topic", 1, &[SEGMENTS]);
    for _ in 0..20 {
        assert_eq!(sent.produce(&mut connection, "topic"), codes::NONE);
    }
    let ballast = disk.fill();
    assert_retriable(sent.produce_until_refused(&mut connection, "topic"));
    assert_retriable(sent.produce(&mut connection, "topic"));
    sent.assert_kept(&mut connection, "topic");
    fs::remove_file(&ballast).expect("the file just made");
    eventually("writes resume", || {
        (sent.produce(&mut connection, "topic") == codes::NONE).then_some(())
    });
    sent.assert_kept(&mut connection, "topic");

    let ballast = disk.fill();
    assert_retriable(sent.produce_until_refused(&mut connection, "topic"));
    node.kill();
    // Not a byte is left: what is there can be read all the same.
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    sent.assert_kept(&mut connection, "topic");
    assert_retriable(sent.produce(&mut connection, "topic"));
    node.kill();
    fs::remove_file(&ballast).expect("the file just made");
    node.start_again();
    let mut connection = Connection::open(node.kafka());
    sent.assert_kept(&mut connection, "topic");
    assert_eq!(sent.produce(&mut connection, "topic"), codes::NONE);
}

/// Three times what the disk holds goes through it: retention makes room, producers only wait.
#[test]
fn retention_makes_room_for_more_than_the_disk_holds() {
    let disk = SmallDisk::mount();
    let node = Node::start_in(&disk.data(), &["--set", "log.retention.check.interval.ms=500"]);
    let mut connection = Connection::open(node.kafka());
    let mut sent = Sent::default();
    connection.create_topic("topic", 1, &[SEGMENTS, ("retention.bytes", "8388608")]);
    for _ in 0..1000 {
        eventually("a record is taken", || match sent.produce(&mut connection, "topic") {
            codes::NONE => Some(()),
            code => {
                assert_retriable(code);
                None
            }
        });
    }
    sent.assert_kept(&mut connection, "topic");
}
