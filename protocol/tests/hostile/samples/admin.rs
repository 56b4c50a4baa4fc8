//! Requests of administrators and of client telemetry.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use uuid::Uuid;

use super::{Fill, put, text, topic};

sample!(elect_leaders, ElectLeadersRequest, |it, version| {
    use m::elect_leaders_request::TopicPartitions;
    let one = TopicPartitions::default().with_topic(topic("topic")).with_partitions(vec![0, 1, 2]);
    if version >= 1 {
        it.election_type = 1;
    }
    it.topic_partitions = Some(vec![one.clone(), one]);
    it.timeout_ms = 1_000;
});

sample!(alter_replica_log_dirs, AlterReplicaLogDirsRequest, |it, _version| {
    use m::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    let one =
        AlterReplicaLogDirTopic::default().with_name(topic("topic")).with_partitions(vec![0, 1, 2]);
    let dir =
        AlterReplicaLogDir::default().with_path(text("/data")).with_topics(vec![one.clone(), one]);
    it.dirs = vec![dir.clone(), dir];
});

sample!(alter_partition_reassignments, AlterPartitionReassignmentsRequest, |it, version| {
    use m::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let replicas = vec![101.into(), 102.into(), 103.into()];
    let cancelled = ReassignablePartition::default().with_partition_index(1).with_replicas(None);
    let moved = cancelled.clone().with_replicas(Some(replicas));
    let one = ReassignableTopic::default()
        .with_name(topic("topic"))
        .with_partitions(vec![moved, cancelled]);
    if version >= 1 {
        it.allow_replication_factor_change = false;
    }
    it.timeout_ms = 1_000;
    it.topics = vec![one.clone(), one];
});

sample!(list_partition_reassignments, ListPartitionReassignmentsRequest, |it, _version| {
    use m::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let one = ListPartitionReassignmentsTopics::default()
        .with_name(topic("topic"))
        .with_partition_indexes(vec![0, 1, 2]);
    it.timeout_ms = 1_000;
    it.topics = Some(vec![one.clone(), one]);
});

sample!(describe_quorum, DescribeQuorumRequest, |it, _version| {
    use m::describe_quorum_request::{PartitionData, TopicData};
    let partition = PartitionData::default().with_partition_index(1);
    let one = TopicData::default()
        .with_topic_name(topic("__cluster_metadata"))
        .with_partitions(vec![partition.clone(), partition]);
    it.topics = vec![one.clone(), one];
});

sample!(update_features, UpdateFeaturesRequest, |it, version| {
    use m::update_features_request::FeatureUpdateKey;
    let mut one = FeatureUpdateKey::default()
        .with_feature(text("metadata.version"))
        .with_max_version_level(3);
    if version == 0 {
        one.allow_downgrade = true;
    } else {
        one.upgrade_type = 2;
        it.validate_only = true;
    }
    it.timeout_ms = 1_000;
    it.feature_updates = vec![one.clone(), one];
});

sample!(describe_producers, DescribeProducersRequest, |it, _version| {
    use m::describe_producers_request::TopicRequest;
    let one = TopicRequest::default().with_name(topic("topic")).with_partition_indexes(vec![0, 1]);
    it.topics = vec![one.clone(), one];
});

sample!(describe_transactions, DescribeTransactionsRequest, |it, _version| {
    it.transactional_ids = vec![text("transaction").into(), text("").into()];
});

sample!(list_transactions, ListTransactionsRequest, |it, version| {
    it.state_filters = vec![text("Ongoing"), text("")];
    it.producer_id_filters = vec![4_000.into(), 4_001.into()];
    if version >= 1 {
        it.duration_filter = 60_000;
    }
    if version >= 2 {
        it.transactional_id_pattern = Some(text("transaction.*"));
    }
});

sample!(unregister_broker, UnregisterBrokerRequest, |it, _version| {
    it.broker_id = 7.into();
});

sample!(get_telemetry_subscriptions, GetTelemetrySubscriptionsRequest, |it, _version| {
    it.client_instance_id = Uuid::from_u128(9);
});

sample!(push_telemetry, PushTelemetryRequest, |it, _version| {
    it.client_instance_id = Uuid::from_u128(9);
    it.subscription_id = -5;
    it.terminating = true;
    it.compression_type = 4;
    it.metrics = Bytes::from_static(b"metrics");
});
