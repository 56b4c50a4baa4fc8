//! What is in memory is what a replay of the log gives, whatever happens; and what expires.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use protocol::types::BrokerId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::groups::classic::Phase;
use crate::groups::consumer::LEAVE_EPOCH;
use crate::groups::effects::{Answer, Ticket};
use crate::groups::replay::StoredGroup;
use crate::settings::BrokerSettings;

const RETENTION: Duration = Duration::from_secs(3600);
const IDLE_KEPT: Duration = Duration::from_secs(600);

fn terms() -> Terms {
    let given = [("group.consumer.max.size", "4")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let given = BrokerSettings::new(given).unwrap();
    Terms {
        limits: Limits {
            initial_delay: Duration::from_secs(3),
            members_max: 4,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
        },
        consumer: ConsumerTerms::new(BrokerId::new(1), Arc::new(given)),
        retention_ms: 3_600_000,
        idle_kept: IDLE_KEPT,
    }
}

/// Of a consumer of the classic protocol that reads one topic, and has been given nothing.
const SUBSCRIPTION: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
const ASSIGNMENT: &[u8] = b"\0\0\0\0\0\0\xff\xff\xff\xff";
const GROUPS: [&str; 3] = ["a", "b", "c"];

/// A shard with its log, and a clock that the test moves.
struct Bed {
    shard: Shard,
    at: Times,
    log: Vec<GroupRecord>,
    /// What a replay of the log gives.
    read: Replay,
    tickets: u64,
    unanswered: HashSet<Ticket>,
    /// Members that were let in, with their group and generation.
    members: Vec<(Arc<str>, Arc<str>, i32)>,
}

impl Bed {
    #[expect(clippy::disallowed_methods, reason = "a start for a clock that only this test moves")]
    fn new() -> Self {
        let at = Times { now: Instant::now(), wall_ms: 1_700_000_000_000 };
        Self {
            shard: Shard::new(Replay::default(), terms(), Arc::default(), at),
            at,
            log: Vec::new(),
            read: Replay::default(),
            tickets: 0,
            unanswered: HashSet::new(),
            members: Vec::new(),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.unanswered.insert(ticket);
        ticket
    }

    fn take(&mut self, group: &Arc<str>, effects: Effects) {
        self.write(effects.records);
        for (ticket, answer) in effects.answers {
            assert!(self.unanswered.remove(&ticket), "{ticket:?} is answered twice");
            if let Answer::Join(Ok(joined)) = answer {
                self.members.push((Arc::clone(group), joined.member_id, joined.generation));
            }
        }
    }

    fn store(&mut self, records: Vec<GroupRecord>) {
        self.write(records.clone());
        self.shard.apply(records, self.at);
    }

    fn write(&mut self, records: Vec<GroupRecord>) {
        records.iter().cloned().for_each(|record| self.read.apply(record));
        self.log.extend(records);
    }

    fn commit(&mut self, group: &str, topic: &str, offset: i64) {
        let key = OffsetKey { group: Arc::from(group), topic: Arc::from(topic), partition: 0 };
        let value = CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: Arc::from(""),
            committed_at: self.at.wall_ms,
            expires_at: None,
            topic_id: None,
        };
        self.store(vec![GroupRecord::Offset(key, Some(value))]);
    }

    fn join(&mut self, group: &Arc<str>, member_id: &str, instance_id: Option<&str>) {
        let ticket = self.ticket();
        let request = JoinRequest {
            ticket,
            member_id: Arc::from(member_id),
            new_member_id: Arc::from(format!("m{}", ticket.0)),
            instance_id: instance_id.map(Arc::from),
            client_id: Arc::from("client"),
            client_host: Arc::from("/127.0.0.1"),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(60),
            protocol_type: Arc::from("consumer"),
            protocols: vec![(Arc::from("range"), Bytes::from_static(SUBSCRIPTION))],
            needs_known_id: false,
            knows_skip: true,
        };
        let effects = self.shard.join(group, &request, self.at);
        self.take(group, effects);
    }

    fn sync(&mut self, group: &Arc<str>, member_id: &Arc<str>, generation: i32) {
        let request = SyncRequest {
            ticket: self.ticket(),
            member_id: Arc::clone(member_id),
            instance_id: None,
            generation,
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("range")),
            assignments: [(Arc::clone(member_id), Bytes::from_static(ASSIGNMENT))].into(),
        };
        let effects = self.shard.sync(group, request, usize::MAX, self.at);
        self.take(group, effects);
    }

    fn consumer_heartbeat(&mut self, group: &Arc<str>, member_id: &str, member_epoch: i32) {
        self.tickets += 1;
        let request = HeartbeatRequest {
            member_id: Arc::from(member_id),
            new_member_id: Arc::from("new"),
            member_epoch,
            instance_id: None,
            rack_id: None,
            client_id: Arc::from("client"),
            client_host: Arc::from("/127.0.0.1"),
            rebalance_timeout_ms: Some(60_000),
            topics: Some(vec![Arc::from("t")]),
            regex: None,
            assignor: None,
            owned: Some(BTreeMap::new()),
        };
        let (answer, effects) = self.shard.consumer_heartbeat(group, &request, self.at);
        self.take(group, effects);
        if let Ok(answer) = answer {
            self.members.push((Arc::clone(group), answer.member_id, answer.member_epoch));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.at.now += time;
        self.at.wall_ms += i64::try_from(time.as_millis()).unwrap();
        while let Some(due) = self.shard.due(self.at.now) {
            match due {
                Due::Members(name, timer) => {
                    let effects = self.shard.wake(&name, &timer, self.at);
                    self.take(&name, effects);
                }
                Due::Expiry(name) => {
                    let records = self.shard.plan_expiry(&name, self.at);
                    self.store(records);
                    self.shard.note_expiry(&name, self.at);
                }
            }
        }
    }

    fn replay(&self) -> Replay {
        let mut replay = Replay::default();
        self.log.iter().cloned().for_each(|record| replay.apply(record));
        replay
    }

    /// That memory is what the log says, as far as a generation is complete.
    fn assert_is_replay(&self) {
        let nothing = StoredGroup::default();
        for (name, group) in self.shard.iter() {
            let stored = self.read.groups.get(name).unwrap_or(&nothing);
            assert_eq!(stored.offsets, group.offsets, "{name}");
            let classic = match &group.members {
                Members::Classic(classic) => classic,
                Members::Consumer(consumer) => {
                    assert_eq!(stored.consumer, consumer.state, "{name}");
                    assert_eq!(stored.generation, None, "{name}");
                    continue;
                }
            };
            assert!(stored.consumer.is_absent(), "{name}");
            match (classic.phase, &stored.generation) {
                (Phase::Stable, stored) => assert_eq!(*stored, Some(classic.to_record())),
                (Phase::Empty, Some(stored)) => assert_eq!(*stored, classic.to_record()),
                (Phase::Empty, None) => assert_eq!(classic.generation, 0, "{name}"),
                (Phase::Preparing { .. } | Phase::Completing, _) => {}
            }
        }
        let is_known = |name: &Arc<str>| self.shard.get(name).is_some();
        assert!(self.read.groups.keys().all(is_known), "only the log knows {:?}", self.read);
    }
}

fn step(bed: &mut Bed, rng: &mut StdRng) {
    let group: Arc<str> = Arc::from(GROUPS[rng.random_range(0..GROUPS.len())]);
    let known = (!bed.members.is_empty())
        .then(|| bed.members[rng.random_range(0..bed.members.len())].clone());
    match (rng.random_range(0..16), known) {
        (0 | 1, _) => bed.join(&group, "", None),
        (2, _) => bed.join(&group, "", Some(["i", "j"][rng.random_range(0..2)])),
        (3, Some((group, member_id, _))) => bed.join(&group, &member_id, None),
        (4 | 5, Some((group, member_id, generation))) => bed.sync(&group, &member_id, generation),
        (6, Some((group, member_id, generation))) => {
            bed.shard.heartbeat(&group, &member_id, None, generation, bed.at).ok();
        }
        (7, Some((group, member_id, _))) => {
            let (_, effects) = bed.shard.leave(&group, &[(member_id, None)], bed.at);
            bed.take(&group, effects);
        }
        (8 | 9, _) => bed.commit(&group, ["t", "u"][rng.random_range(0..2)], bed.at.wall_ms),
        (10, _) => {
            if let Ok(records) = bed.shard.plan_deletion(&group) {
                bed.store(records);
            }
        }
        (11 | 12, _) => bed.consumer_heartbeat(&group, &format!("n{}", bed.tickets), 0),
        (13, Some((group, member_id, epoch))) => bed.consumer_heartbeat(&group, &member_id, epoch),
        (14, Some((group, member_id, _))) => {
            bed.consumer_heartbeat(&group, &member_id, LEAVE_EPOCH);
        }
        _ => bed.pass(Duration::from_millis(rng.random_range(1..90_000))),
    }
}

#[test]
fn memory_is_what_a_replay_gives_after_any_history() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bed = Bed::new();
        for _ in 0..300 {
            step(&mut bed, &mut rng);
            bed.assert_is_replay();
        }
        assert_eq!(bed.replay(), bed.read, "seed {seed}");
        // A coordinator that starts from the log, and to which nobody comes back.
        bed.shard = Shard::new(bed.replay(), terms(), Arc::default(), bed.at);
        bed.assert_is_replay();
        bed.pass(Duration::from_secs(120));
        assert!(bed.shard.iter().all(|(_, it)| it.members.is_empty()), "seed {seed}");
        bed.pass(RETENTION + IDLE_KEPT);
        bed.pass(RETENTION + IDLE_KEPT);
        assert_eq!(bed.shard.len(), 0, "seed {seed}: everything has had its time");
        assert_eq!(bed.replay(), Replay::default(), "seed {seed}");
        assert_eq!(bed.shard.next_wake(), None, "seed {seed}: nothing is left to wait for");
    }
}

