//! A group that changes its protocol while it runs, through the shard that owns it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::types::BrokerId;

use super::*;
use crate::cluster::image::Image;
use crate::groups::classic::{JoinRequest, Phase, SyncRequest};
use crate::groups::consumer::tests::mixed::join_request;
use crate::groups::consumer::tests::{
    CLASSIC, as_static, assigned, beating, joining, limits, partitions, set_topic,
};
use crate::groups::consumer::{AWAY_EPOCH, HeartbeatAnswer, HeartbeatRequest, LEAVE_EPOCH};
use crate::groups::consumer_terms::ConsumerTerms;
use crate::groups::effects::{Answer, Joined, Synced, Ticket};
use crate::groups::members::Members;
use crate::groups::replay::Replay;
use crate::groups::shard::{Shard, Terms};
use crate::groups::times::Times;
use crate::settings::BrokerSettings;

const TOPIC: &str = "t";

struct Bed {
    shard: Shard,
    name: Arc<str>,
    at: Times,
    log: Vec<GroupRecord>,
    answers: HashMap<Ticket, Answer>,
    tickets: u64,
}

impl Bed {
    #[expect(clippy::disallowed_methods, reason = "a start for a clock that only this test moves")]
    fn new(migration: &str) -> Self {
        let mut image = Image::default();
        set_topic(&mut image, TOPIC, 2);
        let given = [
            ("group.consumer.migration.policy", migration),
            ("group.consumer.assignment.interval.ms", "0"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let given = BrokerSettings::new(given).unwrap();
        let terms = Terms {
            limits: CLASSIC,
            consumer: ConsumerTerms::new(BrokerId::new(1), Arc::new(given)),
            retention_ms: 1_000_000,
            idle_kept: Duration::from_secs(600),
        };
        let at = Times { now: Instant::now(), wall_ms: 1_700_000_000_000 };
        Self {
            shard: Shard::new(Replay::default(), terms, Arc::new(image), at),
            name: Arc::from("g"),
            at,
            log: Vec::new(),
            answers: HashMap::new(),
            tickets: 0,
        }
    }

    fn both_ways() -> Self {
        Self::new("bidirectional")
    }

    fn take(&mut self, effects: Effects) {
        self.log.extend(effects.records);
        self.answers.extend(effects.answers);
    }

    fn join(&mut self, request: JoinRequest) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let request = JoinRequest { ticket, needs_known_id: false, ..request };
        let effects = self.shard.join(&self.name, &request, self.at);
        self.take(effects);
        ticket
    }

    fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answers.remove(&ticket) {
            Some(Answer::Join(Ok(joined))) => joined,
            other => panic!("{other:?}"),
        }
    }

    fn sync(
        &mut self,
        joined: &Joined,
        assignments: &[(&str, &[i32])],
    ) -> Result<Synced, GroupError> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let assignments = assignments
            .iter()
            .map(|(id, partitions)| (Arc::from(*id), assignment(partitions).encode(1)));
        let request = SyncRequest {
            ticket,
            member_id: Arc::clone(&joined.member_id),
            instance_id: None,
            generation: joined.generation,
            protocol_type: joined.protocol_type.clone(),
            protocol: joined.protocol.clone(),
            assignments: assignments.collect(),
        };
        let effects = self.shard.sync(&self.name, request, usize::MAX, self.at);
        self.take(effects);
        match self.answers.remove(&ticket) {
            Some(Answer::Sync(synced)) => synced,
            other => panic!("{other:?}"),
        }
    }

    fn classic_beat(&mut self, joined: &Joined) -> Result<(), GroupError> {
        let Joined { member_id, generation, .. } = joined;
        self.shard.heartbeat(&self.name, member_id, None, *generation, self.at)
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest) -> Result<HeartbeatAnswer, GroupError> {
        let (answer, effects) = self.shard.consumer_heartbeat(&self.name, request, self.at);
        self.take(effects);
        answer
    }

    fn pass(&mut self, time: Duration) {
        self.at.now += time;
        while let Some(due) = self.shard.due(self.at.now) {
            if let crate::groups::shard::Due::Members(name, timer) = due {
                let effects = self.shard.wake(&name, &timer, self.at);
                self.take(effects);
            }
        }
    }

    /// A stable classic group of one member with both partitions.
    fn classic(migration: &str) -> (Self, Joined) {
        let mut bed = Self::new(migration);
        let ticket = bed.join(join_request(0, "", &[TOPIC], &[]));
        bed.pass(CLASSIC.initial_delay);
        let joined = bed.joined(ticket);
        let share: (&str, &[i32]) = (&joined.member_id.clone(), &[0, 1]);
        bed.sync(&joined, &[share]).unwrap();
        (bed, joined)
    }

    fn members(&self) -> &Members {
        &self.shard.get(&self.name).unwrap().members
    }

    fn assert_is_replay(&self) {
        let mut replay = Replay::default();
        self.log.iter().cloned().for_each(|record| replay.apply(record));
        let stored = replay.groups.remove(&self.name).unwrap_or_default();
        match self.members() {
            Members::Classic(classic) => {
                assert!(stored.consumer.is_absent());
                if classic.phase == Phase::Stable {
                    assert_eq!(stored.generation, Some(classic.to_record()));
                }
            }
            Members::Consumer(consumer) => {
                assert_eq!(stored.generation, None);
                assert_eq!(stored.consumer, consumer.state);
            }
        }
    }
}

