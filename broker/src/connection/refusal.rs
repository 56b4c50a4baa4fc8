//! Why bytes on a Kafka port are not a request, and how much is said about it.
//!
//! A refused client is disconnected, as Kafka does (behaviour 6). Whoever sends TLS or HTTP here has
//! the wrong port or scheme: the log names the remedy, an HTTP client is told at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::request::RequestError;
use tokio::time::Instant;

/// The record type "handshake" and the major version of every TLS record.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];
/// How HTTP requests begin. Read as lengths they are all above a gigabyte.
const HTTP_BEGINNINGS: [&[u8; 4]; 9] =
    [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];
/// A refusal of the same kind is logged as a warning at most this often; the others as debug.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A TLS handshake.
    Tls,
    /// An HTTP request.
    Http,
    /// A length that no frame can have.
    Length { length: i32, frame_bytes_max: usize },
    /// A frame beyond the limit of its API.
    TooLarge { api: &'static str, frame_bytes: usize, frame_bytes_max: usize },
    /// An API that is not served.
    UnknownApi { api_key: i16 },
    /// A frame that is not a request of its API.
    Request(RequestError),
}

impl Refusal {
    /// What an impossible length probably is.
    pub(super) fn of_length(first: [u8; 4], frame_bytes_max: usize) -> Self {
        if first.starts_with(&TLS_HANDSHAKE) {
            Self::Tls
        } else if HTTP_BEGINNINGS.contains(&&first) {
            Self::Http
        } else {
            Self::Length { length: i32::from_be_bytes(first), frame_bytes_max }
        }
    }

    /// Bytes for the client before the connection is closed.
    pub(super) fn farewell(&self, http_address: &str) -> Option<String> {
        match self {
            Self::Http => {
                let body = format!(
                    "This port speaks the Kafka protocol. Health and metrics: http://{http_address}/\n"
                );
                let length = body.len();
                Some(format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                ))
            }
            Self::Tls
            | Self::Length { .. }
            | Self::TooLarge { .. }
            | Self::UnknownApi { .. }
            | Self::Request(_) => None,
        }
    }

    const fn kind(&self) -> usize {
        match self {
            Self::Tls => 0,
            Self::Http => 1,
            Self::Length { .. } | Self::TooLarge { .. } => 2,
            Self::UnknownApi { .. } => 3,
            Self::Request(_) => 4,
        }
    }
}

/// How many values [`Refusal::kind`] has.
const KINDS: usize = 5;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str(
                "the client speaks TLS, this listener does not: set security.protocol=PLAINTEXT in the client",
            ),
            Self::Http => f.write_str(
                "the client speaks HTTP on a Kafka port: health and metrics are on the HTTP port",
            ),
            Self::Length { length, frame_bytes_max } => write!(
                f,
                "a frame of {length} bytes, the limit is {frame_bytes_max} (socket.request.max.bytes)"
            ),
            Self::TooLarge { api, frame_bytes, frame_bytes_max } => {
                write!(f, "a {api} request of {frame_bytes} bytes, the limit is {frame_bytes_max}")
            }
            Self::UnknownApi { api_key } => write!(f, "API key {api_key} is not served"),
            Self::Request(error) => error.fmt(f),
        }
    }
}

/// Which kinds of refusal were lately warned about, so that a hostile client cannot fill the log.
#[derive(Debug)]
pub(crate) struct Warnings {
    start: Instant,
    /// For each kind, milliseconds since `start` until which it is only logged as debug.
    quiet_until_ms: [AtomicU64; KINDS],
}

impl Warnings {
    /// Everything may be warned about.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), quiet_until_ms: Default::default() }
    }

    /// Logs why a client was refused.
    pub(super) fn log(&self, refusal: &Refusal, listener: &str, peer: &str) {
        if self.is_due(refusal.kind()) {
            tracing::warn!(listener, peer, reason = %refusal, "refused a client");
        } else {
            tracing::debug!(listener, peer, reason = %refusal, "refused a client");
        }
    }

    fn is_due(&self, kind: usize) -> bool {
        let elapsed = self.start.elapsed();
        let in_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now_ms, next_ms) = (in_ms(elapsed), in_ms(elapsed + WARNING_INTERVAL));
        // Relaxed: two warnings instead of one would do no harm.
        self.quiet_until_ms[kind]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until_ms| {
                (now_ms >= until_ms).then_some(next_ms)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_protocols_are_recognised_by_their_first_bytes() {
        assert_eq!(Refusal::of_length([0x16, 3, 1, 2], 10), Refusal::Tls);
        assert_eq!(Refusal::of_length(*b"GET ", 10), Refusal::Http);
        let length = Refusal::Length { length: -1, frame_bytes_max: 10 };
        assert_eq!(Refusal::of_length([0xff; 4], 10), length);
        let http = Refusal::Http.farewell("127.0.0.1:9644").unwrap();
        assert!(http.starts_with("HTTP/1.1 400 ") && http.contains("http://127.0.0.1:9644/"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_warned_about_once_a_minute() {
        let warnings = Warnings::new();
        assert!(warnings.is_due(0));
        assert!(!warnings.is_due(0));
        assert!(warnings.is_due(1));
        tokio::time::advance(WARNING_INTERVAL).await;
        assert!(warnings.is_due(0));
    }
}
