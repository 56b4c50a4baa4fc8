//! Test suites that the authors of clients wrote for their own clients, run against a fresh broker of
//! ours or against Apache Kafka, and compared with a table that the repository keeps.
//!
//! A suite ([`suite::Suite`]) says how its programs are started, test by test, and reads what they
//! print. The table ([`table::Table`]) is a Markdown file in `tests/suites/`: which test passes on
//! Apache Kafka, which on Millpond, and why one does not. It is data and document in one, so the two
//! cannot differ. Nothing here changes a suite: what a suite asserts is its authors' business.

pub mod broker;
pub mod gotest;
pub mod librdkafka;
pub mod options;
pub mod runner;
pub mod suite;
pub mod table;
