//! UnregisterBroker (API key 64): takes a broker that is gone for good out of the metadata.
//!
//! The one broker that can be registered is the one that answers, and it would only register again:
//! asked to forget itself it refuses, since clients would find nobody until it did.

use std::sync::Arc;

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;
use protocol::types::BrokerId;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::message;

/// Serves one request.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: UnregisterBrokerRequest,
) -> Work {
    let id = BrokerId::new(request.broker_id.0);
    let (error, why) = if !authorize(context, Operation::Alter, Resource::Cluster) {
        (ErrorCode::ClusterAuthorizationFailed, "Not authorized.".to_owned())
    } else if broker.cluster.image().brokers.contains_key(&id) {
        (ErrorCode::InvalidRequest, format!("Broker ID {id} is running and cannot be unregistered"))
    } else {
        (ErrorCode::BrokerIdNotRegistered, format!("Broker ID {id} is not currently registered"))
    };
    let response = UnregisterBrokerResponse::default()
        .with_error_code(error.code())
        .with_error_message(message(&why));
    Work::message(Response::UnregisterBroker(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish};

    #[tokio::test]
    async fn a_running_broker_stays_and_no_other_is_known() {
        let node = TestNode::new(&[]).await;
        let here = node.broker.broker_id.get();
        for (id, code) in [(here, 42), (here + 1, 102), (-1, 102)] {
            let request = UnregisterBrokerRequest::default().with_broker_id(id.into());
            let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
            assert_encodes(&reply, 0);
            let Reply::Message(Response::UnregisterBroker(response)) = reply else { panic!() };
            assert_eq!(response.error_code, code, "{id}");
        }
        assert!(node.broker.cluster.image().brokers.contains_key(&node.broker.broker_id));
    }
}
