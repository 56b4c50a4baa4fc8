//! The newest value of each metric that clients pushed, as Prometheus reads them.
//!
//! A name becomes `kafka_client_` and the name without its first words `org.apache.kafka.`, so that no
//! client can speak in the name of the broker. How much is kept has limits, also for each client;
//! what is beyond them is dropped and counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use uuid::Uuid;

use super::otlp::{Attribute, Kind, Point, Value};

/// Series of all clients together.
pub(super) const SERIES_MAX: usize = 10_000;
/// Series of one client.
pub(super) const SERIES_PER_CLIENT_MAX: usize = 1_000;
/// Labels of one series.
const LABELS_MAX: usize = 16;
/// Characters of a name, of a label's name, and of a label's value.
const CHARS_MAX: usize = 200;
/// What names of Kafka's own clients begin with.
const KAFKA: &str = "org.apache.kafka.";
const PREFIX: &str = "kafka_client_";
/// Labels that the broker itself sets.
const RESERVED: [&str; 2] = ["client_instance_id", "client_id"];

/// Name and labels.
type Key = (String, String);

/// The series of all clients.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    by_client: HashMap<Uuid, BTreeMap<Key, (Kind, f64)>>,
    count: usize,
    dropped: u64,
}

impl AllSeries {
    /// Takes a value. `client` are the labels that the broker knows by itself.
    pub(super) fn take(&mut self, instance: Uuid, client: &str, point: &Point<'_>) {
        let key = (name(point.name), labels(client, &point.attributes));
        let of_client = self.by_client.entry(instance).or_default();
        if let Some((_, value)) = of_client.get_mut(&key) {
            *value = if point.kind == Kind::Delta { *value + point.value } else { point.value };
            return;
        }
        if self.count >= SERIES_MAX || of_client.len() >= SERIES_PER_CLIENT_MAX {
            self.dropped += 1;
            return;
        }
        of_client.insert(key, (point.kind, point.value));
        self.count += 1;
    }

    /// Forgets a client.
    pub(super) fn forget(&mut self, instance: Uuid) {
        self.count -= self.by_client.remove(&instance).map_or(0, |series| series.len());
    }

    /// How many series there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// How many values were dropped.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Prometheus' text format: names sorted, and of each name its labels.
    pub(super) fn render(&self) -> String {
        let mut all: Vec<_> = self.by_client.values().flatten().collect();
        all.sort_unstable_by_key(|(series, _)| *series);
        let mut text = String::new();
        let mut last = "";
        for ((name, labels), (kind, value)) in all {
            if *name != last {
                let kind = if *kind == Kind::Gauge { "gauge" } else { "counter" };
                put(&mut text, format_args!("# TYPE {name} {kind}\n"));
                last = name;
            }
            put(&mut text, format_args!("{name}{{{labels}}} {value}\n"));
        }
        text
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes any text");
}

/// The labels of a client as the broker knows it.
pub(super) fn client_labels(instance: &str, client_id: &str) -> String {
    let [instance_label, id_label] = RESERVED;
    format!("{instance_label}=\"{}\",{id_label}=\"{}\"", escaped(instance), escaped(client_id))
}

fn name(name: &str) -> String {
    let own = name.strip_prefix(KAFKA).unwrap_or(name);
    format!("{PREFIX}{}", word(own))
}

fn labels(client: &str, attributes: &[Attribute<'_>]) -> String {
    let mut labels = BTreeMap::new();
    for Attribute { key, value } in attributes {
        let key = word(key);
        let is_reserved = RESERVED.contains(&key.as_str());
        let value = match value {
            Value::Text(text) => escaped(text),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            Value::Other => continue,
        };
        if labels.len() < LABELS_MAX
            && !is_reserved
            && !key.is_empty()
            // Prometheus keeps these for itself; `__name__` would make it another metric.
            && !key.starts_with("__")
            && !key.starts_with(|c: char| c.is_ascii_digit())
        {
            labels.insert(key, value);
        }
    }
    let mut text = client.to_owned();
    for (key, value) in labels {
        put(&mut text, format_args!(",{key}=\"{value}\""));
    }
    text
}

/// What Prometheus allows in a name; everything else becomes `_`.
fn word(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().take(CHARS_MAX).map(legal).collect()
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars().take(CHARS_MAX) {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point<'a>(name: &'a str, kind: Kind, value: f64, topic: &'a str) -> Point<'a> {
        let text = |key, value| Attribute { key, value: Value::Text(value) };
        let attributes = vec![text("topic.name", topic), text("client_id", "forged")];
        Point { name, kind, value, attributes }
    }

    #[test]
    fn values_are_kept_as_their_kind_asks() {
        let mut all = AllSeries::default();
        let (one, labels) = (Uuid::from_u128(7), client_labels("abc", "c\"1"));
        for value in [2.0, 3.0] {
            all.take(one, &labels, &point("org.apache.kafka.sent.total", Kind::Delta, value, "t"));
            all.take(one, &labels, &point("x.rate", Kind::Gauge, value, "t\n"));
            all.take(one, &labels, &point("y", Kind::Cumulative, value, "t"));
        }
        let of = r#"client_instance_id="abc",client_id="c\"1",topic_name"#;
        let expected = format!(
            "# TYPE kafka_client_sent_total counter\n\
             kafka_client_sent_total{{{of}=\"t\"}} 5\n\
             # TYPE kafka_client_x_rate gauge\n\
             kafka_client_x_rate{{{of}=\"t\\n\"}} 3\n\
             # TYPE kafka_client_y counter\n\
             kafka_client_y{{{of}=\"t\"}} 3\n"
        );
        assert_eq!(all.render(), expected);
        all.forget(one);
        assert_eq!((all.count(), all.render().as_str()), (0, ""));
    }

    #[test]
    fn what_is_kept_has_a_limit_for_each_client_and_for_all() {
        let mut all = AllSeries::default();
        for client in 0..20_u128 {
            for number in 0..SERIES_PER_CLIENT_MAX + 5 {
                let name = number.to_string();
                all.take(Uuid::from_u128(client), "", &point(&name, Kind::Gauge, 1.0, "t"));
            }
        }
        assert_eq!(all.count(), SERIES_MAX);
        let sent = 20 * (SERIES_PER_CLIENT_MAX + 5);
        assert_eq!(all.dropped(), u64::try_from(sent - SERIES_MAX).unwrap());
        all.forget(Uuid::from_u128(0));
        assert_eq!(all.count(), SERIES_MAX - SERIES_PER_CLIENT_MAX);
    }
}
