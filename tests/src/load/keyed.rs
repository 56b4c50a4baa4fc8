//! Many keyed producers: keys spread a producer's records over the partitions, so that each request
//! carries small batches for several of them.

use crate::load::batches::{Batch, Codec, Shape, Size};
use crate::load::frames::Frame;
use crate::load::meter::{Done, Progress, run};
use crate::load::pacer::Cargo;
use crate::load::report::Report;
use crate::load::rotation::Rotation;
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::Result;
use clap::Args;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

/// Different requests that the producers send in turn.
const VARIANTS: usize = 256;

/// Who produces what.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Keyed {
    /// Created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Partitions that the keys fall into
    #[arg(long, default_value_t = 64)]
    pub partitions: i32,
    /// Producers, each with a connection
    #[arg(long, default_value_t = 200)]
    pub producers: usize,
    /// Requests in flight on each
    #[arg(long, default_value_t = 5)]
    pub in_flight: usize,
    /// Partitions in a request
    #[arg(long, default_value_t = 4)]
    pub partitions_per_request: usize,
    /// Most records in a batch; each has one to so many
    #[arg(long, default_value_t = 4)]
    pub records_per_batch: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
}

impl Keyed {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, or breaks the protocol.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let stock = self.stock()?;
        let rotation = Rotation::open(setting.broker, self.producers, self.in_flight, stock)?;
        let workers = vec![move |progress: &Progress<'_>| rotation.run(progress)];
        run(&setting.limits_with_time(), workers)
    }

    fn stock(&self) -> Result<Vec<Cargo>> {
        let mut random = StdRng::seed_from_u64(1);
        let mut batches = Vec::new();
        for records in 1..=self.records_per_batch {
            let size = Size::Records(records);
            let shape = Shape { record_bytes: self.record_bytes, size, codec: Codec::None };
            batches.push(Batch::make(&shape, records as u64)?);
        }
        let partitions = usize::try_from(self.partitions)?;
        let each = self.partitions_per_request.min(partitions);
        let variant = |_| {
            let mut parts = Vec::new();
            for partition in sample(&mut random, partitions, each) {
                let batch = &batches[random.random_range(0..batches.len())];
                parts.push((i32::try_from(partition)?, batch));
            }
            Cargo::of_parts(&self.topic, &parts)
        };
        (0..VARIANTS).map(variant).collect()
    }
}

impl Cargo {
    /// A request with batches for several partitions.
    ///
    /// # Errors
    /// It is larger than a frame can be.
    pub fn of_parts(topic: &str, parts: &[(i32, &Batch)]) -> Result<Self> {
        let done = Done {
            requests: 1,
            bytes: parts.iter().map(|(_, batch)| batch.bytes.len() as u64).sum(),
            records: parts.iter().map(|(_, batch)| batch.records).sum(),
        };
        Ok(Self { frame: Frame::of_parts(topic, -1, parts)?, done })
    }
}
