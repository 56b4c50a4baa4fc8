//! Responses: from a message to a frame.
//!
//! ```text
//! ├ i32 ───────────────────┼ i32 ───────────┼ u8 ─────────────────────────┼ body …
//! │ bytes after this field │ correlation id │ 0 tagged fields, where the  │
//! │                        │                │ header is flexible          │
//! ```
//! The codec writes a tagged field only if it does not hold its default. That must stay so:
//! librdkafka before 2.2 cannot read past tagged fields it knows.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::Encodable;

use crate::{api, newer, older};

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
    OffsetCommit(m::OffsetCommitResponse),
    OffsetFetch(m::OffsetFetchResponse),
    JoinGroup(m::JoinGroupResponse),
    Heartbeat(m::HeartbeatResponse),
    LeaveGroup(m::LeaveGroupResponse),
    SyncGroup(m::SyncGroupResponse),
    DescribeGroups(m::DescribeGroupsResponse),
    ListGroups(m::ListGroupsResponse),
    DeleteGroups(m::DeleteGroupsResponse),
    OffsetDelete(m::OffsetDeleteResponse),
    ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(m::ConsumerGroupDescribeResponse),
    ElectLeaders(m::ElectLeadersResponse),
    DescribeQuorum(m::DescribeQuorumResponse),
    UpdateFeatures(m::UpdateFeaturesResponse),
    DescribeProducers(m::DescribeProducersResponse),
    UnregisterBroker(m::UnregisterBrokerResponse),
    AlterReplicaLogDirs(m::AlterReplicaLogDirsResponse),
    AlterPartitionReassignments(m::AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(m::ListPartitionReassignmentsResponse),
    DescribeTransactions(m::DescribeTransactionsResponse),
    ListTransactions(m::ListTransactionsResponse),
    GetTelemetrySubscriptions(m::GetTelemetrySubscriptionsResponse),
    PushTelemetry(m::PushTelemetryResponse),
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
    pub fn encode(&self, correlation_id: i32, api_version: i16) -> Result<Bytes, EncodeError> {
        let head = Head { correlation_id, api_version };
        let by_hand = newer::encode(self, api_version).or_else(|| older::encode(self, api_version));
        if let Some((api_key, body)) = by_hand {
            return head.frame_body(api_key, &body);
        }
        match self {
            Self::Produce(message) => head.frame(0, message),
            Self::ListOffsets(message) => head.frame(2, message),
            Self::Metadata(message) => head.frame(3, message),
            Self::OffsetCommit(message) => head.frame(8, message),
            Self::OffsetFetch(message) => head.frame(9, message),
            Self::FindCoordinator(message) => head.frame(10, message),
            Self::JoinGroup(message) => head.frame(11, message),
            Self::Heartbeat(message) => head.frame(12, message),
            Self::LeaveGroup(message) => head.frame(13, message),
            Self::SyncGroup(message) => head.frame(14, message),
            Self::DescribeGroups(message) => head.frame(15, message),
            Self::ListGroups(message) => head.frame(16, message),
            Self::ApiVersions(message) => head.frame(api::API_VERSIONS, message),
            Self::CreateTopics(message) => head.frame(19, message),
            Self::DeleteTopics(message) => head.frame(20, message),
            Self::DeleteRecords(message) => head.frame(21, message),
            Self::InitProducerId(message) => head.frame(22, message),
            Self::OffsetForLeaderEpoch(message) => head.frame(23, message),
            Self::DescribeConfigs(message) => head.frame(32, message),
            Self::AlterConfigs(message) => head.frame(33, message),
            Self::AlterReplicaLogDirs(message) => head.frame(34, message),
            Self::DescribeLogDirs(message) => head.frame(35, message),
            Self::CreatePartitions(message) => head.frame(37, message),
            Self::DeleteGroups(message) => head.frame(42, message),
            Self::ElectLeaders(message) => head.frame(43, message),
            Self::IncrementalAlterConfigs(message) => head.frame(44, message),
            Self::AlterPartitionReassignments(message) => head.frame(45, message),
            Self::ListPartitionReassignments(message) => head.frame(46, message),
            Self::OffsetDelete(message) => head.frame(47, message),
            Self::DescribeQuorum(message) => head.frame(55, message),
            Self::UpdateFeatures(message) => head.frame(57, message),
            Self::DescribeCluster(message) => head.frame(60, message),
            Self::DescribeProducers(message) => head.frame(61, message),
            Self::UnregisterBroker(message) => head.frame(64, message),
            Self::DescribeTransactions(message) => head.frame(65, message),
            Self::ListTransactions(message) => head.frame(66, message),
            Self::ConsumerGroupHeartbeat(message) => head.frame(68, message),
            Self::ConsumerGroupDescribe(message) => head.frame(69, message),
            Self::GetTelemetrySubscriptions(message) => head.frame(71, message),
            Self::PushTelemetry(message) => head.frame(72, message),
            Self::ListConfigResources(message) => head.frame(74, message),
            Self::DescribeTopicPartitions(message) => head.frame(75, message),
        }
    }
}

/// The frame's length field, which does not count itself.
const LENGTH_PREFIX_BYTES: usize = size_of::<i32>();

/// What a frame needs besides its message.
struct Head {
    correlation_id: i32,
    api_version: i16,
}

impl Head {
    fn frame<M: Encodable>(&self, api_key: i16, message: &M) -> Result<Bytes, EncodeError> {
        let mut out = self.begin(api_key);
        let version = newer::codec_version(api_key, self.api_version);
        message.encode(&mut out, version).map_err(|error| EncodeError(error.to_string()))?;
        Self::end(out)
    }

