//! Tests of the tables, of the check of values and of the typed views.

use std::time::Duration;

use protocol::batch::Codec;
use storage::config::SyncPolicy;

use super::*;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(
    topic: &[(&str, &str)],
    dynamic: &[(&str, &str)],
    given: &[(&str, &str)],
) -> TopicSettings {
    let given = BrokerSettings::new(values(given)).unwrap();
    TopicSettings::resolve(&values(topic), &values(dynamic), &given).unwrap()
}

fn check(name: &str, value: &str) -> Result<(), SettingError> {
    topic_setting(name).unwrap().check(value)
}

#[test]
fn every_default_keeps_its_own_rule_and_no_name_stands_twice() {
    for table in [BROKER_SETTINGS, TOPIC_SETTINGS] {
        let mut seen = std::collections::BTreeSet::new();
        for setting in table {
            assert!(seen.insert(setting.name), "{} stands twice", setting.name);
            assert!(setting.documentation.ends_with('.'), "{} has no sentence", setting.name);
            if let Some(default) = setting.default {
                setting.check(default).unwrap();
            }
        }
    }
}

#[test]
fn every_synonym_is_a_broker_setting() {
    for setting in TOPIC_SETTINGS {
        for synonym in setting.synonyms {
            let broker = broker_setting(synonym.name).expect(synonym.name);
            assert!(broker.honoured || !setting.honoured, "{}", synonym.name);
        }
    }
}

#[test]
fn kafka_defaults_resolve_to_the_defaults_of_storage() {
    let settings = resolve(&[], &[], &[]);
    assert_eq!(settings.log, storage::config::LogConfig::default());
    assert_eq!(settings.rules.batch_bytes_max, 1_048_588);
    assert_eq!(settings.rules.timestamp_after_max_ms, 3_600_000);
    assert_eq!(settings.rules.codec, None);
    assert_eq!(settings.min_insync_replicas, 1);
}

#[test]
fn the_strongest_layer_decides() {
    let given = [("log.retention.hours", "1")];
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(resolve(&[], &[], &given).log.retention, hour);
    let dynamic = [("log.retention.ms", "5000")];
    assert_eq!(resolve(&[], &dynamic, &given).log.retention, Some(Duration::from_secs(5)));
    let topic = [("retention.ms", "-1")];
    assert_eq!(resolve(&topic, &dynamic, &given).log.retention, None);
}

#[test]
fn milliseconds_go_before_minutes_before_hours() {
    let all = [
        ("log.retention.hours", "3"),
        ("log.retention.minutes", "2"),
        ("log.retention.ms", "1000"),
        ("log.roll.hours", "2"),
    ];
    let settings = resolve(&[], &[], &all);
    assert_eq!(settings.log.retention, Some(Duration::from_secs(1)));
    assert_eq!(settings.log.segment_age_max, Duration::from_secs(7200));
    let settings = resolve(&[], &[], &all[..2]);
    assert_eq!(settings.log.retention, Some(Duration::from_secs(120)));
    assert_eq!(resolve(&[], &[], &[("log.retention.hours", "-1")]).log.retention, None);
}

#[test]
fn values_are_checked_by_type_and_range() {
    for (name, value) in [
        ("segment.bytes", "1048576"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact, delete"),
        ("retention.ms", "-1"),
        ("preallocate", "TRUE"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "0:1,1:1"),
        ("follower.replication.throttled.replicas", "*"),
        ("max.message.bytes", " 10 "),
    ] {
        assert_eq!(check(name, value), Ok(()), "{name}={value}");
    }
    for (name, value) in [
        ("segment.bytes", "1048575"),
        ("segment.bytes", "2147483648"),
        ("segment.bytes", "many"),
        ("cleanup.policy", "compact,forget"),
        ("cleanup.policy", "delete,delete"),
        ("retention.ms", "-2"),
        ("retention.ms", ""),
        ("preallocate", "yes"),
        ("compression.type", "brotli"),
        ("compression.gzip.level", "0"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("message.timestamp.type", "createtime"),
        ("durability", "perhaps"),
        ("leader.replication.throttled.replicas", "0-1"),
    ] {
        assert_eq!(check(name, value).unwrap_err().name, name, "{name}={value}");
    }
}

#[test]
fn durability_decides_how_appends_are_synced() {
    let sync = |topic: &[(&str, &str)]| resolve(topic, &[], &[]).log.sync;
    assert_eq!(sync(&[("flush.messages", "1")]), SyncPolicy::EveryCommit);
    let never = SyncPolicy::Relaxed { flush_records: None, flush_interval: None };
    assert_eq!(sync(&[("durability", "relaxed")]), never);
    let often = SyncPolicy::Relaxed {
        flush_records: Some(10),
        flush_interval: Some(Duration::from_millis(250)),
    };
    let all = [("durability", "relaxed"), ("flush.messages", "10"), ("flush.ms", "250")];
    assert_eq!(sync(&all), often);
    assert_eq!(resolve(&[], &[], &[("log.durability", "relaxed")]).log.sync, never);
}

#[test]
fn codec_and_policies_reach_the_rules() {
    let settings = resolve(
        &[
            ("compression.type", "zstd"),
            ("compression.zstd.level", "-5"),
            ("cleanup.policy", "compact"),
        ],
        &[],
        &[],
    );
    let codec = settings.rules.codec.unwrap();
    assert_eq!((codec.codec, codec.level), (Codec::Zstd, Some(-5)));
    assert!(settings.rules.keys_required);
    assert!(!settings.log.delete_old_segments);
    assert!(!resolve(&[("cleanup.policy", "")], &[], &[]).log.delete_old_segments);
}

#[test]
fn broker_settings_are_checked_at_start_and_unknown_names_are_kept() {
    let wrong = BrokerSettings::new(values(&[("num.partitions", "0")])).unwrap_err();
    assert_eq!(wrong.name, "num.partitions");
    let given = values(&[("some.plugin.key", "1"), ("num.partitions", "7"), ("ssl.protocol", "x")]);
    assert_eq!(without_effect(&given), ["some.plugin.key", "ssl.protocol"]);
    assert_eq!(BrokerSettings::new(given).unwrap().num_partitions, 7);
}

#[test]
fn secrets_are_never_repeated_and_listener_overrides_find_their_row() {
    let row = broker_setting("listener.name.sasl_ssl.plain.sasl.jaas.config").unwrap();
    assert_eq!((row.name, row.is_sensitive()), ("sasl.jaas.config", true));
    assert!(broker_setting("listener.name.x.nothing").is_none());
}
