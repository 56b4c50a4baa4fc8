//! Everyday requests, each as one call on a connection. Tests that are about a request build it
//! themselves; these are for getting there.

use crate::codes;
use crate::deadline::eventually;
use crate::wire::{Connection, text};
use bytes::BytesMut;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest,
    TopicName,
};
use std::io;
use uuid::Uuid;

/// Produce version of the calls here: the last one that names topics instead of their ids.
pub const PRODUCE: i16 = 11;

/// Fetch version of the calls here: the last one that names topics instead of their ids.
pub const FETCH: i16 = 12;

/// How long the broker may take for a request that waits for something.
const TIMEOUT_MS: i32 = 30_000;

/// A topic's name for the crate's messages.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A produce request for one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, batch: BytesMut) -> ProduceRequest {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch.freeze()));
    let topic =
        TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![topic])
}

/// A fetch request for one partition, without a session, that waits for nothing.
pub fn fetch_request(topic: &str, partition: i32, fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(fetch_offset)
        .with_partition_max_bytes(1 << 20);
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic])
}

impl Connection {
    /// Creates a topic with these settings, and fails the test when that fails; its id.
    pub fn create_topic(&mut self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Uuid {
        let topic_id = self.create_topic_with((name, partitions, 1), settings);
        for partition in 0..partitions {
            // Apache Kafka answers before its partitions are open.
            eventually("a created partition answers", || {
                (self.list_offset(6, name, partition, -1).error_code == codes::NONE).then_some(())
            });
        }
        topic_id
    }

    /// Creates a topic of this name with so many partitions of so many replicas, whose leaders may be
    /// other brokers, and fails the test when that fails; its id.
    pub fn create_topic_with(
        &mut self,
        (name, partitions, replication_factor): (&str, i32, i16),
        settings: &[(&str, &str)],
    ) -> Uuid {
        let configs = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(vec![topic]);
        let result = self.call(7, &request).topics.remove(0);
        assert_eq!(result.error_code, codes::NONE, "create {name}: {:?}", result.error_message);
        result.topic_id
    }

    /// Deletes a topic, if it exists; the code.
    pub fn delete_topic(&mut self, name: &str) -> i16 {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name(name)])
            .with_timeout_ms(TIMEOUT_MS);
        self.call(5, &request).responses.remove(0).error_code
    }

    /// Deletes the records of a partition below an offset; its new low watermark.
    pub fn delete_records(&mut self, topic: &str, partition: i32, before_offset: i64) -> i64 {
        let partition = DeleteRecordsPartition::default()
            .with_partition_index(partition)
            .with_offset(before_offset);
        let topic = DeleteRecordsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(vec![topic]);
        let result = self.call(2, &request).topics.remove(0).partitions.remove(0);
        assert_eq!(result.error_code, codes::NONE, "delete records before {before_offset}");
        result.low_watermark
    }

    /// Metadata of one topic, which is not created by asking.
    pub fn describe_topic(&mut self, name: &str) -> MetadataResponseTopic {
        self.try_describe_topic(name).expect("an answer").topics.remove(0)
    }

    /// The same with the brokers that it stands on, where the broker may go away.
    ///
    /// # Errors
    /// The connection has ended, or nothing came in time.
    pub fn try_describe_topic(&mut self, name: &str) -> io::Result<MetadataResponse> {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        self.try_call(12, &request)
    }

    /// Produces one batch with acks=all; what became of it.
    pub fn produce_any(
        &mut self,
        topic: &str,
        partition: i32,
        batch: BytesMut,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, -1, batch);
        self.call(PRODUCE, &request).responses.remove(0).partition_responses.remove(0)
    }

    /// Produces one batch that must be taken; its base offset.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: BytesMut) -> i64 {
        let answer = self.produce_any(topic, partition, batch);
        assert_eq!(answer.error_code, codes::NONE, "produce: {:?}", answer.error_message);
        answer.base_offset
    }

    /// Fetches from one partition without waiting.
    pub fn fetch(&mut self, topic: &str, partition: i32, fetch_offset: i64) -> PartitionData {
        let request = fetch_request(topic, partition, fetch_offset);
        self.call(FETCH, &request).responses.remove(0).partitions.remove(0)
    }

    /// Looks one offset up, by a time or by one of the negative names of offsets.
    pub fn list_offset(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![asked]);
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        self.call(version, &request).topics.remove(0).partitions.remove(0)
    }

    /// A new producer id, with its epoch.
    pub fn init_producer_id(&mut self) -> (i64, i16) {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        let answer = self.call(4, &request);
        assert_eq!(answer.error_code, codes::NONE);
        (answer.producer_id.0, answer.producer_epoch)
    }
}
