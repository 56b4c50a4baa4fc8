//! The broker: connections, handlers, partitions, the cluster's metadata, the command line.

mod authorize;
mod broker;
mod clock;
mod cluster;
mod context;
mod error_map;
mod fetch_session;
mod handlers;
mod partition;
mod partitions;
mod read_pool;
mod reply;
mod resolve;
mod retention;
mod settings;
