//! Requests: from a frame to a decoded message.
//!
//! ```text
//! ├ i16 ────┼ i16 ────────┼ i32 ───────────┼ i16 ─────┼ bytes ───┼ tagged fields ────────┼ body …
//! │ api key │ api version │ correlation id │ length,  │ client   │ flexible versions     │
//! │         │             │                │ -1 null  │ id       │ only, always skipped  │
//! ```
//! The header is read here and not by the codec, which panics on short frames. The body reaches the
//! codec only after [`crate::guard`] has checked every length in it. Nothing but record bytes may
//! be kept beyond the request: names and ids in a decoded message pin the whole frame.

use bytes::{Buf, Bytes};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, StrBytes};

use crate::api::{self, API_VERSIONS, ApiSpec};
use crate::guard::{self, GuardError};
use crate::{newer, older};

/// Bytes of the header up to and including the length of the client id.
const HEADER_FIXED_BYTES: usize = 10;

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
    OffsetCommit(m::OffsetCommitRequest),
    OffsetFetch(m::OffsetFetchRequest),
    JoinGroup(m::JoinGroupRequest),
    Heartbeat(m::HeartbeatRequest),
    LeaveGroup(m::LeaveGroupRequest),
    SyncGroup(m::SyncGroupRequest),
    DescribeGroups(m::DescribeGroupsRequest),
    ListGroups(m::ListGroupsRequest),
    DeleteGroups(m::DeleteGroupsRequest),
    OffsetDelete(m::OffsetDeleteRequest),
    ConsumerGroupHeartbeat(m::ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(m::ConsumerGroupDescribeRequest),
    ElectLeaders(m::ElectLeadersRequest),
    DescribeQuorum(m::DescribeQuorumRequest),
    UpdateFeatures(m::UpdateFeaturesRequest),
    DescribeProducers(m::DescribeProducersRequest),
    UnregisterBroker(m::UnregisterBrokerRequest),
    AlterReplicaLogDirs(m::AlterReplicaLogDirsRequest),
    AlterPartitionReassignments(m::AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(m::ListPartitionReassignmentsRequest),
    DescribeTransactions(m::DescribeTransactionsRequest),
    ListTransactions(m::ListTransactionsRequest),
    GetTelemetrySubscriptions(m::GetTelemetrySubscriptionsRequest),
    PushTelemetry(m::PushTelemetryRequest),
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
    /// What the client calls itself: a slice of the frame.
    pub client_id: Option<StrBytes>,
}

/// What a frame turned out to be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once; a box would cost each request one more")]
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
    /// Longer than a request of this API can sensibly be.
    #[error(
        "a request of API key {api_key} has {frame_bytes} bytes, the limit is {frame_bytes_max}"
    )]
    TooLarge {
        /// Which API.
        api_key: i16,
        /// Bytes of the frame.
        frame_bytes: usize,
        /// Bytes allowed.
        frame_bytes_max: usize,
    },
    /// The frame contradicts itself.
    #[error("malformed request (API key {api_key}, version {version}): {flaw}")]
    Malformed {
        /// Which API, -1 if not even that could be read.
        api_key: i16,
        /// Which version, -1 likewise.
        version: i16,
        /// What is wrong.
        flaw: RequestFlaw,
    },
}

/// How a frame contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestFlaw {
    /// Fewer bytes than every header has.
    #[error("{have} bytes are too few for a header")]
    ShortHeader {
        /// How many there were.
        have: usize,
    },
    /// The client id goes beyond the frame, or its length is negative without being null.
    #[error("the client id's length is {0}")]
    ClientIdLength(i16),
    /// The client id is not text.
    #[error("the client id is not text: {0}")]
    ClientIdText(std::str::Utf8Error),
    /// A length or what it leads to.
    #[error(transparent)]
    Shape(#[from] GuardError),
    /// What the codec finds wrong with a frame of the right shape: text that is not UTF-8.
    #[error("{0}")]
    Content(String),
    /// The codec left bytes over, so that it and the guard disagree on the shape.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
}

