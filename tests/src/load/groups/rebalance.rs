//! Rebalances of one large group: all members join again at once with a changed subscription, the leader
//! assigns, all get their assignment; then the next one.
//!
//! What counts is the time from when the last JoinGroup was sent until the last SyncGroup was answered.

use super::crowd::{Crowd, Plan};
use crate::deadline::PATIENCE;
use crate::group_calls::{JOIN, SYNC};
use crate::load::frames::{Form, Frame};
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::readiness::Readiness;
use crate::load::report::{Report, number};
use crate::load::responses::{ErrorCodes, read_code, read_join};
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use std::iter::once;
use std::time::Duration;

/// How large the group is.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Rebalance {
    /// What all subscribe to; created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Its partitions
    #[arg(long, default_value_t = 64)]
    pub partitions: i32,
    /// Members, each with a connection
    #[arg(long, default_value_t = 1000)]
    pub members: usize,
    /// Session timeout
    #[arg(long, default_value_t = 45)]
    pub session_seconds: u64,
}

impl Rebalance {
    /// Runs it. Latency is that of a rebalance; a request is a JoinGroup or a SyncGroup.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses a member.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let crowd = Crowd::gather(&Plan {
            broker: setting.broker,
            topic: &self.topic,
            partitions: self.partitions,
            groups: 1,
            members: self.members,
            connections: self.members,
            session: Duration::from_secs(self.session_seconds),
        })?;
        let mut group = Group::new(crowd)?;
        let rebalance = |progress: &Progress<'_>| group.rebalance_again_and_again(progress);
        let mut report = run(&setting.limits_with_time(), vec![rebalance])?;
        group.crowd.leave()?;
        // Two requests of each member make a rebalance.
        let rebalances = number(report.requests) / number(2 * self.members as u64);
        report.figure("rebalances", rebalances);
        if let Some(cpu) = report.server_cpu_seconds.filter(|_| rebalances > 0.0) {
            report.figure("server_cpu_milliseconds_per_rebalance", cpu * 1e3 / rebalances);
        }
        Ok(report)
    }
}

/// The group with its frames.
#[derive(Debug)]
struct Group {
    crowd: Crowd,
    frames: Vec<Frames>,
    readiness: Readiness,
    turn: usize,
}

/// What one member sends.
#[derive(Debug)]
struct Frames {
    /// Joins with subscriptions that differ.
    joins: [Frame; 2],
    sync: Form,
    awaits: Awaits,
}

/// The answer that a member waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Nothing,
    Join,
    Sync,
}

impl Group {
    fn new(crowd: Crowd) -> Result<Self> {
        let (readiness, mut frames) = (Readiness::new()?, Vec::new());
        for (place, member) in crowd.members.iter().enumerate() {
            let join = |turn| Frame::new(JOIN, &crowd.terms(place).join(&member.id, turn)?);
            let sync = |generation| crowd.sync_request(place, generation);
            let sync = Form::between(SYNC, &sync(0)?, &sync(-1)?)?;
            readiness.add(&crowd.links[member.lane], place)?;
            // The first rebalance must change what was said before.
            frames.push(Frames { joins: [join(1)?, join(0)?], sync, awaits: Awaits::Nothing });
        }
        Ok(Self { crowd, frames, readiness, turn: 0 })
    }

    fn rebalance_again_and_again(&mut self, progress: &Progress<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::new();
        while progress.phase() != Phase::Over {
            let took = self.rebalance(&mut outcome.errors)?;
            if progress.phase() == Phase::Measured {
                outcome.latency.record(took)?;
            }
            progress.add(Done { requests: 2 * self.frames.len() as u64, ..Done::default() });
        }
        Ok(outcome)
    }

    /// One rebalance; nanoseconds from the last join to the last assignment.
    fn rebalance(&mut self, errors: &mut ErrorCodes) -> Result<u64> {
        let turn = self.turn % 2;
        self.turn += 1;
        for (member, frames) in self.crowd.members.iter().zip(&mut self.frames) {
            self.crowd.links[member.lane].send_all(once(&frames.joins[turn]))?;
            frames.awaits = Awaits::Join;
        }
        let begun = now();
        let mut settled = 0;
        while settled < self.frames.len() {
            let ready = self.readiness.wait(PATIENCE)?;
            ensure!(!ready.is_empty(), "{settled} have their assignment, then nothing came");
            for place in ready {
                let link = &mut self.crowd.links[self.crowd.members[place].lane];
                link.fill()?;
                while self.frames[place].advance(link, errors)? {
                    settled += usize::from(self.frames[place].awaits == Awaits::Nothing);
                }
            }
        }
        Ok(nanoseconds(begun, now()))
    }
}

impl Frames {
    /// Takes one answer, if it is here, and goes on; whether there was one.
    fn advance(&mut self, link: &mut Link, errors: &mut ErrorCodes) -> Result<bool> {
        let Some(body) = link.try_receive()? else { return Ok(false) };
        match self.awaits {
            Awaits::Nothing => anyhow::bail!("an answer to nothing"),
            Awaits::Join => {
                let joined = read_join(body)?;
                errors.note(joined.code);
                ensure!(joined.code == 0, "join: error {}", joined.code);
                link.send_all(once(self.sync.filled(joined.generation_id.to_be_bytes())))?;
                self.awaits = Awaits::Sync;
            }
            Awaits::Sync => {
                let code = read_code(body)?;
                errors.note(code);
                ensure!(code == 0, "sync: error {code}");
                self.awaits = Awaits::Nothing;
            }
        }
        Ok(true)
    }
}
