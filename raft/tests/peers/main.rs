//! The transport between nodes, over real sockets on loopback.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod detection;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod nodes;
