//! What every partition group of this node must remember beside its log, in one file.
//!
//! Raft's promise is its vote: it is on the disk before it is told to anyone. An election of a
//! thousand groups at once must cost a few syncs and not a thousand, so one thread takes everything
//! that waits, writes it as one round, syncs once, and answers. The file is replaced as a whole when
//! it has grown to several times of what it holds.
//!
//! Beside the vote it keeps how far a group had come when that was last noted: it spares a start the
//! reading of the whole log, may be as old as it likes, and is never ahead of what the log has
//! finished.
//!
//! A full disk is waited out. Any other failed write and any failed sync is final: everything that
//! waits is answered with the failure, and so is everything that comes later.

mod file;
mod records;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use storage::device::Device;
use storage::error::OpenError;
use tokio::sync::{mpsc, oneshot};

use crate::group::types::Vote;
use crate::types::GroupId;
use file::File;
pub(crate) use records::Progress;
use records::Record;

/// Writes that wait for the thread; whoever has more waits for room.
const WRITES_WAITING_MAX: usize = 4096;
/// A round takes no further write once it has this many bytes.
const ROUND_BYTES_MAX: usize = 4 << 20;
/// A smaller file is never rewritten.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// A larger one is, once it has this many times the bytes that it needs.
const REWRITE_FACTOR: u64 = 4;
/// How long a full disk is left alone before the next try.
const FULL_DISK_RETRY: Duration = Duration::from_secs(1);

/// What is remembered of one group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Remembered {
    pub(crate) vote: Option<Vote>,
    pub(crate) progress: Option<Progress>,
}

type Groups = BTreeMap<GroupId, Remembered>;

