//! Every implementation of the `Replica` seam, held to its contract by one suite.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod records;
#[cfg(test)]
mod told;
