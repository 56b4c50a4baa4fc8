//! A produce request between its appends and their commit: what its connection keeps until then.
//!
//! Nothing here makes progress by being polled: the flusher commits by itself. So a connection asks
//! only for its oldest request, and a commit that finishes many of them wakes it once.

use std::task::{Context, Poll};

use bytes::BytesMut;
use protocol::response::Response;
use tokio::time::Instant;

use super::results::Results;

/// A request that waits for its commit.
pub(crate) struct Uncommitted {
    results: Results,
    api_version: i16,
    deadline: Instant,
}

impl Uncommitted {
    pub(super) const fn new(results: Results, api_version: i16, deadline: Instant) -> Self {
        Self { results, api_version, deadline }
    }

    /// Ready when every batch is committed or lost. Otherwise the task is woken when it should ask
    /// again.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.results.wait.poll_finished(cx)
    }

    /// When the client gives up: from then on the request is answered with what is known.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Appends the response's frame to `out` if all went well, which is what the short way is for.
    /// Otherwise `false`: the response is [`Uncommitted::into_response`].
    pub(crate) fn encode_committed(&self, correlation_id: i32, out: &mut BytesMut) -> bool {
        self.results.encode_committed(correlation_id, self.api_version, out)
    }

    /// The response to what is known by now: what is not committed yet has timed out.
    pub(crate) fn into_response(self) -> Response {
        self.results.into_response(self.api_version)
    }
}
