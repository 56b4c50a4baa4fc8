//! The one table from our errors to Kafka's wire codes.
#![deny(clippy::wildcard_enum_match_arm)]
