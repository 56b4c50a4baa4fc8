//! Members of the classic protocol in a group of the consumer protocol.

use bytes::{BufMut, Bytes, BytesMut};
use protocol::consumer_protocol::Assignment;

use super::*;
use crate::groups::classic::{JoinRequest, SyncRequest};
use crate::groups::effects::{Joined, Synced};

/// What a consumer puts into JoinGroup (version 1).
pub(in crate::groups) fn subscription(topics: &[&str], owned: &[(&str, &[i32])]) -> Bytes {
    let mut out = BytesMut::new();
    let put_name = |out: &mut BytesMut, name: &str| {
        out.put_i16(i16::try_from(name.len()).unwrap());
        out.put_slice(name.as_bytes());
    };
    out.put_i16(1);
    out.put_i32(i32::try_from(topics.len()).unwrap());
    topics.iter().for_each(|name| put_name(&mut out, name));
    out.put_i32(-1);
    out.put_i32(i32::try_from(owned.len()).unwrap());
    for (name, partitions) in owned {
        put_name(&mut out, name);
        out.put_i32(i32::try_from(partitions.len()).unwrap());
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.freeze()
}

/// A JoinGroup whose ticket is `ticket`.
pub(in crate::groups) fn join_request(
    ticket: u64,
    member_id: &str,
    topics: &[&str],
    owned: &[(&str, &[i32])],
) -> JoinRequest {
    JoinRequest {
        ticket: Ticket(ticket),
        member_id: Arc::from(member_id),
        new_member_id: Arc::from(format!("c{ticket}")),
        instance_id: None,
        client_id: Arc::from("client"),
        client_host: Arc::from("/127.0.0.1"),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: Arc::from("consumer"),
        protocols: vec![(Arc::from("cooperative-sticky"), subscription(topics, owned))],
        needs_known_id: true,
        knows_skip: true,
    }
}

impl Bed {
    fn classic_join(&mut self, request: &JoinRequest) -> Result<Joined, (GroupError, Arc<str>)> {
        self.run(|group, around, effects| group.join(request, around, effects));
        match self.answers.pop() {
            Some((ticket, Answer::Join(joined))) if ticket == request.ticket => joined,
            other => panic!("{other:?}"),
        }
    }

    fn classic_sync(&mut self, joined: &Joined) -> Result<Synced, GroupError> {
        let request = SyncRequest {
            ticket: Ticket(99),
            member_id: Arc::clone(&joined.member_id),
            instance_id: None,
            generation: joined.generation,
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments: Default::default(),
        };
        self.run(|group, around, effects| group.sync(&request, around, effects));
        match self.answers.pop() {
            Some((_, Answer::Sync(synced))) => synced,
            other => panic!("{other:?}"),
        }
    }

    fn classic_beat(&mut self, joined: &Joined) -> Result<(), GroupError> {
        self.run(|group, around, effects| {
            let generation = joined.generation;
            group.classic_heartbeat(&joined.member_id, None, generation, around, effects)
        })
    }
}

fn given(synced: &Synced) -> Vec<(String, Vec<i32>)> {
    let assignment = Assignment::decode(&synced.assignment).unwrap();
    let topics = assignment.partitions.into_iter();
    topics.map(|it| (it.topic.to_string(), it.partitions)).collect()
}

#[test]
fn a_classic_member_joins_and_is_led_by_its_heartbeats() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    let first = bed.classic_join(&join_request(1, "", &["t"], &[]));
    assert_eq!(first, Err((GroupError::MemberIdRequired, Arc::from("c1"))));
    let joined = bed.classic_join(&join_request(2, "c1", &["t"], &[])).unwrap();
    assert_eq!((joined.generation, &*joined.leader), (3, ""));
    assert_eq!(joined.protocol.as_deref(), Some("cooperative-sticky"));
    assert!(joined.members.is_empty(), "there is nothing to compute");
    assert_eq!(given(&bed.classic_sync(&joined).unwrap()), []);
    assert_eq!(bed.classic_beat(&joined), Ok(()), "the other has not revoked yet");
    bed.report("a", &[("t", &[0])]);
    bed.report("a", &[("t", &[0])]);
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::RebalanceInProgress));
    let joined = bed.classic_join(&join_request(3, "c1", &["t"], &[])).unwrap();
    let synced = bed.classic_sync(&joined).unwrap();
    assert_eq!(given(&synced), [("t".to_owned(), vec![1])]);
    assert_eq!(bed.classic_beat(&joined), Ok(()));
    let old = Joined { generation: 2, ..joined };
    assert_eq!(bed.classic_beat(&old), Err(GroupError::IllegalGeneration));
    assert_eq!(bed.classic_sync(&old), Err(GroupError::IllegalGeneration));
}

#[test]
fn a_classic_member_gives_up_before_the_other_gets() {
    let mut bed = Bed::new(&[("t", 2)]);
    let joined = bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
    assert_eq!(given(&bed.classic_sync(&joined).unwrap()), [("t".to_owned(), vec![0, 1])]);
    assert_eq!(assigned(&bed.join("a", &["t"])), Some(Partitions::new()));
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::RebalanceInProgress));
    let owned: &[(&str, &[i32])] = &[("t", &[0, 1])];
    let joined = bed.classic_join(&join_request(2, "c1", &["t"], owned)).unwrap();
    let synced = bed.classic_sync(&joined).unwrap();
    let kept = given(&synced);
    assert_eq!(kept[0].1.len(), 1, "{kept:?}");
    assert_eq!(bed.beat("a").assignment, None, "it may still be consumed");
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::RebalanceInProgress));
    let kept: &[(&str, &[i32])] = &[("t", &kept[0].1)];
    let joined = bed.classic_join(&join_request(3, "c1", &["t"], kept)).unwrap();
    assert_eq!(bed.classic_beat(&joined), Ok(()));
    assert_eq!(assigned(&bed.beat("a")).unwrap().len(), 1);
    assert_eq!(bed.group.phase(), ConsumerPhase::Stable);
}

