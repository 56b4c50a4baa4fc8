//! The black-box tests: one binary, one module for each theme. Each test starts what it needs and
//! shares nothing with another, so all of them may run at once and in any order.

mod admin;
mod admin_tools;
mod burrow;
mod clients;
mod cluster;
mod cluster_admin;
mod configs;
mod connection;
mod consumer_groups;
mod consumers;
mod crash;
mod disk_full;
mod fetch;
mod format;
mod group_abuse;
mod group_crash;
mod group_log;
mod group_offsets;
mod groups;
mod lifecycle;
mod limits;
mod load;
mod metadata;
mod observe;
mod offsets;
mod pipelines;
mod produce;
mod replication;
mod retention;
mod shipper;
mod telemetry;
mod tool_groups;
mod tools;
mod versions;
