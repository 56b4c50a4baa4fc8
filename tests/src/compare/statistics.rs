//! Medians, and how sure a median of ratios is. Pure functions of their arguments.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Resamples of a bootstrap; enough for the second digit of an interval.
const RESAMPLES: usize = 10_000;

/// The resampling starts here every time, so that a report can be printed again unchanged.
const SEED: u64 = 4;

/// Share of resamples left out at each side of a 95 % interval.
const TAIL: f64 = 0.025;

/// The middle value, or the mean of the two in the middle; none of no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    let is_odd = sorted.len() % 2 == 1;
    Some(if is_odd { *upper } else { f64::midpoint(sorted[middle - 1], *upper) })
}

/// A range, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Bootstrap 95 % interval of the median of these values; none of no values.
pub fn interval_of_median(values: &[f64]) -> Option<Interval> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut resample = || {
        let drawn = values.iter().map(|_| values[random.random_range(..values.len())]);
        median(&drawn.collect::<Vec<_>>())
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map_while(|_| resample()).collect();
    medians.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&medians, TAIL)?, high: quantile(&medians, 1.0 - TAIL)? })
}

/// The value below which this share of the sorted values lies, by the nearest rank.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = u32::try_from(sorted.len()).expect("few values").checked_sub(1)?;
    let rank = (f64::from(last) * share).round();
    // The ranks are few enough to be found by counting, which needs no cast from a float.
    sorted.iter().zip(0_u32..).find(|(_, at)| f64::from(*at) >= rank).map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn an_interval_holds_the_median_and_narrows_with_the_spread() {
        assert_eq!(interval_of_median(&[]), None);
        let same = interval_of_median(&[0.9; 7]).unwrap();
        assert_eq!((same.low, same.high), (0.9, 0.9));
        let spread = [0.80, 0.88, 0.89, 0.90, 0.91, 0.92, 1.10];
        let wide = interval_of_median(&spread).unwrap();
        assert!((0.80..0.90).contains(&wide.low) && (0.91..=1.10).contains(&wide.high), "{wide:?}");
        assert_eq!(interval_of_median(&spread), Some(wide), "the same values, the same interval");
    }

    #[test]
    fn quantiles_are_values_by_rank() {
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&sorted, 0.025), Some(3.0));
        assert_eq!(quantile(&sorted, 0.975), Some(98.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