#[test]
fn commits_outlive_their_group_by_the_retention_and_go_with_it() {
    let mut bed = Bed::new();
    let group: Arc<str> = Arc::from("g");
    bed.join(&group, "", None);
    bed.pass(Duration::from_secs(3));
    let (_, member_id, generation) = bed.members[0].clone();
    bed.sync(&group, &member_id, generation);
    bed.commit("g", "t", 7);
    for _ in 0..900 {
        bed.pass(Duration::from_secs(5));
        let beat = bed.shard.heartbeat(&group, &member_id, None, generation, bed.at);
        assert_eq!(beat, Ok(()));
    }
    assert_eq!(bed.shard.get("g").unwrap().offsets.len(), 1, "its member still reads");
    let (left, effects) = bed.shard.leave(&group, &[(member_id, None)], bed.at);
    assert_eq!(left, [Ok(())]);
    bed.take(&group, effects);
    bed.pass(RETENTION - Duration::from_secs(1));
    assert_eq!(bed.shard.get("g").unwrap().offsets.len(), 1);
    bed.pass(IDLE_KEPT + Duration::from_secs(1));
    assert!(bed.shard.get("g").is_none());
    assert_eq!(bed.replay(), Replay::default());
}

#[test]
fn a_clock_that_jumps_expires_nothing_early() {
    let mut bed = Bed::new();
    bed.commit("g", "t", 7);
    bed.at.wall_ms -= 3_600_000;
    bed.pass(RETENTION);
    assert!(bed.shard.get("g").is_some(), "by the wall clock no time has passed");
    bed.pass(RETENTION);
    assert!(bed.shard.get("g").is_none());
}

