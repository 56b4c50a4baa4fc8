//! The comparison with Apache Kafka: the same loads against both brokers in turn, on this machine, in
//! one run, and one table of medians and ratios.
//!
//! [`rows`] says what is measured and what must be reached; [`kafka`] and [`millpond`] how each broker
//! is started; [`runner`] runs the rows; [`report`] prints. Figures are never asserted here: a row that
//! falls short is printed like one that does not, and a run that fails is a row with its reason.

pub mod broker;
pub mod commits;
pub mod disk;
pub mod disturbed;
pub mod external;
pub mod figures;
pub mod groups;
pub mod kafka;
pub mod machine;
pub mod millpond;
pub mod namespace;
pub mod options;
pub mod program;
pub mod report;
pub mod resources;
pub mod rows;
pub mod runner;
pub mod station;
pub mod statistics;
