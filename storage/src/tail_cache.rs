//! The recent batches of all logs, in memory, bounded together.
//!
//! Each log keeps its own [`Tail`](tail::Tail) under its own lock. This counts their bytes and tells which log
//! must let go of which chunks when all together hold too much: the oldest first, over all logs.
//! Batches that are not written yet are held whatever the bound says (the flusher's bound on
//! pending bytes is the limit there), so they are counted only once they are written.

use std::collections::VecDeque;
use std::sync::Weak;

use parking_lot::Mutex;

use crate::log::Log;

pub(crate) mod tail;

/// Entries of the queue at most, so that many tiny flushes cannot grow it without end.
const RUNS_MAX: usize = 64 << 10;

/// Chunks that one log wrote in one round.
#[derive(Debug)]
struct Run {
    log: Weak<Log>,
    /// The log may drop its chunks numbered below this.
    drop_below: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    runs: VecDeque<Run>,
    bytes: usize,
}

/// Counts what all logs of one data directory keep in memory.
#[derive(Debug)]
pub(crate) struct TailCache {
    bytes_max: usize,
    state: Mutex<State>,
}

impl TailCache {
    /// A cache that holds at most `bytes_max` of batches that are already written.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// Counts chunks that `log` has just written, and makes logs drop the oldest ones over the
    /// bound. Must be called without holding any log's lock.
    pub(crate) fn written(&self, log: Weak<Log>, drop_below: u64, bytes: usize) {
        let mut dropped = Vec::new();
        {
            let mut state = self.state.lock();
            state.bytes += bytes;
            state.runs.push_back(Run { log, drop_below, bytes });
            while state.bytes > self.bytes_max || state.runs.len() > RUNS_MAX {
                let Some(run) = state.runs.pop_front() else { break };
                state.bytes -= run.bytes;
                dropped.push(run);
            }
            ::metrics::gauge!(crate::metrics::TAIL_CACHE_BYTES.name)
                .set(f64::from(u32::try_from(state.bytes / 1024).unwrap_or(u32::MAX)) * 1024.0);
        }
        for run in dropped {
            if let Some(log) = run.log.upgrade() {
                log.drop_tail_below(run.drop_below);
            }
        }
    }
}
