//! What has to happen to the local partitions between two images. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::topic::TopicPartition;
use protocol::types::BrokerId;
use storage::data_dir::LogName;

use crate::cluster::image::{Image, PartitionImage, TopicImage};
use crate::replication::Beginning;
use crate::settings::{BrokerSettings, TopicSettings, Values};

/// Steps, to be done in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) delete: Vec<Local>,
    pub(super) open: Vec<(Local, TopicSettings)>,
    pub(super) configure: Vec<(LogName, TopicSettings)>,
}

/// A partition that has a replica here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) name: LogName,
    /// All of its replicas, the preferred leader first.
    pub(super) replicas: Vec<BrokerId>,
    /// What it begins as, if it is opened.
    pub(super) beginning: Beginning,
}

impl Plan {
    /// From `before` to `after`, for `broker`. Topics that both share cost a pointer comparison.
    pub(super) fn between(
        before: &Image,
        after: &Image,
        broker: BrokerId,
        settings: &BrokerSettings,
    ) -> Self {
        let same_settings = Arc::ptr_eq(&before.broker_settings, &after.broker_settings);
        let mut plan = Self::default();
        if Arc::ptr_eq(&before.topics, &after.topics) && same_settings {
            return plan;
        }
        for (name, old) in before.topics.iter() {
            if after.topics.get(name).is_none_or(|new| new.id != old.id) {
                plan.delete.extend(local(old, &old.partitions, broker));
            }
        }
        let dynamic = after.dynamic_settings(broker);
        for (name, new) in after.topics.iter() {
            let old = before.topics.get(name).filter(|old| old.id == new.id);
            if same_settings && old.is_some_and(|old| Arc::ptr_eq(old, new)) {
                continue;
            }
            let effective = effective(new, &dynamic, settings);
            let known = old.map_or(0, |old| old.partitions.len());
            let (kept, added) = new.partitions.split_at(known.min(new.partitions.len()));
            if let Some(old) = old {
                plan.follow_moves(old, new, kept, &effective, broker);
            }
            if old.is_some_and(|old| !same_settings || old.overrides != new.overrides) {
                let kept = local(new, kept, broker);
                plan.configure.extend(kept.map(|kept| (kept.name, effective.clone())));
            }
            plan.open.extend(local(new, added, broker).map(|added| (added, effective.clone())));
        }
        plan
    }

    /// What changed replicas of a topic's partitions mean here.
    fn follow_moves(
        &mut self,
        old: &TopicImage,
        new: &TopicImage,
        kept: &[PartitionImage],
        settings: &TopicSettings,
        broker: BrokerId,
    ) {
        for (before, after) in old.partitions.iter().zip(kept) {
            let one = std::slice::from_ref(after);
            match (before.is_held_by(broker), after.is_held_by(broker)) {
                (true, false) => {
                    self.delete.extend(local(old, std::slice::from_ref(before), broker));
                }
                (false, true) => {
                    let joined = local(new, one, broker);
                    let joined = joined.map(|it| Local { beginning: Beginning::Join, ..it });
                    self.open.extend(joined.map(|it| (it, settings.clone())));
                }
                (true, true) if before.moving.is_none() && after.moving.is_some() => {
                    let begins = local(new, one, broker);
                    let begins = begins.filter(|it| it.beginning == Beginning::Adopt);
                    self.open.extend(begins.map(|it| (it, settings.clone())));
                }
                (true, true) | (false, false) => {}
            }
        }
    }
}

/// Logs on disk that the image does not place here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Strays {
    /// Their topic was deleted.
    pub(super) deleted: Vec<LogName>,
    /// Nobody knows them.
    pub(super) unknown: Vec<LogName>,
}

impl Strays {
    /// Those among `found`.
    pub(super) fn find(found: Vec<LogName>, image: &Image, broker: BrokerId) -> Self {
        let deleted: HashSet<_> = image.deleted_topics.iter().collect();
        let here = |name: &LogName| {
            let topic = image.topic_by_id(name.topic_id);
            let index = usize::try_from(name.partition.partition.get()).ok();
            let partition = topic.zip(index).and_then(|(topic, at)| topic.partitions.get(at));
            topic.is_some_and(|topic| topic.name == name.partition.topic)
                && partition.is_some_and(|partition| partition.is_held_by(broker))
        };
        let strays = found.into_iter().filter(|name| !here(name));
        let (deleted, unknown) = strays.partition(|name| deleted.contains(&name.topic_id));
        Self { deleted, unknown }
    }
}

/// The topic's settings as they are in force. A value that cannot be read (a newer version may have
/// accepted it) must not keep the data away from clients: the topic then runs with the broker's.
fn effective(topic: &TopicImage, dynamic: &Values, settings: &BrokerSettings) -> TopicSettings {
    TopicSettings::resolve(&topic.overrides, dynamic, settings).unwrap_or_else(|error| {
        tracing::warn!(topic = %topic.name, %error, "a setting is ignored");
        TopicSettings::resolve(&Values::new(), &Values::new(), settings)
            .expect("the broker's own settings resolved at start")
    })
}

