//! CreatePartitions (API key 37).

use std::sync::Arc;

use kafka_protocol::messages::CreatePartitionsRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    _request: CreatePartitionsRequest,
) -> Work {
    todo!()
}
