//! Logs as their users see them: through a data directory, over real files and over faulty ones.

mod faults;
mod format;
mod model;
mod support;
