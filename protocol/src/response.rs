//! Responses: from a message to a frame.

use bytes::Bytes;
use kafka_protocol::messages as m;

/// A response of an API that this broker serves. Fetch with records goes through
/// [`crate::fetch_response`] instead.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the Kafka API of its name")]
pub enum Response {
    Produce(m::ProduceResponse),
    ListOffsets(m::ListOffsetsResponse),
    Metadata(m::MetadataResponse),
    ApiVersions(m::ApiVersionsResponse),
    CreateTopics(m::CreateTopicsResponse),
    DeleteTopics(m::DeleteTopicsResponse),
    CreatePartitions(m::CreatePartitionsResponse),
    DeleteRecords(m::DeleteRecordsResponse),
    InitProducerId(m::InitProducerIdResponse),
    OffsetForLeaderEpoch(m::OffsetForLeaderEpochResponse),
    DescribeConfigs(m::DescribeConfigsResponse),
    AlterConfigs(m::AlterConfigsResponse),
    IncrementalAlterConfigs(m::IncrementalAlterConfigsResponse),
    DescribeCluster(m::DescribeClusterResponse),
    DescribeTopicPartitions(m::DescribeTopicPartitionsResponse),
    DescribeLogDirs(m::DescribeLogDirsResponse),
    ListConfigResources(m::ListConfigResourcesResponse),
    FindCoordinator(m::FindCoordinatorResponse),
}

/// A field is set that the version cannot carry: a bug of the handler.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot encode the response: {0}")]
pub struct EncodeError(pub String);

impl Response {
    /// Encodes the whole frame: length, header of the right version, body.
    ///
    /// # Errors
    /// [`EncodeError`] if a field does not exist in `api_version`.
    pub fn encode(&self, _correlation_id: i32, _api_version: i16) -> Result<Bytes, EncodeError> {
        todo!()
    }
}