/// Decodes one frame (without its length prefix). Allocates at most a small multiple of the frame,
/// whatever it holds. Record bytes of Produce are slices of `frame`.
///
/// # Errors
/// [`RequestError`]; none of them can be answered, the connection is closed.
pub fn decode(frame: Bytes) -> Result<Decoded, RequestError> {
    let frame_bytes = frame.len();
    let mut rest = frame;
    let header = decode_header(&mut rest)?;
    let RequestHeader { api_key, api_version, .. } = header;
    let spec = api::spec(api_key).ok_or(RequestError::UnknownApi(api_key))?;
    if let Some(frame_bytes_max) = spec.frame_bytes_max.filter(|max| frame_bytes > *max) {
        return Err(RequestError::TooLarge { api_key, frame_bytes, frame_bytes_max });
    }
    if api_key == API_VERSIONS && api_version > spec.version_max {
        return Ok(Decoded::ApiVersionsTooNew(header));
    }
    if !spec.decodes(api_version) {
        let unsupported = RequestError::UnsupportedVersion { api_key, version: api_version };
        let request = older::decode(api_key, api_version, &rest).ok_or(unsupported)?;
        return request.map(|request| Decoded::Request(header, request)).map_err(|error| {
            let flaw = RequestFlaw::Content(error.to_string());
            RequestError::Malformed { api_key, version: api_version, flaw }
        });
    }
    match decode_rest(spec, api_version, rest) {
        Ok(request) => Ok(Decoded::Request(header, request)),
        Err(flaw) => Err(RequestError::Malformed { api_key, version: api_version, flaw }),
    }
}

/// Reads the part of the header that all versions share and leaves `frame` behind it.
fn decode_header(frame: &mut Bytes) -> Result<RequestHeader, RequestError> {
    let Some(&[k0, k1, v0, v1, c0, c1, c2, c3, l0, l1]) = frame.first_chunk() else {
        let flaw = RequestFlaw::ShortHeader { have: frame.len() };
        return Err(RequestError::Malformed { api_key: -1, version: -1, flaw });
    };
    frame.advance(HEADER_FIXED_BYTES);
    let api_key = i16::from_be_bytes([k0, k1]);
    let api_version = i16::from_be_bytes([v0, v1]);
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    match decode_client_id(i16::from_be_bytes([l0, l1]), frame) {
        Ok(client_id) => Ok(RequestHeader { api_key, api_version, correlation_id, client_id }),
        Err(flaw) => Err(RequestError::Malformed { api_key, version: api_version, flaw }),
    }
}

fn decode_client_id(length: i16, frame: &mut Bytes) -> Result<Option<StrBytes>, RequestFlaw> {
    if length == -1 {
        return Ok(None);
    }
    let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= frame.len());
    let text = frame.split_to(bytes.ok_or(RequestFlaw::ClientIdLength(length))?);
    StrBytes::from_utf8(text).map(Some).map_err(RequestFlaw::ClientIdText)
}

/// Decodes what follows the client id, once the guard has passed it.
fn decode_rest(spec: &ApiSpec, version: i16, mut rest: Bytes) -> Result<Request, RequestFlaw> {
    let passed = guard::check(spec, version, &rest)?;
    rest.truncate(passed.body_end);
    rest.advance(passed.header_end);
    let request = decode_body(spec, version, &mut rest).map_err(RequestFlaw::Content)?;
    match rest.len() {
        0 => Ok(request),
        bytes => Err(RequestFlaw::Trailing(bytes)),
    }
}

