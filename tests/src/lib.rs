//! What the black-box tests share: the broker as a process, frames made by code that is not ours,
//! real clients as programs, and the checker of histories.
//!
//! Never uses a crate of this project: whatever is asserted here is what a stranger sees. Every
//! wait has a limit, every process ends with the value that started it.

pub mod batch;
pub mod calls;
pub mod cluster;
pub mod codes;
pub mod compare;
pub mod configs;
pub mod consumer;
pub mod deadline;
pub mod fixture;
pub mod group_calls;
pub mod history;
pub mod http;
pub mod load;
pub mod member;
pub mod node;
pub mod process;
pub mod program;
pub mod suites;
pub mod target;
pub mod wire;
