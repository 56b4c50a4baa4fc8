//! Three replicas where the disk of one hangs, is full or has failed, or one reaches nobody.

use std::time::Duration;

use raft::groups::TransferError;
use raft::replica::ProduceError;
use storage::device::faulty::Operation;

use crate::cluster::{Cluster, group_id, wait_for};
use crate::failover::{commit, values};
use crate::records::{NOW, batch, read_visible};
use crate::told::{Event, Told};

const DISK: [Operation; 3] = [Operation::Write, Operation::Sync, Operation::Create];

/// Waits until another than `node` leads, and returns it.
fn other_leader(cluster: &Cluster, node: usize) -> usize {
    wait_for("another leader", || {
        let mut others = cluster.running().filter(|other| *other != node);
        others.find(|other| cluster.replica(*other).leadership().is_local)
    })
}

#[test]
fn a_leader_whose_disk_hangs_gives_its_leadership_away_and_does_not_get_it_back() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    cluster.settle();
    let told = Told::new();
    replica.set_listener(told.clone());
    cluster.device(leader).hang(&DISK);
    // Something must be on its way to the disk.
    replica.produce(batch("during", 1), NOW).unwrap();
    let next = other_leader(&cluster, leader);
    commit(&*cluster.replica(next), "after", 1).unwrap();
    wait_for("the end of its tenure", || told.events().contains(&Event::Lost).then_some(()));
    assert!(!replica.leadership().is_local);
    // The others hear of it with the next ping.
    wait_for("it to be known", || cluster.takes_for_unfit(next, leader).then_some(()));
    assert!(!cluster.replica(next).in_sync().contains(&cluster.broker(leader)));
    let groups = cluster.groups(next);
    let refused = cluster.block_on(groups.transfer(group_id(), cluster.broker(leader)));
    assert!(matches!(refused, Err(TransferError::Unfit(..))), "{refused:?}");

    cluster.device(leader).release();
    cluster.settle();
    let seen = read_visible(&*replica);
    assert_eq!(values(&seen), ["before/0", "during/0", "after/0"]);
    assert_eq!(cluster.leader(), next);
    let refused = cluster.block_on(groups.transfer(group_id(), cluster.broker(leader)));
    assert!(matches!(refused, Err(TransferError::Unfit(..))), "it has just come back: {refused:?}");
}

#[test]
fn a_follower_whose_disk_hangs_holds_up_nobody() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    commit(&*cluster.replica(leader), "before", 1).unwrap();
    cluster.settle();
    cluster.device(follower).hang(&DISK);
    commit(&*cluster.replica(leader), "during", 1).unwrap();
    let hanging = cluster.broker(follower);
    wait_for("it to be known", || {
        commit(&*cluster.replica(leader), "more", 1).unwrap();
        std::thread::park_timeout(Duration::from_millis(20));
        (!cluster.replica(leader).in_sync().contains(&hanging)).then_some(())
    });
    assert_eq!(cluster.leader(), leader);
    // The next leader is not the one that hangs.
    cluster.block_on(cluster.groups(leader).hand_over_all());
    let next = other_leader(&cluster, leader);
    assert_ne!(next, follower);
    cluster.device(follower).release();
    cluster.settle();
}

#[test]
fn a_leader_whose_disk_is_full_gives_its_leadership_away() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    cluster.settle();
    // What it has is all that it holds.
    cluster.device(leader).set_capacity_bytes(Some(0));
    let produced = replica.produce(batch("during", 1), NOW);
    let next = other_leader(&cluster, leader);
    drop(produced);
    commit(&*cluster.replica(next), "after", 1).unwrap();
    cluster.device(leader).set_capacity_bytes(None);
    cluster.settle();
    assert_eq!(cluster.leader(), next);
}

#[test]
fn a_leader_that_reaches_no_majority_stops_taking_records_and_leads_again_in_a_new_term() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    cluster.settle();
    let epoch = replica.leadership().leader_epoch;
    let others = cluster.followers();
    for other in &others {
        cluster.kill(*other);
    }
    wait_for("nobody in sync", || (replica.in_sync().len() <= 1).then_some(()));
    let gave_up = |error: ProduceError| matches!(error, ProduceError::NotLeader(_)).then_some(());
    wait_for("it to give up", || replica.produce(batch("lost", 1), NOW).err().and_then(gave_up));
    assert_eq!(replica.leadership().leader, None);
    for other in &others {
        cluster.start(*other);
    }
    let next = cluster.leader();
    assert!(cluster.replica(next).leadership().leader_epoch > epoch);
    commit(&*cluster.replica(next), "after", 1).unwrap();
    cluster.settle();
}
