//! Groups whose timers rest: nothing that happens to them may go unnoticed.

use crate::cluster::{Cluster, wait_for};
use crate::failover::{commit, values};
use crate::records::read_visible;

/// Waits until no running node's timers run for the group.
fn rest(cluster: &Cluster, nodes: &[usize]) {
    wait_for("resting timers everywhere", || {
        nodes.iter().all(|node| cluster.groups(*node).resting() == 1).then_some(())
    });
}

#[test]
fn a_resting_group_takes_produces_and_elects_another_leader() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    commit(&*cluster.replica(leader), "first", 1).unwrap();
    rest(&cluster, &[0, 1, 2]);
    commit(&*cluster.replica(leader), "rested", 1).unwrap();
    assert_eq!(cluster.leader(), leader, "a rest is no reason for another leader");
    cluster.settle();

    cluster.kill(leader);
    let next = cluster.leader();
    commit(&*cluster.replica(next), "taken over", 1).unwrap();
    cluster.start(leader);
    cluster.settle();
    rest(&cluster, &[0, 1, 2]);
    let seen = read_visible(&*cluster.replica(leader));
    assert_eq!(values(&seen), ["first/0", "rested/0", "taken over/0"]);
}

#[test]
fn a_leader_that_was_away_while_others_took_over_learns_of_it() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    commit(&*cluster.replica(leader), "first", 1).unwrap();
    rest(&cluster, &[0, 1, 2]);
    cluster.cut_off(leader);
    let others: Vec<_> = (0..3).filter(|node| *node != leader).collect();
    let next = wait_for("another leader", || {
        others.iter().copied().find(|node| cluster.replica(*node).leadership().is_local)
    });
    commit(&*cluster.replica(next), "taken over", 1).unwrap();
    rest(&cluster, &others);
    cluster.connect_all();
    wait_for("the former leader follows", || {
        let leadership = cluster.replica(leader).leadership();
        (leadership.leader == Some(cluster.broker(next))).then_some(())
    });
    cluster.settle();
}