#[test]
fn a_classic_member_that_does_not_join_again_or_sync_is_gone() {
    for syncs in [false, true] {
        let mut bed = Bed::new(&[("t", 2)]);
        bed.join("a", &["t"]);
        let joined = bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
        if syncs {
            bed.classic_sync(&joined).unwrap();
            bed.report("a", &[("t", &[0])]);
            bed.report("a", &[("t", &[0])]);
        }
        for _ in 0..REBALANCE.as_secs() / INTERVAL.as_secs() {
            let _told_again_and_again = bed.classic_beat(&joined);
            bed.pass(INTERVAL);
            bed.beat("a");
        }
        bed.pass(INTERVAL);
        assert_eq!(bed.classic_beat(&joined), Err(GroupError::UnknownMember), "syncs: {syncs}");
    }
}

#[test]
fn members_of_one_protocol_are_not_spoken_to_in_the_other() {
    let mut bed = Bed::new(&[("t", 2)]);
    let answer = bed.join("a", &["t"]);
    let as_classic = Joined {
        member_id: Arc::from("a"),
        generation: answer.member_epoch,
        protocol_type: None,
        protocol: None,
        leader: Arc::from(""),
        skip_assignment: false,
        members: vec![],
    };
    assert_eq!(bed.classic_beat(&as_classic), Err(GroupError::UnknownMember));
    assert_eq!(bed.classic_sync(&as_classic), Err(GroupError::UnknownMember));
}

#[test]
fn a_member_may_change_its_protocol_under_its_own_id() {
    let mut bed = Bed::new(&[("t", 2)]);
    let joined = bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
    let answer = bed.join("c1", &["t"]);
    assert_eq!(answer.member_epoch, joined.generation);
    assert_eq!(assigned(&answer), Some(partitions(&[("t", &[0, 1])])));
    assert_eq!(bed.group.state.classic_count(), 0);
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::UnknownMember));
}

#[test]
fn nobody_joins_without_a_protocol_in_common_or_where_nothing_may_mix() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
    let request = || join_request(2, "c2", &["t"], &[]);
    let named = |name: &str| vec![(Arc::from(name), subscription(&["t"], &[]))];
    let refused = [
        JoinRequest { protocols: named("range"), ..request() },
        JoinRequest { protocol_type: Arc::from("connect"), ..request() },
        JoinRequest { protocols: vec![], ..request() },
        JoinRequest {
            protocols: vec![(Arc::from("cooperative-sticky"), Bytes::from_static(b"no"))],
            ..request()
        },
    ];
    for request in &refused {
        let error = bed.classic_join(request).unwrap_err().0;
        assert_eq!(error, GroupError::InconsistentProtocol);
    }
    bed.limits.migration = Migration { upgrade: false, downgrade: false };
    let error = bed.classic_join(&request()).unwrap_err().0;
    assert_eq!(error, GroupError::InconsistentProtocol);
}

#[test]
fn classic_members_leave_each_with_its_answer() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
    let as_static =
        JoinRequest { instance_id: Some(Arc::from("i")), ..join_request(2, "", &["t"], &[]) };
    bed.classic_join(&as_static).unwrap();
    let leaving: Vec<(Arc<str>, Option<Arc<str>>)> = vec![
        (Arc::from("c1"), None),
        (Arc::from("x"), None),
        (Arc::from("wrong"), Some(Arc::from("i"))),
        (Arc::from(""), Some(Arc::from("i"))),
    ];
    let answers = bed.run(|group, around, effects| group.leave(&leaving, around, effects));
    let expected =
        [Ok(()), Err(GroupError::UnknownMember), Err(GroupError::FencedInstance), Ok(())];
    assert_eq!(answers, expected);
    assert_eq!(bed.group.state.members.len(), 1);
}

#[test]
fn commits_of_classic_members_go_by_their_generation() {
    let mut bed = Bed::new(&[("t", 2)]);
    let joined = bed.classic_join(&join_request(1, "c1", &["t"], &[])).unwrap();
    let commit = |generation| bed.group.check_commit("c1", generation, 8, []);
    assert_eq!(commit(joined.generation), Ok(()), "an older version will do for them");
    assert_eq!(commit(joined.generation + 1), Err(GroupError::IllegalGeneration));
}

#[test]
fn classic_members_alone_take_over_what_the_last_other_left() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.limits.migration = Migration { upgrade: true, downgrade: false };
    bed.join("a", &["t"]);
    bed.classic_join(&join_request(1, "", &["t"], &[])).unwrap_err();
    let joined = bed.classic_join(&join_request(2, "c1", &["t"], &[])).unwrap();
    bed.classic_sync(&joined).unwrap();
    bed.heartbeat(&beating("a", LEAVE_EPOCH)).unwrap();
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::RebalanceInProgress));
    let joined = bed.classic_join(&join_request(3, "c1", &["t"], &[])).unwrap();
    let synced = bed.classic_sync(&joined).unwrap();
    assert_eq!(given(&synced), [("t".to_owned(), vec![0, 1])]);
    assert_eq!(bed.classic_beat(&joined), Ok(()));
}