fn decode_body(spec: &ApiSpec, version: i16, body: &mut Bytes) -> Result<Request, String> {
    fn read<M: Decodable>(
        wrap: fn(M) -> Request,
        body: &mut Bytes,
        version: i16,
    ) -> Result<Request, String> {
        M::decode(body, version).map(wrap).map_err(|error| error.to_string())
    }
    if newer::is_unknown_to_codec(spec.key, version) {
        let whole = body.split_off(0);
        return newer::decode(spec.key, &whole).map_err(|error| error.to_string());
    }
    let version = newer::codec_version(spec.key, version);
    match spec.key {
        0 => read(Request::Produce, body, version),
        1 => read(Request::Fetch, body, version),
        2 => read(Request::ListOffsets, body, version),
        3 => read(Request::Metadata, body, version),
        8 => read(Request::OffsetCommit, body, version),
        9 => read(Request::OffsetFetch, body, version),
        10 => read(Request::FindCoordinator, body, version),
        11 => read(Request::JoinGroup, body, version),
        12 => read(Request::Heartbeat, body, version),
        13 => read(Request::LeaveGroup, body, version),
        14 => read(Request::SyncGroup, body, version),
        15 => read(Request::DescribeGroups, body, version),
        16 => read(Request::ListGroups, body, version),
        API_VERSIONS => read(Request::ApiVersions, body, version),
        19 => read(Request::CreateTopics, body, version),
        20 => read(Request::DeleteTopics, body, version),
        21 => read(Request::DeleteRecords, body, version),
        22 => read(Request::InitProducerId, body, version),
        23 => read(Request::OffsetForLeaderEpoch, body, version),
        32 => read(Request::DescribeConfigs, body, version),
        33 => read(Request::AlterConfigs, body, version),
        34 => read(Request::AlterReplicaLogDirs, body, version),
        35 => read(Request::DescribeLogDirs, body, version),
        37 => read(Request::CreatePartitions, body, version),
        42 => read(Request::DeleteGroups, body, version),
        43 => read(Request::ElectLeaders, body, version),
        44 => read(Request::IncrementalAlterConfigs, body, version),
        45 => read(Request::AlterPartitionReassignments, body, version),
        46 => read(Request::ListPartitionReassignments, body, version),
        47 => read(Request::OffsetDelete, body, version),
        55 => read(Request::DescribeQuorum, body, version),
        57 => read(Request::UpdateFeatures, body, version),
        60 => read(Request::DescribeCluster, body, version),
        61 => read(Request::DescribeProducers, body, version),
        64 => read(Request::UnregisterBroker, body, version),
        65 => read(Request::DescribeTransactions, body, version),
        66 => read(Request::ListTransactions, body, version),
        68 => read(Request::ConsumerGroupHeartbeat, body, version),
        69 => read(Request::ConsumerGroupDescribe, body, version),
        71 => read(Request::GetTelemetrySubscriptions, body, version),
        72 => read(Request::PushTelemetry, body, version),
        74 => read(Request::ListConfigResources, body, version),
        75 => read(Request::DescribeTopicPartitions, body, version),
        _ => Err(format!("{} is in the table but has no decoder", spec.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    fn frame(api_key: i16, api_version: i16, client_id: &[u8], body: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_i16(api_key);
        frame.put_i16(api_version);
        frame.put_i32(77);
        frame.put_i16(i16::try_from(client_id.len()).unwrap());
        frame.put_slice(client_id);
        frame.put_slice(body);
        frame.freeze()
    }

    #[test]
    fn header_and_body_are_read() {
        let mut body = BytesMut::new();
        body.put_u8(0);
        let message = m::ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("librdkafka"));
        message.encode(&mut body, 3).unwrap();
        let decoded = decode(frame(18, 3, b"me", &body)).unwrap();
        let Decoded::Request(header, Request::ApiVersions(read)) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(read, message);
        assert_eq!((header.correlation_id, header.client_id.as_deref()), (77, Some("me")));
    }

    #[test]
    fn newer_api_versions_is_told_apart_whatever_its_body() {
        let decoded = decode(frame(18, 5, b"me", b"\xff\xff\xff")).unwrap();
        assert!(matches!(decoded, Decoded::ApiVersionsTooNew(header) if header.api_version == 5));
    }

    #[test]
    fn unserved_apis_and_versions_are_refused() {
        let refused = |key, version| decode(frame(key, version, b"", b"")).unwrap_err();
        assert_eq!(refused(4, 0), RequestError::UnknownApi(4));
        for (api_key, version) in [(0, 2), (0, 14), (1, 3), (3, -1), (18, -1), (75, 1)] {
            let expected = RequestError::UnsupportedVersion { api_key, version };
            assert_eq!(refused(api_key, version), expected);
        }
    }

    #[test]
    fn every_prefix_of_a_frame_is_refused() {
        let whole = frame(3, 1, b"me", &[0, 0, 0, 1, 0, 1, b't']);
        assert!(decode(whole.clone()).is_ok());
        for bytes in 0..whole.len() {
            let error = decode(whole.slice(..bytes)).unwrap_err();
            assert!(matches!(error, RequestError::Malformed { .. }), "{bytes}: {error}");
        }
    }

    #[test]
    fn flaws_are_told_apart() {
        let flaw = |frame| match decode(frame) {
            Err(RequestError::Malformed { flaw, .. }) => flaw,
            other => panic!("{other:?}"),
        };
        let client_id = flaw(frame(3, 1, b"\xff\xfe", &[0, 0, 0, 0]));
        assert!(matches!(client_id, RequestFlaw::ClientIdText(_)));
        let topic = flaw(frame(3, 1, b"me", &[0, 0, 0, 1, 0, 1, 0xff]));
        assert!(matches!(topic, RequestFlaw::Content(_)));
        let negative = [0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0, 0];
        assert_eq!(flaw(Bytes::copy_from_slice(&negative)), RequestFlaw::ClientIdLength(-2));
    }

    #[test]
    fn a_frame_above_its_apis_limit_is_refused() {
        let body = vec![0; 1 << 20];
        let error = decode(frame(60, 0, b"", &body)).unwrap_err();
        assert!(matches!(error, RequestError::TooLarge { api_key: 60, .. }), "{error}");
    }
}
