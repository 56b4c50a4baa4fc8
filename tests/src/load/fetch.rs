//! Closed-loop fetch: each connection reads its partition with one request in flight. Warm, it
//! begins anew at the end of the log; as a scan it reads the log once.

use crate::load::frames::{Appetite, FetchFrame};
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::report::Report;
use crate::load::responses::{read_fetch, walk_batches};
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

/// What a response has beside its batches, with room to spare.
const OVERHEAD_BYTES: usize = 64 << 10;

/// What to fetch.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Fetch {
    /// The topic
    #[arg(long)]
    pub topic: String,
    /// Partitions that the connections take in turn
    #[arg(long, default_value_t = 1)]
    pub partitions: i32,
    /// Connections
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Largest response
    #[arg(long, default_value_t = 1 << 20)]
    pub max_bytes: i32,
    /// Read the log once, from its start to its end, instead of again and again
    #[arg(long)]
    pub cold_scan: bool,
    /// A connection ends after its share of so many bytes
    #[arg(long)]
    pub bytes: Option<u64>,
}

impl Fetch {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached or breaks the protocol, or there is nothing to read.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        let appetite = Appetite { bytes_max: self.max_bytes, wait_max_ms: 0 };
        let buffer_bytes = usize::try_from(self.max_bytes)? + OVERHEAD_BYTES;
        let mut workers = Vec::new();
        for partition in (0..self.partitions).cycle().take(self.connections) {
            let (start, end) = topics::bounds(setting.broker, &self.topic, partition);
            ensure!(start < end, "{} partition {partition} is empty", self.topic);
            let reader = Reader {
                link: Link::open(setting.broker, buffer_bytes)?,
                frame: FetchFrame::new(&self.topic, partition, appetite)?,
                start,
                once: self.cold_scan,
                left: self.bytes.map_or(u64::MAX, |all| all / self.connections as u64),
            };
            workers.push(move |progress: &Progress<'_>| reader.read(progress));
        }
        let ended_by_work = self.cold_scan || self.bytes.is_some();
        let limits = if ended_by_work { setting.limits } else { setting.limits_with_time() };
        run(&limits, workers)
    }
}

struct Reader {
    link: Link,
    frame: FetchFrame,
    start: i64,
    once: bool,
    left: u64,
}

impl Reader {
    fn read(mut self, progress: &Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new();
        let mut offset = self.start;
        let mut begun = now();
        loop {
            let phase = progress.phase();
            if phase == Phase::Over || self.left == 0 {
                return Ok(outcome);
            }
            let id = self.link.next_id();
            self.link.send(self.frame.at(id, offset))?;
            let fetched = read_fetch(self.link.receive()?, &mut outcome.errors)?;
            let batches = walk_batches(fetched.batches, offset, |_| Ok(()))?;
            let ended = now();
            if phase == Phase::Measured {
                outcome.latency.record(nanoseconds(begun, ended))?;
                self.left = self.left.saturating_sub(batches.bytes);
            }
            begun = ended;
            progress.add(Done { requests: 1, bytes: batches.bytes, records: batches.records });
            offset = batches.next_offset;
            if offset >= fetched.high_watermark {
                if self.once {
                    return Ok(outcome);
                }
                offset = self.start;
            } else {
                ensure!(batches.bytes > 0, "an empty answer at {offset}, before the end");
            }
        }
    }
}