fn assignment(partitions: &[i32]) -> Assignment {
    let named = protocol::consumer_protocol::NamedPartitions {
        topic: Arc::from(TOPIC),
        partitions: partitions.to_vec(),
    };
    Assignment { partitions: vec![named], has_user_data: false }
}

fn given(synced: &Synced) -> Vec<i32> {
    let assignment = Assignment::decode(&synced.assignment).unwrap();
    assignment.partitions.into_iter().flat_map(|it| it.partitions).collect()
}

#[test]
fn a_classic_group_goes_on_when_a_consumer_of_the_new_protocol_comes() {
    let (mut bed, old) = Bed::classic("bidirectional");
    let answer = bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    assert_eq!(answer.member_epoch, old.generation + 1);
    assert_eq!(assigned(&answer), Some(Partitions::new()), "the other owns everything");
    assert_eq!(bed.members().type_name(), "consumer");
    bed.assert_is_replay();
    assert_eq!(bed.classic_beat(&old), Err(GroupError::RebalanceInProgress));
    let owned: &[(&str, &[i32])] = &[(TOPIC, &[0, 1])];
    let ticket = bed.join(join_request(0, &old.member_id, &[TOPIC], owned));
    let joined = bed.joined(ticket);
    assert_eq!(given(&bed.sync(&joined, &[]).unwrap()), [0], "it keeps one, without a pause");
    let owned: &[(&str, &[i32])] = &[(TOPIC, &[0])];
    let ticket = bed.join(join_request(0, &old.member_id, &[TOPIC], owned));
    let joined = bed.joined(ticket);
    assert_eq!(bed.classic_beat(&joined), Ok(()));
    let answer = bed.heartbeat(&beating("n", answer.member_epoch)).unwrap();
    assert_eq!(assigned(&answer), Some(partitions(&[(TOPIC, &[1])])));
    bed.assert_is_replay();
}

#[test]
fn whoever_waits_for_a_classic_rebalance_is_told_to_join_again() {
    let mut bed = Bed::both_ways();
    let waiting = bed.join(join_request(0, "", &[TOPIC], &[]));
    assert!(bed.answers.is_empty());
    bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    let answer = bed.answers.remove(&waiting);
    assert!(matches!(answer, Some(Answer::Join(Err((GroupError::RebalanceInProgress, _))))));
    bed.pass(Duration::from_secs(1));
    bed.assert_is_replay();
}

#[test]
fn a_group_goes_back_when_only_classic_members_are_left() {
    let (mut bed, old) = Bed::classic("bidirectional");
    let epoch = bed.heartbeat(&joining("n", &[TOPIC])).unwrap().member_epoch;
    let ticket = bed.join(join_request(0, &old.member_id, &[TOPIC], &[]));
    let joined = bed.joined(ticket);
    bed.sync(&joined, &[]).unwrap();
    bed.heartbeat(&beating("n", LEAVE_EPOCH)).unwrap();
    let Members::Classic(classic) = bed.members() else { panic!("{:?}", bed.members()) };
    assert_eq!(classic.generation, epoch, "the generation that its members know");
    assert!(matches!(classic.phase, Phase::Preparing { .. }));
    bed.assert_is_replay();
    assert_eq!(bed.classic_beat(&joined), Err(GroupError::RebalanceInProgress));
    let ticket = bed.join(join_request(0, &old.member_id, &[TOPIC], &[]));
    let joined = bed.joined(ticket);
    assert_eq!((joined.generation, joined.members.len()), (epoch + 1, 1), "it leads again");
    let share: (&str, &[i32]) = (&joined.member_id.clone(), &[0, 1]);
    assert_eq!(given(&bed.sync(&joined, &[share]).unwrap()), [0, 1]);
    bed.assert_is_replay();
}

#[test]
fn a_silent_member_of_the_new_protocol_makes_the_group_go_back_too() {
    let mut bed = Bed::both_ways();
    bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    let ticket = bed.join(join_request(0, "", &[TOPIC], &[]));
    let joined = bed.joined(ticket);
    bed.sync(&joined, &[]).unwrap();
    for _ in 0..10 {
        bed.pass(Duration::from_secs(5));
        let _rebalancing = bed.classic_beat(&joined);
    }
    assert_eq!(bed.members().type_name(), "classic");
    bed.assert_is_replay();
}

