//! UpdateFeatures (API key 57, KIP-584): raises or lowers the levels of features.
//!
//! Every feature has one level here, which comes with the program and cannot be switched off. So a
//! request either asks for what is, and succeeds, or for what this broker does not support.

use std::sync::Arc;

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::config_resource::Refused;
use crate::context::RequestContext;
use crate::features;
use crate::reply::Work;
use crate::wire_text::{message, text};

/// Up to here the response tells the outcome of each feature; from then on one for all (KIP-1022).
const RESULTS_UNTIL: i16 = 1;
/// From here on a request names the kind of the change (KIP-778).
const TYPES_SINCE: i16 = 1;
/// Upgrade, safe downgrade, unsafe downgrade.
const TYPES: std::ops::RangeInclusive<i8> = 1..=3;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Work {
    let version = context.api_version;
    let updated = if authorize(context, Operation::Alter, Resource::Cluster) {
        check(broker.broker_id, version, &request.feature_updates)
    } else {
        Err((ErrorCode::ClusterAuthorizationFailed, "Not authorized.".to_owned()))
    };
    let (error, why) = match updated {
        Ok(()) => (ErrorCode::None, None),
        Err((error, why)) => (error, message(&why)),
    };
    let mut response = UpdateFeaturesResponse::default()
        .with_error_code(error.code())
        .with_error_message(why.clone());
    if version <= RESULTS_UNTIL {
        let results = request.feature_updates.iter().map(|update| {
            UpdatableFeatureResult::default()
                .with_feature(text(&update.feature))
                .with_error_code(error.code())
                .with_error_message(why.clone())
        });
        response.results = results.collect();
    }
    Work::message(Response::UpdateFeatures(response))
}

/// All of them or none.
fn check(here: BrokerId, version: i16, updates: &[FeatureUpdateKey]) -> Result<(), Refused> {
    for update in updates {
        if let Some(reason) = refusal(here, version, update) {
            let (feature, level) = (&*update.feature, update.max_version_level);
            let why = format!(
                "The update failed for all features since the following feature had an error: \
                 Invalid update version {level} for feature {feature}. {reason}"
            );
            return Err((ErrorCode::InvalidUpdateVersion, why));
        }
    }
    Ok(())
}

fn refusal(here: BrokerId, version: i16, update: &FeatureUpdateKey) -> Option<String> {
    if version >= TYPES_SINCE && !TYPES.contains(&update.upgrade_type) {
        return Some("The controller does not support the given upgrade type.".to_owned());
    }
    if update.max_version_level < 0 {
        return Some("A feature version cannot be less than 0.".to_owned());
    }
    match features::level(&update.feature) {
        None => Some(format!("Local controller {here} does not support this feature.")),
        Some(level) if level != update.max_version_level => {
            Some(format!("Local controller {here} only supports versions {level}-{level}"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish};

    async fn update(
        version: i16,
        feature: &'static str,
        level: i16,
        kind: i8,
    ) -> UpdateFeaturesResponse {
        let node = TestNode::new(&[]).await;
        let mut key = FeatureUpdateKey::default()
            .with_feature(StrBytes::from_static_str(feature))
            .with_max_version_level(level);
        if version >= TYPES_SINCE {
            key.upgrade_type = kind;
        }
        let request = UpdateFeaturesRequest::default().with_feature_updates(vec![key]);
        let reply = finish(handle(&node.broker, &TestNode::context(version), request)).await;
        assert_encodes(&reply, version);
        let Reply::Message(Response::UpdateFeatures(response)) = reply else { panic!() };
        assert_eq!(response.results.len(), usize::from(version <= RESULTS_UNTIL));
        response
    }

    #[tokio::test]
    async fn what_is_may_be_asked_for_and_nothing_else() {
        for version in 0..=2 {
            for (feature, level) in features::ALL {
                assert_eq!(update(version, feature, *level, 1).await.error_code, 0);
                assert_eq!(update(version, feature, *level, 2).await.error_code, 0);
                assert_eq!(update(version, feature, level + 1, 1).await.error_code, 95);
                assert_eq!(update(version, feature, -1, 1).await.error_code, 95);
            }
            let unknown = update(version, "metadata.version", 30, 1).await;
            assert_eq!(unknown.error_code, 95);
            assert!(unknown.error_message.unwrap().contains("does not support this feature"));
        }
        let kind = update(1, "group.version", 1, 0).await;
        assert_eq!((kind.error_code, kind.results[0].error_code), (95, 95));
    }
}
