//! What every handler knows about the request that it serves.

use std::net::IpAddr;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use crate::telemetry::SoftwareCell;

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its name, as in Kafka's `listeners`.
    pub(crate) name: String,
    /// Host that clients are told to connect to.
    pub(crate) advertised_host: String,
    /// Port that clients are told to connect to.
    pub(crate) advertised_port: u16,
}

/// The circumstances of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Through which listener it came.
    pub(crate) listener: Arc<Listener>,
    /// Who sent it: `User:ANONYMOUS` until users exist.
    pub(crate) principal: Arc<str>,
    /// What the client calls itself: pins the request's frame, so it must not outlive the request.
    pub(crate) client_id: Option<StrBytes>,
    /// From where it was sent.
    pub(crate) client_address: IpAddr,
    /// Which connection of this process's life.
    pub(crate) connection_id: u64,
    /// Version of the API.
    pub(crate) api_version: i16,
    /// Echoed in the response.
    pub(crate) correlation_id: i32,
    /// From which port it was sent.
    pub(crate) client_port: u16,
    /// What software sent it, once the connection has told.
    pub(crate) software: Arc<SoftwareCell>,
}
