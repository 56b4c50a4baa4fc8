//! Our own configuration file: options at the top, Kafka's settings under `[kafka]`.
//!
//! TOML reads `log.retention.ms = 5` as nested tables; they are read as the dotted name again, so
//! that Kafka's names can be written with or without quotes.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::KAFKA_TABLE;
use super::error::ConfigError;
use super::layers::{Layers, Source, option_names, unknown_name};
use super::options::{OPTIONS, Opt};

/// Puts everything that the file sets into `layers`.
pub(super) fn read(text: &str, path: &Path, layers: &mut Layers) -> Result<(), ConfigError> {
    let file = File { text, path };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: file.place(error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    for (key, value) in table.get_ref() {
        let place = file.place(key.span().start);
        let name = key.get_ref().as_ref();
        match (OPTIONS.iter().find(|option| option.name == name), value.get_ref()) {
            (Some(option), value) => {
                layers.put_option(option, &option_texts(option, value, &place)?, &place)?;
            }
            (None, DeValue::Table(kafka)) if name == KAFKA_TABLE => {
                file.read_kafka(kafka, "", layers)?;
            }
            (None, _) => {
                let names = option_names().chain([KAFKA_TABLE]);
                return Err(unknown_name(name, names, &place));
            }
        }
    }
    Ok(())
}

struct File<'a> {
    text: &'a str,
    path: &'a Path,
}

impl File<'_> {
    /// The line of a byte position.
    fn place(&self, position: usize) -> Source {
        let before = self.text.get(..position).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Source::File { path: self.path.to_owned(), line }
    }

    /// The recursion ends with the parser's own limit on nested tables.
    fn read_kafka(
        &self,
        table: &DeTable<'_>,
        prefix: &str,
        layers: &mut Layers,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let place = self.place(key.span().start);
            match value.get_ref() {
                DeValue::Table(nested) => {
                    self.read_kafka(nested, &format!("{name}."), layers)?;
                }
                DeValue::Array(values) => {
                    let texts: Result<Vec<_>, _> =
                        values.iter().map(|value| scalar(value.get_ref(), &name, &place)).collect();
                    layers.put_kafka(&name, &texts?.join(","), &place)?;
                }
                value => layers.put_kafka(&name, &scalar(value, &name, &place)?, &place)?,
            }
        }
        Ok(())
    }
}

fn option_texts(
    option: &Opt,
    value: &DeValue<'_>,
    place: &Source,
) -> Result<Vec<String>, ConfigError> {
    match value {
        DeValue::Array(values) if option.repeats => values
            .iter()
            .map(Spanned::get_ref)
            .map(|value| scalar(value, option.name, place))
            .collect(),
        value => Ok(vec![scalar(value, option.name, place)?]),
    }
}

fn scalar(value: &DeValue<'_>, name: &str, place: &Source) -> Result<String, ConfigError> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(integer_text(number)),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Ok(switch.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let reason = format!("{name} cannot be {} {}", article(value), value.type_str());
            Err(ConfigError::Syntax { place: place.clone(), reason })
        }
    }
}

/// Kafka's text form is decimal; TOML also allows other bases.
fn integer_text(number: &DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_beyond_i64| number.as_str().to_owned(), |number| number.to_string())
}

const fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Integer(_) | DeValue::Array(_) => "an",
        DeValue::String(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => "a",
    }
}
