//! The file that makes the metadata group durable: one serial stream of entries and votes.
//!
//! Why not a partition's log: an entry that Raft has taken may not be refused any more, and a
//! partition's log refuses, rightly, when the disk guard closes, when too many bytes wait for the
//! disk, or when the disk is full. Here it would stop the group for good, and with it the deletes
//! that free space. Votes are part of the stream too: a vote that is durable proves that every
//! entry before it is, which is the order that Raft asks for.
//!
//! One thread owns the file. It takes everything that waits, writes it as one round, syncs once, and
//! answers: of the appends only the newest, which stands for all before it. Between start and
//! shutdown of the group a full disk is waited out. Any other failed write and any failed sync is final: everything that waits is answered with
//! the failure, and the thread ends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use storage::checkpoint::{self, CheckpointError};
use storage::device::{Device, DeviceFile, OpenMode};
use storage::error::OpenError;
use tokio::sync::{mpsc, oneshot};

use super::raft_log::RaftLog;
use super::record::{self, Unreadable};
use crate::metrics;

/// Writes that wait for the thread; Raft's core waits when there are more.
const WRITES_WAITING_MAX: usize = 1024;
/// A round takes no further write once it has this many bytes.
const ROUND_BYTES_MAX: usize = 4 << 20;
/// How long a full disk is left alone before the next try.
const FULL_DISK_RETRY: Duration = Duration::from_secs(1);

/// Told once whether a write is durable.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// A task for the thread.
enum Write {
    /// Frames of which only the newest completion matters.
    Append { frames: Vec<u8>, done: Done },
    /// Frames that somebody waits for.
    Save { frames: Vec<u8>, done: oneshot::Sender<io::Result<()>> },
    /// Frames that replace all of the file.
    Replace { frames: Vec<u8> },
    /// Finish what came before, then end.
    Close,
}

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    writes: mpsc::Sender<Write>,
    state: Arc<State>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

/// What the thread shares with its handles.
#[derive(Debug, Default)]
struct State {
    failure: OnceLock<String>,
    bytes: std::sync::atomic::AtomicU64,
    /// Whether a full disk is waited out.
    is_patient: Mutex<bool>,
    patience_changed: Condvar,
}

impl Journal {
    /// Opens the journal at `path`, or creates it, and reads what it holds. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`], [`OpenError::NewerFormat`] or [`OpenError::Io`].
    pub(crate) fn open(device: Arc<dyn Device>, path: &Path) -> Result<(Self, RaftLog), OpenError> {
        let (file, log) = File::open(device, path)?;
        let state = Arc::new(State::default());
        state.note_bytes(file.end);
        let (writes, receiver) = mpsc::channel(WRITES_WAITING_MAX);
        let writer = Writer { file, writes: receiver, state: Arc::clone(&state) };
        let thread = std::thread::Builder::new()
            .name("metadata-journal".to_owned())
            .spawn(move || writer.run())
            .map_err(|cause| OpenError::Io {
                path: path.to_owned(),
                operation: "start the thread of the journal",
                cause,
            })?;
        Ok((Self { writes, state, thread: Arc::new(Mutex::new(Some(thread))) }, log))
    }

    /// Hands over frames; `done` is told, or a later append's is. Waits only if too much waits.
    pub(crate) async fn append(&self, frames: Vec<u8>, done: Done) -> io::Result<()> {
        self.send(Write::Append { frames, done }).await
    }