fn local<'a>(
    topic: &'a TopicImage,
    partitions: &'a [PartitionImage],
    broker: BrokerId,
) -> impl Iterator<Item = Local> + 'a {
    let here = move |partition: &&PartitionImage| partition.is_held_by(broker);
    partitions.iter().filter(here).map(move |partition| Local {
        name: LogName {
            partition: TopicPartition::new(topic.name.clone(), partition.partition),
            topic_id: topic.id,
        },
        replicas: partition.holders(),
        beginning: beginning(partition, broker),
    })
}

fn beginning(partition: &PartitionImage, broker: BrokerId) -> Beginning {
    match (&partition.moving, partition.replicas.contains(&broker), partition.replicas.len()) {
        (None, _, 1) => Beginning::Alone,
        (Some(_), true, 1) => Beginning::Adopt,
        (_, true, _) => Beginning::Found,
        (_, false, _) => Beginning::Join,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::topic::{TopicId, TopicName};
    use protocol::types::PartitionId;
    use uuid::Uuid;

    use super::*;
    use crate::cluster::image::SettingsScope;
    use crate::cluster::snapshot::partitions;

    const HERE: BrokerId = BrokerId::new(1);

    fn topic(image: &mut Image, name: &str, id: u128, count: usize, overrides: &[(&str, &str)]) {
        let name = TopicName::new(name).unwrap();
        let id = TopicId::new(Uuid::from_u128(id)).unwrap();
        let overrides = overrides
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let partitions = partitions(0, vec![vec![HERE]; count]);
        let topic = TopicImage { name: name.clone(), id, partitions, overrides };
        Arc::make_mut(&mut image.topic_names).insert(id, name.clone());
        Arc::make_mut(&mut image.topics).insert(name, Arc::new(topic));
    }

    fn plan(before: &Image, after: &Image) -> Plan {
        let settings = BrokerSettings::new(Values::new()).unwrap();
        Plan::between(before, after, HERE, &settings)
    }

    fn text(names: impl IntoIterator<Item = LogName>) -> Vec<String> {
        let text = |name: LogName| format!("{}/{}", name.partition, name.topic_id.get().as_u128());
        names.into_iter().map(text).collect()
    }

    fn opened(plan: &Plan) -> Vec<String> {
        text(plan.open.iter().map(|(local, _)| local.name.clone()))
    }

    #[test]
    fn new_topics_and_added_partitions_are_opened() {
        let mut one = Image::default();
        topic(&mut one, "t", 1, 2, &[]);
        let first = plan(&Image::default(), &one);
        assert_eq!(opened(&first), ["t-0/1", "t-1/1"]);
        let mut two = one.clone();
        topic(&mut two, "t", 1, 3, &[]);
        let second = plan(&one, &two);
        assert_eq!(opened(&second), ["t-2/1"]);
        assert!(second.delete.is_empty() && second.configure.is_empty());
    }

    #[test]
    fn a_topic_created_anew_is_deleted_and_opened() {
        let (mut one, mut two) = (Image::default(), Image::default());
        topic(&mut one, "t", 1, 1, &[]);
        topic(&mut two, "t", 2, 1, &[]);
        let plan = plan(&one, &two);
        assert_eq!(opened(&plan), ["t-0/2"]);
        assert_eq!(text(plan.delete.into_iter().map(|local| local.name)), ["t-0/1"]);
    }

    #[test]
    fn changed_settings_reach_partitions_that_are_open() {
        let mut one = Image::default();
        topic(&mut one, "t", 1, 1, &[]);
        let mut two = one.clone();
        topic(&mut two, "t", 1, 1, &[("retention.ms", "1000")]);
        let changed = plan(&one, &two);
        assert_eq!(changed.configure[0].1.log.retention, Some(Duration::from_secs(1)));
        let mut three = one.clone();
        let all = Values::from([("log.retention.ms".to_owned(), "2000".to_owned())]);
        Arc::make_mut(&mut three.broker_settings).insert(SettingsScope::AllBrokers, all);
        let changed = plan(&one, &three);
        assert_eq!(changed.configure[0].1.log.retention, Some(Duration::from_secs(2)));
        assert!(changed.open.is_empty());
    }

    #[test]
    fn partitions_of_other_brokers_stay_away() {
        let mut image = Image::default();
        topic(&mut image, "t", 1, 2, &[]);
        let settings = BrokerSettings::new(Values::new()).unwrap();
        let plan = Plan::between(&Image::default(), &image, BrokerId::new(2), &settings);
        assert!(plan.open.is_empty());
    }

    #[test]
    fn strays_are_deleted_only_if_their_topic_was() {
        let mut image = Image::default();
        topic(&mut image, "t", 1, 1, &[]);
        let name = |topic: &str, partition, id| LogName {
            partition: TopicPartition::new(
                TopicName::new(topic).unwrap(),
                PartitionId::new(partition),
            ),
            topic_id: TopicId::new(Uuid::from_u128(id)).unwrap(),
        };
        image.deleted_topics = Arc::new(vec![TopicId::new(Uuid::from_u128(7)).unwrap()]);
        let found = vec![name("t", 0, 1), name("t", 1, 1), name("gone", 0, 7), name("t", 0, 9)];
        let strays = Strays::find(found, &image, HERE);
        assert_eq!(text(strays.deleted), ["gone-0/7"]);
        assert_eq!(text(strays.unknown), ["t-1/1", "t-0/9"]);
    }
}
