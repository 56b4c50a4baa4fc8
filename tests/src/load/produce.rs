//! Closed-loop produce: each connection keeps so many requests in flight, all of them the same
//! batch to its own partition. One blocking thread for each connection: a read that returns `k`
//! answers is followed by one write of `k` requests.

use crate::load::batches::{Batch, Codec, Shape, Size};
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::report::Report;
use crate::load::responses::read_produce;
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::Result;
use clap::{Args, ValueEnum};
use kafka_protocol::messages::ApiVersionsRequest;
use serde::Serialize;
use std::collections::VecDeque;
use std::iter::{once, repeat_n};
use std::time::Instant;

/// Room for the answers of a window; more only means another read.
const INPUT_BYTES: usize = 64 << 10;

/// What to produce.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Produce {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Partitions that the connections take in turn
    #[arg(long, default_value_t = 1)]
    pub partitions: i32,
    /// Connections
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Requests in flight on each
    #[arg(long, default_value_t = 32)]
    pub in_flight: usize,
    /// Largest size of a batch on the wire, compressed
    #[arg(long, default_value_t = 16_384)]
    pub batch_bytes: usize,
    /// Records in a batch, instead of `--batch-bytes`
    #[arg(long)]
    pub records_per_batch: Option<usize>,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Compression
    #[arg(long, value_enum, default_value = "none")]
    pub codec: Codec,
    /// What an answer waits for
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// The run ends after so many bytes, rounded up to whole requests of each connection
    #[arg(long)]
    pub bytes: Option<u64>,
    /// The same in records
    #[arg(long)]
    pub records: Option<u64>,
}

/// What the answer to a produce request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// All replicas in sync.
    All,
    /// The leader.
    #[value(name = "1")]
    Leader,
    /// There is no answer.
    #[value(name = "0")]
    None,
}

impl Produce {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, or breaks the protocol.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let size = self.records_per_batch.map_or(Size::Bytes(self.batch_bytes), Size::Records);
        let shape = Shape { record_bytes: self.record_bytes, size, codec: self.codec };
        let batch = Batch::make(&shape, 1)?;
        let acks = match self.acks {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        };
        let mut workers = Vec::new();
        for partition in (0..self.partitions).cycle().take(self.connections) {
            let window = Window {
                link: Link::open(setting.broker, INPUT_BYTES)?,
                frame: Frame::produce(&self.topic, partition, acks, &batch.bytes)?,
                each: Done { requests: 1, bytes: batch.bytes.len() as u64, records: batch.records },
                size: self.in_flight,
                left: self.requests_max(&batch),
                sent_at: VecDeque::with_capacity(self.in_flight),
            };
            workers.push(move |progress: &Progress<'_>| match acks {
                0 => window.pour(progress),
                _ => window.turn(progress),
            });
        }
        let ended_by_work = self.records.is_some() || self.bytes.is_some();
        let limits = if ended_by_work { setting.limits } else { setting.limits_with_time() };
        let mut report = run(&limits, workers)?;
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
        let by_bytes = share(self.bytes, batch.bytes.len() as u64);
        share(self.records, batch.records).min(by_bytes)
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
        self.sent_at.extend(repeat_n(at, count));
        self.link.send_all(repeat_n(&self.frame, count))
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
            self.link.send_all(repeat_n(&self.frame, count))?;
            progress.add(self.each.times(count as u64));
            if progress.phase() == Phase::Measured {
                self.left -= count as u64;
            }
        }
        self.link.skip_answers();
        self.link.send_all(once(&Frame::new(3, &ApiVersionsRequest::default())?))?;
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
