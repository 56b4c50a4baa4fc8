//! The one source of time.

use protocol::types::Timestamp;
use std::time::{Duration, Instant, SystemTime};

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

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 counts as 1970, one beyond the year 292 million as that.
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since_1970.unwrap_or_default().as_millis();
        Timestamp::new(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}
