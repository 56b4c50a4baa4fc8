//! Fan-out: one producer at a fixed rate of bytes, many consumers at the tail, each of which must
//! get every record.

use crate::load::batches::{Batch, Codec, Shape, Size};
use crate::load::frames::Frame;
use crate::load::link::Link;
use crate::load::meter::{Done, Progress, Task, now, run};
use crate::load::pacer::{Cargo, Ledger, Pacer};
use crate::load::report::{Report, number};
use crate::load::setting::Setting;
use crate::load::tail::{Place, Tail};
use crate::load::topics;
use anyhow::Result;
use clap::Args;
use serde::Serialize;

/// Room for the answers to the producer.
const INPUT_BYTES: usize = 64 << 10;

/// Who produces and who reads.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FanOut {
    /// Created with one partition if it is missing
    #[arg(long)]
    pub topic: String,
    /// Megabytes a second of the producer
    #[arg(long, default_value_t = 100.0)]
    pub rate_megabytes: f64,
    /// How many read all of it
    #[arg(long, default_value_t = 20)]
    pub consumers: usize,
    /// Largest size of a batch on the wire
    #[arg(long, default_value_t = 65_536)]
    pub batch_bytes: usize,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Largest response to a consumer
    #[arg(long, default_value_t = 1 << 20)]
    pub max_bytes: i32,
}

impl FanOut {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached, breaks the protocol, cannot keep up, or loses a record.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, 1)?;
        let size = Size::Bytes(self.batch_bytes);
        let shape = Shape { record_bytes: self.record_bytes, size, codec: Codec::None };
        let batch = Batch::make(&shape, 1)?;
        let (epoch, ledger) = (now(), Ledger::new());
        let bytes = batch.bytes.len() as u64;
        let cargo = Cargo {
            frame: Frame::stamped(&self.topic, 0, &batch)?,
            done: Done { requests: 1, bytes, records: batch.records },
        };
        let links = vec![Link::open(setting.broker, INPUT_BYTES)?];
        let rate = self.rate_megabytes * 1e6 / number(bytes);
        let pacer = Pacer::new(links, vec![cargo], rate, epoch, &ledger);
        let place = Place {
            broker: setting.broker,
            topic: self.topic.clone(),
            groups: self.consumers,
            partitions: 1,
            bytes_max: self.max_bytes,
        };
        let tail = Tail::open(&place, batch.stamp_at, epoch, &ledger)?;
        let groups = self.consumers as u64;
        let workers: Vec<Task<'_>> = vec![
            Box::new(|progress: &Progress<'_>| pacer.run(progress)),
            Box::new(move |progress: &Progress<'_>| tail.run(groups, progress)),
        ];
        let mut report = run(&setting.limits_with_time(), workers)?;
        let delivered = report.figures.get("delivered_bytes").copied().unwrap_or_default();
        let seconds = report.seconds;
        report.figure("delivered_megabytes_per_second", delivered / 1e6 / seconds);
        if let Some(cpu) = report.server_cpu_seconds {
            report.figure("server_cpu_seconds_per_second", cpu / seconds);
            report.figure("server_cpu_seconds_per_delivered_gigabyte", cpu * 1e9 / delivered);
        }
        Ok(report)
    }
}