    /// Makes frames durable, and everything handed over before them.
    pub(crate) async fn save(&self, frames: Vec<u8>) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.send(Write::Save { frames, done }).await?;
        outcome.await.map_err(|_ended| self.ended())?
    }

    /// Replaces the whole content, after everything handed over before.
    pub(crate) async fn replace(&self, frames: Vec<u8>) -> io::Result<()> {
        self.send(Write::Replace { frames }).await
    }

    /// Size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Why the journal takes no more writes, if it failed.
    pub(crate) fn failure(&self) -> Option<&String> {
        self.state.failure.get()
    }

    /// Whether a full disk is waited out from now on. If not, what waits already is answered with
    /// the failure. A new journal does not wait.
    pub(crate) fn set_patient(&self, is_patient: bool) {
        *self.state.is_patient.lock() = is_patient;
        self.state.patience_changed.notify_all();
    }

    /// Finishes what was handed over and closes the file.
    pub(crate) async fn close(&self) {
        // An ended thread has closed the file already.
        drop(self.send(Write::Close).await);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(|| thread.join()).await.is_ok_and(|end| end.is_err())
        {
            tracing::error!("the thread of the metadata journal panicked");
        }
    }

    async fn send(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_ended| self.ended())
    }

    fn ended(&self) -> io::Error {
        let failure = self.failure().map_or("it is closed", String::as_str);
        io::Error::other(format!("the metadata journal takes no writes: {failure}"))
    }
}

impl State {
    fn note_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, std::sync::atomic::Ordering::Relaxed);
        metrics::journal_bytes(bytes);
    }

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
    writes: mpsc::Receiver<Write>,
    state: Arc<State>,
}

/// What one sync will cover.
#[derive(Default)]
struct Round {
    frames: Vec<u8>,
    newest_append: Option<Done>,
    waiters: Vec<oneshot::Sender<io::Result<()>>>,
}

/// What ends a round besides its size.
enum After {
    Nothing,
    Replace(Vec<u8>),
    Close,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.writes.blocking_recv() {
            let (mut round, after) = self.collect(first);
            if let Err(failure) = self.write(&round.frames) {
                return self.fail(round, &failure);
            }
            round.answer(&Ok(()));
            match after {
                After::Nothing => {}
                After::Close => return,
                After::Replace(frames) => {
                    if let Err(failure) = self.replace(&frames) {
                        return self.fail(Round::default(), &failure);
                    }
                }
            }
        }
    }

    fn collect(&mut self, first: Write) -> (Round, After) {
        let mut round = Round::default();
        let mut next = Some(first);
        while let Some(write) = next {
            match write {
                Write::Append { frames, done } => {
                    round.frames.extend_from_slice(&frames);
                    round.newest_append = Some(done);
                }
                Write::Save { frames, done } => {
                    round.frames.extend_from_slice(&frames);
                    round.waiters.push(done);
                }
                Write::Replace { frames } => return (round, After::Replace(frames)),
                Write::Close => return (round, After::Close),
            }
            let full = round.frames.len() >= ROUND_BYTES_MAX;
            next = if full { None } else { self.writes.try_recv().ok() };
        }
        (round, After::Nothing)
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let state = Arc::clone(&self.state);
        patiently(&state, || self.file.append(frames))?;
        state.note_bytes(self.file.end);
        Ok(())
    }

    fn replace(&mut self, frames: &[u8]) -> io::Result<()> {
        let state = Arc::clone(&self.state);
        patiently(&state, || self.file.replace(frames))?;
        state.note_bytes(self.file.end);
        Ok(())
    }

    /// Tells whoever comes later, then everyone who waits.
    fn fail(mut self, mut round: Round, failure: &io::Error) {
        let path = self.file.path.display();
        let cause = format!("{path}: {failure}");
        tracing::error!(cause, "the metadata journal failed: the metadata group stops");
        // Set here alone, once.
        drop(self.state.failure.set(cause.clone()));
        round.answer(&Err(io::Error::new(failure.kind(), cause.clone())));
        self.writes.close();
        while let Some(write) = self.writes.blocking_recv() {
            let (mut round, _) = self.collect(write);
            round.answer(&Err(io::Error::other(cause.clone())));
        }
    }
}

