//! Where the replicas of new partitions go. Pure.
//!
//! Leaders are spread over the brokers in turn, starting with the broker that leads the fewest
//! partitions; the other replicas follow it in the order of broker ids.

use std::collections::BTreeMap;

use protocol::types::BrokerId;

use super::image::Image;

/// More replicas were asked for than there are brokers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} replicas were asked for, but only {brokers} broker(s) are registered")]
pub(crate) struct PlacementError {
    /// Asked for.
    pub(crate) wanted: usize,
    /// Registered.
    pub(crate) brokers: usize,
}

/// The replicas of `partitions` new partitions, the preferred leader first.
///
/// # Errors
/// [`PlacementError`].
pub(super) fn place(
    image: &Image,
    partitions: usize,
    replicas: usize,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let brokers: Vec<BrokerId> = image.brokers.keys().copied().collect();
    if replicas > brokers.len() || replicas == 0 {
        return Err(PlacementError { wanted: replicas, brokers: brokers.len() });
    }
    let first = least_loaded(image, &brokers);
    let ring = |at: usize| brokers[(first + at) % brokers.len()];
    Ok((0..partitions).map(|at| (at..at + replicas).map(ring).collect()).collect())
}

/// Index of the broker that leads the fewest partitions.
fn least_loaded(image: &Image, brokers: &[BrokerId]) -> usize {
    let mut led: BTreeMap<BrokerId, usize> = BTreeMap::new();
    if brokers.len() > 1 {
        let partitions = image.topics.values().flat_map(|topic| &topic.partitions);
        for leader in partitions.filter_map(|partition| partition.preferred_leader()) {
            *led.entry(leader).or_default() += 1;
        }
    }
    let load = |at: &usize| led.get(&brokers[*at]).copied().unwrap_or_default();
    (0..brokers.len()).min_by_key(load).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::image::BrokerImage;
    use super::*;

    fn image(brokers: i32) -> Image {
        let broker =
            |id| (BrokerId::new(id), BrokerImage { endpoints: Vec::new(), rack: None, node: None });
        Image { brokers: Arc::new((0..brokers).map(broker).collect()), ..Image::default() }
    }

    #[test]
    fn one_broker_takes_everything() {
        assert_eq!(place(&image(1), 2, 1), Ok(vec![vec![BrokerId::new(0)]; 2]));
    }

    #[test]
    fn leaders_are_spread_and_no_broker_has_two_replicas_of_a_partition() {
        let placed = place(&image(3), 6, 2).unwrap();
        for broker in 0..3 {
            let led = placed.iter().filter(|replicas| replicas[0].get() == broker).count();
            assert_eq!(led, 2);
        }
        assert!(placed.iter().all(|replicas| replicas[0] != replicas[1]));
    }

    #[test]
    fn more_replicas_than_brokers_are_refused() {
        assert_eq!(place(&image(2), 1, 3), Err(PlacementError { wanted: 3, brokers: 2 }));
        assert_eq!(place(&image(0), 1, 1), Err(PlacementError { wanted: 1, brokers: 0 }));
    }
}
