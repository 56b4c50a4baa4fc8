//! Latency at a fixed rate: one small record a request in an open loop, and, when asked, the way of
//! each record to a consumer that waits for it.

use crate::load::batches::{Batch, Codec, Shape, Size};
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Progress, Task, now, run};
use crate::load::pacer::{Cargo, Ledger, Pacer};
use crate::load::report::Report;
use crate::load::setting::Setting;
use crate::load::tail::{Place, Tail};
use crate::load::topics;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

/// Room for the answers of a connection.
const INPUT_BYTES: usize = 64 << 10;

/// Largest response to the consumers.
const FETCH_BYTES_MAX: i32 = 1 << 20;

/// What to send, and how often.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Latency {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Partitions that the connections take in turn
    #[arg(long, default_value_t = 1)]
    pub partitions: i32,
    /// Requests a second, all connections together
    #[arg(long, default_value_t = 2000.0)]
    pub rate: f64,
    /// Connections that send in turn
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Measure the way to a consumer too
    #[arg(long)]
    pub end_to_end: bool,
}

impl Latency {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, breaks the protocol or cannot keep up.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let shape =
            Shape { record_bytes: self.record_bytes, size: Size::Records(1), codec: Codec::None };
        let batch = Batch::make(&shape, 1)?;
        let (epoch, ledger) = (now(), Ledger::new());
        let mut links = Vec::new();
        for _ in 0..self.connections {
            links.push(Link::open(setting.broker, INPUT_BYTES)?);
        }
        let each = Done { requests: 1, bytes: batch.bytes.len() as u64, records: batch.records };
        let mut cargo = Vec::new();
        for partition in 0..self.partitions {
            let frame = Frame::stamped(&self.topic, partition, &batch)?;
            cargo.push(Cargo { frame, done: each });
        }
        let pacer = Pacer::new(links, cargo, self.rate, epoch, &ledger);
        let mut workers: Vec<Task<'_>> =
            vec![Box::new(|progress: &Progress<'_>| -> Result<Outcome> { pacer.run(progress) })];
        if self.end_to_end {
            let place = Place {
                broker: setting.broker,
                topic: self.topic.clone(),
                groups: 1,
                partitions: self.partitions,
                bytes_max: FETCH_BYTES_MAX,
            };
            let tail = Tail::open(&place, batch.stamp_at, epoch, &ledger)?;
            workers.push(Box::new(move |progress: &Progress<'_>| tail.run(1, progress)));
        }
        run(&setting.limits_with_time(), workers)
    }
}
