//! Fetch (API key 1).

use std::sync::Arc;

use kafka_protocol::messages::FetchRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    _request: FetchRequest,
) -> Work {
    todo!()
}
