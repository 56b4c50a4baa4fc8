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
mod dynamic_settings;
mod error_map;
mod features;
mod fetch_session;
mod group_metrics;
mod groups;
mod handlers;
mod http;
mod leaders;
mod lifecycle;
mod log_levels;
mod metrics;
mod partition;
mod partition_metrics;
mod partitions;
mod read_buffers;
mod read_pool;
mod replication;
mod replication_metrics;
mod reply;
mod request_memory;
mod resolve;
mod resources;
mod response_memory;
mod retention;
mod server;
mod settings;
mod telemetry;
#[cfg(test)]
mod test_cluster;
#[cfg(test)]
mod test_node;
#[cfg(test)]
mod test_replica;
mod topic_view;
mod wire_text;
