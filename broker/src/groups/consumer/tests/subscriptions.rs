//! What a group subscribes to, and when that makes its epoch rise and its target be computed.

use super::*;

fn with_regex(member_id: &str, regex: &str) -> HeartbeatRequest {
    HeartbeatRequest { topics: None, regex: Some(Arc::from(regex)), ..joining(member_id, &[]) }
}

#[test]
fn topics_that_come_and_grow_raise_the_epoch() {
    let mut bed = Bed::new(&[]);
    let answer = bed.join("a", &["t"]);
    assert_eq!((answer.member_epoch, assigned(&answer)), (2, Some(Partitions::new())));
    set_topic(&mut bed.image, "other", 1);
    assert_eq!(bed.beat("a").member_epoch, 2);
    for (count, epoch, all) in [(1, 3, &[0][..]), (3, 4, &[0, 1, 2])] {
        set_topic(&mut bed.image, "t", count);
        let answer = bed.beat("a");
        assert_eq!(
            (answer.member_epoch, assigned(&answer)),
            (epoch, Some(partitions(&[("t", all)])))
        );
    }
    delete_topic(&mut bed.image, "t");
    let answer = bed.report("a", &[]);
    assert_eq!((answer.member_epoch, assigned(&answer)), (5, Some(Partitions::new())));
}

#[test]
fn topics_that_a_member_wants_no_more_are_revoked_at_once() {
    let mut bed = Bed::new(&[("t", 1), ("u", 1)]);
    bed.limits.assignment_interval = Duration::from_secs(10);
    bed.join("a", &["t", "u"]);
    let less = HeartbeatRequest { topics: Some(names(&["u"])), ..beating("a", 2) };
    let answer = bed.heartbeat(&less).unwrap();
    assert_eq!(bed.group.phase(), ConsumerPhase::Assigning, "the interval has not passed");
    assert_eq!((answer.member_epoch, assigned(&answer)), (2, Some(partitions(&[("u", &[0])]))));
    assert_eq!(bed.state_of("a"), MemberState::Unrevoked);
    bed.report("a", &[("u", &[0])]);
    bed.pass(Duration::from_secs(10));
    assert_eq!(bed.beat("a").member_epoch, 3);
    assert_eq!(bed.group.phase(), ConsumerPhase::Stable);
}

#[test]
fn targets_are_computed_once_in_an_interval() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.limits.assignment_interval = Duration::from_secs(1);
    bed.join("a", &["t"]);
    let early = bed.join("b", &["t"]);
    assert_eq!((early.member_epoch, assigned(&early)), (2, Some(Partitions::new())));
    bed.pass(Duration::from_secs(1));
    assert_eq!(bed.beat("b").member_epoch, 3);
    assert_eq!(assigned(&bed.beat("a")), Some(partitions(&[("t", &[0])])));
}

#[test]
fn regular_expressions_match_whole_names_and_see_new_topics() {
    let mut bed = Bed::new(&[("t1", 1), ("xt1", 1)]);
    let answer = bed.heartbeat(&with_regex("a", "t.*")).unwrap();
    assert_eq!(assigned(&answer), Some(partitions(&[("t1", &[0])])));
    let bad = bed.heartbeat(&with_regex("b", "t("));
    assert_eq!(bad, Err(GroupError::InvalidRegex));
    assert_eq!(bed.group.state.members.len(), 1, "nothing has changed");
    set_topic(&mut bed.image, "t2", 1);
    assert_eq!(bed.beat("a").assignment, None, "not more often than every ten seconds");
    bed.pass(Duration::from_secs(11));
    assert_eq!(assigned(&bed.beat("a")), Some(partitions(&[("t1", &[0]), ("t2", &[0])])));
    let other =
        HeartbeatRequest { regex: Some(Arc::from("xt.")), ..beating("a", bed.epoch_of("a")) };
    let answer = bed.heartbeat(&other).unwrap();
    assert_eq!(assigned(&answer), Some(Partitions::new()), "first it gives up");
    assert_eq!(bed.group.state.regexes.len(), 1, "the old expression is forgotten");
    assert_eq!(assigned(&bed.report("a", &[])), Some(partitions(&[("xt1", &[0])])));
    bed.heartbeat(&beating("a", LEAVE_EPOCH)).unwrap();
    assert!(bed.group.state.regexes.is_empty());
}

#[test]
fn names_and_an_expression_add_up() {
    let mut bed = Bed::new(&[("a1", 1), ("b1", 1)]);
    let both = HeartbeatRequest { regex: Some(Arc::from("a.")), ..joining("m", &["b1"]) };
    let answer = bed.heartbeat(&both).unwrap();
    assert_eq!(assigned(&answer), Some(partitions(&[("a1", &[0]), ("b1", &[0])])));
    let readers = bed.group.state.readers();
    assert!(readers.contains_key("a1") && !readers.contains_key("c"));
}

#[test]
fn the_assignor_that_most_want_is_taken() {
    let mut bed = Bed::new(&[("t", 4), ("u", 4)]);
    let wanting = |member_id: &str, assignor: &str| HeartbeatRequest {
        assignor: Some(Arc::from(assignor)),
        ..joining(member_id, &["t", "u"])
    };
    bed.heartbeat(&wanting("a", "range")).unwrap();
    assert_eq!(bed.group.assignor(&bed.limits), Assignor::Range);
    bed.heartbeat(&wanting("b", "uniform")).unwrap();
    bed.heartbeat(&wanting("c", "uniform")).unwrap();
    assert_eq!(bed.group.assignor(&bed.limits), Assignor::Uniform);
    bed.limits.assignors = &[Assignor::Range];
    assert_eq!(bed.group.assignor(&bed.limits), Assignor::Range);
    assert_eq!(wanting("d", "uniform").check(1, &bed.limits), Err(GroupError::UnsupportedAssignor));
}
