//! Until when members are waited for. Nothing of this is durable: after a start all waits begin anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::{Member, MemberState};
use super::{ConsumerGroup, Surroundings};
use crate::groups::effects::{Effects, Timer};
use crate::groups::times::from_millis;

/// What is waited for of one member.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// A sign of life.
    session: Instant,
    /// That it gives up partitions, at the epoch that it has.
    revocation: Option<(Instant, i32)>,
    /// That it joins again, having been told so (classic protocol).
    pub(super) rejoin: Option<Instant>,
    /// That it asks for its assignment (classic protocol).
    pub(super) resync: Option<Instant>,
}

impl ConsumerGroup {
    /// After a start.
    pub(super) fn begin_all(&mut self, around: Surroundings<'_>, effects: &mut Effects) {
        let member_ids: Vec<_> = self.state.members.keys().cloned().collect();
        for member_id in member_ids {
            self.begin_session(&member_id, around, effects);
            self.expect_revocation(&member_id, around, effects);
        }
    }

    /// A sign of life: the session begins anew.
    pub(super) fn begin_session(
        &mut self,
        member_id: &Arc<str>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Some(member) = self.state.members.get(member_id) else { return };
        let own =
            member.told.classic.as_ref().map(|classic| from_millis(classic.session_timeout_ms));
        let session = around.at.now + own.unwrap_or(around.limits.session_timeout);
        if let Some(deadlines) = self.deadlines.get_mut(member_id) {
            let is_sooner = session < deadlines.session;
            deadlines.session = session;
            // The timer that is set looks at this when it goes off, unless that is too late.
            if !is_sooner {
                return;
            }
        } else {
            let deadlines = Deadlines { session, revocation: None, rejoin: None, resync: None };
            self.deadlines.insert(Arc::clone(member_id), deadlines);
        }
        effects.timers.push((session, Timer::Session(Arc::clone(member_id))));
    }

    /// A member that must give partitions up has its rebalance timeout for it. Classic members have
    /// theirs to join again.
    pub(super) fn expect_revocation(
        &mut self,
        member_id: &Arc<str>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Some(member) = self.state.members.get(member_id) else { return };
        let revokes = member.current.state == MemberState::Unrevoked && !member.is_classic();
        let until =
            revokes.then(|| (around.at.now + rebalance_timeout(member), member.current.epoch));
        if let Some((at, _)) = until {
            effects.timers.push((at, Timer::Revocation(Arc::clone(member_id))));
        }
        if let Some(deadlines) = self.deadlines.get_mut(member_id) {
            deadlines.revocation = until;
        }
    }

    /// A classic member has been told to join again.
    pub(super) fn expect_rejoin(
        &mut self,
        member_id: &Arc<str>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Some(member) = self.state.members.get(member_id) else { return };
        let at = around.at.now + rebalance_timeout(member);
        if let Some(deadlines) = self.deadlines.get_mut(member_id)
            && deadlines.rejoin.is_none()
        {
            deadlines.rejoin = Some(at);
            effects.timers.push((at, Timer::Rejoin(Arc::clone(member_id))));
        }
    }

    /// A classic member has joined, and will ask for its assignment.
    pub(super) fn expect_resync(
        &mut self,
        member_id: &Arc<str>,
        around: Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let Some(member) = self.state.members.get(member_id) else { return };
        let at = around.at.now + rebalance_timeout(member);
        if let Some(deadlines) = self.deadlines.get_mut(member_id) {
            (deadlines.rejoin, deadlines.resync) = (None, Some(at));
            effects.timers.push((at, Timer::Resync(Arc::clone(member_id))));
        }
    }

    /// A time has come that was asked for.
    pub(crate) fn wake(&mut self, timer: &Timer, around: Surroundings<'_>, effects: &mut Effects) {
        let (Timer::Session(member_id)
        | Timer::Revocation(member_id)
        | Timer::Rejoin(member_id)
        | Timer::Resync(member_id)) = timer
        else {
            return;
        };
        let (Some(deadlines), Some(member)) =
            (self.deadlines.get(member_id), self.state.members.get(member_id))
        else {
            return;
        };
        let now = around.at.now;
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let (is_over, why) = match timer {
            Timer::Session(_) => {
                if deadlines.session > now {
                    effects.timers.push((deadlines.session, timer.clone()));
                }
                (deadlines.session <= now, "its session ended")
            }
            Timer::Revocation(_) => {
                let epoch = member.current.epoch;
                let at = deadlines.revocation.filter(|(_, since)| *since == epoch);
                (is_past(at.map(|(at, _)| at)), "it did not give up its partitions in time")
            }
            Timer::Rejoin(_) => (is_past(deadlines.rejoin), "it did not join again in time"),
            Timer::Resync(_) => (is_past(deadlines.resync), "it did not sync in time"),
            Timer::Pending(_) | Timer::Join | Timer::Sync | Timer::Expiry => (false, ""),
        };
        if is_over {
            tracing::info!(group = %self.name, member = %member_id, "a member is gone: {why}");
            self.dismiss(std::slice::from_ref(member_id), around, effects);
        }
    }
}

fn rebalance_timeout(member: &Member) -> Duration {
    from_millis(member.told.rebalance_timeout_ms)
}
