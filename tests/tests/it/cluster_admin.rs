//! What administrators ask of the cluster as a whole: its quorum, its leaders, its producers, its
//! features, its brokers, where its partitions are, and its transactions.

use harness::batch::{ANONYMOUS, Producer, batch_of};
use harness::calls::topic_name;
use harness::codes;
use harness::deadline::now_ms;
use harness::target::{Target, unique_topic};
use harness::wire::{Connection, text};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::PartitionResponse;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId,
    DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
    DescribeTransactionsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    ListTransactionsRequest, UnregisterBrokerRequest, UpdateFeaturesRequest,
    describe_quorum_request,
};

const TIMEOUT_MS: i32 = 30_000;
const METADATA: &str = "__cluster_metadata";

fn describe_producers(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> PartitionResponse {
    let topic = TopicRequest::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![partition]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    connection.call(0, &request).topics.remove(0).partitions.remove(0)
}

#[test]
fn producers_of_a_partition_are_described() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("producers");
    connection.create_topic(&topic, 1, &[]);
    connection.produce(&topic, 0, batch_of(ANONYMOUS, &["a"], now_ms()));
    assert_eq!(describe_producers(&mut connection, &topic, 0).active_producers, []);
    let (id, epoch) = connection.init_producer_id();
    let before_ms = now_ms();
    for sequence in [0, 2] {
        let producer = Producer { id, epoch, sequence };
        connection.produce(&topic, 0, batch_of(producer, &["a", "b"], now_ms()));
    }
    let told = describe_producers(&mut connection, &topic, 0);
    assert_eq!(told.error_code, codes::NONE);
    let [producer] = &told.active_producers[..] else { panic!("{told:?}") };
    assert_eq!((producer.producer_id.0, producer.producer_epoch), (id, i32::from(epoch)));
    assert_eq!((producer.last_sequence, producer.current_txn_start_offset), (3, -1));
    assert_eq!(producer.coordinator_epoch, -1);
    assert!(producer.last_timestamp >= before_ms, "{producer:?}");
    let unknown = describe_producers(&mut connection, &topic, 7).error_code;
    assert_eq!(unknown, codes::UNKNOWN_TOPIC_OR_PARTITION);
    let unknown = describe_producers(&mut connection, &unique_topic("nowhere"), 0).error_code;
    assert_eq!(unknown, codes::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn the_quorum_is_described_in_every_version() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("quorum");
    connection.create_topic(&topic, 1, &[]);
    let leader = connection.describe_topic(&topic).partitions[0].leader_id;
    let mut last_high_watermark = 0;
    for version in 0..=2 {
        let mut describe = |topic: &str, partition: i32| {
            let partition =
                describe_quorum_request::PartitionData::default().with_partition_index(partition);
            let topic = describe_quorum_request::TopicData::default()
                .with_topic_name(topic_name(topic))
                .with_partitions(vec![partition]);
            let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
            connection.call(version, &request)
        };
        let told = describe(METADATA, 0);
        assert_eq!(told.error_code, codes::NONE);
        assert_eq!(told.nodes.len(), usize::from(version >= 2));
        let partition = &told.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (codes::NONE, leader));
        assert!(partition.leader_epoch >= 1 && partition.observers.is_empty());
        assert!(partition.high_watermark >= last_high_watermark.max(1));
        last_high_watermark = partition.high_watermark;
        let [voter] = &partition.current_voters[..] else { panic!("{partition:?}") };
        assert!(voter.replica_id == leader && voter.log_end_offset >= partition.high_watermark);
        assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1);
        assert_eq!(voter.replica_directory_id.is_nil(), version < 2);
        let other = describe(METADATA, 1).topics.remove(0).partitions.remove(0);
        assert_eq!(other.error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[test]
fn no_leader_has_to_be_elected() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("elect");
    connection.create_topic(&topic, 2, &[]);
    let mut elect = |version, kind: i8, wanted: Option<Vec<(&str, i32)>>| {
        let topics = wanted.map(|wanted| {
            let one = |(topic, partition): (&str, i32)| {
                TopicPartitions::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(vec![partition])
            };
            wanted.into_iter().map(one).collect()
        });
        let mut request = ElectLeadersRequest::default()
            .with_topic_partitions(topics)
            .with_timeout_ms(TIMEOUT_MS);
        request.election_type = kind;
        let answer = connection.call(version, &request);
        assert_eq!(answer.error_code, codes::NONE);
        let results = answer.replica_election_results.into_iter();
        let mut codes: Vec<_> =
            results.flat_map(|topic| topic.partition_result).map(|one| one.error_code).collect();
        codes.sort_unstable();
        codes
    };
    for (version, kind) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
        let not_needed = [codes::ELECTION_NOT_NEEDED];
        assert_eq!(elect(version, kind, Some(vec![(&topic, 1)])), not_needed);
        let unknown = [codes::UNKNOWN_TOPIC_OR_PARTITION];
        assert_eq!(elect(version, kind, Some(vec![(&topic, 5)])), unknown);
        assert_eq!(elect(version, kind, Some(vec![(&unique_topic("nowhere"), 0)])), unknown);
        assert_eq!(elect(version, kind, None), [0_i16; 0], "nothing had to be done");
    }
}

