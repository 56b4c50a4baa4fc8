//! A replica that comes back after the others went on without it.

use std::time::Duration;

use protocol::types::Offset;
use storage::config::LogConfig;

use crate::cluster::{Cluster, wait_for};
use crate::failover::{commit, values};
use crate::records::{NOW, batch, batch_of, read_visible};
use crate::told::{Event, Told};

/// What a leader wrote that nobody else has goes when another leads, and the offsets with it.
#[test]
fn the_tail_of_a_leader_that_was_cut_off_is_replaced() {
    let cluster = Cluster::started(3);
    let old = cluster.leader();
    let old_replica = cluster.replica(old);
    commit(&*old_replica, "before", 2).unwrap();
    cluster.settle();
    let told = Told::new();
    old_replica.set_listener(told.clone());
    cluster.cut_off(old);
    let doubtful = old_replica.produce(batch_of(9, 0, "doubtful", 3), NOW).unwrap().appended;
    for n in 0..5 {
        old_replica.produce(batch(&format!("doubtful {n}"), 1), NOW).unwrap();
    }
    let epoch = old_replica.leadership().leader_epoch;
    let others: Vec<_> = (0..3).filter(|node| *node != old).collect();
    for node in &others {
        let (groups, gone) = (cluster.groups(*node), cluster.broker(old));
        cluster.block_on(groups.broker_down(gone));
    }
    let new = wait_for("a leader among the others", || {
        others.iter().copied().find(|node| cluster.replica(*node).leadership().is_local)
    });
    let new_replica = cluster.replica(new);
    assert!(new_replica.leadership().leader_epoch > epoch);
    // The other producer's first batch is as new here as there.
    let instead = new_replica.produce(batch_of(9, 0, "instead", 3), NOW).unwrap().appended;
    assert_eq!((instead.base_offset, instead.duplicate), (doubtful.base_offset, false));
    commit(&*new_replica, "after", 1).unwrap();
    assert!(!told.events().contains(&Event::Lost), "nobody could tell it");

    cluster.connect_all();
    wait_for("the old leader to follow", || told.events().contains(&Event::Lost).then_some(()));
    cluster.settle();
    let want = ["before/0", "before/1", "instead/0", "instead/1", "instead/2", "after/0"];
    for node in 0..3 {
        assert_eq!(values(&read_visible(&*cluster.replica(node))), want, "node {node}");
    }
    // It knows the producer as the others do.
    let groups = cluster.groups(new);
    cluster.block_on(groups.transfer(crate::cluster::group_id(), cluster.broker(old))).unwrap();
    cluster.leader();
    let again = old_replica.produce(batch_of(9, 0, "instead", 3), NOW).unwrap().appended;
    assert!(again.duplicate);
    assert_eq!(again.base_offset, instead.base_offset);
}

/// A leader that reaches no majority for a moment longer than its lease takes records all the same,
/// and has lost none of them when it does again.
#[test]
fn what_is_produced_while_the_lease_is_out_waits_for_it() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    let told = Told::new();
    replica.set_listener(told.clone());
    cluster.cut_off(leader);
    let mut produced = vec!["before/0".to_owned()];
    let mut refused = 0;
    // What Raft does not take stays staged, and is not in the log.
    wait_for("the lease to run out", || {
        let text = format!("{}", produced.len());
        let end = replica.produce(batch(&text, 1), NOW).unwrap().appended.next_offset;
        produced.push(format!("{text}/0"));
        std::thread::park_timeout(Duration::from_millis(20));
        refused = if replica.log().pointers().log_end_offset < end { refused + 1 } else { 0 };
        (refused > 10).then_some(())
    });
    cluster.connect_all();
    told.wait_committed(replica.pointers().log_end_offset);
    assert!(!told.events().contains(&Event::Lost), "the others wait for seconds more");
    cluster.settle();
    for node in 0..3 {
        assert_eq!(values(&read_visible(&*cluster.replica(node))), produced, "node {node}");
    }
}

