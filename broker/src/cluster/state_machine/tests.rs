//! Random histories against a snapshot, and the rules of single commands.

use protocol::topic::TopicName;
use protocol::types::BrokerId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::super::image::{BrokerImage, Endpoint, SettingsScope};
use super::*;
use crate::settings::Values;

const SEEDS: std::ops::Range<u64> = 0..40;
const COMMANDS: u64 = 120;

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn id(number: u128) -> TopicId {
    TopicId::new(Uuid::from_u128(number)).unwrap()
}

fn new_topic(text: &str, number: u128, partitions: usize) -> NewTopic {
    let partitions = vec![vec![BrokerId::new(1)]; partitions];
    NewTopic { name: name(text), id: id(number), partitions, overrides: Values::new() }
}

fn run(metadata: &mut Metadata, index: u64, command: &Command) -> Effect {
    metadata.apply(LogIndex::new(index), &command.encode()).effect
}

/// A command of any kind over few enough names that many of them are refused.
fn random(rng: &mut StdRng) -> Command {
    let topic = id(rng.random_range(1..12));
    let values = |rng: &mut StdRng| {
        let some = rng.random_range(0..3);
        Values::from_iter(
            (0..some).map(|n| (format!("key{n}"), rng.random_range(0..3).to_string())),
        )
    };
    match rng.random_range(0..8) {
        0 => {
            let endpoint =
                Endpoint { listener: "L".into(), host: "h".into(), port: rng.random_range(1..9) };
            let image = BrokerImage { endpoints: vec![endpoint], rack: None, node: None };
            Command::RegisterBroker { broker: BrokerId::new(rng.random_range(0..3)), image }
        }
        1 => Command::SetFeature { name: "f".into(), level: rng.random_range(0..3) },
        2 | 3 => Command::CreateTopics(
            (0..rng.random_range(1..4))
                .map(|_| {
                    let text = ["a", "b.c", "b_c", "d"][rng.random_range(0..4)];
                    new_topic(text, rng.random_range(1..12), rng.random_range(1..4))
                })
                .collect(),
        ),
        4 => Command::DeleteTopics(vec![topic]),
        5 => Command::CreatePartitions(vec![NewPartitions {
            topic,
            before: rng.random_range(1..4),
            added: vec![vec![BrokerId::new(1)]],
        }]),
        6 => {
            let (before, after) = (values(rng), values(rng));
            if rng.random() {
                Command::SetTopicSettings { topic, before, after }
            } else {
                let scope = SettingsScope::AllBrokers;
                Command::SetBrokerSettings { scope, before, after }
            }
        }
        _ => Command::TakeProducerIds { count: rng.random_range(1..1000) },
    }
}

