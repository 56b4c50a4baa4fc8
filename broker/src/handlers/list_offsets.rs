//! ListOffsets (API key 2).

use std::sync::Arc;

use kafka_protocol::messages::ListOffsetsRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    _request: ListOffsetsRequest,
) -> Work {
    todo!()
}
