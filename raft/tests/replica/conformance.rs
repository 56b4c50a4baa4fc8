//! The contract of the seam, one check for each of its promises.
//!
//! A check knows an implementation only through [`Subject`]. An implementation passes all of them:
//! `all_checks!` makes a test of each.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use protocol::types::{LeaderEpoch, Offset, Timestamp};
use raft::replica::{DeleteRecordsError, ProduceError, Replica, ReplicaListener};
use storage::error::{AppendError, ReadError};

use crate::records::{NOW, Seen, batch, batch_of, read_visible};
use crate::told::{Event, Told};

/// How an implementation is stopped before it is opened again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// In order.
    Clean,
    /// The process dies; what was written is there.
    Killed,
    /// The power goes; of what was not synced the seed chooses what is there.
    PowerLost { seed: u64 },
}

/// One replica under test, with the power to stop it and to break its disk.
pub(crate) trait Subject {
    /// Whether a stop in order keeps the leader and its epoch.
    const KEEPS_EPOCH: bool;
    /// A replica of an empty partition, with retention of a week.
    fn new() -> Self;
    /// The replica as it is now.
    fn replica(&self) -> Arc<dyn Replica>;
    /// Stops it and opens what is left.
    fn restart(&mut self, stop: Stop);
    /// The next sync fails.
    fn fail_next_sync(&self);
}

/// Makes a test of each check for one implementation.
macro_rules! all_checks {
    ($subject:ty: $($check:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                let subject = <$subject as $crate::conformance::Subject>::new();
                $crate::conformance::$check(subject).await;
            }
        )*
    };
    ($subject:ty) => {
        $crate::conformance::all_checks!($subject:
            offsets_follow_the_order_of_calls,
            offsets_have_no_gap_under_concurrent_producers,
            what_is_produced_is_committed_and_read_back,
            a_listener_is_told_the_present_state_and_then_only_progress,
            a_listener_may_read_the_pointers,
            the_last_listener_wins,
            a_duplicate_gets_the_offsets_of_the_first,
            a_sequence_gap_is_refused_and_appends_nothing,
            deleted_records_stay_deleted,
            deletion_beyond_the_high_watermark_is_refused,
            retention_moves_the_log_start_up_to_the_high_watermark,
            a_clean_restart_changes_nothing,
            an_unclean_restart_raises_the_epoch,
            nothing_committed_is_lost_and_no_offset_has_two_contents,
            what_is_produced_stands_in_the_epoch_that_leads,
            a_failed_sync_is_told_once_and_is_final,
        );
    };
}
pub(crate) use all_checks;

fn produce(replica: &dyn Replica, text: &str, count: usize) -> Offset {
    replica.produce(batch(text, count), NOW).unwrap().appended.next_offset
}

/// Produces and waits until it is committed.
fn commit(replica: &dyn Replica, text: &str, count: usize) -> Offset {
    let told = Told::new();
    replica.set_listener(told.clone());
    let next_offset = produce(replica, text, count);
    told.wait_committed(next_offset);
    next_offset
}

pub(crate) async fn offsets_follow_the_order_of_calls(subject: impl Subject) {
    let replica = subject.replica();
    let mut expected = Offset::ZERO;
    for count in [1, 3, 5, 1, 200] {
        let appended = replica.produce(batch("x", count), NOW).unwrap().appended;
        assert_eq!(appended.base_offset, expected);
        expected = expected.advance(i64::try_from(count).unwrap());
        assert_eq!(appended.next_offset, expected);
        assert!(!appended.duplicate);
    }
    assert_eq!(replica.pointers().log_end_offset, expected);
}

pub(crate) async fn offsets_have_no_gap_under_concurrent_producers(subject: impl Subject) {
    let replica = subject.replica();
    let mut ranges = std::thread::scope(|scope| {
        let producers = (0..4).map(|thread| {
            let replica = &replica;
            scope.spawn(move || {
                let produce =
                    |n: usize| replica.produce(batch(&format!("{thread}"), n % 3 + 1), NOW);
                let ranges = (0..50).map(produce).map(|produced| produced.unwrap().appended);
                let ranges: Vec<_> = ranges.map(|a| (a.base_offset, a.next_offset)).collect();
                assert!(ranges.is_sorted(), "a producer's own calls are out of order");
                ranges
            })
        });
        let producers: Vec<_> = producers.collect();
        producers.into_iter().flat_map(|p| p.join().unwrap()).collect::<Vec<_>>()
    });
    ranges.sort();
    assert_eq!(ranges[0].0, Offset::ZERO);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "a gap or an overlap");
    }
}