#[test]
fn a_static_member_that_comes_back_with_the_classic_protocol_takes_the_group_back() {
    let mut bed = Bed::both_ways();
    bed.heartbeat(&as_static("i", joining("n", &[TOPIC]))).unwrap();
    bed.heartbeat(&as_static("i", beating("n", AWAY_EPOCH))).unwrap();
    let request =
        JoinRequest { instance_id: Some(Arc::from("i")), ..join_request(0, "", &[TOPIC], &[]) };
    let ticket = bed.join(request);
    let joined = bed.joined(ticket);
    let Members::Classic(classic) = bed.members() else { panic!("{:?}", bed.members()) };
    assert_eq!((classic.phase, classic.generation), (Phase::Stable, joined.generation));
    bed.assert_is_replay();
    let request = SyncRequest {
        ticket: Ticket(77),
        member_id: Arc::clone(&joined.member_id),
        instance_id: Some(Arc::from("i")),
        generation: joined.generation,
        protocol_type: joined.protocol_type,
        protocol: joined.protocol,
        assignments: HashMap::new(),
    };
    let effects = bed.shard.sync(&bed.name, request, usize::MAX, bed.at);
    let Some((_, Answer::Sync(Ok(synced)))) = effects.answers.into_iter().next() else { panic!() };
    assert_eq!(given(&synced), [0, 1], "nobody has noticed");
}

#[test]
fn an_empty_group_takes_either_protocol() {
    let mut bed = Bed::both_ways();
    bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    bed.heartbeat(&beating("n", LEAVE_EPOCH)).unwrap();
    assert_eq!((bed.members().type_name(), bed.members().state_name()), ("consumer", "Empty"));
    let ticket = bed.join(join_request(0, "", &[TOPIC], &[]));
    bed.pass(CLASSIC.initial_delay);
    let joined = bed.joined(ticket);
    assert_eq!(bed.members().type_name(), "classic");
    let (left, effects) = bed.shard.leave(&bed.name, &[(joined.member_id, None)], bed.at);
    assert_eq!(left, [Ok(())]);
    bed.take(effects);
    let answer = bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    assert_eq!(answer.member_epoch, 2, "it begins anew");
    bed.assert_is_replay();
}

#[test]
fn a_group_stays_as_it_is_where_the_policy_or_its_members_say_so() {
    let (mut bed, _) = Bed::classic("downgrade");
    assert_eq!(bed.heartbeat(&joining("n", &[TOPIC])), Err(GroupError::UnknownGroup));
    let (mut bed, joined) = Bed::classic("upgrade");
    let refused = HeartbeatRequest { regex: Some(Arc::from("(")), ..joining("n", &[TOPIC]) };
    assert_eq!(bed.heartbeat(&refused), Err(GroupError::InvalidRegex));
    assert_eq!(bed.members().type_name(), "classic", "one that is refused changes nothing");
    assert_eq!(bed.heartbeat(&beating("n", 3)), Err(GroupError::UnknownGroup));
    assert_eq!(bed.classic_beat(&joined), Ok(()));
    bed.heartbeat(&joining("n", &[TOPIC])).unwrap();
    bed.heartbeat(&beating("n", LEAVE_EPOCH)).unwrap();
    assert_eq!(bed.members().type_name(), "consumer", "there is no way back");
    bed.assert_is_replay();
    let mut foreign = Bed::both_ways();
    let protocols = vec![(Arc::from("connect"), Bytes::from_static(b"x"))];
    let protocol_type = Arc::from("connect");
    foreign.join(JoinRequest { protocols, protocol_type, ..join_request(0, "", &[], &[]) });
    assert_eq!(foreign.heartbeat(&joining("n", &[TOPIC])), Err(GroupError::UnknownGroup));
}

#[test]
fn what_an_assignor_of_the_clients_adds_must_not_get_lost() {
    let (other, _) = Bed::classic("bidirectional");
    let of_group = other.members().classic().unwrap().members.values().next().unwrap();
    let at = |assignment: Bytes| {
        let mut member = of_group.clone();
        member.assignment = assignment;
        member
    };
    let (image, limits) = (Image::default(), limits());
    let bed = Bed::both_ways();
    let around = Surroundings { image: &image, limits: &limits, classic: &CLASSIC, at: bed.at };
    let upgraded = |assignment| {
        let protocol = Some("cooperative-sticky");
        to_member(&at(assignment), protocol, 1, around, &mut BTreeSet::new())
    };
    let mut with_user_data = assignment(&[0]).encode(1).to_vec();
    let length = with_user_data.len() - 4;
    with_user_data[length..].copy_from_slice(&1_i32.to_be_bytes());
    with_user_data.push(7);
    assert!(upgraded(with_user_data.into()).is_none());
    assert!(upgraded(Bytes::from_static(b"no")).is_none());
    assert!(upgraded(Bytes::new()).is_some(), "nothing was assigned yet");
}
