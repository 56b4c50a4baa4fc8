//! A leader that should not lead: its disk is unfit, or it reaches no majority.
//!
//! Where the disk is unfit the leadership goes to a replica whose broker is fit. A core that waits for
//! the disk cannot even hand over: then the others are asked to take it. If nobody else is fit, it
//! stays: of brokers that are all unfit one leads.
//!
//! A leader without a majority commits nothing, and others may have elected another. It stops taking
//! records, so that clients ask elsewhere, and leads again only in a new term.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use protocol::types::BrokerId;
use tokio::time::Instant;

use super::{Groups, Inner, takeover};
use crate::fitness::Fitness;
use crate::group::Group;
use crate::peers::Health;
use crate::types::GroupId;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a majority may be down before its leader gives up: longer than its lease, so that it goes on
/// after a short cut. Until then acks=all is refused.
const ISOLATED_MAX: Duration = Duration::from_secs(5);

/// Looks at what is led here until there are no groups any more.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut isolated: HashMap<GroupId, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        let me = inner.me.broker_id;
        let led = inner.open_groups().into_iter();
        let led = led.filter(|group| group.leadership_now().leader == Some(me));
        let led: Vec<_> = led.filter(|group| !group.is_closing()).collect();
        isolated.retain(|id, _| led.iter().any(|group| group.id() == *id));
        for group in &led {
            if reaches_majority(&inner, group) {
                isolated.remove(&group.id());
            } else if isolated.entry(group.id()).or_insert_with(Instant::now).elapsed()
                > ISOLATED_MAX
            {
                group.give_up_leadership().await;
            }
        }
        if inner.votes.has_failed() && inner.peers.fitness_of(me).is_fit() {
            inner.peers.set_fitness(Fitness::Failed);
        }
        let fitness = inner.peers.fitness_of(me);
        if !matches!(fitness, Fitness::Fit | Fitness::Recovering) {
            join_all(led.into_iter().map(|group| give_away(&inner, group, fitness))).await;
        }
    }
}

fn reaches_majority(inner: &Inner, group: &Group) -> bool {
    let health = inner.peers.health();
    let health = health.borrow();
    let is_there = |broker: BrokerId| {
        broker == inner.me.broker_id || !matches!(health.get(&broker), None | Some(Health::Down))
    };
    let there = group.voters().iter().filter(|voter| is_there(voter.broker_id)).count();
    there * 2 > group.voters().len()
}

/// Has a replica on a fit broker lead a group that is led here.
async fn give_away(inner: &Arc<Inner>, group: Arc<Group>, fitness: Fitness) {
    let me = inner.me.broker_id;
    let Some(heir) = heir(inner, &group) else { return };
    let groups = Groups { inner: Arc::clone(inner) };
    let handed = groups.transfer(group.id(), heir).await;
    if group.leadership_now().leader != Some(me) {
        tracing::info!(group = %group.id(), fitness = fitness.name(), "a leadership was given away");
    } else if let Err(error) = handed {
        tracing::warn!(group = %group.id(), %error, "the others are asked to take a leadership");
        takeover::ask_others(inner, &group).await;
    }
}

/// The first in the order of preference that is in sync, and fit.
fn heir(inner: &Inner, group: &Group) -> Option<BrokerId> {
    let reached = group.reached();
    let mut voters = group.voters().into_iter().map(|voter| voter.broker_id);
    voters.find(|broker| {
        *broker != inner.me.broker_id && reached.contains(broker) && inner.peers.is_fit(*broker)
    })
}
