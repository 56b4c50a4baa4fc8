//! Many connections in a closed loop, each of which sends frames from one common stock in turn. One
//! thread for all: two hundred threads would cost the machine more than the requests.

use crate::load::link::Link;
use crate::load::meter::{Outcome, Phase, Progress, nanoseconds, now};
use crate::load::pacer::Cargo;
use crate::load::readiness::Readiness;
use crate::load::responses::read_produce;
use anyhow::{Context as _, Result};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Room for the answers of a connection.
const INPUT_BYTES: usize = 16 << 10;

/// Longest that the broker may answer nobody.
const SILENCE_MAX: Duration = crate::deadline::PATIENCE;

/// The connections and what they send.
#[derive(Debug)]
pub struct Rotation {
    readiness: Readiness,
    lanes: Vec<Lane>,
    stock: Vec<Cargo>,
    next: usize,
    in_flight: usize,
}

#[derive(Debug)]
struct Lane {
    link: Link,
    sent: VecDeque<(Instant, usize)>,
}

impl Rotation {
    /// Connects; each connection will keep so many requests in flight.
    ///
    /// # Errors
    /// The broker cannot be reached.
    pub fn open(
        broker: SocketAddr,
        connections: usize,
        in_flight: usize,
        stock: Vec<Cargo>,
    ) -> Result<Self> {
        let (readiness, mut lanes) = (Readiness::new()?, Vec::new());
        for place in 0..connections {
            let link = Link::open(broker, INPUT_BYTES)?;
            readiness.add(&link, place)?;
            lanes.push(Lane { link, sent: VecDeque::with_capacity(in_flight) });
        }
        Ok(Self { readiness, lanes, stock, next: 0, in_flight })
    }

    /// Sends until the run is over, and waits for the last answers.
    ///
    /// # Errors
    /// A connection has ended, or nothing came for long.
    pub fn run(mut self, progress: &Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new();
        let begun = now();
        for place in 0..self.lanes.len() {
            self.send(place, self.in_flight, begun)?;
        }
        while self.lanes.iter().any(|lane| !lane.sent.is_empty()) {
            let ready = self.readiness.wait(SILENCE_MAX)?;
            anyhow::ensure!(!ready.is_empty(), "no answer within {SILENCE_MAX:?}");
            for place in ready {
                let answered = self.receive(place, progress, &mut outcome)?;
                if progress.phase() != Phase::Over {
                    self.send(place, answered, now())?;
                }
            }
        }
        Ok(outcome)
    }

    fn send(&mut self, place: usize, count: usize, at: Instant) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let kinds = (self.next..self.next + count).map(|number| number % self.stock.len());
        let lane = &mut self.lanes[place];
        lane.sent.extend(kinds.clone().map(|kind| (at, kind)));
        lane.link.send_all(kinds.map(|kind| &self.stock[kind].frame))?;
        self.next = (self.next + count) % self.stock.len();
        Ok(())
    }

    fn receive(
        &mut self,
        place: usize,
        progress: &Progress<'_>,
        outcome: &mut Outcome,
    ) -> Result<usize> {
        let lane = &mut self.lanes[place];
        lane.link.fill()?;
        let (at, measured) = (now(), progress.phase() == Phase::Measured);
        let mut count = 0;
        while let Some(body) = lane.link.try_receive()? {
            read_produce(body, &mut outcome.errors)?;
            let (sent_at, kind) = lane.sent.pop_front().context("an answer to nothing")?;
            if measured {
                outcome.latency.record(nanoseconds(sent_at, at))?;
            }
            progress.add(self.stock[kind].done);
            count += 1;
        }
        Ok(count)
    }
}