/// Nobody should wait for ever for a leader that serves nobody.
#[test]
fn a_leader_that_stays_alone_gives_up_and_leads_again_in_a_new_epoch() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    cluster.settle();
    let epoch = replica.leadership().leader_epoch;
    let told = Told::new();
    replica.set_listener(told.clone());
    let others = cluster.followers();
    others.iter().for_each(|node| cluster.kill(*node));
    wait_for("it to give up", || {
        // Refused once it has.
        drop(replica.produce(batch("doubtful", 1), NOW));
        std::thread::park_timeout(Duration::from_millis(20));
        told.events().contains(&Event::Lost).then_some(())
    });
    assert_eq!(replica.pointers().log_end_offset, replica.log().pointers().log_end_offset);
    others.iter().for_each(|node| cluster.start(*node));
    let next = cluster.replica(cluster.leader());
    assert!(next.leadership().leader_epoch > epoch);
    commit(&*next, "after", 1).unwrap();
    cluster.settle();
    let seen = read_visible(&*next);
    assert_eq!(seen.first().unwrap().value, "before/0");
    assert_eq!(seen.last().unwrap().value, "after/0");
    assert_eq!(read_visible(&*replica), seen);
}

/// Segments of a few batches, of which retention keeps a few.
fn small() -> LogConfig {
    LogConfig {
        segment_bytes_max: 1024,
        retention: None,
        retention_bytes: Some(3000),
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}

#[test]
fn who_missed_what_retention_took_begins_behind_it() {
    let mut cluster = Cluster::new(3, small());
    (0..3).for_each(|node| cluster.start(node));
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "first", 1).unwrap();
    cluster.settle();
    let away = cluster.followers()[0];
    cluster.kill(away);
    let kept = replica.produce(batch_of(5, 0, "kept in mind", 1), NOW).unwrap().appended;
    for n in 0..200 {
        commit(&*replica, &n.to_string(), 1).unwrap();
    }
    assert!(cluster.block_on(replica.apply_retention(NOW)).unwrap() > 0);
    let start = replica.pointers().log_start_offset;
    assert!(start > kept.next_offset);

    cluster.start(away);
    cluster.settle();
    let seen = read_visible(&*replica);
    let rejoined = cluster.replica(away);
    assert_eq!(rejoined.pointers(), replica.pointers());
    assert_eq!(read_visible(&*rejoined), seen);

    // The snapshot told it of the producer, whose batch it never had.
    let groups = cluster.groups(leader);
    cluster.block_on(groups.transfer(crate::cluster::group_id(), cluster.broker(away))).unwrap();
    assert_eq!(cluster.leader(), away);
    let again = rejoined.produce(batch_of(5, 0, "kept in mind", 1), NOW).unwrap().appended;
    assert!(again.duplicate);
    commit(&*rejoined, "on", 1).unwrap();

    // And again after a restart of all.
    drop((replica, rejoined));
    for node in 0..3 {
        cluster.stop(node);
    }
    (0..3).for_each(|node| cluster.start(node));
    let replica = cluster.replica(cluster.leader());
    assert!(replica.pointers().log_start_offset >= start);
    commit(&*replica, "still", 1).unwrap();
    cluster.settle();
}

#[test]
fn deleted_records_are_deleted_everywhere() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    let end = commit(&*replica, "x", 9).unwrap();
    let four = Offset::new(4);
    assert_eq!(cluster.block_on(replica.delete_records(four)).unwrap(), four);
    let refused = cluster.followers()[0];
    let refused = cluster.replica(refused);
    assert!(cluster.block_on(refused.delete_records(end)).is_err());
    drop(refused);
    for node in 0..3 {
        wait_for("the deletion", || {
            (cluster.replica(node).pointers().log_start_offset == four).then_some(())
        });
    }
    drop(replica);
    cluster.kill(leader);
    assert_eq!(cluster.replica(cluster.leader()).pointers().log_start_offset, four);
}
