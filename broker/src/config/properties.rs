//! Java properties, as far as `server.properties` uses them: comments, `key=value`, `key: value`,
//! `key value`, continued lines and backslash escapes.

use std::path::Path;

use super::error::ConfigError;
use super::layers::{Layers, Source};

/// Puts every property into `layers`; names that mean nothing here stay for the one warning.
pub(super) fn read(text: &str, path: &Path, layers: &mut Layers) -> Result<(), ConfigError> {
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let source = Source::File { path: path.to_owned(), line: index + 1 };
        let mut logical = line.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (name, value) = split(&logical);
        let name = unescape(name, &source)?;
        let value = unescape(value, &source)?;
        layers.put_kafka_unchecked(&name, value.trim_end(), &source);
    }
    Ok(())
}

/// An odd number of backslashes at the end.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The name ends at the first `=`, `:` or blank that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        if !escaped && (character == '=' || character == ':' || character.is_whitespace()) {
            let (name, rest) = line.split_at(at);
            let rest = rest.trim_start();
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (name, value.trim_start());
        }
        escaped = character == '\\' && !escaped;
    }
    (line, "")
}

fn unescape(text: &str, place: &Source) -> Result<String, ConfigError> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                let Some(character) = code.and_then(char::from_u32) else {
                    let reason = format!("\\u{digits} is no character");
                    return Err(ConfigError::Syntax { place: place.clone(), reason });
                };
                plain.push(character);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}
