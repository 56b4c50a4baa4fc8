//! Every implementation of the `Replica` seam, held to its contract by one suite.

#[cfg(test)]
mod adopt;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod fitness;
#[cfg(test)]
mod group;
#[cfg(test)]
mod records;
#[cfg(test)]
mod rejoin;
mod resting;
#[cfg(test)]
mod told;
