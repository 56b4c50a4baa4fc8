//! Logs as their users see them: through a data directory, over real files and over faulty ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod format;
mod journal;
mod model;
mod support;
