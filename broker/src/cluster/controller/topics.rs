//! From what a request asks for to topics that may be created or grown. Pure.

use protocol::topic::{TopicId, TopicName};
use protocol::types::BrokerId;

use super::{ChangeError, PlannedGrowth, PlannedTopic, SettingChange, alter};
use crate::cluster::command::{NewPartitions, NewTopic};
use crate::cluster::image::{Image, TopicImage};
use crate::cluster::outcome::Refusal;
use crate::cluster::placement::Placer;
use crate::settings::{BrokerSettings, Values};

/// Partitions that one request may create (Kafka's own limit).
const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Partitions that the cluster may have: each costs memory on its broker even when it is idle.
const CLUSTER_PARTITIONS_MAX: usize = 100_000;

/// A topic that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct TopicSpec {
    /// Its name.
    pub(crate) name: TopicName,
    /// Its partitions and replicas.
    pub(crate) layout: Layout,
    /// Its settings.
    pub(crate) overrides: Values,
}

/// Partitions and replicas as asked for.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// By number; `None` takes the broker's default.
    Counts {
        /// How many partitions.
        partitions: Option<i32>,
        /// How many replicas of each.
        replicas: Option<i16>,
    },
    /// By name: the replicas of each partition.
    Assigned(Vec<Vec<BrokerId>>),
}

/// A topic that shall grow.
#[derive(Debug, Clone)]
pub(crate) struct Growth {
    /// Which.
    pub(crate) name: TopicName,
    /// To how many partitions in all.
    pub(crate) total: i32,
    /// The replicas of each added partition, if the request names them.
    pub(crate) assigned: Option<Vec<Vec<BrokerId>>>,
}

/// Plans the topics of one request.
pub(super) fn plan(
    image: &Image,
    settings: &BrokerSettings,
    specs: Vec<Result<TopicSpec, ChangeError>>,
    mut new_id: impl FnMut() -> TopicId,
) -> Vec<Result<PlannedTopic, ChangeError>> {
    let mut room = Room::new(image);
    let mut plan_one = |spec: TopicSpec| {
        if image.topics.contains_key(&spec.name) {
            return Err(Refusal::TopicExists.into());
        }
        if image.colliding(&spec.name).is_some() {
            return Err(Refusal::NameCollides.into());
        }
        let partitions = lay_out(image, settings, spec.layout, &mut room)?;
        let overrides = alter::topic(&Values::new(), &SettingChange::Replace(spec.overrides))?;
        let name = spec.name;
        Ok(PlannedTopic(NewTopic { name, id: new_id(), partitions, overrides }))
    };
    specs.into_iter().map(|spec| spec.and_then(&mut plan_one)).collect()
}

fn lay_out(
    image: &Image,
    settings: &BrokerSettings,
    layout: Layout,
    room: &mut Room<'_>,
) -> Result<Vec<Vec<BrokerId>>, ChangeError> {
    match layout {
        Layout::Assigned(partitions) => {
            check_assigned(image, &partitions, None)?;
            room.budget.take(partitions.len())?;
            Ok(partitions)
        }
        Layout::Counts { partitions, replicas } => {
            let brokers = room.placer.broker_count();
            let replicas = match replicas {
                Some(asked) => usize::try_from(asked),
                // A default that was made for more brokers must not keep clients from their topics.
                None => usize::try_from(settings.default_replication_factor)
                    .map(|replicas| replicas.min(brokers)),
            };
            let replicas = replicas.ok().filter(|count| *count > 0).ok_or_else(|| {
                let text =
                    "Replication factor must be larger than 0, or -1 to use the default value.";
                ChangeError::InvalidReplicationFactor(text.to_owned())
            })?;
            let partitions = usize::try_from(partitions.unwrap_or(settings.num_partitions));
            let partitions = partitions.ok().filter(|count| *count > 0).ok_or_else(|| {
                let text =
                    "Number of partitions must be larger than 0, or -1 to use the default value.";
                ChangeError::InvalidPartitions(text.to_owned())
            })?;
            room.budget.take(partitions)?;
            Ok(room.placer.place(partitions, replicas)?)
        }
    }
}

