//! Readies many logs for their first write at the same time.
//!
//! Before a log's first batch its segment file must have a durable name, and before the first batch
//! of a leader epoch the table of epochs must be durable: two or three waits for the disk for each
//! log, all on one journal, which commits for as many callers as wait for it. One after the other,
//! the first writes to 1,000 logs keep every other log of the disk waiting for seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::log::Log;

/// Fewer logs are readied by their own writes.
const LOGS_MIN: usize = 9;
/// Threads at work at once, for the length of a round.
const THREADS_MAX: usize = 16;

/// Readies those of `logs` that need it, if they are many.
pub(super) fn prepare(logs: &[Arc<Log>]) {
    let fresh: Vec<_> = logs.iter().filter(|log| log.needs_preparation()).collect();
    if fresh.len() < LOGS_MIN {
        return;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(log) = fresh.get(next.fetch_add(1, Ordering::Relaxed)) {
            log.prepare();
        }
    };
    std::thread::scope(|scope| {
        for number in 1..THREADS_MAX.min(fresh.len()) {
            let thread = std::thread::Builder::new().name(format!("prepare-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, work) {
                // The others, this one at least, do the work.
                tracing::debug!(%error, "no thread to ready logs with");
                break;
            }
        }
        work();
    });
}
