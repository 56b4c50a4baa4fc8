//! The one source of time.

use protocol::types::Timestamp;
use std::time::{Duration, Instant};

/// Time as the broker sees it; tests bring their own.
pub(crate) trait Clock: Send + Sync {
    /// Wall clock.
    fn now(&self) -> Timestamp;
    /// Monotonic clock.
    fn monotonic(&self) -> Instant;
    /// Monotonic time since `earlier`.
    fn since(&self, earlier: Instant) -> Duration {
        self.monotonic().saturating_duration_since(earlier)
    }
}