#[test]
fn a_broker_that_is_not_there_cannot_be_unregistered() {
    let target = Target::start();
    let mut connection = target.connect();
    let request = UnregisterBrokerRequest::default().with_broker_id(4711.into());
    let answer = connection.call(0, &request);
    assert_eq!(answer.error_code, codes::BROKER_ID_NOT_REGISTERED);
}

/// Ours alone: Kafka lets go of a broker that still runs.
#[test]
fn the_only_broker_cannot_be_unregistered() {
    let target = Target::start();
    if !target.is_ours() {
        return;
    }
    let mut connection = target.connect();
    let topic = unique_topic("stays");
    connection.create_topic(&topic, 1, &[]);
    let id = connection.describe_topic(&topic).partitions[0].leader_id;
    let answer = connection.call(0, &UnregisterBrokerRequest::default().with_broker_id(id));
    assert_eq!(answer.error_code, codes::INVALID_REQUEST);
    assert_eq!(connection.describe_topic(&topic).partitions[0].leader_id, id);
}

#[test]
fn features_have_the_levels_that_they_have() {
    let target = Target::start();
    let mut connection = target.connect();
    for version in 0..=2 {
        let mut update = |feature: &str, level, kind| {
            let mut key = FeatureUpdateKey::default()
                .with_feature(text(feature))
                .with_max_version_level(level);
            let mut request = UpdateFeaturesRequest::default().with_timeout_ms(TIMEOUT_MS);
            if version >= 1 {
                (key.upgrade_type, request.validate_only) = (kind, true);
            }
            let answer = connection.call(version, &request.with_feature_updates(vec![key]));
            let of_feature = answer.results.first().map_or(codes::NONE, |one| one.error_code);
            if answer.error_code == codes::NONE { of_feature } else { answer.error_code }
        };
        assert_eq!(update("no.such.feature", 1, 1), codes::INVALID_UPDATE_VERSION);
        assert_eq!(update("metadata.version", 9_999, 1), codes::INVALID_UPDATE_VERSION);
        assert_eq!(update("group.version", -1, 2), codes::INVALID_UPDATE_VERSION);
    }
}

/// The directory that holds the topic's partitions, as DescribeLogDirs names it.
fn directory_of(connection: &mut Connection, topic: &str) -> String {
    let told = connection.call(4, &DescribeLogDirsRequest::default().with_topics(None));
    let mut holding = told.results.into_iter().filter(|directory| {
        directory.topics.iter().any(|described| described.name == topic_name(topic))
    });
    holding.next().expect("some directory holds it").log_dir.to_string()
}

#[test]
fn a_replica_goes_to_the_directory_that_holds_it() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("directory");
    connection.create_topic(&topic, 1, &[]);
    let here = directory_of(&mut connection, &topic);
    for version in 1..=2 {
        let mut go = |directory: &str, topic: &str, partition: i32| {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![partition]);
            let directory = AlterReplicaLogDir::default()
                .with_path(text(directory))
                .with_topics(vec![topic.clone()]);
            let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![directory]);
            let told = connection.call(version, &request).results.remove(0);
            assert_eq!(told.topic_name, topic.name);
            assert_eq!(told.partitions[0].partition_index, partition);
            told.partitions[0].error_code
        };
        assert_eq!(go(&here, &topic, 0), codes::NONE);
        assert_eq!(go(&here, &topic, 1), codes::UNKNOWN_TOPIC_OR_PARTITION);
        let nowhere = unique_topic("nowhere");
        assert_eq!(go(&here, &nowhere, 0), codes::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(go("/no/such/directory", &topic, 0), codes::LOG_DIR_NOT_FOUND);
        assert_eq!(go("/no/such/directory", &nowhere, 0), codes::LOG_DIR_NOT_FOUND);
    }
}

/// What comes of the wish that the partition be on these brokers, or, with none, that it stay.
fn reassign(
    connection: &mut Connection,
    version: i16,
    (topic, partition): (&str, i32),
    brokers: Option<&[i32]>,
) -> i16 {
    let replicas = brokers.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
    let partition =
        ReassignablePartition::default().with_partition_index(partition).with_replicas(replicas);
    let topic = ReassignableTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition.clone()]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_timeout_ms(TIMEOUT_MS)
        .with_allow_replication_factor_change(version == 0)
        .with_topics(vec![topic.clone()]);
    let answer = connection.call(version, &request);
    assert_eq!((answer.error_code, &answer.error_message), (codes::NONE, &None));
    assert_eq!(answer.allow_replication_factor_change, version == 0, "as asked");
    let [told] = &answer.responses[..] else { panic!("{answer:?}") };
    let [told_partition] = &told.partitions[..] else { panic!("{answer:?}") };
    assert_eq!(told.name, topic.name);
    assert_eq!(told_partition.partition_index, partition.partition_index);
    let say_it_all = [codes::NONE, codes::NO_REASSIGNMENT_IN_PROGRESS];
    let has_sentence = told_partition.error_message.is_some();
    assert_eq!(has_sentence, !say_it_all.contains(&told_partition.error_code));
    told_partition.error_code
}

