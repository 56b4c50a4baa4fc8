//! Which requests are taken, and from whom.

use super::*;

#[test]
fn a_full_group_takes_only_its_members() {
    let mut bed = Bed::new(&[("t", 1)]);
    bed.limits.members_max = 1;
    bed.join("a", &["t"]);
    assert_eq!(bed.heartbeat(&joining("b", &["t"])), Err(GroupError::Full));
    bed.join("a", &["t"]);
}

#[test]
fn requests_that_no_client_may_send_are_refused() {
    let good = || joining("a", &["t"]);
    let limits = limits();
    assert_eq!(good().check(1, &limits), Ok(()));
    let without_id = || HeartbeatRequest { member_id: Arc::from(""), ..good() };
    assert_eq!(without_id().check(0, &limits), Ok(()), "version 0: the broker makes one");
    assert_eq!(&**without_id().id(), "new");
    let refused = [
        (1, without_id()),
        (0, HeartbeatRequest { member_epoch: 1, ..without_id() }),
        (0, HeartbeatRequest { member_epoch: LEAVE_EPOCH, ..without_id() }),
        (1, as_static(" ", good())),
        (1, HeartbeatRequest { rack_id: Some(Arc::from("")), ..good() }),
        (1, HeartbeatRequest { rebalance_timeout_ms: None, ..good() }),
        (1, HeartbeatRequest { owned: None, ..good() }),
        (1, HeartbeatRequest { owned: Some(partitions(&[("t", &[0])])), ..good() }),
        (1, HeartbeatRequest { topics: None, ..good() }),
        (1, beating("a", AWAY_EPOCH)),
        (1, beating("a", -3)),
        (1, beating(&"a".repeat(ID_BYTES_MAX + 1), 1)),
    ];
    for (version, request) in refused {
        let error = request.check(version, &limits).unwrap_err();
        assert!(matches!(error, GroupError::InvalidRequest(_)), "{request:?}");
    }
    let foreign = HeartbeatRequest { assignor: Some(Arc::from("sticky")), ..good() };
    assert_eq!(foreign.check(1, &limits), Err(GroupError::UnsupportedAssignor));
}

#[test]
fn commits_and_fetches_are_checked_against_the_member_epoch() {
    let mut bed = Bed::new(&[("t", 2)]);
    let t = |partition| (Some(topic_id("t")), partition);
    assert_eq!(bed.group.check_commit("x", -1, 9, []), Ok(()), "nobody's group");
    bed.join("a", &["t"]);
    let commit =
        |bed: &Bed, epoch, partition| bed.group.check_commit("a", epoch, 9, [t(partition)]);
    assert_eq!(commit(&bed, 2, 0), Ok(()));
    assert_eq!(commit(&bed, 3, 0), Err(GroupError::StaleEpoch));
    assert_eq!(bed.group.check_commit("a", 2, 8, []), Err(GroupError::UnsupportedVersion));
    assert_eq!(bed.group.check_commit("b", 2, 9, []), Err(GroupError::UnknownMember));
    assert_eq!(bed.group.check_commit("", -1, 9, []), Err(GroupError::UnknownMember));
    bed.join("b", &["t"]);
    bed.report("a", &[]);
    assert_eq!(bed.epoch_of("a"), 3);
    assert_eq!(commit(&bed, 2, 0), Ok(()), "it has had it since then");
    assert_eq!(commit(&bed, 2, 1), Err(GroupError::StaleEpoch), "it is another's now");
    assert_eq!(commit(&bed, 1, 0), Err(GroupError::StaleEpoch), "it had nothing then");
    assert_eq!(bed.group.check_commit("a", 2, 9, [(None, 0)]), Err(GroupError::StaleEpoch));
    assert_eq!(bed.group.check_fetch(None, -1), Ok(()));
    assert_eq!(bed.group.check_fetch(Some("a"), 3), Ok(()));
    assert_eq!(bed.group.check_fetch(Some("a"), 2), Err(GroupError::StaleEpoch));
    assert_eq!(bed.group.check_fetch(Some("x"), 3), Err(GroupError::UnknownMember));
}
