//! One run: workers on threads of their own that count what they do, and the clock over them.
//!
//! Counters are written by one worker each and read by the run's own thread, which takes all
//! accounts at the end of the warm-up and at the end of the run. A worker never waits for the run,
//! and the run never wakes up in between.

use crate::deadline::{Deadline, monotonic_now};
use crate::load::report::{ErrorCount, Latency, Report, number};
use crate::load::responses::ErrorCodes;
use crate::load::usage::{Memory, Snapshot, Spent};
use anyhow::Result;
use hdrhistogram::Histogram;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// When a run ends, and what is left out of it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long load runs before it counts.
    pub warm_up: Duration,
    /// How long it counts at most; without a limit the workers end the run.
    pub duration: Option<Duration>,
    /// The broker's process.
    pub server: Option<u32>,
}

/// What a worker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Load that does not count.
    WarmUp,
    /// Load that counts.
    Measured,
    /// Nothing new is started.
    Over,
}

/// What one worker has done, by its own word. Alone on its cache lines: others are written by other
/// processors.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
}

/// What a worker sees of its run.
#[derive(Debug)]
pub struct Progress<'a> {
    phase: &'a AtomicU8,
    counters: &'a Counters,
}

/// Requests, bytes and records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Requests answered.
    pub requests: u64,
    /// Bytes of batches in them.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
}

impl Progress<'_> {
    /// What to do now.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measured,
            _ => Phase::Over,
        }
    }

    /// Adds to what is done.
    pub fn add(&self, done: Done) {
        let counted = [
            (&self.counters.requests, done.requests),
            (&self.counters.bytes, done.bytes),
            (&self.counters.records, done.records),
        ];
        for (counter, more) in counted {
            // The only writer: no need for a locked addition.
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }
}

/// What a worker hands over when it has ended.
#[derive(Debug)]
pub struct Outcome {
    /// Error codes that it was answered.
    pub errors: ErrorCodes,
    /// Nanoseconds until answers, of the measured part.
    pub latency: Histogram<u64>,
    /// Nanoseconds until receipt, of the measured part.
    pub end_to_end: Histogram<u64>,
    /// What else it counted in the measured part, by name with unit.
    pub figures: BTreeMap<&'static str, u64>,
}

/// A worker of a run whose workers differ.
pub type Task<'a> = Box<dyn FnOnce(&Progress<'_>) -> Result<Outcome> + Send + 'a>;

impl Outcome {
    /// Nothing yet.
    pub fn new() -> Self {
        let empty = || Histogram::new(3).expect("three digits are allowed");
        Self {
            errors: ErrorCodes::default(),
            latency: empty(),
            end_to_end: empty(),
            figures: BTreeMap::new(),
        }
    }

