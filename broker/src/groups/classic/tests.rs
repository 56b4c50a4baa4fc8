//! The classic protocol by its rules (behaviours 40 to 45), event by event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::group_record::GroupRecord;

use super::*;
use crate::groups::effects::{Answer, Synced};

const LIMITS: Limits = Limits {
    initial_delay: Duration::from_secs(3),
    members_max: 5,
    session_timeout_min: Duration::from_secs(6),
    session_timeout_max: Duration::from_secs(1800),
};
const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group with a clock that the test moves.
struct Bed {
    group: ClassicGroup,
    now: Instant,
    tickets: u64,
    answers: HashMap<Ticket, Answer>,
    timers: Vec<(Instant, Timer)>,
    records: Vec<GroupRecord>,
}

impl Bed {
    #[expect(clippy::disallowed_methods, reason = "a start for a clock that only this test moves")]
    fn new() -> Self {
        Self {
            group: ClassicGroup::new(Arc::from("g")),
            now: Instant::now(),
            tickets: 0,
            answers: HashMap::new(),
            timers: Vec::new(),
            records: Vec::new(),
        }
    }

    fn at(&self) -> Times {
        Times { now: self.now, wall_ms: 1 }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn take(&mut self, effects: Effects) {
        for (ticket, answer) in effects.answers {
            let earlier = self.answers.insert(ticket, answer);
            assert_eq!(earlier, None, "{ticket:?} is answered twice");
        }
        self.timers.extend(effects.timers);
        self.records.extend(effects.records);
        self.group.validate();
    }

    fn request(&mut self, member_id: &str) -> JoinRequest {
        let ticket = self.ticket();
        JoinRequest {
            ticket,
            member_id: Arc::from(member_id),
            new_member_id: Arc::from(format!("m{}", ticket.0)),
            instance_id: None,
            client_id: Arc::from("client"),
            client_host: Arc::from("/127.0.0.1"),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: Arc::from("consumer"),
            protocols: vec![(Arc::from("range"), Bytes::from_static(b"topics"))],
            needs_known_id: false,
            knows_skip: true,
        }
    }

    fn join_with(&mut self, request: &JoinRequest) -> Ticket {
        let mut effects = Effects::default();
        self.group.join(request, self.at(), &LIMITS, &mut effects);
        self.take(effects);
        request.ticket
    }

    fn join(&mut self, member_id: &str) -> Ticket {
        let request = self.request(member_id);
        self.join_with(&request)
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        let ticket = self.ticket();
        let of_member = |(id, bytes): &(&str, &'static str)| (Arc::from(*id), Bytes::from(*bytes));
        let request = SyncRequest {
            ticket,
            member_id: Arc::from(member_id),
            instance_id: None,
            generation: self.group.generation,
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("range")),
            assignments: assignments.iter().map(of_member).collect(),
        };
        let mut effects = Effects::default();
        self.group.sync(request, usize::MAX, self.at(), &mut effects);
        self.take(effects);
        ticket
    }

    fn leave(&mut self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        let mut effects = Effects::default();
        let at = self.at();
        let left = self.group.leave(member_id, instance_id, at, &LIMITS, &mut effects);
        self.take(effects);
        left
    }

    fn heartbeat(&mut self, member_id: &str) -> Result<(), GroupError> {
        let generation = self.group.generation;
        self.group.heartbeat(member_id, None, generation, self.now)
    }

    /// Time goes by; what was asked for happens on the way.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.timers.sort_unstable();
            if self.timers.first().is_none_or(|(at, _)| *at > until) {
                break;
            }
            let (at, timer) = self.timers.remove(0);
            self.now = self.now.max(at);
            let mut effects = Effects::default();
            self.group.wake(&timer, self.at(), &LIMITS, &mut effects);
            self.take(effects);
        }
        self.now = until;
    }

    fn joined(&self, ticket: Ticket) -> &Joined {
        match &self.answers[&ticket] {
            Answer::Join(Ok(joined)) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn join_error(&self, ticket: Ticket) -> (GroupError, &str) {
        match &self.answers[&ticket] {
            Answer::Join(Err((error, member_id))) => (*error, member_id),
            other => panic!("{other:?}"),
        }
    }

    fn synced(&self, ticket: Ticket) -> Result<&Synced, GroupError> {
        match &self.answers[&ticket] {
            Answer::Sync(synced) => synced.as_ref().map_err(|error| *error),
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of members "m1", "m2", …, of which the first leads.
    fn stable(count: usize) -> Self {
        let mut bed = Self::new();
        let tickets: Vec<_> = (0..count).map(|_| bed.join("")).collect();
        bed.pass(LIMITS.initial_delay + LIMITS.initial_delay);
        let ids: Vec<_> = tickets.iter().map(|it| bed.joined(*it).member_id.clone()).collect();
        let shares: Vec<_> = ids.iter().map(|member_id| (&**member_id, "share")).collect();
        for member_id in ids.iter().rev() {
            bed.sync(member_id, &shares);
        }
        assert_eq!(bed.group.phase, Phase::Stable);
        bed
    }
}

#[test]
fn a_first_join_only_fetches_an_id_which_expires() {
    let mut bed = Bed::new();
    let request = JoinRequest { needs_known_id: true, ..bed.request("") };
    let ticket = bed.join_with(&request);
    assert_eq!(bed.join_error(ticket), (GroupError::MemberIdRequired, "m1"));
    let second = JoinRequest { needs_known_id: true, ..bed.request("m1") };
    bed.join_with(&second);
    assert!(bed.group.members.contains_key("m1"));
    let third = JoinRequest { needs_known_id: true, ..bed.request("") };
    bed.join_with(&third);
    bed.pass(SESSION);
    let late = bed.join("m3");
    assert_eq!(bed.join_error(late), (GroupError::UnknownMember, "m3"));
}

#[test]
fn a_first_rebalance_waits_for_others_and_tells_only_the_leader_of_all() {
    let mut bed = Bed::new();
    let first = bed.join("");
    bed.pass(Duration::from_secs(2));
    let second = bed.join("");
    bed.pass(Duration::from_secs(2));
    assert!(bed.answers.is_empty(), "the second put it off");
    bed.pass(Duration::from_secs(1));
    assert_eq!(bed.joined(first).generation, 1);
    assert_eq!(bed.joined(first).members.len(), 2);
    assert_eq!(bed.joined(second).leader, bed.joined(first).member_id);
    assert!(bed.joined(second).members.is_empty());
    let waiting = bed.sync("m2", &[]);
    assert!(!bed.answers.contains_key(&waiting));
    let leading = bed.sync("m1", &[("m1", "one"), ("m2", "two")]);
    assert_eq!(bed.synced(leading).unwrap().assignment, "one");
    assert_eq!(bed.synced(waiting).unwrap().assignment, "two");
    let [GroupRecord::ClassicGroup(_, Some(record))] = &bed.records[..] else {
        panic!("{:?}", bed.records)
    };
    assert_eq!((record.generation, record.members.len()), (1, 2));
    assert_eq!(record.members[1].assignment, "two");
}

#[test]
fn what_the_log_holds_is_the_group_that_wrote_it() {
    let bed = Bed::stable(3);
    let Some(GroupRecord::ClassicGroup(name, Some(record))) = bed.records.last() else {
        panic!("{:?}", bed.records)
    };
    let mut effects = Effects::default();
    let read = ClassicGroup::from_record(name.clone(), record, bed.now, &mut effects);
    assert_eq!(read.to_record(), bed.group.to_record());
    assert_eq!(read.phase, Phase::Stable);
    assert_eq!(effects.timers.len(), 3, "each session begins anew");
}

#[test]
fn heartbeats_tell_what_a_member_must_do() {
    let mut bed = Bed::stable(2);
    assert_eq!(bed.heartbeat("m1"), Ok(()));
    assert_eq!(bed.heartbeat("nobody"), Err(GroupError::UnknownMember));
    let old = bed.group.heartbeat("m1", None, 0, bed.now);
    assert_eq!(old, Err(GroupError::IllegalGeneration));
    bed.join("");
    assert_eq!(bed.heartbeat("m1"), Err(GroupError::RebalanceInProgress));
    bed.join("m1");
    bed.join("m2");
    assert!(matches!(bed.group.phase, Phase::Completing));
    assert_eq!(bed.heartbeat("m1"), Ok(()));
}

#[test]
fn a_silent_member_goes_and_one_that_beats_stays() {
    let mut bed = Bed::stable(2);
    for _ in 0..5 {
        bed.pass(SESSION / 2);
        if bed.heartbeat("m1").is_err() {
            break;
        }
    }
    assert!(!bed.group.members.contains_key("m2"));
    assert_eq!(bed.heartbeat("m1"), Err(GroupError::RebalanceInProgress));
    let again = bed.join("m1");
    assert_eq!(bed.joined(again).generation, 2);
    assert_eq!(bed.joined(again).members.len(), 1);
}

#[test]
fn a_rebalance_gives_up_those_who_do_not_join_or_sync() {
    let mut bed = Bed::stable(3);
    bed.join("m1");
    let second = bed.join("m2");
    for _ in 0..REBALANCE.as_secs() {
        bed.pass(Duration::from_secs(1));
        let _rebalancing = bed.heartbeat("m3");
    }
    assert!(!bed.group.members.contains_key("m3"));
    assert_eq!(bed.joined(second).generation, 2);
    bed.sync("m1", &[]);
    assert_eq!(bed.group.phase, Phase::Stable);
    bed.join("m1");
    bed.join("m2");
    let leader = bed.group.leader.clone().unwrap();
    let follower = if &*leader == "m1" { "m2" } else { "m1" };
    bed.sync(follower, &[]);
    for _ in 0..REBALANCE.as_secs() {
        bed.pass(Duration::from_secs(1));
        let _completing = bed.heartbeat(&leader);
    }
    assert!(!bed.group.members.contains_key(&leader), "it never brought the assignment");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut bed = Bed::new();
    let as_static = |bed: &mut Bed, member_id: &str, instance_id: &str| {
        let instance_id = Some(Arc::from(instance_id));
        JoinRequest { instance_id, needs_known_id: true, ..bed.request(member_id) }
    };
    let request = as_static(&mut bed, "", "one");
    let first = bed.join_with(&request);
    let request = as_static(&mut bed, "", "two");
    let second = bed.join_with(&request);
    bed.pass(LIMITS.initial_delay + LIMITS.initial_delay);
    let (leader, follower) =
        (bed.joined(first).member_id.clone(), bed.joined(second).member_id.clone());
    bed.sync(&leader, &[(&leader, "one's"), (&follower, "two's")]);
    bed.sync(&follower, &[]);
    let records = bed.records.len();
    let request = as_static(&mut bed, "", "two");
    let back = bed.join_with(&request);
    let new_id = bed.joined(back).member_id.clone();
    assert_ne!(new_id, follower);
    assert_eq!(bed.joined(back).generation, 1);
    assert_eq!(bed.records.len(), records + 1, "the log knows the new id");
    let synced = bed.sync(&new_id, &[]);
    assert_eq!(bed.synced(synced).unwrap().assignment, "two's");
    let fenced = bed.group.heartbeat(&follower, Some("two"), 1, bed.now);
    assert_eq!(fenced, Err(GroupError::FencedInstance));
    let request = as_static(&mut bed, "", "one");
    let back = bed.join_with(&request);
    assert!(bed.joined(back).skip_assignment, "it leads, and has nothing to compute");
    assert_eq!(bed.joined(back).members.len(), 2);
    assert_eq!(bed.leave("", Some("two")), Ok(()));
    assert!(matches!(bed.group.phase, Phase::Preparing { .. }));
}

#[test]
fn nobody_joins_without_a_protocol_in_common_or_beyond_the_limits() {
    let mut bed = Bed::stable(1);
    let foreign = vec![(Arc::from("sticky"), Bytes::new())];
    let requests = [
        JoinRequest { protocols: foreign, ..bed.request("") },
        JoinRequest { protocol_type: Arc::from("connect"), ..bed.request("") },
        JoinRequest { protocols: vec![], ..bed.request("") },
    ];
    for request in requests {
        let ticket = bed.join_with(&request);
        assert_eq!(bed.join_error(ticket).0, GroupError::InconsistentProtocol);
    }
    for session_timeout in [Duration::from_secs(5), Duration::from_secs(1801)] {
        let request = JoinRequest { session_timeout, ..bed.request("") };
        let ticket = bed.join_with(&request);
        assert_eq!(bed.join_error(ticket).0, GroupError::SessionTimeout);
    }
    // The first has not joined again: it is not counted.
    for _ in 0..LIMITS.members_max {
        bed.join("");
    }
    let one_more = bed.join("");
    assert_eq!(bed.join_error(one_more).0, GroupError::Full);
}

#[test]
fn commits_belong_to_a_member_of_the_generation() {
    let mut empty = Bed::new();
    let now = empty.now;
    assert_eq!(empty.group.check_commit("", None, -1, now), Ok(()));
    let mut bed = Bed::stable(1);
    let mut commit =
        |member_id: &str, generation| bed.group.check_commit(member_id, None, generation, now);
    assert_eq!(commit("m1", 1), Ok(()));
    assert_eq!(commit("m1", 2), Err(GroupError::IllegalGeneration));
    assert_eq!(commit("m9", 1), Err(GroupError::UnknownMember));
    assert_eq!(commit("", -1), Err(GroupError::UnknownMember));
}

#[test]
fn the_last_to_leave_leaves_an_empty_generation_in_the_log() {
    let mut bed = Bed::stable(2);
    assert_eq!(bed.leave("m2", None), Ok(()));
    bed.join("m1");
    assert_eq!(bed.leave("m1", None), Ok(()));
    assert_eq!(bed.group.phase, Phase::Empty);
    let Some(GroupRecord::ClassicGroup(_, Some(record))) = bed.records.last() else {
        panic!("{:?}", bed.records)
    };
    assert!(record.members.is_empty() && record.leader.is_none());
    assert_eq!(bed.leave("m1", None), Err(GroupError::UnknownMember));
}

#[test]
fn a_protocol_counts_while_a_member_offers_it() {
    let mut bed = Bed::stable(2);
    let offering = |bed: &mut Bed, member_id, names: &[&str]| {
        let protocols = names.iter().map(|name| (Arc::from(*name), Bytes::new())).collect();
        let request = JoinRequest { protocols, ..bed.request(member_id) };
        bed.join_with(&request)
    };
    let alone = offering(&mut bed, "m1", &["sticky"]);
    assert_eq!(bed.join_error(alone).0, GroupError::InconsistentProtocol);
    // Named twice, it is offered once.
    offering(&mut bed, "m1", &["sticky", "range", "sticky"]);
    let last = offering(&mut bed, "m2", &["sticky", "range"]);
    assert_eq!(bed.joined(last).protocol.as_deref(), Some("sticky"));
    bed.leave("m1", None).unwrap();
    offering(&mut bed, "m2", &["range"]);
    let gone = offering(&mut bed, "", &["sticky"]);
    assert_eq!(bed.join_error(gone).0, GroupError::InconsistentProtocol);
}

#[test]
fn one_timer_watches_a_member_however_many_rebalances_there_are() {
    let mut bed = Bed::stable(2);
    let shares = [("m1", "share"), ("m2", "share")];
    for _ in 0..10 {
        for member_id in ["m1", "m2"] {
            bed.join(member_id);
        }
        for member_id in ["m2", "m1"] {
            bed.sync(member_id, &shares);
        }
    }
    let is_session = |(_, timer): &&(Instant, Timer)| matches!(timer, Timer::Session(_));
    assert_eq!(bed.timers.iter().filter(is_session).count(), 2);

    // A session that became shorter is watched as such.
    bed.join("m1");
    let session_timeout = LIMITS.session_timeout_min;
    let shorter = JoinRequest { session_timeout, ..bed.request("m2") };
    bed.join_with(&shorter);
    for member_id in ["m2", "m1"] {
        bed.sync(member_id, &shares);
    }
    bed.pass(session_timeout);
    let left: Vec<_> = bed.group.members.keys().map(|member_id| &**member_id).collect();
    assert_eq!(left, ["m1"]);
}

/// A group in which one member has joined, and waits for another that has not.
fn with_a_newcomer() -> (Bed, Ticket) {
    let mut bed = Bed::stable(1);
    let mut request = bed.request("");
    request.rebalance_timeout = Duration::from_secs(3600);
    request.session_timeout = LIMITS.session_timeout_max;
    let slow = bed.join_with(&request);
    bed.join("m1");
    let slow = bed.joined(slow).member_id.clone();
    bed.sync("m1", &[]);
    bed.sync(&slow, &[]);
    let newcomer = bed.join("");
    bed.join("m1");
    (bed, newcomer)
}

#[test]
fn a_newcomer_whose_client_is_gone_is_not_waited_for_as_long_as_the_others() {
    let (mut bed, newcomer) = with_a_newcomer();
    assert_eq!(bed.group.members.len(), 3);
    bed.pass(Duration::from_secs(290));
    assert_eq!(bed.group.members.len(), 3, "its session does not end while it waits");
    bed.pass(SESSION * 2);
    assert_eq!(bed.join_error(newcomer).0, GroupError::UnknownMember);
    assert_eq!(bed.group.members.len(), 2, "one that was in a generation goes on waiting");
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_gone_though_the_leader_has_assigned() {
    let mut bed = Bed::stable(2);
    let tickets = ["m1", "m2"].map(|member_id| bed.join(member_id));
    let leader = bed.joined(tickets[0]).leader.clone();
    let silent = if &*leader == "m1" { "m2" } else { "m1" };
    bed.sync(&leader, &[]);
    assert_eq!(bed.group.phase, Phase::Stable);
    for _ in 0..11 {
        bed.pass(Duration::from_secs(5));
        assert_eq!((bed.heartbeat(&leader), bed.heartbeat(silent)), (Ok(()), Ok(())));
    }
    bed.pass(Duration::from_secs(5));
    assert_eq!(bed.heartbeat(silent), Err(GroupError::UnknownMember));
    assert_eq!(bed.heartbeat(&leader), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_full_group_takes_who_comes_for_one_that_is_gone() {
    let mut bed = Bed::stable(LIMITS.members_max);
    let refused = bed.join("");
    assert_eq!(bed.join_error(refused).0, GroupError::Full);
    assert_eq!(bed.group.members.len(), LIMITS.members_max);
    for member in 1..LIMITS.members_max {
        bed.join(&format!("m{member}"));
    }
    bed.join("");
    assert_eq!(bed.group.members.len(), LIMITS.members_max + 1, "the silent one is not counted");
    let refused = bed.join("");
    assert_eq!(bed.join_error(refused).0, GroupError::Full);
}

#[test]
fn ids_that_were_given_out_take_nobodys_place() {
    let mut bed = Bed::new();
    for _ in 0..2 * LIMITS.members_max {
        let request = JoinRequest { needs_known_id: true, ..bed.request("") };
        let told = bed.join_with(&request);
        assert_eq!(bed.join_error(told).0, GroupError::MemberIdRequired);
    }
}
