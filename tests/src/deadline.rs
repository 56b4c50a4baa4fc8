//! Limits for waits on other processes. The one place of the tests that reads the clock or pauses;
//! nothing here orders events, it only bounds them.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest that a test waits for anything that should happen soon; generous, because test machines
/// are small and busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition of another process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A moment after which waiting is a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A moment this far ahead.
    pub fn after(wait_max: Duration) -> Self {
        Self(monotonic_now() + wait_max)
    }

    /// What is left until then; zero when it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(monotonic_now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}

/// A reading of the monotonic clock, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "black-box tests measure real processes")]
pub fn monotonic_now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as records carry them.
#[expect(clippy::disallowed_methods, reason = "records sent to a real broker carry real times")]
pub fn now_ms() -> i64 {
    let since_epoch =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since_epoch.as_millis()).expect("milliseconds fit for 292 million years")
}

/// Looks until `probe` gives something, and fails the test with `what` when it does not in time.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(!deadline.passed(), "not within {PATIENCE:?}: {what}");
        thread::park_timeout(LOOK_AGAIN);
    }
}
