//! Commits of offsets: each member commits its own partition, ever higher, one request in flight.

use super::crowd::{Crowd, Plan};
use crate::deadline::PATIENCE;
use crate::group_calls::COMMIT;
use crate::load::frames::Form;
use crate::load::link::Link;
use crate::load::meter::{Done, Outcome, Phase, Progress, nanoseconds, now, run};
use crate::load::readiness::Readiness;
use crate::load::report::Report;
use crate::load::responses::read_commit;
use crate::load::setting::Setting;
use crate::load::topics;
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use std::iter::once;
use std::time::{Duration, Instant};

/// How long a member may be silent; commits count as a sign of life.
const SESSION: Duration = Duration::from_secs(45);

/// Who commits.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Commits {
    /// What all subscribe to; created with `--partitions` if it is missing
    #[arg(long)]
    pub topic: String,
    /// Its partitions
    #[arg(long, default_value_t = 64)]
    pub partitions: i32,
    /// Members of all groups, each with a connection
    #[arg(long, default_value_t = 64)]
    pub members: usize,
    /// Groups
    #[arg(long, default_value_t = 1)]
    pub groups: usize,
}

impl Commits {
    /// Runs it. A request is a commit.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses a member.
    pub fn run(&self, setting: &Setting) -> Result<Report> {
        topics::ensure(setting.broker, &self.topic, self.partitions)?;
        let mut crowd = Crowd::gather(&Plan {
            broker: setting.broker,
            topic: &self.topic,
            partitions: self.partitions,
            groups: self.groups,
            members: self.members,
            connections: self.members,
            session: SESSION,
        })?;
        let commit = |progress: &Progress<'_>| commit_again_and_again(&mut crowd, progress);
        let report = run(&setting.limits_with_time(), vec![commit])?;
        crowd.leave()?;
        Ok(report)
    }
}

/// One member's request.
#[derive(Debug)]
struct Lane {
    form: Form,
    offset: i64,
    sent: Instant,
}

impl Lane {
    fn send(&mut self, link: &mut Link) -> Result<()> {
        self.offset += 1;
        self.sent = now();
        link.send_all(once(self.form.filled(self.offset.to_be_bytes())))
    }
}

fn commit_again_and_again(crowd: &mut Crowd, progress: &Progress<'_>) -> Result<Outcome> {
    let (readiness, mut lanes, mut outcome) = (Readiness::new()?, Vec::new(), Outcome::new());
    for (place, member) in crowd.members.iter().enumerate() {
        let who = (member.id.as_str(), member.generation_id);
        let commit = |offset| crowd.terms(place).commit(who, member.partition, offset);
        let form = Form::between(COMMIT, &commit(0), &commit(-1))?;
        readiness.add(&crowd.links[place], place)?;
        lanes.push(Lane { form, offset: 0, sent: now() });
    }
    for (lane, link) in lanes.iter_mut().zip(&mut crowd.links) {
        lane.send(link)?;
    }
    let mut in_flight = lanes.len();
    while in_flight > 0 {
        let ready = readiness.wait(PATIENCE)?;
        ensure!(!ready.is_empty(), "no answer within {PATIENCE:?}");
        for place in ready {
            let (lane, link) = (&mut lanes[place], &mut crowd.links[place]);
            link.fill()?;
            let Some(body) = link.try_receive()? else { continue };
            read_commit(body, &mut outcome.errors)?;
            if progress.phase() == Phase::Measured {
                outcome.latency.record(nanoseconds(lane.sent, now()))?;
            }
            progress.add(Done { requests: 1, ..Done::default() });
            match progress.phase() {
                Phase::Over => in_flight -= 1,
                Phase::WarmUp | Phase::Measured => lane.send(link)?,
            }
        }
    }
    Ok(outcome)
}