pub(crate) async fn what_is_produced_is_committed_and_read_back(subject: impl Subject) {
    let replica = subject.replica();
    let told = Told::new();
    replica.set_listener(told.clone());
    produce(&*replica, "a", 2);
    let next_offset = produce(&*replica, "b", 1);
    told.wait_committed(next_offset);
    let pointers = replica.pointers();
    assert_eq!(pointers.high_watermark, next_offset);
    assert_eq!(pointers.last_stable_offset, next_offset);
    let values = read_visible(&*replica).into_iter().map(|seen| seen.value);
    assert_eq!(values.collect::<Vec<_>>(), ["a/0", "a/1", "b/0"]);
}

pub(crate) async fn a_listener_is_told_the_present_state_and_then_only_progress(
    subject: impl Subject,
) {
    let replica = subject.replica();
    let present = commit(&*replica, "before", 3);
    let told = Told::new();
    replica.set_listener(told.clone());
    let leads = Event::Leads(replica.leadership().leader_epoch);
    assert_eq!(told.events(), [Event::Committed(present), leads]);
    for n in 0..20 {
        let next_offset = produce(&*replica, &format!("{n}"), 1);
        if n % 4 == 0 {
            told.wait_committed(next_offset);
            assert!(replica.pointers().high_watermark >= next_offset);
        }
    }
    told.wait_committed(replica.pointers().log_end_offset);
    let events = told.events();
    assert_eq!(events[1], leads);
    let offsets = events.iter().filter(|event| **event != leads).map(|event| match event {
        Event::Committed(offset) => *offset,
        other => panic!("{other:?} was not to be told: {events:?}"),
    });
    assert!(offsets.collect::<Vec<_>>().is_sorted_by(|a, b| a < b), "{events:?}");
}

/// Reads the pointers whenever it is told something.
struct Reader {
    replica: Weak<dyn Replica>,
    told: Arc<Told>,
}

impl ReplicaListener for Reader {
    fn committed(&self, high_watermark: Offset) {
        let replica = self.replica.upgrade().unwrap();
        assert!(replica.pointers().high_watermark >= high_watermark);
        self.told.committed(high_watermark);
    }

    fn leads(&self, leader_epoch: LeaderEpoch) {
        let leadership = self.replica.upgrade().unwrap().leadership();
        assert!(leadership.is_local && leadership.leader_epoch == leader_epoch);
        self.told.leads(leader_epoch);
    }

    fn lost(&self) {
        self.told.lost();
    }

    fn ended(&self) {
        self.told.ended();
    }
}

pub(crate) async fn a_listener_may_read_the_pointers(subject: impl Subject) {
    let replica = subject.replica();
    let mut told = Told::new();
    // Listeners come while commits are told, so that the two meet.
    for n in 0..50 {
        told = Told::new();
        let weak = Arc::downgrade(&replica);
        replica.set_listener(Arc::new(Reader { replica: weak, told: told.clone() }));
        produce(&*replica, &format!("{n}"), 1);
    }
    told.wait_committed(replica.pointers().log_end_offset);
}

pub(crate) async fn the_last_listener_wins(subject: impl Subject) {
    let replica = subject.replica();
    let (first, second) = (Told::new(), Told::new());
    replica.set_listener(first.clone());
    replica.set_listener(second.clone());
    let before = first.events();
    let next_offset = produce(&*replica, "x", 1);
    second.wait_committed(next_offset);
    assert_eq!(first.events(), before);
}

pub(crate) async fn a_duplicate_gets_the_offsets_of_the_first(subject: impl Subject) {
    let replica = subject.replica();
    let first = replica.produce(batch_of(7, 0, "a", 2), NOW).unwrap().appended;
    let second = replica.produce(batch_of(7, 2, "b", 1), NOW).unwrap().appended;
    for (sequence, count, original) in [(0, 2, first), (2, 1, second)] {
        let again = replica.produce(batch_of(7, sequence, "again", count), NOW);
        let again = again.unwrap().appended;
        assert!(again.duplicate);
        assert_eq!(again.base_offset, original.base_offset);
        assert_eq!(again.next_offset, original.next_offset);
    }
    assert_eq!(replica.pointers().log_end_offset, second.next_offset);
}