#[test]
fn a_group_that_nobody_joined_leaves_nothing() {
    let mut bed = Bed::new();
    let group: Arc<str> = Arc::from("g");
    let mut refused = |timeout| {
        let ticket = bed.ticket();
        let request = JoinRequest {
            ticket,
            member_id: Arc::from(""),
            new_member_id: Arc::from("m"),
            instance_id: None,
            client_id: Arc::from(""),
            client_host: Arc::from(""),
            session_timeout: timeout,
            rebalance_timeout: timeout,
            protocol_type: Arc::from("consumer"),
            protocols: vec![(Arc::from("range"), Bytes::new())],
            needs_known_id: true,
            knows_skip: false,
        };
        let effects = bed.shard.join(&group, &request, bed.at);
        bed.take(&group, effects);
    };
    refused(Duration::from_millis(1));
    refused(Duration::from_secs(10));
    assert_eq!(bed.shard.len(), 1, "a member id was given out");
    bed.pass(Duration::from_secs(10));
    assert_eq!((bed.shard.len(), bed.log.len()), (0, 0));
}

#[test]
fn commits_to_a_deleted_topic_are_none_to_the_next_of_its_name() {
    use crate::groups::consumer::tests::set_topic;
    use protocol::topic::TopicId;
    use uuid::Uuid;

    let mut bed = Bed::new();
    let mut image = Image::default();
    set_topic(&mut image, "t", 1);
    set_topic(&mut image, "u", 1);
    bed.shard.see(Arc::new(image.clone()));
    bed.commit("g", "t", 5);
    bed.commit("g", "u", 6);
    // Nobody has looked in between.
    let next_id = TopicId::new(Uuid::from_u128(99)).unwrap();
    let topics = Arc::make_mut(&mut image.topics);
    Arc::make_mut(topics.get_mut("t").unwrap()).id = next_id;
    Arc::make_mut(&mut image.deleted_topics).push(next_id);
    bed.shard.see(Arc::new(image));
    let told = |bed: &Bed, topic: &str| {
        bed.shard.get("g").unwrap().offsets.get(topic, 0).map(|value| value.offset)
    };
    assert_eq!((told(&bed, "t"), told(&bed, "u")), (None, Some(6)));
    bed.commit("g", "t", 1);
    let records = bed.shard.plan_forgetting(10);
    assert_eq!(records, [], "what is committed to the new one stays");
    assert_eq!((told(&bed, "t"), told(&bed, "u")), (Some(1), Some(6)));
}

