//! DeleteRecords (API key 21).

use std::sync::Arc;

use kafka_protocol::messages::DeleteRecordsRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::reply::Work;

/// Serves one request.
pub(crate) fn handle(
    _broker: &Arc<Broker>,
    _context: &RequestContext,
    _request: DeleteRecordsRequest,
) -> Work {
    todo!()
}
