//! Three replicas over the loss of their leader.

use protocol::types::{BrokerId, LeaderEpoch, Offset};
use raft::groups::TransferError;
use raft::replica::{ProduceError, Replica};
use storage::device::faulty::{Effect, Fault, Operation};

use crate::cluster::{Cluster, group_id, now, wait_for};
use crate::records::{NOW, Seen, batch, batch_of, read_visible};
use crate::told::{Event, Told};

/// Produces and waits until it is committed; `None` if the leadership ended before.
pub(crate) fn commit(replica: &dyn Replica, text: &str, count: usize) -> Option<Offset> {
    let told = Told::new();
    replica.set_listener(told.clone());
    let next_offset = replica.produce(batch(text, count), NOW).ok()?.appended.next_offset;
    wait_for("a commit or the end of the leadership", || {
        let events = told.events();
        let is_over = |event: &Event| matches!(event, Event::Lost | Event::Ended);
        let is_committed =
            |event: &Event| matches!(event, Event::Committed(to) if *to >= next_offset);
        if events.iter().any(is_committed) {
            Some(Some(next_offset))
        } else if events.iter().any(is_over) {
            Some(None)
        } else {
            None
        }
    })
}

pub(crate) fn values(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.value.as_str()).collect()
}

#[test]
fn a_produce_reaches_all_three() {
    let cluster = Cluster::started(3);
    let leader = cluster.replica(cluster.leader());
    for n in 0..50 {
        commit(&*leader, &n.to_string(), 2).unwrap();
    }
    cluster.settle();
    let seen = read_visible(&*leader);
    assert_eq!(seen.len(), 100);
    for follower in cluster.followers() {
        assert_eq!(read_visible(&*cluster.replica(follower)), seen);
        let refused = cluster.replica(follower).produce(batch("x", 1), NOW).unwrap_err();
        let ProduceError::NotLeader(leadership) = refused else { panic!("{refused}") };
        assert_eq!(
            leadership,
            raft::replica::Leadership { is_local: false, ..leader.leadership() }
        );
    }
    assert_eq!(leader.in_sync().len(), 3);
}

#[test]
#[expect(clippy::print_stderr, reason = "the time is measured, not asserted")]
fn what_was_committed_survives_the_leader() {
    let mut cluster = Cluster::started(3);
    let mut committed: Vec<Seen> = Vec::new();
    let mut epoch = LeaderEpoch::NONE;
    for life in 0..4 {
        let leader = cluster.leader();
        let replica = cluster.replica(leader);
        assert!(replica.leadership().leader_epoch > epoch);
        epoch = replica.leadership().leader_epoch;
        assert!(read_visible(&*replica).starts_with(&committed), "life {life}");
        for n in 0..20 {
            commit(&*replica, &format!("{life}.{n}"), 1).unwrap();
        }
        // Some that nobody waits for.
        for n in 0..5 {
            replica.produce(batch(&format!("{life}.late.{n}"), 1), NOW).unwrap();
        }
        committed = read_visible(&*replica);
        drop(replica);
        let begun = now();
        cluster.kill(leader);
        let next = cluster.leader();
        commit(&*cluster.replica(next), &format!("{life}.next"), 1).unwrap();
        eprintln!("life {life}: killed to first commit in {:?}", begun.elapsed());
        cluster.start(leader);
        cluster.settle();
    }
    let first = read_visible(&*cluster.replica(0));
    assert!(first.starts_with(&committed));
    for node in [1, 2] {
        assert_eq!(read_visible(&*cluster.replica(node)), first);
    }
}

#[test]
fn a_duplicate_is_known_to_the_next_leader() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    let first = replica.produce(batch_of(7, 0, "a", 2), NOW).unwrap().appended;
    commit(&*replica, "after", 1).unwrap();
    cluster.settle();
    drop(replica);
    cluster.kill(leader);
    let replica = cluster.replica(cluster.leader());
    let again = replica.produce(batch_of(7, 0, "a", 2), NOW).unwrap().appended;
    assert!(again.duplicate);
    assert_eq!((again.base_offset, again.next_offset), (first.base_offset, first.next_offset));
    let next = replica.produce(batch_of(7, 2, "b", 1), NOW).unwrap().appended;
    assert!(!next.duplicate);
    commit(&*replica, "end", 1).unwrap();
    assert_eq!(
        values(&read_visible(&*replica)),
        ["before/0", "a/0", "a/1", "after/0", "b/0", "end/0"]
    );
}

#[test]
fn a_leadership_is_handed_over() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    let told = Told::new();
    replica.set_listener(told.clone());
    commit(&*replica, "before", 1).unwrap();
    replica.set_listener(told.clone());
    let groups = cluster.groups(leader);
    let to = cluster.followers()[0];
    cluster.block_on(groups.transfer(group_id(), cluster.broker(to))).unwrap();
    assert_eq!(told.events().last(), Some(&Event::Lost));
    assert_eq!(cluster.leader(), to);
    commit(&*cluster.replica(to), "after", 1).unwrap();

    let again = cluster.block_on(groups.transfer(group_id(), cluster.broker(to))).unwrap_err();
    assert!(matches!(again, TransferError::NotLeader(_)), "{again}");
    let unknown = cluster.groups(to);
    let unknown = cluster.block_on(unknown.transfer(group_id(), BrokerId::new(9))).unwrap_err();
    assert!(matches!(unknown, TransferError::NotAVoter(..)), "{unknown}");

    let mut leaderships = cluster.groups(to).leaderships();
    cluster.block_on(cluster.groups(to).hand_over_all());
    let now = cluster.block_on(leaderships.changed());
    assert_ne!(cluster.leader(), to);
    assert!(now.iter().all(|(id, _)| *id == group_id()));
    assert_eq!(values(&read_visible(&*replica)), ["before/0", "after/0"]);
}

#[test]
fn the_others_take_over_where_the_leader_s_disk_has_failed() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let replica = cluster.replica(leader);
    commit(&*replica, "before", 1).unwrap();
    let told = Told::new();
    replica.set_listener(told.clone());
    let fault = Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail };
    cluster.device(leader).inject(fault);
    replica.produce(batch("doubtful", 1), NOW).unwrap();
    told.wait_ended();
    let next = cluster.leader();
    assert_ne!(next, leader);
    commit(&*cluster.replica(next), "after", 1).unwrap();
    assert_eq!(replica.leadership().leader, None);
}

#[test]
fn a_group_works_on_without_a_follower_whose_disk_has_failed() {
    let cluster = Cluster::started(3);
    let leader = cluster.replica(cluster.leader());
    commit(&*leader, "before", 1).unwrap();
    let follower = cluster.followers()[0];
    let told = Told::new();
    cluster.replica(follower).set_listener(told.clone());
    let fault = Fault { operation: Operation::Sync, nth: 1, effect: Effect::Fail };
    cluster.device(follower).inject(fault);
    for n in 0..20 {
        commit(&*leader, &n.to_string(), 1).unwrap();
    }
    told.wait_ended();
}
