//! Bounds what the next start must scan: writes down how far each log is synced.
//!
//! A pass runs once a second and after every 64 MiB written (the space guard counts them), looks at
//! the free space, and asks every open log where it stands. Idle logs cost a comparison, an idle
//! directory writes nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::open_logs::OpenLogs;
use crate::checkpoint::CheckpointError;
use crate::space::SpaceGuard;

/// The longest time between two passes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread. Dropping it ends the thread after its present pass.
#[derive(Debug)]
pub(super) struct Checkpointer {
    space: Arc<SpaceGuard>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub(super) fn start(space: Arc<SpaceGuard>, logs: Arc<OpenLogs>) -> io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let run = {
            let (space, is_stopped) = (Arc::clone(&space), Arc::clone(&is_stopped));
            move || run(&space, &logs, &is_stopped)
        };
        let thread = std::thread::Builder::new().name("checkpointer".to_owned()).spawn(run)?;
        Ok(Self { space, is_stopped, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.space.make_look_due();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes checkpoints panicked");
        }
    }
}

fn run(space: &SpaceGuard, logs: &OpenLogs, is_stopped: &AtomicBool) {
    let mut had_failed = false;
    loop {
        space.wait_until_look_is_due(INTERVAL);
        if is_stopped.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = space.look() {
            tracing::debug!(%error, "could not ask for the free space");
        }
        match logs.checkpoint() {
            Ok(()) => had_failed = false,
            Err(error) => {
                // Nothing is lost, the next start takes longer. Tried again at the next pass.
                report(&error, had_failed);
                had_failed = true;
            }
        }
    }
}

/// Warns once, not every second.
fn report(error: &CheckpointError, is_known: bool) {
    if is_known {
        tracing::debug!(%error, "could not write a checkpoint again");
    } else {
        tracing::warn!(%error, "could not write a checkpoint");
    }
}
