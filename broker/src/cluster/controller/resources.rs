//! Changes of the settings of groups and of subscriptions to metrics of clients. Pure.

use super::ChangeError;
use super::alter::{SettingChange, next as next_values};
use crate::cluster::image::{Image, SettingsResource};
use crate::settings::{
    BrokerSettings, Setting, Values, client_metrics_setting, group_overrides, group_setting,
};

/// Groups that may have settings of their own.
const GROUPS_MAX: usize = 100_000;
/// Subscriptions to metrics of clients: each client is matched with all of them.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// A name has at most so many bytes, as many as a topic's.
const NAME_BYTES_MAX: usize = 249;

/// What a group's values must keep to.
pub(super) struct Bounds<'a> {
    /// The broker's settings that were changed at run time.
    pub(super) dynamic: Values,
    /// Those given at start.
    pub(super) given: &'a BrokerSettings,
}

/// The next values of `resource`.
///
/// # Errors
/// [`ChangeError`] names the first illegal change.
pub(super) fn next(
    resource: &SettingsResource,
    before: &Values,
    change: &SettingChange,
    broker: &Bounds<'_>,
) -> Result<Values, ChangeError> {
    match resource {
        SettingsResource::Group(_) => {
            let find = |name: &str| {
                let unknown = || format!("Unknown group config name: {name}");
                group_setting(name).ok_or_else(|| ChangeError::GroupSetting(unknown()))
            };
            let after = checked(next_values(before, change, find)?, find)?;
            group_overrides::check(&after, &broker.dynamic, broker.given)
                .map_err(ChangeError::GroupSetting)?;
            Ok(after)
        }
        SettingsResource::ClientMetrics(_) => {
            let find = |name: &str| {
                let unknown = || format!("Unknown client metrics configuration: {name}");
                client_metrics_setting(name).ok_or_else(|| ChangeError::BrokerSetting(unknown()))
            };
            checked(next_values(before, change, find)?, find).map_err(out_of_range)
        }
    }
}

fn checked(
    after: Values,
    find: impl Fn(&str) -> Result<&'static Setting, ChangeError>,
) -> Result<Values, ChangeError> {
    for (name, value) in &after {
        find(name)?.check(value)?;
    }
    Ok(after)
}

/// Kafka has another code for an interval that is out of range than for one that is no number.
fn out_of_range(error: ChangeError) -> ChangeError {
    match error {
        ChangeError::Setting(setting) if setting.value.trim().parse::<i32>().is_ok() => {
            ChangeError::BrokerSetting(ChangeError::Setting(setting).to_string())
        }
        other => other,
    }
}

/// Whether `resource` may have settings beside those that have some.
///
/// # Errors
/// [`ChangeError::TooManyResources`], or [`ChangeError::BrokerSetting`] for a name that is too long.
pub(super) fn check_room(
    image: &Image,
    resource: &SettingsResource,
    after: &Values,
) -> Result<(), ChangeError> {
    if after.is_empty() || image.resource_settings.contains_key(resource) {
        return Ok(());
    }
    let is_alike = |other: &&SettingsResource| {
        std::mem::discriminant(*other) == std::mem::discriminant(resource)
    };
    let count = || image.resource_settings.keys().filter(is_alike).count();
    let (what, most, name) = match resource {
        // A group's name is the client's to choose, as long as the wire carries it.
        SettingsResource::Group(_) => ("groups", GROUPS_MAX, None),
        SettingsResource::ClientMetrics(name) => ("subscriptions", SUBSCRIPTIONS_MAX, Some(name)),
    };
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        let why = format!("a subscription's name has at most {NAME_BYTES_MAX} bytes");
        return Err(ChangeError::BrokerSetting(why));
    }
    // Counting takes a look at each, which only the first setting of a resource pays for.
    if image.resource_settings.len() >= most && count() >= most {
        return Err(ChangeError::TooManyResources { count: count(), what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::error_code::ErrorCode;

    use super::super::SettingOperation::{Append, Set};
    use super::*;
    use crate::error_map;

    fn change(resource: &SettingsResource, name: &str, value: &str) -> Result<Values, ErrorCode> {
        let given = BrokerSettings::new(Values::new()).unwrap();
        let broker = Bounds { dynamic: Values::new(), given: &given };
        let change = SettingChange::Each(vec![(name.to_owned(), Set(value.to_owned()))]);
        next(resource, &Values::new(), &change, &broker).map_err(|error| error_map::change(&error))
    }

    #[test]
    fn illegal_values_have_kafkas_codes() {
        let group = SettingsResource::Group("g".to_owned());
        for (name, value) in [
            ("consumer.session.timeout.ms", "1000"),
            ("consumer.session.timeout.ms", "x"),
            ("no.such", "1"),
            ("share.auto.offset.reset", "never"),
        ] {
            assert_eq!(change(&group, name, value), Err(ErrorCode::InvalidConfig), "{name}");
        }
        change(&group, "share.auto.offset.reset", "by_duration:PT1H").unwrap();
        let subscription = SettingsResource::ClientMetrics("m".to_owned());
        for (name, value, code) in [
            ("interval.ms", "99", ErrorCode::InvalidRequest),
            ("interval.ms", "3600001", ErrorCode::InvalidRequest),
            ("interval.ms", "x", ErrorCode::InvalidConfig),
            ("no.such", "1", ErrorCode::InvalidRequest),
            ("match", "client_id", ErrorCode::InvalidConfig),
            ("match", "client_id=[", ErrorCode::InvalidConfig),
        ] {
            assert_eq!(change(&subscription, name, value), Err(code), "{name}={value}");
        }
        for (name, value) in
            [("metrics", ""), ("metrics", "*"), ("match", ""), ("interval.ms", "100")]
        {
            change(&subscription, name, value).unwrap();
        }
    }

    #[test]
    fn lists_of_a_subscription_grow() {
        let given = BrokerSettings::new(Values::new()).unwrap();
        let broker = Bounds { dynamic: Values::new(), given: &given };
        let append = Append("b,c".to_owned());
        let change = SettingChange::Each(vec![("metrics".to_owned(), append)]);
        let before = Values::from([("metrics".to_owned(), "a,b".to_owned())]);
        let resource = SettingsResource::ClientMetrics("m".to_owned());
        assert_eq!(next(&resource, &before, &change, &broker).unwrap()["metrics"], "a,b,c");
    }

    #[test]
    fn there_is_a_limit_to_subscriptions() {
        let mut image = Image::default();
        let values = Values::from([("metrics".to_owned(), "*".to_owned())]);
        let subscription = |number: usize| SettingsResource::ClientMetrics(number.to_string());
        let all = Arc::make_mut(&mut image.resource_settings);
        all.extend((0..SUBSCRIPTIONS_MAX).map(|number| (subscription(number), values.clone())));
        check_room(&image, &subscription(7), &values).unwrap();
        check_room(&image, &SettingsResource::Group("g".to_owned()), &values).unwrap();
        check_room(&image, &subscription(SUBSCRIPTIONS_MAX), &Values::new()).unwrap();
        check_room(&image, &subscription(SUBSCRIPTIONS_MAX), &values).unwrap_err();
        let long = SettingsResource::ClientMetrics("x".repeat(NAME_BYTES_MAX + 1));
        check_room(&Image::default(), &long, &values).unwrap_err();
    }
}
