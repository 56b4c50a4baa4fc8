//! Many partitions: small batches to each of them in turn, in a closed loop or at a fixed rate.

use crate::load::batches::{Batch, Codec, Shape, Size};
use crate::load::link::Link;
use crate::load::meter::{Progress, now, run};
use crate::load::pacer::{Cargo, Ledger, Pacer};
use crate::load::report::Report;
use crate::load::rotation::Rotation;
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

/// Room for the answers of a connection.
const INPUT_BYTES: usize = 64 << 10;

/// What goes where.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Partitions {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Partitions that take batches in turn
    #[arg(long, default_value_t = 1000)]
    pub partitions: i32,
    /// Partitions in a request
    #[arg(long, default_value_t = 1)]
    pub partitions_per_request: usize,
    /// Records in a batch
    #[arg(long, default_value_t = 1)]
    pub records_per_batch: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Connections
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Requests in flight on each; without `--rate`
    #[arg(long, default_value_t = 16)]
    pub in_flight: usize,
    /// Requests a second, all connections together, instead of a closed loop
    #[arg(long)]
    pub rate: Option<f64>,
}

impl Partitions {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, breaks the protocol or cannot keep up.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let size = Size::Records(self.records_per_batch);
        let shape = Shape { record_bytes: self.record_bytes, size, codec: Codec::None };
        let batch = Batch::make(&shape, 1)?;
        let all: Vec<_> = (0..self.partitions).map(|partition| (partition, &batch)).collect();
        let stock: Result<Vec<_>> = all
            .chunks(self.partitions_per_request)
            .map(|parts| Cargo::of_parts(&self.topic, parts))
            .collect();
        let limits = setting.limits_with_time();
        let Some(rate) = self.rate else {
            let rotation =
                Rotation::open(setting.broker, self.connections, self.in_flight, stock?)?;
            return run(&limits, vec![move |progress: &Progress<'_>| rotation.run(progress)]);
        };
        let links: Result<Vec<_>> =
            (0..self.connections).map(|_| Link::open(setting.broker, INPUT_BYTES)).collect();
        let ledger = Ledger::new();
        let pacer = Pacer::new(links?, stock?, rate, now(), &ledger);
        run(&limits, vec![move |progress: &Progress<'_>| pacer.run(progress)])
    }
}