/// An assignment names registered brokers, none twice in a partition, as many for each partition.
fn check_assigned(
    image: &Image,
    partitions: &[Vec<BrokerId>],
    replicas: Option<usize>,
) -> Result<(), ChangeError> {
    let wrong = |text: String| Err(ChangeError::InvalidAssignment(text));
    let expected = replicas.or_else(|| partitions.first().map(Vec::len)).unwrap_or_default();
    for brokers in partitions {
        if brokers.is_empty() {
            return wrong("The manual partition assignment includes an empty replica list.".into());
        }
        if brokers.len() != expected {
            return wrong(format!(
                "The manual partition assignment includes a partition with {} replica(s), but \
                 others have {expected}.",
                brokers.len()
            ));
        }
        for (at, broker) in brokers.iter().enumerate() {
            if !image.brokers.contains_key(broker) {
                return wrong(format!(
                    "The manual partition assignment includes broker {broker}, but no such broker \
                     is registered."
                ));
            }
            if brokers[..at].contains(broker) {
                return wrong(format!(
                    "The manual partition assignment includes the broker {broker} more than once."
                ));
            }
        }
    }
    Ok(())
}

/// Plans the growth of topics of one request.
pub(super) fn plan_growth(
    image: &Image,
    growths: Vec<Result<Growth, ChangeError>>,
) -> Vec<Result<PlannedGrowth, ChangeError>> {
    let mut room = Room::new(image);
    let mut plan_one = |growth: Growth| {
        let topic = image.topics.get(&growth.name).ok_or(Refusal::UnknownTopic)?;
        let added = grow(image, topic, growth, &mut room)?;
        let before = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        Ok(PlannedGrowth(NewPartitions { topic: topic.id, before, added }))
    };
    growths.into_iter().map(|growth| growth.and_then(&mut plan_one)).collect()
}

fn grow(
    image: &Image,
    topic: &TopicImage,
    growth: Growth,
    room: &mut Room<'_>,
) -> Result<Vec<Vec<BrokerId>>, ChangeError> {
    let before = topic.partitions.len();
    let total = usize::try_from(growth.total).unwrap_or_default();
    if total == before {
        let text = format!("Topic already has {before} partition(s).");
        return Err(ChangeError::InvalidPartitions(text));
    }
    let Some(count) = total.checked_sub(before) else {
        return Err(ChangeError::InvalidPartitions(format!(
            "The topic {} currently has {before} partition(s); {} would not be an increase.",
            topic.name, growth.total
        )));
    };
    let replicas = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    let added = if let Some(assigned) = growth.assigned {
        if assigned.len() != count {
            return Err(ChangeError::InvalidAssignment(format!(
                "Attempted to add {count} additional partition(s), but {} assignment(s) were \
                 specified.",
                assigned.len()
            )));
        }
        check_assigned(image, &assigned, Some(replicas))?;
        room.budget.take(count)?;
        assigned
    } else {
        room.budget.take(count)?;
        room.placer.place(count, replicas)?
    };
    Ok(added)
}

/// What is left for the topics of one request, and where.
struct Room<'a> {
    budget: Budget,
    placer: Placer<'a>,
}

impl<'a> Room<'a> {
    fn new(image: &'a Image) -> Self {
        Self { budget: Budget::new(image), placer: Placer::new(image) }
    }
}

/// How many more partitions there may be.
struct Budget {
    request_left: usize,
    cluster_left: usize,
}

impl Budget {
    fn new(image: &Image) -> Self {
        let cluster_left = CLUSTER_PARTITIONS_MAX.saturating_sub(image.partition_count());
        Self { request_left: REQUEST_PARTITIONS_MAX, cluster_left }
    }

