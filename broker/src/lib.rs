//! The broker: connections, handlers, partitions, the cluster's metadata, the command line.

mod authorize;
mod broker;
pub mod cli;
mod clock;
mod cluster;
mod config;
mod config_resource;
mod connection;
mod context;
mod dispatch;
mod error_map;
mod fetch_session;
mod groups;
mod handlers;
mod http;
mod lifecycle;
mod metrics;
mod partition;
mod partition_metrics;
mod partitions;
mod read_buffers;
mod read_pool;
mod reply;
mod request_memory;
mod resolve;
mod resources;
mod response_memory;
mod retention;
mod server;
mod settings;
#[cfg(test)]
mod test_node;
mod topic_view;
mod wire_text;
