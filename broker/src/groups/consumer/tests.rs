//! The consumer protocol by its rules (behaviour 49), event by event: how members come, go, and are led
//! from one assignment to the next. `mixed` has the classic members, `histories` the random ones.

mod histories;
pub(in crate::groups) mod mixed;
mod requests;
mod subscriptions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::topic::{TopicId, TopicName};
use protocol::types::{BrokerId, PartitionId};
use uuid::Uuid;

use super::member::MemberState;
use super::*;
use crate::cluster::image::{PartitionImage, TopicImage};
use crate::groups::assignor::Partitions;
use crate::groups::effects::{Answer, Ticket, Timer};

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(5);

pub(in crate::groups) const CLASSIC: Limits = Limits {
    initial_delay: Duration::from_secs(3),
    members_max: 100,
    session_timeout_min: Duration::from_secs(6),
    session_timeout_max: Duration::from_secs(1800),
};

/// A group with topics, settings and a clock that the test moves.
pub(super) struct Bed {
    pub(super) group: ConsumerGroup,
    pub(super) image: Image,
    pub(super) limits: ConsumerLimits,
    pub(super) at: Times,
    pub(super) timers: Vec<(Instant, Timer)>,
    pub(super) records: Vec<GroupRecord>,
    pub(super) answers: Vec<(Ticket, Answer)>,
}

pub(in crate::groups) fn limits() -> ConsumerLimits {
    ConsumerLimits {
        session_timeout: SESSION,
        heartbeat_interval: INTERVAL,
        members_max: 100,
        assignors: &Assignor::ALL,
        assignment_interval: Duration::ZERO,
        regex_refresh_interval: Duration::from_secs(600),
        migration: Migration { upgrade: true, downgrade: true },
    }
}

pub(in crate::groups) fn topic_id(name: &str) -> Uuid {
    let number = name.bytes().fold(0_u128, |sum, byte| sum * 256 + u128::from(byte));
    Uuid::from_u128(number)
}

pub(in crate::groups) fn set_topic(image: &mut Image, name: &str, partitions: i32) {
    let id = TopicId::new(topic_id(name)).unwrap();
    let topic_name = TopicName::new(name).unwrap();
    let partition = |it| PartitionImage {
        partition: PartitionId::new(it),
        replicas: vec![BrokerId::new(1)],
        moving: None,
    };
    let topic = TopicImage {
        name: topic_name.clone(),
        id,
        partitions: (0..partitions).map(partition).collect(),
        overrides: Default::default(),
    };
    Arc::make_mut(&mut image.topics).insert(topic_name.clone(), Arc::new(topic));
    Arc::make_mut(&mut image.topic_names).insert(id, topic_name);
    image.index = LogIndex::new(image.index.get() + 1);
}

pub(super) fn delete_topic(image: &mut Image, name: &str) {
    Arc::make_mut(&mut image.topics).remove(name);
    Arc::make_mut(&mut image.topic_names).remove(&TopicId::new(topic_id(name)).unwrap());
    image.index = LogIndex::new(image.index.get() + 1);
}

pub(in crate::groups) fn partitions(of: &[(&str, &[i32])]) -> Partitions {
    of.iter()
        .map(|(name, all)| (topic_id(name), BTreeSet::from_iter(all.iter().copied())))
        .collect()
}

pub(in crate::groups) fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// A first heartbeat.
pub(in crate::groups) fn joining(member_id: &str, topics: &[&str]) -> HeartbeatRequest {
    HeartbeatRequest {
        rebalance_timeout_ms: Some(i32::try_from(REBALANCE.as_millis()).unwrap()),
        topics: Some(names(topics)),
        owned: Some(Partitions::new()),
        ..beating(member_id, 0)
    }
}

/// A heartbeat with nothing new.
pub(in crate::groups) fn beating(member_id: &str, member_epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: Arc::from(member_id),
        new_member_id: Arc::from("new"),
        member_epoch,
        instance_id: None,
        rack_id: None,
        client_id: Arc::from("client"),
        client_host: Arc::from("/127.0.0.1"),
        rebalance_timeout_ms: None,
        topics: None,
        regex: None,
        assignor: None,
        owned: None,
    }
}

