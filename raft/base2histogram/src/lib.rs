//! Stands in for the crate of this name, which openraft counts batch sizes with: keeps no sample.
//!
//! The original builds its lookup tables for all sixteen resolutions when the first histogram is
//! made, whichever of them is used: 27 MiB of memory that is never read again, and half of the time
//! that a start took. What openraft counts can be asked for only under its feature
//! `runtime-stats`, which is off here, so nothing is missed. The workspace's `[patch.crates-io]` puts
//! this crate in the place of the original, and a build fails if openraft asks for more of it.
//!
//! It must never do anything: openraft's core calls it between two messages.

use std::fmt;
use std::marker::PhantomData;

/// A distribution of which nothing is kept. `T` is what the original labels its periods with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()>(PhantomData<T>);

impl<T> Histogram<T> {
    /// Without samples, as it stays.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Drops one sample.
    pub const fn record(&mut self, _value: u64) {}

    /// Drops `count` samples.
    pub const fn record_n(&mut self, _value: u64, _count: u64) {}

    /// Of no samples.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats::default()
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Number of samples, and the values below which so many percent of them lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PercentileStats {
    /// Number of samples.
    pub samples: u64,
    /// 0.1 %.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// Half.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A picture of nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// Empty, as it stays.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Leaves the histogram out.
    #[must_use]
    pub fn add(self, _name: &str, _histogram: Histogram) -> Self {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
