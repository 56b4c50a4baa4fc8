//! ListTransactions (API key 66, KIP-664, KIP-994, KIP-1152): the transactional producers that this
//! broker coordinates.
//!
//! Transactions are not served yet, so that there are none. What a client filters by is checked all
//! the same, for it would be told the same once there are some.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use kafka_protocol::protocol::StrBytes;
use protocol::error_code::ErrorCode;
use protocol::response::Response;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::groups::consumer::pattern::TopicPattern;
use crate::reply::Work;

/// Kafka's names of what a transaction may be at.
const STATES: &[&str] = &[
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    request: ListTransactionsRequest,
) -> Work {
    let response = ListTransactionsResponse::default();
    let response = if is_pattern(request.transactional_id_pattern.as_deref().unwrap_or_default()) {
        response.with_unknown_state_filters(unknown_states(request.state_filters))
    } else {
        response.with_error_code(ErrorCode::InvalidRegularExpression.code())
    };
    Work::message(Response::ListTransactions(response))
}

/// Each once, as in Kafka.
fn unknown_states(filters: Vec<StrBytes>) -> Vec<StrBytes> {
    let unknown = filters.into_iter().filter(|state| !STATES.contains(&&**state));
    unknown.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether this is a regular expression, in RE2's dialect as in Kafka; the empty one matches all ids.
fn is_pattern(pattern: &str) -> bool {
    TopicPattern::new(pattern).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use crate::test_node::{TestNode, assert_encodes, finish};
    use crate::wire_text::text;

    async fn list(states: &[&str], pattern: Option<&str>) -> (i16, Vec<String>) {
        let node = TestNode::new(&[]).await;
        let request = ListTransactionsRequest::default()
            .with_state_filters(states.iter().copied().map(text).collect())
            .with_transactional_id_pattern(pattern.map(text));
        let reply = finish(handle(&node.broker, &TestNode::context(2), request)).await;
        (0..=2).for_each(|version| assert_encodes(&reply, version));
        let Reply::Message(Response::ListTransactions(response)) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(response.transaction_states, []);
        let unknown = response.unknown_state_filters.iter().map(ToString::to_string);
        (response.error_code, unknown.collect())
    }

    #[tokio::test]
    async fn states_that_do_not_exist_are_told() {
        assert_eq!(list(STATES, None).await, (0, vec![]));
        let unknown = |states: &[&str]| states.iter().map(ToString::to_string).collect::<Vec<_>>();
        let asked = ["Open", "ongoing", "Ongoing", "", "Unknown", "Open"];
        let expected = unknown(&["", "Open", "Unknown", "ongoing"]);
        assert_eq!(list(&asked, None).await, (0, expected));
    }

    #[tokio::test]
    async fn a_pattern_must_be_one() {
        for sound in [None, Some(""), Some("tx-.*"), Some("(a|b){2}")] {
            assert_eq!(list(&[], sound).await.0, 0, "{sound:?}");
        }
        for wrong in ["(", "[a", "a{1001}", "(?=a)"] {
            assert_eq!(list(&["Open"], Some(wrong)).await, (128, vec![]), "{wrong}");
        }
    }
}
