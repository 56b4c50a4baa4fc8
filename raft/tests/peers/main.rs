//! The transport between nodes, over real sockets on loopback.

mod calls;
mod detection;
mod hostile;
mod nodes;