fn check_invariants(image: &Image) {
    assert_eq!(image.topics.len(), image.topic_names.len());
    for (name, topic) in image.topics.iter() {
        assert_eq!((name, image.topic_names.get(&topic.id)), (&topic.name, Some(name)));
        assert_eq!(image.colliding(name), None);
        for (at, partition) in (0..).zip(&topic.partitions) {
            assert_eq!(partition.partition.get(), at);
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a failing seed must be known")]
fn a_restored_snapshot_continues_as_the_original() {
    for seed in SEEDS {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut original = Metadata::new();
        let mut restored = Metadata::new();
        let restore_at = rng.random_range(0..COMMANDS);
        for index in 0..COMMANDS {
            if index == restore_at {
                restored.restore(&snapshot::encode(&original.image)).unwrap();
                assert_eq!(restored.image, original.image);
            }
            let command = random(&mut rng);
            let effect = run(&mut original, index, &command);
            if index >= restore_at {
                assert_eq!(run(&mut restored, index, &command), effect);
            }
            check_invariants(&original.image);
        }
        assert_eq!(restored.image, original.image);
    }
}

#[test]
fn a_topic_is_created_once_and_colliding_names_are_refused() {
    let mut metadata = Metadata::new();
    let topics = vec![new_topic("a.b", 1, 1), new_topic("a_b", 2, 1), new_topic("a.b", 3, 1)];
    let effect = run(&mut metadata, 0, &Command::CreateTopics(topics));
    let expected = [Ok(()), Err(Refusal::NameCollides), Err(Refusal::TopicExists)];
    assert_eq!(effect, Effect::Each(expected.to_vec()));
}

#[test]
fn a_change_based_on_an_older_state_is_refused() {
    let mut metadata = Metadata::new();
    run(&mut metadata, 0, &Command::CreateTopics(vec![new_topic("t", 1, 2)]));
    let grow = |before| {
        let added = vec![vec![BrokerId::new(1)]];
        Command::CreatePartitions(vec![NewPartitions { topic: id(1), before, added }])
    };
    assert_eq!(run(&mut metadata, 1, &grow(1)), Effect::Each(vec![Err(Refusal::Changed)]));
    assert_eq!(run(&mut metadata, 2, &grow(2)), Effect::Each(vec![Ok(())]));
    assert_eq!(metadata.image.topics["t"].partitions.len(), 3);

    let one = Values::from([("retention.ms".to_owned(), "1".to_owned())]);
    let set = |before: &Values, after: &Values| Command::SetTopicSettings {
        topic: id(1),
        before: before.clone(),
        after: after.clone(),
    };
    assert_eq!(run(&mut metadata, 3, &set(&Values::new(), &one)), Effect::Done);
    let late = run(&mut metadata, 4, &set(&Values::new(), &one));
    assert_eq!(late, Effect::Refused(Refusal::Changed));
}

#[test]
fn producer_ids_are_never_given_twice_and_never_wrap() {
    let mut metadata = Metadata::new();
    let take = |count| Command::TakeProducerIds { count };
    assert_eq!(run(&mut metadata, 0, &take(1000)), Effect::ProducerIds { first: 0 });
    assert_eq!(run(&mut metadata, 1, &take(1)), Effect::ProducerIds { first: 1000 });
    for count in [i64::MAX, 0, -1] {
        let effect = run(&mut metadata, 2, &take(count));
        assert_eq!(effect, Effect::Refused(Refusal::Exhausted));
    }
    assert_eq!(metadata.image.next_producer_id, 1001);
}

#[test]
fn deleted_topics_are_remembered_up_to_a_limit() {
    let mut metadata = Metadata::new();
    for number in 1..=u128::try_from(DELETED_TOPICS_MAX).unwrap() + 1 {
        create_topic(&mut metadata.image, new_topic("t", number, 1)).unwrap();
        delete_topic(&mut metadata.image, id(number)).unwrap();
    }
    let deleted = &metadata.image.deleted_topics;
    assert!(deleted.len() <= DELETED_TOPICS_MAX);
    assert_eq!(deleted.last(), Some(&id(u128::try_from(DELETED_TOPICS_MAX).unwrap() + 1)));
}

#[test]
fn an_unreadable_command_halts_the_state_for_good() {
    let mut metadata = Metadata::new();
    run(&mut metadata, 0, &Command::TakeProducerIds { count: 5 });
    let halted = metadata.apply(LogIndex::new(1), &[200, 0]);
    assert_eq!(halted.effect, Effect::Unreadable);
    let later = run(&mut metadata, 2, &Command::TakeProducerIds { count: 5 });
    assert_eq!(later, Effect::Unreadable);
    assert_eq!(metadata.image.next_producer_id, 5);
    assert!(matches!(metadata.subscribe(), Err(DecodeError::Newer { .. })));
}

#[test]
fn every_image_is_published_after_subscribing() {
    let mut metadata = Metadata::new();
    run(&mut metadata, 0, &Command::TakeProducerIds { count: 5 });
    let images = metadata.subscribe().unwrap();
    assert_eq!(images.borrow().next_producer_id, 5);
    run(&mut metadata, 7, &Command::TakeProducerIds { count: 5 });
    assert_eq!((images.borrow().index, images.borrow().next_producer_id), (LogIndex::new(7), 10));
}
