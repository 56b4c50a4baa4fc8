//! A configuration as text: the values in effect with their source, and a commented example that is
//! made from the tables.

use std::fmt::Write as _;

use super::layers::{Given, KAFKA_ALIASES, Source};
use super::options::OPTIONS;
use super::{Config, KAFKA_TABLE};
use crate::settings::{BROKER_SETTINGS, Kind, Setting, TOPIC_SETTINGS};

/// The values in effect, as TOML that can be given back, each with its source. Passwords and
/// secrets are left out.
pub(crate) fn show(config: &Config) -> String {
    let mut text = String::new();
    for option in OPTIONS.iter().filter(|option| !option.secret) {
        let Given { texts, source } = config.layers.option(option.name);
        if texts.is_empty() {
            continue;
        }
        let value = if option.repeats {
            let items: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", items.join(", "))
        } else if option.is_switch() {
            texts.concat()
        } else {
            quoted(&texts.concat())
        };
        line(&mut text, option.name, &value, &source);
    }
    text.push_str(&format!("\n[{KAFKA_TABLE}]\n"));
    for setting in shown_settings(config) {
        let given = config.settings.given.get(setting.name).map(String::as_str);
        if let Some(value) = given.or(setting.default)
            && !setting.is_sensitive()
        {
            let source = config.layers.kafka_source(setting.name);
            line(&mut text, &quoted(setting.name), &value_text(setting, value), &source);
        }
    }
    text
}

/// What has an effect or was given.
fn shown_settings(config: &Config) -> impl Iterator<Item = &'static Setting> {
    let given = |setting: &Setting| config.settings.given.contains_key(setting.name);
    own_settings().filter(move |setting| setting.honoured || given(setting))
}

/// All settings but those that say what an option says already.
fn own_settings() -> impl Iterator<Item = &'static Setting> {
    let is_alias = |setting: &&Setting| KAFKA_ALIASES.iter().any(|(name, _)| *name == setting.name);
    BROKER_SETTINGS.iter().filter(move |setting| !is_alias(setting))
}

/// Every option and every honoured setting, commented out, with its meaning and default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Configuration of Millpond. Every line that is commented out shows the default.\n",
    );
    for option in OPTIONS {
        comment(&mut text, option.help);
        let default = match (option.default, option.repeats) {
            ("", _) => continue_without_default(option.value_name),
            (default, true) => format!("[{}]", quoted(default)),
            (default, false) if option.is_switch() => default.to_owned(),
            (default, false) => quoted(default),
        };
        text.push_str(&format!("#{} = {default}\n", option.name));
    }
    text.push_str(&format!(
        "\n# Kafka's broker settings, with Kafka's names and units.\n[{KAFKA_TABLE}]\n"
    ));
    for setting in own_settings().filter(|setting| setting.honoured && !setting.internal) {
        comment(&mut text, documentation(setting));
        let default = setting
            .default
            .map_or_else(|| continue_without_default("…"), |default| value_text(setting, default));
        text.push_str(&format!("#{} = {default}\n", quoted(setting.name)));
    }
    text
}

fn continue_without_default(placeholder: &str) -> String {
    quoted(placeholder)
}

/// A broker setting that is the default of a topic setting means what that one means.
fn documentation(setting: &Setting) -> &'static str {
    if !setting.documentation.is_empty() {
        return setting.documentation;
    }
    TOPIC_SETTINGS
        .iter()
        .find(|topic| topic.synonyms.iter().any(|synonym| synonym.name == setting.name))
        .map_or("", |topic| topic.documentation)
}

fn line(text: &mut String, name: &str, value: &str, source: &Source) {
    writeln!(text, "{name} = {value}  # {source}").expect("writing to a String cannot fail");
}

fn comment(text: &mut String, sentences: &str) {
    const WIDTH: usize = 98;
    text.push('\n');
    let mut width = 0;
    for word in sentences.split_whitespace() {
        if width == 0 || width + 1 + word.len() > WIDTH {
            text.push_str(if width == 0 { "# " } else { "\n# " });
            width = 1;
        } else {
            text.push(' ');
        }
        text.push_str(word);
        width += 1 + word.len();
    }
    if width > 0 {
        text.push('\n');
    }
}

fn value_text(setting: &Setting, value: &str) -> String {
    match setting.kind {
        Kind::Boolean | Kind::Int | Kind::Short | Kind::Long | Kind::Double => value.to_owned(),
        Kind::String | Kind::List | Kind::Class | Kind::Password => quoted(value),
    }
}

/// A basic string of TOML, whose escapes are JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
