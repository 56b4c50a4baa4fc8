//! Settings as DescribeConfigs shows them: the value in force, and every layer that has one
//! (behaviour 56).

use super::lookup::{Layers, Values};
use super::row::Setting;
use super::table::{
    BROKER_SETTINGS, CLIENT_METRICS_SETTINGS, GROUP_SETTINGS, TOPIC_SETTINGS, broker_setting,
};

/// Where a value comes from, with Kafka's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The topic's own override.
    Topic = 1,
    /// Changed at run time for this broker.
    DynamicBroker = 2,
    /// Changed at run time for all brokers.
    DynamicDefault = 3,
    /// Given at start.
    Static = 4,
    /// The table.
    Default = 5,
    /// The level of a logger.
    Logger = 6,
    /// A subscription's own value.
    ClientMetrics = 7,
    /// A group's own value.
    Group = 8,
}

impl Source {
    /// The number for the wire.
    pub(crate) const fn number(self) -> i8 {
        self as i8
    }
}

/// One layer's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The setting that has it: the topic's, or a broker setting that is its synonym.
    pub(crate) name: &'static str,
    /// The value; `None` if it must not be shown, or is null.
    pub(crate) value: Option<String>,
    /// The layer.
    pub(crate) source: Source,
}

/// One setting with its value.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// Its row.
    pub(crate) setting: &'static Setting,
    /// The value in force; `None` if it must not be shown, or is null.
    pub(crate) value: Option<String>,
    /// Every layer that has a value, strongest first.
    pub(crate) origins: Vec<Origin>,
}

impl Described {
    /// The layer that decides.
    pub(crate) fn source(&self) -> Source {
        self.origins.first().map_or(Source::Default, |origin| origin.source)
    }
}

/// A broker's layers, strongest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrokerLayers<'a> {
    /// Changed for this broker.
    pub(crate) own: &'a Values,
    /// Changed for all brokers.
    pub(crate) all: &'a Values,
    /// Given at start.
    pub(crate) given: &'a Values,
}

