//! ListPartitionReassignments (API key 46, KIP-455): which partitions are on their way.
//!
//! With one node none ever is. As in Kafka, a partition that is not on its way is left out of the
//! answer whether it exists or not.

use std::sync::Arc;

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;
use crate::wire_text::message;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    context: &RequestContext,
    _request: ListPartitionReassignmentsRequest,
) -> Work {
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    let response = if authorize(context, Operation::Describe, Resource::Cluster) {
        response
    } else {
        response
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code())
            .with_error_message(message(&"Not authorized."))
    };
    Work::message(Response::ListPartitionReassignments(response))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish, name};

    #[tokio::test]
    async fn no_partition_is_on_its_way() {
        let node = TestNode::new(&[("t", 1, &[])]).await;
        let one = |topic| {
            ListPartitionReassignmentsTopics::default()
                .with_name(name(topic))
                .with_partition_indexes(vec![0, 7])
        };
        for topics in [None, Some(vec![]), Some(vec![one("t"), one("nope")])] {
            let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
            let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
            assert_encodes(&reply, 0);
            let Reply::Message(Response::ListPartitionReassignments(response)) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!((response.error_code, response.error_message), (0, None));
            assert_eq!(response.topics, []);
        }
    }
}
