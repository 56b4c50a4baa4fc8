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