pub(in crate::groups) fn as_static(
    instance_id: &str,
    request: HeartbeatRequest,
) -> HeartbeatRequest {
    HeartbeatRequest { instance_id: Some(Arc::from(instance_id)), ..request }
}

impl Bed {
    #[expect(clippy::disallowed_methods, reason = "a start for a clock that only this test moves")]
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let mut image = Image::default();
        for (name, partitions) in topics {
            set_topic(&mut image, name, *partitions);
        }
        Self {
            group: ConsumerGroup::new(Arc::from("g")),
            image,
            limits: limits(),
            at: Times { now: Instant::now(), wall_ms: 1_700_000_000_000 },
            timers: Vec::new(),
            records: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Lets something happen to the group, and looks whether what must hold does.
    pub(super) fn run<T>(
        &mut self,
        event: impl FnOnce(&mut ConsumerGroup, Surroundings<'_>, &mut Effects) -> T,
    ) -> T {
        let around = Surroundings {
            image: &self.image,
            limits: &self.limits,
            classic: &CLASSIC,
            at: self.at,
        };
        let mut effects = Effects::default();
        let result = event(&mut self.group, around, &mut effects);
        self.group.state.validate();
        self.records.extend(effects.records);
        self.timers.extend(effects.timers);
        self.answers.extend(effects.answers);
        result
    }

    pub(super) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatAnswer, GroupError> {
        self.run(|group, around, effects| group.heartbeat(request, around, effects))
    }

    fn join(&mut self, member_id: &str, topics: &[&str]) -> HeartbeatAnswer {
        self.heartbeat(&joining(member_id, topics)).unwrap()
    }

    fn epoch_of(&self, member_id: &str) -> i32 {
        self.group.state.members[member_id].current.epoch
    }

    fn state_of(&self, member_id: &str) -> MemberState {
        self.group.state.members[member_id].current.state
    }

    /// A heartbeat at the member's own epoch.
    fn beat(&mut self, member_id: &str) -> HeartbeatAnswer {
        self.heartbeat(&beating(member_id, self.epoch_of(member_id))).unwrap()
    }

    /// The same, telling what it owns.
    fn report(&mut self, member_id: &str, owned: &[(&str, &[i32])]) -> HeartbeatAnswer {
        let owned = Some(partitions(owned));
        let request = HeartbeatRequest { owned, ..beating(member_id, self.epoch_of(member_id)) };
        self.heartbeat(&request).unwrap()
    }

    /// Time goes by; what was asked for happens on the way.
    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.at.now + duration;
        let end_ms = self.at.wall_ms + i64::try_from(duration.as_millis()).unwrap();
        loop {
            self.timers.sort_unstable();
            if self.timers.first().is_none_or(|(at, _)| *at > until) {
                break;
            }
            let (at, timer) = self.timers.remove(0);
            self.at.now = self.at.now.max(at);
            self.run(|group, around, effects| group.wake(&timer, around, effects));
        }
        self.at = Times { now: until, wall_ms: end_ms };
    }
}

pub(in crate::groups) fn assigned(answer: &HeartbeatAnswer) -> Option<Partitions> {
    let topics = answer.assignment.as_ref()?;
    Some(topics.iter().map(|(id, all)| (*id, BTreeSet::from_iter(all.iter().copied()))).collect())
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut bed = Bed::new(&[("t", 3)]);
    let answer = bed.join("a", &["t"]);
    assert_eq!(answer.member_epoch, 2, "as in Kafka, where groups begin with epoch 1");
    assert_eq!(answer.heartbeat_interval, INTERVAL);
    assert_eq!(assigned(&answer), Some(partitions(&[("t", &[0, 1, 2])])));
    assert_eq!(bed.group.phase(), ConsumerPhase::Stable);
    let again = bed.beat("a");
    assert_eq!((again.member_epoch, again.assignment), (2, None), "null: unchanged");
}

#[test]
fn a_partition_is_given_on_only_after_its_owner_says_that_it_is_revoked() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    let newcomer = bed.join("b", &["t"]);
    assert_eq!(newcomer.member_epoch, 3);
    assert_eq!(assigned(&newcomer), Some(Partitions::new()));
    assert_eq!(bed.state_of("b"), MemberState::Unreleased);
    assert_eq!(bed.group.phase(), ConsumerPhase::Reconciling);
    let told = bed.beat("a");
    assert_eq!(told.member_epoch, 2, "it stays in its epoch until it has revoked");
    assert_eq!(assigned(&told), Some(partitions(&[("t", &[0])])));
    assert_eq!(bed.beat("b").assignment, None, "not yet");
    let still = bed.report("a", &[("t", &[0, 1])]);
    assert_eq!((still.member_epoch, still.assignment), (2, None));
    assert_eq!(bed.beat("b").assignment, None, "not yet");
    let revoked = bed.report("a", &[("t", &[0])]);
    assert_eq!((revoked.member_epoch, revoked.assignment), (3, None));
    assert_eq!(assigned(&bed.beat("b")), Some(partitions(&[("t", &[1])])));
    assert_eq!(bed.group.phase(), ConsumerPhase::Stable);
}

