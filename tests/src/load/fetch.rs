//! Closed-loop fetch: each connection reads its partition with one request in flight. Warm, it
//! begins anew at the end of the log; as a scan it reads the log once.

use crate::load::frames::{Appetite, FetchFrame};
use crate::load::link::Link;
use crate::load::meter::{Done, Limits, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::report::Report;
use crate::load::responses::{read_fetch, walk_batches};
use crate::load::topics;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// What a response has beside its batches, with room to spare.
const OVERHEAD_BYTES: usize = 64 << 10;

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Where from.
    pub broker: SocketAddr,
    /// The topic.
    pub topic: String,
    /// Partitions that the connections take in turn.
    pub partitions: i32,
    /// Connections.
    pub connections: usize,
    /// Largest response.
    pub bytes_max_each: i32,
    /// Read the log once instead of again and again.
    pub once: bool,
    /// A connection ends after so many bytes.
    pub bytes_max: Option<u64>,
}

impl Fetch {
    /// Runs it.
    ///
    /// # Errors
    /// The broker cannot be reached or breaks the protocol, or there is nothing to read.
    pub fn run(&self, limits: &Limits) -> Result<Report> {
        let appetite = Appetite { bytes_max: self.bytes_max_each, wait_max_ms: 0 };
        let buffer_bytes = usize::try_from(self.bytes_max_each)? + OVERHEAD_BYTES;
        let mut workers = Vec::new();
        for partition in (0..self.partitions).cycle().take(self.connections) {
            let (start, end) = topics::bounds(self.broker, &self.topic, partition);
            ensure!(start < end, "{} partition {partition} is empty", self.topic);
            let reader = Reader {
                link: Link::open(self.broker, buffer_bytes)?,
                frame: FetchFrame::new(&self.topic, partition, appetite)?,
                start,
                once: self.once,
                left: self.bytes_max.map_or(u64::MAX, |all| all / self.connections as u64),
            };
            workers.push(move |progress: &Progress<'_>| reader.read(progress));
        }
        run(limits, workers)
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
            let batches = walk_batches(fetched.batches, offset)?;
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
