//! Who takes part in the metadata group: up to three brokers vote, the others learn.
//!
//! The leader of the group sees to it, from what is registered and who lives:
//! * every registered broker that lives is at least a learner, so that it has the metadata;
//! * three brokers vote as soon as there are three, one as long as there are fewer: with two voters
//!   the loss of either would stop the group;
//! * only a learner becomes a voter, so that it has the log already;
//! * a voter that was down for [`GONE_AFTER`] is replaced by a learner that lives, if there is one;
//! * a broker that came back with an empty disk is another replica: it takes the place of the one
//!   that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::types::BrokerId;
use raft::replicated_state::{Members, ReplicatedState};
use raft::types::ReplicaId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::alive::Alive;
use super::image::Image;

/// Voters in a cluster that is large enough.
const VOTERS: usize = 3;
/// A restart takes less, and should move nothing.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// The leader looks again at least this often, for time passes without an event.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps the members right as long as this node leads the group. Ends when nobody publishes images
/// any more; may be dropped anywhere, since the next leader completes what was begun.
pub(super) async fn keep(
    group: ReplicatedState,
    me: ReplicaId,
    mut images: watch::Receiver<Arc<Image>>,
    alive: Alive,
) {
    let mut leader = group.leader();
    let mut changes = alive.changes();
    let mut absences = Absences::default();
    loop {
        if leader.borrow_and_update().is_local {
            let registered = registered(&images.borrow_and_update());
            let live = alive.all();
            let gone = absences.note(&registered, &live);
            let brokers = Brokers { registered, live, gone };
            if let Some(Members { voters, learners }) = next(&group.members(), &brokers, me) {
                tracing::info!(?voters, ?learners, "changing who keeps the metadata");
                if let Err(error) = group.change_members(voters, learners).await {
                    tracing::warn!(%error, "who keeps the metadata is not as it should be yet");
                }
            }
            // Looked at again also after a change: it may have been one of several.
            let events = async {
                tokio::select! {
                    changed = images.changed() => changed.is_ok(),
                    _ = leader.changed() => true,
                    () = alive_changed(&mut changes) => true,
                }
            };
            if !timeout(LOOK_EVERY, events).await.unwrap_or(true) {
                return;
            }
        } else {
            absences = Absences::default();
            if leader.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn alive_changed(changes: &mut Option<super::alive::Healths>) {
    match changes {
        Some(changes) => drop(changes.changed().await),
        None => std::future::pending().await,
    }
}

/// What the leader knows of the brokers.
#[derive(Debug)]
struct Brokers {
    /// Every broker that other nodes can reach, as it registered last.
    registered: BTreeSet<ReplicaId>,
    /// Who lives.
    live: BTreeSet<BrokerId>,
    /// Who has been down for long.
    gone: BTreeSet<BrokerId>,
}

/// Who registered, as replicas of the metadata group.
fn registered(image: &Image) -> BTreeSet<ReplicaId> {
    let nodes = image.brokers.iter().filter_map(|(broker_id, broker)| {
        let directory_id = broker.node.as_ref()?.directory_id;
        Some(ReplicaId { broker_id: *broker_id, directory_id })
    });
    nodes.collect()
}

/// Who should take part after `now`; `None` if that is who does. `leader` is one of the voters.
fn next(now: &Members, brokers: &Brokers, leader: ReplicaId) -> Option<Members> {
    let Brokers { registered, live, gone } = brokers;
    let lives = |replica: &&ReplicaId| live.contains(&replica.broker_id);
    let is_ready = |replica: &&ReplicaId| now.learners.contains(replica) && lives(replica);
    // The first of them vote: the leader, voters in good standing, learners that live, voters that
    // are gone, voters whose disk is.
    let standing =
        |replica: &&ReplicaId| registered.contains(replica) && !gone.contains(&replica.broker_id);
    let (good, bad): (Vec<ReplicaId>, Vec<_>) = now.voters.iter().partition(standing);
    let (gone, lost): (Vec<_>, Vec<_>) =
        bad.into_iter().partition(|replica| registered.contains(replica));
    let ready = registered.iter().filter(is_ready).copied().collect();
    let mut order: Vec<ReplicaId> = vec![leader];
    for replica in [good, ready, gone, lost].into_iter().flatten() {
        if !order.contains(&replica) {
            order.push(replica);
        }
    }
    let count = if order.len() >= VOTERS { VOTERS } else { 1 };
    let voters: BTreeSet<_> = order.into_iter().take(count).collect();
    let learners = registered.iter().filter(|replica| {
        !voters.contains(replica) && (lives(replica) || now.learners.contains(replica))
    });
    let next = Members { learners: learners.copied().collect(), voters };
    (next != *now).then_some(next)
}

/// Since when each broker is down.
#[derive(Debug, Default)]
struct Absences(BTreeMap<BrokerId, Instant>);

impl Absences {
    /// Looks at who lives now; returns those of `registered` that have been down for long.
    fn note(
        &mut self,
        registered: &BTreeSet<ReplicaId>,
        live: &BTreeSet<BrokerId>,
    ) -> BTreeSet<BrokerId> {
        let now = Instant::now();
        let down = registered.iter().map(|replica| replica.broker_id);
        let down: BTreeSet<_> = down.filter(|id| !live.contains(id)).collect();
        self.0.retain(|id, _| down.contains(id));
        for id in down {
            self.0.entry(id).or_insert(now);
        }
        let gone = self.0.iter().filter(|(_, since)| now.duration_since(**since) >= GONE_AFTER);
        gone.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn replica(id: i32, disk: u128) -> ReplicaId {
        ReplicaId { broker_id: BrokerId::new(id), directory_id: Uuid::from_u128(disk) }
    }

    fn set(replicas: &[(i32, u128)]) -> BTreeSet<ReplicaId> {
        replicas.iter().map(|(id, disk)| replica(*id, *disk)).collect()
    }

    fn ids(ids: &[i32]) -> BTreeSet<BrokerId> {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    /// Follows the rule until it has nothing more to say.
    fn settle(mut now: Members, brokers: &Brokers, leader: ReplicaId) -> (Members, Vec<Members>) {
        let mut steps = Vec::new();
        while let Some(next) = next(&now, brokers, leader) {
            assert!(next.voters.contains(&leader), "{next:?}");
            for voter in next.voters.difference(&now.voters) {
                assert!(now.learners.contains(voter), "{voter} votes without having the log");
            }
            steps.push(next.clone());
            now = next;
            assert!(steps.len() < 10, "no end: {steps:?}");
        }
        (now, steps)
    }

    fn all_live(registered: &[(i32, u128)]) -> Brokers {
        let registered = set(registered);
        let live = registered.iter().map(|replica| replica.broker_id).collect();
        Brokers { registered, live, gone: BTreeSet::new() }
    }

    fn only(voters: &[(i32, u128)]) -> Members {
        Members { voters: set(voters), learners: BTreeSet::new() }
    }

    #[test]
    fn one_voter_becomes_three_when_there_are_three_and_never_two() {
        let leader = replica(1, 1);
        let start = only(&[(1, 1)]);
        assert_eq!(next(&start, &all_live(&[(1, 1)]), leader), None);
        let (two, _) = settle(start, &all_live(&[(1, 1), (2, 2)]), leader);
        assert_eq!((two.voters.clone(), two.learners.clone()), (set(&[(1, 1)]), set(&[(2, 2)])));
        let (three, _) = settle(two, &all_live(&[(1, 1), (2, 2), (3, 3)]), leader);
        assert_eq!(three, only(&[(1, 1), (2, 2), (3, 3)]));
        let (four, _) = settle(three, &all_live(&[(1, 1), (2, 2), (3, 3), (4, 4)]), leader);
        assert_eq!((four.voters.len(), four.learners), (3, set(&[(4, 4)])));
    }

    #[test]
    fn a_voter_that_is_gone_is_replaced_and_one_that_restarts_is_not() {
        let leader = replica(1, 1);
        let everybody = [(1, 1), (2, 2), (3, 3), (4, 4)];
        let now = Members { voters: set(&everybody[..3]), learners: set(&everybody[3..]) };
        let mut brokers = all_live(&everybody);
        brokers.live = ids(&[1, 3, 4]);
        assert_eq!(next(&now, &brokers, leader), None);
        brokers.gone = ids(&[2]);
        let (settled, _) = settle(now, &brokers, leader);
        assert_eq!(settled.voters, set(&[(1, 1), (3, 3), (4, 4)]));
        // With nobody to take its place it stays.
        let three = only(&everybody[..3]);
        let brokers =
            Brokers { registered: set(&everybody[..3]), live: ids(&[1, 3]), gone: ids(&[2]) };
        assert_eq!(next(&three, &brokers, leader), None);
    }

    #[test]
    fn a_disk_that_was_lost_is_replaced_by_the_new_one() {
        let leader = replica(1, 1);
        let now = only(&[(1, 1), (2, 2), (3, 3)]);
        let (settled, steps) = settle(now, &all_live(&[(1, 1), (2, 20), (3, 3)]), leader);
        assert_eq!(settled, only(&[(1, 1), (2, 20), (3, 3)]));
        assert!(steps.iter().all(|step| step.voters.len() == 3), "{steps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn gone_is_who_was_down_for_long_without_a_break() {
        let mut absences = Absences::default();
        let registered = set(&[(1, 1), (2, 2)]);
        assert_eq!(absences.note(&registered, &ids(&[1])), ids(&[]));
        tokio::time::advance(GONE_AFTER / 2).await;
        assert_eq!(absences.note(&registered, &ids(&[1, 2])), ids(&[]));
        assert_eq!(absences.note(&registered, &ids(&[1])), ids(&[]));
        tokio::time::advance(GONE_AFTER).await;
        assert_eq!(absences.note(&registered, &ids(&[1])), ids(&[2]));
    }
}