#[test]
fn what_a_member_never_said_it_owns_is_free_at_once() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    bed.join("b", &["t"]);
    let told = bed.report("a", &[]);
    assert_eq!((told.member_epoch, assigned(&told)), (3, Some(partitions(&[("t", &[0])]))));
    assert_eq!(assigned(&bed.beat("b")), Some(partitions(&[("t", &[1])])));
}

#[test]
fn epochs_are_checked_and_one_lost_answer_is_forgiven() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    assert_eq!(bed.heartbeat(&beating("a", 3)), Err(GroupError::FencedEpoch), "ahead");
    assert_eq!(bed.heartbeat(&beating("x", 1)), Err(GroupError::UnknownMember));
    set_topic(&mut bed.image, "t", 3);
    assert_eq!(bed.beat("a").member_epoch, 3);
    assert_eq!(
        bed.heartbeat(&beating("a", 2)),
        Err(GroupError::FencedEpoch),
        "owns who knows what"
    );
    let retry = |owned: &[(&str, &[i32])]| HeartbeatRequest {
        owned: Some(partitions(owned)),
        member_epoch: 2,
        ..joining("a", &["t"])
    };
    let answer = bed.heartbeat(&retry(&[("t", &[0, 1])])).unwrap();
    assert_eq!(answer.member_epoch, 3);
    assert_eq!(assigned(&answer), Some(partitions(&[("t", &[0, 1, 2])])), "told all, told all");
    assert_eq!(bed.heartbeat(&retry(&[("t", &[0, 9])])), Err(GroupError::FencedEpoch));
    assert_eq!(bed.heartbeat(&beating("a", 1)), Err(GroupError::FencedEpoch), "too old");
    let anew = bed.join("a", &["t"]);
    assert_eq!(anew.member_epoch, 3, "epoch 0 is always taken");
    assert_eq!(assigned(&anew), Some(partitions(&[("t", &[0, 1, 2])])));
}

#[test]
fn leaving_frees_partitions_and_raises_the_epoch() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    bed.join("b", &["t"]);
    bed.report("a", &[]);
    bed.beat("b");
    let left = bed.heartbeat(&beating("b", LEAVE_EPOCH)).unwrap();
    assert_eq!((left.member_epoch, left.assignment), (LEAVE_EPOCH, None));
    assert_eq!(bed.group.phase(), ConsumerPhase::Assigning);
    let answer = bed.beat("a");
    assert_eq!(answer.member_epoch, 4);
    assert_eq!(assigned(&answer), Some(partitions(&[("t", &[0, 1])])));
    assert_eq!(bed.heartbeat(&beating("b", LEAVE_EPOCH)), Err(GroupError::UnknownMember));
    bed.heartbeat(&beating("a", LEAVE_EPOCH)).unwrap();
    assert_eq!(bed.group.phase(), ConsumerPhase::Empty);
    for record in bed.group.all_tombstones() {
        bed.group.state.apply(&record);
    }
    assert!(bed.group.state.is_absent());
}

#[test]
fn a_silent_member_goes_and_one_that_beats_stays() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    bed.join("b", &["t"]);
    for _ in 0..20 {
        bed.pass(INTERVAL);
        bed.report("a", &[]);
    }
    assert_eq!(bed.group.state.members.len(), 1);
    assert_eq!(assigned(&bed.join("a", &["t"])), Some(partitions(&[("t", &[0, 1])])));
}