pub(crate) async fn a_sequence_gap_is_refused_and_appends_nothing(subject: impl Subject) {
    let replica = subject.replica();
    replica.produce(batch_of(7, 0, "a", 2), NOW).unwrap();
    let end = replica.pointers().log_end_offset;
    let refused = replica.produce(batch_of(7, 5, "b", 1), NOW).unwrap_err();
    let ProduceError::Append(AppendError::OutOfOrderSequence { .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(replica.pointers().log_end_offset, end);
    let next = replica.produce(batch_of(7, 2, "c", 1), NOW).unwrap();
    assert_eq!(next.appended.base_offset, end);
}

pub(crate) async fn deleted_records_stay_deleted(mut subject: impl Subject) {
    let replica = subject.replica();
    let end = commit(&*replica, "x", 5);
    let three = Offset::new(3);
    assert_eq!(replica.delete_records(three).await.unwrap(), three);
    assert_eq!(replica.pointers().log_start_offset, three);
    assert_eq!(replica.delete_records(Offset::new(1)).await.unwrap(), three, "never back");
    let offsets = read_visible(&*replica).into_iter().map(|seen| seen.offset.get());
    assert_eq!(offsets.collect::<Vec<_>>(), [3, 4]);
    drop(replica);

    subject.restart(Stop::PowerLost { seed: 3 });
    let replica = subject.replica();
    assert_eq!(replica.pointers().log_start_offset, three);
    assert_eq!(replica.delete_records(Offset::NONE).await.unwrap(), end);
    assert_eq!(replica.pointers().log_start_offset, end);
    assert!(read_visible(&*replica).is_empty());
    assert_eq!(commit(&*replica, "y", 1), end.advance(1), "offsets go on");
}

pub(crate) async fn deletion_beyond_the_high_watermark_is_refused(subject: impl Subject) {
    let replica = subject.replica();
    let end = commit(&*replica, "x", 5);
    let beyond = replica.delete_records(end.advance(1)).await.unwrap_err();
    let DeleteRecordsError::BeyondHighWatermark { wanted, high_watermark } = beyond else {
        panic!("{beyond}");
    };
    assert_eq!((wanted, high_watermark), (end.advance(1), end));
    let negative = replica.delete_records(Offset::new(-2)).await.unwrap_err();
    assert!(
        matches!(negative, DeleteRecordsError::Log(ReadError::OutOfRange { .. })),
        "{negative}"
    );
    assert_eq!(replica.pointers().log_start_offset, Offset::ZERO);
}

pub(crate) async fn retention_moves_the_log_start_up_to_the_high_watermark(subject: impl Subject) {
    const WEEK_MS: i64 = 7 * 24 * 3600 * 1000;
    let replica = subject.replica();
    let end = commit(&*replica, "x", 5);
    assert_eq!(replica.apply_retention(NOW).await.unwrap(), 0);
    assert_eq!(replica.pointers().log_start_offset, Offset::ZERO);
    let later = Timestamp::new(NOW.get() + WEEK_MS + 1);
    assert!(replica.apply_retention(later).await.unwrap() > 0);
    let pointers = replica.pointers();
    assert_eq!((pointers.log_start_offset, pointers.high_watermark), (end, end));
}

pub(crate) async fn a_clean_restart_changes_nothing<S: Subject>(mut subject: S) {
    let replica = subject.replica();
    assert!(replica.leadership().is_local);
    commit(&*replica, "x", 5);
    replica.delete_records(Offset::new(1)).await.unwrap();
    let before = (replica.pointers(), replica.leadership(), read_visible(&*replica));
    drop(replica);
    subject.restart(Stop::Clean);
    let replica = subject.replica();
    assert_eq!((replica.pointers(), read_visible(&*replica)), (before.0, before.2));
    let leadership = replica.leadership();
    if S::KEEPS_EPOCH {
        assert_eq!(leadership, before.1);
    } else {
        assert!(leadership.is_local && leadership.leader_epoch > before.1.leader_epoch);
    }
    let told = Told::new();
    replica.set_listener(told.clone());
    let leads = Event::Leads(replica.leadership().leader_epoch);
    assert_eq!(told.events(), [Event::Committed(before.0.high_watermark), leads]);
}

pub(crate) async fn an_unclean_restart_raises_the_epoch(mut subject: impl Subject) {
    let mut last = subject.replica().leadership().leader_epoch;
    assert!(last >= LeaderEpoch::ZERO);
    commit(&*subject.replica(), "0", 1);
    for (n, stop) in [Stop::Killed, Stop::PowerLost { seed: 1 }, Stop::Killed].iter().enumerate() {
        subject.restart(*stop);
        let replica = subject.replica();
        let epoch = replica.leadership().leader_epoch;
        assert!(epoch > last, "{epoch} after {last} and {stop:?}");
        let start = replica.pointers().log_end_offset;
        commit(&*replica, &format!("{}", n + 1), 1);
        let newest = read_visible(&*replica).pop().unwrap();
        assert_eq!((newest.offset, newest.leader_epoch), (start, epoch));
        assert_eq!(replica.log().epoch_end(last), Some((last, start)));
        last = epoch;
    }
}

/// What was ever put under a (leader epoch, offset), committed or not.
#[derive(Default)]
struct Contents(HashMap<(LeaderEpoch, Offset), String>);

impl Contents {
    fn check(&mut self, leader_epoch: LeaderEpoch, offset: Offset, value: &str) {
        let known = self.0.entry((leader_epoch, offset)).or_insert_with(|| value.to_owned());
        assert_eq!(known, value, "two contents at {offset} of epoch {leader_epoch}");
    }
}

/// Crashes with records in every state on the way to the disk.
pub(crate) async fn nothing_committed_is_lost_and_no_offset_has_two_contents(
    mut subject: impl Subject,
) {
    let mut contents = Contents::default();
    let mut committed: Vec<Seen> = Vec::new();
    for life in 0..12_u64 {
        let replica = subject.replica();
        let told = Told::new();
        replica.set_listener(told.clone());
        let seen = read_visible(&*replica);
        assert!(seen.starts_with(&committed), "life {life}: something committed is gone");
        for Seen { offset, leader_epoch, value } in &seen {
            contents.check(*leader_epoch, *offset, value);
        }
        let leader_epoch = replica.leadership().leader_epoch;
        for n in 0..10 {
            let text = format!("{life}.{n}");
            let appended = replica.produce(batch(&text, 2), NOW).unwrap().appended;
            for record in 0..2 {
                let offset = appended.base_offset.advance(record);
                contents.check(leader_epoch, offset, &format!("{text}/{record}"));
            }
            if n == life % 10 {
                told.wait_committed(appended.next_offset);
            }
        }
        committed = read_visible(&*replica);
        let high_watermark = told.high_watermark().unwrap();
        drop(replica);
        let stop = if life % 3 == 0 { Stop::Killed } else { Stop::PowerLost { seed: life } };
        subject.restart(stop);
        let pointers = subject.replica().pointers();
        assert!(pointers.high_watermark >= high_watermark, "life {life}: {pointers:?}");
    }
}

pub(crate) async fn what_is_produced_stands_in_the_epoch_that_leads(subject: impl Subject) {
    let replica = subject.replica();
    let told = Told::new();
    replica.set_listener(told.clone());
    let produced = replica.produce(batch("x", 1), NOW).unwrap();
    assert!(told.events().contains(&Event::Leads(produced.leader_epoch)));
    told.wait_committed(produced.appended.next_offset);
    assert_eq!(read_visible(&*replica)[0].leader_epoch, produced.leader_epoch);
    assert!(!replica.in_sync().is_empty());
    let epoch = produced.leader_epoch;
    assert_eq!(replica.produce_in(epoch, batch("y", 1), NOW).unwrap().leader_epoch, epoch);
    let end = replica.pointers().log_end_offset;
    for other in [LeaderEpoch::NONE, epoch.next()] {
        let refused = replica.produce_in(other, batch("z", 1), NOW).unwrap_err();
        assert!(matches!(refused, ProduceError::NotLeader(_)), "{refused}");
    }
    assert_eq!(replica.pointers().log_end_offset, end);
}

pub(crate) async fn a_failed_sync_is_told_once_and_is_final(mut subject: impl Subject) {
    let replica = subject.replica();
    let safe = commit(&*replica, "safe", 3);
    let told = Told::new();
    replica.set_listener(told.clone());
    subject.fail_next_sync();
    produce(&*replica, "doubtful", 1);
    told.wait_ended();
    assert!(!replica.leadership().is_local);
    assert!(replica.in_sync().is_empty());
    for _ in 0..3 {
        let error = replica.produce(batch("after", 1), NOW).unwrap_err();
        assert!(matches!(error, ProduceError::Append(AppendError::Failed(_))), "{error}");
    }
    let told = told.events().into_iter().filter(|event| *event != Event::Lost);
    let told = told.collect::<Vec<_>>();
    assert!(
        matches!(told[..], [Event::Committed(at), Event::Leads(_), Event::Ended] if at == safe)
    );
    assert_eq!(replica.pointers().high_watermark, safe);
    // Who comes later learns it at once.
    let late = Told::new();
    replica.set_listener(late.clone());
    assert_eq!(late.events(), [Event::Committed(safe), Event::Ended]);
    drop(replica);

    subject.restart(Stop::PowerLost { seed: 9 });
    let replica = subject.replica();
    let values = read_visible(&*replica).into_iter().map(|seen| seen.value);
    assert_eq!(values.take(3).collect::<Vec<_>>(), ["safe/0", "safe/1", "safe/2"]);
    commit(&*replica, "it goes on", 1);
}