    fn take(&mut self, count: usize) -> Result<(), ChangeError> {
        let error = |limit, whose| ChangeError::TooManyPartitions { wanted: count, limit, whose };
        if count > self.request_left {
            return Err(error(REQUEST_PARTITIONS_MAX, "one request"));
        }
        if count > self.cluster_left {
            return Err(error(CLUSTER_PARTITIONS_MAX, "the cluster"));
        }
        self.request_left -= count;
        self.cluster_left -= count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::cluster::image::BrokerImage;

    fn image() -> Image {
        image_of(1)
    }

    fn image_of(brokers: i32) -> Image {
        let broker = BrokerImage { endpoints: Vec::new(), rack: None, node: None };
        let brokers = (1..=brokers).map(|id| (BrokerId::new(id), broker.clone())).collect();
        Image { brokers: Arc::new(brokers), ..Image::default() }
    }

    fn plan_layout(layout: Layout) -> Result<PlannedTopic, ChangeError> {
        plan_with(&image(), Values::new(), layout)
    }

    fn plan_with(
        image: &Image,
        given: Values,
        layout: Layout,
    ) -> Result<PlannedTopic, ChangeError> {
        let settings = BrokerSettings::new(given).unwrap();
        let name = TopicName::new("t").unwrap();
        let spec = TopicSpec { name, layout, overrides: Values::new() };
        let id = || TopicId::new(Uuid::from_u128(9)).unwrap();
        plan(image, &settings, vec![Ok(spec)], id).remove(0)
    }

    fn counts(partitions: Option<i32>, replicas: Option<i16>) -> Layout {
        Layout::Counts { partitions, replicas }
    }

    fn assigned(partitions: &[&[i32]]) -> Layout {
        let ids = |brokers: &&[i32]| brokers.iter().map(|id| BrokerId::new(*id)).collect();
        Layout::Assigned(partitions.iter().map(ids).collect())
    }

    #[test]
    fn defaults_apply_where_no_count_is_given() {
        let planned = plan_layout(counts(None, None)).unwrap();
        assert_eq!((planned.partition_count(), planned.replica_count()), (1, 1));
        assert_eq!(plan_layout(counts(Some(10_000), Some(1))).unwrap().partition_count(), 10_000);
        assert_eq!(plan_layout(assigned(&[&[1], &[1]])).unwrap().partition_count(), 2);
    }

    #[test]
    fn the_default_number_of_replicas_is_capped_by_the_number_of_brokers() {
        let planned = |brokers, given: Option<&str>| {
            let given = given.map(|count| ("default.replication.factor".into(), count.into()));
            let image = image_of(brokers);
            let layout = counts(Some(1), None);
            plan_with(&image, given.into_iter().collect(), layout).unwrap().replica_count()
        };
        assert_eq!([1, 2, 3, 5].map(|brokers| planned(brokers, None)), [1, 2, 3, 3]);
        assert_eq!([1, 3, 5].map(|brokers| planned(brokers, Some("4"))), [1, 3, 4]);
        assert_eq!(planned(3, Some("1")), 1);
        let image = image_of(2);
        let refused = plan_with(&image, Values::new(), counts(Some(1), Some(3))).unwrap_err();
        assert!(matches!(refused, ChangeError::Placement(_)), "what was asked for is not changed");
    }

    #[test]
    fn impossible_layouts_are_refused_with_the_reason() {
        use ChangeError as E;
        let error = |layout| plan_layout(layout).unwrap_err();
        assert!(matches!(error(counts(Some(0), None)), E::InvalidPartitions(_)));
        assert!(matches!(error(counts(None, Some(0))), E::InvalidReplicationFactor(_)));
        assert!(matches!(error(counts(None, Some(2))), E::Placement(_)));
        assert!(matches!(error(counts(Some(10_001), None)), E::TooManyPartitions { .. }));
        for partitions in [&[&[][..]][..], &[&[1, 1]], &[&[2]], &[&[1], &[]]] {
            assert!(matches!(error(assigned(partitions)), E::InvalidAssignment(_)));
        }
    }

    #[test]
    fn growth_must_be_growth() {
        let mut image = image();
        let name = TopicName::new("t").unwrap();
        let id = TopicId::new(Uuid::from_u128(1)).unwrap();
        let partitions = crate::cluster::snapshot::partitions(0, vec![vec![BrokerId::new(1)]; 3]);
        let topic = TopicImage { name: name.clone(), id, partitions, overrides: Values::new() };
        Arc::make_mut(&mut image.topics).insert(name.clone(), Arc::new(topic));
        let grow = |total, assigned: Option<usize>| {
            let assigned = assigned.map(|count| vec![vec![BrokerId::new(1)]; count]);
            let growth = Growth { name: name.clone(), total, assigned };
            plan_growth(&image, vec![Ok(growth)]).remove(0)
        };
        let planned = grow(5, None).unwrap().0;
        assert_eq!((planned.before, planned.added.len()), (3, 2));
        assert!(grow(5, Some(2)).is_ok());
        for (total, assigned) in [(3, None), (2, None), (-1, None), (5, Some(1))] {
            let error = grow(total, assigned).unwrap_err();
            assert!(matches!(
                error,
                ChangeError::InvalidPartitions(_) | ChangeError::InvalidAssignment(_)
            ));
        }
    }
}
