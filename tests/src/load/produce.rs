//! Closed-loop produce: each connection keeps so many requests in flight, all of them the same
//! batch to its own partition. One blocking thread for each connection: a read that returns `k`
//! answers is followed by one write of `k` requests.

use crate::load::batches::{Batch, Shape};
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Limits, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::report::Report;
use crate::load::responses::read_produce;
use crate::load::topics;
use anyhow::Result;
use kafka_protocol::messages::ApiVersionsRequest;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// Room for the answers of a window; more only means another read.
const INPUT_BYTES: usize = 64 << 10;

/// What to produce.
#[derive(Debug, Clone)]
pub struct Produce {
    /// Where to.
    pub broker: SocketAddr,
    /// Created if it is missing.
    pub topic: String,
    /// Partitions that the connections take in turn.
    pub partitions: i32,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
    /// Acks of the protocol: -1, 0 or 1.
    pub acks: i16,
    /// The batches.
    pub shape: Shape,
    /// The run ends after so many records, rounded up to whole requests of each connection.
    pub records_max: Option<u64>,
    /// The same in bytes.
    pub bytes_max: Option<u64>,
}

impl Produce {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, or breaks the protocol.
    pub fn run(&self, limits: &Limits) -> Result<Report> {
        topics::ensure(self.broker, &self.topic, self.partitions)?;
        let batch = Batch::make(&self.shape, 1)?;
        let mut workers = Vec::new();
        for partition in (0..self.partitions).cycle().take(self.connections) {
            let window = Window {
                link: Link::open(self.broker, INPUT_BYTES)?,
                frame: Frame::produce(&self.topic, partition, self.acks, &batch.bytes)?,
                each: Done { requests: 1, bytes: batch.bytes.len() as u64, records: batch.records },
                size: self.in_flight,
                left: self.requests_max(&batch),
                sent_at: VecDeque::with_capacity(self.in_flight),
            };
            let acks = self.acks;
            workers.push(move |progress: &Progress<'_>| match acks {
                0 => window.pour(progress),
                _ => window.turn(progress),
            });
        }
        let mut report = run(limits, workers)?;
        let parameters = &mut report.parameters;
        parameters.insert("batch_wire_bytes".to_owned(), batch.bytes.len().into());
        parameters.insert("batch_records".to_owned(), batch.records.into());
        Ok(report)
    }

    /// Requests of each connection.
    fn requests_max(&self, batch: &Batch) -> u64 {
        let connections = self.connections as u64;
        let share = |most: Option<u64>, each: u64| {
            most.map_or(u64::MAX, |most| most.div_ceil(each * connections))
        };
        let by_bytes = share(self.bytes_max, batch.bytes.len() as u64);
        share(self.records_max, batch.records).min(by_bytes)
    }
}

/// One connection with its window of requests in flight.
struct Window {
    link: Link,
    frame: Frame,
    each: Done,
    size: usize,
    /// Requests that may be sent still; those of the warm-up do not count.
    left: u64,
    sent_at: VecDeque<Instant>,
}

impl Window {
    /// Sends as answers come.
    fn turn(mut self, progress: &Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new();
        let mut sent_at = now();
        self.send(self.size, sent_at, progress)?;
        while !self.sent_at.is_empty() {
            let answered = self.receive(&mut sent_at, progress, &mut outcome)?;
            self.send(answered, sent_at, progress)?;
        }
        Ok(outcome)
    }

    fn send(&mut self, room: usize, at: Instant, progress: &Progress<'_>) -> Result<()> {
        let phase = progress.phase();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = if phase == Phase::Over { 0 } else { room.min(left) };
        if count == 0 {
            return Ok(());
        }
        if phase == Phase::Measured {
            self.left -= count as u64;
        }
        self.sent_at.extend(std::iter::repeat_n(at, count));
        self.link.send_copies(&self.frame, count)
    }

    /// Takes the answers that are here, at least one; how many.
    fn receive(
        &mut self,
        at: &mut Instant,
        progress: &Progress<'_>,
        outcome: &mut Outcome,
    ) -> Result<usize> {
        read_produce(self.link.receive()?, &mut outcome.errors)?;
        let mut count = 1;
        while let Some(body) = self.link.try_receive()? {
            read_produce(body, &mut outcome.errors)?;
            count += 1;
        }
        *at = now();
        let measured = progress.phase() == Phase::Measured;
        for sent_at in self.sent_at.drain(..count) {
            if measured {
                outcome.latency.record(nanoseconds(sent_at, *at))?;
            }
        }
        progress.add(self.each.times(count as u64));
        Ok(count)
    }

    /// Sends without waiting for answers, which acks=0 does not have; then asks for one answer, so
    /// that all was read when the run is over.
    fn pour(mut self, progress: &Progress<'_>) -> Result<Outcome> {
        while progress.phase() != Phase::Over && self.left > 0 {
            let count = self.size.min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.link.send_copies(&self.frame, count)?;
            progress.add(self.each.times(count as u64));
            if progress.phase() == Phase::Measured {
                self.left -= count as u64;
            }
        }
        self.link.skip_answers();
        self.link.send_copies(&Frame::new(3, &ApiVersionsRequest::default())?, 1)?;
        self.link.receive()?;
        Ok(Outcome::new())
    }
}

impl Done {
    /// So many of these.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        let Self { requests, bytes, records } = self;
        Self { requests: requests * count, bytes: bytes * count, records: records * count }
    }
}
