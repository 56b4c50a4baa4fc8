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

use std::sync::Arc;

use bytes::{Buf, Bytes};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::Decodable;

use crate::api::{self, API_VERSIONS, ApiSpec};
use crate::guard;

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
    pub client_id: Option<Arc<str>>,
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
        return Err(RequestError::UnsupportedVersion { api_key, version: api_version });
    }
    let malformed =
        |reason: String| RequestError::Malformed { api_key, version: api_version, reason };
    let header_tags_bytes =
        guard::check(spec, api_version, &rest).map_err(|error| malformed(error.to_string()))?;
    rest.advance(header_tags_bytes);
    let request = decode_body(spec, api_version, &mut rest).map_err(malformed)?;
    if rest.has_remaining() {
        return Err(malformed(format!("{} bytes after the last field", rest.remaining())));
    }
    Ok(Decoded::Request(header, request))
}

/// Reads the part of the header that all versions share and leaves `frame` behind it.
fn decode_header(frame: &mut Bytes) -> Result<RequestHeader, RequestError> {
    let (mut api_key, mut api_version) = (-1, -1);
    let mut read = || {
        api_key = frame.try_get_i16()?;
        api_version = frame.try_get_i16()?;
        Ok((frame.try_get_i32()?, frame.try_get_i16()?))
    };
    let fields: Result<_, bytes::TryGetError> = read();
    let malformed = |reason: &str| RequestError::Malformed {
        api_key,
        version: api_version,
        reason: reason.into(),
    };
    let (correlation_id, client_id_bytes) =
        fields.map_err(|error| malformed(&error.to_string()))?;
    let client_id = match usize::try_from(client_id_bytes) {
        Err(_negative) if client_id_bytes == -1 => None,
        Ok(bytes) if bytes <= frame.len() => {
            let text = frame.split_to(bytes);
            let text = std::str::from_utf8(&text).map_err(|error| malformed(&error.to_string()))?;
            Some(Arc::from(text))
        }
        _ => return Err(malformed("the client id's length is negative or beyond the frame")),
    };
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

fn decode_body(spec: &ApiSpec, version: i16, body: &mut Bytes) -> Result<Request, String> {
    fn read<M: Decodable>(
        wrap: fn(M) -> Request,
        body: &mut Bytes,
        version: i16,
    ) -> Result<Request, String> {
        M::decode(body, version).map(wrap).map_err(|error| error.to_string())
    }
    match spec.key {
        0 => read(Request::Produce, body, version),
        1 => read(Request::Fetch, body, version),
        2 => read(Request::ListOffsets, body, version),
        3 => read(Request::Metadata, body, version),
        10 => read(Request::FindCoordinator, body, version),
        API_VERSIONS => read(Request::ApiVersions, body, version),
        19 => read(Request::CreateTopics, body, version),
        20 => read(Request::DeleteTopics, body, version),
        21 => read(Request::DeleteRecords, body, version),
        22 => read(Request::InitProducerId, body, version),
        23 => read(Request::OffsetForLeaderEpoch, body, version),
        32 => read(Request::DescribeConfigs, body, version),
        33 => read(Request::AlterConfigs, body, version),
        35 => read(Request::DescribeLogDirs, body, version),
        37 => read(Request::CreatePartitions, body, version),
        44 => read(Request::IncrementalAlterConfigs, body, version),
        60 => read(Request::DescribeCluster, body, version),
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
    fn trailing_bytes_and_broken_client_ids_are_refused() {
        let malformed = |frame| matches!(decode(frame), Err(RequestError::Malformed { .. }));
        assert!(malformed(frame(3, 1, b"me", &[0, 0, 0, 0, 9])));
        assert!(malformed(frame(3, 1, b"\xff\xfe", &[0, 0, 0, 0])));
        assert!(malformed(Bytes::from_static(&[0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0, 0])));
    }

    #[test]
    fn a_frame_above_its_apis_limit_is_refused() {
        let body = vec![0; 1 << 20];
        let error = decode(frame(60, 0, b"", &body)).unwrap_err();
        assert!(matches!(error, RequestError::TooLarge { api_key: 60, .. }), "{error}");
    }
}