impl<'a> BrokerLayers<'a> {
    const fn named(&self) -> [(Source, &'a Values); 3] {
        [
            (Source::DynamicBroker, self.own),
            (Source::DynamicDefault, self.all),
            (Source::Static, self.given),
        ]
    }

    /// All settings of a topic with `overrides`.
    pub(crate) fn topic(&self, overrides: &Values) -> Vec<Described> {
        let one = |setting| self.inheriting(setting, overrides, Source::Topic);
        TOPIC_SETTINGS.iter().map(one).collect()
    }

    /// All settings of a group with `values` of its own. As in Kafka, one that no broker setting is
    /// the default of names its own.
    pub(crate) fn group(&self, values: &Values) -> Vec<Described> {
        let one = |setting| {
            let mut described = self.inheriting(setting, values, Source::Group);
            if setting.synonyms.is_empty() {
                let value = setting.default.map(str::to_owned);
                let origin = Origin { name: setting.name, value, source: Source::Default };
                described.origins.push(origin);
            }
            described
        };
        GROUP_SETTINGS.iter().map(one).collect()
    }

    /// All settings of a subscription to metrics of clients with `values` of its own.
    pub(crate) fn client_metrics(&self, values: &Values) -> Vec<Described> {
        let one = |setting| self.inheriting(setting, values, Source::ClientMetrics);
        CLIENT_METRICS_SETTINGS.iter().map(one).collect()
    }

    /// A setting of something that has `overrides` of its own, and the broker's as its defaults.
    fn inheriting(
        &self,
        setting: &'static Setting,
        overrides: &Values,
        source: Source,
    ) -> Described {
        let own = overrides.get(setting.name).map(|value| Origin {
            name: setting.name,
            value: Some(value.clone()),
            source,
        });
        let layers = Layers { topic: Some(overrides), broker: &[self.own, self.all, self.given] };
        let value = layers.text(setting).map(|(text, factor)| match text.parse::<i64>() {
            Ok(number) if factor != 1 && number >= 0 => number.saturating_mul(factor).to_string(),
            Ok(_) | Err(_) => text.to_owned(),
        });
        let names: Vec<_> = setting.synonyms.iter().map(|synonym| synonym.name).collect();
        let origins = own.into_iter().chain(self.origins(&names)).collect();
        Described { setting, value, origins }
    }

    /// All settings of this broker: those of the table that Kafka documents, and what was set.
    pub(crate) fn broker(&self) -> Vec<Described> {
        let is_set = |name| self.named().iter().any(|(_, values)| values.contains_key(name));
        let shown = |setting: &&Setting| !setting.internal || is_set(setting.name);
        BROKER_SETTINGS.iter().filter(shown).map(|setting| self.broker_setting(setting)).collect()
    }

    /// What was changed for all brokers.
    pub(crate) fn all_brokers(&self) -> Vec<Described> {
        let rows = self.all.keys().filter_map(|name| broker_setting(name));
        let described = rows.map(|setting| {
            let mut described = self.broker_setting(setting);
            described.origins.retain(|origin| origin.source == Source::DynamicDefault);
            described.value = described.origins.first().and_then(|origin| origin.value.clone());
            described
        });
        described.collect()
    }

    fn broker_setting(&self, setting: &'static Setting) -> Described {
        let layers = Layers { topic: None, broker: &[self.own, self.all, self.given] };
        let value = layers.text(setting).map(|(text, _)| text.to_owned());
        let value = value.filter(|_| !setting.is_sensitive());
        Described { setting, value, origins: self.origins(&[setting.name]) }
    }

    /// Layer by layer, and in each the names in their order.
    fn origins(&self, names: &[&'static str]) -> Vec<Origin> {
        let mut origins = Vec::new();
        for (source, values) in self.named() {
            for name in names {
                if let Some(value) = values.get(*name) {
                    let shown = broker_setting(name).is_none_or(|setting| !setting.is_sensitive());
                    let value = Some(value.clone()).filter(|_| shown);
                    origins.push(Origin { name, value, source });
                }
            }
        }
        for name in names {
            if let Some(default) = broker_setting(name).and_then(|setting| setting.default) {
                let (value, source) = (Some(default.to_owned()), Source::Default);
                origins.push(Origin { name, value, source });
            }
        }
        origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn find(described: &[Described], name: &str) -> Described {
        described.iter().find(|described| described.setting.name == name).unwrap().clone()
    }

    fn origins(described: &Described) -> Vec<(&str, Option<&str>, Source)> {
        let parts = |origin: &Origin| (origin.name, origin.source);
        let values = described.origins.iter().map(|origin| origin.value.as_deref());
        described.origins.iter().map(parts).zip(values).map(|((n, s), v)| (n, v, s)).collect()
    }

    #[test]
    fn a_topic_setting_lists_its_layers_in_their_order() {
        let (own, all) =
            (values(&[("log.retention.ms", "2")]), values(&[("log.retention.ms", "3")]));
        let given = values(&[("log.retention.hours", "4")]);
        let layers = BrokerLayers { own: &own, all: &all, given: &given };
        let retention = find(&layers.topic(&values(&[("retention.ms", "1")])), "retention.ms");
        assert_eq!((retention.value.as_deref(), retention.source()), (Some("1"), Source::Topic));
        assert_eq!(
            origins(&retention),
            [
                ("retention.ms", Some("1"), Source::Topic),
                ("log.retention.ms", Some("2"), Source::DynamicBroker),
                ("log.retention.ms", Some("3"), Source::DynamicDefault),
                ("log.retention.hours", Some("4"), Source::Static),
                ("log.retention.hours", Some("168"), Source::Default),
            ]
        );
    }

    #[test]
    fn a_value_in_hours_is_shown_in_the_topics_unit() {
        let (none, given) = (Values::new(), values(&[("log.retention.hours", "1")]));
        let layers = BrokerLayers { own: &none, all: &none, given: &given };
        let retention = find(&layers.topic(&none), "retention.ms");
        assert_eq!(
            (retention.value.as_deref(), retention.source()),
            (Some("3600000"), Source::Static)
        );
    }

    #[test]
    fn secrets_are_hidden_and_internal_settings_appear_only_if_given() {
        let given = values(&[("ssl.key.password", "secret"), ("log.initial.task.delay.ms", "1")]);
        let none = Values::new();
        let layers = BrokerLayers { own: &none, all: &none, given: &given };
        let all = layers.broker();
        let password = find(&all, "ssl.key.password");
        assert_eq!((password.value.clone(), password.source()), (None, Source::Static));
        assert!(password.origins.iter().all(|origin| origin.value.is_none()));
        find(&all, "log.initial.task.delay.ms");
        let bare = BrokerLayers { own: &none, all: &none, given: &none }.broker();
        assert!(bare.iter().all(|described| !described.setting.internal));
    }

    #[test]
    fn the_default_resource_holds_only_what_was_changed_for_all() {
        let (own, all) =
            (values(&[("log.retention.ms", "2")]), values(&[("log.retention.ms", "3")]));
        let none = Values::new();
        let described = BrokerLayers { own: &own, all: &all, given: &none }.all_brokers();
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].value.as_deref(), Some("3"));
        assert_eq!(described[0].source(), Source::DynamicDefault);
    }
}