#[test]
fn nothing_expires_while_members_come_and_go() {
    let mut bed = Bed::new();
    let group: Arc<str> = Arc::from("g");
    bed.join(&group, "", None);
    bed.pass(Duration::from_secs(3));
    let (_, member_id, generation) = bed.members[0].clone();
    bed.sync(&group, &member_id, generation);
    bed.commit("g", "u", 7);
    bed.at.wall_ms += 3_600_000;
    bed.join(&group, "", None);
    assert_eq!(bed.shard.plan_expiry(&group, bed.at), [], "its reader may be on its way");
    bed.join(&group, &member_id, None);
    for (_, member_id, generation) in bed.members.split_off(1) {
        bed.sync(&group, &member_id, generation);
    }
    assert_eq!(bed.shard.plan_expiry(&group, bed.at).len(), 1, "nobody reads it");
}

#[test]
fn what_is_waited_for_does_not_grow_with_what_a_client_repeats() {
    let mut bed = Bed::new();
    let group: Arc<str> = Arc::from("g");
    bed.consumer_heartbeat(&group, "a", 0);
    for turn in 0..100 {
        bed.commit("other", "t", turn);
        let records = bed.shard.plan_deletion(&Arc::from("other")).unwrap();
        bed.store(records);
        let epoch = bed.members.last().unwrap().2;
        bed.consumer_heartbeat(&group, "a", epoch);
    }
    let mut looks = 0;
    bed.at.now += RETENTION * 10;
    while bed.shard.due(bed.at.now).is_some() {
        looks += 1;
    }
    assert!(looks <= 2, "{looks} times are waited for");
}
