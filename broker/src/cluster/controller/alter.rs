//! Changes of settings: from the present values and what a request asks to the next values. Pure.

use super::ChangeError;
use crate::cluster::image::SettingsScope;
use crate::settings::{
    BrokerSettings, Kind, Setting, TopicSettings, Update, Values, broker_setting, items,
    topic_setting,
};

/// Settings of Kafka that older tools still send with new topics; they mean nothing any more and are
/// dropped (KIP-724).
const REMOVED: [&str; 2] = ["message.format.version", "message.downconversion.enable"];

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) enum SettingChange {
    /// These and no others (AlterConfigs).
    Replace(Values),
    /// One by one (IncrementalAlterConfigs, KIP-339).
    Each(Vec<(String, SettingOperation)>),
}

/// One operation of KIP-339.
#[derive(Debug, Clone)]
pub(crate) enum SettingOperation {
    /// Gets this value.
    Set(String),
    /// Goes back to what it is by default.
    Delete,
    /// These items join the list, where they are not in it.
    Append(String),
    /// These items leave the list.
    Subtract(String),
}

/// The next overrides of a topic.
///
/// # Errors
/// [`ChangeError`] names the first illegal change.
pub(super) fn topic(before: &Values, change: &SettingChange) -> Result<Values, ChangeError> {
    let find = |name: &str| {
        topic_setting(name).ok_or_else(|| ChangeError::UnknownSetting(name.to_owned()))
    };
    let after = next(before, change, find)?;
    check_topic(&after)?;
    Ok(after)
}

/// The next changed settings of one or all brokers.
///
/// # Errors
/// [`ChangeError`] names the first illegal change.
pub(super) fn broker(
    scope: SettingsScope,
    before: &Values,
    change: &SettingChange,
    given: &BrokerSettings,
) -> Result<Values, ChangeError> {
    let refuse = |error: ChangeError| ChangeError::BrokerSetting(error.to_string());
    let after = next(before, change, |name| changeable(scope, name)).map_err(refuse)?;
    for (name, value) in &after {
        changeable(scope, name)?.check(value).map_err(|error| refuse(error.into()))?;
    }
    TopicSettings::resolve(&Values::new(), &after, given).map_err(|error| refuse(error.into()))?;
    Ok(after)
}

/// The row of a broker setting that may be changed at run time for `scope`.
fn changeable(scope: SettingsScope, name: &str) -> Result<&'static Setting, ChangeError> {
    let fixed = |why| ChangeError::BrokerSetting(format!("{name} {why}"));
    let setting = broker_setting(name).ok_or_else(|| fixed("is not a broker setting"))?;
    match (setting.update, scope) {
        (Update::ReadOnly, _) => Err(fixed("cannot be changed while the broker runs")),
        (Update::PerBroker, SettingsScope::AllBrokers) => {
            Err(fixed("can be changed for one broker at a time only"))
        }
        (Update::PerBroker, SettingsScope::Broker(_)) | (Update::ClusterWide, _) => Ok(setting),
    }
}

pub(super) fn next(
    before: &Values,
    change: &SettingChange,
    find: impl Fn(&str) -> Result<&'static Setting, ChangeError>,
) -> Result<Values, ChangeError> {
    let mut after = before.clone();
    match change {
        SettingChange::Replace(values) => after.clone_from(values),
        SettingChange::Each(operations) => {
            for (name, operation) in operations {
                match operation {
                    SettingOperation::Set(value) => {
                        after.insert(name.clone(), value.clone());
                    }
                    SettingOperation::Delete => {
                        after.remove(name);
                    }
                    SettingOperation::Append(value) => {
                        let mut list = list(find(name)?, &after)?;
                        let new = items(value).into_iter().map(str::to_owned);
                        for item in new {
                            if !list.contains(&item) {
                                list.push(item);
                            }
                        }
                        after.insert(name.clone(), list.join(","));
                    }
                    SettingOperation::Subtract(value) => {
                        let mut list = list(find(name)?, &after)?;
                        let gone = items(value);
                        list.retain(|item| !gone.contains(&item.as_str()));
                        after.insert(name.clone(), list.join(","));
                    }
                }
            }
        }
    }
    after.retain(|name, _| !REMOVED.contains(&name.as_str()));
    Ok(after)
}

