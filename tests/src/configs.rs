//! Every setting as a broker describes it, one line each, to compare one broker with another: what a
//! setting is called, what it is by default and what may be done with it, not what it is set to.

use crate::wire::{Connection, text};
use kafka_protocol::messages::DescribeConfigsRequest;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use std::collections::BTreeMap;

/// Where a value comes from, as the protocol numbers it.
const STATIC: i8 = 4;
const DEFAULT: i8 = 5;

/// Kinds of resources with the name that is asked for; `#` stands for the broker's id.
const RESOURCES: [(&str, i8, &str); 5] = [
    ("broker", 4, "#"),
    ("brokers", 4, ""),
    ("client-metrics", 16, "compared"),
    ("group", 32, "compared"),
    ("topic", 2, TOPIC),
];

/// The topic whose settings are described.
const TOPIC: &str = "compared";

const TYPES: [&str; 10] =
    ["unknown", "boolean", "string", "int", "short", "long", "double", "list", "class", "password"];

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it is set to; `*` where that was given at start, and so belongs to one installation.
    pub value: String,
    /// Type, whether it may be changed, whether it is hidden, whether it is documented, and the
    /// defaults that it may take its value from.
    pub nature: String,
}

/// Settings by kind of resource and name.
pub type Settings = BTreeMap<(String, String), Setting>;

/// Asks a broker for everything.
pub fn describe(connection: &mut Connection) -> Settings {
    connection.delete_topic(TOPIC);
    connection.create_topic(TOPIC, 1, &[]);
    let broker = connection.describe_topic(TOPIC).partitions[0].leader_id.0.to_string();
    let mut all = Settings::new();
    for (kind, number, name) in RESOURCES {
        let name = if name == "#" { &broker } else { name };
        let resource = DescribeConfigsResource::default()
            .with_resource_type(number)
            .with_resource_name(text(name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(true);
        let result = connection.call(4, &request).results.remove(0);
        assert_eq!(result.error_code, 0, "{kind} {name:?}: {:?}", result.error_message);
        let settings = result.configs.iter();
        all.extend(settings.map(|it| ((kind.to_owned(), it.name.to_string()), setting(it))));
    }
    connection.delete_topic(TOPIC);
    all
}

fn setting(it: &DescribeConfigsResourceResult) -> Setting {
    let value = if it.config_source == STATIC { Some("*") } else { it.value.as_deref() };
    let kind = usize::try_from(it.config_type).ok().and_then(|number| TYPES.get(number));
    let mut nature = (*kind.unwrap_or(&"?")).to_owned();
    nature.push_str(if it.read_only { " fixed" } else { " changeable" });
    if it.is_sensitive {
        nature.push_str(" hidden");
    }
    if it.documentation.as_deref().unwrap_or_default().is_empty() {
        nature.push_str(" undocumented");
    }
    for synonym in it.synonyms.iter().filter(|synonym| synonym.source == DEFAULT) {
        let value = synonym.value.as_deref().unwrap_or("null");
        nature.push_str(&format!(" {}={value}", &*synonym.name));
    }
    Setting { value: value.unwrap_or("null").to_owned(), nature }
}

/// One line for each setting.
pub fn to_text(settings: &Settings) -> String {
    let line = |((kind, name), Setting { value, nature }): (&(String, String), &Setting)| {
        format!("{kind}\t{name}\t{value}\t{nature}\n")
    };
    settings.iter().map(line).collect()
}

/// Reads what [`to_text`] wrote; lines that begin with `#` say something about it.
pub fn from_text(text: &str) -> Settings {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = lines.map(|line| {
        let parts: Vec<_> = line.split('\t').map(str::to_owned).collect();
        let [kind, name, value, nature] = <[String; 4]>::try_from(parts).expect("four parts");
        ((kind, name), Setting { value, nature })
    });
    read.collect()
}

/// What the settings of two brokers differ in: kind and name, then both sides. A value that was given
/// at start on either side is no difference.
pub fn differences(theirs: &Settings, ours: &Settings) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    for key in keys {
        let (theirs, ours) = (theirs.get(key), ours.get(key));
        let is_same = match (theirs, ours) {
            (Some(theirs), Some(ours)) => {
                let is_given = theirs.value == "*" || ours.value == "*";
                theirs.nature == ours.nature && (is_given || theirs.value == ours.value)
            }
            (None, _) | (_, None) => false,
        };
        if !is_same {
            let side = |side: Option<&Setting>| match side {
                Some(Setting { value, nature }) => format!("{value} ({nature})"),
                None => "missing".to_owned(),
            };
            found.insert(key.clone(), format!("{} | {}", side(theirs), side(ours)));
        }
    }
    found
}
