//! Groups of the consumer protocol (KIP-848), by raw requests: behaviour 49.

use harness::calls::topic_name;
use harness::codes;
use harness::deadline::eventually;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    ListGroupsRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use uuid::Uuid;

/// A group that nobody else uses, on a topic of two partitions.
struct Bed {
    /// Held, since dropping it would stop the node.
    _target: Target,
    connection: Connection,
    group: String,
    topic: String,
    topic_id: Uuid,
}

impl Bed {
    fn new() -> Self {
        let target = Target::start();
        let mut connection = target.connect();
        let topic = unique_topic("groups");
        let topic_id = connection.create_topic(&topic, 2, &[]);
        let group = unique_topic("group");
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(&group)]);
        eventually("a coordinator", || {
            let found = connection.call(4, &find);
            (found.coordinators[0].error_code == codes::NONE).then_some(())
        });
        Self { _target: target, connection, group, topic, topic_id }
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }

    /// A first heartbeat.
    fn joining(&self, member_id: &str) -> ConsumerGroupHeartbeatRequest {
        self.beating(member_id, 0)
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic_name(&self.topic)]))
            .with_topic_partitions(Some(vec![]))
    }

    /// A heartbeat with nothing new.
    fn beating(&self, member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(text(member_id))
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None)
    }

    fn owning(&self, partitions: &[i32]) -> Option<Vec<TopicPartitions>> {
        let topic = TopicPartitions::default()
            .with_topic_id(self.topic_id)
            .with_partitions(partitions.to_vec());
        Some(if partitions.is_empty() { vec![] } else { vec![topic] })
    }

    /// A heartbeat, while the coordinator may still be loading.
    fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        const LOADING: [i16; 3] = [14, 15, 16];
        let connection = &mut self.connection;
        eventually("an answer", || {
            let answer = connection.call(1, request);
            (!LOADING.contains(&answer.error_code)).then_some(answer)
        })
    }

    fn accepted(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Answer {
        let answer = self.send(request);
        let error = (answer.error_code, answer.error_message.as_ref());
        assert_eq!(error, (codes::NONE, None), "{request:?}");
        let assigned = answer.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            let mut all: Vec<i32> = topics.flat_map(|topic| topic.partitions).collect();
            all.sort_unstable();
            all
        });
        Answer { epoch: answer.member_epoch, assigned }
    }

    /// Beats until `wanted` is assigned; the epoch then. Assignments come with a delay.
    fn await_assigned(&mut self, member_id: &str, epoch: i32, wanted: &[i32]) -> i32 {
        let mut epoch = epoch;
        let this = std::cell::RefCell::new(self);
        eventually("an assignment", || {
            let mut this = this.borrow_mut();
            let request = this.beating(member_id, epoch);
            let answer = this.accepted(&request);
            epoch = answer.epoch;
            (answer.assigned.as_deref() == Some(wanted)).then_some(())
        });
        epoch
    }

    fn describe(&mut self) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![self.group_id()]);
        self.connection.call(1, &request).groups.remove(0)
    }

    fn commit(&mut self, member_id: &str, epoch: i32, partition: i32) -> i16 {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(5);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(text(member_id))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        self.connection.call(9, &request).topics[0].partitions[0].error_code
    }

    fn fetch(&mut self, member_id: Option<&str>, epoch: i32) -> i16 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(topic_name(&self.topic))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group_id())
            .with_member_id(member_id.map(text))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        self.connection.call(9, &request).groups[0].error_code
    }

    fn classic_join(&mut self, member_id: &str, owned: &[i32]) -> JoinGroupResponse {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("cooperative-sticky"))
            .with_metadata(subscription(&self.topic, owned).into());
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(text(member_id))
            .with_session_timeout_ms(45_000)
            .with_rebalance_timeout_ms(60_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        self.connection.call(9, &request)
    }

    fn classic_beat(&mut self, joined: &JoinGroupResponse) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_member_id(joined.member_id.clone())
            .with_generation_id(joined.generation_id);
        self.connection.call(4, &request).error_code
    }
}

struct Answer {
    epoch: i32,
    assigned: Option<Vec<i32>>,
}

