//! Incremental fetch sessions (KIP-227): bounded cache, cost in proportion to what changed.

/// All sessions of this broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {}
