//! The tables of all settings. One place feeds the configuration parser, DescribeConfigs, the checks
//! of AlterConfigs and the documentation.

mod client_metrics;
mod cluster;
mod group;
mod groups;
mod log;
mod security;
mod server;
pub(super) mod topic;

use super::row::Setting;

const PARTS: &[&[Setting]] =
    &[cluster::CLUSTER, groups::GROUPS, log::LOG, security::SECURITY, server::SERVER];

const fn count(parts: &[&[Setting]]) -> usize {
    let (mut sum, mut part) = (0, 0);
    while part < parts.len() {
        sum += parts[part].len();
        part += 1;
    }
    sum
}

const fn join<const N: usize>(parts: &[&[Setting]]) -> [Setting; N] {
    let mut all = [parts[0][0]; N];
    let (mut to, mut part) = (0, 0);
    while part < parts.len() {
        let mut from = 0;
        while from < parts[part].len() {
            all[to] = parts[part][from];
            to += 1;
            from += 1;
        }
        part += 1;
    }
    all
}

static JOINED: [Setting; count(PARTS)] = join(PARTS);

/// All settings of a broker.
pub(crate) static BROKER_SETTINGS: &[Setting] = &JOINED;
/// All settings of a topic.
pub(crate) static TOPIC_SETTINGS: &[Setting] = topic::TOPIC;

/// All settings of a group.
pub(crate) static GROUP_SETTINGS: &[Setting] = group::GROUP;
/// All settings of a subscription to metrics of clients.
pub(crate) static CLIENT_METRICS_SETTINGS: &[Setting] = client_metrics::CLIENT_METRICS;

/// The row of a group's setting.
pub(crate) fn group_setting(name: &str) -> Option<&'static Setting> {
    GROUP_SETTINGS.iter().find(|setting| setting.name == name)
}

/// The row of a setting of a subscription to metrics of clients.
pub(crate) fn client_metrics_setting(name: &str) -> Option<&'static Setting> {
    CLIENT_METRICS_SETTINGS.iter().find(|setting| setting.name == name)
}

/// The row of a topic setting.
pub(crate) fn topic_setting(name: &str) -> Option<&'static Setting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

/// The row of a broker setting; `listener.name.NAME.KEY` and `listener.name.NAME.MECHANISM.KEY` find
/// that of `KEY`, which they override for one listener.
pub(crate) fn broker_setting(name: &str) -> Option<&'static Setting> {
    let exact = |name: &str| BROKER_SETTINGS.iter().find(|setting| setting.name == name);
    exact(name).or_else(|| {
        let (_, mut key) = name.strip_prefix("listener.name.")?.split_once('.')?;
        loop {
            match exact(key) {
                Some(setting) => return Some(setting),
                None => key = key.split_once('.')?.1,
            }
        }
    })
}

/// A row that this program itself names.
pub(super) fn known_broker(name: &str) -> &'static Setting {
    BROKER_SETTINGS.iter().find(|setting| setting.name == name).expect("the table has this row")
}

/// A row that this program itself names.
pub(super) fn known_group(name: &str) -> &'static Setting {
    group_setting(name).expect("the table has this row")
}

/// A row that this program itself names.
pub(super) fn known_topic(name: &str) -> &'static Setting {
    topic_setting(name).expect("the table has this row")
}
