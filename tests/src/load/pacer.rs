//! Open loop: requests leave at fixed times, whatever the broker does, and a request's latency
//! counts from the time at which it was due. What the broker delays therefore cannot hide what it
//! would have done to the requests behind (coordinated omission).
//!
//! One thread for all connections, asleep between requests: a thread that spins would take one of
//! few processors from the broker.

use crate::deadline::PATIENCE;
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now};
use crate::load::responses::read_produce;
use anyhow::{Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::set_current_timer_slack;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Requests without an answer at which the broker counts as overrun.
const UNANSWERED_MAX: usize = 1 << 18;

/// Longest burst of requests that are late before answers are looked at.
const BURST_MAX: usize = 64;

/// A frame with what it carries.
#[derive(Debug, Clone)]
pub struct Cargo {
    /// The request.
    pub frame: Frame,
    /// What one answer to it counts for.
    pub done: Done,
}

/// Sends at a fixed rate.
#[derive(Debug)]
pub struct Pacer<'a> {
    lanes: Vec<Lane>,
    cargo: Vec<Cargo>,
    interval: Duration,
    epoch: Instant,
    ledger: &'a Ledger,
}

/// What consumers must know of a producer: how much will have come when it is all there.
#[derive(Debug)]
pub struct Ledger {
    records: AtomicU64,
}

/// One connection with the due times of its requests in flight, and where in the cargo each is.
#[derive(Debug)]
struct Lane {
    link: Link,
    due: VecDeque<(Instant, usize)>,
}

impl Ledger {
    /// Of a producer that has not ended.
    pub fn new() -> Self {
        Self { records: AtomicU64::new(u64::MAX) }
    }

    /// How many records were produced, once all of them were.
    pub fn total(&self) -> Option<u64> {
        Some(self.records.load(Ordering::Acquire)).filter(|records| *records != u64::MAX)
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Pacer<'a> {
    /// Sends `cargo` in turn, over `links` in turn, so many times a second. Frames that carry a
    /// stamp carry the nanoseconds from `epoch` to the time they are due.
    pub fn new(
        links: Vec<Link>,
        cargo: Vec<Cargo>,
        rate: f64,
        epoch: Instant,
        ledger: &'a Ledger,
    ) -> Self {
        let lanes = links.into_iter().map(|link| Lane { link, due: VecDeque::new() }).collect();
        Self { lanes, cargo, interval: Duration::from_secs_f64(1.0 / rate), epoch, ledger }
    }

    /// Sends until the run is over, and waits for the last answer.
    ///
    /// # Errors
    /// A connection has ended, or the broker is overrun.
    pub fn run(mut self, progress: &Progress<'_>) -> Result<Outcome> {
        set_current_timer_slack(NonZeroU64::new(1))?;
        let mut outcome = Outcome::new();
        let (mut due, mut number, mut records) = (now(), 0, 0);
        while progress.phase() != Phase::Over {
            let time = now();
            for _ in 0..BURST_MAX {
                if due > time {
                    break;
                }
                records += self.send(number, due)?;
                number += 1;
                due += self.interval;
            }
            let wait = due.saturating_duration_since(now());
            self.receive(wait, progress, &mut outcome)?;
        }
        while self.lanes.iter().any(|lane| !lane.due.is_empty()) {
            let answered = self.receive(PATIENCE, progress, &mut outcome)?;
            ensure!(answered, "no answer within {PATIENCE:?}");
        }
        self.ledger.records.store(records, Ordering::Release);
        Ok(outcome)
    }

    /// Sends one request; how many records are in it.
    fn send(&mut self, number: usize, due: Instant) -> Result<u64> {
        let (lanes, kinds) = (self.lanes.len(), self.cargo.len());
        let (lane, kind) = (&mut self.lanes[number % lanes], number % kinds);
        ensure!(lane.due.len() < UNANSWERED_MAX, "the broker cannot keep up with this rate");
        lane.due.push_back((due, kind));
        let cargo = &mut self.cargo[kind];
        cargo.frame.stamp(nanoseconds(self.epoch, due));
        lane.link.send_all(std::iter::once(&cargo.frame))?;
        Ok(cargo.done.records)
    }

    /// Takes the answers that come before the wait is over; whether anything came.
    fn receive(
        &mut self,
        wait: Duration,
        progress: &Progress<'_>,
        outcome: &mut Outcome,
    ) -> Result<bool> {
        let wait = Timespec::try_from(wait)?;
        let mut waiting: Vec<_> =
            self.lanes.iter().map(|lane| PollFd::new(&lane.link, PollFlags::IN)).collect();
        let anything = poll(&mut waiting, Some(&wait))? > 0;
        let ready: Vec<_> = waiting.iter().map(|one| !one.revents().is_empty()).collect();
        let time = now();
        let measured = progress.phase() == Phase::Measured;
        for (lane, _) in self.lanes.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            lane.link.fill()?;
            while let Some(body) = lane.link.try_receive()? {
                read_produce(body, &mut outcome.errors)?;
                let (due, kind) = lane.due.pop_front().expect("the link checked the answer's id");
                progress.add(self.cargo[kind].done);
                if measured {
                    outcome.latency.record(nanoseconds(due, time))?;
                }
            }
        }
        Ok(anything)
    }
}
