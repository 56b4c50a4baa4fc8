//! Hands what is staged to Raft, in order: one task for each replica, asleep unless it leads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use protocol::types::{LeaderEpoch, Offset};

use super::Group;
use super::tenure::Next;
use super::types::{Answer, CommittedLeaderId, PartitionRaft, Proposal, term_of};

/// How long a leader that Raft holds up is left alone before the next try.
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// A leader that was held up for so long, with nothing of it taken, stops taking produces: who
/// produced should ask elsewhere.
const HELD_UP_MAX: Duration = Duration::from_secs(6);
/// How often a leader that gave up tries to hand over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(1);

type Outcome = ClientWriteResult<PartitionRaft>;

/// Runs until the replica is closed or Raft's core has ended.
pub(super) async fn run(group: Arc<Group>) {
    let answer = answer(&group);
    let mut held_up: Option<HeldUp> = None;
    while !group.closing.load(Ordering::Acquire) {
        match group.state.tenure.next() {
            Next::Wait => group.state.tenure.wake.notified().await,
            Next::Retry => {
                let end = group.state.bounds().end;
                let since = match held_up {
                    Some(held) if held.log_end == end => held.since,
                    _ => tokio::time::Instant::now(),
                };
                held_up = Some(HeldUp { since, log_end: end });
                if since.elapsed() > HELD_UP_MAX {
                    held_up = None;
                    give_up(&group).await;
                    continue;
                }
                // Its lease may have run out while nobody wrote: the others renew it.
                drop(group.raft.trigger().heartbeat().await);
                tokio::time::sleep(RETRY_AFTER).await;
                group.state.tenure.begin_again();
            }
            Next::Propose(epoch, offsets) => {
                if !propose(&group, epoch, offsets, &answer).await {
                    return;
                }
            }
        }
    }
}

/// Since when Raft has taken nothing.
#[derive(Clone, Copy)]
struct HeldUp {
    since: tokio::time::Instant,
    log_end: protocol::types::LogIndex,
}

/// Hands proposals over, in order; false once there is nobody to take them.
async fn propose(
    group: &Group,
    epoch: LeaderEpoch,
    offsets: Vec<Offset>,
    answer: &Answer<Outcome>,
) -> bool {
    let term = term_of(epoch).expect("a tenure's epoch was made of a term");
    for base_offset in offsets {
        let write = group.raft.write(Proposal::Staged(base_offset));
        let write = write.with_leader(CommittedLeaderId::new(term)).responder(answer.clone());
        // The task is not cancelled; the core takes it or has ended.
        if write.await.is_err() {
            return false;
        }
    }
    true
}

/// What becomes of proposals. A commit is told by the log store; here only a refusal matters.
fn answer(group: &Arc<Group>) -> Answer<Outcome> {
    let group = Arc::downgrade(group);
    Answer(Arc::new(move |outcome: Outcome| {
        let Err(ClientWriteError::ForwardToLeader(to)) = outcome else { return };
        match to.reason {
            // It may take it later.
            ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer => {
                if let Some(group) = group.upgrade() {
                    group.state.tenure.refused();
                }
            }
            // The vote has changed: the tenure ends when the store is told of it.
            ForwardReason::NotLeader => {}
        }
    }))
}

/// Ends a tenure that Raft does not serve. The leadership is still this replica's, and only a new
/// term may take produces again: it is offered to the others until one takes it.
pub(super) async fn give_up(group: &Arc<Group>) {
    let state = &group.state;
    let leadership = state.teller.leadership();
    if !state.tenure.give_up(&state.log) {
        return;
    }
    tracing::warn!(group = %group.id(), "a leader reaches no majority and takes no more records");
    state.teller.follows(None, leadership.leader_epoch);
    tokio::spawn(offer_leadership(Arc::clone(group), leadership.leader_epoch));
}

async fn offer_leadership(group: Arc<Group>, epoch: LeaderEpoch) {
    let others: Vec<_> =
        group.voters().into_iter().filter(|voter| *voter != group.state.me).collect();
    for to in others.iter().cycle() {
        tokio::time::sleep(HAND_OVER_EVERY).await;
        let now = group.state.teller.leadership();
        if group.closing.load(Ordering::Acquire) || now.leader_epoch != epoch {
            return;
        }
        Arc::clone(&group).hand_over(*to).await;
    }
}
