//! The log store against a model, with power lost after a random history.
//!
//! The model is the log in memory after each step. What is found after the crash must be the model
//! after some step, and none before the last that was said to be durable.

use openraft::RaftLogReader;
use openraft::entry::{RaftEntry, RaftPayload};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use storage::device::faulty::FaultyDevice;

use super::*;
use crate::replicated_state::journal::Journal;
use crate::replicated_state::log_store::LogStore;
use crate::replicated_state::opening::make_directory;
use crate::replicated_state::raft_log::RaftLog;
use crate::replicated_state::record::Record;
use crate::replicated_state::types::{
    Command, CommittedLeaderId, Entry, EntryPayload, LogId, MetadataRaft, Vote,
};

/// SplitMix64: all that a test needs of randomness.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What the log holds, without the committed id, which may lag behind.
fn content(log: &RaftLog) -> Vec<Record> {
    log.records().filter(|record| !matches!(record, Record::Committed(_))).collect()
}

struct History {
    store: LogStore,
    model: RaftLog,
    /// The content after each step; the first is what the history began with.
    steps: Vec<Vec<Record>>,
    /// The last step that is durable.
    durable: usize,
    term: u64,
}

impl History {
    fn log_id(&self, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(self.term), index)
    }

    fn next_index(&self) -> u64 {
        self.model.last_log_id().map_or(0, |last| last.index() + 1)
    }

    fn note(&mut self, record: Record) {
        self.model.apply(record).unwrap();
        self.steps.push(content(&self.model));
    }

    /// Appends entries; each is a step of its own, because a crash may keep some of them.
    async fn append(&mut self, random: &mut Random, waits: bool) {
        let first = self.next_index();
        let entries = (first..=first + random.below(4)).map(|index| {
            // Frames of one or a few sectors: what is torn may then be followed by whole frames.
            let size = [486, 486, 998, 7][usize::try_from(random.below(4)).unwrap()];
            let payload = EntryPayload::normal(Command(vec![b'x'; size].into()));
            Entry::new(self.log_id(index), payload)
        });
        let entries = entries.collect::<Vec<_>>();
        let (done, outcome) = MetadataRaft::oneshot();
        self.store.append(entries.clone(), IOFlushed::signal(done)).await.unwrap();
        entries.into_iter().for_each(|entry| self.note(Record::Entry(entry)));
        if waits {
            outcome.await.unwrap().unwrap();
            self.durable = self.steps.len() - 1;
        }
    }

    async fn step(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => {
                self.term += 1;
                let vote = Vote::new(self.term, REPLICA);
                self.store.save_vote(&vote).await.unwrap();
                self.note(Record::Vote(vote));
                self.durable = self.steps.len() - 1;
            }
            1 => {
                let first = self.model.purged().map_or(0, |purged| purged.index() + 1);
                let from_index = first + random.below(self.next_index() - first + 1);
                let last = from_index.checked_sub(1).map(|index| self.log_id(index));
                self.store.truncate_after(last).await.unwrap();
                self.note(Record::Truncated { from_index });
                self.durable = self.steps.len() - 1;
            }
            2 if self.next_index() > 0 => {
                // Also beyond the end, as the installation of a snapshot does.
                let upto = self.log_id(random.below(self.next_index() + 2));
                if Some(upto.index()) > self.model.purged().map(|purged| purged.index()) {
                    self.store.purge(upto).await.unwrap();
                    self.note(Record::Purged(upto));
                }
            }
            3..6 => self.append(random, true).await,
            _ => self.append(random, false).await,
        }
        let mut reader = self.store.get_log_reader().await;
        let read = reader.try_get_log_entries(..).await.unwrap();
        let entries = self.model.range(&(..)).cloned().collect::<Vec<_>>();
        assert!(read == entries, "a reader sees something else than the model");
    }
}

#[tokio::test]
async fn a_crash_leaves_the_log_as_it_was_after_some_step() {
    for seed in 0..60 {
        let root = tempfile::tempdir().unwrap();
        let mut device = FaultyDevice::new(root.path()).unwrap();
        let directory = root.path().join(DIRECTORY);
        let mut random = Random(seed);
        let mut possible = vec![content(&RaftLog::default())];
        let mut term = 1;
        for life in 0..3 {
            let disk: Arc<dyn Device> = device.clone();
            make_directory(&*disk, &directory).unwrap();
            let (journal, log) = Journal::open(disk, &directory.join(JOURNAL)).unwrap();
            let found = content(&log);
            assert!(possible.contains(&found), "seed {seed}, life {life}: found {found:?}");

            let mut model = RaftLog::default();
            found.iter().for_each(|record| model.apply(record.clone()).unwrap());
            let store = LogStore::new(log, journal.clone());
            let mut history = History { store, model, steps: vec![found], durable: 0, term };
            for _ in 0..random.below(25) {
                history.step(&mut random).await;
            }
            term = history.term + 1;
            device = device.crash(seed).unwrap();
            journal.close().await;
            possible = history.steps.split_off(history.durable);
        }
    }
}

/// The first entry of a torn round is unreadable, those behind it are whole. Were they not cut, a
/// round that fits exactly into the place of the first would bring them back.
#[tokio::test]
async fn what_is_torn_never_comes_back() {
    const OLD_BYTES: usize = 30;
    const ROUND_FRAME_BYTES: usize = 17;
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join(DIRECTORY);
    let path = directory.join(JOURNAL);
    let device: Arc<dyn Device> = Arc::new(OsDevice);
    make_directory(&*device, &directory).unwrap();
    let frames = |command_bytes: usize, indexes: std::ops::Range<u64>| {
        let mut frames = Vec::new();
        for index in indexes {
            let log_id = LogId::new(CommittedLeaderId::new(1), index);
            let payload = EntryPayload::normal(Command(vec![b'x'; command_bytes].into()));
            Record::Entry(Entry::new(log_id, payload)).encode(&mut frames);
        }
        frames
    };
    let (journal, _) = Journal::open(Arc::clone(&device), &path).unwrap();
    journal.save(frames(OLD_BYTES, 0..3)).await.unwrap();
    journal.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let first_entry = bytes.len() - frames(OLD_BYTES, 0..3).len();
    bytes[first_entry] ^= 1;
    storage::checkpoint::write_atomic(&*device, &path, &bytes).unwrap();

    let (journal, log) = Journal::open(Arc::clone(&device), &path).unwrap();
    assert_eq!(content(&log), []);
    journal.save(frames(OLD_BYTES - ROUND_FRAME_BYTES, 0..1)).await.unwrap();
    journal.close().await;
    let (journal, log) = Journal::open(device, &path).unwrap();
    assert_eq!(log.records().count(), 1);
    journal.close().await;
}
