//! Each promise, kept and broken.

use super::*;

/// Member 1 reads partition 0 up to 20 and gives it to member 2, which reads on to 30.
fn kept() -> (GroupHistory, HashMap<Partition, i64>) {
    let mut history = GroupHistory::default();
    history.assigned(1, 10, 1, 0);
    history.began(1, 20, 0, 0);
    history.committing(30, 0, 20);
    history.committed(40, 0, 20);
    history.given(1, 50, 0);
    history.assigned(2, 60, 2, 0);
    history.began(2, 70, 0, 20);
    history.committing(80, 0, 30);
    history.committed(90, 0, 30);
    (history, HashMap::from([(0, 30)]))
}

fn check(
    spoil: impl FnOnce(&mut GroupHistory, &mut HashMap<Partition, i64>),
    expected: &[Violation],
) {
    let (mut history, mut committed) = kept();
    spoil(&mut history, &mut committed);
    assert_eq!(history.violations(&committed), expected);
}

#[test]
fn a_kept_history_has_no_violation() {
    check(|_, _| {}, &[]);
    // A commit whose acknowledgement never came may count or not.
    check(|history, _| history.committing(95, 0, 40), &[]);
    check(
        |history, committed| {
            history.committing(95, 0, 40);
            committed.insert(0, 40);
        },
        &[],
    );
    // Who gets it back in the next generation, and begins where it was.
    check(
        |history, _| {
            history.given(2, 100, 0);
            history.assigned(2, 110, 3, 0);
            history.began(2, 120, 0, 30);
        },
        &[],
    );
}

#[test]
fn a_lost_commit_is_found_where_the_next_owner_begins() {
    let lost = Violation::CommitLost { member: 3, partition: 0, committed: 30, began_at: 20 };
    let again = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.given(2, 100, 0);
        history.assigned(3, 110, 3, 0);
        history.began(3, 120, 0, 20);
    };
    check(again, &[lost]);
}

#[test]
fn a_lost_commit_is_found_in_the_end() {
    let lost = |found| Violation::LostInTheEnd { partition: 0, committed: 30, found };
    check(|_, committed| _ = committed.insert(0, 20), &[lost(Some(20))]);
    check(|_, committed| _ = committed.remove(&0), &[lost(None)]);
}

#[test]
fn offsets_that_nobody_committed_are_found() {
    let skipped = Violation::Skipped { member: 3, partition: 0, began_at: 35 };
    let skip = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.given(2, 100, 0);
        history.assigned(3, 110, 3, 0);
        history.began(3, 120, 0, 35);
        // Begun only later.
        history.committing(130, 0, 35);
    };
    check(skip, &[skipped]);
    let invented = Violation::Invented { partition: 0, found: 31 };
    check(|_, committed| _ = committed.insert(0, 31), &[invented]);
}

#[test]
fn two_owners_in_one_generation_are_found() {
    let owners = Violation::TwoOwners { partition: 0, generation: 2, first: 2, second: 3 };
    let join = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.given(2, 100, 0);
        history.assigned(3, 110, 2, 0);
    };
    check(join, &[owners]);
}

#[test]
fn two_owners_at_one_time_are_found() {
    let overlap = |by| Violation::Overlap { partition: 0, first: 2, second: 3, by };
    let given = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.given(2, 100, 0);
        history.assigned(3, 98, -1, 0);
    };
    check(given, &[overlap(2)]);
    let held = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.assigned(3, 98, -1, 0);
        history.given(3, 99, 0);
    };
    check(held, &[overlap(Nanos::MAX - 98)]);
    // Who was silent for too long cannot know.
    let taken = |history: &mut GroupHistory, _: &mut HashMap<_, _>| {
        history.lost(2, 0);
        history.assigned(3, 98, -1, 0);
    };
    check(taken, &[]);
}