    fn frame_body(&self, api_key: i16, body: &[u8]) -> Result<Bytes, EncodeError> {
        let mut out = self.begin(api_key);
        out.extend_from_slice(body);
        Self::end(out)
    }

    fn begin(&self, api_key: i16) -> BytesMut {
        let flexible = api::spec(api_key)
            .is_some_and(|spec| spec.has_flexible_response_header(self.api_version));
        let mut out = BytesMut::new();
        out.put_bytes(0, LENGTH_PREFIX_BYTES);
        out.put_i32(self.correlation_id);
        if flexible {
            out.put_u8(0);
        }
        out
    }

    fn end(mut out: BytesMut) -> Result<Bytes, EncodeError> {
        let length = i32::try_from(out.len() - LENGTH_PREFIX_BYTES);
        let length = length.map_err(|error| EncodeError(error.to_string()))?;
        *out.first_chunk_mut().expect("the prefix was reserved") = length.to_be_bytes();
        Ok(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use kafka_protocol::protocol::{Decodable, Message};

    use super::*;

    #[test]
    fn header_is_flexible_except_for_api_versions() {
        let encode = |response: Response, version| response.encode(7, version).unwrap();
        let versions = m::ApiVersionsResponse::default().with_error_code(35);
        let bytes = encode(Response::ApiVersions(versions.clone()), 0);
        assert_eq!(bytes.as_ref(), [0, 0, 0, 10, 0, 0, 0, 7, 0, 35, 0, 0, 0, 0]);
        let bytes = encode(Response::ApiVersions(versions), 3);
        assert_eq!(bytes.as_ref(), [0, 0, 0, 12, 0, 0, 0, 7, 0, 35, 1, 0, 0, 0, 0, 0]);
        let records = m::DeleteRecordsResponse::default;
        let bytes = encode(Response::DeleteRecords(records()), 1);
        assert_eq!(bytes.as_ref(), [0, 0, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        let bytes = encode(Response::DeleteRecords(records()), 2);
        assert_eq!(bytes.as_ref(), [0, 0, 0, 11, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_field_that_the_version_lacks_is_an_error() {
        let response = m::FindCoordinatorResponse::default()
            .with_coordinators(vec![m::find_coordinator_response::Coordinator::default()]);
        assert!(Response::FindCoordinator(response.clone()).encode(1, 4).is_ok());
        assert!(Response::FindCoordinator(response).encode(1, 3).is_err());
    }

    /// The default of each response, by its key, with the codec's reader of the same key.
    #[test]
    fn the_codec_reads_every_response_in_every_version() {
        fn check<M: Decodable + Default + Message + Debug>(key: i16, wrap: fn(M) -> Response) {
            let spec = api::spec(key).unwrap();
            for version in spec.version_decoded_min..=spec.version_max {
                let frame = wrap(M::default()).encode(5, version).unwrap();
                let mut rest = frame.slice(4..);
                assert_eq!(i32::try_from(rest.len()).unwrap().to_be_bytes(), frame[..4]);
                let header_version =
                    m::ApiKey::try_from(key).unwrap().response_header_version(version);
                let header = m::ResponseHeader::decode(&mut rest, header_version).unwrap();
                assert_eq!(header.correlation_id, 5);
                // Where the codec ends, an empty message is as in the version before.
                let read = M::decode(&mut rest, version.min(M::VERSIONS.max));
                assert!(read.is_ok() && rest.is_empty(), "{} {version}: {read:?}", spec.name);
            }
        }
        check(0, Response::Produce);
        check(2, Response::ListOffsets);
        check(3, Response::Metadata);
        check(8, Response::OffsetCommit);
        check(9, Response::OffsetFetch);
        check(10, Response::FindCoordinator);
        check(11, Response::JoinGroup);
        check(12, Response::Heartbeat);
        check(13, Response::LeaveGroup);
        check(14, Response::SyncGroup);
        check(15, Response::DescribeGroups);
        check(16, Response::ListGroups);
        check(18, Response::ApiVersions);
        check(19, Response::CreateTopics);
        check(20, Response::DeleteTopics);
        check(21, Response::DeleteRecords);
        check(22, Response::InitProducerId);
        check(23, Response::OffsetForLeaderEpoch);
        check(32, Response::DescribeConfigs);
        check(33, Response::AlterConfigs);
        check(35, Response::DescribeLogDirs);
        check(37, Response::CreatePartitions);
        check(42, Response::DeleteGroups);
        check(44, Response::IncrementalAlterConfigs);
        check(47, Response::OffsetDelete);
        check(60, Response::DescribeCluster);
        check(68, Response::ConsumerGroupHeartbeat);
        check(69, Response::ConsumerGroupDescribe);
        check(74, Response::ListConfigResources);
        check(43, Response::ElectLeaders);
        check(55, Response::DescribeQuorum);
        check(57, Response::UpdateFeatures);
        check(61, Response::DescribeProducers);
        check(64, Response::UnregisterBroker);
        check(34, Response::AlterReplicaLogDirs);
        check(45, Response::AlterPartitionReassignments);
        check(46, Response::ListPartitionReassignments);
        check(65, Response::DescribeTransactions);
        check(66, Response::ListTransactions);
        check(71, Response::GetTelemetrySubscriptions);
        check(72, Response::PushTelemetry);
        check(75, Response::DescribeTopicPartitions);
    }
}