/// What a consumer puts into JoinGroup (version 1).
fn subscription(topic: &str, owned: &[i32]) -> Vec<u8> {
    let name = |out: &mut Vec<u8>| {
        out.extend(i16::try_from(topic.len()).expect("a short name").to_be_bytes());
        out.extend(topic.as_bytes());
    };
    let mut out = vec![0, 1, 0, 0, 0, 1];
    name(&mut out);
    out.extend((-1_i32).to_be_bytes());
    out.extend(i32::from(!owned.is_empty()).to_be_bytes());
    if !owned.is_empty() {
        name(&mut out);
        out.extend(i32::try_from(owned.len()).expect("a few").to_be_bytes());
        owned.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    }
    out
}

#[test]
fn a_partition_goes_to_the_next_member_when_the_last_one_says_that_it_is_revoked() {
    let mut bed = Bed::new();
    let (request, second) = (bed.joining("a"), bed.joining("b"));
    let answer = bed.accepted(&request);
    assert_eq!((answer.epoch, answer.assigned), (2, Some(vec![0, 1])));
    let owning = |bed: &Bed, epoch, owned: &[i32]| {
        bed.beating("a", epoch).with_topic_partitions(bed.owning(owned))
    };
    let request = owning(&bed, 2, &[0, 1]);
    let answer = bed.accepted(&request);
    assert_eq!((answer.epoch, answer.assigned), (2, None), "null: unchanged");
    let mut newcomer = bed.accepted(&second).epoch;
    let kept = eventually("a revocation", || {
        let request = bed.beating("b", newcomer);
        newcomer = bed.accepted(&request).epoch;
        let request = bed.beating("a", 2);
        bed.accepted(&request).assigned
    });
    assert_eq!(kept.len(), 1);
    assert_eq!(bed.describe().group_state.as_str(), "Reconciling");
    let other = [1 - kept[0]];
    // It may have asked last before the other's heartbeat made the targets.
    let request = bed.beating("b", newcomer);
    let answer = bed.accepted(&request);
    newcomer = answer.epoch;
    assert_eq!(newcomer, 3);
    assert!(answer.assigned.is_none_or(|it| it.is_empty()), "the first still owns it");
    let request = owning(&bed, 2, &kept);
    assert_eq!(bed.accepted(&request).epoch, 3, "now it has revoked");
    let request = bed.beating("b", newcomer);
    assert_eq!(bed.accepted(&request).assigned.as_deref(), Some(&other[..]));
    let group = bed.describe();
    assert_eq!(group.group_state.as_str(), "Stable");
    assert_eq!((group.group_epoch, group.assignment_epoch), (3, 3));
    assert_eq!((group.assignor_name.as_str(), group.members.len()), ("uniform", 2));
    let first = group.members.iter().find(|member| member.member_id.as_str() == "a").unwrap();
    assert_eq!((first.member_epoch, first.member_type), (3, 1));
    assert_eq!(first.assignment.topic_partitions[0].partitions, kept);
    assert_eq!(first.target_assignment.topic_partitions[0].topic_name.as_str(), bed.topic);
}

