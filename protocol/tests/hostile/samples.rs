//! Sound requests of every served API and version, encoded by the codec library.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Encodable, Message, StrBytes, encode_request_header_into_buffer};
use protocol::api::ApiSpec;
use uuid::Uuid;

/// A frame with all fields at their defaults, one with all fields set that the version has, and one
/// with tagged fields that nobody knows.
pub(crate) fn samples(spec: &ApiSpec, version: i16) -> Vec<Bytes> {
    let frame = |message: &dyn Fn(Fill, i16, &mut BytesMut)| {
        let mut frames = vec![Fill::Defaults, Fill::Everything];
        if spec.is_flexible(version) {
            frames.push(Fill::UnknownTags);
        }
        frames.into_iter().map(|fill| encode(spec.key, version, fill, message)).collect()
    };
    match spec.key {
        0 => frame(&produce),
        1 => frame(&fetch),
        2 => frame(&list_offsets),
        3 => frame(&metadata),
        8 => frame(&groups::offset_commit),
        9 => frame(&groups::offset_fetch),
        10 => frame(&find_coordinator),
        11 => frame(&groups::join_group),
        12 => frame(&groups::heartbeat),
        13 => frame(&groups::leave_group),
        14 => frame(&groups::sync_group),
        15 => frame(&groups::describe_groups),
        16 => frame(&groups::list_groups),
        18 => frame(&api_versions),
        19 => frame(&create_topics),
        20 => frame(&delete_topics),
        21 => frame(&delete_records),
        22 => frame(&init_producer_id),
        23 => frame(&offset_for_leader_epoch),
        32 => frame(&describe_configs),
        33 => frame(&alter_configs),
        34 => frame(&admin::alter_replica_log_dirs),
        35 => frame(&describe_log_dirs),
        37 => frame(&create_partitions),
        42 => frame(&groups::delete_groups),
        43 => frame(&admin::elect_leaders),
        44 => frame(&incremental_alter_configs),
        45 => frame(&admin::alter_partition_reassignments),
        46 => frame(&admin::list_partition_reassignments),
        47 => frame(&groups::offset_delete),
        55 => frame(&admin::describe_quorum),
        57 => frame(&admin::update_features),
        60 => frame(&describe_cluster),
        61 => frame(&admin::describe_producers),
        64 => frame(&admin::unregister_broker),
        65 => frame(&admin::describe_transactions),
        66 => frame(&admin::list_transactions),
        68 => frame(&groups::consumer_group_heartbeat),
        69 => frame(&groups::consumer_group_describe),
        71 => frame(&admin::get_telemetry_subscriptions),
        72 => frame(&admin::push_telemetry),
        74 => frame(&list_config_resources),
        75 => frame(&describe_topic_partitions),
        key => panic!("no sample for API key {key}"),
    }
}

/// What a sample holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Defaults,
    Everything,
    UnknownTags,
}

fn encode(key: i16, version: i16, fill: Fill, message: &dyn Fn(Fill, i16, &mut BytesMut)) -> Bytes {
    let mut header = m::RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(1)
        .with_client_id((fill != Fill::Defaults).then(|| text("client")));
    if fill == Fill::UnknownTags {
        header = header.with_unknown_tagged_field(9, Bytes::from_static(b"header"));
    }
    let mut frame = BytesMut::new();
    encode_request_header_into_buffer(&mut frame, &header).expect("a header is encodable");
    message(fill, version, &mut frame);
    frame.freeze()
}

/// In the codec's last version, where ours goes beyond it without a change to the request.
fn put<M: Encodable + Message>(message: &M, version: i16, out: &mut BytesMut) {
    let version = version.min(M::VERSIONS.max);
    message.encode(out, version).expect("a sample holds what its version has");
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn topic(name: &str) -> m::TopicName {
    text(name).into()
}

/// Defines a sample: the message at its defaults, how to set all fields, how to add a tag.
macro_rules! sample {
    ($name:ident, $message:ident, |$it:ident, $version:ident| $fill:block) => {
        pub(super) fn $name(fill: Fill, $version: i16, out: &mut BytesMut) {
            let mut $it = m::$message::default();
            if fill != Fill::Defaults {
                $fill
            }
            if fill == Fill::UnknownTags {
                let value = Bytes::from_static(b"body");
                $it = $it
                    .with_unknown_tagged_field(77, value.clone())
                    .with_unknown_tagged_field(78, value);
            }
            put(&$it, $version, out);
        }
    };
}

mod admin;
mod groups;

sample!(produce, ProduceRequest, |it, version| {
    use m::produce_request::{PartitionProduceData, TopicProduceData};
    let partition = |index, records: Option<&'static [u8]>| {
        let records = records.map(Bytes::from_static);
        PartitionProduceData::default().with_index(index).with_records(records)
    };
    let mut data = TopicProduceData::default()
        .with_partition_data(vec![partition(0, Some(b"records")), partition(1, None)]);
    if version >= 13 {
        data.topic_id = Uuid::from_u128(7);
    } else {
        data.name = topic("topic");
    }
    it.transactional_id = Some(text("transaction").into());
    it.acks = -1;
    it.timeout_ms = 30_000;
    it.topic_data = vec![data.clone(), data];
});

