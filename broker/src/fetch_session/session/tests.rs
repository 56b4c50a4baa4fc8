//! The table of KIP-227 for the state of one session, without a broker.

use protocol::types::LeaderEpoch;

use super::*;

fn wanted(fetch_offset: i64) -> Wanted {
    let from = ReadFrom {
        fetch_offset: Offset::new(fetch_offset),
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
    };
    Wanted { from, bytes_max: 100 }
}

fn key(topic: &str) -> TopicKey {
    TopicKey::Name(topic.into())
}

/// A session of partitions 0, 1, 2, … of topic "t".
fn session(partitions: i32) -> Session {
    let mut session = Session::new(false);
    for partition in 0..partitions {
        session.want(key("t"), partition, wanted(0)).unwrap();
    }
    session
}

fn at_end(high_watermark: i64, log_start: i64) -> Finding {
    Finding::Seen {
        high_watermark: Offset::new(high_watermark),
        log_start_offset: Offset::new(log_start),
        has_records: false,
        at_end: true,
    }
}

fn records(high_watermark: i64) -> Finding {
    Finding::Seen {
        high_watermark: Offset::new(high_watermark),
        log_start_offset: Offset::ZERO,
        has_records: true,
        at_end: false,
    }
}

fn partitions(candidates: &[Candidate]) -> Vec<i32> {
    candidates.iter().map(|candidate| candidate.partition).collect()
}

/// Looks at what is due, reports the same finding for all, and tells what had to be sent.
fn fetch(session: &mut Session, finding: Finding) -> Vec<i32> {
    let due = session.take_due();
    let sent = due.iter().filter(|candidate| session.report(candidate, finding, |_| true));
    sent.map(|candidate| candidate.partition).collect()
}

/// The partition's mark, as its waiters would set it.
fn change(session: &Session, candidate: &Candidate) {
    session.watch().mark(candidate.slot);
}

#[test]
fn epochs_count_up_and_wrap_to_one() {
    let mut session = Session::new(true);
    assert_eq!(session.advance(0, true), Err(SessionError::InvalidEpoch));
    assert_eq!(session.advance(1, true), Ok(()));
    assert_eq!(session.advance(1, true), Err(SessionError::InvalidEpoch));
    assert_eq!(session.advance(2, false), Err(SessionError::TopicIds));
    assert_eq!(session.advance(2, true), Ok(()), "a refused request does not move the epoch");
    session.next_epoch = i32::MAX;
    assert_eq!(session.advance(i32::MAX, true), Ok(()));
    assert_eq!(session.advance(1, true), Ok(()));
}

#[test]
fn a_quiet_partition_is_told_once_and_then_costs_nothing() {
    let mut session = session(3);
    assert_eq!(fetch(&mut session, at_end(5, 0)), [0, 1, 2], "the first time all are news");
    assert!(session.take_due().is_empty());
    assert!(fetch(&mut session, at_end(5, 0)).is_empty());
}

#[test]
fn only_what_has_changed_is_looked_at() {
    let mut session = session(3);
    let all = session.take_all();
    for candidate in &all {
        session.report(candidate, at_end(5, 0), |_| true);
    }
    change(&session, &all[1]);
    assert_eq!(fetch(&mut session, at_end(6, 0)), [1], "a new high watermark");
    change(&session, &all[1]);
    assert_eq!(fetch(&mut session, at_end(6, 2)), [1], "a new log start");
    change(&session, &all[1]);
    assert!(fetch(&mut session, at_end(6, 2)).is_empty(), "a change that says nothing new");
    session.want(key("t"), 2, wanted(3)).unwrap();
    assert_eq!(partitions(&session.take_due()), [2], "the client asks for another offset");
}

#[test]
fn records_are_sent_until_the_client_moves_on() {
    let mut session = session(1);
    assert_eq!(fetch(&mut session, records(9)), [0]);
    assert_eq!(fetch(&mut session, records(9)), [0], "it did not move: they are sent again");
    session.want(key("t"), 0, wanted(9)).unwrap();
    assert!(fetch(&mut session, at_end(9, 0)).is_empty(), "it knows this high watermark");
    assert!(session.take_due().is_empty());
}

#[test]
fn trouble_is_repeated_and_its_end_is_told() {
    let mut session = session(1);
    assert_eq!(fetch(&mut session, at_end(5, 0)), [0]);
    session.want(key("t"), 0, wanted(5)).unwrap();
    assert_eq!(fetch(&mut session, Finding::Trouble), [0]);
    assert_eq!(fetch(&mut session, Finding::Trouble), [0]);
    assert_eq!(fetch(&mut session, at_end(5, 0)), [0], "the same pointers, but it is well again");
    assert!(session.take_due().is_empty());
}

#[test]
fn who_got_records_goes_to_the_end_of_the_line() {
    let mut session = session(3);
    let due = session.take_due();
    assert_eq!(partitions(&due), [0, 1, 2]);
    session.report(&due[0], records(9), |_| true);
    session.give_back(due[1..].iter().map(|candidate| candidate.slot));
    assert_eq!(partitions(&session.take_due()), [1, 2, 0]);
}

#[test]
fn a_forgotten_partition_is_gone_and_its_slot_is_used_again() {
    let mut session = session(2);
    let due = session.take_due();
    session.forget(key("t"), 0);
    session.forget(key("other"), 0);
    session.want(key("u"), 7, wanted(0)).unwrap();
    assert_eq!((session.len(), session.table.len()), (2, 2));
    // A fetch that still holds the forgotten partition must not speak for the new one.
    assert!(!session.report(&due[0], at_end(5, 0), |_| true));
    assert!(session.park(&due[0], at_end(5, 0), |_| panic!("nothing to watch any more")));
    session.give_back(due[1..].iter().map(|candidate| candidate.slot));
    let mut all = partitions(&session.take_due());
    all.sort_unstable();
    assert_eq!(all, [1, 7]);
}

#[test]
fn a_parked_fetch_looks_again_only_where_it_must() {
    let mut session = session(3);
    fetch(&mut session, at_end(5, 0));
    (0..3).for_each(|partition| session.want(key("t"), partition, wanted(5)).unwrap());
    let due = session.take_due();
    let watched = |_: &Arc<Watch>| panic!("it is watched since the report");
    assert!(session.park(&due[0], at_end(5, 0), watched));
    assert!(session.park(&due[1], at_end(6, 0), watched));
    assert!(session.park(&due[2], records(6), watched));
    let again = partitions(&session.take_due());
    assert_eq!(again, [1, 2], "a high watermark to tell, and records to send");
}

#[test]
fn a_watch_that_is_refused_makes_the_fetch_look_again() {
    let mut session = session(1);
    let due = session.take_due();
    assert!(!session.park(&due[0], at_end(5, 0), |_| false));
    let due = session.take_due();
    assert_eq!(partitions(&due), [0]);
    session.report(&due[0], at_end(5, 0), |_| false);
    assert_eq!(partitions(&session.take_due()), [0], "also after a response");
}

#[test]
fn a_session_has_a_largest_size() {
    let mut session = session(0);
    for partition in 0..i32::try_from(SESSION_PARTITIONS_MAX).unwrap() {
        session.want(key("t"), partition, wanted(0)).unwrap();
    }
    assert_eq!(session.want(key("t"), -1, wanted(0)), Err(SessionError::TooLarge));
    assert_eq!(session.want(key("t"), 0, wanted(1)), Ok(()), "a known one may still change");
}