/// A task for the thread.
enum Write {
    Save { records: Vec<Record>, done: oneshot::Sender<io::Result<()>> },
    Close,
}

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Votes {
    writes: mpsc::Sender<Write>,
    state: Arc<State>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

/// What the thread shares with its handles.
#[derive(Debug)]
struct State {
    /// Durable, all of it.
    groups: Mutex<Groups>,
    failure: OnceLock<String>,
    /// Whether a full disk is waited out.
    is_patient: Mutex<bool>,
    patience_changed: Condvar,
}

impl Votes {
    /// Opens the file at `path`, or creates it. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`], [`OpenError::NewerFormat`] or [`OpenError::Io`].
    pub(crate) fn open(device: Arc<dyn Device>, path: &Path) -> Result<Self, OpenError> {
        let (file, groups) = File::open(device, path)?;
        let state = Arc::new(State {
            groups: Mutex::new(groups),
            failure: OnceLock::new(),
            is_patient: Mutex::new(true),
            patience_changed: Condvar::new(),
        });
        let (writes, receiver) = mpsc::channel(WRITES_WAITING_MAX);
        let rewrite_at = REWRITE_BYTES_MIN;
        let writer = Writer { file, rewrite_at, writes: receiver, state: Arc::clone(&state) };
        let thread = std::thread::Builder::new()
            .name("raft-votes".to_owned())
            .spawn(move || writer.run())
            .map_err(|cause| OpenError::Io {
                path: path.to_owned(),
                operation: "start the thread of the votes",
                cause,
            })?;
        Ok(Self { writes, state, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// What is remembered of a group; all of it is durable.
    pub(crate) fn remembered(&self, group: GroupId) -> Remembered {
        self.state.groups.lock().get(&group).cloned().unwrap_or_default()
    }

    /// Makes a vote durable. It replaces the group's last one.
    ///
    /// # Errors
    /// The device's, final.
    pub(crate) async fn save_vote(&self, group: GroupId, vote: Vote) -> io::Result<()> {
        self.save(vec![Record::Vote { group, vote }]).await
    }

    /// Makes durable with what a log begins that was no group's.
    ///
    /// # Errors
    /// The device's, final.
    pub(crate) async fn save_adopted(
        &self,
        group: GroupId,
        vote: Vote,
        progress: Progress,
    ) -> io::Result<()> {
        // The vote first: without progress it is adopted again.
        self.save(vec![Record::Vote { group, vote }, Record::Progress { group, progress }]).await
    }

    /// Writes a vote that promises nothing more than the last one did. It may be lost with the power.
    ///
    /// # Errors
    /// The file failed before.
    pub(crate) async fn note_vote(&self, group: GroupId, vote: Vote) -> io::Result<()> {
        let (done, _nobody_waits) = oneshot::channel();
        let records = vec![Record::Vote { group, vote }];
        self.writes.send(Write::Save { records, done }).await.map_err(|_ended| self.ended())
    }

    /// Makes durable how far groups have come.
    ///
    /// # Errors
    /// The device's, final.
    pub(crate) async fn save_progress(&self, all: Vec<(GroupId, Progress)>) -> io::Result<()> {
        let record = |(group, progress)| Record::Progress { group, progress };
        self.save(all.into_iter().map(record).collect()).await
    }

    /// Remembers nothing of a group any more.
    ///
    /// # Errors
    /// The device's, final.
    pub(crate) async fn forget(&self, group: GroupId) -> io::Result<()> {
        self.save(vec![Record::Forgotten { group }]).await
    }

    /// Finishes what was handed over and closes the file. A full disk is waited for no longer.
    pub(crate) async fn close(&self) {
        *self.state.is_patient.lock() = false;
        self.state.patience_changed.notify_all();
        // An ended thread has closed the file already.
        drop(self.writes.send(Write::Close).await);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(|| thread.join()).await.is_ok_and(|end| end.is_err())
        {
            tracing::error!("the thread of the votes panicked");
        }
    }

    /// A dropped future leaves it open whether the records become durable.
    async fn save(&self, records: Vec<Record>) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let sent = self.writes.send(Write::Save { records, done }).await;
        sent.map_err(|_ended| self.ended())?;
        outcome.await.map_err(|_ended| self.ended())?
    }

    /// Whether no vote can be saved any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.failure.get().is_some()
    }

    fn ended(&self) -> io::Error {
        let failure = self.state.failure.get().map_or("it is closed", String::as_str);
        io::Error::other(format!("the file of the votes takes no writes: {failure}"))
    }
}

impl State {
    /// Waits until another try may be due; false if none is wanted.
    fn wait_for_space(&self) -> bool {
        let mut is_patient = self.is_patient.lock();
        if *is_patient {
            self.patience_changed.wait_for(&mut is_patient, FULL_DISK_RETRY);
        }
        *is_patient
    }
}

struct Writer {
    file: File,
    /// Below this size it is not worth while to count what the file needs.
    rewrite_at: u64,
    writes: mpsc::Receiver<Write>,
    state: Arc<State>,
}

/// What one sync will cover.
#[derive(Default)]
struct Round {
    records: Vec<Record>,
    frames: Vec<u8>,
    waiters: Vec<oneshot::Sender<io::Result<()>>>,
    closes: bool,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.writes.blocking_recv() {
            let mut round = self.collect(first);
            if let Err(failure) = self.write(&round.frames) {
                return self.fail(round, &failure);
            }
            {
                let mut groups = self.state.groups.lock();
                round.records.drain(..).for_each(|record| record.apply(&mut groups));
            }
            round.answer(&Ok(()));
            if round.closes {
                return;
            }
            if let Err(failure) = self.rewrite_if_due() {
                return self.fail(Round::default(), &failure);
            }
        }
    }

    fn collect(&mut self, first: Write) -> Round {
        let mut round = Round::default();
        let mut next = Some(first);
        while let Some(write) = next {
            match write {
                Write::Save { records, done } => {
                    records.iter().for_each(|record| record.encode(&mut round.frames));
                    round.records.extend(records);
                    round.waiters.push(done);
                }
                Write::Close => {
                    round.closes = true;
                    return round;
                }
            }
            let full = round.frames.len() >= ROUND_BYTES_MAX;
            next = if full { None } else { self.writes.try_recv().ok() };
        }
        round
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let state = Arc::clone(&self.state);
        patiently(&state, || self.file.append(frames))
    }

    fn rewrite_if_due(&mut self) -> io::Result<()> {
        if self.file.bytes() < self.rewrite_at {
            return Ok(());
        }
        let mut frames = Vec::new();
        for (group, remembered) in &*self.state.groups.lock() {
            records::all_of(*group, remembered).for_each(|record| record.encode(&mut frames));
        }
        let needed = u64::try_from(frames.len()).expect("usize fits in u64");
        self.rewrite_at = needed.saturating_mul(REWRITE_FACTOR).max(REWRITE_BYTES_MIN);
        if self.file.bytes() < self.rewrite_at {
            return Ok(());
        }
        match self.file.replace(&frames) {
            // The old file is as good as it was; it is tried again after the next round.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            outcome => outcome,
        }
    }

    /// Tells whoever comes later, then everyone who waits.
    fn fail(mut self, mut round: Round, failure: &io::Error) {
        let cause = format!("{}: {failure}", self.file.path().display());
        tracing::error!(cause, "the file of the votes failed: the groups of this node stop");
        // Set here alone, once.
        drop(self.state.failure.set(cause.clone()));
        round.answer(&Err(io::Error::new(failure.kind(), cause.clone())));
        self.writes.close();
        while let Some(write) = self.writes.blocking_recv() {
            self.collect(write).answer(&Err(io::Error::other(cause.clone())));
        }
    }
}

impl Round {
    fn answer(&mut self, outcome: &io::Result<()>) {
        for waiter in self.waiters.drain(..) {
            // io::Error cannot be cloned; kind and text are what its readers use.
            let copy = match outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // Whoever gave up waiting needs no answer.
            drop(waiter.send(copy));
        }
    }
}

/// Repeats `attempt` while the disk is full and that is to be waited out.
fn patiently(state: &State, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut warned = false;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                if !state.wait_for_space() {
                    return Err(error);
                }
                if !warned {
                    tracing::warn!("the votes of the partition groups wait: the disk is full");
                    warned = true;
                }
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests;