/// The present items of a list setting: its own, else those of its default.
fn list(setting: &Setting, values: &Values) -> Result<Vec<String>, ChangeError> {
    if setting.kind != Kind::List {
        let why = "is not a list: nothing can be appended to it or subtracted from it";
        return Err(ChangeError::FixedSetting { name: setting.name.to_owned(), why });
    }
    let text = values.get(setting.name).map(String::as_str).or(setting.default).unwrap_or_default();
    Ok(items(text).into_iter().map(str::to_owned).collect())
}

/// Checks a topic's overrides, each for itself and against each other.
///
/// # Errors
/// [`ChangeError`] names the first illegal one.
fn check_topic(overrides: &Values) -> Result<(), ChangeError> {
    for (name, value) in overrides {
        let unknown = || ChangeError::UnknownSetting(name.clone());
        topic_setting(name).ok_or_else(unknown)?.check(value)?;
        if name == "remote.storage.enable" && value.trim().eq_ignore_ascii_case("true") {
            let why = "cannot be true: there is no remote tier here";
            return Err(ChangeError::FixedSetting { name: name.clone(), why });
        }
    }
    let lag = |name: &str| overrides.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    let (min, max) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        let why = "must not be above max.compaction.lag.ms";
        return Err(ChangeError::FixedSetting { name: "min.compaction.lag.ms".to_owned(), why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;

    use super::SettingOperation::{Append, Delete, Set, Subtract};
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn each(operations: &[(&str, SettingOperation)]) -> SettingChange {
        let owned = operations.iter().map(|(name, op)| ((*name).to_owned(), op.clone()));
        SettingChange::Each(owned.collect())
    }

    fn check(before: &[(&str, &str)], change: &[(&str, SettingOperation)], after: &[(&str, &str)]) {
        assert_eq!(topic(&values(before), &each(change)).unwrap(), values(after));
    }

    #[test]
    fn operations_change_single_settings() {
        check(
            &[("retention.ms", "5")],
            &[("flush.ms", Set("1".into()))],
            &[("retention.ms", "5"), ("flush.ms", "1")],
        );
        check(&[("retention.ms", "5")], &[("retention.ms", Delete)], &[]);
        // The default of a list counts as its content; appending twice changes nothing.
        let compact = || Append("compact".into());
        check(
            &[],
            &[("cleanup.policy", compact()), ("cleanup.policy", compact())],
            &[("cleanup.policy", "delete,compact")],
        );
        let gone = || Subtract("delete".into());
        check(&[], &[("cleanup.policy", gone())], &[("cleanup.policy", "")]);
    }

    #[test]
    fn replacing_drops_what_is_not_named_and_what_kafka_removed() {
        let wanted = values(&[("flush.ms", "1"), ("message.format.version", "3.0")]);
        let after = topic(&values(&[("retention.ms", "5")]), &SettingChange::Replace(wanted));
        assert_eq!(after.unwrap(), values(&[("flush.ms", "1")]));
    }

    #[test]
    fn illegal_changes_are_named() {
        for (name, operation) in [
            ("no.such.setting", Set("1".into())),
            ("retention.ms", Set("soon".into())),
            ("retention.ms", Append("1".into())),
            ("cleanup.policy", Append("forget".into())),
            ("remote.storage.enable", Set("true".into())),
        ] {
            let error = topic(&Values::new(), &each(&[(name, operation)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        let lags = [
            ("min.compaction.lag.ms", Set("9".into())),
            ("max.compaction.lag.ms", Set("8".into())),
        ];
        topic(&Values::new(), &each(&lags)).unwrap_err();
    }

    #[test]
    fn broker_settings_change_where_kafka_allows_it() {
        let given = BrokerSettings::new(Values::new()).unwrap();
        let change = |scope, name: &str, value: &str| {
            broker(scope, &Values::new(), &each(&[(name, Set(value.into()))]), &given)
        };
        let one = SettingsScope::Broker(BrokerId::new(1));
        let all = SettingsScope::AllBrokers;
        assert!(change(all, "log.retention.ms", "1").is_ok());
        assert!(change(one, "log.retention.ms", "1").is_ok());
        assert!(change(one, "ssl.keystore.location", "x").is_ok());
        assert!(change(all, "ssl.keystore.location", "x").is_err());
        assert!(change(all, "num.partitions", "3").is_err());
        assert!(change(all, "log.segment.bytes", "3").is_err());
        assert!(change(all, "never.heard.of", "3").is_err());
    }
}