#[test]
fn epochs_that_do_not_fit_are_fenced() {
    let mut bed = Bed::new();
    let check = |bed: &mut Bed, request: ConsumerGroupHeartbeatRequest, expected: i16| {
        assert_eq!(bed.send(&request).error_code, expected, "{request:?}");
    };
    let request = bed.beating("a", 1);
    check(&mut bed, request, codes::GROUP_ID_NOT_FOUND);
    let request = bed.joining("a");
    bed.accepted(&request);
    for (epoch, expected) in [(3, codes::FENCED_MEMBER_EPOCH), (1, codes::FENCED_MEMBER_EPOCH)] {
        let request = bed.beating("a", epoch);
        check(&mut bed, request, expected);
    }
    let request = bed.beating("x", 1);
    check(&mut bed, request, codes::UNKNOWN_MEMBER_ID);
    let request = bed.joining("a");
    let again = bed.accepted(&request);
    assert_eq!((again.epoch, again.assigned), (2, Some(vec![0, 1])));
    let request = bed.beating("a", -1);
    assert_eq!(bed.accepted(&request).epoch, -1);
    let request = bed.beating("a", -1);
    check(&mut bed, request, codes::UNKNOWN_MEMBER_ID);
    assert_eq!(bed.describe().group_state.as_str(), "Empty");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut bed = Bed::new();
    let good = bed.joining("a");
    let static_one = good.clone().with_instance_id(Some(text("i")));
    let owning = bed.owning(&[0]);
    let cases = [
        (good.clone().with_group_id(GroupId(text(""))), codes::INVALID_REQUEST),
        (good.clone().with_member_id(text("")), codes::INVALID_REQUEST),
        (good.clone().with_instance_id(Some(text(""))), codes::INVALID_REQUEST),
        (good.clone().with_rack_id(Some(text(" "))), codes::INVALID_REQUEST),
        (good.clone().with_rebalance_timeout_ms(-1), codes::INVALID_REQUEST),
        (good.clone().with_topic_partitions(None), codes::INVALID_REQUEST),
        (good.clone().with_topic_partitions(owning), codes::INVALID_REQUEST),
        (good.clone().with_subscribed_topic_names(None), codes::INVALID_REQUEST),
        (bed.beating("a", -2), codes::INVALID_REQUEST),
        (bed.beating("a", -3), codes::INVALID_REQUEST),
        (good.clone().with_server_assignor(Some(text("sticky"))), codes::UNSUPPORTED_ASSIGNOR),
        (
            good.clone().with_subscribed_topic_regex(Some(text("a(b"))),
            codes::INVALID_REGULAR_EXPRESSION,
        ),
        (good.clone().with_subscribed_topic_regex(Some(text("[[:x:]]"))), 128),
        (good.clone().with_subscribed_topic_regex(Some(text("(?=a)"))), 128),
    ];
    for (request, expected) in cases {
        let answer = bed.send(&request);
        assert_eq!(answer.error_code, expected, "{request:?}");
        assert!(answer.error_message.is_some());
    }
    assert_eq!(bed.describe().error_code, codes::GROUP_ID_NOT_FOUND, "nothing came of all that");
    let answer = bed.connection.call(0, &good.clone().with_member_id(text("")));
    assert_eq!(answer.error_code, codes::NONE);
    assert!(answer.member_id.is_some_and(|id| !id.is_empty()), "version 0: the broker makes one");
    bed.accepted(&static_one);
    let other = static_one.with_member_id(text("b"));
    assert_eq!(bed.send(&other).error_code, codes::UNRELEASED_INSTANCE_ID);
    let wrong = bed.beating("b", 2).with_instance_id(Some(text("i")));
    assert_eq!(bed.send(&wrong).error_code, codes::FENCED_INSTANCE_ID);
    let wrong = bed.beating("b", 2).with_instance_id(Some(text("j")));
    assert_eq!(bed.send(&wrong).error_code, codes::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bed = Bed::new();
    let as_static =
        |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("i")));
    let request = as_static(bed.joining("a"));
    let epoch = bed.accepted(&request).epoch;
    let request = as_static(bed.beating("a", -2));
    assert_eq!(bed.accepted(&request).epoch, -2);
    assert_eq!(bed.describe().members[0].member_epoch, -2);
    let request = as_static(bed.joining("b"));
    let back = bed.accepted(&request);
    assert_eq!((back.epoch, back.assigned), (epoch, Some(vec![0, 1])));
    let group = bed.describe();
    let member = &group.members[0];
    assert_eq!((group.members.len(), group.group_epoch), (1, epoch));
    assert_eq!((member.member_id.as_str(), member.instance_id.as_deref()), ("b", Some("i")));
}

#[test]
fn a_regular_expression_finds_whole_names() {
    let mut bed = Bed::new();
    let regex = format!("{}..", &bed.topic[..bed.topic.len() - 2]);
    let part = format!(".{}", &bed.topic[1..bed.topic.len() - 2]);
    for (member_id, regex, wanted) in [("a", &regex, &[0, 1][..]), ("b", &part, &[])] {
        let request = bed
            .joining(member_id)
            .with_subscribed_topic_names(None)
            .with_subscribed_topic_regex(Some(text(regex)));
        let answer = bed.accepted(&request);
        // Kafka searches in the background and assigns with a later heartbeat.
        if answer.assigned.as_deref() != Some(wanted) {
            bed.await_assigned(member_id, answer.epoch, wanted);
        }
    }
    let group = bed.describe();
    let first = group.members.iter().find(|member| member.member_id.as_str() == "a").unwrap();
    assert_eq!(first.subscribed_topic_regex.as_deref(), Some(regex.as_str()));
}

