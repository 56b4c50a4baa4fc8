//! Time as groups see it: both clocks, and milliseconds as requests and records have them.

use std::time::{Duration, Instant};

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For waits.
    pub(crate) now: Instant,
    /// For the log; milliseconds since 1970.
    pub(crate) wall_ms: i64,
}

/// Nothing for what is negative.
pub(crate) fn from_millis(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// The longest that fits for what does not.
pub(crate) fn to_millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
