//! ApiVersions (API key 18): what this broker serves (behaviours 1 to 5).
//!
//! No feature is announced: a finalised `transaction.version` would make clients use transactions of
//! version 2, and the level of our own metadata is nobody else's business.

use std::sync::Arc;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::api::{self, ApiSpec, SERVED};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::telemetry::Software;

/// From here on the client says what software it is.
const SOFTWARE_SINCE: i16 = 3;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> Work {
    note_software(context, &request);
    Work::message(Response::ApiVersions(answer(context.api_version, &request)))
}

/// The first word of a connection about its software counts.
fn note_software(context: &RequestContext, request: &ApiVersionsRequest) {
    let (name, version) = (&request.client_software_name, &request.client_software_version);
    if context.api_version >= SOFTWARE_SINCE
        && is_software_text(name)
        && is_software_text(version)
        && let Some(software) = Software::new(name, version)
    {
        context.software.get_or_init(|| software);
    }
}

/// The answer to a version above ours, to be encoded in version 0.
pub(crate) fn too_new() -> Response {
    let own = api::spec(api::API_VERSIONS).expect("the table of served APIs holds ApiVersions");
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(vec![range(own)]);
    Response::ApiVersions(response)
}

fn answer(api_version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = is_software_text(&request.client_software_name)
        && is_software_text(&request.client_software_version);
    if api_version >= SOFTWARE_SINCE && !named {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    ApiVersionsResponse::default().with_api_keys(SERVED.iter().map(range).collect())
}

fn range(spec: &ApiSpec) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(spec.key)
        .with_min_version(spec.version_min)
        .with_max_version(spec.version_max)
}

/// KIP-511: letters, digits, and inside also '-' and '.'.
fn is_software_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut chars = text.chars();
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn request(name: &str, version: &str) -> ApiVersionsRequest {
        ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_string(name.to_owned()))
            .with_client_software_version(StrBytes::from_string(version.to_owned()))
    }

    #[test]
    fn software_must_have_a_name_from_version_3_on() {
        for (name, version, code) in [
            ("apache-kafka-java", "4.3.1", 0),
            ("x", "1", 0),
            ("", "1", 42),
            ("x", "", 42),
            ("-x", "1", 42),
            ("x y", "1", 42),
            ("x", "1.", 42),
        ] {
            assert_eq!(answer(3, &request(name, version)).error_code, code, "{name:?} {version:?}");
            assert_eq!(answer(2, &request(name, version)).error_code, 0);
        }
    }

    #[test]
    fn every_served_api_is_announced_and_produce_from_version_0() {
        let answer = answer(4, &request("x", "1"));
        assert_eq!(answer.api_keys.len(), SERVED.len());
        let produce = answer.api_keys.iter().find(|api| api.api_key == 0).unwrap();
        assert_eq!(produce.min_version, 0);
        assert!(answer.finalized_features.is_empty());
    }

    #[test]
    fn a_client_that_is_too_new_learns_our_range() {
        let Response::ApiVersions(answer) = too_new() else { panic!("not ApiVersions") };
        assert_eq!(answer.error_code, 35);
        assert_eq!(answer.api_keys.len(), 1);
        assert_eq!(answer.api_keys[0].api_key, 18);
    }
}
