//! DescribeTransactions (API key 65, KIP-664): what transactional producers have under way.
//!
//! Transactions are not served yet: no producer has ever got a transactional id here, so that none
//! is known.

use std::sync::Arc;

use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::authorize::{Operation, Resource, authorize};
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeTransactionsRequest,
) -> Work {
    let states = request.transactional_ids.into_iter().map(|id| {
        let error = judge(context, &id);
        TransactionState::default().with_error_code(error.code()).with_transactional_id(id)
    });
    let response =
        DescribeTransactionsResponse::default().with_transaction_states(states.collect());
    Work::message(Response::DescribeTransactions(response))
}

fn judge(context: &RequestContext, id: &str) -> ErrorCode {
    if !authorize(context, Operation::Describe, Resource::TransactionalId(id)) {
        ErrorCode::TransactionalIdAuthorizationFailed
    } else if id.is_empty() {
        ErrorCode::InvalidRequest
    } else {
        ErrorCode::TransactionalIdNotFound
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages as m;

    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish};
    use crate::wire_text::text;

    #[tokio::test]
    async fn no_transactional_id_is_known() {
        let node = TestNode::new(&[]).await;
        let ids = ["a", "", "b", "a"].map(|id| m::TransactionalId(text(id)));
        let request =
            DescribeTransactionsRequest::default().with_transactional_ids(Vec::from(ids.clone()));
        let reply = finish(handle(&node.broker, &TestNode::context(0), request)).await;
        assert_encodes(&reply, 0);
        let Reply::Message(Response::DescribeTransactions(response)) = reply else {
            panic!("{reply:?}")
        };
        let states = response.transaction_states.into_iter();
        let told = states.map(|state| (state.transactional_id, state.error_code));
        let expected = ids.into_iter().zip([105, 42, 105, 105]);
        assert_eq!(told.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
