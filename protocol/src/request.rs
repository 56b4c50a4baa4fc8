//! Requests: from a guarded frame to a decoded message.

use bytes::Bytes;
use kafka_protocol::messages as m;

/// A decoded request of an API that this broker serves. Versions are checked before decoding.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the Kafka API of its name")]
pub enum Request {
    Produce(m::ProduceRequest),
    Fetch(m::FetchRequest),
    ListOffsets(m::ListOffsetsRequest),
    Metadata(m::MetadataRequest),
    ApiVersions(m::ApiVersionsRequest),
    CreateTopics(m::CreateTopicsRequest),
    DeleteTopics(m::DeleteTopicsRequest),
    CreatePartitions(m::CreatePartitionsRequest),
    DeleteRecords(m::DeleteRecordsRequest),
    InitProducerId(m::InitProducerIdRequest),
    OffsetForLeaderEpoch(m::OffsetForLeaderEpochRequest),
    DescribeConfigs(m::DescribeConfigsRequest),
    AlterConfigs(m::AlterConfigsRequest),
    IncrementalAlterConfigs(m::IncrementalAlterConfigsRequest),
    DescribeCluster(m::DescribeClusterRequest),
    DescribeTopicPartitions(m::DescribeTopicPartitionsRequest),
    DescribeLogDirs(m::DescribeLogDirsRequest),
    ListConfigResources(m::ListConfigResourcesRequest),
    FindCoordinator(m::FindCoordinatorRequest),
}

/// The fixed part of every request.
#[derive(Debug, Clone)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// Which version of it.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// What the client calls itself; copied, so that it does not pin the frame.
    pub client_id: Option<std::sync::Arc<str>>,
}

/// What a frame turned out to be.
#[derive(Debug)]
pub enum Decoded {
    /// A request to serve.
    Request(RequestHeader, Request),
    /// ApiVersions in a version above ours: answered in version 0 with error 35 (behaviour 1).
    ApiVersionsTooNew(RequestHeader),
}

/// Why a frame is refused; the connection is closed (behaviour 6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An API that is not served.
    #[error("API key {0} is not served")]
    UnknownApi(i16),
    /// A version outside the served range.
    #[error("version {version} of API key {api_key} is not served")]
    UnsupportedVersion {
        /// Which API.
        api_key: i16,
        /// Which version.
        version: i16,
    },
    /// The frame contradicts itself: a length beyond its end, bytes left over, text that is not UTF-8.
    #[error("malformed request (API key {api_key}, version {version}): {reason}")]
    Malformed {
        /// Which API, -1 if not even that could be read.
        api_key: i16,
        /// Which version.
        version: i16,
        /// What is wrong, for the log.
        reason: String,
    },
}

/// Decodes one frame (without its length prefix). Allocates at most a small multiple of the frame,
/// whatever it holds. Record bytes of Produce are slices of `frame`.
///
/// # Errors
/// [`RequestError`]; none of them can be answered, the connection is closed.
pub fn decode(_frame: Bytes) -> Result<Decoded, RequestError> {
    todo!()
}
