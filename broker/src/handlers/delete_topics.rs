//! DeleteTopics (API key 20).

use std::sync::Arc;

use kafka_protocol::messages::DeleteTopicsRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    _request: DeleteTopicsRequest,
) -> Work {
    todo!()
}