#[test]
fn a_partition_stays_on_the_brokers_that_it_is_on() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("reassign");
    connection.create_topic(&topic, 1, &[]);
    let here = connection.describe_topic(&topic).partitions[0].leader_id.0;
    let nowhere = unique_topic("nowhere");
    for version in 0..=1 {
        let mut to = |partition: (&str, i32), brokers: Option<&[i32]>| {
            reassign(&mut connection, version, partition, brokers)
        };
        assert_eq!(to((&topic, 0), Some(&[here])), codes::NONE);
        assert_eq!(to((&topic, 0), None), codes::NO_REASSIGNMENT_IN_PROGRESS);
        for wrong in [&[][..], &[here, here], &[4711], &[-1], &[here, 4711]] {
            let code = to((&topic, 0), Some(wrong));
            assert_eq!(code, codes::INVALID_REPLICA_ASSIGNMENT, "{wrong:?}");
        }
        for unknown in [(&*topic, 1), (&topic, -1), (&nowhere, 0)] {
            for brokers in [None, Some(&[here][..]), Some(&[])] {
                assert_eq!(to(unknown, brokers), codes::UNKNOWN_TOPIC_OR_PARTITION);
            }
        }
    }
    let replicas = &connection.describe_topic(&topic).partitions[0].replica_nodes;
    assert_eq!(replicas[..], [BrokerId(here)]);
}

#[test]
fn no_partition_is_on_its_way() {
    let target = Target::start();
    let mut connection = target.connect();
    let topic = unique_topic("settled");
    connection.create_topic(&topic, 1, &[]);
    let one = |topic: &str| {
        ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes(vec![0, 7])
    };
    let these = vec![one(&topic), one(&unique_topic("nowhere"))];
    for topics in [None, Some(vec![]), Some(these)] {
        let request = ListPartitionReassignmentsRequest::default()
            .with_timeout_ms(TIMEOUT_MS)
            .with_topics(topics);
        let answer = connection.call(0, &request);
        assert_eq!((answer.error_code, answer.error_message), (codes::NONE, None));
        assert_eq!(answer.topics, []);
    }
}

#[test]
fn a_transactional_id_that_nobody_uses_is_not_described() {
    let target = Target::start();
    let mut connection = target.connect();
    let ids = [unique_topic("transaction"), String::new()].map(|id| text(&id).into());
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(Vec::from(ids.clone()));
    let states = connection.call(0, &request).transaction_states;
    assert_eq!(states.len(), ids.len());
    for (state, id) in states.iter().zip(&ids) {
        assert_eq!(&state.transactional_id, id);
        assert!(state.transaction_state.is_empty() && state.topics.is_empty(), "{state:?}");
    }
    // A Kafka that has not needed the topic of transactions so far coordinates none of them.
    let unknown = [codes::TRANSACTIONAL_ID_NOT_FOUND, codes::NOT_COORDINATOR];
    let possible = if target.is_ours() { &unknown[..1] } else { &unknown };
    assert!(possible.contains(&states[0].error_code), "{states:?}");
    assert_eq!(states[1].error_code, codes::INVALID_REQUEST);
}

#[test]
fn transactions_are_listed_by_states_that_exist() {
    let target = Target::start();
    let mut connection = target.connect();
    // Of a producer that has no transactional id, for another broker may have others.
    let (producer, _epoch) = connection.init_producer_id();
    for version in 0..=2 {
        let mut list = |states: &[&str], pattern: Option<&str>| {
            let mut request = ListTransactionsRequest::default()
                .with_state_filters(states.iter().copied().map(text).collect())
                .with_producer_id_filters(vec![producer.into()]);
            if version >= 2 {
                request.transactional_id_pattern = pattern.map(text);
            }
            let answer = connection.call(version, &request);
            assert_eq!(answer.transaction_states, []);
            let unknown = answer.unknown_state_filters.iter();
            let mut unknown: Vec<_> = unknown.map(ToString::to_string).collect();
            unknown.sort_unstable();
            (answer.error_code, unknown)
        };
        assert_eq!(list(&[], None), (codes::NONE, vec![]));
        let states = ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit"];
        assert_eq!(list(&states, Some("")), (codes::NONE, vec![]));
        let states = ["CompleteAbort", "Dead", "PrepareEpochFence"];
        assert_eq!(list(&states, Some("a.*")), (codes::NONE, vec![]));
        let unknown = ["Open", "Unknown", "ongoing"].map(str::to_owned);
        let states = ["ongoing", "Open", "Ongoing", "Unknown", "Open"];
        assert_eq!(list(&states, None), (codes::NONE, Vec::from(unknown)));
        if version >= 2 {
            for wrong in ["(", "(?=a)"] {
                let refused = (codes::INVALID_REGULAR_EXPRESSION, vec![]);
                assert_eq!(list(&["Open"], Some(wrong)), refused, "{wrong}");
            }
        }
    }
}
