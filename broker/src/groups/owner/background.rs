//! What an owner does by itself: it loads the groups, looks at times that have come, and makes
//! snapshots.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::MutexGuard;
use tokio::sync::Notify;

use super::writing::AppendOutcome;
use super::{Owner, RETRY_AFTER, Serving, State, UNCOVERED_BYTES_MAX, Uncovered};
use crate::groups::load::{self, Loaded};
use crate::groups::shard::{Due, Shard};
use crate::groups::times::Times;

/// Loads, then looks at times as long as somebody holds the owner.
pub(super) async fn run(owner: Weak<Owner>, look_again: Arc<Notify>) {
    let Some(loading) = owner.upgrade() else { return };
    // An owner before this one may have appended what is not committed yet, in the same epoch.
    let end = loading.partition.replica.pointers().log_end_offset;
    if loading.committed(end).await.is_err() {
        return loading.resign();
    }
    let load = move || load::load(&loading.partition, &loading.snapshot);
    let loaded = tokio::task::spawn_blocking(load).await;
    let Some(present) = owner.upgrade() else { return };
    let Ok(loaded) = loaded else {
        tracing::error!(partition = %present.partition.name.partition, "loading groups has panicked");
        present.give_up(&mut present.state.lock());
        return;
    };
    present.loaded(loaded);
    drop(present);
    loop {
        let Some(present) = owner.upgrade() else { return };
        // A panic has been told, and the groups are given up.
        let looked = catch_unwind(AssertUnwindSafe(|| present.look_at_times()));
        let Ok(next) = looked else { return };
        present.cover();
        match next {
            Some(at) => {
                // Whichever comes first, the times are looked at.
                tokio::time::timeout_at(at.into(), look_again.notified()).await.ok();
            }
            None => look_again.notified().await,
        }
    }
}

impl State {
    /// What is due. Nothing is while the log takes nothing.
    fn next_due(&mut self, now: Instant) -> Option<Due> {
        let serving = self.serving().ok().filter(|serving| serving.held_back.is_none())?;
        serving.shard.due(now)
    }
}

impl Owner {
    fn loaded(&self, loaded: Result<Loaded, load::LoadError>) {
        let at = self.times();
        let mut state = self.state.lock();
        if !matches!(*state, State::Loading) {
            // It has resigned meanwhile.
            return;
        }
        match loaded {
            Ok(Loaded { replay, end, log_bytes }) => {
                let shard = Shard::new(replay, self.terms.clone(), self.cluster.image(), at);
                self.tally.set(Arc::clone(shard.tally())).expect("groups are loaded once");
                let partition = &self.partition.name.partition;
                tracing::debug!(%partition, groups = shard.len(), log_bytes, "groups are loaded");
                *state = State::Serving(Box::new(Serving {
                    shard,
                    end,
                    waiting: HashMap::new(),
                    next_ticket: 0,
                    held_back: None,
                    armed: None,
                    uncovered: Uncovered {
                        bytes: log_bytes,
                        bytes_max: UNCOVERED_BYTES_MAX,
                        is_being_covered: false,
                    },
                }));
            }
            Err(error) => {
                let partition = &self.partition.name.partition;
                tracing::error!(%partition, %error, "the groups of this partition cannot be loaded");
                self.give_up(&mut state);
            }
        }
    }

    /// Does what is due; when to come again.
    fn look_at_times(&self) -> Option<Instant> {
        let at = self.times();
        let mut state = self.state.lock();
        if state
            .serving()
            .is_ok_and(|it| it.held_back.as_ref().is_some_and(|it| it.retry_at <= at.now))
        {
            self.write_held_back(&mut state, at);
        }
        while let Some(due) = state.next_due(at.now) {
            self.guarded(&mut state, |state| match due {
                Due::Members(name, timer) => {
                    let Ok(serving) = state.serving() else { return };
                    serving.shard.see(self.cluster.image());
                    let effects = serving.shard.wake(&name, &timer, at);
                    self.carry_out(state, effects, at);
                }
                Due::Expiry(name) => self.expire(state, &name, at),
            });
        }
        let serving = state.serving().ok()?;
        serving.armed = serving.next_look();
        serving.armed
    }

    /// Makes a snapshot in the background if there is much that none covers.
    fn cover(self: Arc<Self>) {
        let turn = {
            let mut state = self.state.lock();
            let Ok(Serving { uncovered, .. }) = state.serving() else { return };
            if uncovered.is_being_covered || uncovered.bytes < uncovered.bytes_max {
                return;
            }
            // When another owner is at it, the next append asks again.
            let Ok(turn) = Arc::clone(&self.covering).try_acquire_owned() else { return };
            *uncovered = Uncovered { bytes: 0, is_being_covered: true, ..*uncovered };
            turn
        };
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let made = self.snapshot.renew(&self.partition);
            let partition = &self.partition.name.partition;
            if let Err(error) = &made {
                tracing::warn!(%partition, %error, "no snapshot of the groups: starts take longer");
            }
            let mut state = self.state.lock();
            if let Ok(Serving { uncovered, .. }) = state.serving() {
                uncovered.is_being_covered = false;
                uncovered.bytes_max = match made {
                    Ok(bytes) => bytes.max(UNCOVERED_BYTES_MAX),
                    // To try again at each step would read a growing log for nothing.
                    Err(_told) => uncovered.bytes_max.saturating_mul(2),
                };
            }
        });
    }

    fn expire(&self, state: &mut MutexGuard<'_, State>, name: &Arc<str>, at: Times) {
        let Ok(serving) = state.serving() else { return };
        let records = serving.shard.plan_expiry(name, at);
        if !records.is_empty() {
            match self.append(&mut serving.uncovered, &records, at) {
                Ok(end) => {
                    tracing::debug!(group = %name, commits = records.len(), "forgot what was too old");
                    serving.end = end;
                    serving.shard.apply(records, at);
                }
                Err(AppendOutcome::Refused | AppendOutcome::TooLarge) => {
                    serving.shard.set_expiry(name, at.now + RETRY_AFTER);
                    return;
                }
                Err(AppendOutcome::Lost) => {
                    self.give_up(state);
                    return;
                }
            }
        }
        serving.shard.note_expiry(name, at);
    }
}
