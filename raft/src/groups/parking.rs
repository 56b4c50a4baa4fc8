//! Lets the timers of groups rest whose leader is settled.
//!
//! What an idle group costs is openraft's timer, and what that timer is for is watched once for each
//! pair of nodes here: a leader that is gone is found by the detector, and the takeover elects another;
//! a leader that ends alone says so itself. Entries, commits and what a follower lacks are sent without
//! it. A leader whose lease has run out meanwhile asks the others once before its next write
//! (`group::proposer`). So a group ticks while it has no leader, and for a while after anything about
//! it has changed; only liveness depends on this, safety stays Raft's.
//!
//! A broker that was away and is back may still take itself for the leader of what others took over.
//! A leader's next heartbeat tells it: so its groups tick again for as long as after an election.

use std::collections::{BTreeMap, HashMap};
use std::sync::Weak;
use std::time::Duration;

use protocol::types::{BrokerId, LeaderEpoch};
use tokio::time::Instant;

use super::Inner;
use crate::group::Group;
use crate::peers::Health;
use crate::types::GroupId;

/// How often all groups are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long nothing may have changed: several heartbeats.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Who led a group when it was looked at, and since when.
#[derive(Debug, Clone, Copy)]
struct Led {
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    since: Instant,
}

/// Looks at the groups until there are none any more.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut led: HashMap<GroupId, Led> = HashMap::new();
    let mut up_since: BTreeMap<BrokerId, Instant> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        let health = inner.peers.health().borrow().clone();
        up_since.retain(|broker, _| health.get(broker) == Some(&Health::Up));
        for broker in health.iter().filter(|(_, health)| **health == Health::Up).map(|(id, _)| id) {
            up_since.entry(*broker).or_insert(now);
        }
        let groups = inner.open_groups();
        if led.len() > groups.len() {
            led.retain(|id, _| groups.iter().any(|group| group.id() == *id));
        }
        for group in &groups {
            let leadership = group.leadership_now();
            let seen = Led {
                leader: leadership.leader,
                leader_epoch: leadership.leader_epoch,
                since: now,
            };
            let known = led.entry(group.id()).or_insert(seen);
            if (known.leader, known.leader_epoch) != (seen.leader, seen.leader_epoch) {
                *known = seen;
            }
            let since = settled_since(group, *known, inner.me.broker_id, &up_since);
            let rests = since.is_some_and(|since| now.duration_since(since) >= SETTLED_AFTER);
            group.set_ticking(!rests);
        }
    }
}

/// Since when neither the leader nor who is there of the voters has changed; `None` without a leader
/// that is there.
fn settled_since(
    group: &Group,
    led: Led,
    me: BrokerId,
    up_since: &BTreeMap<BrokerId, Instant>,
) -> Option<Instant> {
    let leader = led.leader?;
    if leader != me && !up_since.contains_key(&leader) {
        return None;
    }
    let voters = group.voters().into_iter().map(|voter| voter.broker_id);
    voters.filter_map(|broker| up_since.get(&broker).copied()).chain([led.since]).max()
}
