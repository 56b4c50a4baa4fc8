//! Members that only say that they live: what heartbeats cost, and what members take of memory.
//!
//! Heartbeats leave evenly spread over the interval, each at its time whatever the broker does; latency
//! counts from the time it was due.

use super::crowd::{Crowd, Plan};
use crate::deadline::PATIENCE;
use crate::group_calls::HEARTBEAT;
use crate::load::frames::Frame;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::readiness::Readiness;
use crate::load::report::{Report, number};
use crate::load::responses::read_code;
use crate::load::setting::Setting;
use crate::load::topics;
use crate::process::{anonymous_bytes, resident_bytes};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rustix::thread::set_current_timer_slack;
use serde::Serialize;
use std::collections::VecDeque;
use std::iter::once;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Longest burst of heartbeats that are late before answers are looked at.
const BURST_MAX: usize = 64;

/// Who is there.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Idle {
    /// What all subscribe to; created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Its partitions
    #[arg(long, default_value_t = 64)]
    pub partitions: i32,
    /// Members of all groups
    #[arg(long, default_value_t = 10_000)]
    pub members: usize,
    /// Groups
    #[arg(long, default_value_t = 100)]
    pub groups: usize,
    /// Connections that they share [default: one each]
    #[arg(long)]
    pub connections: Option<usize>,
    /// From one heartbeat of a member to its next
    #[arg(long, default_value_t = 3.0)]
    pub heartbeat_seconds: f64,
    /// Session timeout
    #[arg(long, default_value_t = 45)]
    pub session_seconds: u64,
}

impl Idle {
    /// Runs it. A request is a heartbeat.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses a member.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let server = setting.limits.server;
        let memory = || server.map(|pid| (resident_bytes(pid), anonymous_bytes(pid)));
        let (before, begun) = (memory(), now());
        let crowd = Crowd::gather(&Plan {
            broker: setting.broker,
            topic: &self.topic,
            partitions: self.partitions,
            groups: self.groups,
            members: self.members,
            connections: self.connections.unwrap_or(self.members),
            session: Duration::from_secs(self.session_seconds),
        })?;
        let joined = now().duration_since(begun).as_secs_f64();
        let interval = Duration::try_from_secs_f64(self.heartbeat_seconds)?;
        let mut hearts = Hearts::new(crowd, interval)?;
        let beat = |progress: &Progress<'_>| hearts.beat(progress);
        let mut report = run(&setting.limits_with_time(), vec![beat])?;
        let after = memory();
        report.figure("seconds_until_all_joined", joined);
        if let Some(cpu) = report.server_cpu_seconds {
            report.figure("server_cpu_percent_of_a_core", 100.0 * cpu / report.seconds);
        }
        if let (Some(before), Some(after)) = (before, after) {
            let grown = |before, after| number(after) - number(before);
            report.figure("resident_bytes_added", grown(before.0, after.0));
            report.figure("anonymous_bytes_added", grown(before.1, after.1));
        }
        hearts.crowd.leave()?;
        Ok(report)
    }
}

/// The members with their heartbeats.
#[derive(Debug)]
struct Hearts {
    crowd: Crowd,
    frames: Vec<Frame>,
    /// When those under way on each connection were due.
    due: Vec<VecDeque<Instant>>,
    readiness: Readiness,
    pause: Duration,
    next: usize,
}

impl Hearts {
    fn new(crowd: Crowd, interval: Duration) -> Result<Self> {
        let readiness = Readiness::new()?;
        for (lane, link) in crowd.links.iter().enumerate() {
            readiness.add(link, lane)?;
        }
        let frames = crowd.members.iter().enumerate().map(|(place, member)| {
            let request = crowd.terms(place).heartbeat(&member.id, member.generation_id);
            Frame::new(HEARTBEAT, &request)
        });
        let frames: Vec<_> = frames.collect::<Result<_>>()?;
        let due = vec![VecDeque::new(); crowd.links.len()];
        let pause = interval.div_f64(number(frames.len() as u64));
        Ok(Self { crowd, frames, due, readiness, pause, next: 0 })
    }

    fn beat(&mut self, progress: &Progress<'_>) -> Result<Outcome> {
        set_current_timer_slack(NonZeroU64::new(1))?;
        let (mut outcome, mut due) = (Outcome::new(), now());
        while progress.phase() != Phase::Over {
            let time = now();
            for _ in 0..BURST_MAX {
                if due > time {
                    break;
                }
                self.send(due)?;
                due += self.pause;
            }
            self.receive(due.saturating_duration_since(now()), progress, &mut outcome)?;
        }
        while self.due.iter().any(|due| !due.is_empty()) {
            let came = self.receive(PATIENCE, progress, &mut outcome)?;
            ensure!(came, "no answer within {PATIENCE:?}");
        }
        Ok(outcome)
    }

    fn send(&mut self, due: Instant) -> Result<()> {
        let lane = self.crowd.members[self.next].lane;
        self.due[lane].push_back(due);
        self.crowd.links[lane].send_all(once(&self.frames[self.next]))?;
        self.next = (self.next + 1) % self.frames.len();
        Ok(())
    }

    /// Takes what comes before the wait is over; whether anything came.
    fn receive(
        &mut self,
        wait: Duration,
        progress: &Progress<'_>,
        outcome: &mut Outcome,
    ) -> Result<bool> {
        let ready = self.readiness.wait(wait)?;
        let (time, measured) = (now(), progress.phase() == Phase::Measured);
        for lane in &ready {
            let link = &mut self.crowd.links[*lane];
            link.fill()?;
            while let Some(body) = link.try_receive()? {
                outcome.errors.note(read_code(body)?);
                let due = self.due[*lane].pop_front().context("an answer to nothing")?;
                progress.add(Done { requests: 1, ..Done::default() });
                if measured {
                    outcome.latency.record(nanoseconds(due, time))?;
                }
            }
        }
        Ok(!ready.is_empty())
    }
}
