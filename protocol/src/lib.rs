//! The Kafka wire protocol: vocabulary, record batches, frames and messages.
//!
//! This crate knows no other crate of ours, no file, no clock, no configuration and no async
//! runtime. Everything it reads is hostile: it checks every length before it allocates.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, expect(clippy::indexing_slicing, reason = "a test may panic"))]

pub mod api;
pub mod batch;
pub mod compression;
pub mod consumer_protocol;
pub mod error_code;
pub mod fetch_response;
pub mod group_record;
pub mod guard;
mod newer;
mod older;
pub mod produce_response;
pub mod record;
pub mod request;
pub mod response;
pub mod topic;
pub mod types;
mod varint;
pub mod wire;
