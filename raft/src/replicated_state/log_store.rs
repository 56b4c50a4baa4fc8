//! What openraft asks of a log, over the log in memory and its journal.
//!
//! Called by Raft's core alone, one call at a time, so memory and journal see the same order. Entries
//! are readable when `append` returns, and durable when its callback is told; a vote is durable when
//! `save_vote` returns, and with it everything appended before.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;

use super::journal::Journal;
use super::raft_log::RaftLog;
use super::record::Record;
use super::types::{Command, Entry, EntryPayload, LogId, MetadataRaft, Vote};

/// A follower gets at most this many bytes of commands at once, or one entry; openraft bounds the
/// count alone.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log of the group, for its core.
#[derive(Debug)]
pub(crate) struct LogStore {
    log: Arc<Mutex<RaftLog>>,
    journal: Journal,
    /// What the journal holds of the committed id; it is written along with the next entries.
    committed_written: Option<LogId>,
}

impl LogStore {
    pub(crate) fn new(log: RaftLog, journal: Journal) -> Self {
        let committed_written = log.committed();
        Self { log: Arc::new(Mutex::new(log)), journal, committed_written }
    }

    /// Changes the log in memory and adds the change to `frames`.
    fn change(&self, record: Record, frames: &mut Vec<u8>) -> io::Result<()> {
        record.encode(frames);
        self.log.lock().apply(record).map_err(io::Error::other)
    }

    /// The committed id lags behind without harm: it only spares a restart some waiting. So it never
    /// causes a write of its own.
    fn add_committed(&mut self, frames: &mut Vec<u8>) {
        let committed = self.log.lock().committed();
        if let Some(id) = committed
            && self.committed_written != committed
        {
            Record::Committed(id).encode(frames);
            self.committed_written = committed;
        }
    }
}

impl RaftLogStorage<MetadataRaft> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<MetadataRaft>> {
        let log = self.log.lock();
        Ok(LogState { last_purged_log_id: log.purged(), last_log_id: log.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(Arc::clone(&self.log))
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let mut frames = Vec::new();
        self.add_committed(&mut frames);
        Record::Vote(*vote).encode(&mut frames);
        self.journal.save(frames).await?;
        self.log.lock().apply(Record::Vote(*vote)).map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        match committed {
            Some(id) => self.log.lock().apply(Record::Committed(id)).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.lock().committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<MetadataRaft>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Vec::new();
        self.add_committed(&mut frames);
        for entry in entries {
            self.change(Record::Entry(entry), &mut frames)?;
        }
        let done = Box::new(move |outcome| callback.io_completed(outcome));
        self.journal.append(frames, done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from_index = last.map_or(0, |last| last.index() + 1);
        let mut frames = Vec::new();
        self.change(Record::Truncated { from_index }, &mut frames)?;
        self.journal.save(frames).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut frames = Vec::new();
        {
            let mut log = self.log.lock();
            log.apply(Record::Purged(upto)).map_err(io::Error::other)?;
            log.records().for_each(|record| record.encode(&mut frames));
            self.committed_written = log.committed();
        }
        // Not waited for: until it is done the journal holds more than is needed.
        self.journal.replace(frames).await
    }
}

/// Reads the log beside its core.
#[derive(Debug, Clone)]
pub(crate) struct LogReader(Arc<Mutex<RaftLog>>);

impl RaftLogReader<MetadataRaft> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.0.lock().range(&range).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.lock().vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut bytes = 0_usize;
        let log = self.0.lock();
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(1 + command_bytes(entry));
            first || bytes <= READ_BYTES_MAX
        };
        Ok(log.range(&(start..end)).take_while(fits).cloned().collect())
    }
}

fn command_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Command(bytes)) => bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