impl Round {
    fn answer(&mut self, outcome: &io::Result<()>) {
        // io::Error cannot be cloned; kind and text are what its readers use.
        let copy = || match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        if let Some(done) = self.newest_append.take() {
            done(copy());
        }
        for waiter in self.waiters.drain(..) {
            // Whoever gave up waiting needs no answer.
            drop(waiter.send(copy()));
        }
    }
}

impl Drop for Round {
    /// A round that was answered has nothing left to answer; a panic of the thread answers the rest.
    fn drop(&mut self) {
        self.answer(&Err(io::Error::other("the thread of the metadata journal ended")));
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
                    tracing::warn!("the metadata journal waits: the disk is full");
                    warned = true;
                }
            }
            outcome => return outcome,
        }
    }
}

/// The open file and where its next round goes.
struct File {
    device: Arc<dyn Device>,
    path: PathBuf,
    handle: Arc<dyn DeviceFile>,
    end: u64,
}

impl File {
    fn open(device: Arc<dyn Device>, path: &Path) -> Result<(Self, RaftLog), OpenError> {
        let bytes = match checkpoint::read_whole(&*device, path)? {
            Some(bytes) => bytes,
            None => {
                let empty = record::whole_file(&[]);
                checkpoint::write_atomic(&*device, path, &empty)?;
                empty
            }
        };
        let bytes = Bytes::from(bytes);
        let (log, end) = recover(path, &bytes)?;
        let failed =
            |operation| move |cause| OpenError::Io { path: path.to_owned(), operation, cause };
        let handle = device.open(path, OpenMode::Write).map_err(failed("open"))?;
        if end < bytes.len() {
            tracing::warn!(path = %path.display(), position = end, torn_bytes = bytes.len() - end,
                "cut a torn write off the metadata journal");
            handle.set_len(to_u64(end)).map_err(failed("truncate"))?;
            handle.sync_all().map_err(failed("sync"))?;
        }
        Ok((Self { device, path: path.to_owned(), handle, end: to_u64(end) }, log))
    }

    /// Writes and syncs one round. After `StorageFull` the file is as before.
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut head = Vec::new();
        record::put_round(&mut head, self.end);
        let buffers = [io::IoSlice::new(&head), io::IoSlice::new(frames)];
        if let Err(error) = self.handle.write_vectored_at(&buffers, self.end) {
            if error.cause.kind() == io::ErrorKind::StorageFull {
                self.handle.set_len(self.end)?;
            }
            return Err(error.cause);
        }
        // Never tried again, whatever the reason: another kind than StorageFull says so.
        self.handle.sync_data().map_err(|e| io::Error::other(format!("sync failed: {e}")))?;
        self.end += to_u64(head.len() + frames.len());
        Ok(())
    }

    /// Replaces the whole file. Nothing else is written between a failed try and the next, and the
    /// next writes a new file.
    fn replace(&mut self, frames: &[u8]) -> io::Result<()> {
        let content = record::whole_file(frames);
        match checkpoint::write_atomic(&*self.device, &self.path, &content) {
            Ok(()) => {}
            Err(CheckpointError::Io { cause, .. }) => return Err(cause),
            Err(error) => return Err(io::Error::other(error)),
        }
        self.handle = self.device.open(&self.path, OpenMode::Write)?;
        self.end = to_u64(content.len());
        Ok(())
    }
}

fn recover(path: &Path, bytes: &Bytes) -> Result<(RaftLog, usize), OpenError> {
    let corrupt = |position: usize, what: String| OpenError::Corrupt {
        path: path.to_owned(),
        position: to_u64(position),
        what,
    };
    let readable = record::read(bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged { position, what } => corrupt(position, what),
        Unreadable::Newer(found) => {
            OpenError::NewerFormat { path: path.to_owned(), found, supported: record::VERSION }
        }
    })?;
    let mut log = RaftLog::default();
    for record in readable.records {
        log.apply(record).map_err(|hole| corrupt(readable.end, hole.to_string()))?;
    }
    Ok((log, readable.end))
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("usize fits in u64")
}