    /// Adds to one of the figures.
    pub fn add_figure(&mut self, name: &'static str, more: u64) {
        *self.figures.entry(name).or_default() += more;
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.errors.merge(&other.errors);
        self.latency.add(&other.latency)?;
        self.end_to_end.add(&other.end_to_end)?;
        for (name, more) in &other.figures {
            self.add_figure(name, *more);
        }
        Ok(())
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds between two readings of the clock.
pub fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// Runs workers side by side, and reports on what they did.
///
/// # Errors
/// The first error of a worker, or that the broker's process is gone.
pub fn run<W>(limits: &Limits, workers: Vec<W>) -> Result<Report>
where
    W: FnOnce(&Progress<'_>) -> Result<Outcome> + Send,
{
    let shared = Shared::new(limits, workers.len());
    let (done, spent, outcome) = thread::scope(|scope| {
        let started: Vec<_> = workers
            .into_iter()
            .zip(&shared.counters)
            .map(|(worker, counters)| {
                let (shared, overseer) = (&shared, thread::current());
                scope.spawn(move || {
                    let result = worker(&Progress { phase: &shared.phase, counters });
                    shared.note_ended(result.is_err());
                    overseer.unpark();
                    result
                })
            })
            .collect();
        let accounts = shared.oversee(limits);
        shared.set(Phase::Over);
        let mut outcome = Outcome::new();
        for worker in started {
            let ended = worker.join().map_err(|_panic| anyhow::anyhow!("a worker panicked"))?;
            outcome.merge(&ended?)?;
        }
        let (done, spent) = accounts?;
        anyhow::Ok((done, spent, outcome))
    })?;
    Ok(report(limits, done, &spent, &outcome))
}

#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    counters: Vec<Counters>,
    running: AtomicUsize,
    failed: AtomicBool,
}

impl Shared {
    fn new(limits: &Limits, workers: usize) -> Self {
        let shared = Self {
            phase: AtomicU8::new(0),
            counters: (0..workers).map(|_| Counters::default()).collect(),
            running: AtomicUsize::new(workers),
            failed: AtomicBool::new(false),
        };
        if limits.warm_up.is_zero() {
            shared.set(Phase::Measured);
        }
        shared
    }

    fn set(&self, phase: Phase) {
        let number = match phase {
            Phase::WarmUp => 0,
            Phase::Measured => 1,
            Phase::Over => 2,
        };
        self.phase.store(number, Ordering::Relaxed);
    }

    fn note_ended(&self, failed: bool) {
        if failed {
            self.failed.store(true, Ordering::Release);
        }
        self.running.fetch_sub(1, Ordering::Release);
    }

    fn ended(&self) -> bool {
        self.failed.load(Ordering::Acquire) || self.running.load(Ordering::Acquire) == 0
    }

    /// Waits until the warm-up and the run are over.
    fn oversee(&self, limits: &Limits) -> Result<(Done, Spent)> {
        let mut begin = (Done::default(), Snapshot::take(limits.server)?);
        if !limits.warm_up.is_zero() {
            self.wait(Some(limits.warm_up));
            begin = (self.done(), Snapshot::take(limits.server)?);
            self.set(Phase::Measured);
        }
        self.wait(limits.duration);
        let (end, snapshot) = (self.done(), Snapshot::take(limits.server)?);
        let done = Done {
            requests: end.requests - begin.0.requests,
            bytes: end.bytes - begin.0.bytes,
            records: end.records - begin.0.records,
        };
        Ok((done, begin.1.until(&snapshot)))
    }

    fn wait(&self, at_most: Option<Duration>) {
        let deadline = at_most.map(Deadline::after);
        while !self.ended() && deadline.is_none_or(|deadline| !deadline.passed()) {
            match deadline {
                Some(deadline) => thread::park_timeout(deadline.left()),
                None => thread::park(),
            }
        }
    }

    fn done(&self) -> Done {
        let sum = |counter: fn(&Counters) -> &AtomicU64| {
            self.counters.iter().map(|one| counter(one).load(Ordering::Relaxed)).sum()
        };
        Done {
            requests: sum(|one| &one.requests),
            bytes: sum(|one| &one.bytes),
            records: sum(|one| &one.records),
        }
    }
}

fn report(limits: &Limits, done: Done, spent: &Spent, outcome: &Outcome) -> Report {
    let memory = limits.server.map(Memory::of);
    let server = spent.server_cpu_seconds;
    let by = |seconds: f64, count: u64| (count > 0).then(|| seconds / number(count));
    Report {
        seconds: spent.seconds,
        bytes: done.bytes,
        requests: done.requests,
        records: done.records,
        megabytes_per_second: number(done.bytes) / 1e6 / spent.seconds,
        requests_per_second: number(done.requests) / spent.seconds,
        records_per_second: number(done.records) / spent.seconds,
        server_cpu_seconds: server,
        server_cpu_seconds_per_gigabyte: server.and_then(|cpu| by(cpu * 1e9, done.bytes)),
        server_cpu_microseconds_per_request: server.and_then(|cpu| by(cpu * 1e6, done.requests)),
        client_cpu_seconds: spent.client_cpu_seconds,
        machine_busy_seconds: spent.machine_busy_seconds,
        stolen_share: spent.stolen_share,
        server_resident_bytes: memory.map(|memory| memory.resident_bytes),
        server_peak_resident_bytes: memory.map(|memory| memory.peak_resident_bytes),
        latency_microseconds: Latency::of(&outcome.latency),
        end_to_end_microseconds: Latency::of(&outcome.end_to_end),
        figures: outcome.figures.iter().map(|(name, n)| ((*name).to_owned(), number(*n))).collect(),
        errors: outcome.errors.iter().map(|(code, count)| error_count(code, count)).collect(),
        ..Report::default()
    }
}

fn error_count(code: i16, count: u64) -> ErrorCount {
    let name = ResponseError::try_from_code(code)
        .map_or_else(|| "UNKNOWN".to_owned(), |error| format!("{error:?}"));
    ErrorCount { code, name, count }
}

/// Now, for what a worker measures.
pub fn now() -> Instant {
    monotonic_now()
}