#[test]
fn commits_and_fetches_go_by_the_member_epoch() {
    let mut bed = Bed::new();
    let request = bed.joining("a");
    let epoch = bed.accepted(&request).epoch;
    assert_eq!(bed.commit("a", epoch, 0), codes::NONE);
    assert_eq!(bed.commit("a", epoch + 1, 0), codes::STALE_MEMBER_EPOCH);
    assert_eq!(bed.commit("a", epoch - 1, 0), codes::STALE_MEMBER_EPOCH);
    assert_eq!(bed.commit("x", epoch, 0), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(bed.commit("", -1, 0), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(bed.fetch(Some("a"), epoch), codes::NONE);
    assert_eq!(bed.fetch(Some("a"), epoch - 1), codes::STALE_MEMBER_EPOCH);
    assert_eq!(bed.fetch(Some("x"), epoch), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(bed.fetch(None, -1), codes::NONE);
    let request = ListGroupsRequest::default().with_types_filter(vec![text("Consumer")]);
    let listed = bed.connection.call(5, &request).groups;
    let ours = listed.iter().find(|it| *it.group_id == *bed.group_id()).expect("it is listed");
    assert_eq!((ours.group_type.as_str(), ours.protocol_type.as_str()), ("consumer", "consumer"));
    assert_eq!(ours.group_state.as_str(), "Stable");
}

#[test]
fn members_of_both_protocols_share_a_group() {
    let mut bed = Bed::new();
    let request = bed.joining("a");
    let mut epoch = bed.accepted(&request).epoch;
    let first = bed.classic_join("", &[]);
    assert_eq!(first.error_code, codes::MEMBER_ID_REQUIRED);
    let mut joined = bed.classic_join(&first.member_id, &[]);
    assert_eq!((joined.error_code, joined.leader.as_str(), joined.members.len()), (0, "", 0));
    assert_eq!(joined.protocol_name.as_deref(), Some("cooperative-sticky"));
    // The newcomer waits until the other has given one up; both go on with their heartbeats.
    let partition = eventually("a share for both", || {
        let owned = bed
            .describe()
            .members
            .iter()
            .find(|it| it.member_id.as_str() == "a")
            .map(|it| it.target_assignment.topic_partitions[0].partitions.clone());
        let owned = owned.unwrap();
        let request = bed.beating("a", epoch).with_topic_partitions(bed.owning(&owned));
        epoch = bed.accepted(&request).epoch;
        match bed.classic_beat(&joined) {
            codes::NONE => {}
            codes::REBALANCE_IN_PROGRESS => joined = bed.classic_join(&joined.member_id, &[]),
            other => panic!("{other}"),
        }
        let request = SyncGroupRequest::default()
            .with_group_id(bed.group_id())
            .with_member_id(joined.member_id.clone())
            .with_generation_id(joined.generation_id)
            .with_protocol_type(joined.protocol_type.clone())
            .with_protocol_name(joined.protocol_name.clone());
        let synced = bed.connection.call(5, &request);
        let bytes = &synced.assignment;
        (synced.error_code == codes::NONE && bytes.len() > 10).then(|| (owned, bytes.clone()))
    });
    let (kept, assignment) = partition;
    let expected = subscription_answer(&bed.topic, 1 - kept[0]);
    assert_eq!((kept.len(), assignment.to_vec()), (1, expected));
    let group = bed.describe();
    let types: Vec<i8> = group.members.iter().map(|member| member.member_type).collect();
    assert!(types.contains(&0) && types.contains(&1), "{types:?}");
    assert_eq!(bed.commit(&joined.member_id, joined.generation_id, 1 - kept[0]), codes::NONE);
    assert_eq!(
        bed.commit(&joined.member_id, joined.generation_id + 1, 1 - kept[0]),
        codes::ILLEGAL_GENERATION
    );
    let request = bed.beating("a", -1);
    bed.accepted(&request);
    let request = ListGroupsRequest::default().with_types_filter(vec![text("classic")]);
    let listed = bed.connection.call(5, &request).groups;
    assert!(listed.iter().any(|it| *it.group_id == *bed.group_id()), "the last one took it back");
}

/// What SyncGroup gives for one partition (version 1).
fn subscription_answer(topic: &str, partition: i32) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0, 0, 1];
    out.extend(i16::try_from(topic.len()).expect("a short name").to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(1_i32.to_be_bytes());
    out.extend(partition.to_be_bytes());
    out.extend((-1_i32).to_be_bytes());
    out
}