sample!(fetch, FetchRequest, |it, version| {
    use m::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
    let mut partition = FetchPartition::default().with_partition(3).with_fetch_offset(50);
    partition.partition_max_bytes = 1 << 20;
    if version >= 5 {
        partition.log_start_offset = 2;
    }
    if version >= 9 {
        partition.current_leader_epoch = 4;
    }
    if version >= 12 {
        partition.last_fetched_epoch = 3;
    }
    if version >= 17 {
        partition.replica_directory_id = Uuid::from_u128(8);
    }
    if version >= 18 {
        partition.high_watermark = 60;
    }
    let mut wanted = FetchTopic::default().with_partitions(vec![partition.clone(), partition]);
    let mut forgotten = ForgottenTopic::default();
    if version >= 7 {
        forgotten.partitions = vec![1, 2, 3];
        it.session_id = 5;
        it.session_epoch = 6;
    }
    if version >= 13 {
        wanted.topic_id = Uuid::from_u128(7);
        forgotten.topic_id = Uuid::from_u128(9);
    } else {
        wanted.topic = topic("topic");
        if version >= 7 {
            forgotten.topic = topic("forgotten");
        }
    }
    if version >= 7 {
        it.forgotten_topics_data = vec![forgotten.clone(), forgotten];
    }
    if version >= 11 {
        it.rack_id = text("rack");
    }
    if version >= 12 {
        it.cluster_id = Some(text("cluster"));
    }
    if version >= 15 {
        it.replica_state = ReplicaState::default().with_replica_id(2.into()).with_replica_epoch(11);
    } else {
        it.replica_id = 2.into();
    }
    it.max_wait_ms = 500;
    it.isolation_level = 1;
    it.topics = vec![wanted.clone(), wanted];
});

sample!(list_offsets, ListOffsetsRequest, |it, version| {
    use m::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let mut partition = ListOffsetsPartition::default().with_partition_index(1).with_timestamp(-2);
    if version >= 2 {
        it.isolation_level = 1;
    }
    if version >= 4 {
        partition.current_leader_epoch = 9;
    }
    if version >= 10 {
        it.timeout_ms = 100;
    }
    let one =
        ListOffsetsTopic::default().with_name(topic("topic")).with_partitions(vec![partition]);
    it.topics = vec![one.clone(), one];
});

sample!(metadata, MetadataRequest, |it, version| {
    use m::metadata_request::MetadataRequestTopic;
    let mut topics = vec![MetadataRequestTopic::default().with_name(Some(topic("topic")))];
    if version >= 10 {
        let by_id = MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(7));
        topics.push(by_id.with_name(None));
    }
    if version >= 4 {
        it.allow_auto_topic_creation = false;
    }
    if (8..=10).contains(&version) {
        it.include_cluster_authorized_operations = true;
    }
    if version >= 8 {
        it.include_topic_authorized_operations = true;
    }
    it.topics = Some(topics);
});

sample!(find_coordinator, FindCoordinatorRequest, |it, version| {
    if version >= 4 {
        it.coordinator_keys = vec![text("group"), text("")];
    } else {
        it.key = text("group");
    }
    if version >= 1 {
        it.key_type = 1;
    }
});

sample!(api_versions, ApiVersionsRequest, |it, version| {
    if version >= 3 {
        it.client_software_name = text("client");
        it.client_software_version = text("1.0");
    }
});

sample!(create_topics, CreateTopicsRequest, |it, _version| {
    use m::create_topics_request::{
        CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
    };
    let assignment = CreatableReplicaAssignment::default()
        .with_partition_index(5)
        .with_broker_ids(vec![101.into(), 102.into(), 103.into()]);
    let config = |value: Option<&str>| {
        CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(value.map(text))
    };
    let one = CreatableTopic::default()
        .with_name(topic("topic"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment.clone(), assignment])
        .with_configs(vec![config(Some("1")), config(None)]);
    it.topics = vec![one.clone(), one];
    it.timeout_ms = 1_000;
    it.validate_only = true;
});

