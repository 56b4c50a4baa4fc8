//! Consumers at the end of a log: each asks for what comes next, waits in the broker until there is
//! something, and must get every record. One thread for all of them.

use crate::deadline::{Deadline, PATIENCE};
use crate::load::frames::{Appetite, FetchFrame};
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now};
use crate::load::pacer::Ledger;
use crate::load::readiness::Readiness;
use crate::load::responses::{read_fetch, walk_batches};
use crate::load::topics;
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a fetch waits in the broker.
const WAIT_MAX_MS: i32 = 500;

/// How often a thread with nothing to do looks whether the run is over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a response has beside its batches, with room to spare.
const OVERHEAD_BYTES: usize = 64 << 10;

/// Consumers of one topic.
#[derive(Debug)]
pub struct Tail<'a> {
    readiness: Readiness,
    consumers: Vec<Consumer>,
    stamp_at: usize,
    epoch: Instant,
    ledger: &'a Ledger,
}

/// Where consumers read, and how.
#[derive(Debug, Clone)]
pub struct Place {
    /// The broker.
    pub broker: SocketAddr,
    /// The topic.
    pub topic: String,
    /// Consumers of each partition.
    pub groups: usize,
    /// Partitions, each read by as many consumers.
    pub partitions: i32,
    /// Largest response.
    pub bytes_max: i32,
}

#[derive(Debug)]
struct Consumer {
    link: Link,
    frame: FetchFrame,
    next_offset: i64,
    records: u64,
    measured: Done,
}

impl<'a> Tail<'a> {
    /// Connects consumers at the ends of the partitions. Each batch that comes carries, so far into
    /// it, the nanoseconds from `epoch` to the time it was due.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub fn open(
        place: &Place,
        stamp_at: usize,
        epoch: Instant,
        ledger: &'a Ledger,
    ) -> Result<Self> {
        let (readiness, mut consumers) = (Readiness::new()?, Vec::new());
        for partition in 0..place.partitions {
            let (_, end) = topics::bounds(place.broker, &place.topic, partition);
            for _ in 0..place.groups {
                let appetite = Appetite { bytes_max: place.bytes_max, wait_max_ms: WAIT_MAX_MS };
                let buffer_bytes = usize::try_from(place.bytes_max)? + OVERHEAD_BYTES;
                let link = Link::open(place.broker, buffer_bytes)?;
                readiness.add(&link, consumers.len())?;
                consumers.push(Consumer {
                    link,
                    frame: FetchFrame::new(&place.topic, partition, appetite)?,
                    next_offset: end,
                    records: 0,
                    measured: Done::default(),
                });
            }
        }
        Ok(Self { readiness, consumers, stamp_at, epoch, ledger })
    }

    /// Reads until every consumer has every record of the producer that has ended. `groups` says how
    /// often each record must come.
    ///
    /// # Errors
    /// A connection has ended, or records are missing.
    pub fn run(mut self, groups: u64, progress: &Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new();
        for consumer in &mut self.consumers {
            consumer.ask()?;
        }
        let mut deadline = Deadline::after(PATIENCE);
        loop {
            let records: u64 = self.consumers.iter().map(|consumer| consumer.records).sum();
            match self.ledger.total() {
                Some(total) if records == total * groups => break,
                Some(total) => {
                    let missing = (total * groups).checked_sub(records);
                    ensure!(missing.is_some(), "more records came than were sent");
                    ensure!(!deadline.passed(), "{missing:?} records did not come");
                }
                None => deadline = Deadline::after(PATIENCE),
            }
            for place in self.readiness.wait(LOOK_AGAIN)? {
                self.receive(place, progress, &mut outcome)?;
            }
        }
        for consumer in self.consumers {
            outcome.add_figure("delivered_bytes", consumer.measured.bytes);
            outcome.add_figure("delivered_records", consumer.measured.records);
            outcome.add_figure("fetch_requests", consumer.measured.requests);
        }
        Ok(outcome)
    }

    fn receive(
        &mut self,
        place: usize,
        progress: &Progress<'_>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let (stamp_at, epoch) = (self.stamp_at, self.epoch);
        let consumer = &mut self.consumers[place];
        consumer.link.fill()?;
        let Some(body) = consumer.link.try_receive()? else { return Ok(()) };
        let received = nanoseconds(epoch, now());
        let measured = progress.phase() == Phase::Measured;
        let fetched = read_fetch(body, &mut outcome.errors)?;
        let batches = walk_batches(fetched.batches, consumer.next_offset, |batch| {
            let stamp = batch.get(stamp_at..).and_then(<[u8]>::first_chunk);
            let due = stamp.map_or(received, |bytes| u64::from_be_bytes(*bytes));
            if measured {
                outcome.end_to_end.record(received.saturating_sub(due))?;
            }
            Ok(())
        })?;
        consumer.next_offset = batches.next_offset;
        consumer.records += batches.records;
        if measured {
            consumer.measured.requests += 1;
            consumer.measured.bytes += batches.bytes;
            consumer.measured.records += batches.records;
        }
        consumer.ask()
    }
}

impl Consumer {
    fn ask(&mut self) -> Result<()> {
        let id = self.link.next_id();
        self.link.send(self.frame.at(id, self.next_offset))
    }
}
