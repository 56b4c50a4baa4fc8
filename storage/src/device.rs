//! The seam to the operating system's files, so that tests can lose power.