sample!(delete_topics, DeleteTopicsRequest, |it, version| {
    use m::delete_topics_request::DeleteTopicState;
    if version >= 6 {
        let by_name = DeleteTopicState::default().with_name(Some(topic("topic")));
        let by_id = DeleteTopicState::default().with_topic_id(Uuid::from_u128(7)).with_name(None);
        it.topics = vec![by_name, by_id];
    } else {
        it.topic_names = vec![topic("a"), topic("b")];
    }
    it.timeout_ms = 1_000;
});

sample!(delete_records, DeleteRecordsRequest, |it, _version| {
    use m::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let partition = DeleteRecordsPartition::default().with_partition_index(1).with_offset(-1);
    let one = DeleteRecordsTopic::default()
        .with_name(topic("topic"))
        .with_partitions(vec![partition.clone(), partition]);
    it.topics = vec![one.clone(), one];
    it.timeout_ms = 1_000;
});

sample!(init_producer_id, InitProducerIdRequest, |it, version| {
    it.transactional_id = Some(text("transaction").into());
    it.transaction_timeout_ms = 60_000;
    if version >= 3 {
        it.producer_id = 4_000.into();
        it.producer_epoch = 2;
    }
});

sample!(offset_for_leader_epoch, OffsetForLeaderEpochRequest, |it, version| {
    use m::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let partition = OffsetForLeaderPartition::default()
        .with_partition(1)
        .with_current_leader_epoch(2)
        .with_leader_epoch(1);
    let one = OffsetForLeaderTopic::default()
        .with_topic(topic("topic"))
        .with_partitions(vec![partition.clone(), partition]);
    if version >= 3 {
        it.replica_id = (-1).into();
    }
    it.topics = vec![one.clone(), one];
});

sample!(describe_configs, DescribeConfigsRequest, |it, version| {
    use m::describe_configs_request::DescribeConfigsResource;
    let resource = |keys: Option<&[&str]>| {
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("topic"))
            .with_configuration_keys(keys.map(|keys| keys.iter().copied().map(text).collect()))
    };
    it.resources = vec![resource(Some(&["retention.ms", ""])), resource(None), resource(Some(&[]))];
    it.include_synonyms = true;
    if version >= 3 {
        it.include_documentation = true;
    }
});

sample!(alter_configs, AlterConfigsRequest, |it, _version| {
    use m::alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |value: Option<&str>| {
        AlterableConfig::default().with_name(text("retention.ms")).with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("topic"))
        .with_configs(vec![config(Some("1")), config(None)]);
    it.resources = vec![resource.clone(), resource];
    it.validate_only = true;
});

sample!(describe_log_dirs, DescribeLogDirsRequest, |it, _version| {
    use m::describe_log_dirs_request::DescribableLogDirTopic;
    let one =
        DescribableLogDirTopic::default().with_topic(topic("topic")).with_partitions(vec![0, 1, 2]);
    it.topics = Some(vec![one.clone(), one]);
});

sample!(create_partitions, CreatePartitionsRequest, |it, _version| {
    use m::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![
        101.into(),
        102.into(),
        103.into(),
    ]);
    let one = CreatePartitionsTopic::default().with_name(topic("topic")).with_count(3);
    let assigned = one.clone().with_assignments(Some(vec![assignment.clone(), assignment]));
    it.topics = vec![assigned, one.with_assignments(None)];
    it.timeout_ms = 1_000;
    it.validate_only = true;
});

sample!(incremental_alter_configs, IncrementalAlterConfigsRequest, |it, _version| {
    use m::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |value: Option<&str>| {
        AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_config_operation(1)
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("topic"))
        .with_configs(vec![config(Some("1")), config(None)]);
    it.resources = vec![resource.clone(), resource];
    it.validate_only = true;
});

sample!(describe_cluster, DescribeClusterRequest, |it, version| {
    it.include_cluster_authorized_operations = true;
    if version >= 1 {
        it.endpoint_type = 2;
    }
    if version >= 2 {
        it.include_fenced_brokers = true;
    }
});

sample!(list_config_resources, ListConfigResourcesRequest, |it, version| {
    if version >= 1 {
        it.resource_types = vec![2, 4, 8];
    }
});

sample!(describe_topic_partitions, DescribeTopicPartitionsRequest, |it, _version| {
    use m::describe_topic_partitions_request::{Cursor, TopicRequest};
    let one = TopicRequest::default().with_name(topic("topic"));
    it.topics = vec![one.clone(), one];
    it.response_partition_limit = 2_000;
    let cursor = Cursor::default().with_topic_name(topic("topic")).with_partition_index(4);
    it.cursor = Some(cursor);
});