#[test]
fn a_member_that_does_not_revoke_in_time_is_fenced() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.join("a", &["t"]);
    bed.join("b", &["t"]);
    bed.beat("a");
    for _ in 0..REBALANCE.as_secs() / INTERVAL.as_secs() - 1 {
        bed.pass(INTERVAL);
        bed.report("a", &[("t", &[0, 1])]);
        bed.beat("b");
    }
    assert_eq!(bed.state_of("a"), MemberState::Unrevoked);
    bed.pass(INTERVAL);
    assert_eq!(bed.heartbeat(&beating("a", 2)), Err(GroupError::UnknownMember));
    assert_eq!(assigned(&bed.beat("b")), Some(partitions(&[("t", &[0, 1])])));
}

#[test]
fn a_static_member_that_is_away_keeps_what_it_has() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.heartbeat(&as_static("i", joining("a", &["t"]))).unwrap();
    let taken = bed.heartbeat(&as_static("i", joining("a2", &["t"])));
    assert_eq!(taken, Err(GroupError::UnreleasedInstance));
    bed.heartbeat(&as_static("i", beating("a", AWAY_EPOCH))).unwrap();
    assert_eq!(bed.epoch_of("a"), AWAY_EPOCH);
    assert_eq!(assigned(&bed.join("b", &["t"])), Some(Partitions::new()), "it is not free");
    let back = bed.heartbeat(&as_static("i", joining("a2", &["t"]))).unwrap();
    assert_eq!(bed.group.state.members.len(), 2);
    assert_eq!(back.member_epoch, 3, "the newcomer's epoch, no further one");
    assert_eq!(assigned(&back), Some(partitions(&[("t", &[0])])));
    let old = bed.heartbeat(&as_static("i", beating("a", 2)));
    assert_eq!(old, Err(GroupError::FencedInstance));
    assert_eq!(bed.heartbeat(&beating("a", 2)), Err(GroupError::UnknownMember));
}

#[test]
fn a_static_member_whose_first_answer_is_lost_asks_again() {
    let mut bed = Bed::new(&[("t", 2)]);
    let first = bed.heartbeat(&as_static("i", joining("a", &["t"]))).unwrap();
    let again = bed.heartbeat(&as_static("i", joining("a", &["t"]))).unwrap();
    assert_eq!(again.member_epoch, first.member_epoch);
    assert_eq!(assigned(&again), Some(partitions(&[("t", &[0, 1])])));
    assert_eq!(bed.group.state.members.len(), 1);
}

#[test]
fn a_static_member_that_stays_away_is_gone_after_its_session() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.heartbeat(&as_static("i", joining("a", &["t"]))).unwrap();
    bed.heartbeat(&as_static("i", beating("a", AWAY_EPOCH))).unwrap();
    let unknown = bed.heartbeat(&as_static("j", beating("a", AWAY_EPOCH)));
    assert_eq!(unknown, Err(GroupError::UnknownMember));
    bed.pass(SESSION);
    assert!(bed.group.state.members.is_empty());
    let other = bed.heartbeat(&as_static("i", joining("b", &["t"]))).unwrap();
    assert_eq!(assigned(&other), Some(partitions(&[("t", &[0, 1])])));
    bed.heartbeat(&as_static("i", beating("b", LEAVE_EPOCH))).unwrap();
    assert!(bed.group.state.members.is_empty(), "-1 leaves at once, static or not");
}

#[test]
fn a_heartbeat_that_can_change_nothing_is_a_sign_of_life() {
    let mut bed = Bed::new(&[("t", 1)]);
    bed.join("a", &["t"]);
    bed.join("b", &["t"]);
    bed.pass(SESSION - INTERVAL);
    for (member_id, epoch) in [("a", 2), ("b", 1), ("nobody", 2)] {
        let request = beating(member_id, epoch);
        bed.run(|group, around, effects| group.keep_alive(&request, around, effects));
    }
    bed.pass(INTERVAL);
    assert!(bed.group.state.members.contains_key("a"));
    assert!(!bed.group.state.members.contains_key("b"), "another epoch is nobody's");
}
